package core

import (
	"slices"

	"pegasus/netcore/proto"
)

// RPC_CM_PROPOSE_BALANCER: what operators want done with the members of a partition. A forced request is passed on at
// once, as it is. Any other becomes a plan, whose steps are proposed one after the other, each when the register shows
// the one before; a plan that does not fit the register any more is dropped. Plans are not stored: after a change of
// the leader the operator asks again.

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

func (c *Core) proposeBalancer(now Now, r *proto.BalancerRequest, out *Effects) *proto.BalancerResponse {
	fail := func(err proto.ErrCode) *proto.BalancerResponse { return &proto.BalancerResponse{Err: err} }
	a := c.st.App(r.GPID.App)
	switch {
	case a == nil:
		return fail(proto.ErrAppNotExist)
	case !a.available(), c.st.Partition(r.GPID) == nil, len(r.ActionList) > maxPlanActions:
		return fail(proto.ErrInvalidParameters)
	case len(r.ActionList) == 0:
		return fail(proto.ErrOK)
	}
	p := &a.Partitions[r.GPID.Part]
	var plan []planStep
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
			return fail(proto.ErrInvalidParameters)
		}
		plan = append(plan, step)
	}
	if r.Force != nil && *r.Force {
		for _, step := range plan {
			if act := c.addressee(p, step); act.to != nil && act.to.usable() {
				c.sendProposal(now, r.GPID, act, out)
			}
		}
		return fail(proto.ErrOK)
	}
	switch {
	case r.BalanceType == nil, len(c.plans[r.GPID]) > 0, p.Primary.IsZero():
		return fail(proto.ErrInvalidParameters)
	case len(c.plans) >= maxPlans:
		return fail(proto.ErrBusy)
	case len(plan) == 0:
		return fail(proto.ErrOK)
	}
	c.settled(r.GPID) // what the guardian had in mind can wait
	c.plans[r.GPID] = plan
	c.watch(r.GPID)
	return fail(proto.ErrOK)
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
	for len(c.plans[g]) > 0 {
		step := c.plans[g][0]
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
		case m == nil, !done && !(fits && m.alive):
			delete(c.plans, g)
			return action{}, false
		case done:
			if c.plans[g] = c.plans[g][1:]; len(c.plans[g]) == 0 {
				delete(c.plans, g)
			}
		case step.typ == proto.CTAddSecondary && (!m.usable() || m.learning >= maxAddsPerNode):
			return action{}, true
		default:
			return action{step.typ, step.node, primary}, true
		}
	}
	return action{}, false
}
