package shard

import (
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"pegasus/netcore/proto"
)

// fakeMeta is a meta server of one process's imagination: a register with compare-and-swap on ballots, spoken to in peer
// frames. Its fields may be changed under mu.
type fakeMeta struct {
	t       testing.TB
	ln      net.Listener
	done    sync.WaitGroup
	cluster string

	mu      sync.Mutex
	apps    map[int32]proto.AppInfo
	parts   map[proto.GPID]proto.PartitionConfig
	conns   map[net.Conn]*metaSession
	reports map[proto.GPID]proto.ReplicaReport // newest of each replica
	// reporters tell whose the newest report is.
	reporters map[proto.GPID]proto.NodeID
	statuses  map[proto.NodeID][]proto.NodeStatusReport
	group     *groupMeta // nil for tables of one replica on one node
	hellos    int
	beacons   int
	node      proto.NodeID
	hello     proto.NodeHello // the newest

	silent   bool           // read everything, answer nothing
	deaf     bool           // answer Hello, no beacons
	redirect proto.HostPort // answer Hello with ErrForwardToOthers and this leader
	holdAcks bool           // do not answer UpdateConfig
}

type metaSession struct {
	mu   sync.Mutex
	conn net.Conn
	seq  uint64
}

func newFakeMeta(t testing.TB) *fakeMeta {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &fakeMeta{
		t: t, ln: ln, cluster: "test", apps: map[int32]proto.AppInfo{}, parts: map[proto.GPID]proto.PartitionConfig{},
		conns: map[net.Conn]*metaSession{}, reports: map[proto.GPID]proto.ReplicaReport{}, reporters: map[proto.GPID]proto.NodeID{},
		statuses: map[proto.NodeID][]proto.NodeStatusReport{},
	}
	m.done.Add(1)
	go m.accept()
	t.Cleanup(m.close)
	return m
}

func (m *fakeMeta) addr() string { return m.ln.Addr().String() }

func (m *fakeMeta) close() {
	m.ln.Close()
	m.hangUp()
	m.done.Wait()
}

// hangUp ends every connection.
func (m *fakeMeta) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		c.Close()
	}
}

func (m *fakeMeta) accept() {
	defer m.done.Done()
	for {
		c, err := m.ln.Accept()
		if err != nil {
			return
		}
		s := &metaSession{conn: c}
		m.mu.Lock()
		m.conns[c] = s
		m.mu.Unlock()
		m.done.Add(1)
		go m.serve(s)
	}
}

func (m *fakeMeta) serve(s *metaSession) {
	defer func() {
		m.mu.Lock()
		delete(m.conns, s.conn)
		m.mu.Unlock()
		s.conn.Close()
		m.done.Done()
	}()
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		var f proto.PeerFrame
		n, _, err := proto.ParsePeer(in, 64<<20, &f)
		if err != nil {
			m.t.Errorf("fake meta: %v", err)
			return
		}
		if n > 0 {
			m.take(s, &f)
			in = in[n:]
			continue
		}
		got, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:got]...)
	}
}

func (s *metaSession) send(kind proto.PeerKind, body any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	buf, mark := proto.AppendPeerFrame(nil, kind, 0, s.seq)
	s.conn.Write(proto.FinishPeerFrame(proto.Marshal(buf, body), mark))
}

func (m *fakeMeta) take(s *metaSession, f *proto.PeerFrame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	unmarshal := func(v any) {
		if err := proto.Unmarshal(f.Body, v); err != nil {
			m.t.Errorf("fake meta: frame of kind %d: %v", f.Kind, err)
		}
	}
	switch f.Kind {
	case proto.PeerHello:
		var h proto.NodeHello
		unmarshal(&h)
		m.hellos++
		m.node, m.hello = h.Node, h
		for _, r := range h.Replicas {
			m.reports[r.GPID] = r
		}
		switch {
		case m.silent:
		case m.redirect.IsValid():
			s.send(proto.PeerHelloAck, &proto.NodeHelloAck{Err: proto.ErrForwardToOthers, Leader: m.redirect})
		default:
			ack := proto.NodeHelloAck{
				ClusterName: m.cluster, Revision: 1, Apps: slices.Collect(maps.Values(m.apps)),
				Partitions: slices.Collect(maps.Values(m.parts)),
			}
			if m.group != nil {
				m.joined(s, &h)
				ack.Nodes = slices.Collect(maps.Values(m.group.nodes))
				ack.Settings = slices.Collect(maps.Values(m.group.settings))
				ack.Partitions = slices.DeleteFunc(ack.Partitions, func(c proto.PartitionConfig) bool { return !holds(&c, h.Node) })
			}
			s.send(proto.PeerHelloAck, &ack)
		}
	case proto.PeerBeacon:
		var b proto.NodeBeacon
		unmarshal(&b)
		m.beacons++
		if !m.deaf && !m.silent {
			s.send(proto.PeerBeaconAck, &proto.NodeBeaconAck{SentAt: b.SentAt})
		}
		if m.group != nil {
			m.guard()
		}
	case proto.PeerUpdateConfig:
		var u proto.UpdateConfig
		unmarshal(&u)
		if m.holdAcks {
			return
		}
		if m.group != nil {
			ack := m.reconfigure(&u)
			s.send(proto.PeerUpdateConfigAck, &ack)
			return
		}
		ack := proto.UpdateConfigAck{Config: u.Config}
		if now := m.parts[u.Config.GPID]; now.Ballot+1 != u.Config.Ballot {
			ack = proto.UpdateConfigAck{Err: proto.ErrInvalidVersion, Config: now}
		} else {
			m.parts[u.Config.GPID] = u.Config
		}
		s.send(proto.PeerUpdateConfigAck, &ack)
	case proto.PeerReport:
		var r proto.NodeReport
		unmarshal(&r)
		for _, rep := range r.Replicas {
			m.reports[rep.GPID], m.reporters[rep.GPID] = rep, r.Node
		}
	case proto.PeerStatus:
		var r proto.NodeStatusReport
		unmarshal(&r)
		m.statuses[r.Node] = append(m.statuses[r.Node], r)
	default:
		m.t.Errorf("fake meta: frame of kind %d", f.Kind)
	}
}

// push sends to every connection.
func (m *fakeMeta) push(kind proto.PeerKind, body any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.conns {
		s.send(kind, body)
	}
}

func (m *fakeMeta) with(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

// get reads a value under the lock.
func get[T any](m *fakeMeta, fn func() T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn()
}

func (m *fakeMeta) report(g proto.GPID) proto.ReplicaReport {
	return get(m, func() proto.ReplicaReport { return m.reports[g] })
}

// table describes a table and proposes its partitions to the node.
func (m *fakeMeta) table(id int32, partitions int32, envs map[string]string) {
	app := proto.AppInfo{
		Status: proto.AppAvailable, AppType: "pegasus", AppName: "t", AppID: id, PartitionCount: partitions, Envs: envs,
		IsStateful: true, MaxReplicaCount: 1,
	}
	m.mu.Lock()
	m.apps[id] = app
	node := m.node
	for i := range partitions {
		g := proto.GPID{App: id, Part: i}
		m.parts[g] = proto.PartitionConfig{GPID: g}
	}
	m.mu.Unlock()
	for i := range partitions {
		m.push(proto.PeerProposal, &proto.Proposal{
			App: app, Config: proto.PartitionConfig{GPID: proto.GPID{App: id, Part: i}}, Type: proto.CTAssignPrimary, Node: node,
		})
	}
}

// setEnvs changes the environment of a table and tells the node.
func (m *fakeMeta) setEnvs(id int32, envs map[string]string) {
	m.mu.Lock()
	app := m.apps[id]
	app.Envs = envs
	m.apps[id] = app
	m.mu.Unlock()
	m.push(proto.PeerAssign, &proto.Assignments{Revision: 2, Apps: []proto.AppInfo{app}})
}

// setStatus drops or recalls a table and tells the node.
func (m *fakeMeta) setStatus(id int32, status proto.AppStatus) {
	m.mu.Lock()
	app := m.apps[id]
	app.Status = status
	m.apps[id] = app
	a := &proto.Assignments{Revision: 3, Apps: []proto.AppInfo{app}}
	for g, c := range m.parts {
		if g.App == id {
			a.Partitions = append(a.Partitions, c)
		}
	}
	m.mu.Unlock()
	m.push(proto.PeerAssign, a)
}
