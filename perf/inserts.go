package perf

import (
	"sync"
	"sync/atomic"
)

// inserts numbers the records that a workload adds. Reads of the latest records ask for those that are there, not for those that are
// on their way: they would find nothing, which costs a server less than what is meant to be measured. YCSB does the same
// (AcknowledgedCounterGenerator).
type inserts struct {
	next  atomic.Uint64 // the record that is added next
	there atomic.Uint64 // all records below have been added

	mu    sync.Mutex
	ended map[uint64]struct{} // of those from there on; at most one per operation in flight
}

func (s *inserts) reset(records uint64) {
	s.next.Store(records)
	s.there.Store(records)
	s.ended = map[uint64]struct{}{}
}

func (s *inserts) begin() uint64 { return s.next.Add(1) - 1 }

// end says that the insert of a record is over. One that failed counts too, or reads would never see later ones.
func (s *inserts) end(record uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[record] = struct{}{}
	for at := s.there.Load(); ; at++ {
		if _, ok := s.ended[at]; !ok {
			s.there.Store(at)
			return
		}
		delete(s.ended, at)
	}
}
