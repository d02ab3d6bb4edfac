package core

import (
	"cmp"
	"fmt"
	"slices"

	"pegasus/netcore/proto"
)

// Partitions whose register names nobody who could serve, and what people are told of them (DDD, in Apache Pegasus' words).
//
// A register never loses its last member by a failure: when all are dead, the first that returns serves or is taken over
// from. What remains: tables that were recalled, registers that are older than what nodes know (a restored backup of the
// meta group), and members that are gone for ever, about which only an operator may decide, because whoever is put in their
// place lacks what they had.

// orphan tells whether the register names nobody although somebody had the partition once.
func (p *Partition) orphan() bool { return p.Primary.IsZero() && !p.fresh() }

// revive finds out who may take over an orphan: the primary at the drop, which has all that was acknowledged. It must be
// known to have the replica still, by its own word.
func (c *Core) revive(now Now, g proto.GPID, p *Partition, out *Effects) {
	id := p.LastDrops[len(p.LastDrops)-1]
	m := c.byID[id]
	if m == nil || !m.usable() || !c.holds(now, m, g) {
		return
	}
	c.appoint(&Appoint{GPID: g, Ballot: p.Ballot, Next: p.Ballot + 1, Node: id}, waiter{}, out)
}

// holds tells whether a node has a replica, open or closed. A node that has never said which closed ones it has, is believed
// to have it after a while: it refuses to serve what it does not have.
func (c *Core) holds(now Now, m *member, g proto.GPID) bool {
	if r, ok := m.reports[g]; ok {
		return r.Failure == ""
	}
	if _, ok := m.closed[g]; ok {
		return true
	}
	return m.statusAt == 0 && now.Mono-m.welcomed > 2*int64(c.opt.Grace)
}

// appoint proposes a new register with one member.
func (c *Core) appoint(a *Appoint, w waiter, out *Effects) {
	delete(c.plans, a.GPID)
	c.settled(a.GPID)
	if seq := c.propose(CommandAppoint, a, w, out); seq != 0 {
		c.changing[a.GPID] = seq
	}
}

// misfit tells whether a node has a replica that does not fit the history that a partition goes on with since a rupture.
// What is known of a closed replica is too little to say that it fits.
func (c *Core) misfit(m *member, g proto.GPID, p *Partition) bool {
	if p.Rupture == 0 || p.isMember(m.id) {
		return false
	}
	r, reported := m.reports[g]
	_, closed := m.closed[g]
	return closed && !reported || reported && r.Failure == "" && r.Ballot < p.Rupture && r.Committed > p.Kept
}

// clearAway has the nodes throw aside what does not fit, so that they learn the partition from nothing.
func (c *Core) clearAway(now Now, g proto.GPID, p *Partition, out *Effects) {
	if p.Rupture == 0 {
		return
	}
	for _, m := range c.members {
		if m.usable() && c.misfit(m, g, p) && now.Mono-m.cleared[g] >= clearAgain {
			if m.cleared == nil {
				m.cleared = make(map[proto.GPID]int64)
			}
			m.cleared[g] = now.Mono
			out.Send = append(out.Send, Send{Link: m.link, Kind: proto.PeerDiscard, Msg: &proto.Discard{GPID: g, Ballot: p.Ballot}})
		}
	}
}

// clearAgain is how soon a node is told again.
const clearAgain = 5e9

// reconcile cures a register that is older than what nodes know. It waits until all nodes that are registered have spoken,
// or had the time for it. The new member is one that has all that any of them knows to be committed.
func (c *Core) reconcile(now Now, g proto.GPID, p *Partition, out *Effects) {
	if now.Mono-c.leadingSince < 3*int64(c.opt.Grace) {
		for _, m := range c.members {
			if !m.usable() && c.st.Node(m.id).Address.IsValid() {
				return
			}
		}
	}
	var candidates []candidate
	for _, m := range c.members {
		if r, ok := m.reports[g]; ok && r.Failure == "" && m.usable() {
			candidates = append(candidates, candidate{m.id, r})
		}
	}
	best, highest := chooseReplica(candidates)
	switch {
	case highest <= p.Ballot:
		delete(c.ahead, g)
	case !best.IsZero():
		c.appoint(&Appoint{GPID: g, Ballot: p.Ballot, Next: highest + 1, Node: best, Rupture: true,
			Kept: c.byID[best].reports[g].Committed}, waiter{}, out)
	}
}

// candidate is a replica that could become the only member.
type candidate struct {
	node   proto.NodeID
	report proto.ReplicaReport
}

// chooseReplica picks from replicas of one partition the one to go on with. Every replica holds a prefix of the history;
// members have all that was acknowledged. So: of those that have prepared whatever any knows to be committed the one with
// the highest ballot, then a primary, then the one that prepared most.
func chooseReplica(list []candidate) (best proto.NodeID, highest proto.Ballot) {
	committed := proto.Decree(0)
	for i := range list {
		committed = max(committed, list[i].report.Committed)
		highest = max(highest, list[i].report.Ballot)
	}
	primary := func(r *proto.ReplicaReport) int {
		if r.Role == rolePrimary {
			return 1
		}
		return 0
	}
	var with *proto.ReplicaReport
	for i := range list {
		r := &list[i].report
		if r.Prepared < committed {
			continue
		}
		if with == nil || cmp.Or(cmp.Compare(r.Ballot, with.Ballot), cmp.Compare(primary(r), primary(with)),
			cmp.Compare(r.Prepared, with.Prepared)) > 0 {
			best, with = list[i].node, r
		}
	}
	return best, highest
}

// rolePrimary is consensus.Primary; its numbers are those of the node protocol.
const rolePrimary = 1

// appointByHand is an operator's word about a dead partition: a forced ASSIGN_PRIMARY.
func (c *Core) appointByHand(now Now, g proto.GPID, id proto.NodeID, w waiter, out *Effects) {
	answer := func(err proto.ErrCode) { c.answerResult(w, Result{Err: err}, out) }
	p, m := c.st.Partition(g), c.byID[id]
	switch {
	case c.effectiveLevel() <= proto.LevelFreezed:
		answer(proto.ErrStateFreezed)
	case m == nil || !m.usable() || !c.holds(now, m, g):
		answer(proto.ErrObjectNotFound)
	case c.deadReason(g, p) == "":
		answer(proto.ErrInvalidState) // somebody serves it, or is about to
	case c.changing[g] != 0:
		answer(proto.ErrBusy)
	default:
		next := p.Ballot
		for _, o := range c.members {
			next = max(next, o.reports[g].Ballot)
			if _, closed := o.closed[g]; closed && o.reports[g].Ballot == 0 {
				next = max(next, p.Ballot+unknownBallots)
			}
		}
		c.appoint(&Appoint{GPID: g, Ballot: p.Ballot, Next: next + 1, Node: id, Rupture: true, Kept: m.reports[g].Committed}, w, out)
	}
}

// unknownBallots is by how much a register is taken to lag behind a replica of which only the existence is known.
const unknownBallots = 1 << 20

// deadReason tells why a partition has nobody to serve it; empty when it has.
func (c *Core) deadReason(g proto.GPID, p *Partition) string {
	state := func(id proto.NodeID) string {
		m := c.byID[id]
		switch {
		case m == nil || !m.alive:
			return "not alive"
		case m.reports[g].Failure != "":
			return m.reports[g].Failure
		}
		return ""
	}
	switch {
	case p.fresh():
		if id := c.keeper(g); !id.IsZero() {
			return fmt.Sprintf("nobody is known to have had it, but %s has a replica", c.nameOf(id))
		}
		return ""
	case p.orphan():
		last := p.LastDrops[len(p.LastDrops)-1]
		why := state(last)
		if why == "" {
			why = "not known to have the replica"
		}
		return fmt.Sprintf("it has no member; the last one, %s, is %s", c.nameOf(last), why)
	}
	why := state(p.Primary)
	if why == "" {
		return ""
	}
	for _, n := range p.Secondaries {
		if state(n) == "" {
			return ""
		}
	}
	reason := fmt.Sprintf("primary %s: %s", c.nameOf(p.Primary), why)
	for _, n := range p.Secondaries {
		reason += fmt.Sprintf("; secondary %s: %s", c.nameOf(n), state(n))
	}
	return reason
}

// keeper returns a node with a closed replica of a partition that is believed to be new; zero if there is none.
func (c *Core) keeper(g proto.GPID) (id proto.NodeID) {
	for _, m := range c.members {
		if _, ok := m.closed[g]; ok {
			return m.id
		}
	}
	return id
}

// allSpoke tells whether every node has said what lies on its disks, or had the time for it.
func (c *Core) allSpoke(now Now) bool {
	if now.Mono-c.leadingSince >= 3*int64(c.opt.Grace) {
		return true
	}
	for _, m := range c.members {
		if c.st.Node(m.id).Address.IsValid() && (!m.usable() || m.statusAt == 0) {
			return false
		}
	}
	return true
}

func (c *Core) nameOf(id proto.NodeID) string {
	if n := c.st.Node(id); n != nil && n.Address.IsValid() {
		return n.Address.String()
	}
	return id.String()
}

// diagnose answers RPC_CM_DDD_DIAGNOSE: the dead partitions, and who could be appointed.
func (c *Core) diagnose(r *proto.DDDDiagnoseRequest) *proto.DDDDiagnoseResponse {
	resp := &proto.DDDDiagnoseResponse{Partitions: []proto.DDDPartitionInfo{}}
	if a := c.st.App(r.PID.App); r.PID.App != -1 && (a == nil || !a.available()) {
		resp.Err = proto.ErrAppNotExist
		return resp
	}
	for _, a := range c.st.apps {
		if !a.available() || r.PID.App != -1 && r.PID.App != a.Info.AppID {
			continue
		}
		for i := range a.Partitions {
			if r.PID.Part != -1 && r.PID.Part != int32(i) {
				continue
			}
			g, p := proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]
			reason := c.deadReason(g, p)
			if reason == "" {
				continue
			}
			info := proto.DDDPartitionInfo{Config: c.configuration(a, int32(i)), Reason: reason}
			who := append(slices.Clone(p.LastDrops), p.Secondaries...)
			if !p.Primary.IsZero() {
				who = append(who, p.Primary)
			}
			for _, n := range slices.Backward(who) {
				info.Dropped = append(info.Dropped, c.dddNode(g, n))
			}
			resp.Partitions = append(resp.Partitions, info)
		}
	}
	return resp
}

func (c *Core) dddNode(g proto.GPID, id proto.NodeID) proto.DDDNodeInfo {
	info := proto.DDDNodeInfo{Ballot: proto.InvalidBallot, LastCommittedDecree: -1, LastPreparedDecree: -1}
	info.Node, info.HPNode = c.address(id)
	m := c.byID[id]
	if m == nil {
		return info
	}
	info.IsAlive = m.alive
	if r, ok := m.reports[g]; ok {
		info.IsCollected = r.Failure == ""
		info.Ballot, info.LastCommittedDecree, info.LastPreparedDecree = r.Ballot, r.Committed, r.Prepared
	}
	return info
}
