package pacsim

import (
	"maps"
	"slices"

	"pegasus/consensus"
	"pegasus/metasvc/core"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// conn is a connection of a node to a meta. It keeps order and loses nothing: what the network would lose breaks it, and both
// ends hear of that some time later.
type conn struct {
	link     uint64
	n        *node
	life     int
	m        *meta
	metaLife int
	open     bool
}

func sortedLinks(conns map[uint64]*conn) []uint64 { return slices.Sorted(maps.Keys(conns)) }

// broken ends the connection.
func (c *conn) broken() {
	if !c.open {
		return
	}
	c.open = false
	s := c.n.s
	s.q.after(s.rng.Int64N(2*second), func() {
		if c.m.up && c.m.life == c.metaLife {
			delete(c.m.conns, c.link)
			c.m.step(core.LinkClosed{Link: c.link})
		}
	})
	life := c.life
	s.q.after(s.rng.Int64N(2*second), func() { c.n.run(life, func() { c.n.link.closed(c) }) })
}

// toMeta carries a frame of the node.
func (c *conn) toMeta(kind proto.PeerKind, seq uint64, body []byte) {
	s := c.n.s
	if !c.open {
		return
	}
	if !s.net.reliable(c.n.id, c.m.endpoint(), func() {
		if c.open && c.m.up && c.m.life == c.metaLife {
			c.m.receive(c, kind, seq, body)
		}
	}) {
		c.broken()
	}
}

// toNode carries a frame of the meta.
func (c *conn) toNode(kind proto.PeerKind, seq uint64, body []byte) {
	s := c.n.s
	if !c.open {
		return
	}
	if !s.net.reliable(c.m.endpoint(), c.n.id, func() {
		c.n.run(c.life, func() {
			if c.open && c.n.link.c == c {
				c.n.link.receive(kind, body)
			}
		})
	}) {
		c.broken()
	}
}

func (m *meta) receive(c *conn, kind proto.PeerKind, seq uint64, body []byte) {
	decode := func(into any) {
		if err := proto.Unmarshal(body, into); err != nil {
			invariant.Assertf(false, "frame of kind %d: %v", kind, err)
		}
	}
	switch kind {
	case proto.PeerHello:
		msg := new(proto.NodeHello)
		decode(msg)
		m.step(core.Hello{Link: c.link, Seq: seq, Msg: msg})
	case proto.PeerBeacon:
		msg := new(proto.NodeBeacon)
		decode(msg)
		m.step(core.Beacon{Link: c.link, Seq: seq, Msg: msg})
	case proto.PeerReport:
		msg := new(proto.NodeReport)
		decode(msg)
		m.step(core.Report{Link: c.link, Msg: msg})
	case proto.PeerUpdateConfig:
		msg := new(proto.UpdateConfig)
		decode(msg)
		m.step(core.Update{Link: c.link, Seq: seq, Msg: msg})
	}
}

// metaLink is the node's side of its one connection to the meta group, as the shard's is: to the leader if it is known, else to
// one meta after the other.
type metaLink struct {
	n        *node
	c        *conn
	up       bool // Hello was accepted
	next     int
	leader   int // named by a meta that is not it; -1: none
	revision int64
	lastAck  int64 // own clock
	beatAt   int64
	seq      uint64
}

func (l *metaLink) connect() {
	s := l.n.s
	to := l.leader
	if to < 0 {
		l.next = (l.next + 1) % len(s.metas.metas)
		to = l.next
	}
	l.leader = -1
	m := s.metas.metas[to]
	ok := m.up && s.net.reliable(l.n.id, m.endpoint(), func() {})
	if !ok {
		l.retry()
		return
	}
	s.links++
	c := &conn{link: s.links, n: l.n, life: l.n.life, m: m, metaLife: m.life, open: true}
	m.conns[c.link] = c
	l.c, l.up, l.lastAck = c, false, l.n.clock()
	hello := &proto.NodeHello{
		Node: l.n.name, Address: nodeAddress(l.n.id), Shards: 1, ShardPort: 34900, Incarnation: int64(l.n.life),
		Transfer: nodeAddress(l.n.id), Replicas: []proto.ReplicaReport{},
	}
	for _, r := range l.n.parts {
		if r != nil {
			hello.Replicas = append(hello.Replicas, r.report())
		}
	}
	l.send(proto.PeerHello, hello)
}

func nodeAddress(id int) proto.HostPort { return proto.NewHostPort("127.0.2.1", uint16(34801+id)) }

func (l *metaLink) retry() { l.n.after(metaPause, l.connect) }

func (l *metaLink) send(kind proto.PeerKind, body any) {
	if l.c != nil {
		l.seq++
		l.c.toMeta(kind, l.seq, proto.Marshal(nil, body))
	}
}

// closed is told that a connection has ended.
func (l *metaLink) closed(c *conn) {
	if l.c == c {
		l.c, l.up = nil, false
		l.retry()
	}
}

// drop ends the connection when the process dies.
func (l *metaLink) drop() {
	if l.c != nil {
		l.c.broken()
		l.c = nil
	}
}

// hangUp ends the connection because of what the other side says, or does not say.
func (l *metaLink) hangUp() {
	c := l.c
	l.c, l.up = nil, false
	c.broken()
	l.retry()
}

func (l *metaLink) tick() {
	now := l.n.clock()
	switch {
	case l.c == nil:
	case now-l.lastAck > metaSilent:
		l.hangUp()
	case l.up && now >= l.beatAt:
		l.beatAt = now + metaBeacon
		l.send(proto.PeerBeacon, &proto.NodeBeacon{Node: l.n.name, Incarnation: int64(l.n.life), SentAt: now, Revision: l.revision})
		for _, r := range l.n.parts {
			if r != nil {
				l.report(r)
			}
		}
	}
}

func (l *metaLink) refused(leader proto.HostPort) {
	if leader.IsValid() {
		l.leader = int(leader.Port - metaAddress(0).Port)
	}
	l.hangUp()
}

func (l *metaLink) receive(kind proto.PeerKind, body []byte) {
	decode := func(into any) {
		if err := proto.Unmarshal(body, into); err != nil {
			invariant.Assertf(false, "frame of kind %d: %v", kind, err)
		}
	}
	switch kind {
	case proto.PeerHelloAck:
		var ack proto.NodeHelloAck
		decode(&ack)
		if ack.Err != proto.ErrOK {
			l.refused(ack.Leader)
			return
		}
		l.up, l.revision, l.lastAck = true, ack.Revision, l.n.clock()
		l.assign(ack.Partitions)
	case proto.PeerBeaconAck:
		var ack proto.NodeBeaconAck
		decode(&ack)
		if ack.Err != proto.ErrOK {
			l.refused(ack.Leader)
			return
		}
		l.lastAck = l.n.clock()
	case proto.PeerAssign:
		var a proto.Assignments
		decode(&a)
		l.revision = max(l.revision, a.Revision)
		l.assign(a.Partitions)
	case proto.PeerProposal:
		var p proto.Proposal
		decode(&p)
		l.propose(&p)
	case proto.PeerUpdateConfigAck:
		var ack proto.UpdateConfigAck
		decode(&ack)
		l.answered(&ack)
	}
}

func fromRegister(c *proto.PartitionConfig) consensus.Config {
	return consensus.Config{Ballot: c.Ballot, Primary: c.Primary, Secondaries: c.Secondaries}
}

// assign takes configurations. A member without a replica waits until its primary talks to it, and says then that it has nothing.
func (l *metaLink) assign(parts []proto.PartitionConfig) {
	for i := range parts {
		c := &parts[i]
		if !l.n.up {
			return // died between two effects
		}
		if r := l.n.parts[c.GPID.Part]; r != nil && c.Ballot > 0 {
			r.configure(fromRegister(c))
		}
	}
}

func (l *metaLink) propose(p *proto.Proposal) {
	part := int(p.Config.GPID.Part)
	r, n := l.n.parts[part], l.n
	n.s.notePart(part, n, "is proposed a change of type %d about %d", int64(p.Type), int64(n.s.slot(p.Node)))
	switch p.Type {
	case proto.CTAssignPrimary:
		if r == nil {
			r = n.create(part)
		}
		next := p.Config
		next.Ballot++
		next.Primary = n.name
		l.update(proto.UpdateConfig{Config: next, Type: p.Type, Node: n.name, From: n.name})
	case proto.CTAddSecondary:
		if r != nil {
			r.step(&consensus.Event{Kind: consensus.EventAddLearner, Node: p.Node})
		}
	case proto.CTRemove, proto.CTDowngradeToInactive:
		if r != nil {
			r.step(&consensus.Event{Kind: consensus.EventRemove, Node: p.Node})
		}
	case proto.CTUpgradeToPrimary:
		// A proposal to take over changes nothing: a secondary does so by itself once its grace is over, and not before.
		if r != nil && p.Node != n.name {
			r.step(&consensus.Event{Kind: consensus.EventHandOver, Node: p.Node})
		}
	}
}

func (l *metaLink) update(u proto.UpdateConfig) {
	if l.up {
		l.send(proto.PeerUpdateConfig, &u)
	}
}

func (l *metaLink) answered(ack *proto.UpdateConfigAck) {
	part := int(ack.Config.GPID.Part)
	l.n.s.notePart(part, l.n, "hears from meta: error %d, ballot %d", int64(ack.Err), int64(ack.Config.Ballot))
	switch r := l.n.parts[part]; {
	case ack.Err == proto.ErrOK || ack.Err == proto.ErrInvalidVersion:
		l.assign([]proto.PartitionConfig{ack.Config})
	case r != nil:
		r.step(&consensus.Event{Kind: consensus.EventAskRefused})
	}
}

func (l *metaLink) report(r *replica) {
	if l.up {
		l.send(proto.PeerReport, &proto.NodeReport{Node: l.n.name, Replicas: []proto.ReplicaReport{r.report()}})
	}
}

func (r *replica) report() proto.ReplicaReport {
	st := r.machine.State()
	rep := proto.ReplicaReport{
		GPID: gpid(r.part), Ballot: st.Config.Ballot, Role: int32(st.Role), Prepared: st.Prepared, Committed: st.Committed, Durable: st.Durable,
	}
	if r.failed {
		rep.Failure = "log failed"
	}
	return rep
}
