package shard

import (
	"errors"
	"slices"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// mutationOps is one mutation on its way from the first request that wrote into it to the last reply. It owns the bytes
// that log, store and overlay refer to, and goes back to the shard's free list when it has been answered.
type mutationOps struct {
	builder   engine.BatchBuilder
	ops       []writeOp
	tokens    [1]uint64 // names this mutation to consensus; see Shard.nextToken
	timestamp int64     // microseconds; the timetag of all its records

	// When it was proposed and when it was in the local log, on the node's clock; decree finds it when the log has it.
	decree           proto.Decree
	proposed, logged int64

	overlaid      int // records of it in the overlay
	overlaidBytes int // the bytes of the batch that they end at
}

// writeOp is one client write inside a mutation.
type writeOp struct {
	call  call
	reply rrdb.Reply
	off   int32 // its records are the bytes off to end of the batch
	end   int32
}

// queuedWrite is a write that waits for its turn behind an atomic operation.
type queuedWrite struct {
	call     call
	code     proto.Code
	args     span // in partition.queueArgs
	resolved bool // value holds what the lane read
	outcome  engine.Outcome
	value    []byte
	err      error
}

type span struct{ off, end int }

// write takes a client write that was admitted. Plain writes are encoded straight from the frame; an atomic operation, and
// whatever follows it in the same turn, is queued so that all of them share one read of the store.
func (p *partition) write(d dest, req *proto.Request) {
	if req.Code.IsAtomic() || len(p.queue) > 0 {
		p.enqueue(d, req)
		return
	}
	p.encode(&call{dest: d, to: req.ReplyTo()}, req.Code, req.Args)
}

// maxQueuedBytes bounds the arguments of a partition's queue.
const maxQueuedBytes = 64 << 20

func (p *partition) enqueue(d dest, req *proto.Request) {
	c := call{dest: d, to: req.ReplyTo()}
	if len(p.queue) >= p.shard.opts.Limits.MaxQueuedWrites || len(p.queueArgs)+len(req.Args) > maxQueuedBytes {
		p.shard.fail(&c, proto.ErrBusy)
		return
	}
	off := len(p.queueArgs)
	p.queueArgs = append(p.queueArgs, req.Args...)
	p.queue = append(p.queue, queuedWrite{call: c, code: req.Code, args: span{off, len(p.queueArgs)}})
	p.note(workWrite)
}

// mutation returns the mutation that this turn builds, a new one when there is none or when it has no room for about size
// bytes more. A write that is too large for the log is thus refused alone.
func (p *partition) mutation(size int) *mutationOps {
	if m := p.current; m != nil && m.builder.Len() > 0 && m.builder.Len()+size > p.shard.opts.Limits.MaxMutation {
		p.propose()
	}
	if p.current == nil {
		p.current = p.shard.newMutation()
		// A former primary's clock may have been ahead of this one.
		p.lastTimestamp = max(p.shard.loop.WallMicros(), p.lastTimestamp+1, p.replica.Timestamp()+1)
		p.current.timestamp = p.lastTimestamp
		p.note(workWrite)
	}
	return p.current
}

// encode appends a plain write to the mutation of this turn.
func (p *partition) encode(c *call, code proto.Code, args []byte) {
	m := p.mutation(len(args))
	env := p.freshEnv()
	env.TimestampUS = m.timestamp
	off := m.builder.Len()
	reply, err := rrdb.Encode(&m.builder, env, code, args)
	p.add(m, c, off, reply, err)
}

// evaluate runs an atomic operation on the record that it was given and appends its effects.
func (p *partition) evaluate(c *call, code proto.Code, args []byte, outcome engine.Outcome, value []byte) {
	m := p.mutation(len(args))
	env := p.freshEnv()
	env.TimestampUS = m.timestamp
	off := m.builder.Len()
	reply, err := rrdb.Eval(&m.builder, env, code, args, outcome, value)
	p.add(m, c, off, reply, err)
}

func (p *partition) add(m *mutationOps, c *call, off int, reply rrdb.Reply, err error) {
	if err != nil {
		// Undecodable arguments of a write: nothing is written and, as recorded, nothing is answered.
		p.shard.silence(&c.dest)
		return
	}
	m.ops = append(m.ops, writeOp{call: *c, reply: reply, off: int32(off), end: int32(m.builder.Len())})
	if p.overlay.active {
		p.overlay.add(m)
	}
}

// maxPrefetch bounds the records that one store call fetches for atomic operations: each may be as large as a write.
const maxPrefetch = 256

// drainQueue evaluates queued writes in order until one of them needs a record that is not in memory.
func (p *partition) drainQueue() {
	if p.reading || len(p.queue) == 0 {
		return
	}
	if !p.mayWrite() {
		p.failQueue(proto.ErrInvalidState)
		return
	}
	if !p.settled() {
		return // what this primary found when it took over is not all applied yet; applyCommitted comes back here
	}
	p.activateOverlay()
	gets := &p.shard.atomicGets
	for at := 0; at < len(p.queue); {
		index := p.prefetchFrom(at, gets)
		for k, slot := range index {
			err, done := p.evaluateQueued(&p.queue[at+k], gets, slot)
			if done {
				continue
			}
			// What was evaluated leaves the queue first: the rest may be refused at once.
			p.dequeue(at + k)
			if err == nil {
				p.readForQueue(index[k:])
			} else {
				p.failQueue(readFailure(err))
				p.storeFailed(err)
			}
			return
		}
		at += len(index)
	}
	p.dequeue(len(p.queue))
	trimGets(gets)
}

// prefetchFrom looks up the records that the next writes of the queue read, from entry at on, in memory. It returns what
// prefetch said of each.
func (p *partition) prefetchFrom(at int, gets *engine.GetBatch) []int {
	gets.Reset()
	index := p.shard.atomicIndex[:0]
	for i := at; i < len(p.queue) && len(index) < maxPrefetch; i++ {
		index = append(index, p.prefetch(&p.queue[i], gets))
	}
	p.shard.atomicIndex = index
	if gets.Len() > 0 {
		p.store.MultiGet(gets, engine.TierCache)
	}
	return index
}

// dequeue drops the first n writes of the queue, and their arguments once they are the larger part: a queue that never gets
// empty must not keep the arguments of all that went through it.
func (p *partition) dequeue(n int) {
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	if rest == 0 {
		p.queueArgs = p.queueArgs[:0]
		return
	}
	cut := p.queue[0].args.off
	if cut < len(p.queueArgs)/2 {
		return
	}
	p.queueArgs = p.queueArgs[:copy(p.queueArgs, p.queueArgs[cut:])]
	for i := range p.queue {
		p.queue[i].args.off -= cut
		p.queue[i].args.end -= cut
	}
}

const (
	keyInvalid  = -1 // the arguments do not decode
	keyNone     = -4 // the request is invalid whatever the record holds
	keyResolved = -2 // the lane has read the record already
	keyPlain    = -3 // not an atomic operation
)

// atomicKey returns the raw key of the record that w reads, valid until the next call on this shard.
func (p *partition) atomicKey(w *queuedWrite) ([]byte, error) {
	key, err := rrdb.AtomicKey(p.shard.keyScratch[:0], w.code, p.queueArgs[w.args.off:w.args.end])
	if err == nil {
		p.shard.keyScratch = key[:0]
	}
	return key, err
}

// prefetch adds the record that w reads to the batch and returns its index there, or one of the key constants.
func (p *partition) prefetch(w *queuedWrite, gets *engine.GetBatch) int {
	switch {
	case !w.code.IsAtomic():
		return keyPlain
	case w.resolved:
		return keyResolved
	}
	key, err := p.atomicKey(w)
	if err != nil {
		return keyInvalid
	}
	if len(key) == 0 {
		return keyNone
	}
	return gets.Add(key)
}

func needsStorage(gets *engine.GetBatch, at int) bool { return gets.Outcome(at) == engine.WouldBlock }

// evaluateQueued runs one queued write. done is false when its record has to be read from storage first, or could not be
// read: then err says why.
func (p *partition) evaluateQueued(w *queuedWrite, gets *engine.GetBatch, at int) (err error, done bool) {
	args := p.queueArgs[w.args.off:w.args.end]
	switch at {
	case keyPlain:
		p.encode(&w.call, w.code, args)
		return nil, true
	case keyInvalid:
		p.shard.silence(&w.call.dest)
		return nil, true
	case keyNone:
		p.evaluate(&w.call, w.code, args, engine.NotFound, nil)
		return nil, true
	}
	key, err := p.atomicKey(w)
	invariant.Assertf(err == nil, "a key that was decoded before no longer decodes: %v", err)
	if outcome, value, ok := p.overlay.get(key); ok {
		p.evaluate(&w.call, w.code, args, outcome, value)
		return nil, true
	}
	outcome, value, err := w.outcome, w.value, w.err
	if at >= 0 {
		outcome, value, err = gets.Outcome(at), gets.Value(at), gets.Err(at)
	}
	switch outcome {
	case engine.WouldBlock:
		return nil, false
	case engine.Failed:
		return err, false
	default:
		p.evaluate(&w.call, w.code, args, outcome, value)
		return nil, true
	}
}

// activateOverlay indexes what is in flight, so that the operations that follow are evaluated on it.
func (p *partition) activateOverlay() {
	if p.overlay.active {
		return
	}
	p.overlay.active = true
	for _, m := range p.inFlight {
		p.overlay.add(m)
	}
	if p.current != nil {
		p.overlay.add(p.current)
	}
}

// failQueue refuses everything that waits.
func (p *partition) failQueue(code proto.ErrCode) {
	for i := range p.queue {
		p.shard.fail(&p.queue[i].call, code)
	}
	clear(p.queue)
	p.queue, p.queueArgs = p.queue[:0], p.queueArgs[:0]
}

// propose hands the mutation of this turn to consensus.
func (p *partition) propose() {
	if p.current == nil {
		return
	}
	p.finish()
	m := p.current
	if m == nil || p.state != replicaOpen {
		return // a replica that just failed ends what it was building when the turn ends
	}
	p.current = nil
	if len(m.ops) == 0 {
		p.overlay.drop(m)
		p.shard.freeMutation(m)
		return
	}
	p.countWrites(m)
	m.tokens[0] = p.shard.nextToken()
	m.decree, m.proposed, m.logged = 0, max(p.shard.seen, p.shard.turnStart()), 0
	p.shard.stats.Mutations++
	p.inFlight = append(p.inFlight, m)
	err := p.shard.log.Check(p.gpid, m.builder.Len())
	if len(p.backlog) > 0 {
		err = mutlog.ErrFull
	}
	if err != nil {
		p.refuse(&consensus.Reject{Tokens: m.tokens[:], Err: logRefusal(err)})
		return
	}
	p.step(&consensus.Event{
		Kind:      consensus.EventPropose,
		Timestamp: m.timestamp,
		Batch:     m.builder.Bytes(),
		Tokens:    m.tokens[:],
	})
}

// refuse answers the operations of a mutation that consensus did not take. It is the newest in flight when its proposal was
// refused, or the oldest when the log failed; what waits for space to be applied is older still.
func (p *partition) refuse(r *consensus.Reject) {
	for _, token := range r.Tokens {
		invariant.Assertf(len(p.inFlight) > 0, "partition %v: reject of token %d, nothing is in flight", p.gpid, token)
		at := len(p.inFlight) - 1
		if p.inFlight[0].tokens[0] == token {
			at = 0
		}
		if p.parked > 0 && p.inFlight[at].tokens[0] != token {
			at = slices.IndexFunc(p.inFlight, func(m *mutationOps) bool { return m.tokens[0] == token })
			invariant.Assertf(at >= 0, "partition %v: reject of token %d, which is not in flight", p.gpid, token)
		}
		m := p.inFlight[at]
		invariant.Assertf(m.tokens[0] == token, "partition %v: reject of token %d, which is at neither end", p.gpid, token)
		for i := range m.ops {
			p.shard.fail(&m.ops[i].call, r.Err)
		}
		p.inFlight = append(p.inFlight[:at], p.inFlight[at+1:]...)
		if at > 0 && at < len(p.inFlight) {
			p.rebuildOverlay()
		} else {
			p.overlay.forget(m, at == 0)
		}
		// Not freed: consensus may keep the bytes of a mutation whose outcome is open.
	}
}

// logRefusal is what a client is told when the shard log has no room for its write.
func logRefusal(err error) proto.ErrCode {
	switch {
	case errors.Is(err, mutlog.ErrBusy):
		return proto.ErrBusy
	case errors.Is(err, mutlog.ErrFull):
		return proto.ErrDiskInsufficient
	case errors.Is(err, mutlog.ErrTooLarge):
		return proto.ErrInvalidData
	default:
		return proto.ErrInvalidState
	}
}
