package peer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/netcore/loop"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"))
}

const patience = 20 * time.Second

// server echoes; client is a loop that only dials.
type server struct{}

func (server) Opened(*loop.Session) error { return nil }
func (server) Data(s *loop.Session, in []byte) (int, int, error) {
	s.SetOut(append(s.Out(), in...))
	return len(in), 0, nil
}
func (server) Closed(*loop.Session, error) {}
func (server) Message(*struct{})           {}
func (server) Turn()                       {}

type testLoop = loop.Loop[struct{}]

func start(t *testing.T, addr string) *testLoop {
	t.Helper()
	l, err := loop.Start[struct{}](loop.Config{Name: t.Name(), Addrs: []string{addr}, LingerTimeout: 50 * time.Millisecond}, server{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, l) })
	return l
}

func stop(t *testing.T, l *testLoop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func newDialer(t *testing.T) *Dialer {
	d := NewDialer(2, 8)
	t.Cleanup(d.Close)
	return d
}

// record notes what happened.
type record struct {
	mu    sync.Mutex
	ups   int
	downs []error
	got   bytes.Buffer
}

func (r *record) Up(*Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ups++
}

func (r *record) Down(_ *Link, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.downs = append(r.downs, cause)
}

func (r *record) Data(_ *Link, in []byte) (int, int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.Write(in)
	return len(in), 0, nil
}

func (r *record) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func on(t *testing.T, l *testLoop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	if err := l.Do(func() { fn(); close(done) }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop does not answer")
	}
}

func add(s string) func([]byte) []byte { return func(b []byte) []byte { return append(b, s...) } }

func TestUpSendReconnect(t *testing.T) {
	srv, cli := start(t, "127.0.0.1:0"), start(t, "127.0.0.1:0")
	var r record
	link := New(cli, newDialer(t), Config{Addr: srv.Addrs()[0], BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond}, &r)
	on(t, cli, func() {
		if err := link.Send(add("x")); !errors.Is(err, ErrDown) {
			t.Errorf("send before start: %v", err)
		}
		link.Start()
		link.Start()
	})
	r.wait(t, "up", func() bool { return r.ups == 1 })
	on(t, cli, func() {
		for _, s := range []string{"one ", "two ", "three"} {
			if err := link.Send(add(s)); err != nil {
				t.Error(err)
			}
		}
	})
	r.wait(t, "echo", func() bool { return r.got.String() == "one two three" })

	addr := srv.Addrs()[0]
	stop(t, srv)
	r.wait(t, "down, and attempts that fail", func() bool { return len(r.downs) >= 4 })
	start(t, addr)
	r.wait(t, "up again", func() bool { return r.ups == 2 })
	on(t, cli, func() {
		if link.State() != Up || link.LastError() == nil {
			t.Errorf("state %v, last error %v", link.State(), link.LastError())
		}
		link.Drop(errors.New("no answer"))
	})
	r.wait(t, "redial after Drop", func() bool { return r.ups == 3 })
	on(t, cli, link.Stop)
	on(t, cli, func() {
		if err := link.Send(add("x")); link.State() != Stopped || !errors.Is(err, ErrDown) {
			t.Errorf("state %v, send %v", link.State(), err)
		}
	})
}

func TestFull(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cli := start(t, "127.0.0.1:0")
	var r record
	link := New(cli, newDialer(t), Config{Addr: ln.Addr().String(), MaxUnsent: 1 << 20}, &r)
	on(t, cli, link.Start)
	conn, err := ln.Accept() // never read from
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.wait(t, "up", func() bool { return r.ups == 1 })
	block := make([]byte, 256<<10)
	full := false
	for range 1000 {
		on(t, cli, func() {
			err := link.Send(func(b []byte) []byte { return append(b, block...) })
			full = errors.Is(err, ErrFull)
			if err != nil && !full {
				t.Errorf("send: %v", err)
			}
			if full && link.Unsent() <= 1<<20 {
				t.Errorf("refused with %d bytes unsent", link.Unsent())
			}
		})
		if full {
			return
		}
	}
	t.Fatal("a peer that never reads is sent 256 MB")
}

// Stop during an attempt: the attempt is broken off and its late success is thrown away.
func TestStopWhileDialing(t *testing.T) {
	srv, cli := start(t, "127.0.0.1:0"), start(t, "127.0.0.1:0")
	d := newDialer(t)
	plain := d.dial
	dialing, release := make(chan struct{}), make(chan struct{})
	d.dial = func(ctx context.Context, addr string) (net.Conn, error) {
		close(dialing)
		<-release
		if ctx.Err() == nil {
			t.Error("the attempt was not broken off")
		}
		return plain(context.Background(), addr)
	}
	var r record
	link := New(cli, d, Config{Addr: srv.Addrs()[0]}, &r)
	on(t, cli, link.Start)
	<-dialing
	on(t, cli, link.Stop)
	close(release)
	d.Close()
	on(t, cli, func() {
		if cli.Sessions() != 0 || link.State() != Stopped {
			t.Errorf("%d sessions, state %v", cli.Sessions(), link.State())
		}
	})
	if r.ups != 0 || len(r.downs) != 0 {
		t.Fatalf("%d ups and %v after Stop", r.ups, r.downs)
	}
}

func TestDialerFull(t *testing.T) {
	cli := start(t, "127.0.0.1:0")
	d := NewDialer(1, 1)
	defer d.Close()
	d.dial = func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var r record
	on(t, cli, func() {
		for range 3 {
			New(cli, d, Config{Addr: "127.0.0.1:1", DialTimeout: patience, BackoffMin: patience}, &r).Start()
		}
	})
	// One attempt runs and one waits, so at least the third is refused and reported.
	r.wait(t, "a refused attempt", func() bool { return len(r.downs) >= 1 })
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	l := New(nil, nil, Config{BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond}, nil)
	for i := range 100 {
		full := min(10*time.Millisecond<<min(i, 10), 100*time.Millisecond)
		if d := l.backoff(); d < full/2 || d > full {
			t.Fatalf("attempt %d: pause %v, want %v..%v", i, d, full/2, full)
		}
	}
}
