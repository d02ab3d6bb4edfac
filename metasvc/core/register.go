package core

import (
	"slices"

	"pegasus/netcore/proto"
)

// checkUpdate answers an update of a configuration that changes nothing: one that stands already, or one that must be
// refused. done is false when it is to be applied.
//
// The register is compare-and-swap on the ballot: an update is accepted only when it follows the configuration that
// stands, whoever asks. That alone keeps two primaries from being appointed; meta needs no locks and no leases for it.
func (s *State) checkUpdate(u *proto.UpdateConfig) (res Result, done bool) {
	c := &u.Config
	a, p := s.App(c.GPID.App), s.Partition(c.GPID)
	if p == nil {
		return Result{Err: proto.ErrObjectNotFound, Config: proto.PartitionConfig{GPID: c.GPID, Ballot: proto.InvalidBallot}}, true
	}
	res.Config = a.Config(c.GPID.Part)
	switch {
	case c.Ballot == p.Ballot && c.Primary == p.Primary && sameNodes(c.Secondaries, p.Secondaries):
		return res, true // a repetition: the answer to the first one was lost
	case c.Ballot != p.Ballot+1:
		res.Err = proto.ErrInvalidVersion
	case !a.available():
		res.Err = proto.ErrAppDropped
	default:
		if _, err := s.next(a, p, u); err != proto.ErrOK {
			res.Err = err
			break
		}
		return Result{}, false
	}
	return res, true
}

// change is what an update does to the members of a partition.
type change struct {
	primary     proto.NodeID
	secondaries []proto.NodeID
	dropped     proto.NodeID // the member that is one no more
}

// next computes the members after an update from those before it and what is asked, never from the members that the
// asker names: the register is right, and an asker that is wrong about it has the wrong ballot too or lies.
func (s *State) next(a *App, p *Partition, u *proto.UpdateConfig) (change, proto.ErrCode) {
	from, node := u.From, u.Node
	if from.IsZero() {
		from = node
	}
	self, byPrimary := from == node, from == p.Primary && !from.IsZero()
	at := slices.Index(p.Secondaries, node)
	to := change{primary: p.Primary, secondaries: slices.Clone(p.Secondaries)}
	n := s.nodes[node]
	switch {
	case n == nil:
	case u.Type == proto.CTAssignPrimary && self && p.Primary.IsZero():
		to.primary = node
		return to, proto.ErrOK
	case u.Type == proto.CTPrimaryForceUpdateBallot && self && byPrimary:
		return to, proto.ErrOK
	case (u.Type == proto.CTAddSecondary || u.Type == proto.CTUpgradeToSecondary) && byPrimary && !self && at < 0 &&
		n.Address.IsValid():
		if !p.mayGrow(a) {
			return to, proto.ErrInvalidParameters
		}
		to.secondaries = append(to.secondaries, node)
		return to, proto.ErrOK
	case (u.Type == proto.CTRemove || u.Type == proto.CTDowngradeToInactive) && byPrimary && at >= 0:
		to.secondaries = slices.Delete(to.secondaries, at, at+1)
		to.dropped = node
		return to, proto.ErrOK
	case u.Type == proto.CTUpgradeToPrimary && byPrimary && at >= 0:
		to.primary, to.secondaries[at] = node, p.Primary
		return to, proto.ErrOK
	case u.Type == proto.CTUpgradeToPrimary && self && at >= 0:
		to.primary, to.dropped = node, p.Primary
		to.secondaries = slices.Delete(to.secondaries, at, at+1)
		return to, proto.ErrOK
	}
	return to, proto.ErrInvalidParameters
}

func (s *State) updateConfig(u *proto.UpdateConfig, d *Delta) Result {
	if res, done := s.checkUpdate(u); done {
		return res
	}
	g := u.Config.GPID
	a, p := s.App(g.App), s.Partition(g)
	to, _ := s.next(a, p, u)
	d.Parts = append(d.Parts, PartitionChange{g, p.Primary, p.Secondaries})
	s.revision++
	p.Ballot, p.Primary, p.Secondaries = u.Config.Ballot, to.primary, to.secondaries
	if len(p.Secondaries) == 0 {
		p.Secondaries = nil
	}
	p.LastDrops = slices.DeleteFunc(p.LastDrops, p.isMember)
	if !to.dropped.IsZero() {
		p.dropMember(to.dropped)
	}
	p.Revision = s.revision
	return Result{Config: a.Config(g.Part)}
}

// mayGrow tells whether the partition may have another member. One more than the table wants is allowed: a replica that
// moves exists twice for a moment.
func (p *Partition) mayGrow(a *App) bool { return p.members() <= int(a.Info.MaxReplicaCount) }

// sameNodes compares two lists without repetitions, in any order.
func sameNodes(a, b []proto.NodeID) bool {
	if len(a) != len(b) {
		return false
	}
	for _, n := range a {
		if !slices.Contains(b, n) {
			return false
		}
	}
	return true
}
