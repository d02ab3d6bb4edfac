// Package peer keeps outbound connections of a loop alive: it dials, adopts the connection into the loop, tells when it
// is up and down, and dials again. It moves bytes and knows nothing of frames, of what is lost with a connection, or of
// who the peer is.
package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/timer"
)

// Nothing here waits: dialling blocks, so it happens in the lane of a Dialer, and its outcome comes back to the loop as
// an adopted session or as a control message. Whatever comes back carries the number of the attempt, and the link
// ignores what belongs to an earlier one: after Stop, or after a redial, late results find nothing to disturb.
//
// A link does not queue while it is down and does not resend after a reconnect. Whether a lost frame may be repeated
// is known one floor up only, and a queue here would hide from the caller that nobody listens.

// Errors of Send and causes given to Down.
var (
	ErrDown    = errors.New("peer: not connected")
	ErrFull    = errors.New("peer: too many unsent bytes")
	ErrStopped = errors.New("peer: stopped")

	errStale = errors.New("peer: the attempt was given up")
)

// Host is the loop that owns a link.
type Host interface {
	After(d time.Duration, fn func()) timer.ID
	Cancel(id timer.ID) bool
	Now() int64
	Adopt(conn net.Conn, state any) error
	DoMust(fn func()) error
}

// Events are called on the loop. They may call methods of the link.
type Events interface {
	// Up: the connection stands; Send works.
	Up(l *Link)
	// Down: the connection is gone, or an attempt to make one failed. The link tries again on its own, after Down
	// returned, unless it was stopped. What was sent and not answered may or may not have arrived.
	Down(l *Link, cause error)
	// Data has the contract of loop.Sink.
	Data(l *Link, in []byte) (consumed, need int, err error)
}

// Config of a link. Zero fields take the default named in their comment.
type Config struct {
	// Addr is the host:port to dial.
	Addr string
	// DialTimeout bounds one attempt. Default 2 s.
	DialTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause between attempts: it doubles from the one to the other, and a random
	// half of it is taken off, so that peers of a restarted node do not come back together. A connection that stood
	// for BackoffMax starts again with BackoffMin. Default 50 ms and 2 s.
	BackoffMin, BackoffMax time.Duration
	// MaxUnsent is the number of unsent bytes beyond which Send refuses. It must be below the loop's MaxOutbound,
	// which would close the connection. Default 16 MiB.
	MaxUnsent int
}

func (c Config) withDefaults() Config {
	def := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&c.DialTimeout, 2*time.Second)
	def(&c.BackoffMin, 50*time.Millisecond)
	def(&c.BackoffMax, max(2*time.Second, c.BackoffMin))
	if c.MaxUnsent <= 0 {
		c.MaxUnsent = 16 << 20
	}
	return c
}

// State of a link.
type State uint8

// States of a link.
const (
	Idle    State = iota // not started
	Dialing              // an attempt is under way
	Up                   // connected
	Waiting              // the next attempt comes after a pause
	Stopped              // for good
)

// String names the state.
func (s State) String() string {
	return [...]string{"idle", "dialing", "up", "waiting", "stopped"}[s]
}

// Link is one outbound connection. All methods belong to the goroutine of its loop.
type Link struct {
	host   Host
	dialer *Dialer
	cfg    Config
	ev     Events

	state   State
	attempt uint64 // number of the current attempt
	fails   int    // attempts since the last lasting connection
	session *loop.Session
	upSince int64
	pause   timer.ID
	cancel  context.CancelFunc
	lastErr error
}

// New makes a link; Start begins to dial. The dialer may be shared by many links of many loops.
func New(host Host, dialer *Dialer, cfg Config, ev Events) *Link {
	return &Link{host: host, dialer: dialer, cfg: cfg.withDefaults(), ev: ev, cancel: func() {}}
}

// Addr is the address dialled.
func (l *Link) Addr() string { return l.cfg.Addr }

// State returns the state.
func (l *Link) State() State { return l.state }

// LastError is the cause of the last Down, nil before the first.
func (l *Link) LastError() error { return l.lastErr }

// Unsent is the number of bytes that wait to be sent.
func (l *Link) Unsent() int {
	if l.session == nil {
		return 0
	}
	return l.session.Unsent()
}

// Send lets add append to the output, which leaves with everything else of this turn. It returns ErrDown or ErrFull
// without calling add when the link is not up or has too much unsent; nothing is ever dropped silently while it is up.
func (l *Link) Send(add func(dst []byte) []byte) error {
	switch {
	case l.session == nil:
		return ErrDown
	case l.session.Unsent() > l.cfg.MaxUnsent:
		return ErrFull
	}
	l.session.SetOut(add(l.session.Out()))
	return nil
}

// Start begins to dial. Only the first call does anything.
func (l *Link) Start() {
	if l.state == Idle {
		l.dial()
	}
}

// Stop closes the connection after its output has been sent, and ends the link for good, without a call of Down.
func (l *Link) Stop() {
	if l.state == Stopped {
		return
	}
	l.state = Stopped
	l.attempt++
	l.cancel()
	l.host.Cancel(l.pause)
	if s := l.session; s != nil {
		l.session = nil
		s.Close(ErrStopped)
	}
}

// Drop closes the connection, for instance because the peer does not answer any more; Down follows, and a redial.
func (l *Link) Drop(cause error) {
	if l.session != nil {
		l.session.Abort(cause)
	}
}

func (l *Link) dial() {
	l.state = Dialing
	l.attempt++
	ctx, cancel := context.WithTimeout(l.dialer.ctx, l.cfg.DialTimeout)
	l.cancel = cancel
	n, host, addr, dial := l.attempt, l.host, l.cfg.Addr, l.dialer.dial
	err := l.dialer.lane.Submit(func() {
		defer cancel()
		conn, err := dial(ctx, addr)
		if err == nil {
			err = host.Adopt(conn, &connection{link: l, attempt: n})
		}
		if err != nil {
			// The only error means that the loop is gone, and the link with it.
			_ = host.DoMust(func() { l.failed(n, err) })
		}
	})
	if err != nil {
		cancel()
		l.failed(n, err)
	}
}

// failed ends attempt n or the connection it became.
func (l *Link) failed(n uint64, cause error) {
	if n != l.attempt {
		return
	}
	l.session = nil
	l.lastErr = cause
	l.state = Waiting
	l.pause = l.host.After(l.backoff(), l.dial)
	l.ev.Down(l, cause)
}

func (l *Link) backoff() time.Duration {
	d := l.cfg.BackoffMin << min(l.fails, 20)
	if d <= 0 || d > l.cfg.BackoffMax {
		d = l.cfg.BackoffMax
	}
	l.fails++
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// connection is the session's view of a link: it outlives the attempt that it belongs to.
type connection struct {
	link    *Link
	attempt uint64
}

// Opened is called by the loop.
func (c *connection) Opened(s *loop.Session) error {
	l := c.link
	if c.attempt != l.attempt {
		return errStale
	}
	l.session, l.state, l.upSince = s, Up, l.host.Now()
	l.ev.Up(l)
	return nil
}

// Data is called by the loop.
func (c *connection) Data(_ *loop.Session, in []byte) (consumed, need int, err error) {
	if c.attempt != c.link.attempt {
		return len(in), 0, nil
	}
	return c.link.ev.Data(c.link, in)
}

// Closed is called by the loop.
func (c *connection) Closed(_ *loop.Session, cause error) {
	l := c.link
	if c.attempt == l.attempt && l.host.Now()-l.upSince >= int64(l.cfg.BackoffMax) {
		l.fails = 0
	}
	l.failed(c.attempt, cause)
}

// Dialer makes connections on goroutines of its own.
type Dialer struct {
	lane   *lane.Lane
	ctx    context.Context
	cancel context.CancelFunc
	dial   func(ctx context.Context, addr string) (net.Conn, error)
}

// NewDialer starts workers goroutines; at most limit attempts wait for one.
func NewDialer(workers, limit int) *Dialer {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Dialer{lane: lane.New("dial", workers, limit), ctx: ctx, cancel: cancel}
	var nd net.Dialer
	d.dial = func(ctx context.Context, addr string) (net.Conn, error) { return nd.DialContext(ctx, "tcp", addr) }
	return d
}

// Close breaks off what is under way and waits for the goroutines. Close it before the loops are stopped.
func (d *Dialer) Close() {
	d.cancel()
	d.lane.Close()
}
