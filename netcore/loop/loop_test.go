package loop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// modes are the two ways to wait, by Config.LibraryWaits.
var modes = map[string]bool{"rest": false, "library": true}

func TestEcho(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			l := startLoop(t, Config{LibraryWaits: mode}, newEcho())
			c := dial(t, l)
			for i := range 200 {
				f := frame(bytes.Repeat([]byte{byte(i)}, i*7))
				send(t, c, f)
				expect(t, c, f)
			}
		})
	}
}

// Frames of every size, cut into pieces of every size, several clients at once, in all modes.
func TestFragments(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			l := startLoop(t, Config{LibraryWaits: mode, ReadBufferCap: 1024}, newEcho())
			var wg sync.WaitGroup
			for _, piece := range []int{1, 3, 1000, 1 << 20} {
				c := dial(t, l)
				var all []byte
				for i := range 40 {
					all = append(all, frame(bytes.Repeat([]byte{byte(i)}, i*i*3))...)
				}
				if piece == 1 {
					all = all[:2000]
				}
				wg.Add(2)
				go func() {
					defer wg.Done()
					for rest := all; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
						send(t, c, rest[:min(piece, len(rest))])
					}
				}()
				go func() {
					defer wg.Done()
					expect(t, c, wholeFrames(all))
				}()
			}
			wg.Wait()
		})
	}
}

func wholeFrames(b []byte) []byte {
	n := 0
	for len(b)-n >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(b[n:]))
		if len(b)-n < size {
			break
		}
		n += size
	}
	return b[:n]
}

// A large frame that arrives in many pieces is looked at a few times, not once per piece.
func TestNeedSparesCalls(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{ReadBufferCap: 4096}, h)
	c := dial(t, l)
	f := frame(bytes.Repeat([]byte("payload!"), 1<<17))
	go func() { _, _ = c.Write(f) }()
	expect(t, c, f)
	onLoop(t, l, func() {
		if h.calls > 3 {
			t.Errorf("Data was called %d times for one frame of %d bytes read 4 KiB at a time", h.calls, len(f))
		}
	})
}

func TestGarbageAndAbsurdLengths(t *testing.T) {
	h := newEcho()
	h.maxFrame = 1 << 40 // believes any length
	l := startLoop(t, Config{MaxInbound: 1 << 20}, h)

	c := dial(t, l)
	send(t, c, []byte{0xff, 0xff, 0xff, 0xff, 1})
	expectClosed(t, c)
	eventually(t, "refusal of an absurd length", func() bool { return len(h.closedWith()) == 1 })
	if err := h.closedWith()[0]; !errors.Is(err, ErrInboundLimit) {
		t.Fatalf("closed with %v", err)
	}

	onLoop(t, l, func() { h.maxFrame = 100 })
	c = dial(t, l)
	good := frame([]byte("good"))
	send(t, c, append(append([]byte{}, good...), "garbage, definitely"...))
	expect(t, c, good) // what was answered before the error is still sent
	expectClosed(t, c)
	eventually(t, "refusal of garbage", func() bool { return len(h.closedWith()) == 2 })
	if err := h.closedWith()[1]; !errors.Is(err, errFrame) {
		t.Fatalf("closed with %v", err)
	}
}

// A sink that never says what it needs cannot make the loop buffer without end.
func TestInboundLimit(t *testing.T) {
	h := newEcho()
	h.onData = func(*Session, []byte) (int, int, error) { return 0, 0, nil }
	l := startLoop(t, Config{MaxInbound: 100_000}, h)
	c := dial(t, l)
	for {
		if _, err := c.Write(make([]byte, 10_000)); err != nil {
			break
		}
	}
	eventually(t, "close", func() bool { return len(h.closedWith()) == 1 })
	if err := h.closedWith()[0]; !errors.Is(err, ErrInboundLimit) {
		t.Fatalf("closed with %v", err)
	}
	eventually(t, "the count of it", func() bool { return l.Snapshot().InboundLimit == 1 })
}

// A client that sends and never reads: its input is not parsed any more, then it is closed; others do not notice.
func TestSlowReader(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newEcho()
			l := startLoop(t, Config{LibraryWaits: mode, MaxInbound: 1 << 20, OutboundPause: 64 << 10}, h)
			c := dial(t, l)
			block := bytes.Repeat(frame(make([]byte, 1000)), 100)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				for {
					if _, err := c.Write(block); err != nil {
						return
					}
				}
			}()
			other := dial(t, l)
			for range 50 {
				f := frame([]byte("hello"))
				send(t, other, f)
				expect(t, other, f)
			}
			<-gone
			eventually(t, "close", func() bool { return len(h.closedWith()) == 1 })
			if err := h.closedWith()[0]; !errors.Is(err, ErrSlowReader) {
				t.Fatalf("closed with %v", err)
			}
		})
	}
}

func TestMaxOutbound(t *testing.T) {
	h := newEcho()
	opened := make(chan Ref, 1)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{MaxOutbound: 1 << 20}, h)
	dial(t, l)
	ref := wait(t, opened)
	onLoop(t, l, func() {
		s := l.Session(ref)
		s.SetOut(append(s.Out(), make([]byte, 64<<20)...))
	})
	eventually(t, "close", func() bool { return len(h.closedWith()) == 1 })
	if err := h.closedWith()[0]; !errors.Is(err, ErrSlowReader) {
		t.Fatalf("closed with %v", err)
	}
}

// A client that reads late, but reads, gets everything: the pause ends by itself.
func TestPauseAndResume(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{OutboundPause: 16 << 10}, h)
	c := dial(t, l)
	all := bytes.Repeat(frame(bytes.Repeat([]byte("x"), 996)), 20_000)
	go func() { _, _ = c.Write(all) }()
	got := 0
	buf := make([]byte, 1<<20)
	for got < len(all) {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", got, len(all), err)
		}
		got += n
	}
}

func TestHoldAndRelease(t *testing.T) {
	h := newEcho()
	h.onData = func(s *Session, in []byte) (int, int, error) {
		s.Hold() // one byte at a time
		s.SetOut(append(s.Out(), in[0]))
		return 1, 0, nil
	}
	opened := make(chan Ref, 1)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{}, h)
	c := dial(t, l)
	ref := wait(t, opened)
	send(t, c, []byte("abc"))
	for i, want := range []string{"a", "b", "c"} {
		expect(t, c, []byte(want))
		onLoop(t, l, func() {
			if h.calls != i+1 {
				t.Errorf("%d calls of Data after %d releases", h.calls, i)
			}
			l.Session(ref).Release()
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{IdleTimeout: 2 * time.Second}, h) // a busy machine may hold up the lively one for a while
	silent, lively := dial(t, l), dial(t, l)
	f := frame([]byte("x"))
	for len(h.closedWith()) == 0 {
		send(t, lively, f)
		expect(t, lively, f)
		time.Sleep(5 * time.Millisecond) // the rate of the lively one, not a wait for anything
	}
	if err := h.closedWith()[0]; !errors.Is(err, ErrIdle) {
		t.Fatalf("closed with %v", err)
	}
	expectClosed(t, silent)
	send(t, lively, f)
	expect(t, lively, f)
}

// A client that sends its request and shuts its writing side down still gets the answer, with everything in one batch.
func TestHalfClose(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newEcho()
			l := startLoop(t, Config{LibraryWaits: mode}, h)
			for range 20 {
				c := dial(t, l)
				f := frame([]byte("last words"))
				send(t, c, f)
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				expect(t, c, f)
				expectClosed(t, c)
			}
			eventually(t, "all closed", func() bool { return len(h.closedWith()) == 20 })
			for _, err := range h.closedWith() {
				if err != io.EOF {
					t.Fatalf("closed with %v", err)
				}
			}
		})
	}
}

// A reference to a session that is gone never resolves to the one that took its slot.
func TestStaleReference(t *testing.T) {
	h := newEcho()
	opened := make(chan Ref, 1)
	h.onOpened = func(s *Session) error { opened <- s.Ref(); return nil }
	l := startLoop(t, Config{MaxSessions: 1}, h)
	var old *Session
	var refs []Ref
	for i := range 5 {
		c := dial(t, l)
		ref := wait(t, opened)
		for _, r := range refs {
			onLoop(t, l, func() {
				if l.Session(r) != nil || r.Slot != ref.Slot || r.Gen >= ref.Gen {
					t.Errorf("%v resolves although %v has the slot", r, ref)
				}
				// A late reply through a kept pointer goes nowhere.
				old.SetOut(append(old.Out(), "secret"...))
			})
		}
		f := frame([]byte{byte(i)})
		send(t, c, f)
		expect(t, c, f)
		onLoop(t, l, func() { old = l.Session(ref) })
		refs = append(refs, ref)
		c.Close()
		eventually(t, "close", func() bool { return len(h.closedWith()) == i+1 })
	}
}

func TestMaxSessions(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{MaxSessions: 3}, h)
	var kept []net.Conn
	for range 3 {
		kept = append(kept, dial(t, l))
	}
	eventually(t, "three sessions", func() bool { return h.openedCount() == 3 })
	for range 5 {
		expectClosed(t, dial(t, l))
	}
	f := frame([]byte("still here"))
	for _, c := range kept {
		send(t, c, f)
		expect(t, c, f)
	}
	eventually(t, "the count of refusals", func() bool { return l.Snapshot().Refused == 5 })
	if h.openedCount() != 3 {
		t.Fatalf("%d opened", h.openedCount())
	}
}

func TestOpenedMayRefuse(t *testing.T) {
	h := newEcho()
	h.onOpened = func(*Session) error { return errFrame }
	l := startLoop(t, Config{}, h)
	expectClosed(t, dial(t, l))
	onLoop(t, l, func() {
		if l.Sessions() != 0 {
			t.Errorf("%d sessions", l.Sessions())
		}
	})
	if len(h.closedWith()) != 0 {
		t.Fatal("Closed was called for a session that was refused")
	}
}

// Turn runs once for all input of a batch, after it and before the flush.
func TestTurnBatches(t *testing.T) {
	h := newEcho()
	pending := map[*Session][]byte{}
	widest := 0
	h.onData = func(s *Session, in []byte) (int, int, error) {
		pending[s] = append(pending[s], in...)
		return len(in), 0, nil
	}
	h.onTurn = func() {
		widest = max(widest, len(pending))
		for s, b := range pending {
			s.SetOut(append(s.Out(), b...))
		}
		clear(pending)
	}
	l := startLoop(t, Config{}, h)
	var conns []net.Conn
	for range 8 {
		conns = append(conns, dial(t, l))
	}
	eventually(t, "eight sessions", func() bool { return h.openedCount() == 8 })
	release := holdLoop(t, l) // so that all eight are ready together
	for _, c := range conns {
		send(t, c, []byte("ping"))
	}
	release()
	for _, c := range conns {
		expect(t, c, []byte("ping"))
	}
	onLoop(t, l, func() {
		if widest != 8 {
			t.Errorf("the widest turn had %d sessions of 8", widest)
		}
	})
}

// With one session at a time every turn ends where its socket was handled, without a task of the library.
func TestTurnsWithoutTasks(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	c, f := dial(t, l), frame([]byte("x"))
	send(t, c, f)
	expect(t, c, f)
	counts := func() (turns, inlined uint64) {
		onLoop(t, l, func() { turns, inlined = l.stats.Turns, l.stats.Inlined })
		return turns, inlined
	}
	turns, inlined := counts()
	for range 100 {
		send(t, c, f)
		expect(t, c, f)
	}
	moreTurns, moreInlined := counts()
	if moreTurns-turns < 100 || moreInlined-inlined < 100 {
		t.Fatalf("%d turns, %d of them without a task", moreTurns-turns, moreInlined-inlined)
	}
}

// The kernel tells which epoll instance is the library's, and a loop that rests finds it and its eventfd.
func TestFindPoll(t *testing.T) {
	var found, bells [2]int
	for i := range found {
		l := startLoop(t, Config{}, newEcho())
		onLoop(t, l, func() { found[i], bells[i] = l.pollFD, l.bell })
	}
	if found[0] < 0 || found[1] < 0 || found[0] == found[1] {
		t.Fatalf("epoll instances %v of two loops", found)
	}
	for i := range found {
		if poll, bell := findPoll(bells[i]); poll != found[i] || bell != bells[i] {
			t.Fatalf("%d is said to watch the eventfd %d, and %d to be one: they are %d and %d", poll, bells[i], bell, found[i], bells[i])
		}
		if poll, bell := findPoll(found[i]); poll >= 0 || bell >= 0 {
			t.Fatalf("%d is said to watch an epoll instance that nobody watches, with eventfd %d", poll, bell)
		}
	}
}

func TestTimersAndClock(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	fired := make(chan int64, 3)
	var start int64
	onLoop(t, l, func() {
		start = l.Now()
		for _, ms := range []int64{30, 10, 20} {
			l.After(time.Duration(ms)*time.Millisecond, func() { fired <- ms })
		}
		id := l.After(15*time.Millisecond, func() { t.Error("a cancelled timer fired") })
		if !l.Cancel(id) || l.Cancel(id) {
			t.Error("cancel")
		}
		if d := l.ReadClock() - l.Now(); d < 0 {
			t.Errorf("ReadClock is %d ns before Now", -d)
		}
		if d := time.Since(time.UnixMicro(l.WallMicros())); d < 0 || d > patience {
			t.Errorf("WallMicros is off by %v", d)
		}
	})
	for _, want := range []int64{10, 20, 30} {
		if got := wait(t, fired); got != want {
			t.Fatalf("timer %d fired when %d was due", got, want)
		}
		onLoop(t, l, func() {
			if l.Now() < start+want*int64(time.Millisecond) {
				t.Errorf("timer %d fired too early", want)
			}
		})
	}
}

// A handler that keeps a timer re-arming beside traffic and messages: no deadline is lost.
func TestTimersUnderLoad(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	c := dial(t, l)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		f := frame([]byte("x"))
		for {
			select {
			case <-stop:
				return
			default:
			}
			send(t, c, f)
			expect(t, c, f)
		}
	}()
	fired := timers(t, l, 100)
	wait(t, fired)
	close(stop)
	<-done
}

func TestSetOutAllocatesNothing(t *testing.T) {
	h := newEcho()
	l := startLoop(t, Config{}, h)
	dial(t, l)
	eventually(t, "a session", func() bool { return h.openedCount() == 1 })
	onLoop(t, l, func() {
		var s *Session
		l.EachSession(func(x *Session) { s = x })
		real := s.t
		defer func() { s.t = real }()
		s.t = &sinkTransport{}
		reply := make([]byte, 300)
		round := func() {
			for range 20 {
				s.SetOut(append(s.Out(), reply...))
			}
			l.flush()
		}
		round()
		round()
		if n := testing.AllocsPerRun(100, round); n != 0 {
			t.Errorf("%v allocations per flush", n)
		}
	})
}

// sinkTransport takes everything.
type sinkTransport struct{}

func (*sinkTransport) write([]byte) {}
func (*sinkTransport) unsent() int  { return 0 }
func (*sinkTransport) close()       {}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no address":       {},
		"negative":         {Addrs: []string{"127.0.0.1:0"}, MaxInbound: -1},
		"pause over max":   {Addrs: []string{"127.0.0.1:0"}, MaxOutbound: 10, OutboundPause: 20},
		"bad address":      {Addrs: []string{"127.0.0.1"}},
		"foreign address":  {Addrs: []string{"127.0.0.1:0", "192.0.2.1:0"}},
		"negative timeout": {Addrs: []string{"127.0.0.1:0"}, IdleTimeout: -1},
	} {
		if l, err := Start[msg](cfg, newEcho()); err == nil {
			stopLoop(t, l)
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPorts(t *testing.T) {
	l := startLoop(t, Config{Addrs: []string{"127.0.0.1:0", "127.0.0.1:0"}}, newEcho())
	if err := CheckPortsFree(l.Addrs()); err == nil {
		t.Fatal("a port that a loop listens on is said to be free")
	}
	// Two loops may share an address on purpose.
	shared := startLoop(t, Config{Addrs: l.Addrs()[:1]}, newEcho())
	if shared.Addrs()[0] != l.Addrs()[0] || l.Addrs()[0] == l.Addrs()[1] {
		t.Fatalf("addresses %v and %v", l.Addrs(), shared.Addrs())
	}
	addrs := l.Addrs()
	stopLoop(t, l)
	stopLoop(t, shared)
	if err := CheckPortsFree(addrs); err != nil {
		t.Fatal(err)
	}
	if n, err := RaiseFileLimit(); err != nil || n == 0 {
		t.Fatalf("limit %d, %v", n, err)
	}
}

func TestStopTwice(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	stopLoop(t, l)
	if err := l.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Post(msg{}); err == nil {
		t.Fatal("a stopped loop takes messages")
	}
	c1, c2 := net.Pipe()
	defer c2.Close()
	if err := l.Adopt(c1, nil); !errors.Is(err, ErrStopped) {
		t.Fatalf("adopt: %v", err)
	}
}

// When the handler waits, the output of the turn is with the client, and what it leaves in the mailbox comes with the next turn.
func TestSentMayWait(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newEcho()
			answered, message := make(chan struct{}), make(chan struct{})
			var l *Loop[msg]
			h.onMsg = func(*msg) { close(message) }
			h.onSent = func() {
				if h.calls == 1 {
					h.calls++
					<-answered
					if err := l.PostMust(msg{}); err != nil {
						t.Error(err)
					}
				}
			}
			l = startLoop(t, Config{LibraryWaits: mode}, h)
			c := dial(t, l)
			f := frame([]byte("x"))
			send(t, c, f)
			expect(t, c, f) // or Sent would have come first
			answered <- struct{}{}
			select {
			case <-message:
			case <-time.After(patience):
				t.Fatal("the message does not come")
			}
		})
	}
}

// A turn that the handler asks for comes after the sockets that are ready meanwhile.
func TestAgainLooksAtTheSockets(t *testing.T) {
	h := newEcho()
	began, goOn, seen := make(chan struct{}), make(chan struct{}), make(chan int)
	step := 0
	var l *Loop[msg]
	h.onSent = func() {
		switch {
		case step == 0 && h.calls == 1:
			step = 1
			close(began)
			<-goOn
			l.Again()
		case step == 1:
			step = 2
			seen <- h.calls
		}
	}
	fds := make(chan int, 2)
	h.onOpened = func(s *Session) error { fds <- s.t.(*gnetTransport).conn.Fd(); return nil }
	l = startLoop(t, Config{}, h)
	a, b := dial(t, l), dial(t, l)
	sockets := []int{wait(t, fds), wait(t, fds)}
	onLoop(t, l, func() {}) // the turns that the connections asked for are over
	f := frame([]byte("x"))
	send(t, a, f)
	<-began
	send(t, a, f)
	send(t, b, f)
	for _, fd := range sockets {
		eventually(t, "the input is there", func() bool {
			n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			return err == nil && n == len(f)
		})
	}
	close(goOn)
	if n := <-seen; n != 3 {
		t.Errorf("the turn has seen %d inputs, want 3", n)
	}
	expect(t, a, f)
	expect(t, a, f)
	expect(t, b, f)
}
