package consensus

import "pegasus/netcore/proto"

// LeaseSnapshot is what a Leases said at one moment, all of LeaseView but MayDrop. It never changes, so any goroutine may read
// it: a process with several loops keeps one Leases and hands a new snapshot to the other loops after every change, before it
// sends what the change made it answer.
type LeaseSnapshot struct {
	timing  Timing
	started int64
	pairs   map[proto.NodeID]pair
}

// Snapshot copies the state; the cost is one small map of the watched nodes.
func (l *Leases) Snapshot() *LeaseSnapshot {
	s := &LeaseSnapshot{timing: l.timing, started: l.started, pairs: make(map[proto.NodeID]pair, len(l.pairs))}
	for n, p := range l.pairs {
		s.pairs[n] = *p
	}
	return s
}

// Valid is LeaseView's.
func (s *LeaseSnapshot) Valid(node proto.NodeID, now int64) bool {
	p, ok := s.pairs[node]
	return ok && now < p.until
}

// Term is LeaseView's.
func (s *LeaseSnapshot) Term(node proto.NodeID) uint64 { return s.pairs[node].term }

// Expired is LeaseView's.
func (s *LeaseSnapshot) Expired(node proto.NodeID, now int64) bool {
	p, ok := s.pairs[node]
	return ok && now-max(p.heard, p.since, s.started) >= int64(s.timing.Grace)
}

// Lost is LeaseView's.
func (s *LeaseSnapshot) Lost(node proto.NodeID, now int64) bool {
	p, ok := s.pairs[node]
	return ok && now-max(p.acked, p.since, s.started) >= int64(s.timing.Grace)
}
