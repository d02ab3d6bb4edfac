package core

import (
	"cmp"
	"slices"

	"pegasus/netcore/proto"
)

// treat looks at a partition and proposes what it needs. It returns true when the partition needs something that cannot
// be done now, so that it is looked at again.
func (c *Core) treat(now Now, g proto.GPID, out *Effects) (again bool) {
	a := c.st.App(g.App)
	if a == nil || !a.available() {
		return false
	}
	p := &a.Partitions[g.Part]
	if p.fresh() && !c.ahead[g] {
		return false // it waits elsewhere
	}
	if as := c.asks[g]; as != nil && as.to != nil {
		return false // its end is noticed
	}
	if c.changing[g] != 0 {
		return false // likewise
	}
	if c.ahead[g] || p.orphan() {
		if c.ahead[g] {
			c.reconcile(now, g, p, out)
		} else {
			c.revive(now, g, p, out)
		}
		return c.changing[g] == 0 && !c.sound(a, g)
	}
	act, wait := c.need(now, g, a, out)
	if act.to != nil {
		c.ask(now, g, act, out)
		return false
	}
	if !wait {
		delete(c.dropped, g)
		delete(c.asks, g)
	}
	return wait
}

// need tells what is to be done for a partition: an action, or to wait, or nothing.
func (c *Core) need(now Now, g proto.GPID, a *App, out *Effects) (act action, wait bool) {
	p := &a.Partitions[g.Part]
	primary := c.byID[p.Primary]
	if primary == nil || !primary.alive {
		return c.takeOver(now, g, p, primary)
	}
	if !primary.usable() {
		return action{}, true
	}
	if since, ok := c.appointed[g]; ok {
		if primary.reports[g].Ballot < p.Ballot && now.Mono-since < int64(assignTimeout) {
			return action{}, true
		}
		delete(c.appointed, g)
	}
	act, planned := c.planned(g, a, primary)
	if act.to != nil {
		return act, false
	}
	if primary.reports[g].Failure != "" {
		if best := c.bestSecondary(g, p); best != nil {
			return action{proto.CTUpgradeToPrimary, best.id, primary}, false
		}
	}
	for _, n := range p.Secondaries {
		// The primary removes a secondary that it finds dead or failed. This is for what it cannot see.
		if m := c.byID[n]; m == nil || m.reports[g].Failure != "" || c.longDead(now, m) {
			return action{proto.CTRemove, n, primary}, false
		}
	}
	switch want := int(a.Info.MaxReplicaCount); {
	case planned: // it has to wait, but only for what is not urgent
		return action{}, true
	case p.members() < want:
		return c.grow(now, g, a, primary, out)
	case p.members() > want:
		return action{proto.CTRemove, c.mostLoaded(p), primary}, false
	}
	return action{}, !c.sound(a, g)
}

// longDead tells whether a node has been dead for as long as it took to find it dead. What the members can do about it
// they would have done by then.
func (c *Core) longDead(now Now, m *member) bool {
	return !m.alive && now.Mono-m.heard > 2*int64(c.opt.Grace)
}

// takeOver decides about a partition whose primary is dead. Its secondaries act by themselves, sooner than meta notices;
// meta helps when none of them did.
func (c *Core) takeOver(now Now, g proto.GPID, p *Partition, primary *member) (act action, wait bool) {
	if primary != nil && !c.longDead(now, primary) {
		return action{}, true
	}
	if best := c.bestSecondary(g, p); best != nil {
		return action{proto.CTUpgradeToPrimary, best.id, best}, false
	}
	return action{}, true
}

// bestSecondary returns the usable and healthy secondary that prepared most as far as reported, then the one with fewest
// primaries, then the first one. Any is safe; the one with most has the least to catch up.
func (c *Core) bestSecondary(g proto.GPID, p *Partition) *member {
	var best *member
	for _, n := range p.Secondaries {
		m := c.byID[n]
		if m == nil || !m.usable() || m.reports[g].Failure != "" {
			continue
		}
		r := m.reports[g]
		if best == nil || cmp.Or(cmp.Compare(r.Ballot, best.reports[g].Ballot),
			cmp.Compare(r.Prepared, best.reports[g].Prepared), cmp.Compare(best.primaries, m.primaries)) > 0 {
			best = m
		}
	}
	return best
}

// grow finds a node for another secondary.
func (c *Core) grow(now Now, g proto.GPID, a *App, primary *member, out *Effects) (act action, wait bool) {
	p := &a.Partitions[g.Part]
	learners := 0
	for _, n := range primary.reports[g].Learners {
		if !p.isMember(n) {
			learners++
		}
	}
	if p.members()+learners >= int(a.Info.MaxReplicaCount) || c.mayReturn(now, g, a) {
		return action{}, true
	}
	c.clearAway(now, g, p, out)
	m := c.newcomer(g, p)
	if m == nil || m.learning >= c.addLimit() {
		return action{}, true // as with primaries: to take another node would leave the cluster uneven
	}
	return action{proto.CTAddSecondary, m.id, primary}, false
}

// mayReturn tells whether it is better to wait for the member that was lost last than to copy everything to another
// node: while enough members remain, and not for ever.
func (c *Core) mayReturn(now Now, g proto.GPID, a *App) bool {
	p := &a.Partitions[g.Part]
	at, known := c.dropped[g]
	if !known || len(p.LastDrops) == 0 || p.members() < int(c.minReplicas(a)) || now.Mono-at > c.assignDelay() {
		return false
	}
	last := p.LastDrops[len(p.LastDrops)-1]
	m := c.byID[last]
	// A node that lost its address to another one does not come back: its disk was wiped, or its machine replaced.
	if m == nil || !c.st.Node(last).Address.IsValid() || c.blackListed(last) {
		return false
	}
	mode := c.st.Node(last).Mode
	return !m.alive && mode != NodeLeaving || mode == NodeDraining || mode == NodeDrained
}

// newcomer returns the node for another secondary: one that was a member lately and has the data still, the newest
// first; then one that did not fail at it just now, in a zone with fewest members, with fewest replicas of the table, then
// of all, then with most room, then lowest id.
func (c *Core) newcomer(g proto.GPID, p *Partition) *member {
	var avoid proto.NodeID
	if as := c.asks[g]; as != nil {
		avoid = as.avoid
	}
	for _, n := range slices.Backward(p.LastDrops) {
		m := c.byID[n]
		if m == nil || !c.takes(m) || n == avoid || p.isMember(n) || c.blackListed(n) || c.crowds(p, n) ||
			c.misfit(m, g, p) {
			continue
		}
		if r, holds := m.reports[g]; holds && r.Failure == "" {
			return m
		}
		if _, holds := m.closed[g]; holds {
			return m
		}
	}
	rank := func(m *member) int {
		if m.id == avoid || m.reports[g].Failure != "" {
			return 1
		}
		return 0
	}
	var best *member
	for _, m := range c.members {
		if !c.takes(m) || p.isMember(m.id) || c.blackListed(m.id) || c.misfit(m, g, p) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(rank(m), rank(best)),
			cmp.Compare(c.neighbours(p, m.id), c.neighbours(p, best.id)),
			cmp.Compare(m.perApp[g.App].replicas, best.perApp[g.App].replicas),
			cmp.Compare(m.replicas, best.replicas), cmp.Compare(best.freeMB(), m.freeMB())) < 0 {
			best = m
		}
	}
	return best
}

// neighbours counts the members of a partition in the zone of a node. A node without a zone is alone in its own.
func (c *Core) neighbours(p *Partition, id proto.NodeID) (n int) {
	zone := c.st.Node(id).Zone
	if zone == "" {
		return 0
	}
	for _, o := range append(slices.Clone(p.Secondaries), p.Primary) {
		if x := c.st.Node(o); o != id && x != nil && x.Zone == zone {
			n++
		}
	}
	return n
}

// crowds tells whether a former member shares its zone with a member while another node that could take the copy does not.
func (c *Core) crowds(p *Partition, id proto.NodeID) bool {
	mine := c.neighbours(p, id)
	if mine == 0 {
		return false
	}
	for _, m := range c.members {
		if c.takes(m) && !p.isMember(m.id) && !c.blackListed(m.id) && c.neighbours(p, m.id) < mine {
			return true
		}
	}
	return false
}

// mostLoaded returns the secondary to be given up: on a dead node if there is one, then on one that leaves, then in a crowded
// zone, then on the one with most replicas.
func (c *Core) mostLoaded(p *Partition) proto.NodeID {
	var worst *member
	load := func(m *member) int {
		switch {
		case !m.alive:
			return 100*maxPartitions + m.replicas
		case c.st.Node(m.id).Mode != NodeInService:
			return 50*maxPartitions + m.replicas
		}
		return c.neighbours(p, m.id)*maxPartitions + m.replicas
	}
	for _, n := range p.Secondaries {
		if m := c.byID[n]; worst == nil || load(m) > load(worst) {
			worst = m
		}
	}
	return worst.id
}
