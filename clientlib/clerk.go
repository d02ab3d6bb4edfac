package clientlib

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// clerk is the one goroutine of a client that knows the time: it ends calls whose deadline has passed, notices servers
// that have fallen silent, and tries calls again that wait for a pause to end or for news. One ticker is cheaper than a
// timer for each call, and no call needs a goroutine to wait in. It rests while nothing is in flight.
type clerk struct {
	client *Client

	mu     sync.Mutex
	parked []*Call // binary heap by due time
	closed bool

	resting atomic.Bool
	wake    chan struct{} // cap 1
	nodes   []*node       // scratch of run
}

// parking is the place of a call in the clerk's heap. Guarded by the clerk's lock.
type parking struct {
	at  int // index plus 1; 0 when it is not parked
	due time.Duration
	// key is whose news the call waits for: a *Table, a *node, or nil when only the pause counts.
	key any
}

const (
	// tick is how late a deadline may be noticed.
	tick = 10 * time.Millisecond
	// hedgeTick is how late a second attempt may be made.
	hedgeTick = time.Millisecond
	// restAfter is how many idle ticks send the clerk to rest.
	restAfter = 50
	// maxParked bounds the calls that wait to be tried again. More end with an error.
	maxParked = 1 << 17
	// pruneEvery is how often servers that no table knows any more are looked for.
	pruneEvery = 10 * time.Second
)

// park keeps the call until a time, or until news for key come. The call must be in nobody's hands.
func (k *clerk) park(call *Call, due time.Duration, key any) {
	k.mu.Lock()
	var no error
	switch {
	case k.closed:
		no = ErrClosed
	case call.canceled.Load() != nil:
		no = call.stopped()
	case len(k.parked) >= maxParked:
		no = errTooMany
	default:
		call.parked = parking{at: len(k.parked) + 1, due: due, key: key}
		k.parked = append(k.parked, call)
		k.up(len(k.parked) - 1)
		if call.parked.at == 1 {
			pulse(k.wake)
		}
	}
	k.mu.Unlock()
	if no != nil {
		call.stop(no)
	}
}

// cancel ends the call if it is parked. If it is not, whoever has it looks at its flag.
func (k *clerk) cancel(call *Call) {
	k.mu.Lock()
	mine := call.parked.at > 0
	if mine {
		k.remove(call.parked.at - 1)
	}
	k.mu.Unlock()
	if mine {
		call.stop(call.stopped())
	}
}

// stop ends a call that was certainly not executed by its last attempt.
func (c *Call) stop(why error) {
	cause := why
	if c.cause != nil {
		cause = joined{why, c.cause}
	}
	c.end(c.failure(ErrRetriable, cause))
}

// joined is an error and what led to it, in one line.
type joined struct{ err, cause error }

func (j joined) Error() string   { return j.err.Error() + ": " + j.cause.Error() }
func (j joined) Unwrap() []error { return []error{j.err, j.cause} }

// releaseAll makes the calls that wait for key due.
func (k *clerk) releaseAll(key any) {
	k.mu.Lock()
	found := false
	for _, c := range k.parked {
		if c.parked.key == key {
			c.parked.due, c.parked.key, found = 0, nil, true
		}
	}
	if found {
		for i := len(k.parked)/2 - 1; i >= 0; i-- {
			k.down(i)
		}
	}
	k.mu.Unlock()
	if found {
		pulse(k.wake)
	}
}

// due takes a call whose time has come; wait is how long until there is one, negative when none is parked.
func (k *clerk) due(now time.Duration) (call *Call, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case len(k.parked) == 0:
		return nil, -1
	case k.parked[0].parked.due > now:
		return nil, k.parked[0].parked.due - now
	}
	call = k.parked[0]
	k.remove(0)
	return call, 0
}

// stir is called when a connection has something in flight again.
func (k *clerk) stir() {
	if k.resting.Load() && k.resting.CompareAndSwap(true, false) {
		pulse(k.wake)
	}
}

func (k *clerk) run() {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	idle, pruned := 0, time.Duration(0)
	lastTick := time.Duration(0)
	for {
		select {
		case <-k.client.ctx.Done():
			k.close()
			return
		case <-timer.C:
		case <-k.wake:
		}
		now := k.client.now()
		wait := k.tryDue(now)
		every := tick
		if k.client.opt.hedging() {
			every = hedgeTick
		}
		if now-lastTick >= every {
			lastTick = now
			if k.look(now) {
				idle = 0
			} else {
				idle++
			}
			if now-pruned >= pruneEvery {
				pruned = now
				k.client.prune()
			}
		}
		if idle > restAfter && wait < 0 {
			k.resting.Store(true)
			if !k.look(now) { // nothing came before resting could be seen
				timer.Reset(pruneEvery)
				continue
			}
			k.resting.Store(false)
		}
		if wait < 0 || wait > every {
			wait = every
		}
		timer.Reset(wait)
	}
}

// tryDue tries again what is due, and returns how long until there is more, negative when nothing is parked.
func (k *clerk) tryDue(now time.Duration) (wait time.Duration) {
	for {
		call, wait := k.due(now)
		if call == nil {
			return wait
		}
		if now >= call.deadline {
			cause := call.cause
			if cause == nil {
				cause = errNotDialled
			}
			call.end(call.failure(ErrRetriable, joined{ErrTimeout, cause}))
			continue
		}
		call.table.try(call, now, false)
	}
}

// look goes through the connections; it returns whether anything is in flight.
func (k *clerk) look(now time.Duration) (busy bool) {
	c := k.client
	c.mu.Lock()
	k.nodes = slices.AppendSeq(k.nodes[:0], maps.Values(c.nodes))
	c.mu.Unlock()
	for _, n := range k.nodes {
		if cn := n.conn.Load(); cn != nil {
			cn.expire(now)
			busy = cn.listen(now) || busy
			if c.opt.hedging() {
				cn.hedge(now)
			}
		}
	}
	return busy
}

// close ends all calls that are parked.
func (k *clerk) close() {
	k.mu.Lock()
	k.closed = true
	calls := k.parked
	k.parked = nil
	for _, c := range calls {
		c.parked = parking{}
	}
	k.mu.Unlock()
	for _, c := range calls {
		c.stop(ErrClosed)
	}
}

// The heap. REQUIRES: mu is held.

func (k *clerk) remove(i int) {
	last := len(k.parked) - 1
	k.parked[i].parked = parking{}
	if i != last {
		k.parked[i] = k.parked[last]
		k.parked[i].parked.at = i + 1
	}
	k.parked[last] = nil
	k.parked = k.parked[:last]
	if i < last {
		k.down(i)
		k.up(i)
	}
}

func (k *clerk) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if k.parked[parent].parked.due <= k.parked[i].parked.due {
			return
		}
		k.swap(i, parent)
		i = parent
	}
}

func (k *clerk) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(k.parked); child++ {
			if k.parked[child].parked.due < k.parked[least].parked.due {
				least = child
			}
		}
		if least == i {
			return
		}
		k.swap(i, least)
		i = least
	}
}

func (k *clerk) swap(i, j int) {
	k.parked[i], k.parked[j] = k.parked[j], k.parked[i]
	k.parked[i].parked.at, k.parked[j].parked.at = i+1, j+1
}
