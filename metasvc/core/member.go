package core

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"pegasus/netcore/proto"
)

// member is what the leader knows of a registered node beyond the register.
type member struct {
	id    proto.NodeID
	link  uint64 // connection on which it said Hello; 0: none
	alive bool   // heard of within the grace
	heard int64  // monotonic time of the last sign of life
	// relevant is the newest revision pushed over link; pushed is when that was.
	relevant int64
	pushed   int64
	// apps holds, per table, the revision of the description that was sent over link.
	apps    map[int32]int64
	reports map[proto.GPID]proto.ReplicaReport

	// primaries counts the partitions whose primary this node is or has been asked to become, in all and per table.
	primaries int
	perApp    map[int32]int
	assigns   int   // of these, asked and not answered; at most maxAssignsPerNode
	shunned   int64 // until then it is the last choice, because it did not act on a proposal
}

func (m *member) usable() bool { return m.alive && m.link != 0 }

func compareIDs(a, b proto.NodeID) int { return slices.Compare(a[:], b[:]) }

func (c *Core) addMember(id proto.NodeID, now Now) *member {
	m := &member{
		id: id, alive: true, heard: now.Mono,
		apps: make(map[int32]int64), reports: make(map[proto.GPID]proto.ReplicaReport), perApp: make(map[int32]int),
	}
	i, _ := slices.BinarySearchFunc(c.members, id, func(m *member, id proto.NodeID) int { return compareIDs(m.id, id) })
	c.members = slices.Insert(c.members, i, m)
	c.byID[id] = m
	return m
}

func (c *Core) removeMember(m *member) {
	c.abandon(m)
	delete(c.byID, m.id)
	delete(c.byLink, m.link)
	c.members = slices.DeleteFunc(c.members, func(x *member) bool { return x == m })
}

// count books delta primaries of a table on a node.
func (c *Core) count(app int32, id proto.NodeID, delta int) {
	if m := c.byID[id]; m != nil {
		m.primaries += delta
		if m.perApp[app] += delta; m.perApp[app] == 0 {
			delete(m.perApp, app)
		}
	}
}

// hello takes a node in. A node whose description is new is registered first: what others are told of it must survive
// this leader.
func (c *Core) hello(now Now, e Hello, out *Effects) {
	if err := c.refusal(); err != proto.ErrOK {
		c.sendHelloErr(e.Link, e.Seq, err, out)
		return
	}
	if !e.Msg.IP.IsValid() {
		if ip, err := netip.ParseAddr(e.Msg.Address.Host); err == nil {
			e.Msg.IP = proto.NewRPCAddress(netip.AddrPortFrom(ip, e.Msg.Address.Port))
		}
	}
	n := Node{
		ID: e.Msg.Node, Address: e.Msg.Address, IP: e.Msg.IP, Incarnation: e.Msg.Incarnation,
		Shards: e.Msg.Shards, ShardPort: e.Msg.ShardPort,
	}
	if n.ID.IsZero() || !n.Address.IsValid() || len(n.Address.Host) > maxNameLen {
		c.sendHelloErr(e.Link, e.Seq, proto.ErrInvalidParameters, out)
		return
	}
	if old := c.st.Node(n.ID); old == nil || *old != n {
		c.propose(CommandRegisterNode, &RegisterNode{Node: n}, waiter{link: e.Link, seq: e.Seq, args: e.Msg}, out)
		return
	}
	c.welcome(now, e.Link, e.Seq, e.Msg, out)
	c.guard(now, out)
}

func (c *Core) sendHelloErr(link, seq uint64, err proto.ErrCode, out *Effects) {
	ack := &proto.NodeHelloAck{Err: err, ClusterName: c.opt.ClusterName}
	if err == proto.ErrForwardToOthers {
		ack.Leader = c.leader.Address
	}
	out.Send = append(out.Send, Send{Link: link, Kind: proto.PeerHelloAck, Seq: seq, Msg: ack})
}

// welcome starts a node's session: what was known of the former one no longer counts.
func (c *Core) welcome(now Now, link, seq uint64, msg *proto.NodeHello, out *Effects) {
	m := c.byID[msg.Node]
	if m == nil || c.st.Node(msg.Node).Incarnation != msg.Incarnation {
		// Another process registered under the id while this one's registration was on its way.
		c.sendHelloErr(link, seq, proto.ErrInvalidState, out)
		return
	}
	if other := c.byLink[link]; other != nil && other != m {
		other.link = 0
		c.abandon(other)
	}
	c.abandon(m)
	delete(c.byLink, m.link)
	m.link, m.alive, m.heard, m.shunned = link, true, now.Mono, 0
	c.byLink[link] = m
	clear(m.apps)
	clear(m.reports)
	m.note(msg.Replicas)
	apps, parts := c.collect(m, -1)
	m.relevant, m.pushed = c.st.revision, now.Mono
	out.Send = append(out.Send, Send{Link: link, Kind: proto.PeerHelloAck, Seq: seq, Msg: &proto.NodeHelloAck{
		ClusterName: c.opt.ClusterName, Leader: c.opt.Self, Revision: c.st.revision, Apps: apps, Partitions: parts,
	}})
}

func (c *Core) beacon(now Now, e Beacon, out *Effects) {
	ack := &proto.NodeBeaconAck{Err: c.refusal(), SentAt: e.Msg.SentAt, Revision: c.st.revision}
	m := c.byLink[e.Link]
	switch {
	case ack.Err == proto.ErrForwardToOthers:
		ack.Leader = c.leader.Address
	case ack.Err != proto.ErrOK:
	case m == nil || m.id != e.Msg.Node || c.st.Node(m.id).Incarnation != e.Msg.Incarnation:
		ack.Err = proto.ErrObjectNotFound // say Hello
	default:
		m.alive, m.heard = true, now.Mono
	}
	out.Send = append(out.Send, Send{Link: e.Link, Kind: proto.PeerBeaconAck, Seq: e.Seq, Msg: ack})
	if ack.Err != proto.ErrOK {
		return
	}
	if e.Msg.Revision < m.relevant && now.Mono-m.pushed >= int64(resendAfter) {
		apps, parts := c.collect(m, e.Msg.Revision)
		c.sendAssign(now, m, apps, parts, out)
	}
}

func (c *Core) report(e Report) {
	m := c.byLink[e.Link]
	if m == nil || m.id != e.Msg.Node {
		return
	}
	m.note(e.Msg.Replicas)
}

// note keeps what the node says of its replicas, as far as there can be partitions.
func (m *member) note(replicas []proto.ReplicaReport) {
	for _, r := range replicas {
		if _, known := m.reports[r.GPID]; known || len(m.reports) < maxPartitions {
			m.reports[r.GPID] = r
		}
	}
}

// linkClosed forgets a connection and whoever waits on it. The node counts as alive until its grace is over: it may come
// back at once.
func (c *Core) linkClosed(now Now, link uint64, out *Effects) {
	maps.DeleteFunc(c.waiting, func(_ uint64, w waiter) bool { return w.link == link })
	m := c.byLink[link]
	if m == nil {
		return
	}
	delete(c.byLink, link)
	m.link = 0
	c.abandon(m)
	c.guard(now, out)
}

// update passes a change of configuration to the register.
func (c *Core) update(e Update, out *Effects) {
	w := waiter{link: e.Link, seq: e.Seq, args: e.Msg}
	if err := c.refusal(); err != proto.ErrOK {
		c.answerErr(w, err, out)
		return
	}
	m := c.byLink[e.Link]
	switch {
	case m == nil:
		c.answerErr(w, proto.ErrObjectNotFound, out)
	case e.Msg.Node != m.id: // with one member per group a node only speaks for itself
		c.answerErr(w, proto.ErrInvalidParameters, out)
	case c.effectiveLevel() <= proto.LevelFreezed:
		c.answerErr(w, proto.ErrStateFreezed, out)
	default:
		if res, done := c.st.checkUpdate(e.Msg); done {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandUpdateConfig, &UpdateConfig{Update: *e.Msg}, w, out)
	}
}

// push sends what c.delta changed to the connected nodes that it concerns.
func (c *Core) push(now Now, out *Effects) {
	if len(c.delta.Apps) == 0 && len(c.delta.Parts) == 0 {
		return
	}
	for _, m := range c.members {
		if m.link == 0 {
			continue
		}
		var parts []proto.PartitionConfig
		want := make(map[int32]bool)
		for _, ch := range c.delta.Parts {
			if c.concerns(m, ch.GPID, c.st.Partition(ch.GPID)) {
				a := c.st.App(ch.GPID.App)
				parts = append(parts, a.Config(ch.GPID.Part))
				want[ch.GPID.App] = m.apps[ch.GPID.App] < a.Revision
			}
		}
		for _, id := range c.delta.Apps {
			if a := c.st.App(id); a != nil && c.appConcerns(m, a) {
				want[id] = true
			}
		}
		var apps []proto.AppInfo
		for _, id := range sortedKeys(want) {
			if want[id] {
				apps = append(apps, c.st.App(id).Info)
			}
		}
		if len(parts) > 0 || len(apps) > 0 {
			c.sendAssign(now, m, apps, parts, out)
		}
	}
}

func (c *Core) sendAssign(now Now, m *member, apps []proto.AppInfo, parts []proto.PartitionConfig, out *Effects) {
	for i := range apps {
		m.apps[apps[i].AppID] = c.st.revision
	}
	m.relevant, m.pushed = c.st.revision, now.Mono
	out.Send = append(out.Send, Send{Link: m.link, Kind: proto.PeerAssign, Msg: &proto.Assignments{
		Revision: c.st.revision, Apps: apps, Partitions: parts,
	}})
}

// collect lists what concerns the node and changed after a revision; with -1 everything that concerns it. A table is
// always listed with its partitions.
func (c *Core) collect(m *member, after int64) (apps []proto.AppInfo, parts []proto.PartitionConfig) {
	for _, a := range c.st.apps {
		first := len(parts)
		touched := false
		for i := range a.Partitions {
			g := proto.GPID{App: a.Info.AppID, Part: int32(i)}
			if !c.concerns(m, g, &a.Partitions[i]) {
				continue
			}
			touched = true
			if a.Partitions[i].Revision > after {
				parts = append(parts, a.Config(int32(i)))
			}
		}
		if touched && (a.Revision > after || len(parts) > first) {
			apps = append(apps, a.Info)
			m.apps[a.Info.AppID] = a.Revision
		}
	}
	return apps, parts
}

// concerns tells whether a node must hear of a partition: it is or was a member, or it holds a replica.
func (c *Core) concerns(m *member, g proto.GPID, p *Partition) bool {
	if p.concerns(m.id) {
		return true
	}
	_, holds := m.reports[g]
	return holds
}

func (c *Core) appConcerns(m *member, a *App) bool {
	for i := range a.Partitions {
		if c.concerns(m, proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]) {
			return true
		}
	}
	return false
}

// listed returns the members that have an address, in the order of the addresses.
func (c *Core) listed() []*member {
	out := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return !c.st.Node(m.id).Address.IsValid() })
	slices.SortStableFunc(out, func(a, b *member) int {
		x, y := c.st.Node(a.id), c.st.Node(b.id)
		return cmp.Or(cmp.Compare(x.IP, y.IP), cmp.Compare(x.Address.Host, y.Address.Host),
			cmp.Compare(x.Address.Port, y.Address.Port))
	})
	return out
}
