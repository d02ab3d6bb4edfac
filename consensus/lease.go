package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Leases keeps the leases of one node with every other, both sides: those it holds, as a primary, and those it grants, as a
// secondary. They belong to pairs of nodes and not to partitions, so their cost does not grow with the data.
//
// A beacon asks for a lease, its acknowledgement is one. The holder counts Lease from when it sent the beacon, the granter
// counts Grace from when it received it, which is later; Lease < Grace. So on one and the same time line every lease has ended
// before the granter calls it Expired, however long messages travel and processes sleep.
//
// What a lease cannot say is whether the granter still takes the holder for the primary of a partition: it may have replaced
// it while the lease lapsed, and grant a new one since. Therefore a lapse opens a new Term, and a primary has every partition
// confirmed anew in each term.
//
// One loop owns a Leases. A process with several loops keeps one per loop and beacons between equal loops of two nodes; then a
// loop that hangs loses its own leases only.
type Leases struct {
	timing  Timing
	self    proto.NodeID
	own     uint64 // incarnation
	started int64
	pairs   map[proto.NodeID]*pair
	nodes   []proto.NodeID // in order of Watch
	term    uint64         // the newest of all pairs: a number is never used twice, also when a node leaves and comes back
}

type pair struct {
	since int64 // watched since

	// As holder. Invariant: until never falls, term never falls.
	term     uint64
	until    int64 // the lease ends
	acked    int64 // when the last acknowledgement came
	beaconAt int64 // when the next beacon is due
	peer     uint64

	// As granter.
	heard int64

	mayDropAt int64
}

// LeaseSend is a lease message to another node.
type LeaseSend struct {
	To      proto.NodeID
	Message proto.LeaseMessage
}

// NewLeases returns a keeper without leases. incarnation is not 0 and differs at every start of the process.
func NewLeases(self proto.NodeID, incarnation uint64, t Timing, now int64) *Leases {
	invariant.Assertf(incarnation != 0 && t.Validate() == nil, "leases of %v: incarnation %d, %v", self, incarnation, t.Validate())
	return &Leases{timing: t, self: self, own: incarnation, started: now, pairs: make(map[proto.NodeID]*pair)}
}

// Watch makes nodes the ones to exchange beacons with: every node that shares a partition with this one, better too many than
// too few. What is known of nodes that stay is kept; a node that is new has a whole grace to show up.
func (l *Leases) Watch(nodes []proto.NodeID, now int64) {
	old := l.pairs
	l.pairs, l.nodes = make(map[proto.NodeID]*pair, len(nodes)), l.nodes[:0]
	for _, n := range nodes {
		if n == l.self || l.pairs[n] != nil {
			continue
		}
		p := old[n]
		if p == nil {
			l.term++
			p = &pair{since: now, term: l.term}
		}
		l.pairs[n] = p
		l.nodes = append(l.nodes, n)
	}
}

// BeaconCalls is how many times per Timing.Beacon Beacon is to be called.
const BeaconCalls = 3

// Beacon appends the beacons that are due, or would be a moment after this call, which comes when a timer fires and not to the
// microsecond. Nothing that a LeaseView tells changes.
func (l *Leases) Beacon(now int64, out []LeaseSend) []LeaseSend {
	for _, n := range l.nodes {
		if p := l.pairs[n]; now >= p.beaconAt-int64(l.timing.Beacon)/64 {
			out = append(out, LeaseSend{To: n, Message: l.beacon(p, now)})
		}
	}
	return out
}

// BeaconAlong returns a beacon to a node that is being answered anyway, if one is due before long. So the beacons of two nodes
// fall into step, whenever each began, and wake each other less often. It asks early, which harms nobody.
func (l *Leases) BeaconAlong(to proto.NodeID, now int64) (m proto.LeaseMessage, due bool) {
	p := l.pairs[to]
	if p == nil || now < p.beaconAt-int64(l.timing.Beacon)/2 {
		return m, false
	}
	return l.beacon(p, now), true
}

func (l *Leases) beacon(p *pair, now int64) proto.LeaseMessage {
	p.beaconAt = now + int64(l.timing.Beacon)
	return proto.LeaseMessage{Incarnation: l.own, SentAt: now}
}

// OnMessage takes a lease message from another node. With ok, answer is to be sent back to it.
func (l *Leases) OnMessage(from proto.NodeID, m *proto.LeaseMessage, now int64) (answer proto.LeaseMessage, ok bool) {
	p := l.pairs[from]
	if p == nil {
		// Nobody here will accuse a node that is not watched, so nothing may be granted to it either.
		return answer, false
	}
	if !m.Ack {
		p.heard = now
		return proto.LeaseMessage{Ack: true, Incarnation: l.own, For: m.Incarnation, SentAt: m.SentAt}, true
	}
	if m.For != l.own || m.SentAt > now {
		return answer, false // granted to an earlier process
	}
	p.acked = now
	// A granter that started anew has forgotten whom it confirmed and whom it accused.
	if (now >= p.until || m.Incarnation != p.peer) && !bug(NoTermBump) {
		l.term++
		p.term = l.term
	}
	p.peer = m.Incarnation
	p.until = max(p.until, m.SentAt+int64(l.timing.Lease))
	if bug(LeaseFromReceipt) {
		p.until = now + int64(l.timing.Lease)
	}
	return answer, false
}

// Valid implements LeaseView.
func (l *Leases) Valid(node proto.NodeID, now int64) bool {
	p := l.pairs[node]
	return p != nil && now < p.until
}

// Term implements LeaseView.
func (l *Leases) Term(node proto.NodeID) uint64 {
	if p := l.pairs[node]; p != nil {
		return p.term
	}
	return 0
}

// Expired implements LeaseView. A process that started less than a grace ago does not know what it granted before. A node that
// is not watched is never accused.
func (l *Leases) Expired(node proto.NodeID, now int64) bool {
	p := l.pairs[node]
	return p != nil && now-max(p.heard, p.since, l.started) >= int64(l.timing.Grace)
}

// Lost implements LeaseView.
func (l *Leases) Lost(node proto.NodeID, now int64) bool {
	p := l.pairs[node]
	return p != nil && now-max(p.acked, p.since, l.started) >= int64(l.timing.Grace)
}

// MayDrop implements LeaseView: once per Timing.SlowPer and node.
func (l *Leases) MayDrop(node proto.NodeID, now int64) bool {
	p := l.pairs[node]
	if p == nil || now < p.mayDropAt {
		return false
	}
	p.mayDropAt = now + int64(l.timing.SlowPer)
	return true
}
