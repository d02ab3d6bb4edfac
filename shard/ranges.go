package shard

import (
	"time"

	"pegasus/engine"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// A range read starts on the loop with a small budget and looks in memory only. What is short and warm is answered there and
// then; the rest goes to the read lane, and what is long goes on as longReads.
var loopBudget = engine.SliceLimit{MaxRows: 256, MaxTime: 300 * time.Microsecond}

// rangeJob is a read over several records, or one batch of a scan, on its way through the read lane.
type rangeJob struct {
	partition *partition
	call      call
	backup    bool // the client takes an answer that may be old
	read      rrdb.Read
	began     int64         // first look, in memory; this and the following on the node's clock
	submitted int64         // to the lane; 0 = was not needed
	ran       int64         // first slice in the lane
	ended     int64         // last one
	limit     time.Duration // of the whole read; 0 = none
	state     rrdb.State
	err       error
}

// rangeRead takes a MULTI_GET, BATCH_GET or SORTKEY_COUNT that was admitted.
func (p *partition) rangeRead(d dest, req *proto.Request) {
	if !p.settleFor(d, req) {
		return
	}
	read, err := rrdb.NewRead(p.store, p.freshEnv(), req.Code, req.Args)
	if err != nil {
		p.shard.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrInvalidData)
		return
	}
	p.run(d, req, read)
}

// getScanner opens a scan: its first batch is a read like any other.
func (p *partition) getScanner(d dest, req *proto.Request) {
	if !p.settleFor(d, req) {
		return
	}
	scanner, err := rrdb.NewScanner(p.store, p.freshEnv(), req.Args)
	if err != nil {
		p.shard.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrInvalidData)
		return
	}
	p.run(d, req, scanner)
}

// scan fetches the next batch of a scan.
func (p *partition) scan(d dest, req *proto.Request) {
	handle, err := proto.DecodeScanArgs(req.Args)
	if err != nil {
		p.shard.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrInvalidData)
		return
	}
	scanner := p.scanners.take(handle)
	if scanner == nil {
		c := call{dest: d, to: req.ReplyTo()}
		buf, mark := p.shard.beginReply(&c)
		p.shard.endReply(&c, rrdb.AppendNoScannerReply(buf, p.freshEnv()), mark)
		return
	}
	scanner.NextBatch(p.freshEnv())
	p.run(d, req, scanner)
}

// clearScanner drops a scan. There is no reply, also when there is no such scan.
func (p *partition) clearScanner(d dest, req *proto.Request) {
	if handle, err := proto.DecodeClearScannerArgs(req.Args); err == nil {
		if scanner := p.scanners.take(handle); scanner != nil {
			scanner.Close()
		}
	}
	p.shard.silence(&d)
}

// settle applies what is committed and waiting for the end of the turn.
func (p *partition) settle() {
	if len(p.committed) > 0 {
		p.applyCommitted()
	}
}

// settleFor settles, so that a read that starts now sees what is committed, and refuses the read when that did not work: what it would
// see may be older than what a former primary has answered, and could not be told from it when the read ends.
func (p *partition) settleFor(d dest, req *proto.Request) bool {
	if len(p.committed) == 0 {
		return true
	}
	p.applyCommitted()
	if p.mayRead(req.Backup) {
		return true
	}
	p.shard.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrInvalidState)
	return false
}

// run gives a read its first slice on the loop and sends it to the lane when that was not enough.
func (p *partition) run(d dest, req *proto.Request, read rrdb.Read) {
	job := rangeJob{partition: p, call: call{dest: d, to: req.ReplyTo()}, backup: req.Backup, read: read, limit: p.env.Limits.IterationTime}
	job.began = p.shard.seen
	if p.hotReads.sample(0, 1) == 0 {
		if k, ok := read.(interface{ Work() ([]byte, int) }); ok {
			key, _ := k.Work()
			p.hotReads.count(key)
		}
	}
	job.state, job.err = read.Run(engine.TierCache, loopBudget)
	if job.state == rrdb.Done || job.state == rrdb.Failed {
		job.finish(p.shard)
		return
	}
	p.shard.stats.ColdReads++
	job.submitted = p.shard.clock()
	cold := job
	if scanner, ok := read.(*rrdb.Scanner); ok && scanner.Long() {
		p.shard.submitLong(p, &cold)
	} else {
		p.shard.submitRead(p, &cold)
	}
}

// run gives the read one slice in a lane.
func (j *rangeJob) run(limit time.Duration) (finished bool) {
	leases := j.partition.shard.node.leases
	now := leases.now()
	if j.ran == 0 {
		j.ran = now
	}
	if j.limit > 0 && now-j.submitted > int64(j.limit) {
		j.read.TimeUp()
	}
	j.state, j.err = j.read.Run(engine.TierAll, engine.SliceLimit{MaxTime: limit})
	j.ended = leases.now()
	return j.state == rrdb.Done || j.state == rrdb.Failed
}

// finish answers on the loop. The replica may have stopped serving while the lane read.
func (j *rangeJob) finish(sh *Shard) (bytes int) {
	p := j.partition
	now := sh.clock()
	if !p.mayReadAt(j.backup, now) {
		j.read.Close()
		sh.fail(&j.call, proto.ErrInvalidState)
		return 0
	}
	scanner, _ := j.read.(*rrdb.Scanner)
	// With a traced scan nobody goes on.
	keep := scanner != nil && j.state == rrdb.Done && scanner.Unfinished() && j.call.trace == 0
	if keep {
		scanner.SetHandle(p.scanners.put(scanner, sh.loop.Now()+int64(sh.opts.Limits.ScannerExpiry), sh.opts.Limits.MaxScanners))
	}
	buf, mark := sh.beginReply(&j.call)
	header := len(buf)
	buf = j.read.AppendReply(buf)
	bytes = len(buf) - header
	sh.endReply(&j.call, buf, mark)
	sh.stats.Ranges++
	counted := p.newRun(&j.call, now)
	counted.add(bytes)
	counted.end()
	if p.curious(&j.call, now) {
		p.explainRange(j, now, bytes)
	}
	if !keep {
		j.read.Close()
	}
	if j.state == rrdb.Failed {
		p.storeFailed(j.err)
	}
	return bytes
}

func (j *rangeJob) drop() { j.read.Close() }

func (j *rangeJob) refuse(sh *Shard, code proto.ErrCode) {
	j.read.Close()
	sh.fail(&j.call, code)
}
