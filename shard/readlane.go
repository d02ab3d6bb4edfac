package shard

import (
	"time"

	"pegasus/netcore/proto"
)

// readJob is a read that may block on storage. run is called off the loop until it says that it is finished, each time for
// about limit; then finish on the loop, which returns the bytes of what it answered; refuse on the loop when no lane took it;
// drop when the loop is gone.
type readJob interface {
	run(limit time.Duration) (finished bool)
	finish(sh *Shard) (bytes int)
	refuse(sh *Shard, code proto.ErrCode)
	drop()
}

// laneRead carries a readJob through a lane and back.
type laneRead struct {
	shard     *Shard
	partition *partition
	job       readJob
	long      bool // see longReads
	limit     time.Duration
	took      time.Duration // of the last slice
	finished  bool
}

// firstSlice is what a read may take in the read lane. What is not finished then is a long one.
const firstSlice = time.Millisecond

// submitRead hands a job to the read lane. The partition's store stays open until it is back.
func (sh *Shard) submitRead(p *partition, job readJob) {
	r := &laneRead{shard: sh, partition: p, job: job, limit: firstSlice}
	p.refs++
	if err := sh.readLane.Submit(r.slice); err != nil {
		p.refs--
		job.refuse(sh, proto.ErrBusy)
		p.closeIfIdle()
	}
}

// slice runs one slice of the job, in a lane.
func (r *laneRead) slice() {
	clock := r.shard.node.leases
	began := clock.now()
	r.finished = r.job.run(r.limit)
	r.took = time.Duration(clock.now() - began)
	r.shard.deliverLater(r)
}

func (r *laneRead) deliver(sh *Shard) {
	if r.long {
		sh.endedSlice(r.took)
		defer sh.startLong()
	}
	if !r.finished {
		sh.queueLong(r)
		return
	}
	r.partition.refs--
	bytes := r.job.finish(sh)
	if r.long {
		sh.answeredLong(bytes)
	}
	r.partition.closeIfIdle()
}

// drop is called when the loop has ended meanwhile.
func (r *laneRead) drop() { r.job.drop() }

// queueRead reads the records that the atomic operations of a partition's queue wait for.
type queueRead struct {
	getJob
	at    []int // index in partition.queue of each key
	reign int   // what was read is worth nothing when another primary has written meanwhile
}

// readForQueue reads, in the lane, the records that the head of the queue waits for and that are neither in memory nor in
// flight; index is what prefetch said of the writes from the head on. New writes queue up behind, so what is read cannot
// change before it is used. What an earlier read brought may have changed meanwhile and is read again.
func (p *partition) readForQueue(index []int) {
	job := &queueRead{getJob: getJob{partition: p, store: p.store}, reign: p.reigns}
	for j := range p.queue {
		p.queue[j].resolved, p.queue[j].value = false, nil
	}
	gets := &p.shard.atomicGets
	for j, slot := range index {
		if slot < 0 && slot != keyResolved {
			continue
		}
		key, err := p.atomicKey(&p.queue[j])
		if err != nil || len(key) == 0 {
			continue
		}
		if _, _, inFlight := p.overlay.get(key); inFlight {
			continue
		}
		if slot >= 0 && !needsStorage(gets, slot) {
			continue
		}
		job.gets.Add(key)
		job.at = append(job.at, j)
	}
	p.reading = true
	p.shard.submitRead(p, job)
}

func (j *queueRead) finish(*Shard) (bytes int) {
	p := j.partition
	p.reading = false
	for k, at := range j.at {
		if at >= len(p.queue) || p.reigns != j.reign {
			break // the queue was refused meanwhile, or this replica was not primary all the time
		}
		w := &p.queue[at]
		w.resolved, w.outcome = true, j.gets.Outcome(k)
		w.value = append([]byte(nil), j.gets.Value(k)...)
		w.err = j.gets.Err(k)
	}
	p.note(workWrite)
	return 0
}

func (j *queueRead) refuse(sh *Shard, code proto.ErrCode) {
	j.partition.reading = false
	j.partition.failQueue(code)
}
