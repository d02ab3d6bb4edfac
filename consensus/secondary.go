package consensus

import (
	"bytes"

	"pegasus/netcore/proto"
)

// follower is what a secondary or learner keeps of its primary, all of it under config.Ballot.
type follower struct {
	point    proto.Decree // the primary's commit point
	term     uint64       // of its leases, the newest heard
	accused  bool         // meta was asked to replace it: it must not be confirmed any more
	nacked   proto.Decree
	nackedAt int64

	// As learner.
	installing bool // the driver replaces the store
	heardAt    int64
}

// follow takes a message of a node that is primary under the message's ballot.
func (r *Replica) follow(from proto.NodeID, m *proto.ReplMessage, out *Effects) {
	switch {
	case m.Ballot <= 0:
		return
	case m.Ballot < r.config.Ballot:
		if bug(NoBallotCheck) && m.Type == proto.ReplPrepare {
			r.send(from, &proto.ReplMessage{
				Type: proto.ReplPrepareAck, GPID: r.gpid, Ballot: m.Ballot, Decree: m.Decree, Term: m.Term,
			}, out)
			return
		}
		r.send(from, &proto.ReplMessage{Type: proto.ReplRefuse, GPID: r.gpid, Ballot: r.config.Ballot}, out)
		return
	case r.failed:
		if answer, ok := Absent(m); ok {
			r.send(from, &answer, out)
		}
		return
	case m.Ballot > r.config.Ballot || r.config.Primary.IsZero():
		if m.Ballot > r.stable {
			out.Persist = m.Ballot
		}
		r.adopt(&Config{Ballot: m.Ballot, Primary: from, Secondaries: m.Secondaries}, !m.Primary.IsZero(), r.roleFor(m), out)
	case from != r.config.Primary:
		return
	case r.role == Inactive && m.Learner:
		r.setRole(Learner, out)
	case !r.known && !m.Primary.IsZero():
		r.learnMembers(m.Secondaries)
	}
	r.follower.heardAt = r.now
	r.follower.term = max(r.follower.term, m.Term)
	if r.role != Secondary && r.role != Learner {
		// The former primary hears of its successor in this way; that it knows now is what the successor waits for.
		r.send(from, &proto.ReplMessage{Type: proto.ReplRefuse, GPID: r.gpid, Ballot: r.config.Ballot}, out)
		return
	}
	if r.follower.installing {
		return
	}
	switch m.Type {
	case proto.ReplPrepare, proto.ReplLearnData:
		r.onPrepare(m, out)
	case proto.ReplCommitPoint:
		r.onCommitPoint(m, out)
	case proto.ReplPing:
		r.send(from, &proto.ReplMessage{
			Type: proto.ReplPong, GPID: r.gpid, Ballot: r.config.Ballot, Decree: min(r.verified, r.logged),
			Committed: r.committed, Term: r.confirm(),
		}, out)
	case proto.ReplLearnInvite:
		r.requestLearn(out)
	case proto.ReplLearnCheckpoint:
		r.onLearnCheckpoint(from, m, out)
	}
}

// roleFor is the role that a primary's message under a new ballot gives this replica. A ping to a replica outside of the
// configuration tells a former primary that it is one no more.
func (r *Replica) roleFor(m *proto.ReplMessage) Role {
	switch {
	case m.Learner || m.Type == proto.ReplLearnInvite || m.Type == proto.ReplLearnData || m.Type == proto.ReplLearnCheckpoint:
		return Learner
	case m.Type == proto.ReplPing && !contains(m.Secondaries, r.self):
		return Inactive
	default:
		return Secondary
	}
}

// onPrepare logs the next mutation of the primary.
func (r *Replica) onPrepare(m *proto.ReplMessage, out *Effects) {
	r.advance(m.Committed)
	d := m.Decree
	switch {
	case d <= r.verified:
		r.applyReady(out)
		if r.logged >= d {
			r.acknowledge(out)
		}
		return
	case d > r.verified+1:
		r.applyReady(out)
		if bug(SkipNack) && r.role == Secondary || bug(LearnWithHole) && r.role == Learner {
			r.acknowledgeUpTo(d, out)
			return
		}
		r.nack(out)
		return
	case d <= r.prepared && (r.in(d).repeats(m) || bug(KeepConflictTail)):
		// Logged already, before a restart or under an older ballot. To log it again would drop what lies behind it, which may be
		// committed and of which this may be the last copy when this primary dies before it has sent it.
		r.verified = d
	case !r.hasRoom(len(m.Batch)):
		return // the primary sends again
	default:
		if d <= r.prepared {
			r.cut(d)
			r.replaced = true
		}
		mu := Mutation{
			Ballot: m.Ballot, Decree: d, Committed: min(r.follower.point, d), Timestamp: m.Timestamp, Batch: m.Batch,
		}
		out.Append = append(out.Append, *r.push(&mu))
		r.verified = d
	}
	r.applyReady(out)
	if r.logged >= d || bug(AckBeforeSync) {
		r.acknowledge(out)
	}
}

// repeats tells whether a prepare is of the same mutation: its ballot may have changed, its content never does.
func (own *Mutation) repeats(m *proto.ReplMessage) bool {
	return own.Ballot == m.Ballot || own.Timestamp == m.Timestamp && bytes.Equal(own.Batch, m.Batch)
}

// hasRoom bounds the window of a follower. The primary's limits keep it far below, so what does not fit was not sent in earnest.
func (r *Replica) hasRoom(batch int) bool {
	return r.window.count < 2*r.limits.Mutations && (r.window.count == 0 || r.window.bytes+batch <= 2*r.limits.Bytes)
}

// advance takes a commit point. What is committed is in the log of every member, and no member ever replaces it: it was
// prepared under some ballot with every member's acknowledgement, and each later primary was one of them. So a secondary's own
// tail is the primary's up to the commit point, whatever ballots it carries. A learner was no member; it trusts only what it
// was sent.
func (r *Replica) advance(point proto.Decree) {
	r.follower.point = max(r.follower.point, point)
	if r.role == Secondary {
		r.verified = max(r.verified, min(r.follower.point, r.prepared))
	}
}

func (r *Replica) onCommitPoint(m *proto.ReplMessage, out *Effects) {
	r.advance(m.Committed)
	r.applyReady(out)
	if m.Committed > r.verified {
		r.nack(out)
		return
	}
	r.acknowledge(out)
}

// applyReady commits what the primary has committed and the own log holds durably.
func (r *Replica) applyReady(out *Effects) {
	to := min(r.follower.point, r.verified, r.logged)
	if bug(CommitBeyondLog) {
		to = min(r.follower.point, r.verified)
		r.logged = max(r.logged, to)
	}
	for r.committed < to {
		r.commitFront(out)
	}
}

// acknowledge tells the primary what is durable here, confirms it, and says what is applied.
func (r *Replica) acknowledge(out *Effects) {
	d := min(r.verified, r.logged)
	if bug(AckBeforeSync) {
		d = r.verified
	}
	r.acknowledgeUpTo(d, out)
}

// acknowledgeUpTo waits until the ballot would survive a restart. Otherwise a primary of an older one could replace afterwards
// what is acknowledged here: not everything that is verified under a ballot is logged again under it.
func (r *Replica) acknowledgeUpTo(d proto.Decree, out *Effects) {
	if r.config.Ballot > r.stable && !bug(AckBeforeSync) {
		return
	}
	typ := proto.ReplPrepareAck
	if r.role == Learner {
		typ = proto.ReplLearnAck
	}
	r.send(r.config.Primary, &proto.ReplMessage{
		Type: typ, GPID: r.gpid, Ballot: r.config.Ballot, Decree: d, Committed: r.committed, Term: r.confirm(),
	}, out)
}

func (r *Replica) ballotDurable(b proto.Ballot, out *Effects) {
	if b <= r.stable {
		return
	}
	r.stable = b
	if r.config.Ballot <= b && !r.follower.installing && (r.role == Secondary || r.role == Learner) {
		r.acknowledge(out)
	}
}

// nack asks for what is missing, once per hole and a while: everything behind a lost prepare arrives with the same hole.
func (r *Replica) nack(out *Effects) {
	f := &r.follower
	if f.nacked == r.verified && r.now-f.nackedAt < int64(r.timing.Retry) && f.nackedAt != 0 {
		return
	}
	f.nacked, f.nackedAt = r.verified, r.now
	r.send(r.config.Primary, &proto.ReplMessage{
		Type: proto.ReplNack, GPID: r.gpid, Ballot: r.config.Ballot, Decree: r.verified,
	}, out)
}

// confirm returns the lease term in which the primary is confirmed, 0 for none, and keeps the promise in mind.
//
// The own ask to replace the primary may have been granted without the answer having arrived; then confirming it would let it
// serve reads beside its successor. So from the ask on nothing is confirmed until the register is known to have moved.
func (r *Replica) confirm() uint64 {
	f := &r.follower
	if f.accused && !bug(PongThoughAsked) || f.term == 0 {
		return 0
	}
	for i := range r.promises {
		if p := &r.promises[i]; p.node == r.config.Primary {
			p.ballot = r.config.Ballot
			return f.term
		}
	}
	r.promises = append(r.promises, promise{node: r.config.Primary, ballot: r.config.Ballot})
	return f.term
}

// released takes note that a node is at a ballot: what was promised to it for an older one no longer matters.
func (r *Replica) released(node proto.NodeID, b proto.Ballot, out *Effects) {
	for i := range r.promises {
		if p := r.promises[i]; p.node == node && p.ballot < b {
			r.promises = append(r.promises[:i], r.promises[i+1:]...)
			if r.role == Primary {
				r.commitReady(out)
			}
			return
		}
	}
}

// tickSecondary accuses a primary whose leases have all ended. Secondaries do it one after the other, so that the first usually
// succeeds before the next one tries.
func (r *Replica) tickSecondary() {
	f := &r.follower
	if f.accused || !r.leases.Expired(r.config.Primary, r.now) {
		r.ask.accuseAt = 0
		return
	}
	if r.ask.accuseAt == 0 {
		rank := 0
		for rank < len(r.config.Secondaries) && r.config.Secondaries[rank] != r.self {
			rank++
		}
		r.ask.accuseAt = r.now + int64(rank)*int64(r.timing.Announce)*2
	}
}

func contains(nodes []proto.NodeID, n proto.NodeID) bool {
	for i := range nodes {
		if nodes[i] == n {
			return true
		}
	}
	return false
}
