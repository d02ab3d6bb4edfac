// Package loop runs one event loop: the sockets, timers and mailbox of one owner, all on one goroutine, worked off in
// turns. It hands bytes to a Handler and knows nothing of frames, partitions or replication, and nobody outside ever
// sees the event library underneath.
//
// Everything here belongs to the loop's goroutine except what says otherwise.
package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"pegasus/netcore/bufpool"
	"pegasus/netcore/mailbox"
	"pegasus/netcore/timer"
)

// Causes that Closed reports besides those of the operating system (a client that hung up is io.EOF).
var (
	ErrStopped      = errors.New("loop: stopped")
	ErrSlowReader   = errors.New("loop: peer reads too slowly")
	ErrInboundLimit = errors.New("loop: too many unparsed bytes")
	ErrIdle         = errors.New("loop: session idle for too long")
	ErrTooMany      = errors.New("loop: too many sessions")
)

// Sink receives the events of a session. Calls never nest, and no call blocks.
type Sink interface {
	// Opened announces a session. An error closes it at once; then Closed is not called.
	Opened(s *Session) error

	// Data is called with everything that is buffered and not yet consumed. It consumes whole frames from the front
	// and returns the bytes it consumed. need, when not 0, is the number of bytes, counted from the first one not
	// consumed, without which another call makes no sense: the loop calls again only when that many are there, so
	// that a large frame is not looked at once per packet. need beyond Config.MaxInbound closes the session, as does
	// err, after what was appended to the output so far has been sent.
	//
	// in dies when Data returns: copy what lives longer. A sink that finds s.Congested() stops consuming and returns
	// need 0; it is called again, with the same bytes, once the output has drained.
	Data(s *Session, in []byte) (consumed, need int, err error)

	// Closed is the last call for a session. s.Ref() resolves to nil from now on.
	Closed(s *Session, cause error)
}

// Handler is the owner of a loop. Sink gets the sessions that have no Sink of their own (see Adopt).
type Handler[M any] interface {
	Sink
	// Message delivers one message of the mailbox. m is valid during the call only.
	Message(m *M)
	// Turn ends a turn: all input and all messages of the turn have been delivered, output is flushed right after.
	Turn()
}

// Waiter is what a Handler is besides when it sometimes has to wait for something itself. Sent is called once per turn, when all of the
// turn's output has been handed to the kernel; what it waits for holds up the next turn and nothing else. It touches no session, and
// leaves what it brings in the mailbox.
type Waiter interface{ Sent() }

// Config of a loop. Zero fields take the default named in their comment.
type Config struct {
	// Name is used in logs and errors.
	Name string

	// Addrs to listen on, as host:port. Port 0 picks a free one, see Loop.Addrs. SO_REUSEPORT is set: several loops may
	// share an address, and the kernel spreads connections. At least one is needed.
	Addrs []string

	// MaxSessions bounds accepted and adopted sessions together; more are closed at once. Default 10,000.
	MaxSessions int

	// MaxInbound bounds the unparsed bytes of one session, and so the largest frame; beyond, it is closed with
	// ErrInboundLimit. Default 32 MiB.
	MaxInbound int

	// MaxOutbound bounds the unsent bytes of one session at the end of a turn; beyond, it is closed with
	// ErrSlowReader. Default 64 MiB.
	MaxOutbound int

	// OutboundPause is the number of unsent bytes above which the input of a session is not parsed until half of them
	// are gone. Default 1 MiB.
	OutboundPause int

	// MailboxLimit bounds the ordinary messages that wait, see mailbox.Post. Default 65,536.
	MailboxLimit int

	// ReadBufferCap is the most that is read from one socket at a time, rounded up to a power of two. Default 64 KiB.
	ReadBufferCap int

	// IdleTimeout closes sessions that neither sent nor took a byte for that long. 0: never.
	IdleTimeout time.Duration

	// KeepAlive is the TCP keep-alive time of accepted connections, which finds half-open ones. Default 30 s; negative: off.
	KeepAlive time.Duration

	// LingerTimeout bounds how long a closing session may take to send what it has. Default 5 s.
	LingerTimeout time.Duration

	// LibraryWaits leaves the waiting to the event library, as is done where the kernel does not tell which epoll instance is
	// the library's. For tests and measurements.
	LibraryWaits bool

	// NormalPolicy leaves the scheduling policy of the loop's thread as it is; else it is SCHED_BATCH at times, see policy.go.
	NormalPolicy bool

	// OnFatal is called, from a goroutine of its own, when the loop ended without having been stopped: the process
	// cannot serve any more and should exit. Running out of file descriptors does that. Default: panic.
	OnFatal func(error)

	// Logger; default none.
	Logger *zap.Logger
}

func (c Config) withDefaults() (Config, error) {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.MaxSessions, 10_000)
	def(&c.MaxInbound, 32<<20)
	def(&c.MaxOutbound, 64<<20)
	def(&c.OutboundPause, min(1<<20, c.MaxOutbound))
	def(&c.MailboxLimit, 65_536)
	def(&c.ReadBufferCap, 64<<10)
	if c.KeepAlive == 0 {
		c.KeepAlive = 30 * time.Second
	}
	if c.LingerTimeout == 0 {
		c.LingerTimeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.OnFatal == nil {
		name := c.Name
		c.OnFatal = func(err error) { panic(fmt.Sprintf("loop %s ended by itself: %v", name, err)) }
	}
	if len(c.Addrs) == 0 {
		return c, fmt.Errorf("loop %s: no address to listen on", c.Name)
	}
	for _, v := range []struct {
		name string
		n    int
	}{{"MaxSessions", c.MaxSessions}, {"MaxInbound", c.MaxInbound}, {"MaxOutbound", c.MaxOutbound},
		{"OutboundPause", c.OutboundPause}, {"MailboxLimit", c.MailboxLimit}, {"ReadBufferCap", c.ReadBufferCap}} {
		if v.n < 0 {
			return c, fmt.Errorf("loop %s: %s is %d", c.Name, v.name, v.n)
		}
	}
	if c.OutboundPause > c.MaxOutbound {
		return c, fmt.Errorf("loop %s: OutboundPause %d exceeds MaxOutbound %d", c.Name, c.OutboundPause, c.MaxOutbound)
	}
	if c.IdleTimeout < 0 || c.LingerTimeout < 0 {
		return c, fmt.Errorf("loop %s: negative timeout", c.Name)
	}
	return c, nil
}

// Loop is a running loop. Create it with Start.
type Loop[M any] struct {
	core
	h   Handler[M]
	box *mailbox.Mailbox[M]
	msg func(*M)

	waiter Waiter // nil: the handler never waits
}

// Start opens the listeners and runs the loop on a goroutine of its own. When it returns without error the loop
// accepts connections and messages. h is called on the loop's goroutine only, possibly before Start has returned.
func Start[M any](cfg Config, h Handler[M]) (*Loop[M], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Loop[M]{h: h, msg: h.Message}
	l.waiter, _ = h.(Waiter)
	l.core.init(cfg, h, l)
	l.box = mailbox.New[M](cfg.MailboxLimit, l.core.wake)
	if err := l.core.start(); err != nil {
		return nil, err
	}
	return l, nil
}

// Post sends a message to the loop, from any goroutine. Errors are those of mailbox.Post.
func (l *Loop[M]) Post(m M) error { return l.box.Post(m) }

// PostMust sends a message that must not be refused, from any goroutine; see mailbox.PostMust.
func (l *Loop[M]) PostMust(m M) error { return l.box.PostMust(m) }

// Mailbox gives access to the counters of the mailbox, from any goroutine.
func (l *Loop[M]) Mailbox() mailbox.Stats { return l.box.Stats() }

// The mechanism's view of the mailbox and the handler, free of M.

func (l *Loop[M]) armBox()               { l.box.Arm() }
func (l *Loop[M]) drainBox() (int, bool) { return l.box.Drain(l.msg) }
func (l *Loop[M]) closeBox()             { l.box.Close() }
func (l *Loop[M]) handlerTurn()          { l.h.Turn() }

func (l *Loop[M]) handlerSent() {
	if l.waiter != nil {
		l.waiter.Sent()
	}
}

// Do runs fn on the loop as part of a turn, from any goroutine, in the order of the calls. It allocates and is for
// rare control work; data goes through Post. Errors are those of mailbox.Post.
func (c *core) Do(fn func()) error { return c.control.Post(fn) }

// DoMust is Do that only fails when the loop is gone, for the results of work that was admitted before.
func (c *core) DoMust(fn func()) error { return c.control.PostMust(fn) }

// Session resolves a reference; nil when that session is gone.
func (c *core) Session(r Ref) *Session { return c.table.get(r) }

// Sessions is the number of open sessions.
func (c *core) Sessions() int { return c.table.count }

// EachSession calls fn for every open session. fn may close sessions.
func (c *core) EachSession(fn func(*Session)) { c.table.each(fn) }

// Now is the monotonic time in nanoseconds since the loop was started, read once at the beginning of the turn.
func (c *core) Now() int64 { return c.now }

// WallMicros is the wall clock in microseconds since 1970, read once at the beginning of the turn.
func (c *core) WallMicros() int64 { return c.wall }

// ReadClock reads the monotonic clock now, on the scale of Now, from any goroutine. It is for decisions that must
// not rest on the time at which the turn began, like the end of a lease.
func (c *core) ReadClock() int64 { return int64(time.Since(c.base)) }

// After calls fn on the loop in d or a little later, as part of a turn. Resolution is a millisecond.
func (c *core) After(d time.Duration, fn func()) timer.ID {
	return c.timers.At(c.now+int64(max(d, 0)), fn)
}

// AtMultiple calls fn at the next whole multiple of period on the loop's clock, or a little later, as part of a turn. What comes
// back for ever goes by it: several of them then fire in the same turn, and an idle loop wakes once for all.
func (c *core) AtMultiple(period time.Duration, fn func()) timer.ID {
	p := max(int64(period), int64(time.Millisecond))
	return c.timers.At((c.now/p+1)*p, fn)
}

// Again asks for another turn soon, which has what the sockets have by then where the loop waits by itself. On the loop only.
func (c *core) Again() { c.wake() }

// Cancel stops a timer; false when it fired or was cancelled before.
func (c *core) Cancel(id timer.ID) bool { return c.timers.Stop(id) }

// Pool is the loop's own buffer pool.
func (c *core) Pool() *bufpool.Pool { return c.pool }

// Addrs are the addresses listened on, with real port numbers, in the order of Config.Addrs. Any goroutine.
func (c *core) Addrs() []string { return c.addrs }

// Adopt makes an established TCP or Unix connection a session of this loop, with Dialled set and State set to state.
// If state is a Sink it gets the events of the session, else the Handler does. Adopt takes the connection over, also
// when it fails. It returns after Opened has run, with its error if any.
//
// It waits for the loop: call it from a dialer or a lane, never from the loop itself, which would wait for itself.
func (c *core) Adopt(conn net.Conn, state any) error { return c.adopt(conn, state) }

// Stop ends the loop, from any other goroutine: no more connections, every session is closed once its output is sent
// or ctx ends, messages accepted so far are delivered, Closed is called for every session. It returns when the loop's
// goroutine is gone; the error tells what had to be cut short. Calls after the first return the same error.
func (c *core) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() { c.stopErr = c.stop(ctx) })
	return c.stopErr
}

type stopState struct {
	stopOnce sync.Once
	stopErr  error
}
