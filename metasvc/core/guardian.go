package core

import (
	"cmp"
	"slices"

	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// guardian sees to it that every partition has the members it ought to have. It only proposes: a member asks for the
// change by itself, and the register decides. So a proposal may be lost, doubled or acted on late without harm, and
// nothing of the guardian has to be stored.
//
// It looks at partitions when something about them changed, not at all of them again and again: those that need
// something wait in queues, and what cannot be done for them now (the right node is busy, or dead, or perhaps about to
// come back) goes to the end of the queue. Each look is bounded, so that a cluster with a hundred thousand partitions
// in need answers its clients all the same.
//
// A partition whose register names a primary is never given another one that is no member, also when all its members
// are dead: nobody else has the data, and an empty replica in its place would be the loss that dead nodes only threaten.
type guardian struct {
	fresh []proto.GPID // never assigned, in order of appearance; may be out of date and is checked when taken
	// ill are the partitions to be looked at: those with no spare member first, then all others.
	ill    [2][]proto.GPID
	queued map[proto.GPID]bool
	// asks are proposals under way, and the memory of failed ones, per partition.
	asks map[proto.GPID]*ask
	// plans are what jobs and operators want done, see balancer.go. At most maxPlans.
	plans map[proto.GPID]plan
	// changing are the partitions with a change in the journal, by the seq of the proposal: never two at a time.
	changing map[proto.GPID]uint64
	// dropped is when a partition lost a member, as far as this leader saw it.
	dropped map[proto.GPID]int64
	// ahead are the partitions of which a node knows a configuration that the register does not.
	ahead map[proto.GPID]bool
	// appointed are the partitions whose new primary has to open its replica first, since when.
	appointed map[proto.GPID]int64
}

// action is a proposal.
type action struct {
	typ  proto.ConfigType
	node proto.NodeID // whom it is about
	to   *member      // who is asked to act
}

// ask is an action under way while to is set, and else the memory of failed ones.
type ask struct {
	action
	learner  *member // has a place reserved for the secondary to be added
	deadline int64
	tries    int
	avoid    proto.NodeID // the last choice next time
}

func (gd *guardian) init() {
	*gd = guardian{
		queued: make(map[proto.GPID]bool), asks: make(map[proto.GPID]*ask), plans: make(map[proto.GPID]plan),
		changing: make(map[proto.GPID]uint64), dropped: make(map[proto.GPID]int64),
		ahead: make(map[proto.GPID]bool), appointed: make(map[proto.GPID]int64),
	}
}

// fresh tells whether no node ever had the partition.
func (p *Partition) fresh() bool {
	return p.Primary.IsZero() && len(p.LastDrops) == 0 && p.Flags&flagDropped == 0
}

// watch takes note of a partition that may need something.
func (c *Core) watch(g proto.GPID) {
	a := c.st.App(g.App)
	if a == nil || !a.available() {
		return
	}
	p := &a.Partitions[g.Part]
	switch {
	case p.fresh() && !c.ahead[g]:
		c.fresh = append(c.fresh, g)
	case !c.queued[g] && !c.sound(a, g):
		c.queued[g] = true
		urgency := 1
		if m := c.byID[p.Primary]; len(p.Secondaries) == 0 && a.Info.MaxReplicaCount > 1 || m == nil || !m.alive {
			urgency = 0
		}
		c.ill[urgency] = append(c.ill[urgency], g)
	}
}

// sound is the quick look: nothing is to be done about the partition.
func (c *Core) sound(a *App, g proto.GPID) bool {
	p := &a.Partitions[g.Part]
	well := func(n proto.NodeID) bool {
		m := c.byID[n]
		return m != nil && m.alive && m.reports[g].Failure == ""
	}
	if p.members() != int(a.Info.MaxReplicaCount) || !well(p.Primary) || len(c.plans[g].steps) > 0 || c.ahead[g] {
		return false
	}
	for _, n := range p.Secondaries {
		if !well(n) {
			return false
		}
	}
	return true
}

// watchNode takes note of every partition that a node which died is a member of.
func (c *Core) watchNode(m *member) {
	for _, a := range c.st.apps {
		for i := range a.Partitions {
			if a.Partitions[i].isMember(m.id) {
				c.watch(proto.GPID{App: a.Info.AppID, Part: int32(i)})
			}
		}
	}
}

// settled ends the proposal for a partition whose configuration changed.
func (c *Core) settled(g proto.GPID) {
	if a := c.asks[g]; a != nil {
		c.release(g, a)
		delete(c.asks, g)
	}
}

// release takes what is pending off the nodes' books.
func (c *Core) release(g proto.GPID, a *ask) {
	if a.to == nil {
		return
	}
	switch a.typ {
	case proto.CTAssignPrimary:
		a.to.assigns--
		c.count(g.App, a.to.id, -1, -1)
	case proto.CTAddSecondary:
		a.learner.learning--
		c.count(g.App, a.learner.id, 0, -1)
	}
	a.to, a.learner = nil, nil
}

// abandon gives up the proposals that a node cannot act on, or that are about it.
func (c *Core) abandon(m *member) {
	for _, g := range c.asksOf(func(a *ask) bool { return a.to != nil && (a.to == m || a.node == m.id) }) {
		c.release(g, c.asks[g])
		delete(c.asks, g)
		c.watch(g)
	}
}

// expireAsks gives up the proposals that were not acted on in time. Adding a secondary takes as long as it takes, while
// the primary says that it is at it.
func (c *Core) expireAsks(now Now) {
	for _, g := range c.asksOf(func(a *ask) bool { return a.to != nil && now.Mono >= a.deadline }) {
		a := c.asks[g]
		if a.typ == proto.CTAddSecondary && slices.Contains(a.to.reports[g].Learners, a.node) {
			a.deadline = now.Mono + int64(assignTimeout)
			continue
		}
		if a.typ == proto.CTAssignPrimary {
			a.to.shunned = now.Mono + int64(shunTime)
		}
		a.avoid = a.node
		if a.tries >= maxPlanTries {
			delete(c.plans, g)
		}
		c.release(g, a)
		c.watch(g)
	}
}

func (c *Core) asksOf(is func(*ask) bool) []proto.GPID {
	var out []proto.GPID
	for g, a := range c.asks {
		if is(a) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, proto.GPID.Compare)
	return out
}

// guard proposes as much as the nodes may be asked at a time. It looks at no more than limit partitions of a kind.
func (c *Core) guard(now Now, limit int, out *Effects) {
	if c.role != Leading || c.effectiveLevel() <= proto.LevelFreezed {
		return
	}
	c.settle(now, out)
	for u := range c.ill {
		for n := min(len(c.ill[u]), limit); n > 0; n-- {
			g := c.ill[u][0]
			c.ill[u] = c.ill[u][1:]
			if c.treat(now, g, out) {
				c.ill[u] = append(c.ill[u], g)
			} else {
				delete(c.queued, g)
			}
		}
	}
}

// settle finds a primary for the partitions that never had one.
func (c *Core) settle(now Now, out *Effects) {
	if c.st.restored && !c.allSpoke(now) {
		return
	}
	taken := 0
	for ; taken < len(c.fresh); taken++ {
		g := c.fresh[taken]
		if !c.homeless(g) {
			continue
		}
		m := c.pick(now, g.App)
		if m == nil || m.assigns >= maxAssignsPerNode {
			break // the least loaded node is busy: to take another one would leave the cluster uneven
		}
		c.ask(now, g, action{proto.CTAssignPrimary, m.id, m}, out)
	}
	c.fresh = slices.Delete(c.fresh, 0, taken)
}

// homeless tells whether a partition needs a first primary and nobody is being asked.
func (c *Core) homeless(g proto.GPID) bool {
	a := c.st.App(g.App)
	if a == nil || !a.available() || !a.Partitions[g.Part].fresh() || c.ahead[g] || c.st.restored && !c.keeper(g).IsZero() {
		return false
	}
	as := c.asks[g]
	return as == nil || as.to == nil
}

// pick returns the node for a fresh partition of a table: in service, with room, not shunned if possible, fewest primaries
// of the table, then fewest of all, then lowest id.
func (c *Core) pick(now Now, app int32) *member {
	var best *member
	rank := func(m *member) int {
		if m.shunned > now.Mono {
			return 1
		}
		return 0
	}
	for _, m := range c.members {
		if !c.takes(m) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(rank(m), rank(best)),
			cmp.Compare(m.perApp[app].primaries, best.perApp[app].primaries),
			cmp.Compare(m.primaries, best.primaries)) < 0 {
			best = m
		}
	}
	return best
}

// takes tells whether a node may get replicas that it does not have: it answers, is in service and has room.
func (c *Core) takes(m *member) bool {
	n := c.st.Node(m.id)
	return m.usable() && n.Mode == NodeInService && n.Address.IsValid() && !m.full()
}

// ask sends a proposal and books it.
func (c *Core) ask(now Now, g proto.GPID, act action, out *Effects) {
	as := c.asks[g]
	if as == nil {
		as = &ask{}
		c.asks[g] = as
	}
	invariant.Assertf(as.to == nil, "%v: two proposals under way", g)
	timeout := min(assignTimeout<<min(as.tries, 8), maxAssignTimeout)
	*as = ask{action: act, deadline: now.Mono + int64(timeout), tries: as.tries + 1, avoid: as.avoid}
	switch act.typ {
	case proto.CTAssignPrimary:
		act.to.assigns++
		c.count(g.App, act.to.id, 1, 1)
	case proto.CTAddSecondary:
		as.learner = c.byID[act.node]
		as.learner.learning++
		c.count(g.App, act.node, 0, 1)
	}
	c.sendProposal(now, g, act, out)
}

// sendProposal tells a node what to bring about. A learner must know the table when it is invited, so it is told first.
func (c *Core) sendProposal(now Now, g proto.GPID, act action, out *Effects) {
	a := c.st.App(g.App)
	if l := c.byID[act.node]; act.typ == proto.CTAddSecondary && l.link != 0 && l.apps[g.App] < a.Revision {
		c.sendAssign(now, l, []proto.AppInfo{a.Info}, nil, nil, out)
	}
	out.Send = append(out.Send, Send{Link: act.to.link, Kind: proto.PeerProposal, Msg: &proto.Proposal{
		App: a.Info, Config: a.Config(g.Part), Type: act.typ, Node: act.node, Settings: c.settings(a),
	}})
}
