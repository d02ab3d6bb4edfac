package shard

import (
	"errors"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// getCall is a get or ttl that waits for the store call of this turn. Its key is at the same index of the batch.
type getCall struct {
	p      *partition
	call   call
	ttl    bool
	backup bool // the client takes an answer that may be old
}

// turnGets are the gets of this turn, of all partitions, in the order in which they came: one call looks all of them up.
type turnGets struct {
	batch  engine.GetBatch
	calls  []getCall
	stores []engine.Store // of each; nil when it takes part in nothing now
	limit  int            // keys that the next call may take; see maxGets
	cold   []*getJob      // of the call under way, one per partition
}

// get takes a GET or TTL that was admitted.
func (p *partition) get(d dest, req *proto.Request) {
	key, err := proto.DecodeBlobArg(req.Args)
	if err != nil {
		p.shard.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrInvalidData)
		return
	}
	if !rrdb.ValidKey(key) {
		c := call{dest: d, to: req.ReplyTo()}
		buf, mark := p.shard.beginReply(&c)
		p.shard.endReply(&c, rrdb.AppendInvalidKeyReply(buf, p.freshEnv(), req.Code), mark)
		return
	}
	t := &p.shard.gets
	if len(t.calls) >= max(t.limit, minGets) {
		// In the middle of a turn what it has committed is not applied yet, and a former primary may have answered for it.
		for i := range t.calls {
			t.calls[i].p.settle()
		}
		p.shard.runGets()
	}
	t.batch.Add(key)
	t.calls = append(t.calls, getCall{p: p, call: call{dest: d, to: req.ReplyTo()}, ttl: req.Code == proto.CodeTTL, backup: req.Backup})
	p.note(workRead)
}

// A store call takes at most maxGets keys, and not more than what makes about getBytes of values, going by the last call: values
// may be large, a store refuses more than a gigabyte of them, and a session must be found congested before its replies are
// more than it may have unsent. A turn that has seen many must not be remembered for ever, hence maxKeptGets.
const (
	minGets     = 8
	maxGets     = 256
	getBytes    = 4 << 20
	maxKeptGets = 1 << 20 // bytes
	maxGetJobs  = 64      // kept for reuse
)

// trimGets empties a batch and gives its memory back when it has grown large.
func trimGets(b *engine.GetBatch) {
	b.Reset()
	if a := b.Arenas(); cap(a.Vals)+cap(a.Keys) > maxKeptGets {
		*b = engine.GetBatch{}
	}
}

// readFailure is what a client is told when the store could not read its record.
func readFailure(err error) proto.ErrCode {
	if errors.Is(err, rocks.ErrBatchTooLarge) {
		return proto.ErrCapacityExceeded
	}
	return proto.ErrLocalAppFailure
}

// runGets answers the gets of this turn from memory and hands the rest to the read lane.
func (sh *Shard) runGets() {
	t := &sh.gets
	if len(t.calls) == 0 {
		return
	}
	for i := range t.calls {
		p := t.calls[i].p
		if p.hotReads.sample(0, 1) == 0 {
			p.hotReads.count(t.batch.Key(i))
		}
		var store engine.Store
		if p.available() {
			store = p.store
		}
		t.stores = append(t.stores, store)
	}
	began := sh.seen
	sh.lookUp()
	// Asked when the stores have been read: a lease that ended meanwhile makes the answers worthless.
	now := sh.clock()
	var may permission
	var env *rrdb.Env
	var counted run
	for i := range t.calls {
		g := &t.calls[i]
		p := g.p
		if i == 0 || p != t.calls[i-1].p {
			counted.end()
			may, env, counted = p.mayAnswer(now), p.freshEnv(), p.newRun(&g.call, now)
		}
		outcome := t.batch.Outcome(i)
		switch {
		case !may.read(g.backup):
			sh.fail(&g.call, proto.ErrInvalidState)
		case outcome == engine.WouldBlock:
			cold := t.coldJob(p, now)
			cold.gets.Add(t.batch.Key(i))
			cold.calls = append(cold.calls, *g)
			sh.stats.ColdReads++
		default:
			if !p.answerGet(g, env, outcome, t.batch.Value(i), t.batch.Err(i)) {
				continue
			}
			counted.next(&g.call)
			counted.add(len(t.batch.Key(i)) + len(t.batch.Value(i)))
			if p.curious(&g.call, now) {
				p.explainGet(g, t.batch.Key(i), outcome, len(t.batch.Value(i)), stages{queue: began - g.call.at, store: now - began}, now)
			}
		}
	}
	counted.end()
	perKey := len(t.batch.Arenas().Vals)/len(t.calls) + 1
	t.limit = min(max(2*t.limit, minGets), getBytes/perKey, maxGets)
	sh.stats.Gets += uint64(len(t.calls))
	clear(t.calls)
	clear(t.stores)
	t.calls, t.stores = t.calls[:0], t.stores[:0]
	trimGets(&t.batch)
	for i, job := range t.cold {
		t.cold[i] = nil
		sh.submitRead(job.partition, job)
	}
	t.cold = t.cold[:0]
}

// coldJob returns the job for what must be read from a partition's storage.
func (t *turnGets) coldJob(p *partition, now int64) *getJob {
	for _, job := range t.cold {
		if job.partition == p {
			return job
		}
	}
	job := p.newGetJob()
	job.submitted = now
	t.cold = append(t.cold, job)
	return job
}

// answerGet replies to a get with what was read, or refuses it and says false when the store failed.
func (p *partition) answerGet(g *getCall, env *rrdb.Env, outcome engine.Outcome, value []byte, err error) bool {
	if outcome == engine.Failed {
		p.shard.fail(&g.call, readFailure(err))
		p.storeFailed(err)
		return false
	}
	buf, mark := p.shard.beginReply(&g.call)
	if g.ttl {
		buf = rrdb.AppendTTLReply(buf, env, outcome, value)
	} else {
		buf = rrdb.AppendGetReply(buf, env, outcome, value)
	}
	p.shard.endReply(&g.call, buf, mark)
	return true
}

// getJob is a set of gets that must touch storage.
type getJob struct {
	partition *partition
	store     engine.Store
	gets      engine.GetBatch
	calls     []getCall

	submitted, began, ended int64 // on the node's clock: to the lane, and the read in it
}

func (p *partition) newGetJob() *getJob {
	free := p.shard.getJobs
	if n := len(free); n > 0 {
		j := free[n-1]
		p.shard.getJobs = free[:n-1]
		j.partition, j.store = p, p.store
		return j
	}
	return &getJob{partition: p, store: p.store}
}

func (j *getJob) run(time.Duration) bool {
	j.began = j.partition.shard.node.leases.now()
	j.store.MultiGet(&j.gets, engine.TierAll)
	j.ended = j.partition.shard.node.leases.now()
	return true
}

// finish answers on the loop. The replica may have stopped serving while storage was read.
func (j *getJob) finish(sh *Shard) (bytes int) {
	p := j.partition
	now := sh.clock()
	may := p.mayAnswer(now)
	env := p.freshEnv()
	counted := p.newRun(&j.calls[0].call, now)
	for i := range j.calls {
		g := &j.calls[i]
		if !may.read(g.backup) {
			sh.fail(&g.call, proto.ErrInvalidState)
			continue
		}
		if !p.answerGet(g, env, j.gets.Outcome(i), j.gets.Value(i), j.gets.Err(i)) {
			continue
		}
		counted.next(&g.call)
		counted.add(len(j.gets.Key(i)) + len(j.gets.Value(i)))
		bytes += len(j.gets.Value(i))
		if p.curious(&g.call, now) {
			p.explainGet(g, j.gets.Key(i), j.gets.Outcome(i), len(j.gets.Value(i)), stages{
				queue: j.submitted - g.call.at, lane: j.began - j.submitted, store: j.ended - j.began, back: now - j.ended,
			}, now)
		}
	}
	counted.end()
	clear(j.calls)
	j.calls = j.calls[:0]
	trimGets(&j.gets)
	j.partition, j.store = nil, nil
	if len(sh.getJobs) < maxGetJobs {
		sh.getJobs = append(sh.getJobs, j)
	}
	return bytes
}

func (j *getJob) drop() {}

func (j *getJob) refuse(sh *Shard, code proto.ErrCode) {
	for i := range j.calls {
		sh.fail(&j.calls[i].call, code)
	}
}
