package shard

import (
	"time"

	"pegasus/netcore/lane"
	"pegasus/netcore/proto"
)

// longReads are the reads of a shard that go slice by slice as the budget allows: scans of whole tables, scans beyond their
// first batch, and what one slice in the read lane has not finished. They take turns with each other and have a lane of their
// own, so that no short read waits behind them.
type longReads struct {
	budget  scanBudget
	lane    *lane.Lane
	queue   []*laneRead // that wait for their next slice, in order; at most Limits.ReadQueue
	running int         // slices in the lane
	paused  bool        // a timer will start the next one
	resume  func()      // what the timer calls, bound once
	replies uint64      // of long reads, so far
}

// longReadNice is the priority of the threads of long reads: a kernel that has to choose takes a loop first. What it
// costs a scan that is alone was not resolved by measurement (600,000 to 1,000,000 records/s with and without).
const longReadNice = 10

// submitLong hands over a read that is long from the start. The partition's store stays open until it is back.
func (sh *Shard) submitLong(p *partition, job readJob) {
	p.refs++
	sh.queueLong(&laneRead{shard: sh, partition: p, job: job, long: true})
}

// queueLong lets a read wait for its next slice. The queue takes as many as the lane of short reads.
func (sh *Shard) queueLong(r *laneRead) {
	l := &sh.long
	if len(l.queue) >= sh.opts.Limits.ReadQueue {
		sh.refuseLong(r, proto.ErrBusy)
		return
	}
	r.long = true
	l.queue = append(l.queue, r)
	sh.startLong()
}

func (sh *Shard) refuseLong(r *laneRead, code proto.ErrCode) {
	r.partition.refs--
	r.job.refuse(sh, code)
	r.partition.closeIfIdle()
}

// startLong starts the slices that may run now: one at a time beside short requests, else as many as there are workers.
func (sh *Shard) startLong() {
	l := &sh.long
	for len(l.queue) > 0 && !l.paused {
		now := sh.clock()
		l.budget.look(sh.shortRequests(), now)
		free := l.budget.free(now) || sh.draining
		if l.running > 0 && !free || l.running >= sh.opts.Limits.ReadWorkers {
			return // the end of a slice comes back here
		}
		if pause := l.budget.pause(now); pause > 0 && !free {
			l.paused = true
			sh.loop.After(pause, l.resume)
			return
		}
		r := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		r.limit = l.budget.slice(now)
		if err := l.lane.Submit(r.slice); err != nil {
			sh.refuseLong(r, proto.ErrBusy)
			continue
		}
		l.running++
	}
}

// resumeLong ends a pause.
func (sh *Shard) resumeLong() {
	sh.long.paused = false
	sh.startLong()
}

// endedSlice books a slice of a long read that came back from the lane.
func (sh *Shard) endedSlice(took time.Duration) {
	sh.long.running--
	sh.long.budget.spent(took+sliceCost, sh.clock())
}

// answeredLong books the reply of a long read.
func (sh *Shard) answeredLong(bytes int) {
	sh.long.replies++
	sh.long.budget.spent(time.Duration(bytes>>10)*replyPerKiB, sh.seen)
}

// shortRequests counts what long reads must leave time for, so far: the requests of clients, and what this shard logs, for other
// primaries too.
func (sh *Shard) shortRequests() uint64 {
	return sh.stats.Gets + sh.stats.Writes + sh.stats.Ranges - sh.long.replies + sh.logMeter.took.Count()
}

// drop lets go of what waits when the loop has ended.
func (l *longReads) drop() {
	for _, r := range l.queue {
		r.job.drop()
	}
	l.queue = nil
}
