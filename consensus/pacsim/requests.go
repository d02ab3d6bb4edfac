package pacsim

import (
	"encoding/binary"
	"slices"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// requests is the part of a replica that serves clients, with the rules of the shard's handlers: a read looks at the lease when
// it has finished; an atomic operation is evaluated against the store and the effects in flight, and replicated as a put; a check that
// fails because of a write in flight is answered only when that write is committed.
type requests struct {
	r        *replica
	queue    []*request // of this turn
	flight   map[uint64]*request
	overlay  map[int]overlaid
	checks   []waitingCheck
	flushing bool
}

// request is an operation of a client at a server.
type request struct {
	op     *op
	result cell
	answer func(err proto.ErrCode, result cell)
}

// overlaid is the value that a key will have once decree is committed.
type overlaid struct {
	cell
	decree proto.Decree
}

// waitingCheck is an answer that waits for a commit.
type waitingCheck struct {
	decree proto.Decree
	acked  proto.Decree // by anybody, when the operation arrived
	req    *request
}

func (q *requests) init(r *replica) {
	q.r, q.flight, q.overlay = r, map[uint64]*request{}, map[int]overlaid{}
}

func rawKey(key int) []byte {
	return engine.AppendKey(nil, []byte{'k', byte(key >> 8), byte(key)}, nil)
}

// stored reads a key from the store.
func (r *replica) stored(key int) cell {
	var b engine.GetBatch
	b.Add(rawKey(key))
	r.media.store.MultiGet(&b, engine.TierAll)
	if b.Outcome(0) != engine.Found {
		return cell{}
	}
	v, err := engine.ParseValue(engine.DataV1, b.Value(0))
	if err != nil || len(v.User) != 8 {
		invariant.Assertf(false, "value of key %d: %v", key, err)
	}
	return cell{true, int64(binary.LittleEndian.Uint64(v.User))}
}

// handle takes a request that has arrived.
func (n *node) handle(part int, req *request) {
	r := n.parts[part]
	if r == nil || r.failed {
		req.answer(proto.ErrObjectNotFound, cell{})
		return
	}
	if req.op.kind == opGet {
		r.read(req)
		return
	}
	if r.machine.Role() != consensus.Primary {
		req.answer(proto.ErrInvalidState, cell{})
		return
	}
	r.queue = append(r.queue, req)
	if !r.requests.flushing {
		r.requests.flushing = true
		n.after(20*microsecond, func() {
			r.requests.flushing = false
			if r.alive() && !r.failed {
				r.propose()
			}
		})
	}
}

// read answers from the store as it is now, if the right to read still stands when that is done.
func (r *replica) read(req *request) {
	n := r.n
	if !r.machine.MayRead(n.clock()) {
		req.answer(proto.ErrInvalidState, cell{})
		return
	}
	value, applied, acked := r.stored(req.op.key), r.media.store.AppliedDecree(), n.s.history.parts[r.part].acked
	took := 20 * microsecond
	if n.s.rng.IntN(20) == 0 {
		took = n.s.rng.Int64N(10 * millisecond)
	}
	n.after(took, func() {
		if !r.alive() || r.failed || !r.machine.MayRead(n.clock()) {
			req.answer(proto.ErrInvalidState, cell{})
			return
		}
		n.s.serving.read(r, applied, acked)
		req.answer(proto.ErrOK, value)
	})
}

// propose makes one mutation of what has queued in this turn.
func (r *replica) propose() {
	n := r.n
	queue := r.queue
	r.queue = nil
	if r.machine.Role() != consensus.Primary {
		for _, req := range queue {
			req.answer(proto.ErrInvalidState, cell{})
		}
		return
	}
	if n.log.Check(gpid(r.part), 64*len(queue)) != nil {
		for _, req := range queue {
			req.answer(proto.ErrBusy, cell{})
		}
		return
	}
	timestamp := max(n.clock()/microsecond, r.machine.Timestamp()+1)
	decree := r.machine.Prepared() + 1
	var b engine.BatchBuilder
	var tokens []uint64
	type change struct {
		key int
		old overlaid
	}
	var undo []change
	for _, req := range queue {
		after, write := r.evaluate(req)
		if !write {
			continue
		}
		undo = append(undo, change{req.op.key, r.overlay[req.op.key]})
		if after.present {
			b.Put(rawKey(req.op.key), 0, engine.Timetag(timestamp, 1, false), binary.LittleEndian.AppendUint64(nil, uint64(after.value)))
		} else {
			b.Delete(rawKey(req.op.key))
		}
		r.overlay[req.op.key] = overlaid{after, decree}
		n.s.tokens++
		tokens = append(tokens, n.s.tokens)
		r.flight[n.s.tokens] = req
	}
	if len(tokens) == 0 {
		return
	}
	r.step(&consensus.Event{Kind: consensus.EventPropose, Batch: b.Bytes(), Timestamp: timestamp, Tokens: tokens})
	if !r.alive() || r.machine.Prepared() >= decree {
		return
	}
	// It was refused: what is in flight is what was before.
	for i := len(undo) - 1; i >= 0; i-- {
		r.overlay[undo[i].key] = undo[i].old
	}
	for _, c := range r.checks {
		if c.decree >= decree {
			c.req.answer(proto.ErrInvalidState, cell{})
		}
	}
	r.checks = slices.DeleteFunc(r.checks, func(c waitingCheck) bool { return c.decree >= decree })
}

// evaluate computes what a write leaves behind; write is false when it was or will be answered without one.
func (r *replica) evaluate(req *request) (after cell, write bool) {
	o := req.op
	switch o.kind {
	case opSet:
		return cell{true, o.arg}, true
	case opDel:
		return cell{}, true
	}
	if !r.machine.MayRead(r.n.clock()) {
		// What was found at take-over is not committed yet, so the store is not what the operation must be applied to.
		req.answer(proto.ErrInvalidState, cell{})
		return cell{}, false
	}
	current, until := r.current(o.key)
	if o.kind == opIncr {
		req.result = cell{true, current.value + o.arg}
		return req.result, true
	}
	req.result = current
	if current == o.expect {
		return cell{true, o.arg}, true
	}
	r.checks = append(r.checks, waitingCheck{until, r.n.s.history.parts[r.part].acked, req})
	r.answerChecks()
	return cell{}, false
}

// current is the value of a key with everything in flight applied, and the decree that must be committed for it to be true.
func (r *replica) current(key int) (cell, proto.Decree) {
	if o, ok := r.overlay[key]; ok {
		if o.decree > r.machine.Committed() {
			return o.cell, o.decree
		}
		delete(r.overlay, key)
	}
	return r.stored(key), 0
}

// answerChecks answers failed checks whose reason is committed.
func (r *replica) answerChecks() {
	kept := r.checks[:0]
	for _, c := range r.checks {
		switch {
		case c.decree > r.machine.Committed() && r.machine.Role() == consensus.Primary:
			kept = append(kept, c)
		case c.decree <= r.machine.Committed() && r.machine.MayRead(r.n.clock()):
			r.n.s.serving.read(r, r.media.store.AppliedDecree(), c.acked)
			c.req.answer(proto.ErrOK, c.req.result)
		default:
			c.req.answer(proto.ErrInvalidState, cell{})
		}
	}
	clear(r.checks[len(kept):])
	r.checks = kept
}

// answer tells the clients of a mutation that it is committed.
func (r *replica) answer(m *consensus.Mutation) {
	for _, t := range m.Tokens {
		req := r.flight[t]
		if req == nil {
			invariant.Assertf(false, "decree %d commits token %d, which is not in flight", m.Decree, t)
		}
		delete(r.flight, t)
		r.n.s.history.ack(r.part, m.Decree)
		req.answer(proto.ErrOK, req.result)
	}
}

// refuse ends proposals that the machine gave back.
func (r *replica) refuse(tokens []uint64, err proto.ErrCode) {
	for _, t := range tokens {
		req := r.flight[t]
		if req == nil {
			invariant.Assertf(false, "token %d is refused, which is not in flight", t)
		}
		delete(r.flight, t)
		req.answer(err, cell{})
	}
	if r.machine.Role() != consensus.Primary {
		// A later term evaluates nothing before all that it finds is in the store.
		clear(r.overlay)
	}
}

// abandon ends everything when the replica has failed. Nobody knows what becomes of it.
func (r *replica) abandon() {
	for _, req := range r.queue {
		req.answer(proto.ErrInvalidState, cell{})
	}
	for _, c := range r.checks {
		c.req.answer(proto.ErrInvalidState, cell{})
	}
	r.queue, r.checks = nil, nil
}
