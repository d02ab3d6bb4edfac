package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// asking is what a replica wants of meta's register. Wishes are conditions that are looked at again each time, not a queue of
// requests: whatever was asked under a ballot, only one ask can be accepted, and any acceptance makes the others void. What was
// asked may be accepted at any time until the ballot moves, so a replica that has changed its mind asks for a new ballot.
type asking struct {
	due      bool // conditions may have changed in this step
	asked    bool // under this ballot, without an answer that settles it
	bump     bool // the ballot has to move, with the same members
	outdated bool // somebody knows a higher ballot
	at       int64
	wait     int64
	accuseAt int64
}

// handOver is a planned change of the primary: stop, let everything in flight commit, ask.
type handOver struct {
	to    proto.NodeID
	since int64
	// asked: meta may have made the other one primary, so serving cannot go on under this ballot.
	asked bool
}

func (h *handOver) active() bool { return !h.to.IsZero() || h.asked }

// configure takes a configuration from meta's register.
func (r *Replica) configure(c *Config, out *Effects) {
	if c.Ballot < r.config.Ballot {
		return
	}
	if c.Ballot == r.config.Ballot && !r.config.Primary.IsZero() {
		invariant.Assertf(c.Primary == r.config.Primary, "%v: ballot %d has two primaries, %v and %v",
			r.gpid, c.Ballot, r.config.Primary, c.Primary)
		if !r.known {
			r.learnMembers(c.Secondaries)
		}
		return
	}
	role := Inactive
	switch {
	case r.failed:
	case c.Primary == r.self:
		role = Primary
	case contains(c.Secondaries, r.self):
		role = Secondary
	}
	if role == Primary && r.restored > 0 && c.Ballot == r.restored && !bug(ReuseDecree) {
		// It may have been primary under this ballot before it restarted, and may have sent prepares that its log has lost.
		// Decrees must not be used twice under one ballot, so it takes a new one before it acts. Alone there is nobody who
		// could have seen them, but for a learner.
		r.unfenced = true
		if len(c.Secondaries) > 0 {
			r.adopt(c, true, Inactive, out)
			r.ask.bump, r.ask.due = true, true
			return
		}
	}
	r.adopt(c, true, role, out)
}

// learnMembers completes a configuration of which a message told only ballot and primary.
func (r *Replica) learnMembers(secondaries []proto.NodeID) {
	r.config.Secondaries = append(r.config.Secondaries[:0], secondaries...)
	r.known = true
	r.ask.due = true
}

// adopt makes c the configuration. Nothing that was asked, promised by others, or half done under the old ballot remains.
func (r *Replica) adopt(c *Config, known bool, role Role, out *Effects) {
	invariant.Assertf(c.Ballot >= r.config.Ballot, "%v: ballot %d after %d", r.gpid, c.Ballot, r.config.Ballot)
	was := r.role
	if was == Primary && role != Primary {
		r.resign(out)
	}
	r.config.Ballot, r.config.Primary, r.known = c.Ballot, c.Primary, known
	r.config.Secondaries = append(r.config.Secondaries[:0], c.Secondaries...)
	r.follower = follower{point: r.committed, installing: r.follower.installing, heardAt: r.now}
	r.ask = asking{due: true}
	r.handOver = handOver{}
	r.verified = r.committed
	if c.Ballot > r.restored {
		r.unfenced = false
	}
	r.role = role
	out.StateChanged = true
	if role != Primary {
		if !r.failed && !bug(HandOverServes) {
			r.peers = nil
		}
		return
	}
	if was != Primary {
		r.found = r.prepared
	}
	r.lead(out)
}

func (r *Replica) setRole(role Role, out *Effects) {
	r.role = role
	r.follower.heardAt = r.now
	out.StateChanged = true
}

// lead begins a ballot as its primary: everything that is not committed is prepared again under it, at every member. What this
// replica has found in its log may be committed already, elsewhere; so reads wait until all of it is.
func (r *Replica) lead(out *Effects) {
	if r.want > 1 {
		r.holdUntil = r.born + int64(r.timing.Lease)
		if r.restored == 0 {
			r.holdUntil = 0
		}
	}
	r.verified = r.prepared
	for i := len(r.promises) - 1; i >= 0; i-- {
		if r.promises[i].node == r.self {
			r.promises = append(r.promises[:i], r.promises[i+1:]...)
		}
	}
	old := r.peers
	r.peers, r.learners = nil, 0
	members := make([]peer, len(r.config.Secondaries)) // side by side in memory
	for i, n := range r.config.Secondaries {
		members[i] = peer{
			node: n, required: true, acked: r.committed, next: r.committed + 1, sentAt: r.now, retry: int64(r.timing.Retry),
		}
		r.peers = append(r.peers, &members[i])
	}
	for _, p := range old {
		switch {
		case !p.learner:
		case p.drop || contains(r.config.Secondaries, p.node):
			out.Release = append(out.Release, p.node)
		default:
			r.learners++
			r.peers = append(r.peers, p)
			p.required, p.asked, p.confirmed, p.retry = false, false, 0, int64(r.timing.Retry)
			if p.phase != shipping {
				p.phase = invited
			}
		}
	}
	if r.learners == 0 {
		r.history.clear()
	}
	r.ownDelay = delay{}
	for _, p := range r.peers {
		if p.learner {
			if p.phase == invited {
				r.invite(p, out)
			}
			continue
		}
		r.ping(p, out)
		r.pump(p, out)
	}
	r.commitReady(out)
}

// resign stops serving. What was proposed and is not committed stays in the log and may commit under a later configuration, so
// its clients learn that the outcome is unknown.
func (r *Replica) resign(out *Effects) {
	if r.role != Primary {
		return
	}
	for i := range r.window.count {
		m := r.window.at(i)
		if len(m.Tokens) > 0 {
			out.Rejects = append(out.Rejects, Reject{Tokens: m.Tokens, Err: proto.ErrTimeout})
			m.Tokens = m.Tokens[:0]
		}
	}
	for _, p := range r.peers {
		if p.learner {
			out.Release = append(out.Release, p.node)
		}
	}
	r.learners = 0
	r.history.clear()
}

// drive asks meta for what is wanted, at once when it is new and again after a growing while.
func (r *Replica) drive(out *Effects) {
	r.ask.due = false
	if r.config.Primary.IsZero() {
		return
	}
	a, ok := r.wanted()
	if !ok || r.ask.asked && r.now < r.ask.at {
		return
	}
	retry := int64(r.timing.Retry)
	r.ask.asked = true
	r.ask.wait = min(max(2*r.ask.wait, retry), maxRetry*retry)
	r.ask.at = r.now + r.ask.wait
	r.follower.accused = r.role == Secondary && r.known
	if a.Type == proto.CTUpgradeToSecondary {
		p := r.peer(a.Node)
		p.asked = true
		p.required = !bug(CountLearnerLate)
		r.ping(p, out)
	}
	if a.Type == proto.CTRemove && bug(RemoveBeforeAnswer) {
		r.peer(a.Node).required = false
		r.commitReady(out)
	}
	out.Asks = append(out.Asks, a)
}

// wanted is the change that the replica wants most.
func (r *Replica) wanted() (Ask, bool) {
	switch {
	case r.role == Secondary:
		return r.takeOver()
	case r.config.Primary != r.self:
		return Ask{}, false
	case r.failed:
		return r.giveUp()
	case r.role != Primary && !r.ask.bump:
		return Ask{}, false
	case r.role != Primary:
		return r.renew(), true
	}
	for _, p := range r.peers {
		if !p.learner && (p.drop || r.leases.Lost(p.node, r.now) && !r.mayBeAlone()) {
			return Ask{Type: proto.CTRemove, Node: p.node, Config: r.next(r.self, p.node, proto.NodeID{})}, true
		}
	}
	r.watchHandOver()
	if r.handOver.asked {
		to := r.handOver.to
		if !to.IsZero() {
			return Ask{Type: proto.CTUpgradeToPrimary, Node: to, Config: r.next(to, to, r.self)}, true
		}
		return r.renew(), true
	}
	if r.ask.bump || r.ask.outdated {
		return r.renew(), true
	}
	for _, p := range r.peers {
		if r.ready(p) || p.learner && p.asked && !p.drop {
			return Ask{Type: proto.CTUpgradeToSecondary, Node: p.node, Config: r.next(r.self, proto.NodeID{}, p.node)}, true
		}
	}
	if r.ask.asked {
		return r.renew(), true // what was asked is not wanted any more, but may still be accepted
	}
	return Ask{}, false
}

// mayBeAlone tells whether this member reaches too few others to take writes, and has not for long. Then it may be the one that
// is cut off while the others could go on together, so it leaves the register to them for a grace; if nobody moves it, it acts
// after all. A lease is shorter than a grace, so whoever is cut off knows it before it may accuse anybody.
func (r *Replica) mayBeAlone() bool {
	return r.aloneSince != 0 && r.now-r.aloneSince < int64(r.timing.Grace)
}

// watchReach keeps aloneSince.
func (r *Replica) watchReach() {
	reached := 1
	for _, n := range r.config.Secondaries {
		if n != r.self && r.leases.Valid(n, r.now) {
			reached++
		}
	}
	switch {
	case reached >= r.min:
		r.aloneSince = 0
	case r.aloneSince == 0:
		r.aloneSince = r.now
	}
}

// next is the configuration after this one, without one node and with another as secondary; either may be zero.
func (r *Replica) next(primary, without, with proto.NodeID) Config {
	c := Config{Ballot: r.config.Ballot + 1, Primary: primary}
	for _, n := range r.config.Secondaries {
		if n != without && n != primary {
			c.Secondaries = append(c.Secondaries, n)
		}
	}
	if !with.IsZero() {
		c.Secondaries = append(c.Secondaries, with)
	}
	return c
}

// renew asks for a new ballot with the same members. It also serves to learn the register when this replica is behind it.
func (r *Replica) renew() Ask {
	return Ask{
		Type: proto.CTPrimaryForceUpdateBallot, Node: r.self, Config: r.next(r.self, proto.NodeID{}, proto.NodeID{}),
	}
}

// takeOver asks for the place of a primary that is dead, as far as its leases tell.
func (r *Replica) takeOver() (Ask, bool) {
	accused := r.follower.accused
	if !accused && (r.ask.accuseAt == 0 || r.now < r.ask.accuseAt || !r.leases.Expired(r.config.Primary, r.now) || r.mayBeAlone()) {
		return Ask{}, false
	}
	if !r.known {
		// The members are not known, only who is primary. This is sure to be refused, with the register as the answer.
		c := Config{Ballot: r.config.Ballot, Primary: r.self}
		return Ask{Type: proto.CTUpgradeToPrimary, Node: r.self, Config: c}, true
	}
	return Ask{Type: proto.CTUpgradeToPrimary, Node: r.self, Config: r.next(r.self, proto.NodeID{}, proto.NodeID{})}, true
}

// giveUp asks that the secondary with the most follow this primary, whose log failed. Any is safe. One that has found its log
// damaged when it started has never led and knows its secondaries by name only.
func (r *Replica) giveUp() (Ask, bool) {
	var best *peer
	for _, p := range r.peers {
		if !p.learner && !r.leases.Lost(p.node, r.now) && (best == nil || p.acked > best.acked) {
			best = p
		}
	}
	var to proto.NodeID
	switch {
	case best != nil:
		to = best.node
	case len(r.peers) == 0:
		for _, n := range r.config.Secondaries {
			if to.IsZero() && !r.leases.Lost(n, r.now) {
				to = n
			}
		}
	}
	return Ask{Type: proto.CTUpgradeToPrimary, Node: to, Config: r.next(to, to, proto.NodeID{})}, !to.IsZero()
}

// startHandOver is meta's proposal that another member become primary.
func (r *Replica) startHandOver(to proto.NodeID) {
	p := r.peer(to)
	if r.role != Primary || p == nil || p.learner || r.handOver.active() {
		return
	}
	r.handOver = handOver{to: to, since: r.now}
	r.ask.due = true
}

// watchHandOver moves a hand-over on: it is asked for once nothing is in flight, and given up when that takes too long. Once
// asked it cannot be given up, because meta may have granted it; then only the register ends it.
func (r *Replica) watchHandOver() {
	h := &r.handOver
	if h.to.IsZero() || h.asked {
		return
	}
	p := r.peer(h.to)
	switch {
	case r.acting() && r.window.count == 0 && p.acked == r.prepared:
		h.asked = true
		r.ask.at = r.now // not later because of an earlier ask
	case r.now-h.since >= int64(r.timing.HandOver):
		*h = handOver{}
	}
}

// askRefused gives up a hand-over that meta does not want. Earlier copies of the ask may be under way, so the ballot has to
// move before serving goes on.
func (r *Replica) askRefused() {
	if r.role == Primary && r.handOver.asked {
		r.handOver.to = proto.NodeID{}
		r.ask.due = true
	}
}
