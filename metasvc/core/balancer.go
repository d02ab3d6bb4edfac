package core

import (
	"slices"

	"pegasus/netcore/proto"
)

// Plans: what jobs and operators want done with the members of a partition. RPC_CM_PROPOSE_BALANCER with force is passed on
// at once, as it is. Everything else becomes a plan, whose steps are proposed one after the other, each when the register
// shows the one before; a plan that does not fit the register any more is dropped. Plans are not stored: after a change of
// the leader jobs make them again, and an operator asks again.

// plan is a list of steps still to be done, and the job that they belong to; 0: an operator's.
type plan struct {
	steps []planStep
	job   int64
}

// planStep is one wish. In Apache Pegasus a primary is moved in two steps, with no primary in between; here the primary
// hands over, so the first of the two is left out.
type planStep struct {
	typ  proto.ConfigType
	node proto.NodeID
}

// Limits of plans.
const (
	maxPlans       = 4096
	maxPlanActions = 16
	maxPlanTries   = 3 // times that a step is proposed in vain
)

// setPlan replaces what the guardian had in mind for a partition.
func (c *Core) setPlan(g proto.GPID, steps []planStep, job int64) {
	if len(c.plans) >= maxPlans {
		return // whoever wants it comes again
	}
	c.settled(g)
	c.plans[g] = plan{steps, job}
	c.watch(g)
}

// dropPlans gives up everything that was planned; what was proposed already may still be done.
func (c *Core) dropPlans() {
	clear(c.plans)
}

func (c *Core) dropPlansOf(job int64) {
	for g, p := range c.plans {
		if p.job == job {
			delete(c.plans, g)
		}
	}
}

func (c *Core) proposeBalancer(now Now, r *proto.BalancerRequest, w waiter, out *Effects) {
	answer := func(err proto.ErrCode) {
		out.Reply = append(out.Reply, Reply{Token: w.token, Body: &proto.BalancerResponse{Err: err}})
	}
	a := c.st.App(r.GPID.App)
	switch {
	case a == nil:
		answer(proto.ErrAppNotExist)
		return
	case !a.available(), c.st.Partition(r.GPID) == nil, len(r.ActionList) > maxPlanActions:
		answer(proto.ErrInvalidParameters)
		return
	case len(r.ActionList) == 0:
		answer(proto.ErrOK)
		return
	}
	p := &a.Partitions[r.GPID.Part]
	var steps []planStep
	for i := range r.ActionList {
		act := &r.ActionList[i]
		step := planStep{act.Type, c.nodeAt(act.HPNode, act.Node)}
		switch act.Type {
		case proto.CTAddSecondaryForLB, proto.CTUpgradeToSecondary:
			step.typ = proto.CTAddSecondary
		case proto.CTDowngradeToInactive:
			step.typ = proto.CTRemove
		case proto.CTDowngradeToSecondary:
			continue
		case proto.CTAssignPrimary, proto.CTAddSecondary, proto.CTRemove, proto.CTUpgradeToPrimary:
		default:
			answer(proto.ErrInvalidParameters)
			return
		}
		steps = append(steps, step)
	}
	if r.Force != nil && *r.Force {
		if len(steps) == 1 && steps[0].typ == proto.CTAssignPrimary && (!p.fresh() || !c.keeper(r.GPID).IsZero()) {
			c.appointByHand(now, r.GPID, steps[0].node, w, out)
			return
		}
		for _, step := range steps {
			if act := c.addressee(p, step); act.to != nil && act.to.usable() {
				c.sendProposal(now, r.GPID, act, out)
			}
		}
		answer(proto.ErrOK)
		return
	}
	switch {
	case r.BalanceType == nil, len(c.plans[r.GPID].steps) > 0, p.Primary.IsZero():
		answer(proto.ErrInvalidParameters)
	case len(c.plans) >= maxPlans:
		answer(proto.ErrBusy)
	default:
		if len(steps) > 0 {
			c.setPlan(r.GPID, steps, 0)
		}
		answer(proto.ErrOK)
	}
}

// nodeAt finds a node by either form of its address; none if nobody has it.
func (c *Core) nodeAt(host proto.HostPort, ip proto.RPCAddress) proto.NodeID {
	for _, m := range c.members {
		n := c.st.Node(m.id)
		if host.IsValid() && n.Address == host || !host.IsValid() && ip.IsValid() && n.IP == ip {
			return m.id
		}
	}
	return proto.NodeID{}
}

// addressee finds who has to act for a step: the primary, or the node itself when it becomes a primary and there is none
// alive.
func (c *Core) addressee(p *Partition, step planStep) action {
	node, primary := c.byID[step.node], c.byID[p.Primary]
	switch {
	case node == nil:
		return action{}
	case step.typ == proto.CTAssignPrimary, step.typ == proto.CTUpgradeToPrimary && (primary == nil || !primary.alive):
		return action{step.typ, step.node, node}
	}
	return action{step.typ, step.node, primary}
}

// planned returns the next step of the plan for a partition. ok is false when there is none; an action without an
// addressee is one that has to wait.
func (c *Core) planned(g proto.GPID, a *App, primary *member) (act action, ok bool) {
	p := &a.Partitions[g.Part]
	for len(c.plans[g].steps) > 0 {
		pl := c.plans[g]
		step := pl.steps[0]
		m := c.byID[step.node]
		secondary := slices.Contains(p.Secondaries, step.node)
		var done, fits bool
		switch step.typ {
		case proto.CTAddSecondary:
			done, fits = p.isMember(step.node), p.mayGrow(a)
		case proto.CTRemove:
			done, fits = !p.isMember(step.node), secondary
		case proto.CTUpgradeToPrimary:
			done, fits = p.Primary == step.node, secondary
		}
		switch {
		case m == nil, !done && !(fits && (m.alive || step.typ == proto.CTRemove)):
			delete(c.plans, g)
			return action{}, false
		case done:
			if pl.steps = pl.steps[1:]; len(pl.steps) == 0 {
				delete(c.plans, g)
			} else {
				c.plans[g] = pl
			}
		case step.typ == proto.CTAddSecondary && (!m.usable() || m.learning >= c.addLimit()):
			return action{}, true
		default:
			return action{step.typ, step.node, primary}, true
		}
	}
	return action{}, false
}
