package rocks

import (
	"sync"
	"sync/atomic"
)

// gate lets calls into C++ pass until it is closed, and lets close wait for those inside. A RWMutex would do, but a call
// that arrives while close waits for a long compaction would block on it; here it is refused at once.
type gate struct {
	state   atomic.Int64 // calls inside; closedBit added once closed
	drained chan struct{}
	once    sync.Once
}

const closedBit = int64(-1) << 62

func newGate() gate { return gate{drained: make(chan struct{})} }

// enter returns false when the gate is closed; otherwise the caller must leave.
func (g *gate) enter() bool {
	if g.state.Add(1) < 0 {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.state.Add(-1) == closedBit {
		g.once.Do(func() { close(g.drained) })
	}
}

// shut closes the gate and reports whether this call did it. stop runs after it is closed and before waiting for the
// calls inside: it may hurry them.
func (g *gate) shut(stop func()) bool {
	for {
		n := g.state.Load()
		if n < 0 {
			<-g.drained
			return false
		}
		// One more call inside, our own, so that the last to leave is seen even when there is no other.
		if g.state.CompareAndSwap(n, n+closedBit+1) {
			break
		}
	}
	stop()
	g.leave()
	<-g.drained
	return true
}
