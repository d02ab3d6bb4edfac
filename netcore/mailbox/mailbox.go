// Package mailbox carries messages from any goroutine to the one that owns the box, in the order in which they were
// posted. It knows nothing of what a message means or of what the owner does between two drains.
package mailbox

import (
	"errors"
	"sync/atomic"

	"pegasus/netcore/invariant"
	"pegasus/netcore/spin"
)

// Why a mutex and two slices, and not a lock-free queue: a post holds the lock for one append, the owner takes the
// lock once per batch and not once per message, and the slices are swapped so that in steady state nothing is
// allocated. Per-message lock-free queues cost an allocation or a sequence number per message and a cache miss each
// when drained. Executing a closure per message on the event loop was rejected too: its task queue is not FIFO.
//
// The wake rule. armed means "the owner will drain without being told again". A post that finds armed false sets it
// and calls wake; every other post only appends. Only the owner clears armed, under the lock and on an empty box, so
// no message can be left behind. An owner that is awake and knows that it will drain before it sleeps calls Arm,
// which spares the posters a wake-up.

// Errors of Post and PostMust.
var (
	// ErrFull: the box holds as many ordinary messages as it may. The caller answers "busy" or retries later.
	ErrFull = errors.New("mailbox: full")
	// ErrClosed: the owner is gone; the message was not taken.
	ErrClosed = errors.New("mailbox: closed")
)

// Mailbox is a bounded queue with many producers and one consumer. Create it with New.
type Mailbox[M any] struct {
	limit int
	wake  func()

	armed atomic.Bool

	mu       spin.Lock
	in       []M
	ordinary int // messages of in that count against limit
	closed   bool
	stats    Stats

	// Owned by the consumer.
	out      []M
	draining bool
}

// Stats counts since New. Depth is the number of messages that wait now.
type Stats struct {
	Posted uint64 // accepted messages, both classes
	Full   uint64 // posts refused with ErrFull
	Wakes  uint64 // calls of wake
	Depth  int
	Peak   int // largest Depth seen by a post
}

// New makes a box for at most limit (> 0) waiting ordinary messages. wake is called by a poster, without locks held,
// whenever the owner must be told to drain; it must not block and must be callable from any goroutine.
func New[M any](limit int, wake func()) *Mailbox[M] {
	invariant.Assertf(limit > 0, "mailbox limit %d", limit)
	return &Mailbox[M]{limit: limit, wake: wake}
}

// Post appends m, or returns ErrFull or ErrClosed. Safe from any goroutine, the owner included. Messages of one
// goroutine are delivered in the order of its posts, across both classes.
func (b *Mailbox[M]) Post(m M) error { return b.post(m, true) }

// PostMust appends m even when the box is full; it fails only with ErrClosed. It is for replies and completions,
// which must not be lost and whose number is bounded already by the requests that caused them: every PostMust must
// answer something that was admitted under a limit. Such messages do not use up the room of ordinary ones.
func (b *Mailbox[M]) PostMust(m M) error { return b.post(m, false) }

func (b *Mailbox[M]) post(m M, ordinary bool) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if ordinary {
		if b.ordinary >= b.limit {
			b.stats.Full++
			b.mu.Unlock()
			return ErrFull
		}
		b.ordinary++
	}
	b.in = append(b.in, m)
	b.stats.Posted++
	if len(b.in) > b.stats.Peak {
		b.stats.Peak = len(b.in)
	}
	first := !b.armed.Swap(true)
	if first {
		b.stats.Wakes++
	}
	b.mu.Unlock()
	if first {
		b.wake()
	}
	return nil
}

// Arm tells posters that the owner is awake and will drain: they need not wake it. Owner only; Drain must follow.
func (b *Mailbox[M]) Arm() { b.armed.Store(true) }

// Drain hands fn every message that waits when it is called, in order, and returns how many there were. It is for
// the owner alone and must not be called from fn. The pointer is valid during the call of fn only; the slot is zeroed
// afterwards. more tells that others arrived meanwhile: the owner must drain again without waiting for a wake-up
// (one batch per call, so that a flood of messages cannot keep the owner from its sockets).
func (b *Mailbox[M]) Drain(fn func(*M)) (n int, more bool) {
	if !b.armed.Load() {
		return 0, false
	}
	invariant.Assertf(!b.draining, "mailbox drained from within its own drain")
	b.mu.Lock()
	if len(b.in) == 0 {
		b.armed.Store(false)
		b.mu.Unlock()
		return 0, false
	}
	b.in, b.out = b.out, b.in
	b.ordinary = 0
	b.mu.Unlock()

	b.draining = true
	for i := range b.out {
		fn(&b.out[i])
	}
	n = len(b.out)
	clear(b.out)
	b.out = b.out[:0]
	b.draining = false

	b.mu.Lock()
	more = len(b.in) > 0
	if !more {
		b.armed.Store(false)
	}
	b.mu.Unlock()
	return n, more
}

// Close makes later posts fail with ErrClosed. What waits can still be drained.
func (b *Mailbox[M]) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}

// Stats may be called from any goroutine.
func (b *Mailbox[M]) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Depth = len(b.in)
	return s
}
