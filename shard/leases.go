package shard

import (
	"sync"
	"sync/atomic"
	"time"

	"pegasus/consensus"
	"pegasus/netcore/proto"
)

// nodeLeases keeps the leases between this node and the others. Shard 0 owns the keeper; the other shards read snapshots,
// which are replaced whole, so no lock lies on the way of a read.
//
// A snapshot may be a little old. That is safe in both directions: a lease in it ends when it ends, and a grace that has run
// out in an old snapshot belongs to a lease that has lapsed on the other side, which must therefore confirm every partition
// again before it serves (see consensus.Leases).
type nodeLeases struct {
	keeper *consensus.Leases
	view   atomic.Pointer[consensus.LeaseSnapshot]
	base   time.Time
	timing consensus.Timing
	out    []consensus.LeaseSend

	dropMu    sync.Mutex
	mayDropAt map[proto.NodeID]int64
}

func newNodeLeases(self proto.NodeID, incarnation int64, timing consensus.Timing) *nodeLeases {
	l := &nodeLeases{base: time.Now(), timing: timing, mayDropAt: map[proto.NodeID]int64{}}
	l.keeper = consensus.NewLeases(self, uint64(incarnation), timing, l.now())
	l.publish()
	return l
}

// now reads the node's clock for everything that has to do with leases: monotonic nanoseconds, the same for all shards.
func (l *nodeLeases) now() int64 { return int64(time.Since(l.base)) + 1 }

func (l *nodeLeases) publish() { l.view.Store(l.keeper.Snapshot()) }

// watch makes nodes the ones to exchange beacons with. Shard 0 only.
func (l *nodeLeases) watch(nodes []proto.NodeID) {
	l.keeper.Watch(nodes, l.now())
	l.publish()
}

// beat sends the beacons that are due and comes back. Shard 0 only.
func (l *nodeLeases) beat(sh *Shard) {
	if sh.stopped {
		return
	}
	l.out = l.out[:0]
	if now := l.now(); !sh.node.loopStuck(now) {
		l.out = l.keeper.Beacon(now, l.out)
	}
	for i := range l.out {
		l.send(sh, l.out[i].To, &l.out[i].Message)
	}
	sh.loop.AtMultiple(l.timing.Beacon/consensus.BeaconCalls, func() { l.beat(sh) })
}

func (l *nodeLeases) send(sh *Shard, to proto.NodeID, m *proto.LeaseMessage) {
	if link := sh.peers.control(to); link != nil && link.up {
		m.DiskFull = sh.node.space.full.Load()
		// A beacon that cannot be sent is a beacon that was lost.
		_ = link.frame(proto.PeerLease, proto.AppendLeaseMessage(nil, m))
	}
}

// receive takes a lease message on the loop that it arrived on; shard 0 works on it.
func (l *nodeLeases) receive(sh *Shard, from proto.NodeID, m proto.LeaseMessage) {
	sh.node.space.heard(from, m.DiskFull)
	if sh.id != 0 {
		sh.node.shards[0].deliverLater(&leaseArrived{from: from, message: m})
		return
	}
	answer, ok := l.keeper.OnMessage(from, &m, l.now())
	// The snapshot first: whoever gets the answer may rely on what it grants.
	l.publish()
	if !ok || sh.node.loopStuck(l.now()) {
		return
	}
	l.send(sh, from, &answer)
	if beacon, due := l.keeper.BeaconAlong(from, l.now()); due {
		l.send(sh, from, &beacon)
	}
}

type leaseArrived struct {
	from    proto.NodeID
	message proto.LeaseMessage
}

func (a *leaseArrived) deliver(sh *Shard) { sh.node.leases.receive(sh, a.from, a.message) }

// The methods of consensus.LeaseView, for replicas on any shard.

func (l *nodeLeases) Valid(node proto.NodeID, now int64) bool { return l.view.Load().Valid(node, now) }
func (l *nodeLeases) Term(node proto.NodeID) uint64           { return l.view.Load().Term(node) }
func (l *nodeLeases) Expired(node proto.NodeID, now int64) bool {
	return l.view.Load().Expired(node, now)
}
func (l *nodeLeases) Lost(node proto.NodeID, now int64) bool { return l.view.Load().Lost(node, now) }

// MayDrop rations removals of slow members over all shards.
func (l *nodeLeases) MayDrop(node proto.NodeID, now int64) bool {
	l.dropMu.Lock()
	defer l.dropMu.Unlock()
	if now < l.mayDropAt[node] {
		return false
	}
	l.mayDropAt[node] = now + int64(l.timing.SlowPer)
	return true
}
