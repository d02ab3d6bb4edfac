package shard

import (
	"math"
	"testing"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/disk"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// quietStore answers every get with one value and takes every write, without a thought and without memory.
type quietStore struct {
	*coldStore
	value []byte
	last  proto.Decree
}

func newQuietStore() *quietStore {
	return &quietStore{coldStore: newColdStore(nil, false), value: engine.AppendValueHeader(nil, 0, 0)}
}

func (s *quietStore) MultiGet(b *engine.GetBatch, _ engine.Tier) {
	for i := range b.Len() {
		b.SetFound(i, s.value)
	}
}

func (s *quietStore) Apply(d proto.Decree, _ ...[]byte) error {
	s.last = d
	return nil
}

func (s *quietStore) AppliedDecree() proto.Decree { return s.last }

// hot is a shard and the frames that go round in it.
type hot struct {
	*solo
	frames [][]byte
	req    proto.Request
}

func newHot(t testing.TB, code proto.Code, args func([]byte) []byte, n int) *hot {
	h := &hot{solo: newSolo(t, disk.OS(), t.TempDir())}
	g := proto.GPID{App: 1}
	h.open(g, newQuietStore())
	for i := range n {
		frame, mark := proto.AppendRequest(nil, code, g, int32(i), 1000, 0)
		h.frames = append(h.frames, proto.FinishRequest(args(frame), mark))
	}
	// The log makes its first segment before anything is counted.
	h.turn(func() { h.request(proto.CodePut, g, putArgs("h", "k", "v")) })
	h.finish()
	h.repeats = true
	return h
}

// serve takes the frames of one turn, from their bytes to those of the replies.
func (h *hot) serve() {
	for _, f := range h.frames {
		if n, _, err := proto.ParseTHFT(f, len(f), &h.req); err != nil || n != len(f) {
			h.t.Errorf("frame: %d, %v", n, err)
		}
		h.sh.serve(dest{ref: loop.Ref{Slot: 1, Gen: 1}, shard: 1, at: h.sh.turnStart()}, &h.req)
	}
	h.work()
}

// work is Shard.Turn up to the point where log and mailboxes take over.
func (h *hot) work() {
	h.sh.workOff()
}

// synced says to consensus what the log would say after its write, like logJob.deliver. It leaves out the look for chores,
// which is once per log write and costs the log an allocation whether there is one or not.
func (h *hot) synced() {
	w := h.sh.log.NextWrite()
	if err := w.Do(); err != nil {
		h.t.Error(err)
	}
	moved, err := h.sh.log.Complete(w)
	if err != nil {
		h.t.Error(err)
	}
	for _, d := range moved {
		h.sh.partitions[d.GPID].step(&consensus.Event{Kind: consensus.EventLogSynced, Decree: d.Decree})
	}
	h.work()
}

// replied empties the batch of replies and tells how many there were.
func (h *hot) replied() int {
	b := h.sh.replies[1]
	if b == nil {
		return 0
	}
	n := len(b.replies)
	b.buf, b.replies = b.buf[:0], b.replies[:0]
	return n
}

func TestServingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, tc := range []struct {
		name  string
		code  proto.Code
		args  func([]byte) []byte
		write bool
	}{
		{"get", proto.CodeGet, keyArgs("h", "k"), false},
		{"ttl", proto.CodeTTL, keyArgs("h", "k"), false},
		{"put", proto.CodePut, putArgs("h", "k", "some value"), true},
		{"remove", proto.CodeRemove, keyArgs("h", "k"), true},
		{"incr", proto.CodeIncr, incrArgs("h", "k", 1), true},
	} {
		for _, perTurn := range []int{1, 16} {
			h := newHot(t, tc.code, tc.args, perTurn)
			allocs := -1.0
			h.do(func() {
				round := func() {
					h.serve()
					if tc.write {
						h.synced()
					}
					if n := h.replied(); n != perTurn {
						t.Errorf("%s: %d replies, want %d", tc.name, n, perTurn)
					}
				}
				for range 200 {
					round()
				}
				// Goroutines that earlier tests leave to end on their own are counted, too: what the path itself allocates it
				// allocates every time.
				allocs = math.MaxInt
				for range 5 {
					allocs = min(allocs, testing.AllocsPerRun(200, round))
				}
			})
			if allocs != 0 {
				t.Errorf("%s, %d per turn: %v allocations per turn", tc.name, perTurn, allocs)
			}
		}
	}
}
