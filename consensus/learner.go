package consensus

import "pegasus/netcore/proto"

// A learner is fed by distance. What it lacks is, in this order:
//
//   - in the window or in the history held for learners: it joins the stream of prepares at once;
//   - in the primary's log: the driver reads it in chunks, one at a time, each acknowledged before the next;
//   - gone: the driver ships a checkpoint, installs it, and the learner asks again.
//
// It counts on its own committed decree only. Its uncommitted tail may be from a history that went another way; what the
// primary sends replaces it.

// phase is how a primary feeds a learner.
type phase uint8

const (
	fencing    phase = iota // invited once the ballot has moved
	invited                 // has not asked for anything yet
	streaming               // gets mutations as the primary has them
	reading                 // the driver reads the log
	shipping                // the driver makes a checkpoint
	installing              // told of the checkpoint
)

// maxLearners bounds the learners of a partition.
const maxLearners = 4

// ---- the primary's side

func (r *Replica) addLearner(node proto.NodeID, out *Effects) {
	if r.role != Primary || node == r.self || r.peer(node) != nil || r.learners >= maxLearners ||
		len(r.peers) >= proto.MaxSecondaries {
		return
	}
	p := &peer{node: node, learner: true, retry: int64(r.timing.Retry), sentAt: r.now}
	r.peers = append(r.peers, p)
	r.learners++
	if r.unfenced {
		// An earlier life of this process may have sent this learner mutations under this ballot that the log lost.
		r.ask.bump, r.ask.due = true, true
		return
	}
	r.invite(p, out)
}

func (r *Replica) invite(p *peer, out *Effects) {
	p.phase, p.sentAt = invited, r.now
	r.send(p.node, &proto.ReplMessage{
		Type: proto.ReplLearnInvite, Learner: true, GPID: r.gpid, Ballot: r.config.Ballot, Primary: r.self,
		Secondaries: r.config.Secondaries,
	}, out)
}

// forget ends a learner.
func (r *Replica) forget(p *peer, out *Effects) {
	if p.asked {
		// Meta may have made it a secondary. It counts until the register says otherwise; make it say so.
		p.drop, r.ask.due = true, true
		return
	}
	for i := range r.peers {
		if r.peers[i] == p {
			r.peers = append(r.peers[:i], r.peers[i+1:]...)
			break
		}
	}
	r.learnerLeft()
	out.Release = append(out.Release, p.node)
	r.commitReady(out)
}

func (r *Replica) learnerLeft() {
	if r.learners--; r.learners == 0 {
		r.history.clear()
	}
}

// remove is meta's proposal to take a node out of the group.
func (r *Replica) remove(node proto.NodeID, out *Effects) {
	p := r.peer(node)
	if r.role != Primary || p == nil {
		return
	}
	if p.learner {
		r.forget(p, out)
		return
	}
	p.drop, r.ask.due = true, true
}

// onLearnRequest begins to feed a learner that has everything up to d, or begins anew.
func (r *Replica) onLearnRequest(p *peer, d proto.Decree, out *Effects) {
	if !p.learner || p.phase == fencing || p.phase == reading || p.phase == shipping || r.committed < r.found {
		return // it asks again
	}
	p.acked, p.sentAt, p.retry = d, r.now, int64(r.timing.Retry)
	if d > r.prepared {
		// It is ahead of everything that was decided: its data is from elsewhere.
		p.acked = 0
		r.ship(p, out)
		return
	}
	p.phase, p.proved = streaming, false
	r.rewind(p, d+1, out)
	if p.next > r.prepared {
		r.tellPoint(p, out) // there is nothing else that it could acknowledge
	}
}

// fetch finds what p is to be sent next and what is not in memory.
func (r *Replica) fetch(p *peer, out *Effects) {
	switch {
	case !p.learner:
		// A member has everything committed. One that does not has lost its log and must learn like anybody.
		p.drop, r.ask.due = true, true
	case p.phase == streaming && p.next == p.acked+1:
		p.phase = reading
		out.ReadLog = append(out.ReadLog, ReadLog{
			Learner: p.node, From: p.next, To: min(r.committed, p.acked+proto.Decree(r.limits.Mutations)), Bytes: r.limits.InFlight,
		})
	}
}

func (r *Replica) logRead(node proto.NodeID, ms []Mutation, failed bool, out *Effects) {
	p := r.peer(node)
	if r.role != Primary || p == nil || p.phase != reading {
		return
	}
	if failed || len(ms) == 0 {
		r.ship(p, out)
		return
	}
	p.phase = streaming
	if ms[0].Decree != p.next {
		r.pump(p, out) // the answer to an older question
		return
	}
	for i := range ms {
		if m := &ms[i]; m.Decree == p.next && m.Decree <= r.committed {
			r.feed(p, m, out)
		}
	}
	p.sentAt = r.now
}

func (r *Replica) ship(p *peer, out *Effects) {
	p.phase = shipping
	out.SendCheckpoint = append(out.SendCheckpoint, SendCheckpoint{Learner: p.node})
}

func (r *Replica) checkpointSent(node proto.NodeID, d proto.Decree, failed bool, out *Effects) {
	p := r.peer(node)
	if r.role != Primary || p == nil || p.phase != shipping {
		return
	}
	if failed {
		// Begin anew after a while, with the invitation.
		p.phase, p.sentAt = invited, r.now
		return
	}
	p.phase, p.acked = installing, d
	r.tellCheckpoint(p, out)
}

func (r *Replica) tellCheckpoint(p *peer, out *Effects) {
	p.sentAt = r.now
	r.send(p.node, &proto.ReplMessage{
		Type: proto.ReplLearnCheckpoint, Learner: true, GPID: r.gpid, Ballot: r.config.Ballot, Decree: p.acked,
		Committed: r.committed, Timestamp: r.timestamp,
	}, out)
}

// consider asks for the promotion of a learner that has caught up.
//
// Meta may accept before we hear of it, and then the new secondary may become primary at once. So it must have everything that
// is committed when meta is asked, and from then on nothing may commit without it. Under load commits would run away from it
// for ever: when it is close they wait for it a little.
func (r *Replica) consider(p *peer, out *Effects) {
	if !p.learner || p.phase != streaming || p.asked || p.drop || !p.proved || r.committed < r.found {
		return
	}
	if !p.required && p.acked+nearly >= r.committed && p.next > r.committed {
		p.required, p.requiredAt = true, r.now
	}
	if p.required && p.acked >= r.committed || bug(PromoteBehind) && p.acked > 0 {
		r.ask.due = true
	}
}

// nearly is how many mutations a learner may be behind for commits to wait for it.
const nearly = 64

// ready tells whether p is to be promoted now.
func (r *Replica) ready(p *peer) bool {
	return p.learner && !p.drop && p.proved && p.phase == streaming && (p.required && p.acked >= r.committed || bug(PromoteBehind)) &&
		r.committed >= r.found
}

func (r *Replica) tickLearning(p *peer, out *Effects) {
	late := r.now-p.sentAt >= int64(r.timing.Retry)
	switch {
	case p.phase == invited && late:
		r.invite(p, out)
	case p.phase == installing && late:
		r.tellCheckpoint(p, out)
	case p.phase == streaming && p.required && !p.asked && r.now-p.requiredAt >= int64(r.timing.Retry) && p.acked < r.committed:
		p.required = false // it was not as close as it seemed
		r.commitReady(out)
	case p.phase == streaming:
		r.consider(p, out)
	}
}

// ---- the learner's side

// requestLearn asks the primary for what follows.
func (r *Replica) requestLearn(out *Effects) {
	r.follower.heardAt = r.now
	r.send(r.config.Primary, &proto.ReplMessage{
		Type: proto.ReplLearnRequest, GPID: r.gpid, Ballot: r.config.Ballot, Decree: min(r.verified, r.logged),
		Committed: r.committed,
	}, out)
}

func (r *Replica) tickLearner(out *Effects) {
	if !r.follower.installing && r.now-r.follower.heardAt >= 2*int64(r.timing.Retry) {
		r.requestLearn(out)
	}
}

// onLearnCheckpoint has the driver install a checkpoint, unless it brings nothing: it was installed already.
func (r *Replica) onLearnCheckpoint(from proto.NodeID, m *proto.ReplMessage, out *Effects) {
	if r.role != Learner {
		return
	}
	if r.committed >= m.Decree && r.committed <= m.Committed {
		r.requestLearn(out)
		return
	}
	r.follower.installing = true
	r.timestamp = max(r.timestamp, m.Timestamp)
	out.Install = append(out.Install, Install{From: from, Decree: m.Decree})
}

func (r *Replica) checkpointInstalled(d proto.Decree, failed bool, out *Effects) {
	if !r.follower.installing {
		return
	}
	r.follower.installing = false
	if !failed {
		for r.window.count > 0 {
			r.window.popBack()
		}
		r.durable, r.committed, r.logged, r.prepared, r.verified = d, d, d, d, d
		out.StateChanged = true
	}
	if r.role == Learner {
		r.requestLearn(out)
	}
}
