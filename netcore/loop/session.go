package loop

import (
	"pegasus/netcore/invariant"
)

// Ref names a session for ever: slots are reused, generations grow. A reply that comes late finds nil instead of
// another client, which is why nothing else may be kept across turns or carried to another goroutine. The zero Ref
// names no session.
type Ref struct {
	Slot uint32
	Gen  uint32
}

// IsZero tells whether r names no session.
func (r Ref) IsZero() bool { return r == Ref{} }

// transport is what a session needs of a connection. All calls come from the loop.
type transport interface {
	// write sends p or buffers what cannot be sent; p may be reused afterwards. A failure closes the connection.
	write(p []byte)
	// unsent is the number of bytes written and not yet taken by the system.
	unsent() int
	// close ends the connection at once.
	close()
}

// Session is one connection of a loop. It belongs to the loop's goroutine.
type Session struct {
	// State is the handler's.
	State any
	// RemoteAddr is the address of the peer, as it was when the session opened.
	RemoteAddr string
	// LocalAddr is the address on our side: the listener's for accepted sessions.
	LocalAddr string
	// Dialled is true for sessions that came through Adopt.
	Dialled bool

	ref  Ref
	loop *core
	sink Sink
	t    transport // nil once closed

	out     []byte
	outHint int // recent size of out, so that it rarely has to grow

	in   []byte // unparsed bytes are in[off:]
	off  int
	need int

	dirty   bool // listed in loop.dirty
	watched bool // listed in loop.watched
	paused  bool // input waits until the output has drained
	held    bool // input waits for Release
	queued  bool // listed in loop.resumable
	closing bool // no more input; closed at the end of a turn
	abort   bool // closing without sending what is left

	cause      error
	broken     error // why reading failed
	lastActive int64
	lingerEnd  int64
}

// Ref returns the name to keep for later.
func (s *Session) Ref() Ref { return s.ref }

// Out returns the output buffer, to append to and hand back with SetOut:
//
//	s.SetOut(append(s.Out(), reply...))
//
// It is sent with one write at the end of the turn. The slice must not be kept beyond SetOut. Output for a session
// that is closed or aborted is dropped.
func (s *Session) Out() []byte {
	if s.out == nil {
		s.out = s.loop.pool.Get(s.outHint)
	}
	return s.out
}

// SetOut stores the buffer obtained from Out after appending to it.
func (s *Session) SetOut(b []byte) {
	s.out = b
	if !s.dirty {
		s.markDirty()
	}
}

func (s *Session) markDirty() {
	s.dirty = true
	s.loop.dirty = append(s.loop.dirty, s)
	s.loop.ensureTurn()
}

// Unsent is the number of bytes appended and not yet taken by the system.
func (s *Session) Unsent() int {
	n := len(s.out)
	if s.t != nil {
		n += s.t.unsent()
	}
	return n
}

// Congested tells that more than Config.OutboundPause bytes are unsent: stop producing.
func (s *Session) Congested() bool { return s.Unsent() > s.loop.cfg.OutboundPause }

// Hold stops the delivery of input until Release, for protocols that answer one request at a time. What arrives
// meanwhile is buffered up to Config.MaxInbound.
func (s *Session) Hold() { s.held = true }

// Release undoes Hold. Buffered input is delivered in this turn or the next.
func (s *Session) Release() {
	if s.held {
		s.held = false
		s.loop.queueResume(s)
	}
}

// Close ends the session at the end of a turn, once its output is sent; no more input is delivered. Closed gets
// cause. The first cause wins.
func (s *Session) Close(cause error) { s.shut(cause, false) }

// Abort is Close without waiting for the output.
func (s *Session) Abort(cause error) { s.shut(cause, true) }

// Closing tells whether the session is closed or about to be.
func (s *Session) Closing() bool { return s.closing }

func (s *Session) shut(cause error, abort bool) {
	if s.t == nil || s.closing && (s.abort || !abort) {
		return
	}
	if !s.closing {
		s.closing, s.cause = true, cause
	}
	s.abort = abort
	s.dropInput()
	s.loop.closers = append(s.loop.closers, s)
	s.loop.ensureTurn()
}

// stalled tells that input must not be delivered now.
func (s *Session) stalled() bool { return s.paused || s.held }

func (s *Session) buffered() int { return len(s.in) - s.off }

// store buffers bytes that Data has not consumed. Memory follows the bytes that did arrive, not the length that a
// header claims.
func (s *Session) store(b []byte) {
	p := s.loop.pool
	if s.in == nil {
		want := max(len(b), min(s.need, max(2*len(b), 64<<10)))
		s.in, s.off = append(p.Get(want), b...), 0
		return
	}
	if s.off > 0 && cap(s.in)-len(s.in) < len(b) {
		s.in = s.in[:copy(s.in, s.in[s.off:])]
		s.off = 0
	}
	s.in = append(p.Grow(s.in, len(b)), b...)
}

func (s *Session) dropInput() {
	// Deferred while Data runs on these very bytes: loop.feed drops them when it returns.
	if s.in == nil || s.loop.feeding == s {
		return
	}
	s.loop.pool.Put(s.in)
	s.in, s.off, s.need = nil, 0, 0
}

// table maps references to sessions.
type table struct {
	slots []tableSlot
	free  []uint32 // queue: the slot that is free for longest is taken first
	count int
}

type tableSlot struct {
	s   *Session
	gen uint32
}

func (t *table) get(r Ref) *Session {
	if int(r.Slot) >= len(t.slots) || t.slots[r.Slot].gen != r.Gen {
		return nil
	}
	return t.slots[r.Slot].s
}

func (t *table) add(s *Session) {
	var i uint32
	if len(t.free) > 0 {
		i, t.free = t.free[0], t.free[1:]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, tableSlot{})
	}
	sl := &t.slots[i]
	sl.gen++
	if sl.gen == 0 {
		sl.gen = 1
	}
	sl.s = s
	s.ref = Ref{Slot: i, Gen: sl.gen}
	t.count++
}

func (t *table) remove(s *Session) {
	sl := &t.slots[s.ref.Slot]
	invariant.Assertf(sl.s == s, "session %v removed twice", s.ref)
	sl.s = nil
	t.free = append(t.free, s.ref.Slot)
	t.count--
}

func (t *table) each(fn func(*Session)) {
	for i := range t.slots {
		if s := t.slots[i].s; s != nil {
			fn(s)
		}
	}
}
