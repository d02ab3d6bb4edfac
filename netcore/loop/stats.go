package loop

import "time"

// Stats counts since Start. Only the loop writes them, with plain additions; a copy is published once a second.
type Stats struct {
	Turns      uint64 // turns in which anything happened
	Inlined    uint64 // turns ended without asking the library for a task
	Waits      uint64 // looks for ready sockets, with waiting or without; the library's own are not known
	Messages   uint64 // mailbox messages delivered
	BytesIn    uint64
	BytesOut   uint64
	BusyNanos  uint64 // time within turns; its growth per second is the load of the loop
	BatchNanos uint64 // time in which the loop's thread was of SCHED_BATCH, see policy.go
	Sessions   int    // open now
	Opened     uint64
	Closed     uint64

	// Sessions that the loop closed on its own, by reason.
	Refused      uint64 // ErrTooMany, or arrived while stopping
	SlowReader   uint64
	InboundLimit uint64
	Idle         uint64

	PoolHits   uint64
	PoolMisses uint64
}

const publishInterval = time.Second

// Snapshot returns the counters as published last, at most about a second old. Safe from any goroutine.
func (c *core) Snapshot() Stats { return *c.published.Load() }

func (c *core) publish() {
	s := c.stats
	s.Sessions = c.table.count
	s.PoolHits, s.PoolMisses, _ = c.pool.Stats()
	c.published.Store(&s)
}

func (c *core) publishTick() {
	c.publish()
	c.AtMultiple(publishInterval, c.publishTick)
}

// countClose books a close under its reason.
func (c *core) countClose(cause error) {
	c.stats.Closed++
	switch cause {
	case ErrSlowReader:
		c.stats.SlowReader++
	case ErrInboundLimit:
		c.stats.InboundLimit++
	case ErrIdle:
		c.stats.Idle++
	}
}

// idleTick closes sessions that were silent for IdleTimeout.
func (c *core) idleTick() {
	limit := c.now - int64(c.cfg.IdleTimeout)
	c.table.each(func(s *Session) {
		if s.lastActive <= limit {
			s.Abort(ErrIdle)
		}
	})
	c.After(max(c.cfg.IdleTimeout/4, time.Millisecond), c.idleTick)
}
