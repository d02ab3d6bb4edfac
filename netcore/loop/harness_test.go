package loop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain proves that no test leaves a goroutine behind. The pool that gnet enrolls connections with is one per
// process and keeps idle workers for ten seconds.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"))
}

const patience = 20 * time.Second

// msg is a message of the tests: run on the loop.
type msg struct {
	fn func()
	n  int
}

// echo answers frames of {4 byte length, body} with the same frame. Hooks replace parts of it.
type echo struct {
	maxFrame int
	onData   func(s *Session, in []byte) (int, int, error)
	onOpened func(s *Session) error
	onMsg    func(m *msg)
	onTurn   func()
	onSent   func()

	gone atomic.Bool // for tests: the loop has stopped

	mu     sync.Mutex
	opened int
	causes []error
	calls  int // of Data
	turns  int
}

func (e *echo) Opened(s *Session) error {
	if e.onOpened != nil {
		if err := e.onOpened(s); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
	return nil
}

var errFrame = errors.New("bad frame")

func (e *echo) Data(s *Session, in []byte) (int, int, error) {
	e.calls++
	if e.onData != nil {
		return e.onData(s, in)
	}
	return e.frames(s, in)
}

func (e *echo) frames(s *Session, in []byte) (int, int, error) {
	used := 0
	for {
		rest := in[used:]
		if len(rest) < 4 {
			return used, 4, nil
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n > e.maxFrame {
			return used, 0, errFrame
		}
		if len(rest) < 4+n {
			return used, 4 + n, nil
		}
		s.SetOut(append(s.Out(), rest[:4+n]...))
		used += 4 + n
		if s.Congested() {
			return used, 0, nil
		}
	}
}

func (e *echo) Closed(_ *Session, cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.causes = append(e.causes, cause)
}

func (e *echo) Message(m *msg) {
	if e.onMsg != nil {
		e.onMsg(m)
		return
	}
	m.fn()
}

func (e *echo) Turn() {
	e.turns++
	if e.onTurn != nil {
		e.onTurn()
	}
}

func (e *echo) Sent() {
	if e.onSent != nil {
		e.onSent()
	}
}

func (e *echo) closedWith() []error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]error(nil), e.causes...)
}

func (e *echo) openedCount() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opened
}

func newEcho() *echo { return &echo{maxFrame: 8 << 20} }

func startLoop(t testing.TB, cfg Config, h Handler[msg]) *Loop[msg] {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = t.Name()
	}
	if cfg.Addrs == nil {
		cfg.Addrs = []string{"127.0.0.1:0"}
	}
	l, err := Start[msg](cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopLoop(t, l) })
	return l
}

func stopLoop(t testing.TB, l *Loop[msg]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func dial(t testing.TB, l *Loop[msg]) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", l.Addrs()[0], patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func send(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func expect(t testing.TB, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %.40q, want %.40q", got, want)
	}
}

// expectClosed reads until the peer hangs up.
func expectClosed(t testing.TB, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Fatal("the connection stays open")
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// onLoop runs fn on the loop and waits for it.
func onLoop(t testing.TB, l *Loop[msg], fn func()) {
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

// holdLoop stops the loop within a turn until release is called.
func holdLoop(t testing.TB, l *Loop[msg]) (release func()) {
	t.Helper()
	entered, blocked := make(chan struct{}), make(chan struct{})
	if err := l.Do(func() { close(entered); <-blocked }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-entered:
	case <-time.After(patience):
		t.Fatal("the loop does not answer")
	}
	return func() { close(blocked) }
}

// timers starts a chain of n timers, 0 to 2 ms apart, and returns what the last one closes.
func timers(t testing.TB, l *Loop[msg], n int) <-chan struct{} {
	t.Helper()
	fired := make(chan struct{})
	var again func()
	again = func() {
		if n--; n == 0 {
			close(fired)
			return
		}
		l.After(time.Duration(n%3)*time.Millisecond, again)
	}
	onLoop(t, l, again)
	return fired
}
