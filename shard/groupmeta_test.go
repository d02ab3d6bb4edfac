package shard

import (
	"maps"
	"slices"

	"pegasus/netcore/proto"
)

// As meta of groups the fake one keeps a list of nodes, computes configurations from intents as the real register does, and
// makes the proposals that bring a table to its number of members. It judges nobody dead: that is for the members.

// groupMeta is what a fakeMeta has when it serves groups.
type groupMeta struct {
	nodes    map[proto.NodeID]proto.PeerNode
	sessions map[proto.NodeID]*metaSession
	away     map[proto.NodeID]bool // stopped by the test: not to be proposed
	frozen   bool                  // propose nothing
	asks     map[proto.ConfigType]int
	settings map[int32]proto.TableSettings
}

func newGroupMeta() *groupMeta {
	return &groupMeta{
		nodes: map[proto.NodeID]proto.PeerNode{}, sessions: map[proto.NodeID]*metaSession{}, away: map[proto.NodeID]bool{},
		asks: map[proto.ConfigType]int{}, settings: map[int32]proto.TableSettings{},
	}
}

// joined registers a node that said Hello.
func (m *fakeMeta) joined(s *metaSession, h *proto.NodeHello) {
	n := proto.PeerNode{Node: h.Node, Address: h.Address, Shards: h.Shards, ShardPort: h.ShardPort, Transfer: h.Transfer, Alive: true}
	m.group.nodes[h.Node], m.group.sessions[h.Node] = n, s
	for _, other := range m.conns {
		if other != s {
			other.send(proto.PeerAssign, &proto.Assignments{Revision: 1, Nodes: []proto.PeerNode{n}})
		}
	}
}

// reconfigure is the register: it computes the next configuration and tells everybody.
func (m *fakeMeta) reconfigure(u *proto.UpdateConfig) proto.UpdateConfigAck {
	m.group.asks[u.Type]++
	now := m.parts[u.Config.GPID]
	next := now
	next.Ballot++
	next.Secondaries = slices.Clone(now.Secondaries)
	from := u.From
	if from.IsZero() {
		from = u.Node
	}
	at := slices.Index(now.Secondaries, u.Node)
	switch {
	case u.Config.Ballot != next.Ballot:
		return proto.UpdateConfigAck{Err: proto.ErrInvalidVersion, Config: now}
	case u.Type == proto.CTAssignPrimary && now.Primary.IsZero():
		next.Primary = u.Node
	case u.Type == proto.CTPrimaryForceUpdateBallot && from == now.Primary:
	case u.Type == proto.CTUpgradeToSecondary && from == now.Primary && at < 0:
		next.Secondaries = append(next.Secondaries, u.Node)
	case u.Type == proto.CTRemove && from == now.Primary && at >= 0:
		next.Secondaries = slices.Delete(next.Secondaries, at, at+1)
	case u.Type == proto.CTUpgradeToPrimary && from == now.Primary && at >= 0:
		next.Primary, next.Secondaries[at] = u.Node, now.Primary
	case u.Type == proto.CTUpgradeToPrimary && from == u.Node && at >= 0:
		next.Primary, next.Secondaries = u.Node, slices.Delete(next.Secondaries, at, at+1)
	default:
		return proto.UpdateConfigAck{Err: proto.ErrInvalidParameters, Config: now}
	}
	m.parts[now.GPID] = next
	for _, s := range m.conns {
		s.send(proto.PeerAssign, &proto.Assignments{Revision: 1, Partitions: []proto.PartitionConfig{next}})
	}
	return proto.UpdateConfigAck{Config: next}
}

// guard proposes what is missing. It is called with every beacon, so it need not remember.
func (m *fakeMeta) guard() {
	if m.group.frozen {
		return
	}
	for g, c := range m.parts {
		app := m.apps[g.App]
		if app.Status != proto.AppAvailable {
			continue
		}
		propose := func(to proto.NodeID, what proto.ConfigType, node proto.NodeID) {
			if s := m.group.sessions[to]; s != nil {
				s.send(proto.PeerProposal, &proto.Proposal{App: app, Config: c, Type: what, Node: node, Settings: m.group.settings[g.App]})
			}
		}
		here := slices.SortedFunc(maps.Keys(m.group.nodes), func(a, b proto.NodeID) int { return slices.Compare(a[:], b[:]) })
		here = slices.DeleteFunc(here, func(n proto.NodeID) bool { return m.group.away[n] })
		switch {
		case len(here) == 0:
		case c.Primary.IsZero():
			n := here[int(g.Part)%len(here)]
			propose(n, proto.CTAssignPrimary, n)
		case m.reports[g].Failure != "" && m.reporters[g] == c.Primary && len(c.Secondaries) > 0:
			propose(c.Primary, proto.CTUpgradeToPrimary, c.Secondaries[0])
		case 1+len(c.Secondaries) < int(app.MaxReplicaCount):
			if i := slices.IndexFunc(here, func(n proto.NodeID) bool { return !holds(&c, n) }); i >= 0 {
				if s := m.group.sessions[here[i]]; s != nil { // a learner must know its table
					s.send(proto.PeerAssign, &proto.Assignments{Revision: 1, Apps: []proto.AppInfo{app}})
				}
				propose(c.Primary, proto.CTAddSecondary, here[i])
			}
		}
	}
}

// groupTable makes a table of groups; guard does the rest.
func (m *fakeMeta) groupTable(id, partitions, members int32) {
	m.with(func() {
		app := proto.AppInfo{
			Status: proto.AppAvailable, AppType: "pegasus", AppName: "t", AppID: id, PartitionCount: partitions, IsStateful: true,
			MaxReplicaCount: members,
		}
		m.apps[id] = app
		m.group.settings[id] = proto.TableSettings{AppID: id}
		for i := range partitions {
			g := proto.GPID{App: id, Part: i}
			m.parts[g] = proto.PartitionConfig{GPID: g}
		}
	})
	m.push(proto.PeerAssign, &proto.Assignments{Revision: 1, Apps: []proto.AppInfo{get(m, func() proto.AppInfo { return m.apps[id] })}})
}

func (m *fakeMeta) config(g proto.GPID) proto.PartitionConfig {
	return get(m, func() proto.PartitionConfig { return m.parts[g] })
}
