package shard

import (
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/netcore/proto"
)

// tickInterval is how often a shard looks after what no event reminds it of: expired scans, flushed decrees, log space.
const tickInterval = time.Second

// tick does the periodic work of a shard and comes back.
func (sh *Shard) tick() {
	now, wall := sh.loop.Now(), time.Now()
	sh.retry()
	sh.publish()
	for _, p := range sh.partitions {
		p.scanners.expire(now)
		if p.idle(now) {
			p.close()
		}
		p.tune()
		p.compactIfDue(wall)
		p.hotReads.look(now)
		p.hotWrites.look(now)
	}
	sh.refreshRecords()
	sh.survey()
	sh.relieveLog()
	sh.startChore()
	sh.loop.AtMultiple(tickInterval, sh.tick)
}

// publish makes the counters of the shard those that Node.Stats returns.
func (sh *Shard) publish() {
	stats := sh.stats
	stats.Rows = sh.rows.Stats()
	log := sh.log.Stats()
	stats.LogWrites, stats.LogSyncs, stats.LogBytes = log.Writes, log.Syncs, log.Bytes
	sh.published.Store(&stats)
}

// idle tells whether the replica is one that no configuration names, and that nobody has invited to learn for a while: what it
// has prepared would hold the log for ever.
func (p *partition) idle(now int64) bool {
	return p.state == replicaOpen && p.replica.Role() == consensus.Inactive && p.wanted.Ballot > 0 && !p.wants && !p.named() &&
		now-p.idleSince >= int64(p.shard.opts.Timing.Grace)
}

// flushSurvey asks the stores, in the background, up to which decree they survive without the log, so that log segments can
// be freed, and has those whose rows may not be cached yet look whether they are steady. The questions may read from storage and
// wait for RocksDB, hence not on the loop.
type flushSurvey struct {
	partitions []*partition
	stores     []engine.Store
	flushed    []proto.Decree
}

func (sh *Shard) survey() {
	if sh.surveying {
		return
	}
	s := &flushSurvey{}
	for _, p := range sh.partitions {
		if p.state == replicaOpen && p.flushed < p.replica.Committed() || p.awaitsRows() {
			p.refs++
			s.partitions = append(s.partitions, p)
			s.stores = append(s.stores, p.store)
		}
	}
	if len(s.partitions) == 0 {
		return
	}
	sh.surveying = true
	sh.background(func() message {
		for _, store := range s.stores {
			s.flushed = append(s.flushed, store.FlushedDecree())
			store.Steady(true)
		}
		return s
	})
}

func (s *flushSurvey) deliver(sh *Shard) {
	sh.surveying = false
	for i, p := range s.partitions {
		p.refs--
		p.noteFlushed(s.flushed[i])
		p.closeIfIdle()
	}
}

// noteFlushed tells whether d is news.
func (p *partition) noteFlushed(d proto.Decree) bool {
	if p.state != replicaOpen || d <= p.flushed {
		return false
	}
	p.flushed = d
	p.step(&consensus.Event{Kind: consensus.EventFlushed, Decree: d})
	p.shard.log.FlushedUpTo(p.gpid, d)
	return true
}

// relieveLog flushes the partition that holds the oldest log segment which a flush can free, once the log is half full: a table
// that is hardly written must not keep the log of all others. What is prepared and not committed stays, and keeps its own segments.
func (sh *Shard) relieveLog() {
	if sh.relieving {
		return
	}
	if inUse := int64(sh.log.Stats().Segments) * sh.opts.Log.SegmentSize; inUse < sh.opts.Log.TotalSize/2 {
		return
	}
	g, _, ok := sh.log.OldestHolder(func(g proto.GPID, upTo proto.Decree) bool {
		p := sh.partitions[g]
		return p != nil && (p.state == replicaFailed || p.state == replicaOpen && upTo <= p.replica.Committed())
	})
	if !ok {
		return
	}
	p := sh.partitions[g]
	if p.state == replicaFailed {
		sh.salvage(p)
		return
	}
	p.settle()
	if p.state != replicaOpen {
		return
	}
	sh.relieving = true
	p.refs++
	store := p.store
	sh.background(func() message {
		decree, err := store.Flush()
		return &relieved{partition: p, flushed: decree, err: err}
	})
}

type relieved struct {
	partition *partition
	flushed   proto.Decree
	err       error
}

func (r *relieved) deliver(sh *Shard) {
	sh.relieving = false
	p := r.partition
	p.refs--
	if r.err != nil {
		p.storeFailed(r.err)
	} else if p.noteFlushed(r.flushed) {
		sh.relieveLog()
		sh.startChore()
	}
	p.closeIfIdle()
}

// startChore lets the background lane make, recycle and remove log files. After an error it is tried again with the next tick.
func (sh *Shard) startChore() {
	if sh.stopped { // while draining writes may still wait for the room that a chore makes
		return
	}
	c := sh.log.NextChore()
	if c == nil {
		return
	}
	sh.choring = true
	sh.background(func() message {
		c.Do()
		return &choreDone{chore: c}
	})
}

type choreDone struct{ chore *mutlog.Chore }

func (m *choreDone) deliver(sh *Shard) {
	sh.choring = false
	if err := sh.log.CompleteChore(m.chore); err != nil {
		sh.logger.Error("shard log files", zap.Error(err))
		if outOfSpace(err) {
			sh.node.space.hit()
		}
		return
	}
	sh.startChore()
	sh.startLogWrite()
}
