package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pegasus/netcore/disk"
)

// The tests of this file run in virtual time, over connections in memory.

// pipes is a listener whose connections are net.Pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
	case <-ctx.Done():
	}
	return nil, errors.New("no listener")
}

// virtual is a server and what a learner needs, in a bubble of virtual time.
func virtual(t *testing.T, tr tree, o Options) (s *Server, learner Options) {
	ln := newPipes()
	fsys := disk.NewMem(1)
	tr.write(t, fsys, "/cp")
	o.FS = fsys
	s = NewServer(ln, o)
	t.Cleanup(s.Close)
	must(t, s.Offer(testID, testGPID, 1, "/cp"))
	return s, Options{FS: fsys, Dial: ln.dial}
}

// The rate holds over every span of time, up to the burst, and is used: transfers that share it take as long as their bytes
// need at that rate.
func TestRate(t *testing.T) {
	const rate = 4 << 20
	tr := randomTree(40, 11*BlockSize, 300, 5*BlockSize, 77)
	for _, c := range []struct {
		server, learner int64
		fetches         int
	}{{rate, 0, 1}, {0, rate, 1}, {rate, rate, 1}, {rate, 0, 3}, {0, rate, 3}} {
		t.Run(fmt.Sprintf("server=%d,learner=%d,fetches=%d", c.server, c.learner, c.fetches), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serving, fetching := NewBudget(c.server, DefaultTransfers), NewBudget(c.learner, DefaultTransfers)
				var learners []Options
				for range c.fetches {
					_, o := virtual(t, tr, Options{Budget: serving})
					o.Budget = fetching
					learners = append(learners, o)
				}
				if got, least := time.Since(bubbleStart), seconds(int64(c.fetches)*tr.bytes()-BlockSize, c.server); got < least {
					t.Errorf("offers took %v, the rate asks for %v", got, least)
				}
				began := time.Now()
				var waits []func()
				for _, o := range learners {
					got := int64(0)
					o.Progress = func(p Progress) {
						if least := seconds(p.Fetched-BlockSize, rate); p.Fetched > got && time.Since(began) < least {
							t.Errorf("%d bytes after %v", p.Fetched, time.Since(began))
						}
						got = p.Fetched
					}
					waits = append(waits, alongside(t, tr, o))
				}
				for _, wait := range waits {
					wait()
				}
				total := int64(c.fetches) * tr.bytes()
				least, most := seconds(total-BlockSize, rate), seconds(total+2*BlockSize, rate)
				if took := time.Since(began); took < least || took > most {
					t.Errorf("%d bytes took %v, want %v to %v", total, took, least, most)
				}
			})
		})
	}
}

// bubbleStart is when virtual time begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// seconds is how long n bytes take; a rate of 0 has no limit.
func seconds(n, rate int64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// alongside starts a Fetch, and returns what waits for its end.
func alongside(t *testing.T, tr tree, o Options) (wait func()) {
	done := make(chan error, 1)
	go func() {
		_, err := Fetch(t.Context(), "", testID, "/dst", o)
		done <- err
	}()
	return func() {
		must(t, <-done)
		tr.check(t, o.FS, "/dst")
	}
}

// A block takes longer than the timeout at this rate: both ends know that the other one lives, on whichever side the rate is.
func TestSlowerThanTheTimeout(t *testing.T) {
	for _, serverSide := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			slow, fast := NewBudget(0, 1), NewBudget(0, 1)
			if !serverSide {
				slow, fast = fast, slow
			}
			tr := randomTree(41, 4*BlockSize)
			_, o := virtual(t, tr, Options{Budget: slow, Timeout: minTimeout})
			o.Budget, o.Timeout, o.Attempts = fast, minTimeout, 1
			if serverSide {
				slow.SetRate(BlockSize / 60)
			} else {
				fast.SetRate(BlockSize / 60)
			}
			began := time.Now()
			dials := 0
			o.Progress = func(p Progress) { dials = p.Dials }
			alongside(t, tr, o)()
			if took := time.Since(began); took < 3*time.Minute || dials != 1 {
				t.Fatalf("took %v, %d connections", took, dials)
			}
		})
	}
}

// What waits for the budget lets go at once.
func TestCancelWhileThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(0, 1)
		s, o := virtual(t, randomTree(42, 9*BlockSize), Options{Budget: budget})
		budget.SetRate(100)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := Fetch(ctx, "", testID, "/dst", o); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		s.Close()
		if took := time.Since(began); took != 5*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

// A server that takes connections and says nothing.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				wg.Go(func() {
					for buf := make([]byte, 100); err == nil; {
						_, err = c.Read(buf)
					}
				})
			}
		})
		o := Options{FS: disk.NewMem(1), Dial: ln.dial, Attempts: 3, Timeout: 10 * time.Second}
		began := time.Now()
		if _, err := Fetch(t.Context(), "", testID, "/dst", o); !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 32*time.Second {
			t.Fatalf("took %v", took)
		}
		must(t, ln.Close())
		wg.Wait()
	})
}

// A learner that says nothing holds no place for longer than the timeout.
func TestSilentLearner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := virtual(t, tree{}, Options{Timeout: 10 * time.Second})
		mute, err := o.Dial(t.Context(), "")
		must(t, err)
		defer mute.Close()
		opened, err := o.Dial(t.Context(), "")
		must(t, err)
		defer opened.Close()
		l := newLink(opened, testID, time.Hour)
		must(t, l.send(header{kind: kindOpen}, make([]byte, 16)))
		_, err = l.answer(kindManifest, maxManifest)
		must(t, err)
		go func() {
			for buf := make([]byte, 100); err == nil; {
				_, err = opened.Read(buf)
			}
		}()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Conns != 2 || s.o.Budget.Stats().Serving != 1 {
			t.Fatalf("%+v", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Conns != 0 || s.o.Budget.Stats().Serving != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []error
		tr := randomTree(43, 8*BlockSize)
		budget := NewBudget(0, 1)
		s, o := virtual(t, tr, Options{Budget: budget, Expire: time.Minute, Ended: func(_ uint64, err error) { ended = append(ended, err) }})
		time.Sleep(50 * time.Second)
		// It does not expire while somebody fetches, and then it has its whole time again.
		budget.SetRate(BlockSize / 20)
		alongside(t, tr, o)()
		if time.Since(bubbleStart) < 2*time.Minute {
			t.Fatal("too fast to tell")
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if s.Stats().Offers != 1 || len(ended) != 1 || ended[0] != nil {
			t.Fatal(ended)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := o.FS.Stat("/cp"); err == nil || s.Stats().Offers != 0 || s.Stats().Expired != 1 || len(ended) != 1 {
			t.Fatal("not expired", s.Stats(), ended)
		}
		if _, err := Fetch(t.Context(), "", testID, "/dst", o); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		must(t, o.FS.MkdirAll("/cp"), s.Offer(5, testGPID, 1, "/cp"))
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if len(ended) != 2 || !errors.Is(ended[1], ErrExpired) {
			t.Fatal(ended)
		}
	})
}

// Close and Release do not wait for an Offer that is held up by the budget.
func TestOfferEndsWithServer(t *testing.T) {
	for _, end := range []func(s *Server){(*Server).Close, func(s *Server) { s.Release(9) }} {
		synctest.Test(t, func(t *testing.T) {
			budget := NewBudget(0, 1)
			s, o := virtual(t, tree{}, Options{Budget: budget})
			budget.SetRate(1)
			randomTree(44, 3*BlockSize).write(t, o.FS, "/slow")
			done := make(chan error, 1)
			go func() { done <- s.Offer(9, testGPID, 1, "/slow") }()
			time.Sleep(time.Second)
			synctest.Wait()
			end(s)
			if err := <-done; !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
			if _, err := o.FS.Stat("/slow/000001.sst"); err != nil {
				t.Fatal("the directory was not the server's yet", err)
			}
		})
	}
}
