package core

import (
	"cmp"
	"slices"

	"pegasus/netcore/proto"
)

// guardian finds a primary for every partition that was never assigned. It only proposes: the node it picks asks for the
// change by itself, and the register decides. So a proposal may be lost, doubled or acted on late without harm, and
// nothing of the guardian has to be stored.
//
// A partition whose register names a primary is never touched, also when that node is dead: with one member per group
// nobody else has the data, and an empty replica in its place would be the loss that a dead node only threatens.
type guardian struct {
	fresh   []proto.GPID // in order of appearance; entries may be out of date and are checked when taken
	assigns map[proto.GPID]*assign
}

// assign is a proposal, and the memory of former ones for the same partition.
type assign struct {
	node     *member // nil when the last proposal was not acted on in time
	deadline int64
	tries    int
}

func (gd *guardian) init() { *gd = guardian{assigns: make(map[proto.GPID]*assign)} }

// watch takes note of a partition that may need a primary.
func (c *Core) watch(g proto.GPID, p *Partition) {
	if p.fresh() {
		c.fresh = append(c.fresh, g)
	}
}

// fresh tells whether no node ever had the partition.
func (p *Partition) fresh() bool {
	return p.Primary.IsZero() && len(p.LastDrops) == 0 && p.Flags&flagDropped == 0
}

// settled ends the proposal for a partition whose configuration changed.
func (c *Core) settled(g proto.GPID) {
	if a := c.assigns[g]; a != nil {
		c.release(g, a)
		delete(c.assigns, g)
	}
}

// release takes the pending primary off the node's books.
func (c *Core) release(g proto.GPID, a *assign) {
	if a.node != nil {
		a.node.assigns--
		c.count(g.App, a.node.id, -1)
		a.node = nil
	}
}

// abandon gives up the proposals to a node that cannot act on them.
func (c *Core) abandon(m *member) {
	for _, g := range c.assignsOf(func(a *assign) bool { return a.node == m }) {
		c.release(g, c.assigns[g])
		delete(c.assigns, g)
		c.watch(g, c.st.Partition(g))
	}
}

// expireAssigns gives up the proposals that were not acted on in time.
func (c *Core) expireAssigns(now Now) {
	for _, g := range c.assignsOf(func(a *assign) bool { return a.node != nil && now.Mono >= a.deadline }) {
		a := c.assigns[g]
		a.node.shunned = now.Mono + int64(shunTime)
		c.release(g, a)
		c.watch(g, c.st.Partition(g))
	}
}

func (c *Core) assignsOf(is func(*assign) bool) []proto.GPID {
	var out []proto.GPID
	for g, a := range c.assigns {
		if is(a) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, proto.GPID.Compare)
	return out
}

// guard proposes as much as the nodes may be asked at a time.
func (c *Core) guard(now Now, out *Effects) {
	if c.role != Leading || c.effectiveLevel() <= proto.LevelFreezed {
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
		c.assign(now, g, m, out)
	}
	if c.fresh = c.fresh[taken:]; len(c.fresh) == 0 {
		c.fresh = nil
	}
}

// homeless tells whether a partition needs a primary and nobody is being asked.
func (c *Core) homeless(g proto.GPID) bool {
	a := c.st.App(g.App)
	if a == nil || !a.available() || !a.Partitions[g.Part].fresh() {
		return false
	}
	as := c.assigns[g]
	return as == nil || as.node == nil
}

// pick returns the node for a fresh partition of a table: not shunned if possible, fewest primaries of the table, then
// fewest of all, then lowest id.
func (c *Core) pick(now Now, app int32) *member {
	var best *member
	rank := func(m *member) int {
		if m.shunned > now.Mono {
			return 1
		}
		return 0
	}
	for _, m := range c.members {
		if !m.usable() {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(rank(m), rank(best)), cmp.Compare(m.perApp[app], best.perApp[app]),
			cmp.Compare(m.primaries, best.primaries)) < 0 {
			best = m
		}
	}
	return best
}

func (c *Core) assign(now Now, g proto.GPID, m *member, out *Effects) {
	as := c.assigns[g]
	if as == nil {
		as = &assign{}
		c.assigns[g] = as
	}
	timeout := min(assignTimeout<<min(as.tries, 8), maxAssignTimeout)
	*as = assign{node: m, deadline: now.Mono + int64(timeout), tries: as.tries + 1}
	m.assigns++
	c.count(g.App, m.id, 1)
	a := c.st.App(g.App)
	out.Send = append(out.Send, Send{Link: m.link, Kind: proto.PeerProposal, Msg: &proto.Proposal{
		App: a.Info, Config: a.Config(g.Part), Type: proto.CTAssignPrimary, Node: m.id,
	}})
}
