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
	case c.Ballot == p.Ballot && c.Primary == p.Primary && slices.Equal(c.Secondaries, p.Secondaries):
		return res, true // a repetition: the answer to the first one was lost
	case c.Ballot != p.Ballot+1:
		res.Err = proto.ErrInvalidVersion
	case !a.available():
		res.Err = proto.ErrAppDropped
	case s.nodes[u.Node] == nil || !follows(p, u):
		res.Err = proto.ErrInvalidParameters
	default:
		return Result{}, false
	}
	return res, true
}

// follows tells whether the update does to the configuration what its type says, and nothing else. Groups have one
// member: it is appointed, and it may renew its ballot.
func follows(p *Partition, u *proto.UpdateConfig) bool {
	if len(p.Secondaries) != 0 || len(u.Config.Secondaries) != 0 || u.Config.Primary != u.Node {
		return false
	}
	switch u.Type {
	case proto.CTAssignPrimary:
		return p.Primary.IsZero()
	case proto.CTPrimaryForceUpdateBallot:
		return p.Primary == u.Node
	}
	return false
}

func (s *State) updateConfig(u *proto.UpdateConfig, d *Delta) Result {
	if res, done := s.checkUpdate(u); done {
		return res
	}
	g := u.Config.GPID
	a, p := s.App(g.App), s.Partition(g)
	d.Parts = append(d.Parts, PartitionChange{g, p.Primary})
	s.revision++
	p.Ballot, p.Primary = u.Config.Ballot, u.Config.Primary
	p.Revision = s.revision
	return Result{Config: a.Config(g.Part)}
}
