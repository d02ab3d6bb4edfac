package shard

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Manual compactions are asked for by the envs of a table (manual_compact.*): once, by every replica that has not finished one since
// the trigger time, or every day at fixed times. They run in a lane of their own, because they take hours and what else is done in
// the background must not wait behind them. Closing a store ends its compaction.

// compaction is what a replica knows of its manual compactions. Status and end are told to meta and to operators.
type compaction struct {
	queued  bool // in the lane or running
	running bool
	ended   int64 // when the last one finished, unix milliseconds; 0 = none ever
	failed  int64 // loop time of the last failure; the next attempt waits
}

const (
	// compactWorkers are the manual compactions of a node that run at a time; the work itself is done by RocksDB's threads.
	compactWorkers = 4
	// compactPause is how long a compaction that failed is not tried again.
	compactPause = time.Minute
)

// compactStatus is manual_compaction_status of the Apache protocol. A compaction that is due and not begun counts as queuing.
func (p *partition) compactStatus() proto.ManualCompactionStatus {
	switch {
	case p.compact.running:
		return proto.CompactionRunning
	case p.compact.queued:
		return proto.CompactionQueuing
	case p.onceDue() && !p.settings.Compaction.Disabled:
		return proto.CompactionQueuing
	case p.compact.ended > 0:
		return proto.CompactionFinished
	}
	return proto.CompactionIdle
}

// onceDue tells whether the trigger time has come, and no compaction has ended since.
func (p *partition) onceDue() bool {
	once := p.settings.Compaction.Once
	return once > p.compact.ended/1000 && once <= time.Now().Unix()
}

// periodDue tells whether a time of the day has come since the last compaction.
func (p *partition) periodDue(now time.Time) bool {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	for _, at := range p.settings.Compaction.Periodic {
		due := midnight.Add(time.Duration(at) * time.Second)
		if due.Before(now) && p.compact.ended < due.UnixMilli() {
			return true
		}
	}
	return false
}

// compactIfDue begins a compaction that is due, unless the node has as many under way as the table allows: then the tick comes back.
func (p *partition) compactIfDue(now time.Time) {
	c := &p.settings.Compaction
	if p.state != replicaOpen || p.compact.queued || c.Disabled || p.shard.draining || p.shard.stopped {
		return
	}
	if p.compact.failed > 0 && p.shard.loop.Now()-p.compact.failed < int64(compactPause) {
		return
	}
	how := c.OnceHow
	if !p.onceDue() {
		if len(c.Periodic) == 0 || !p.periodDue(now) {
			return
		}
		how = c.PeriodHow
	}
	if p.settle(); p.state != replicaOpen {
		return
	}
	n := p.shard.node
	if running := n.compactions.Add(1); c.MaxRunning > 0 && running > int64(c.MaxRunning) {
		n.compactions.Add(-1)
		return
	}
	p.compact.queued = true
	p.refs++
	store, sh := p.store, p.shard
	err := n.compacting.Submit(func() {
		sh.deliverLater(&compactionBegun{partition: p})
		sh.deliverLater(&compactionEnded{partition: p, store: store, err: store.Compact(how)})
	})
	if err != nil { // the lane is longer than the replicas of a node; it refuses only when the node stops
		p.endCompaction()
	}
	n.statusChanged()
}

func (p *partition) endCompaction() {
	p.compact.queued, p.compact.running = false, false
	p.shard.node.compactions.Add(-1)
	p.refs--
}

type compactionBegun struct{ partition *partition }

func (m *compactionBegun) deliver(sh *Shard) {
	m.partition.compact.running = true
	sh.logger.Info("manual compaction begins", zap.Stringer("gpid", m.partition.gpid))
	sh.node.statusChanged()
}

type compactionEnded struct {
	partition *partition
	store     engine.Store
	err       error
}

func (m *compactionEnded) deliver(sh *Shard) {
	p := m.partition
	p.endCompaction()
	switch {
	case m.err == nil:
		p.compact.ended, p.compact.failed = m.store.CompactedAt().UnixMilli(), 0
		sh.logger.Info("manual compaction ended", zap.Stringer("gpid", p.gpid))
	case errors.Is(m.err, engine.ErrClosed): // it was cut short
		p.compact.failed = sh.loop.Now()
	default:
		p.compact.failed = sh.loop.Now()
		sh.logger.Error("manual compaction failed", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		if errors.Is(m.err, engine.ErrCorruption) { // not for a level that is not free
			p.storeFailed(m.err)
		}
	}
	sh.node.statusChanged()
	p.closeIfIdle()
}

// openedStore notes what a store that was just opened remembers.
func (p *partition) openedStore(store engine.Store) {
	p.tuned = store.Tuning()
	p.compact.ended = 0
	if at := store.CompactedAt(); !at.IsZero() {
		p.compact.ended = at.UnixMilli()
	}
}

// abortCompaction ends a compaction that runs, because the store is to be closed.
func (p *partition) abortCompaction() {
	if p.compact.queued && p.store != nil {
		p.store.AbortCompact()
	}
}
