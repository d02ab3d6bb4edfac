package shard

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"pegasus/netcore/loop"
	"pegasus/netcore/peer"
	"pegasus/netcore/proto"
)

// peers is a shard's side of the traffic between replica servers.
//
// Every shard dials the shards of other nodes that own what it shares partitions with; with equal numbers of shards that is
// one link per node. A link carries one way only: what the other side answers comes over its own link. So a lost connection
// loses messages of one direction, which consensus repeats, and there is no question of which of two connections counts.
//
// Messages of one turn to one remote shard leave in one frame.
type peers struct {
	sh    *Shard
	nodes map[proto.NodeID]proto.PeerNode
	links map[peerKey]*peerLink
	dirty []*peerLink // have messages of this turn

	arrived proto.ReplMessage // the one being taken
}

type peerKey struct {
	node  proto.NodeID
	shard proto.ShardID
}

// peerLink is the way to one shard of another node. It implements peer.Events.
type peerLink struct {
	peers *peers
	key   peerKey
	link  *peer.Link
	up    bool
	out   []byte // messages of this turn
	seq   uint64
}

var errPeerTalksBack = errors.New("peer sent bytes on a connection that carries our messages only")

func newPeers(sh *Shard) *peers {
	return &peers{sh: sh, nodes: map[proto.NodeID]proto.PeerNode{}, links: map[peerKey]*peerLink{}}
}

// learnNodes takes over what meta says of other nodes. A node that moved gets new links. With complete set, a node that is not
// named is one no more.
func (ps *peers) learnNodes(nodes []proto.PeerNode, complete bool) {
	named := make(map[proto.NodeID]struct{}, len(nodes))
	for _, n := range nodes {
		named[n.Node] = struct{}{}
		if n.Node == ps.sh.node.id {
			continue
		}
		if old, known := ps.nodes[n.Node]; known && (old.Address != n.Address || old.ShardPort != n.ShardPort || old.Shards != n.Shards) {
			ps.unlink(n.Node)
		}
		ps.nodes[n.Node] = n
	}
	for id := range ps.nodes {
		if _, ok := named[id]; complete && !ok {
			ps.unlink(id)
			delete(ps.nodes, id)
		}
	}
}

// unlink ends the links to a node.
func (ps *peers) unlink(node proto.NodeID) {
	for key, l := range ps.links {
		if key.node == node {
			l.up = false
			l.link.Stop()
			delete(ps.links, key)
		}
	}
}

// known are all other nodes.
func (ps *peers) known() []proto.NodeID { return slices.Collect(maps.Keys(ps.nodes)) }

// to returns the link to the shard of a node that owns a partition, or nil when nobody knows where it is.
func (ps *peers) to(node proto.NodeID, g proto.GPID) *peerLink {
	info, ok := ps.nodes[node]
	if !ok || !info.Address.IsValid() || info.Shards < 1 {
		return nil
	}
	return ps.link(info, proto.Placement(g, int(info.Shards)))
}

// control returns the link to shard 0 of a node, for what concerns the node as a whole.
func (ps *peers) control(node proto.NodeID) *peerLink {
	info, ok := ps.nodes[node]
	if !ok || !info.Address.IsValid() {
		return nil
	}
	return ps.link(info, 0)
}

func (ps *peers) link(info proto.PeerNode, shard proto.ShardID) *peerLink {
	key := peerKey{node: info.Node, shard: shard}
	if l := ps.links[key]; l != nil {
		return l
	}
	port := int(info.Address.Port)
	if info.ShardPort > 0 {
		port = int(info.ShardPort) + int(shard)
	}
	l := &peerLink{peers: ps, key: key}
	l.link = peer.New(ps.sh.loop, ps.sh.node.peerDialer, peer.Config{
		Addr:        net.JoinHostPort(info.Address.Host, strconv.Itoa(port)),
		DialTimeout: ps.sh.opts.DialTimeout,
		BackoffMax:  ps.sh.opts.BeaconInterval,
		MaxUnsent:   ps.sh.opts.Limits.MaxOutbound / 2,
	}, l)
	ps.links[key] = l
	l.link.Start()
	return l
}

// send puts a message into the frame of this turn. What cannot be sent is dropped: consensus repeats it.
func (ps *peers) send(to proto.NodeID, m *proto.ReplMessage) {
	l := ps.to(to, m.GPID)
	if l == nil || !l.up {
		return
	}
	if len(l.out) == 0 {
		ps.dirty = append(ps.dirty, l)
		l.out = append(l.out, proto.ReplVersion)
	}
	l.out = proto.AppendReplMessage(l.out, m)
	if len(l.out) > ps.sh.opts.Limits.MaxFrame/2 {
		l.flush()
	}
}

// flush sends what this turn has collected, one frame per link.
func (ps *peers) flush() {
	for _, l := range ps.dirty {
		l.flush()
	}
	clear(ps.dirty)
	ps.dirty = ps.dirty[:0]
}

func (l *peerLink) flush() {
	if len(l.out) == 0 {
		return
	}
	body := l.out
	if err := l.frame(proto.PeerRepl, body); err != nil {
		l.peers.sh.stats.PeerDrops++
	}
	if cap(body) > maxPooledBatch {
		l.out = nil
		return
	}
	l.out = body[:0]
}

func (l *peerLink) frame(kind proto.PeerKind, body []byte) error {
	l.seq++
	return l.link.Send(func(dst []byte) []byte {
		dst, mark := proto.AppendPeerFrame(dst, kind, 0, l.seq)
		return proto.FinishPeerFrame(append(dst, body...), mark)
	})
}

// Up says who is calling, before anything else.
func (l *peerLink) Up(*peer.Link) {
	l.up = true
	if err := l.frame(proto.PeerIntro, proto.Marshal(nil, &proto.NodeIntro{Node: l.peers.sh.node.id, Incarnation: l.peers.sh.node.incarnation})); err != nil {
		l.link.Drop(err)
	}
}

// Down drops what was waiting to be sent.
func (l *peerLink) Down(_ *peer.Link, cause error) {
	l.up, l.out = false, l.out[:0]
	l.peers.sh.logger.Debug("link to a peer is down", zap.Stringer("node", l.key.node), zap.Error(cause))
}

// Data is never expected.
func (l *peerLink) Data(*peer.Link, []byte) (consumed, need int, err error) {
	return 0, 0, errPeerTalksBack
}

// stop ends all links.
func (ps *peers) stop() {
	for _, l := range ps.links {
		l.link.Stop()
	}
}

// servePeer takes frames of another replica server.
func (sh *Shard) servePeer(st *sessionState, in []byte) (consumed, need int, err error) {
	for consumed < len(in) {
		var f proto.PeerFrame
		n, more, err := proto.ParsePeer(in[consumed:], sh.opts.Limits.MaxFrame, &f)
		if err != nil {
			return consumed, 0, err
		}
		if n == 0 {
			return consumed, more, nil
		}
		consumed += n
		if err := sh.takePeerFrame(st, &f); err != nil {
			return consumed, 0, err
		}
	}
	return consumed, 0, nil
}

func (sh *Shard) takePeerFrame(st *sessionState, f *proto.PeerFrame) error {
	if f.Kind == proto.PeerIntro {
		var intro proto.NodeIntro
		if err := proto.Unmarshal(f.Body, &intro); err != nil {
			return err
		}
		if intro.Node.IsZero() || intro.Node == sh.node.id {
			return fmt.Errorf("peer calls itself %v", intro.Node)
		}
		st.peer = intro.Node
		return nil
	}
	if st.peer.IsZero() {
		return fmt.Errorf("peer sent a frame of kind %d before saying who it is", f.Kind)
	}
	switch f.Kind {
	case proto.PeerRepl:
		return sh.takeReplFrame(st.peer, f.Body)
	case proto.PeerLease:
		var m proto.LeaseMessage
		if err := proto.ParseLeaseMessage(f.Body, &m); err != nil {
			return err
		}
		sh.node.leases.receive(sh, st.peer, m)
		return nil
	default:
		return fmt.Errorf("peer sent a frame of kind %d", f.Kind)
	}
}

// takeReplFrame hands every message of a frame to the owner of its partition. With equal numbers of shards that is this one.
func (sh *Shard) takeReplFrame(from proto.NodeID, body []byte) error {
	if len(body) == 0 || body[0] != proto.ReplVersion {
		return errors.New("peer speaks another version of the replication messages")
	}
	body = body[1:]
	m := &sh.peers.arrived
	warmed := 0 // bytes from the beginning of body
	for len(body) > 0 {
		if warmed <= 0 && sh.cold() {
			warmed = sh.warmMessages(body)
		}
		n, err := proto.ParseReplMessage(body, m)
		if err != nil {
			return err
		}
		if owner := proto.Placement(m.GPID, len(sh.node.shards)); owner == sh.id {
			sh.receive(from, m)
		} else {
			sh.node.shards[owner].deliverLater(&strayMessage{from: from, bytes: append([]byte(nil), body[:n]...)})
		}
		body = body[n:]
		warmed -= n
	}
	return nil
}

// strayMessage is a replication message that arrived on the wrong loop, because the nodes have different numbers of shards.
type strayMessage struct {
	from  proto.NodeID
	bytes []byte
}

func (s *strayMessage) deliver(sh *Shard) {
	var m proto.ReplMessage
	if _, err := proto.ParseReplMessage(s.bytes, &m); err == nil {
		sh.receive(s.from, &m)
	}
}

var _ loop.Handler[message] = (*Shard)(nil)
