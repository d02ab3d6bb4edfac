package loop

import (
	"sync/atomic"
	"time"

	"pegasus/netcore/bufpool"
	"pegasus/netcore/invariant"
	"pegasus/netcore/mailbox"
	"pegasus/netcore/timer"
)

// A turn is the unit of batching: input of several sessions and messages of several posters are delivered, then
// Handler.Turn runs once, then every session with output is written once. Where the loop waits by itself it has the list of the
// sockets that were ready together, and the turn ends with it; see rest.
//
// The event library, where sockets came to it instead, tells us when one is readable, but not when it has gone through all that were ready
// together. What is ready besides is looked for and read then, and ends the turn likewise. Only what cannot be finished so, because
// connections are to be closed, because there is a task under way, or because the library does the waiting, is finished by task: the
// library runs tasks after the sockets. The price is a write to an eventfd and two small allocations per turn.
//
// Rejected: to end a turn after every socket (work that all could have shared, a store read or a log append, is done for each); to
// predict whether others will follow from the turns before; to leave the others to the library and the end to a task (both were so
// here once); a socket pair as end-of-batch marker (it has to be read, one more system call); guessing from the time between two
// callbacks.
//
// One wake-up at most is under way, whoever asks: mailbox, timers, turn end. The library runs tasks posted from one
// goroutine in any order, so a task carries nothing: it only means "look".
//
// Closing. Connections are closed only at a turn end that was run by task, or follows it, when neither the library nor rest holds a list
// of ready descriptors: a descriptor that is closed and reused while the list still has the old event would get that event.
// Closed is therefore never called from within a handler's call, except that a failing write reports during flush,
// when no handler code is on the stack either.

const (
	// watchInterval is how often sessions are looked at that wait for their output to drain: the library does not
	// tell when a socket becomes writable.
	watchInterval = 2 * time.Millisecond

	// alarmLag is how late timers may be while the library has output to send, which it does without telling us.
	alarmLag = 50 * time.Millisecond
	// alarmRest is how late they may be when it keeps any other event for itself, like a connection that it accepted and could not
	// watch. That is rare, and an alarm wakes three threads.
	alarmRest = 500 * time.Millisecond

	controlLimit = 4096
	poolBytes    = 4 << 20
)

// host is the generic half: mailbox and handler.
type host interface {
	armBox()
	drainBox() (n int, more bool)
	closeBox()
	handlerTurn()
	handlerSent()
}

// core is everything that does not depend on the message type.
type core struct {
	cfg  Config
	host host
	sink Sink
	engine
	rester
	policy policy
	stopState

	base    time.Time
	now     int64
	wall    int64
	pool    *bufpool.Pool
	timers  timer.Heap
	table   table
	control *mailbox.Mailbox[func()]
	runFn   func(*func())

	inTurn    bool // between begin and the end of finish
	busy      bool // something happened in this turn that Handler.Turn must hear of
	finishing bool // inside finish
	turnStart int64
	feeding   *Session

	dirty     []*Session
	closers   []*Session
	resumable []*Session
	watched   []*Session
	watching  bool
	lagging   bool // the library may have output to send

	alarm      *time.Timer
	alarmAt    int64 // 0: not set
	alarmFired atomic.Bool

	wakeQueued atomic.Bool
	stats      Stats
	published  atomic.Pointer[Stats]
}

func (c *core) init(cfg Config, sink Sink, h host) {
	c.cfg, c.sink, c.host = cfg, sink, h
	c.base = time.Now()
	c.pool = bufpool.New(poolBytes)
	c.control = mailbox.New[func()](controlLimit, c.wake)
	c.runFn = func(fn *func()) { (*fn)() }
	c.published.Store(&Stats{})
	c.policy.init()
	c.engine.init()
}

func (c *core) readClock() {
	t := time.Now()
	c.now = int64(t.Sub(c.base))
	c.wall = t.UnixMicro()
}

// begin opens a turn unless one is open. While it is open, posters need not wake the loop.
func (c *core) begin() {
	if c.inTurn {
		return
	}
	c.inTurn = true
	c.readClock()
	c.turnStart = c.now
	c.host.armBox()
}

// ensureTurn makes sure that what was just asked for is worked off by a turn end.
func (c *core) ensureTurn() {
	if !c.inTurn {
		c.wake()
	}
}

// traffic delivers bytes that a socket had.
func (c *core) traffic(s *Session, fresh []byte) {
	c.begin()
	c.busy = true
	c.stats.BytesIn += uint64(len(fresh))
	s.lastActive = c.now
	c.input(s, fresh)
}

func (c *core) input(s *Session, fresh []byte) {
	switch {
	case s.closing:
		return
	case s.in == nil && !s.stalled():
		c.feed(s, fresh)
	default:
		s.store(fresh)
		if !s.stalled() && s.buffered() >= s.need {
			c.feed(s, nil)
		}
	}
	if s.buffered() > c.cfg.MaxInbound {
		cause := ErrInboundLimit
		if s.paused {
			cause = ErrSlowReader
		}
		s.Abort(cause)
	}
}

// feed calls Data with fresh, or with what is stored when fresh is nil, and keeps the rest.
func (c *core) feed(s *Session, fresh []byte) {
	data := fresh
	if fresh == nil {
		data = s.in[s.off:]
	}
	c.feeding = s
	consumed, need, err := s.sink.Data(s, data)
	c.feeding = nil
	if consumed < 0 || consumed > len(data) || need < 0 { // tested here: the arguments of Assertf would be allocated
		invariant.Assertf(false, "Data got %d bytes, consumed %d, needs %d", len(data), consumed, need)
	}
	if err == nil && need > c.cfg.MaxInbound {
		err = ErrInboundLimit
	}
	if err != nil {
		s.Close(err)
	}
	if s.closing {
		s.dropInput()
		return
	}
	rest := data[consumed:]
	s.need = need
	switch {
	case len(rest) == 0:
		s.dropInput()
		s.need = need
	case fresh != nil:
		s.store(rest)
	default:
		s.off += consumed
	}
	if s.Congested() {
		s.paused = true
		if !s.dirty { // else flush looks at it, and often finds that the socket takes it all
			c.watch(s)
		}
	}
}

func (c *core) queueResume(s *Session) {
	if !s.queued && s.t != nil {
		s.queued = true
		c.resumable = append(c.resumable, s)
		c.ensureTurn()
	}
}

func (c *core) resume() {
	list := c.resumable
	c.resumable = nil
	for _, s := range list {
		s.queued = false
		if s.t != nil && !s.closing && !s.stalled() && s.buffered() > 0 && s.buffered() >= s.need {
			c.busy = true
			c.feed(s, nil)
		}
	}
}

// finish ends a turn. byTask: the library is between two batches, connections may be closed.
func (c *core) finish(byTask bool) {
	c.finishing = true
	n, more := c.host.drainBox()
	m, moreControl := c.control.Drain(c.runFn)
	fired := c.timers.Advance(c.now)
	if len(c.resumable) > 0 {
		c.resume()
	}
	if n+m+fired > 0 {
		c.busy = true
		c.stats.Messages += uint64(n)
	}
	if c.busy {
		c.busy = false
		c.stats.Turns++
		c.host.handlerTurn()
	}
	c.flush()
	if byTask {
		c.reap()
	}
	end := int64(time.Since(c.base))
	c.stats.BusyNanos += uint64(end - c.turnStart)
	c.inTurn, c.finishing = false, false
	if more || moreControl || len(c.closers)+len(c.resumable)+len(c.dirty) > 0 {
		c.wake()
	}
	c.host.handlerSent()
}

// flush writes every session's output, once each. Closed, called when a write fails, may add output of others.
func (c *core) flush() {
	for i := 0; i < len(c.dirty); i++ {
		s := c.dirty[i]
		c.dirty[i] = nil
		s.dirty = false
		out := s.out
		s.out = nil
		if s.t != nil && !s.abort && len(out) > 0 {
			c.stats.BytesOut += uint64(len(out))
			s.outHint = max(len(out), s.outHint-s.outHint>>3)
			s.t.write(out)
			c.checkOutput(s)
		}
		c.pool.Put(out)
	}
	c.dirty = c.dirty[:0]
}

func (c *core) checkOutput(s *Session) {
	if s.t == nil {
		return
	}
	n := s.t.unsent()
	c.lagging = c.lagging || n > 0
	switch {
	case n > c.cfg.MaxOutbound:
		s.Abort(ErrSlowReader)
	case n > c.cfg.OutboundPause || s.paused && n > c.cfg.OutboundPause/2:
		s.paused = true
		c.watch(s)
	default:
		if n == 0 {
			s.lastActive = c.now
		}
		if s.paused {
			s.paused = false
			c.queueResume(s)
		}
	}
}

// reap closes what asked to be closed.
func (c *core) reap() {
	for i := 0; i < len(c.closers); i++ {
		s := c.closers[i]
		c.closers[i] = nil
		if s.t == nil {
			continue
		}
		if !s.abort && s.t.unsent() > 0 {
			s.lingerEnd = c.now + int64(c.cfg.LingerTimeout)
			c.watch(s)
			continue
		}
		s.t.close()
	}
	c.closers = c.closers[:0]
}

// watch looks at s every watchInterval until its output has drained.
func (c *core) watch(s *Session) {
	if !s.watched {
		s.watched = true
		c.watched = append(c.watched, s)
	}
	if !c.watching {
		c.watching = true
		c.After(watchInterval, c.look)
	}
}

func (c *core) look() {
	keep := c.watched[:0]
	for _, s := range c.watched {
		if s.t != nil && !c.settled(s) {
			keep = append(keep, s)
			continue
		}
		s.watched = false
	}
	clear(c.watched[len(keep):])
	c.watched = keep
	c.watching = len(keep) > 0
	if c.watching {
		c.After(watchInterval, c.look)
	}
}

// settled tells whether s need not be looked at again.
func (c *core) settled(s *Session) bool {
	n := s.t.unsent()
	if s.closing {
		switch {
		case n == 0:
			c.closers = append(c.closers, s)
		case s.abort || c.now >= s.lingerEnd && s.lingerEnd > 0:
			s.abort = true
			c.closers = append(c.closers, s)
		default:
			return false
		}
		return true
	}
	if n > c.cfg.OutboundPause/2 {
		return false
	}
	s.paused = false
	c.queueResume(s)
	return true
}

// setAlarm sees to it that the library does not wait beyond the earliest timer, nor at all when a turn is queued. Where rest waits,
// which looks at the timers by itself, the library comes back to it with the next event, and the alarm is only for events that it
// does not tell us of, as when it sends buffered output. It may be late by the timer slack of the process besides.
func (c *core) setAlarm(queued bool) {
	if c.alarmFired.Load() {
		c.alarmFired.Store(false)
		c.alarmAt = 0
		c.lagging = c.lagging && c.anyUnsent()
	}
	at, ok := c.timers.Next()
	switch {
	case queued:
		at = c.now
	case !ok:
		return
	case c.pollFD >= 0 && c.lagging && !c.watching:
		at = max(at, c.now+int64(alarmLag))
	case c.pollFD >= 0 && !c.watching:
		at = max(at, c.now+int64(alarmRest))
	}
	at = wholeMilli(at)
	if c.alarmAt != 0 && c.alarmAt <= at {
		return
	}
	c.alarmAt = at
	d := time.Duration(max(at-c.now, 1))
	if c.alarm == nil {
		c.alarm = time.AfterFunc(d, func() {
			c.alarmFired.Store(true)
			c.wakeQueued.Store(true)
			c.call()
		})
		return
	}
	c.alarm.Reset(d)
}

// anyUnsent tells whether the library has output of any session.
func (c *core) anyUnsent() (any bool) {
	c.table.each(func(s *Session) { any = any || s.t != nil && s.t.unsent() > 0 })
	return any
}

// wholeMilli rounds up: timers that are due within the same millisecond fire together.
func wholeMilli(at int64) int64 {
	const ms = int64(time.Millisecond)
	return (at + ms - 1) / ms * ms
}
