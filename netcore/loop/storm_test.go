package loop

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A thousand connections come, talk and go, some politely, some with a reset, some in the middle of a frame. Every
// Opened has its Closed, and nothing is left over.
func TestConnectionStorm(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{MaxSessions: 2000}, h)
	const workers, each = 20, 50
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				d, err := net.DialTimeout("tcp", l.Addrs()[0], patience)
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				c := d.(*net.TCPConn)
				_ = c.SetDeadline(time.Now().Add(patience))
				f := frame(bytes.Repeat([]byte{byte(w)}, 100*i))
				send(t, c, f)
				switch i % 4 {
				case 0, 1:
					expect(t, c, f)
				case 2:
					_ = c.SetLinger(0)
				case 3:
					send(t, c, f[:3])
				}
				c.Close()
			}
		}()
	}
	wg.Wait()
	eventually(t, "all sessions closed", func() bool { return len(h.closedWith()) == h.openedCount() && h.openedCount() == workers*each })
	onLoop(t, l, func() {
		if l.Sessions() != 0 || len(l.watched)+len(l.closers)+len(l.dirty)+len(l.resumable) != 0 {
			t.Errorf("%d sessions, watched %d, closers %d, dirty %d", l.Sessions(), len(l.watched), len(l.closers), len(l.dirty))
		}
		if len(l.table.slots) > 2000 {
			t.Errorf("%d slots", len(l.table.slots))
		}
	})
}

// Messages of several goroutines through a real loop arrive in order, beside traffic, whatever Execute does.
func TestMailboxOrderThroughLoop(t *testing.T) {
	const producers, each = 4, 100_000
	h := newEcho()
	var next [producers]int
	done := make(chan struct{})
	total := 0
	h.onMsg = func(m *msg) {
		p, n := m.n%producers, m.n/producers
		if n != next[p] {
			t.Errorf("producer %d: %d came when %d was due", p, n, next[p])
		}
		next[p]++
		if total++; total == producers*each {
			close(done)
		}
	}
	l := startLoop(t, Config{MailboxLimit: 1000}, h)
	c := dial(t, l)
	var busy atomic.Int64
	for p := range producers {
		go func() {
			for i := range each {
				for l.Post(msg{n: i*producers + p}) != nil {
					busy.Add(1)
					time.Sleep(50 * time.Microsecond) // a refused producer backs off
				}
			}
		}()
	}
	f := frame([]byte("x"))
	for range 100 {
		send(t, c, f)
		expect(t, c, f)
	}
	wait(t, done)
	t.Logf("%d messages, refused %d times, %+v", total, busy.Load(), l.Mailbox())
}

func TestPingPongBetweenLoops(t *testing.T) {
	pingPong(t, 20_000, 64)
	pingPong(t, 200, 1)
}

// Stop under load: it returns, every session hears of it, accepted messages were delivered.
func TestStopUnderLoad(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newEcho()
			var delivered, accepted atomic.Int64
			h.onMsg = func(*msg) { delivered.Add(1) }
			l := startLoop(t, Config{LibraryWaits: mode, LingerTimeout: 100 * time.Millisecond}, h)
			var wg sync.WaitGroup
			for range 8 {
				c := dial(t, l)
				wg.Add(2)
				go func() {
					defer wg.Done()
					f := bytes.Repeat(frame(make([]byte, 500)), 20)
					for {
						if _, err := c.Write(f); err != nil {
							return
						}
					}
				}()
				go func() { // reads now and then, so that output piles up
					defer wg.Done()
					buf := make([]byte, 4096)
					for {
						if _, err := c.Read(buf); err != nil {
							c.Close()
							return
						}
					}
				}()
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				for {
					switch err := l.Post(msg{}); {
					case err == nil:
						accepted.Add(1)
					case h.gone.Load():
						return
					}
				}
			}()
			eventually(t, "load", func() bool { return delivered.Load() > 1000 && h.openedCount() == 8 })
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err := l.Stop(ctx)
			h.gone.Store(true)
			wg.Wait()
			if err != nil {
				t.Fatalf("stop: %v", err)
			}
			if delivered.Load() != accepted.Load() {
				t.Fatalf("accepted %d messages, delivered %d", accepted.Load(), delivered.Load())
			}
			if len(h.closedWith()) != 8 {
				t.Fatalf("%d of 8 sessions were closed", len(h.closedWith()))
			}
		})
	}
}

// Stop waits for output that the client takes, and cuts off at the end of ctx what it does not.
func TestStopDrains(t *testing.T) {
	h := newEcho()
	opened := make(chan Ref, 2)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{LingerTimeout: patience}, h)
	reader := dial(t, l)
	ref := wait(t, opened)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	onLoop(t, l, func() { s := l.Session(ref); s.SetOut(append(s.Out(), big...)) })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- l.Stop(ctx)
	}()
	expect(t, reader, big)
	expectClosed(t, reader)
	if err := wait(t, done); err != nil {
		t.Fatal(err)
	}

	h2 := newEcho()
	h2.onOpened = h.onOpened
	l2, err := Start[msg](Config{Name: "cut", Addrs: []string{"127.0.0.1:0"}, LingerTimeout: patience}, h2)
	if err != nil {
		t.Fatal(err)
	}
	dial(t, l2) // never reads
	ref = wait(t, opened)
	onLoop(t, l2, func() { s := l2.Session(ref); s.SetOut(append(s.Out(), big...)) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l2.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("stop: %v", err)
	}
	if len(h2.closedWith()) != 1 {
		t.Fatal("the session that was cut off did not hear of it")
	}
}

// own is a Sink of one session.
type own struct {
	*echo
	session chan *Session
}

func (o *own) Opened(s *Session) error { o.session <- s; return nil }

func TestAdopt(t *testing.T) {
	srv := startLoop(t, Config{Name: "server"}, newEcho())
	h := newEcho()
	l := startLoop(t, Config{Name: "client"}, h)
	o := &own{echo: newEcho(), session: make(chan *Session, 1)}
	got := make(chan string, 1)
	o.onData = func(_ *Session, in []byte) (int, int, error) { got <- string(in); return len(in), 0, nil }
	conn, err := net.Dial("tcp", srv.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Adopt(conn, o); err != nil {
		t.Fatal(err)
	}
	s := wait(t, o.session)
	onLoop(t, l, func() {
		if !s.Dialled || s.State != any(o) || s.RemoteAddr != srv.Addrs()[0] || l.Session(s.Ref()) != s {
			t.Errorf("session %+v", s)
		}
		s.SetOut(append(s.Out(), frame([]byte("hello"))...))
	})
	if m := wait(t, got); m != string(frame([]byte("hello"))) {
		t.Fatalf("got %q", m)
	}
	onLoop(t, l, func() { s.Close(errFrame) })
	eventually(t, "close", func() bool { return len(o.closedWith()) == 1 })
	if err := o.closedWith()[0]; !errors.Is(err, errFrame) || h.openedCount() != 0 || len(h.closedWith()) != 0 {
		t.Fatalf("closed with %v; the handler heard of it: %d", err, h.openedCount())
	}

	// Opened of the handler may refuse, and Adopt says so.
	h.onOpened = func(*Session) error { return errFrame }
	conn, err = net.Dial("tcp", srv.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Adopt(conn, "state"); !errors.Is(err, errFrame) {
		t.Fatalf("adopt: %v", err)
	}
	a, b := net.Pipe()
	defer b.Close()
	if err := l.Adopt(a, nil); err == nil {
		t.Fatal("a pipe without a descriptor was adopted")
	}
}
