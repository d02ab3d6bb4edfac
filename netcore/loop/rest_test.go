package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// record answers like echo and keeps the order of the sessions whose input came, by turn.
type record struct {
	*echo
	turn []Ref
	all  [][]Ref
}

func newRecord() *record {
	r := &record{echo: newEcho()}
	r.onData = func(s *Session, in []byte) (int, int, error) {
		r.turn = append(r.turn, s.Ref())
		return r.frames(s, in)
	}
	r.onTurn = func() {
		if len(r.turn) > 0 {
			r.all, r.turn = append(r.all, r.turn), nil
		}
	}
	return r
}

// More sockets are ready together than one list holds: each is served once, in full turns.
func TestMoreSocketsThanAList(t *testing.T) {
	h := newRecord()
	l := startLoop(t, Config{}, h)
	const n = 2*128 + 10
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = dial(t, l)
	}
	eventually(t, "all sessions", func() bool { return h.openedCount() == n })
	release := holdLoop(t, l)
	for i, c := range conns {
		send(t, c, frame(fmt.Append(nil, i)))
	}
	release()
	for i, c := range conns {
		expect(t, c, frame(fmt.Append(nil, i)))
	}
	onLoop(t, l, func() {
		served := map[Ref]bool{}
		for _, turn := range h.all {
			for _, ref := range turn {
				if served[ref] {
					t.Errorf("%v was served twice", ref)
				}
				served[ref] = true
			}
		}
		if len(served) != n || len(h.all) > 5 {
			t.Errorf("%d sessions of %d in %d turns", len(served), n, len(h.all))
		}
	})
}

// A session that another closes while both are in one list gets no input any more, and whoever gets its descriptor only its own.
func TestClosedInTheListAndReused(t *testing.T) {
	for range 20 {
		h := newEcho()
		fds, refs := make(chan int, 3), make(chan Ref, 3)
		h.onOpened = func(s *Session) error {
			refs <- s.Ref()
			fds <- s.t.(*gnetTransport).conn.Fd()
			return nil
		}
		l := startLoop(t, Config{ReadBufferCap: 1024}, h)
		killer, victim := dial(t, l), dial(t, l)
		refA, _ := wait(t, refs), wait(t, fds)
		refB, fdB := wait(t, refs), wait(t, fds)
		heir := rawSocket(t)
		killed := false
		var late, others atomic.Int32
		h.onData = func(s *Session, in []byte) (int, int, error) {
			switch {
			case s.Ref() == refA:
				killed = true
				l.Session(refB).Abort(errFrame)
				return len(in), 0, nil
			case s.Ref() == refB:
				if killed {
					late.Add(1)
				}
				return len(in), 0, nil
			case bytes.Contains(in, []byte("victim")):
				others.Add(1)
			}
			return h.frames(s, in)
		}
		release := holdLoop(t, l)
		send(t, killer, []byte("kill"))
		send(t, victim, bytes.Repeat([]byte("victim"), 2000)) // more than is read at a time: the socket stays ready
		release()
		expectClosed(t, victim)
		heir.connect(victim.RemoteAddr().(*net.TCPAddr).Port)
		reused := wait(t, fds) == fdB
		heir.write(string(frame([]byte("heir"))))
		if got := heir.read(); got != string(frame([]byte("heir"))) {
			t.Fatalf("got %q", got)
		}
		if late.Load() != 0 || others.Load() != 0 {
			t.Fatalf("a closed session got input %d times, the one that has its descriptor got its input %d times (reused: %v)",
				late.Load(), others.Load(), reused)
		}
	}
}

// What a client has sent before it shut down its writing side is delivered, however often its socket has to be read.
func TestDataBeforeTheEnd(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int64
			h := newEcho()
			h.onData = func(_ *Session, in []byte) (int, int, error) { got.Add(int64(len(in))); return len(in), 0, nil }
			l := startLoop(t, Config{LibraryWaits: mode, ReadBufferCap: 1024}, h)
			c := dial(t, l)
			eventually(t, "a session", func() bool { return h.openedCount() == 1 })
			release := holdLoop(t, l)
			send(t, c, make([]byte, 50_000))
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			release()
			expectClosed(t, c)
			eventually(t, "the close", func() bool { return len(h.closedWith()) == 1 })
			if err := h.closedWith()[0]; err != io.EOF || got.Load() != 50_000 {
				t.Fatalf("%d bytes came, closed with %v", got.Load(), err)
			}
		})
	}
}

// A reset is reported as what it is, whoever finds it: the system tells it once.
func TestReset(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newEcho()
			l := startLoop(t, Config{LibraryWaits: mode}, h)
			for i := range 20 {
				c := dial(t, l)
				f := frame([]byte("x"))
				send(t, c, f)
				expect(t, c, f)
				if i%2 == 0 {
					// The wait tells of the byte, and the reset is there when it is read.
					send(t, c, []byte{0})
				}
				if err := c.SetLinger(0); err != nil {
					t.Fatal(err)
				}
				c.Close()
				eventually(t, "the close", func() bool { return len(h.closedWith()) == i+1 })
				if err := h.closedWith()[i]; !errors.Is(err, unix.ECONNRESET) {
					t.Fatalf("reset %d: closed with %v", i, err)
				}
			}
		})
	}
}

// A failure that rest finds when it reads is what Closed reports, although the library finds the end of the connection only.
func TestFailureFoundByReading(t *testing.T) {
	h := newEcho()
	opened := make(chan Ref, 1)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{}, h)
	c := dial(t, l)
	ref := wait(t, opened)
	reset := make(chan struct{})
	go func() {
		_ = c.SetLinger(0)
		c.Close()
		close(reset)
	}()
	onLoop(t, l, func() {
		<-reset
		fd := l.Session(ref).t.(*gnetTransport).conn.Fd()
		readable(t, fd, 5000)
		l.events[0] = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)} // as it was before the reset
		if !l.take(1) {
			t.Error("a failure is not left to the library")
		}
	})
	eventually(t, "the close", func() bool { return len(h.closedWith()) == 1 })
	if err := h.closedWith()[0]; !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("closed with %v", err)
	}
}

// A socket that has more than the buffer takes does not keep the loop from another: both are read once per list.
func TestMoreThanTheBuffer(t *testing.T) {
	h := newRecord()
	opened := make(chan Ref, 2)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{ReadBufferCap: 1024}, h)
	large := dial(t, l)
	wait(t, opened)
	small := dial(t, l)
	refSmall := wait(t, opened)
	var all []byte
	for i := range 100 {
		all = append(all, frame(bytes.Repeat([]byte{byte(i)}, 508))...)
	}
	release := holdLoop(t, l)
	send(t, large, all)
	send(t, small, frame([]byte("me too")))
	release()
	expect(t, small, frame([]byte("me too")))
	expect(t, large, all)
	onLoop(t, l, func() {
		if len(h.all) < 40 {
			t.Errorf("%d turns for %d bytes", len(h.all), len(all))
		}
		for i, turn := range h.all {
			for _, ref := range turn {
				if ref == refSmall && i > 1 {
					t.Errorf("the small one was served in turn %d", i)
				}
			}
		}
	})
}

// Input that must wait is read and kept: its socket does not wake the loop again and again.
func TestStalledDoesNotSpin(t *testing.T) {
	h := newEcho()
	opened := make(chan Ref, 2)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{}, h)
	held, other := dial(t, l), dial(t, l)
	ref := wait(t, opened)
	onLoop(t, l, func() { l.Session(ref).Hold() })
	send(t, held, make([]byte, 10_000))
	eventually(t, "input that is kept", func() bool {
		n := 0
		onLoop(t, l, func() { n = l.Session(ref).buffered() })
		return n == 10_000
	})
	waits := func() (n uint64) {
		onLoop(t, l, func() { n = l.stats.Waits })
		return n
	}
	before := waits()
	f := frame([]byte("x"))
	for range 10 { // a spinning loop would wait thousands of times meanwhile
		send(t, other, f)
		expect(t, other, f)
		time.Sleep(2 * time.Millisecond)
	}
	if n := waits() - before; n > 60 {
		t.Fatalf("the loop waited %d times in 10 requests", n)
	}
}

// Connections are accepted, adopted and closed, and timers fire, beside sockets that are always ready.
func TestBusySocketsStarveNothing(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{ReadBufferCap: 1024}, h)
	srv := startLoop(t, Config{Name: "server"}, newEcho())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		c := dial(t, l)
		block := bytes.Repeat(frame(make([]byte, 1000)), 64)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					_ = c.CloseWrite()
					return
				default:
				}
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, c) })
	}
	defer wg.Wait()
	defer close(stop)
	fired := timers(t, l, 50)
	for i := range 50 {
		c := dial(t, l)
		f := frame([]byte("let me in"))
		send(t, c, f)
		expect(t, c, f)
		c.Close()
		if i%5 == 0 {
			conn, err := net.Dial("tcp", srv.Addrs()[0])
			if err != nil {
				t.Fatal(err)
			}
			o := &own{echo: newEcho(), session: make(chan *Session, 1)}
			if err := l.Adopt(conn, o); err != nil {
				t.Fatal(err)
			}
			s := wait(t, o.session)
			onLoop(t, l, func() { s.Close(errFrame) })
			eventually(t, "the close of an adopted session", func() bool { return len(o.closedWith()) == 1 })
		}
	}
	wait(t, fired)
	eventually(t, "the closes", func() bool { return len(h.closedWith()) == 50 })
}

// A timer fires when it is due although the library was gone back to since the clock was set.
func TestClockAfterTheLibrary(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{}, h)
	for range 20 {
		fired := make(chan struct{})
		onLoop(t, l, func() { l.After(3*time.Millisecond, func() { close(fired) }) })
		c := dial(t, l) // accepted, and closed, by the library
		c.Close()
		wait(t, fired)
	}
}

// A request costs one wait.
func TestOneWaitPerTurn(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	c, f := dial(t, l), frame([]byte("x"))
	send(t, c, f)
	expect(t, c, f)
	counts := func() (turns, waits uint64) {
		onLoop(t, l, func() { turns, waits = l.stats.Turns, l.stats.Waits })
		return turns, waits
	}
	turns, waits := counts()
	const n = 200
	for range n {
		send(t, c, f)
		expect(t, c, f)
	}
	moreTurns, moreWaits := counts()
	if turns, waits = moreTurns-turns, moreWaits-waits; turns < n || waits > turns+turns/10 {
		t.Fatalf("%d waits for %d turns of %d requests", waits, turns, n)
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{}, h)
	client := rawSocket(t)
	_, port, err := net.SplitHostPort(l.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	client.connect(n)
	eventually(t, "a session", func() bool { return h.openedCount() == 1 })
	f := frame([]byte("x"))
	onLoop(t, l, func() {
		l.EachSession(func(s *Session) {
			real := s.t
			defer func() { s.t = real }()
			s.t = &sinkTransport{}
			calls := h.calls
			round := func() {
				if _, err := unix.Write(client.fd, f); err != nil {
					t.Error(err)
				}
				for h.calls == calls {
					l.take(l.poll(1000))
				}
				calls = h.calls
				l.flush()
			}
			round()
			if n := testing.AllocsPerRun(100, round); n != 0 {
				t.Errorf("%v allocations per list", n)
			}
		})
	})
}
