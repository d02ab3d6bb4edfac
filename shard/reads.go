package shard

import (
	"errors"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// getCall is a get or ttl that waits for the store call of this turn. Its key is in partition.gets at the same index.
type getCall struct {
	call   call
	ttl    bool
	backup bool // the client takes an answer that may be old
}

// get takes a GET or TTL that was admitted. All of a turn's for one partition are looked up in one store call.
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
	if len(p.getCalls) >= max(p.getLimit, minGets) {
		p.runGets()
	}
	p.gets.Add(key)
	p.getCalls = append(p.getCalls, getCall{call: call{dest: d, to: req.ReplyTo()}, ttl: req.Code == proto.CodeTTL, backup: req.Backup})
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
func (p *partition) runGets() {
	if len(p.getCalls) == 0 {
		return
	}
	n := len(p.getCalls)
	for i := p.hotReads.sample(0, n); i < n; i = p.hotReads.sample(i+1, n) {
		p.hotReads.count(p.gets.Key(i))
	}
	began := p.shard.seen
	if p.available() {
		p.lookUp()
	}
	// Asked when the store has been read: a lease that ended meanwhile makes the answers worthless.
	now := p.shard.clock()
	may := p.mayAnswer(now)
	env := p.freshEnv()
	counted := p.newRun(&p.getCalls[0].call, now)
	var cold *getJob
	for i := range p.getCalls {
		g := &p.getCalls[i]
		switch {
		case !may.read(g.backup):
			p.shard.fail(&g.call, proto.ErrInvalidState)
		case p.gets.Outcome(i) == engine.WouldBlock:
			if cold == nil {
				cold = p.newGetJob()
				cold.submitted = now
			}
			cold.gets.Add(p.gets.Key(i))
			cold.calls = append(cold.calls, *g)
		default:
			if !p.answerGet(g, env, p.gets.Outcome(i), p.gets.Value(i), p.gets.Err(i)) {
				continue
			}
			counted.next(&g.call)
			counted.add(len(p.gets.Key(i)) + len(p.gets.Value(i)))
			if p.curious(&g.call, now) {
				p.explainGet(g, p.gets.Key(i), p.gets.Outcome(i), len(p.gets.Value(i)), stages{queue: began - g.call.at, store: now - began}, now)
			}
		}
	}
	counted.end()
	perKey := len(p.gets.Arenas().Vals)/len(p.getCalls) + 1
	p.getLimit = min(max(2*p.getLimit, minGets), getBytes/perKey, maxGets)
	p.shard.stats.Gets += uint64(len(p.getCalls))
	clear(p.getCalls)
	p.getCalls = p.getCalls[:0]
	trimGets(&p.gets)
	if cold != nil {
		p.shard.submitRead(p, cold)
	}
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
