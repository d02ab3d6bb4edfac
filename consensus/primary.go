package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// peer is what a primary keeps of a member or learner, all of it under config.Ballot.
type peer struct {
	node    proto.NodeID
	learner bool
	// required: nothing commits without its acknowledgement. asked: meta may have made it a secondary, so its lease is needed too.
	required, asked bool
	drop            bool  // to be removed, whatever its beacons say
	phase           phase // of a learner
	proved          bool  // a learner has acknowledged something since it asked; its question alone may be of what a restart forgets

	confirmed uint64 // lease term in which it confirmed this primary

	// The stream. Invariant: acked < next <= prepared+1.
	acked   proto.Decree // durable there
	next    proto.Decree // to be sent next
	applied proto.Decree
	flight  int   // bytes of batches sent beyond acked
	sentAt  int64 // when it last made progress, or was sent something while all was acknowledged
	retry   int64 // how long without progress until everything is sent again; grows
	stuck   int   // how often it said that it lacks what it had acknowledged

	told     int64 // when it was last told a commit point
	pinged   uint64
	pingedAt int64

	requiredAt int64
	delay      delay
}

// propose gives the next decree to a batch of client writes.
func (r *Replica) propose(ev *Event, out *Effects) {
	if err := r.admit(len(ev.Batch)); err != proto.ErrOK {
		out.Rejects = append(out.Rejects, Reject{Tokens: ev.Tokens, Err: err})
		return
	}
	if ev.Timestamp <= r.timestamp {
		invariant.Assertf(false, "%v: proposal with timestamp %d after %d", r.gpid, ev.Timestamp, r.timestamp)
	}
	m := Mutation{
		Ballot: r.config.Ballot, Decree: r.prepared + 1, Committed: r.committed,
		Timestamp: ev.Timestamp, Batch: ev.Batch, Tokens: ev.Tokens,
	}
	out.Append = append(out.Append, *r.push(&m))
	r.verified = r.prepared
	r.ownDelay.sample(r.prepared, r.now)
	for _, p := range r.peers {
		if p.streams() {
			p.delay.sample(r.prepared, r.now)
			r.pump(p, out)
		}
	}
}

// admit says whether a proposal with a batch of the given length may enter the window now.
func (r *Replica) admit(batch int) proto.ErrCode {
	switch {
	case r.role != Primary || r.handOver.active():
		return proto.ErrInvalidState
	case 1+len(r.config.Secondaries) < r.min:
		return proto.ErrNotEnoughMember
	case batch > r.limits.Bytes:
		return proto.ErrInvalidData
	case r.window.count >= r.limits.Mutations:
		return proto.ErrCapacityExceeded
	case r.window.bytes+batch > r.limits.Bytes:
		return proto.ErrBusy
	}
	return proto.ErrOK
}

// acting tells whether a primary may commit: no former primary can still be serving reads.
func (r *Replica) acting() bool { return len(r.promises) == 0 && r.now >= r.holdUntil }

// commitReady commits, in decree order, what every copy is durable of. Only a primary decides.
func (r *Replica) commitReady(out *Effects) {
	if r.role != Primary || !r.acting() {
		return
	}
	to := r.logged
	for i, p := range r.peers {
		if p.required && !(bug(CommitWithoutOne) && i == 0) {
			to = min(to, p.acked)
		}
	}
	if bug(SkipReprepare) {
		to = max(to, min(r.found, r.logged))
	}
	for r.committed < to {
		r.commitFront(out)
	}
	if r.handOver.active() {
		r.ask.due = true
	}
}

// MayRead tells whether a read may be answered at now, a fresh reading of the clock. Ask when the read has finished: then, and
// only then, the answer shows a state that no other primary had moved beyond when the read arrived.
func (r *Replica) MayRead(now int64) bool {
	if r.role != Primary {
		return bug(HandOverServes) && r.ghostReads(now)
	}
	if r.committed < r.found || len(r.promises) > 0 || now < r.holdUntil || r.ask.outdated || r.handOver.active() {
		return false
	}
	lacking := 0
	for _, p := range r.peers {
		if p.learner && !p.asked {
			continue
		}
		if !(r.leases.Valid(p.node, now) && r.leases.Term(p.node) == p.confirmed) {
			lacking++
		}
	}
	return lacking == 0 || bug(ServeAfterLease) || bug(OneLeaseEnough) && lacking < len(r.peers)
}

// ghostReads is how HandOverServes goes on.
func (r *Replica) ghostReads(now int64) bool {
	for _, p := range r.peers {
		if !r.leases.Valid(p.node, now) {
			return false
		}
	}
	return len(r.peers) > 0 && !r.failed
}

// answer takes a message for a primary.
func (r *Replica) answer(from proto.NodeID, m *proto.ReplMessage, out *Effects) {
	if r.role != Primary || m.Ballot < r.config.Ballot {
		return
	}
	if m.Ballot > r.config.Ballot {
		// Somebody knows a newer configuration. It names another primary, or none would have told us in this way.
		r.ask.outdated, r.ask.due = true, true
		return
	}
	p := r.peer(from)
	if p == nil {
		return
	}
	switch m.Type {
	case proto.ReplPrepareAck, proto.ReplLearnAck:
		r.acknowledged(p, m, out)
	case proto.ReplPong:
		p.confirmed = max(p.confirmed, m.Term)
		// It may have fallen: a member that restarted has applied what its log knew to be committed, and has to be told again.
		p.applied = min(m.Committed, r.committed)
	case proto.ReplNack:
		r.lacks(p, m.Decree, out)
	case proto.ReplLearnRequest:
		r.onLearnRequest(p, m.Decree, out)
	case proto.ReplAbsent:
		if p.learner {
			r.forget(p, out)
			return
		}
		p.drop, r.ask.due = true, true
	}
}

func (r *Replica) peer(node proto.NodeID) *peer {
	for _, p := range r.peers {
		if p.node == node {
			return p
		}
	}
	return nil
}

// acknowledged takes a cumulative acknowledgement.
func (r *Replica) acknowledged(p *peer, m *proto.ReplMessage, out *Effects) {
	p.confirmed = max(p.confirmed, m.Term)
	p.applied = max(p.applied, min(m.Committed, r.committed))
	if m.Decree > r.prepared || p.learner && !p.streams() {
		return // no honest member says so
	}
	if m.Decree > p.acked {
		r.progress(p, m.Decree)
		p.delay.reached(m.Decree, r.now)
		r.commitReady(out)
	}
	r.pump(p, out)
	if p.learner {
		p.proved = true
		r.consider(p, out)
	}
}

// progress moves p.acked to d, which lies in (acked, prepared].
func (r *Replica) progress(p *peer, d proto.Decree) {
	if d+1 >= p.next {
		p.next, p.flight = d+1, 0 // beyond next after a rewind: it had arrived
	} else {
		for at := p.acked + 1; at <= d; at++ {
			if m := r.held(at); m != nil {
				p.flight -= len(m.Batch)
			}
		}
		p.flight = max(p.flight, 0)
	}
	p.acked, p.sentAt, p.retry, p.stuck = d, r.now, int64(r.timing.Retry), 0
}

// lacks takes a Nack: p has nothing behind d.
func (r *Replica) lacks(p *peer, d proto.Decree, out *Effects) {
	switch {
	case d >= p.next || p.learner && !p.streams():
		return
	case d >= p.acked:
		r.rewind(p, d+1, out)
	case p.learner:
		p.acked = d // it started anew
		r.rewind(p, d+1, out)
	default:
		// An old message, or a member that lost what it had acknowledged. One that goes on like this has to learn again.
		if p.stuck++; p.stuck >= maxStuck {
			p.drop, r.ask.due = true, true
			return
		}
		r.rewind(p, p.acked+1, out)
	}
}

const maxStuck = 5

// rewind sends everything again from a decree on.
func (r *Replica) rewind(p *peer, from proto.Decree, out *Effects) {
	p.next, p.flight, p.sentAt = from, 0, r.now
	r.pump(p, out)
}

// held returns a mutation of the window or of the history, nil when it is in neither.
func (r *Replica) held(d proto.Decree) *Mutation {
	if d > r.committed {
		return r.in(d)
	}
	return r.history.find(d)
}

// pump sends p what it is due, as far as is good for it at a time.
func (r *Replica) pump(p *peer, out *Effects) {
	for p.next <= r.prepared {
		m := r.held(p.next)
		if m == nil {
			r.fetch(p, out)
			return
		}
		if p.flight > 0 && p.flight+len(m.Batch) > r.limits.InFlight || p.next-p.acked > proto.Decree(r.limits.Mutations) {
			return
		}
		r.feed(p, m, out)
	}
}

// feed sends one mutation, which is p.next.
func (r *Replica) feed(p *peer, m *Mutation, out *Effects) {
	if p.next == p.acked+1 {
		p.sentAt = r.now
	}
	typ := proto.ReplPrepare
	if p.learner && m.Decree <= r.committed {
		typ = proto.ReplLearnData
	}
	out.Sends = append(out.Sends, Send{To: p.node, Message: proto.ReplMessage{
		Type: typ, Learner: p.learner, GPID: r.gpid, Ballot: r.config.Ballot, Decree: m.Decree, Committed: r.committed,
		Timestamp: m.Timestamp, Term: r.leases.Term(p.node), Batch: m.Batch,
	}})
	p.next++
	p.flight += len(m.Batch)
	p.told = r.now
}

// streams tells whether p takes mutations as they come.
func (p *peer) streams() bool { return !p.learner || p.phase == streaming }

// tickPrimary repeats what was not answered, tells commit points, has leases confirmed.
func (r *Replica) tickPrimary(out *Effects) {
	announce := int64(r.timing.Announce) * 15 / 16 // a tick that comes a little early is not to be missed
	r.commitReady(out)
	for i := len(r.peers) - 1; i >= 0; i-- {
		p := r.peers[i]
		if p.learner {
			if r.leases.Lost(p.node, r.now) {
				r.forget(p, out)
				continue
			}
			r.tickLearning(p, out)
		}
		if p.streams() {
			if p.next > p.acked+1 && r.now-p.sentAt >= p.retry {
				p.retry = min(2*p.retry, maxRetry*int64(r.timing.Retry))
				r.rewind(p, p.acked+1, out)
			}
			if p.applied < r.committed && p.next == p.acked+1 && r.now-p.told >= announce {
				r.tellPoint(p, out)
			}
		}
		r.ping(p, out)
	}
	for _, pr := range r.promises {
		if r.peer(pr.node) == nil && r.now-r.announced >= announce {
			r.sendPing(pr.node, false, out)
		}
	}
	if r.now-r.announced >= announce {
		r.announced = r.now
	}
	r.judgeDelays()
}

const maxRetry = 8

// tellPoint tells p the commit point, which it answers.
func (r *Replica) tellPoint(p *peer, out *Effects) {
	p.told = r.now
	r.send(p.node, &proto.ReplMessage{
		Type: proto.ReplCommitPoint, Learner: p.learner, GPID: r.gpid, Ballot: r.config.Ballot, Committed: r.committed,
		Term: r.leases.Term(p.node),
	}, out)
}

// ping has p confirm this primary for the current lease term. Without a lease there is nothing to confirm.
func (r *Replica) ping(p *peer, out *Effects) {
	if p.learner && !p.asked || !r.leases.Valid(p.node, r.now) {
		return
	}
	term := r.leases.Term(p.node)
	if p.confirmed == term || p.pinged == term && r.now-p.pingedAt < int64(r.timing.Retry) {
		return
	}
	p.pinged, p.pingedAt = term, r.now
	r.sendPing(p.node, p.learner, out)
}

func (r *Replica) sendPing(to proto.NodeID, learner bool, out *Effects) {
	r.send(to, &proto.ReplMessage{
		Type: proto.ReplPing, Learner: learner, GPID: r.gpid, Ballot: r.config.Ballot, Committed: r.committed,
		Term: r.leases.Term(to), Primary: r.self, Secondaries: r.config.Secondaries,
	}, out)
}
