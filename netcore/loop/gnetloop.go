package loop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"

	"pegasus/netcore/spin"
	"pegasus/netcore/timerslack"
)

// What we know of gnet v2.10.0 and rely on; traps_test.go holds a test for each.
//
//   - Execute is not FIFO: it only means "look" here (core.wake).
//   - Write does not check that the connection is open, and a late one reaches whoever got the descriptor: only
//     Session writes, and its transport is taken away in OnClose.
//   - A slice from Next lives until OnTraffic returns. We take everything and buffer the rest ourselves: then
//     Discard(0), which discards all, and Peek, which copies again and again, are never called.
//   - A failing Write calls OnClose before it returns.
//   - Writev beyond 1024 segments closes the connection: we write one contiguous buffer.
//   - Execute while the engine goes down may write to a descriptor number that has been closed and reused: wake is
//     shut off, under a lock, before that can begin.
//   - Accept failing for want of descriptors ends the engine, and Run returns nil.
//   - A loop's handle is reachable through a connection only: one end of a socket pair is enrolled at start.
//   - Its epoll instance tells whoever waits for it of its sockets, by descriptor, again and again while they are ready, and is
//     silent about tasks posted while one runs (rest).
//   - It reads into a buffer that it keeps nothing in once OnTraffic has taken all: who reads a socket beside it misses nothing.
//   - An edge of its eventfd without a task makes it look for one, and nothing else. It looks at no more of an event than Fd.
//   - Enroll leaves a goroutine behind when the engine stops meanwhile: stop waits for adoptions first.

// engine is the gnet half of a core.
type engine struct {
	addrs []string
	eng   gnet.Engine
	el    gnet.EventLoop

	bootOnce sync.Once
	ready    chan error    // the outcome of obtaining the loop's handle
	done     chan struct{} // closed when gnet has returned
	runErr   error         // valid after done

	reachable spin.Gate // open while the library and the bell may be told of something

	adoptMu   sync.Mutex
	adopting  sync.WaitGroup
	stopAsked bool // guarded by adoptMu

	// Loop goroutine only.
	stopping bool
	drained  chan struct{} // closed when stopping and no session is left; nil once closed
	final    bool          // the next task ends the loop
}

// bootTag marks the connection through which the loop's handle is obtained.
type bootTag struct{}

// adoption travels with an adopted connection to OnOpen.
type adoption struct {
	state any
	err   error
}

func (e *engine) init() {
	e.ready = make(chan error, 1)
	e.done = make(chan struct{})
}

func (c *core) start() error {
	reserved, addrs, err := reserve(c.cfg.Addrs)
	if err != nil {
		return fmt.Errorf("loop %s: %w", c.cfg.Name, err)
	}
	defer reserved.release()
	c.addrs = addrs
	if err := c.rester.init(); err != nil {
		return fmt.Errorf("loop %s: %w", c.cfg.Name, err)
	}

	go c.run()
	select {
	case err = <-c.ready:
		if err != nil {
			c.giveUp()
		}
	case <-c.done:
		err = c.runErr
	}
	if err != nil {
		return fmt.Errorf("loop %s: %w", c.cfg.Name, err)
	}
	return c.Do(func() {
		c.publishTick()
		if c.cfg.IdleTimeout > 0 {
			c.idleTick()
		}
	})
}

// giveUp ends an engine whose loop could not be reached.
func (c *core) giveUp() {
	c.adoptMu.Lock()
	c.stopAsked = true
	c.adoptMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := c.eng.Stop(ctx); err == nil {
		<-c.done
	}
}

// run is the body of the goroutine that waits for gnet.
func (c *core) run() {
	urls := make([]string, len(c.addrs))
	for i, a := range c.addrs {
		urls[i] = "tcp://" + a
	}
	err := gnet.Rotate((*gnetHandler)(c), urls,
		gnet.WithNumEventLoop(1),
		gnet.WithReusePort(true),
		gnet.WithReuseAddr(true),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithReadBufferCap(c.cfg.ReadBufferCap),
		gnet.WithLockOSThread(true),
		gnet.WithTicker(true),
		gnet.WithLogger(c.cfg.Logger.Named("gnet").Sugar()))
	c.reachable.Shut()
	c.rester.close()
	c.policy.close()
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.adoptMu.Lock()
	asked := c.stopAsked
	c.stopAsked = true
	c.adoptMu.Unlock()
	c.host.closeBox()
	c.control.Close()
	if err == nil && !asked {
		err = errors.New("the event loop ended by itself, likely for want of file descriptors")
	}
	c.runErr = err
	started := c.el != nil
	close(c.done)
	if !asked && started {
		c.cfg.OnFatal(fmt.Errorf("loop %s: %w", c.cfg.Name, err))
	}
}

type wakeTask core

// Run is the turn end that gnet runs between two batches of sockets.
func (w *wakeTask) Run(context.Context) error {
	c := (*core)(w)
	c.where.Store(awake)
	c.taskQueued.Store(false)
	c.wakeQueued.Store(false)
	c.begin()
	c.finish(true)
	if c.stopping && c.table.count == 0 && c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	if c.final {
		return c.finale()
	}
	c.rest(true)
	return nil
}

// gnetHandler is core as gnet sees it.
type gnetHandler core

func (h *gnetHandler) OnBoot(eng gnet.Engine) gnet.Action {
	h.eng = eng
	return gnet.None
}

// OnTick runs on a goroutine of gnet's, for the first time when the loop exists. That is what it is used for.
func (h *gnetHandler) OnTick() (time.Duration, gnet.Action) {
	h.bootOnce.Do(func() { h.ready <- (*core)(h).obtainHandle() })
	return math.MaxInt64, gnet.None
}

func (c *core) obtainHandle() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(fds[1])
	f := os.NewFile(uintptr(fds[0]), "loop-boot")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return err
	}
	ctx := gnet.NewNetConnContext(gnet.NewContext(context.Background(), bootTag{}), conn)
	res, err := c.eng.Register(ctx)
	if err != nil {
		conn.Close()
		return err
	}
	r := <-res
	<-res // closed when gnet has given the descriptors back
	return r.Err
}

func (h *gnetHandler) OnShutdown(gnet.Engine) { (*core)(h).reachable.Shut() }

func (h *gnetHandler) OnOpen(conn gnet.Conn) ([]byte, gnet.Action) {
	c := (*core)(h)
	if c.enter() {
		defer c.leave(false)
	}
	switch tag := conn.Context().(type) {
	case bootTag:
		// A connection may have been accepted before this one and have asked for a turn end: leave looks for it.
		c.el = conn.EventLoop()
		c.reachable.Open()
		if !c.cfg.LibraryWaits {
			c.restOn(conn.Fd())
		}
		if !c.cfg.NormalPolicy {
			c.policy.open()
		}
		_ = timerslack.SetThread(timerslack.Normal) // for sleeps of what runs on the loop, such as a store that holds writes back
		return nil, gnet.Close
	case *adoption:
		conn.SetContext(nil)
		tag.err = c.open(conn, tag.state, true)
		if tag.err != nil {
			return nil, gnet.Close
		}
	default:
		if c.open(conn, nil, false) != nil {
			return nil, gnet.Close
		}
	}
	return nil, gnet.None
}

// open makes a session of conn. On error conn has no session and must be closed.
func (c *core) open(conn gnet.Conn, state any, dialled bool) error {
	c.begin()
	defer c.wake()
	switch {
	case c.stopping:
		c.stats.Refused++
		return ErrStopped
	case c.table.count >= c.cfg.MaxSessions:
		c.stats.Refused++
		return ErrTooMany
	}
	if c.cfg.KeepAlive > 0 && !dialled {
		// For the rest of the descriptors the kernel's word is final; a connection without keep-alive still works.
		_ = conn.SetKeepAlive(true, c.cfg.KeepAlive, max(c.cfg.KeepAlive/3, time.Second), 3)
	}
	s := &Session{loop: c, sink: c.sink, State: state, Dialled: dialled, lastActive: c.now}
	s.RemoteAddr, s.LocalAddr = addrString(conn.RemoteAddr()), addrString(conn.LocalAddr())
	if own, ok := state.(Sink); ok {
		s.sink = own
	}
	s.t = &gnetTransport{conn: conn, el: conn.EventLoop()} // c.el is not there yet while the loop starts
	c.table.add(s)
	if err := s.sink.Opened(s); err != nil {
		s.t = nil
		c.forget(s)
		return err
	}
	c.busy = true
	c.stats.Opened++
	conn.SetContext(s)
	c.know(conn.Fd(), s)
	return nil
}

func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func (h *gnetHandler) OnTraffic(conn gnet.Conn) gnet.Action {
	s, ok := conn.Context().(*Session)
	if !ok {
		return gnet.Close
	}
	fresh, err := conn.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if len(fresh) > 0 {
		c := (*core)(h)
		c.enter()
		c.traffic(s, fresh)
		c.rest(false)
	}
	return gnet.None
}

func (h *gnetHandler) OnClose(conn gnet.Conn, err error) gnet.Action {
	s, ok := conn.Context().(*Session)
	if !ok || s.t == nil {
		return gnet.None
	}
	c := (*core)(h)
	if c.enter() {
		defer c.leave(false)
	}
	if c.inTurn && !c.finishing {
		// A client that sends a request and shuts down its writing side still reads: answer what this turn has.
		c.finish(false)
	}
	c.begin()
	s.t = nil
	c.know(conn.Fd(), nil)
	if s.broken != nil {
		err = s.broken
	}
	c.closed(s, err)
	return gnet.None
}

// closed tells the sink that the connection of s is gone.
func (c *core) closed(s *Session, err error) {
	if !s.closing {
		switch {
		case errors.Is(err, io.EOF):
			s.cause = io.EOF
		case err != nil:
			s.cause = err
		default:
			s.cause = ErrStopped
		}
	}
	s.closing = true
	c.forget(s)
	c.countClose(s.cause)
	c.busy = true
	s.sink.Closed(s, s.cause)
	if !c.finishing {
		c.wake()
	}
}

// forget takes s out of the table and its buffers back.
func (c *core) forget(s *Session) {
	c.table.remove(s)
	s.dropInput()
	c.pool.Put(s.out)
	s.out = nil
}

// gnetTransport is the transport of accepted and adopted connections.
type gnetTransport struct {
	conn gnet.Conn
	el   gnet.EventLoop
}

func (t *gnetTransport) write(p []byte) {
	// A failure has closed the connection and reported it through OnClose by the time Write returns.
	_, _ = t.conn.Write(p)
}

func (t *gnetTransport) unsent() int { return t.conn.OutboundBuffered() }

func (t *gnetTransport) close() {
	// The error is about a descriptor that is gone already; OnClose has run.
	_ = t.el.Close(t.conn)
}

func (c *core) adopt(conn net.Conn, state any) error {
	c.adoptMu.Lock()
	if c.stopAsked {
		c.adoptMu.Unlock()
		conn.Close()
		return ErrStopped
	}
	c.adopting.Add(1)
	c.adoptMu.Unlock()
	defer c.adopting.Done()

	// The library's task for it may not be waited for in rest.
	c.guests.Add(1)
	defer c.guests.Add(-1)
	c.wake()
	a := &adoption{state: state}
	res, err := c.el.Enroll(gnet.NewContext(context.Background(), a), conn)
	if err != nil {
		conn.Close()
		return err
	}
	select {
	case r := <-res:
		if r.Err != nil {
			return r.Err
		}
		return a.err
	case <-c.done:
		return ErrStopped
	}
}

// How long Stop waits for a loop that must only close its sockets, after ctx ended.
const stopGrace = 5 * time.Second

func (c *core) stop(ctx context.Context) error {
	c.adoptMu.Lock()
	dead := c.stopAsked
	c.stopAsked = true
	c.adoptMu.Unlock()
	if dead {
		<-c.done
		return c.runErr
	}
	adopted, drained := make(chan struct{}), make(chan struct{})
	go func() {
		c.adopting.Wait()
		close(adopted)
	}()
	select {
	case <-adopted:
	case <-ctx.Done():
	}

	var cut error
	if err := c.control.PostMust(func() {
		c.stopping, c.drained = true, drained
		c.table.each(func(s *Session) { s.Close(ErrStopped) })
	}); err != nil {
		return err
	}
	select {
	case <-drained:
	case <-c.done:
		return c.runErr
	case <-ctx.Done():
		cut = fmt.Errorf("loop %s: sessions cut at stop: %w", c.cfg.Name, ctx.Err())
	}
	if err := c.control.PostMust(func() { c.final = true }); err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-time.After(stopGrace):
		return fmt.Errorf("loop %s: the loop does not answer", c.cfg.Name)
	}
	return errors.Join(cut, c.runErr)
}

// finale runs on the loop: deliver what was accepted, close what is open, end the engine.
func (c *core) finale() error {
	c.host.closeBox()
	c.control.Close()
	for {
		c.wakeQueued.Store(false)
		c.begin()
		c.finish(true)
		c.table.each(func(s *Session) { s.Abort(ErrStopped) })
		if !c.pending() {
			break
		}
	}
	c.publish()
	c.policy.end()
	c.reachable.Shut()
	return gneterrors.ErrEngineShutdown
}

// pending tells whether another turn would have something to do.
func (c *core) pending() bool {
	return c.table.count+len(c.closers)+len(c.dirty)+len(c.resumable) > 0 || c.wakeQueued.Load()
}
