package core

import (
	"cmp"
	"fmt"

	"pegasus/netcore/proto"
)

// Drain and decommission: two ways of emptying a node. A drain prepares a restart: the node hands its primaries over, and
// leaves its groups where enough members remain to take writes, so that its end costs clients nothing. Nothing is copied,
// unless a group would become too small; the node has its data still when it comes back. Decommissioning copies everything
// to other nodes first, for the node does not come back.

// maxEmptying is how many partitions of a node may be on their way at a time.
const maxEmptying = 32

// empty makes plans for partitions of a node, some at a time. plan returns false for those that do not matter at present, and
// says why a partition cannot be moved.
func (c *Core) empty(j *Job, plan func(proto.GPID, *App, *Partition) (steps []planStep, why string, matters bool)) (st stepState) {
	busy := 0
	for _, a := range c.st.apps {
		for i := range a.Partitions {
			g, p := proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]
			if !a.available() || !p.isMember(j.Node) {
				continue
			}
			steps, why, matters := plan(g, a, p)
			if !matters {
				continue
			}
			st.left++
			switch {
			case c.moving(g):
				busy++
			case busy >= maxEmptying:
			case steps == nil:
				st.waiting = cmp.Or(st.waiting, why)
			default:
				busy++
				c.setPlan(g, steps, j.ID)
			}
		}
	}
	if busy > 0 {
		st.waiting = ""
	}
	return st
}

// drainPrimaries is the first step: other members become primaries.
func (c *Core) drainPrimaries(_ Now, j *Job, _ *Effects) stepState {
	return c.empty(j, func(g proto.GPID, a *App, p *Partition) (steps []planStep, why string, matters bool) {
		if p.Primary != j.Node {
			return nil, "", false
		}
		steps, why = c.handOverPlan(g, a, p)
		return steps, why, true
	})
}

// drainSecondaries is the second step: the node leaves its groups. A partition that became its own again meanwhile is handed
// over here too.
func (c *Core) drainSecondaries(_ Now, j *Job, _ *Effects) stepState {
	return c.empty(j, func(g proto.GPID, a *App, p *Partition) (steps []planStep, why string, matters bool) {
		if p.Primary == j.Node {
			steps, why = c.handOverPlan(g, a, p)
		} else {
			steps, why = c.leavePlan(g, a, p, j)
		}
		return steps, why, true
	})
}

// moving tells whether a plan for the partition is under way or cannot be made at present.
func (c *Core) moving(g proto.GPID) bool { return len(c.plans[g].steps) > 0 || c.changing[g] != 0 }

// handOverPlan finds another primary: a member if there is one, else a node that becomes one.
func (c *Core) handOverPlan(g proto.GPID, a *App, p *Partition) (steps []planStep, why string) {
	primary := c.byID[p.Primary]
	if primary == nil || !primary.usable() {
		return nil, fmt.Sprintf("%v: its primary does not answer; its secondaries take over by themselves", g)
	}
	if to := c.successor(g, p); to != nil {
		return []planStep{{proto.CTUpgradeToPrimary, to.id}}, ""
	}
	to := c.newcomer(g, p)
	if to == nil || !p.mayGrow(a) {
		return nil, fmt.Sprintf("%v: no other node can take it", g)
	}
	return []planStep{{proto.CTAddSecondary, to.id}, {proto.CTUpgradeToPrimary, to.id}}, ""
}

// successor returns the secondary to become primary in peace: usable, healthy, in service, with fewest primaries.
func (c *Core) successor(g proto.GPID, p *Partition) (best *member) {
	for _, n := range p.Secondaries {
		m := c.byID[n]
		if m == nil || !m.usable() || m.reports[g].Failure != "" || c.st.Node(n).Mode != NodeInService {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(m.perApp[g.App].primaries, best.perApp[g.App].primaries),
			cmp.Compare(m.primaries, best.primaries)) < 0 {
			best = m
		}
	}
	return best
}

// leavePlan has a secondary leave its group, after another node took its place where it must not be missed.
func (c *Core) leavePlan(g proto.GPID, a *App, p *Partition, j *Job) (steps []planStep, why string) {
	leave := planStep{proto.CTRemove, j.Node}
	if m := c.byID[p.Primary]; m == nil || !m.usable() {
		return nil, fmt.Sprintf("%v: its primary does not answer", g)
	}
	remain := p.members() - 1
	enough := remain >= int(c.minReplicas(a)) && remain > 1
	if p.members() > int(a.Info.MaxReplicaCount) || j.Kind == JobDrain && enough {
		return []planStep{leave}, ""
	}
	if to := c.newcomer(g, p); to != nil && p.mayGrow(a) {
		return []planStep{{proto.CTAddSecondary, to.id}, leave}, ""
	}
	if j.Kind == JobDrain && remain >= int(c.minReplicas(a)) {
		return []planStep{leave}, "" // nobody else is there; one copy less for a while
	}
	return nil, fmt.Sprintf("%v: no other node can take a copy", g)
}
