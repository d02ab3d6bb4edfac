package shard

import (
	"pegasus/netcore/proto"
)

// readJob is a read that may block on storage. run is called in the read lane until it says that it is finished, then finish
// on the loop; refuse on the loop when the lane took it not; drop in the lane when the loop is gone.
type readJob interface {
	run() (finished bool)
	finish(sh *Shard)
	refuse(sh *Shard, code proto.ErrCode)
	drop()
}

// laneRead carries a readJob through the lane and back.
type laneRead struct {
	shard     *Shard
	partition *partition
	job       readJob
}

// submitRead hands a job to the read lane. The partition's store stays open until it is back.
func (sh *Shard) submitRead(p *partition, job readJob) {
	r := &laneRead{shard: sh, partition: p, job: job}
	p.refs++
	if err := sh.readLane.Submit(r.slice); err != nil {
		p.refs--
		job.refuse(sh, proto.ErrBusy)
		p.closeIfIdle()
	}
}

// slice runs one slice of the job. A job that is not finished goes to the end of the queue, so that a long scan does not
// hold a worker against short reads; when the queue is full it keeps the worker.
func (r *laneRead) slice() {
	for !r.job.run() {
		if r.shard.readLane.Submit(r.slice) == nil {
			return
		}
	}
	r.shard.deliverLater(r)
}

func (r *laneRead) deliver(sh *Shard) {
	r.partition.refs--
	r.job.finish(sh)
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

func (j *queueRead) finish(sh *Shard) {
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
}

func (j *queueRead) refuse(sh *Shard, code proto.ErrCode) {
	j.partition.reading = false
	j.partition.failQueue(code)
}
