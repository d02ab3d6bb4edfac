package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// These tests state what gnet does, good or bad, where this package is built around it. When one fails after an
// upgrade, read gnetloop.go again before changing the test.

// raw is a bare gnet engine with one loop.
type raw struct {
	gnet.BuiltinEventEngine
	eng       gnet.Engine
	booted    chan struct{}
	onOpen    func(gnet.Conn)
	onTraffic func(gnet.Conn)
	onClose   func(gnet.Conn, error)
	onTick    func()
}

func (r *raw) OnBoot(e gnet.Engine) gnet.Action { r.eng = e; close(r.booted); return gnet.None }
func (r *raw) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if r.onOpen != nil {
		r.onOpen(c)
	}
	return nil, gnet.None
}
func (r *raw) OnTraffic(c gnet.Conn) gnet.Action {
	if r.onTraffic != nil {
		r.onTraffic(c)
	}
	return gnet.None
}
func (r *raw) OnClose(c gnet.Conn, err error) gnet.Action {
	if r.onClose != nil {
		r.onClose(c, err)
	}
	return gnet.None
}
func (r *raw) OnTick() (time.Duration, gnet.Action) {
	if r.onTick != nil {
		r.onTick()
	}
	return time.Hour, gnet.None
}

// startRaw runs r and returns a function that connects to it.
func startRaw(t *testing.T, r *raw) (connect func() net.Conn) {
	t.Helper()
	res, addrs, err := reserve([]string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.release()
	r.booted = make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- gnet.Run(r, "tcp://"+addrs[0], gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true),
			gnet.WithTicker(r.onTick != nil), gnet.WithLogger(zap.NewNop().Sugar()))
	}()
	select {
	case <-r.booted:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.eng.Stop(ctx); err != nil && !errors.Is(err, gneterrors.ErrEngineInShutdown) {
			t.Errorf("stop: %v", err)
		}
		<-done
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// Tasks beyond 1024 wait in a second queue, and a task posted later overtakes them.
func TestTrapExecuteIsNotFIFO(t *testing.T) {
	result := make(chan []int, 1)
	r := &raw{onTraffic: func(c gnet.Conn) {
		_, _ = c.Discard(-1)
		var order []int
		post := func(n int, fn func()) {
			_ = c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
				order = append(order, n)
				if fn != nil {
					fn()
				}
				if len(order) == 1101 {
					result <- order
				}
				return nil
			}))
		}
		post(0, func() { post(1100, nil) })
		for n := 1; n < 1100; n++ {
			post(n, nil)
		}
	}}
	send(t, startRaw(t, r)(), []byte("x"))
	for i, n := range wait(t, result) {
		if n != i {
			return
		}
	}
	t.Fatal("Execute kept the order")
}

func TestTrapScheduleUnsupportedAndTickOffLoop(t *testing.T) {
	tick, loop := make(chan string, 1), make(chan string, 1)
	r := &raw{
		onTick: func() { tick <- goroutine() },
		onTraffic: func(c gnet.Conn) {
			if err := c.EventLoop().Schedule(context.Background(), nil, time.Second); !errors.Is(err, gneterrors.ErrUnsupportedOp) {
				t.Errorf("Schedule: %v", err)
			}
			_, _ = c.Discard(-1)
			loop <- goroutine()
		},
	}
	send(t, startRaw(t, r)(), []byte("x"))
	if a, b := wait(t, tick), wait(t, loop); a == b {
		t.Fatal("OnTick runs on the loop")
	}
}

func goroutine() string {
	b := make([]byte, 64)
	return strings.Fields(string(b[:runtime.Stack(b, false)]))[1]
}

func TestTrapDiscardZeroDiscardsAll(t *testing.T) {
	left := make(chan int, 1)
	r := &raw{onTraffic: func(c gnet.Conn) {
		_, _ = c.Discard(0)
		left <- c.InboundBuffered()
	}}
	send(t, startRaw(t, r)(), []byte("abcde"))
	if n := wait(t, left); n != 0 {
		t.Fatalf("%d bytes left", n)
	}
}

func TestTrapSlicesDieWithOnTraffic(t *testing.T) {
	var kept []byte
	seen := make(chan string, 2)
	r := &raw{onTraffic: func(c gnet.Conn) {
		b, _ := c.Next(-1)
		if kept == nil {
			kept = b
		}
		seen <- string(kept)
	}}
	connect := startRaw(t, r)
	send(t, connect(), []byte("first"))
	if s := wait(t, seen); s != "first" {
		t.Fatalf("got %q", s)
	}
	send(t, connect(), []byte("OTHER"))
	if s := wait(t, seen); s != "OTHER" {
		t.Fatalf("the slice of one client still says %q", s)
	}
}

func TestTrapWritevBeyond1024Closes(t *testing.T) {
	closed := make(chan error, 1)
	r := &raw{
		onTraffic: func(c gnet.Conn) {
			_, _ = c.Discard(-1)
			segments := make([][]byte, 1500)
			for i := range segments {
				segments[i] = []byte("x")
			}
			_, _ = c.Writev(segments)
		},
		onClose: func(_ gnet.Conn, err error) { closed <- err },
	}
	send(t, startRaw(t, r)(), []byte("x"))
	if err := wait(t, closed); !errors.Is(err, unix.EINVAL) {
		t.Fatalf("closed with %v", err)
	}
}

// A Write that fails calls OnClose before it returns, and takes the connection's context away.
func TestTrapWriteClosesInside(t *testing.T) {
	inside, result := false, make(chan string, 1)
	r := &raw{
		onTraffic: func(c gnet.Conn) {
			_, _ = c.Discard(-1)
			c.SetContext("mine")
			_ = unix.Shutdown(c.Fd(), unix.SHUT_WR)
			inside = true
			_, err := c.Write([]byte("x"))
			result <- fmt.Sprint(err != nil, inside, c.Context())
		},
		onClose: func(gnet.Conn, error) { inside = false },
	}
	send(t, startRaw(t, r)(), []byte("x"))
	if s := wait(t, result); s != "true false <nil>" {
		t.Fatalf("got %q", s)
	}
}

// A write through a connection that is closed reaches whoever got its descriptor.
func TestTrapStaleWriteReachesAnother(t *testing.T) {
	var first gnet.Conn
	fds, closed := make(chan int, 2), make(chan struct{}, 2)
	r := &raw{
		onOpen: func(c gnet.Conn) { fds <- c.Fd() },
		onTraffic: func(c gnet.Conn) {
			_, _ = c.Discard(-1)
			if first == nil {
				first = c
				_ = c.EventLoop().Close(c)
				return
			}
			_, _ = first.Write([]byte("secret"))
		},
		onClose: func(gnet.Conn, error) { closed <- struct{}{} },
	}
	connect := startRaw(t, r)
	a := connect()
	old := wait(t, fds)
	// The second client has its socket already, so that the lowest free descriptor goes to the server's side of it.
	b := rawSocket(t)
	send(t, a, []byte("x"))
	wait(t, closed)
	b.connect(a.RemoteAddr().(*net.TCPAddr).Port)
	if fd := wait(t, fds); fd != old {
		t.Skipf("descriptor %d was not reused, but %d", old, fd)
	}
	b.write("x")
	if got := b.read(); got != "secret" {
		t.Fatalf("got %q", got)
	}
}

// rawFD is a client socket whose descriptor is taken when the test says so.
type rawFD struct {
	t  *testing.T
	fd int
}

func rawSocket(t *testing.T) rawFD {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		t.Fatal(err)
	}
	return rawFD{t, fd}
}

func (r rawFD) connect(port int) {
	r.t.Helper()
	if err := unix.Connect(r.fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r rawFD) write(s string) {
	r.t.Helper()
	if _, err := unix.Write(r.fd, []byte(s)); err != nil {
		r.t.Fatal(err)
	}
}

func (r rawFD) read() string {
	r.t.Helper()
	buf := make([]byte, 100)
	n, err := unix.Read(r.fd, buf)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(buf[:n])
}

// Running out of descriptors ends the engine without an error; the loop reports it as fatal. A process of its own.
func TestTrapOutOfDescriptorsIsFatal(t *testing.T) {
	if os.Getenv("LOOP_EMFILE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTrapOutOfDescriptorsIsFatal$")
		cmd.Env = append(os.Environ(), "LOOP_EMFILE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "fatal as it should be") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	fatal := make(chan error, 1)
	h := newEcho()
	l, err := Start[msg](Config{Name: "starved", Addrs: []string{"127.0.0.1:0"}, OnFatal: func(err error) { fatal <- err }}, h)
	if err != nil {
		t.Fatal(err)
	}
	client := rawSocket(t)
	addr, err := net.ResolveTCPAddr("tcp", l.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Dup(0)
	}
	client.connect(addr.Port)
	if err := wait(t, fatal); err == nil {
		t.Fatal("no cause")
	}
	if err := l.Post(msg{}); err == nil {
		t.Fatal("a dead loop takes messages")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Stop(ctx); err == nil {
		t.Fatal("Stop of a dead loop reports nothing")
	}
	fmt.Println("fatal as it should be")
}

// readable tells whether a descriptor becomes readable within so many milliseconds.
func readable(t *testing.T, fd, millis int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, millis)
	if err != nil && err != unix.EINTR {
		t.Errorf("poll: %v", err)
	}
	return n > 0
}

func pollOf(c gnet.Conn) int {
	poll, _ := findPoll(c.Fd())
	return poll
}

// From within OnTraffic the epoll instance tells whether another socket of the loop has something to read.
func TestTrapEpollTellsOfSockets(t *testing.T) {
	var others, alone = make(chan bool, 1), make(chan bool, 1)
	opened, blocked := make(chan gnet.Conn, 2), make(chan struct{})
	calls := 0
	r := &raw{
		onOpen: func(c gnet.Conn) { opened <- c },
		onTraffic: func(c gnet.Conn) {
			_, _ = c.Discard(-1)
			switch calls++; calls {
			case 1:
				<-blocked // until the second socket has its byte
				others <- readable(t, pollOf(c), 5000)
			case 2:
				alone <- readable(t, pollOf(c), 0)
			}
		},
	}
	connect := startRaw(t, r)
	one, two := connect(), connect()
	wait(t, opened)
	wait(t, opened)
	send(t, one, []byte("x"))
	send(t, two, []byte("x"))
	close(blocked)
	if !wait(t, others) {
		t.Error("the second socket is ready and epoll does not say so")
	}
	if wait(t, alone) {
		t.Error("no socket is ready and epoll says that one is")
	}
}

// A task that is posted while one runs is not told to epoll: the library looks for it when the one has ended. Who waits for
// epoll inside a task waits in vain.
func TestTrapTasksWhileOneRunsAreSilent(t *testing.T) {
	told, ran := make(chan bool, 1), make(chan struct{})
	r := &raw{onTraffic: func(c gnet.Conn) {
		_, _ = c.Discard(-1)
		el, poll := c.EventLoop(), pollOf(c)
		_ = el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			posted := make(chan error)
			go func() {
				posted <- el.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error { close(ran); return nil }))
			}()
			if err := <-posted; err != nil {
				t.Error(err)
			}
			told <- readable(t, poll, 20)
			return nil
		}))
	}}
	send(t, startRaw(t, r)(), []byte("x"))
	if wait(t, told) {
		t.Error("epoll tells of tasks: rest need not care about them any more")
	}
	wait(t, ran)
}

// Edges of the eventfd that no task belongs to, one of them made by a descriptor that bears its number, disturb nothing, and a task
// still comes.
func TestTrapEdgesWithoutTasks(t *testing.T) {
	seen, ran := make(chan string, 3), make(chan struct{})
	clock, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(clock) })
	var poll, bell int
	r := &raw{
		onOpen: func(c gnet.Conn) {
			poll, bell = findPoll(c.Fd())
			on := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(bell), Pad: ofClock}
			if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, clock, &on); err != nil {
				t.Error(err)
			}
		},
		onTraffic: func(c gnet.Conn) {
			b, _ := c.Next(-1)
			seen <- string(b)
			if string(b) == "task" {
				_ = c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error { close(ran); return nil }))
			}
		},
	}
	c := startRaw(t, r)()
	edges := func() {
		one := [8]byte{1}
		if _, err := unix.Write(bell, one[:]); err != nil {
			t.Fatal(err)
		}
		if err := unix.TimerfdSettime(clock, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 1}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, word := range []string{"first", "second", "task"} {
		send(t, c, []byte(word))
		if got := wait(t, seen); got != word {
			t.Fatalf("got %q", got)
		}
		edges()
	}
	wait(t, ran)
}

// What is read from a socket beside the library is missed by nobody, and the library goes on with what comes after it.
func TestTrapReadingBeside(t *testing.T) {
	seen, beside := make(chan string, 2), make(chan string, 1)
	r := &raw{onTraffic: func(c gnet.Conn) {
		b, _ := c.Next(-1)
		seen <- string(b)
		if string(b) == "one" {
			if !readable(t, c.Fd(), 5000) {
				t.Error("nothing more came")
			}
			buf := make([]byte, 100)
			n, err := unix.Read(c.Fd(), buf)
			if err != nil || c.InboundBuffered() != 0 {
				t.Errorf("read: %v; %d bytes are buffered", err, c.InboundBuffered())
			}
			beside <- string(buf[:max(n, 0)])
		}
	}}
	c := startRaw(t, r)()
	send(t, c, []byte("one"))
	if got := wait(t, seen); got != "one" {
		t.Fatalf("got %q", got)
	}
	send(t, c, []byte("two"))
	if got := wait(t, beside); got != "two" {
		t.Fatalf("got %q", got)
	}
	send(t, c, []byte("three"))
	if got := wait(t, seen); got != "three" {
		t.Fatalf("got %q", got)
	}
}
