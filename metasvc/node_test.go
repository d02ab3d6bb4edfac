package metasvc

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

// node is a replica server as meta sees it: it says hello, sends beacons, and acts on proposals at once.
type node struct {
	id      proto.NodeID
	address proto.HostPort
	metas   []string
	stop    chan struct{}
	done    sync.WaitGroup

	mu       sync.Mutex
	configs  map[proto.GPID]proto.PartitionConfig // newest that meta told
	apps     map[int32]proto.AppInfo
	peers    map[proto.NodeID]proto.PeerNode
	revision int64
	leader   string
	hellos   int
	status   *proto.NodeStatusReport // sent with every beacon, if not nil
	members  []string                // of the meta group, as told
}

func startNode(t *testing.T, i int, metas []string) *node {
	n := &node{
		id: proto.NodeID{0: byte(i), 15: 1}, address: proto.NewHostPort("127.0.0.1", uint16(40000+i)), metas: metas,
		stop: make(chan struct{}), configs: make(map[proto.GPID]proto.PartitionConfig), apps: make(map[int32]proto.AppInfo),
		peers: make(map[proto.NodeID]proto.PeerNode),
	}
	n.done.Add(1)
	go n.run()
	t.Cleanup(n.close)
	return n
}

func (n *node) close() {
	select {
	case <-n.stop:
	default:
		close(n.stop)
	}
	n.done.Wait()
}

// run goes from meta to meta until one takes it in, and starts again when the connection is lost.
func (n *node) run() {
	defer n.done.Done()
	next := 0
	for {
		select {
		case <-n.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		n.mu.Lock()
		to := n.leader
		n.leader = ""
		n.mu.Unlock()
		if to == "" {
			to = n.metas[next%len(n.metas)]
			next++
		}
		if c, err := net.DialTimeout("tcp", to, time.Second); err == nil {
			n.session(c)
		}
	}
}

func (n *node) session(c net.Conn) {
	var wg sync.WaitGroup
	wg.Add(1)
	quit := make(chan struct{})
	go func() {
		defer wg.Done()
		select {
		case <-n.stop:
		case <-quit:
		}
		c.Close()
	}()
	defer wg.Wait()
	defer close(quit)

	var writing sync.Mutex
	send := func(kind proto.PeerKind, seq uint64, msg any) {
		b, mark := proto.AppendPeerFrame(nil, kind, 0, seq)
		b = proto.FinishPeerFrame(proto.Marshal(b, msg), mark)
		writing.Lock()
		defer writing.Unlock()
		c.Write(b)
	}
	ip := proto.NewRPCAddress(netip.AddrPortFrom(netip.MustParseAddr(n.address.Host), n.address.Port))
	hello := &proto.NodeHello{Node: n.id, Address: n.address, IP: ip, Shards: 1, Incarnation: 1,
		Transfer: proto.NewHostPort(n.address.Host, n.address.Port+1000)}
	n.mu.Lock()
	for g, cfg := range n.configs {
		r := proto.ReplicaReport{GPID: g, Ballot: cfg.Ballot}
		if cfg.Primary == n.id {
			r.Role = 1
		}
		hello.Replicas = append(hello.Replicas, r)
	}
	n.mu.Unlock()
	send(proto.PeerHello, 1, hello)

	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-quit:
				return
			case <-time.After(100 * time.Millisecond):
				n.mu.Lock()
				rev, status := n.revision, n.status
				n.mu.Unlock()
				if status != nil {
					send(proto.PeerStatus, 0, status)
				}
				send(proto.PeerBeacon, 0, &proto.NodeBeacon{Node: n.id, Incarnation: 1, Revision: rev})
			}
		}
	}()

	var in []byte
	buf := make([]byte, 64<<10)
	for {
		var f proto.PeerFrame
		size, _, err := proto.ParsePeer(in, 16<<20, &f)
		if err != nil {
			return
		}
		if size == 0 {
			m, err := c.Read(buf)
			if err != nil && err != io.EOF || m == 0 {
				return
			}
			in = append(in, buf[:m]...)
			continue
		}
		if !n.frame(&f, send) {
			return
		}
		in = in[size:]
	}
}

// frame takes a frame of meta; false ends the session.
func (n *node) frame(f *proto.PeerFrame, send func(proto.PeerKind, uint64, any)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	lists := func(revision int64, apps []proto.AppInfo, parts []proto.PartitionConfig, nodes []proto.PeerNode) {
		n.revision = revision
		for _, p := range nodes {
			n.peers[p.Node] = p
		}
		for _, a := range apps {
			n.apps[a.AppID] = a
		}
		for _, p := range parts {
			if p.Ballot >= n.configs[p.GPID].Ballot { // a replica never goes back
				n.configs[p.GPID] = p
			}
		}
	}
	switch f.Kind {
	case proto.PeerHelloAck:
		var m proto.NodeHelloAck
		if proto.Unmarshal(f.Body, &m) != nil || m.Err != proto.ErrOK {
			if m.Leader.IsValid() {
				n.leader = m.Leader.String()
			}
			return false
		}
		n.hellos++
		lists(m.Revision, m.Apps, m.Partitions, m.Nodes)
		n.members = m.Metas
	case proto.PeerBeaconAck:
		var m proto.NodeBeaconAck
		return proto.Unmarshal(f.Body, &m) == nil && (m.Err == proto.ErrOK || n.hellos == 0)
	case proto.PeerAssign:
		var m proto.Assignments
		if proto.Unmarshal(f.Body, &m) != nil {
			return false
		}
		lists(m.Revision, m.Apps, m.Partitions, m.Nodes)
		if m.Metas != nil {
			n.members = m.Metas
		}
	case proto.PeerProposal:
		var m proto.Proposal
		if proto.Unmarshal(f.Body, &m) != nil {
			return false
		}
		m.Config.Ballot++
		if m.Type == proto.CTAddSecondary {
			m.Type = proto.CTUpgradeToSecondary // nobody takes long to learn here
		}
		go send(proto.PeerUpdateConfig, 7, &proto.UpdateConfig{Config: m.Config, Type: m.Type, Node: m.Node, From: n.id})
	}
	return true
}

// primaries counts the partitions of a table that meta gave to this node, and returns what it said of the table.
func (n *node) primaries(app int32) (count int, info proto.AppInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for g, c := range n.configs {
		if g.App == app && c.Primary == n.id {
			count++
		}
	}
	return count, n.apps[app]
}

// peer returns what meta said last of a node.
func (n *node) peer(id proto.NodeID) proto.PeerNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[id]
}

// greeted counts the metas that took this node in.
func (n *node) greeted() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hellos
}

// group returns the members of the meta group as the node was told.
func (n *node) group() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.members
}

// config returns the configuration of a partition that meta told last.
func (n *node) config(g proto.GPID) proto.PartitionConfig {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.configs[g]
}
