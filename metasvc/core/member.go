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

	// load counts the partitions that this node serves or has been asked to serve, in all and per table.
	load
	perApp   map[int32]load
	assigns  int   // primaries asked for and not taken yet; at most maxAssignsPerNode
	learning int   // secondaries asked for and not added yet; maxAddsPerNode unless an operator wanted more
	shunned  int64 // until then it is the last choice, because it did not act on a proposal

	metas    []string // the meta group as it was told
	welcomed int64    // monotonic time of its Hello
	statusAt int64    // and of its last status; 0: none yet
	disks    []proto.DiskStatus
	loads    map[proto.GPID]proto.ReplicaLoad
	closed   map[proto.GPID]idle  // replicas on its disks that are not open
	cleared  map[proto.GPID]int64 // when it was told to throw aside what does not fit
}

// load is a number of partitions: those served as primary, and all.
type load struct{ primaries, replicas int }

func (m *member) usable() bool { return m.alive && m.link != 0 }

func compareIDs(a, b proto.NodeID) int { return slices.Compare(a[:], b[:]) }

func (c *Core) addMember(id proto.NodeID, now Now) *member {
	m := &member{
		id: id, alive: true, heard: now.Mono,
		apps: make(map[int32]int64), reports: make(map[proto.GPID]proto.ReplicaReport), perApp: make(map[int32]load),
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

// count books primaries and replicas of a table on a node.
func (c *Core) count(app int32, id proto.NodeID, primaries, replicas int) {
	m := c.byID[id]
	if m == nil {
		return
	}
	m.primaries += primaries
	m.replicas += replicas
	l := m.perApp[app]
	l.primaries += primaries
	l.replicas += replicas
	if m.perApp[app] = l; l == (load{}) {
		delete(m.perApp, app)
	}
}

// countAll books the members of a partition, or takes them off the books with sign -1.
func (c *Core) countAll(app int32, primary proto.NodeID, secondaries []proto.NodeID, sign int) {
	c.count(app, primary, sign, sign)
	for _, n := range secondaries {
		c.count(app, n, 0, sign)
	}
}

// setAlive notes that a node died or lives again, for the others to be told.
func (c *Core) setAlive(m *member, alive bool) {
	if m.alive != alive {
		m.alive = alive
		c.news = append(c.news, m.id)
	}
}

// hello takes a node in. A node whose description is new is registered first: what others are told of it must survive
// this leader.
func (c *Core) hello(now Now, e Hello, out *Effects) {
	if c.role == Leading && c.recovering() {
		c.remember(now, e.Msg)
	}
	if err := c.refusal(); err != proto.ErrOK {
		c.sendHelloErr(e.Link, e.Seq, err, out)
		return
	}
	resolveIP(e.Msg)
	n := nodeOf(e.Msg)
	old := c.st.Node(n.ID)
	if old != nil {
		n.Mode = old.Mode
	}
	if n.ID.IsZero() || !n.Address.IsValid() || len(n.Address.Host) > maxNameLen ||
		len(n.Transfer) > maxNameLen || len(n.Zone) > maxNameLen {
		c.sendHelloErr(e.Link, e.Seq, proto.ErrInvalidParameters, out)
		return
	}
	if old == nil || *old != n {
		c.propose(CommandRegisterNode, &RegisterNode{Node: n}, waiter{link: e.Link, seq: e.Seq, args: e.Msg}, out)
		return
	}
	c.welcome(now, e.Link, e.Seq, e.Msg, out)
	c.guard(now, looksPerEvent, out)
}

// resolveIP fills in the address that Apache clients need, when the node gave a numeric one only.
func resolveIP(m *proto.NodeHello) {
	if !m.IP.IsValid() {
		if ip, err := netip.ParseAddr(m.Address.Host); err == nil {
			m.IP = proto.NewRPCAddress(netip.AddrPortFrom(ip, m.Address.Port))
		}
	}
}

// nodeOf is what is stored of a node by its own word.
func nodeOf(m *proto.NodeHello) Node {
	n := Node{
		ID: m.Node, Address: m.Address, IP: m.IP, Incarnation: m.Incarnation, Shards: m.Shards, ShardPort: m.ShardPort,
		Zone: m.Zone,
	}
	if m.Transfer.IsValid() {
		n.Transfer = m.Transfer.String()
	}
	return n
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
	m.link, m.heard, m.shunned = link, now.Mono, 0
	c.setAlive(m, true)
	c.byLink[link] = m
	clear(m.apps)
	clear(m.reports)
	m.metas = c.opt.Metas
	m.welcomed, m.statusAt, m.disks, m.loads, m.closed, m.cleared = now.Mono, 0, nil, nil, nil, nil
	c.note(m, msg.Replicas)
	apps, parts := c.collect(m, -1)
	m.relevant, m.pushed = c.st.revision, now.Mono
	out.Send = append(out.Send, Send{Link: link, Kind: proto.PeerHelloAck, Seq: seq, Msg: &proto.NodeHelloAck{
		ClusterName: c.opt.ClusterName, Leader: c.opt.Self, Revision: c.st.revision, Apps: apps, Partitions: parts,
		Nodes: c.peers(), Settings: c.settingsOf(apps), Metas: c.opt.Metas,
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
		m.heard = now.Mono
		c.setAlive(m, true)
	}
	out.Send = append(out.Send, Send{Link: e.Link, Kind: proto.PeerBeaconAck, Seq: e.Seq, Msg: ack})
	if ack.Err != proto.ErrOK {
		return
	}
	if e.Msg.Revision < m.relevant && now.Mono-m.pushed >= int64(resendAfter) {
		apps, parts := c.collect(m, e.Msg.Revision)
		c.sendAssign(now, m, apps, parts, c.peers(), out)
	}
}

func (c *Core) report(e Report) {
	m := c.byLink[e.Link]
	if m == nil || m.id != e.Msg.Node {
		return
	}
	c.note(m, e.Msg.Replicas)
}

// note keeps what the node says of its replicas, as far as there can be partitions.
func (c *Core) note(m *member, replicas []proto.ReplicaReport) {
	for _, r := range replicas {
		if _, known := m.reports[r.GPID]; !known && len(m.reports) >= maxPartitions {
			continue
		}
		m.reports[r.GPID] = r
		p := c.st.Partition(r.GPID)
		if p == nil {
			continue
		}
		if r.Ballot > p.Ballot && r.Failure == "" && c.st.App(r.GPID.App).available() {
			c.ahead[r.GPID] = true
		}
		if r.Failure != "" && p.isMember(m.id) || c.ahead[r.GPID] || p.orphan() {
			c.watch(r.GPID)
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
	c.guard(now, looksPerEvent, out)
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
	case !e.Msg.From.IsZero() && e.Msg.From != m.id: // nobody speaks for another node
		c.answerErr(w, proto.ErrInvalidParameters, out)
	case c.effectiveLevel() <= proto.LevelFreezed:
		c.answerErr(w, proto.ErrStateFreezed, out)
	default:
		e.Msg.From = m.id
		res, done := c.st.checkUpdate(e.Msg)
		switch g := e.Msg.Config.GPID; {
		case done:
			c.answerResult(w, res, out)
		case c.changing[g] != 0:
			c.answerErr(w, proto.ErrBusy, out)
		default:
			if seq := c.propose(CommandReconfigure, &Reconfigure{Update: *e.Msg}, w, out); seq != 0 {
				c.changing[g] = seq
			}
		}
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
			c.sendAssign(now, m, apps, parts, nil, out)
		}
	}
}

// spread tells every connected node of the nodes that changed.
func (c *Core) spread(now Now, out *Effects) {
	if len(c.news) == 0 {
		return
	}
	slices.SortFunc(c.news, compareIDs)
	var nodes []proto.PeerNode
	for _, id := range slices.Compact(c.news) {
		nodes = append(nodes, c.peer(id))
	}
	c.news = c.news[:0]
	for _, m := range c.members {
		if m.link != 0 {
			c.sendAssign(now, m, nil, nil, nodes, out)
		}
	}
}

// peer describes a node to the others. One that is forgotten has no address.
func (c *Core) peer(id proto.NodeID) proto.PeerNode {
	n := c.st.Node(id)
	if n == nil {
		return proto.PeerNode{Node: id}
	}
	p := proto.PeerNode{Node: id, Address: n.Address, Shards: n.Shards, ShardPort: n.ShardPort, Alive: c.byID[id].alive}
	p.Transfer, _ = proto.ParseHostPort(n.Transfer)
	return p
}

func (c *Core) peers() []proto.PeerNode {
	out := make([]proto.PeerNode, 0, len(c.members))
	for _, m := range c.members {
		out = append(out, c.peer(m.id))
	}
	return out
}

func (c *Core) settingsOf(apps []proto.AppInfo) []proto.TableSettings {
	var out []proto.TableSettings
	for i := range apps {
		out = append(out, c.settings(c.st.App(apps[i].AppID)))
	}
	return out
}

func (c *Core) sendAssign(now Now, m *member, apps []proto.AppInfo, parts []proto.PartitionConfig, nodes []proto.PeerNode,
	out *Effects) {
	for i := range apps {
		m.apps[apps[i].AppID] = c.st.revision
	}
	m.relevant, m.pushed = c.st.revision, now.Mono
	out.Send = append(out.Send, Send{Link: m.link, Kind: proto.PeerAssign, Msg: &proto.Assignments{
		Revision: c.st.revision, Apps: apps, Partitions: parts, Nodes: nodes, Settings: c.settingsOf(apps),
		Metas: m.unsaid(c.opt.Metas),
	}})
}

// unsaid returns the members of the meta group if the node has not been told of just these, and notes that it has now.
func (m *member) unsaid(metas []string) []string {
	if slices.Equal(m.metas, metas) {
		return nil
	}
	m.metas = metas
	return metas
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
