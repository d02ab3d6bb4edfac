package shard

import (
	"math"
	"strconv"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/netcore/disk"
	"pegasus/netcore/peer"
	"pegasus/netcore/proto"
)

// hotMember is a member of a group of three, driven by hand: what it sends ends in the buffers of its links, what the others
// say comes as frames.
type hotMember struct {
	*hot
	p      *partition
	others []proto.NodeID
	links  []*peerLink
	sent   int // bytes, of the last round
	in     []byte
	batch  []byte
	next   proto.Decree // to be prepared, as secondary
}

func newHotMember(t testing.TB, primary bool, frames int) *hotMember {
	h := &hotMember{
		hot:    &hot{solo: newSolo(t, disk.OS(), t.TempDir(), func(o *Options) { o.Limits.MaxFrame = 8 << 20 })},
		others: []proto.NodeID{{2}, {3}}, batch: make([]byte, 100), next: 1,
	}
	g := proto.GPID{App: 1}
	for proto.Placement(g, len(h.node.shards)) != h.sh.id {
		g.Part++ // messages of others go to the shard that owns the partition
	}
	for i := range frames {
		frame, mark := proto.AppendRequest(nil, proto.CodePut, g, int32(i), 1000, 0)
		h.frames = append(h.frames, proto.FinishRequest(putArgs("h", "k", "some value")(frame), mark))
	}
	h.repeats = true
	h.p = newPartition(h.sh, g, replicaDir{})
	h.turn(func() {
		for _, id := range h.others {
			h.sh.peers.nodes[id] = proto.PeerNode{Node: id, Address: proto.NewHostPort("127.0.0.1", 1), Shards: 1}
			l := &peerLink{peers: h.sh.peers, key: peerKey{node: id}, up: true}
			l.link = peer.New(h.sh.loop, nil, peer.Config{}, l)
			h.sh.peers.links[l.key] = l
			h.links = append(h.links, l)
		}
		h.p.configureTable(&proto.AppInfo{Status: proto.AppAvailable, AppID: 1, PartitionCount: 8, MaxReplicaCount: 3})
		h.sh.partitions[g] = h.p
		h.p.open(newQuietStore(), consensus.Restored{})
		h.p.ballot = 1
		h.p.wanted = consensus.Config{Ballot: 1, Primary: h.others[0], Secondaries: []proto.NodeID{h.node.id, h.others[1]}}
		if primary {
			h.p.wanted.Primary, h.p.wanted.Secondaries = h.node.id, h.others
		}
		h.p.wants = true
		h.p.adoptConfig()
	})
	// The log makes its first segment before anything is counted.
	h.do(func() {
		if primary {
			h.serve()
		} else {
			h.prepare(frames)
		}
	})
	h.sync()
	h.do(func() {
		if primary {
			h.acknowledge()
		}
		h.replied()
		h.unsent()
	})
	for h.deliverOne() {
	}
	clear(h.replies)
	return h
}

// unsent empties the buffers of the links and tells how many bytes were in them.
func (h *hotMember) unsent() (n int) {
	for _, l := range h.links {
		n += len(l.out)
		l.out = l.out[:0]
	}
	clear(h.sh.peers.dirty)
	h.sh.peers.dirty = h.sh.peers.dirty[:0]
	return n
}

// acknowledge lets both secondaries say that everything prepared is durable.
func (h *hotMember) acknowledge() {
	for _, from := range h.others {
		m := proto.ReplMessage{Type: proto.ReplPrepareAck, GPID: h.p.gpid, Ballot: 1, Decree: h.p.replica.Prepared()}
		h.in = proto.AppendReplMessage(append(h.in[:0], proto.ReplVersion), &m)
		if err := h.sh.takeReplFrame(from, h.in); err != nil {
			h.t.Error(err)
		}
	}
	h.work()
}

// prepare takes n prepares of the primary, which has committed what came before them.
func (h *hotMember) prepare(n int) {
	h.in = append(h.in[:0], proto.ReplVersion)
	committed := h.next - 1
	for range n {
		m := proto.ReplMessage{
			Type: proto.ReplPrepare, GPID: h.p.gpid, Ballot: 1, Decree: h.next, Committed: committed, Timestamp: int64(h.next),
			Batch: h.batch,
		}
		h.in = proto.AppendReplMessage(h.in, &m)
		h.next++
	}
	if err := h.sh.takeReplFrame(h.others[0], h.in); err != nil {
		h.t.Error(err)
	}
	h.work()
}

func TestReplicationAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, primary := range []bool{true, false} {
		for _, perTurn := range []int{1, 16} {
			h := newHotMember(t, primary, perTurn)
			allocs := -1.0
			h.do(func() {
				round := func() {
					if primary {
						h.serve()
						h.synced()
						h.acknowledge()
						if n := h.replied(); n != perTurn {
							t.Errorf("%d replies, want %d", n, perTurn)
						}
					} else {
						h.prepare(perTurn)
						h.synced()
						if c := h.p.replica.Committed(); c != h.next-proto.Decree(perTurn)-1 {
							t.Errorf("committed %d, next is %d", c, h.next)
						}
					}
					if h.unsent() == 0 {
						t.Errorf("primary %v, %d per turn: nothing was sent", primary, perTurn)
					}
				}
				for range 50 {
					round()
				}
				allocs = math.MaxInt
				for range 5 {
					allocs = min(allocs, testing.AllocsPerRun(50, round))
				}
			})
			if allocs != 0 {
				t.Errorf("primary %v, %d per turn: %v allocations per turn", primary, perTurn, allocs)
			}
		}
	}
}

// BenchmarkReplicate costs what a write costs a member apart from sockets, storage and the log's disk. One operation is one
// client write at a primary with two secondaries, one mutation at a secondary.
func BenchmarkReplicate(b *testing.B) {
	for _, perTurn := range []int{1, 16, 64} {
		b.Run("primary/turn="+strconv.Itoa(perTurn), func(b *testing.B) {
			h := newHotMember(b, true, perTurn)
			b.ReportAllocs()
			b.ResetTimer()
			h.rounds(b, perTurn, func() bool {
				h.serve()
				if !h.commit(b) {
					return false
				}
				h.acknowledge()
				h.unsent()
				return true
			})
		})
		b.Run("secondary/turn="+strconv.Itoa(perTurn), func(b *testing.B) {
			h := newHotMember(b, false, 1)
			b.ReportAllocs()
			b.ResetTimer()
			h.rounds(b, perTurn, func() bool {
				h.prepare(perTurn)
				if !h.commit(b) {
					return false
				}
				h.unsent()
				return true
			})
		})
	}
}

// The clock of the former primary was an hour ahead: its successor's mutations are newer all the same.
func TestTimestampsRiseAcrossPrimaries(t *testing.T) {
	h := newHotMember(t, false, 1)
	ahead := h.sh.loop.WallMicros() + int64(time.Hour/time.Microsecond)
	h.turn(func() {
		m := proto.ReplMessage{
			Type: proto.ReplPrepare, GPID: h.p.gpid, Ballot: 1, Decree: h.next, Timestamp: ahead, Batch: h.batch,
		}
		h.in = proto.AppendReplMessage(append(h.in[:0], proto.ReplVersion), &m)
		if err := h.sh.takeReplFrame(h.others[0], h.in); err != nil {
			t.Error(err)
		}
	})
	h.sync()
	h.turn(func() {
		h.p.ballot, h.p.wants = 2, true
		h.p.wanted, h.p.wants = consensus.Config{Ballot: 2, Primary: h.node.id, Secondaries: h.others}, true
		h.p.adoptConfig()
		h.serve()
	})
	h.do(func() {
		if h.p.replica.Role() != consensus.Primary || h.p.replica.Timestamp() <= ahead {
			t.Errorf("%s, timestamp %d, want more than %d", describe(h.p), h.p.replica.Timestamp(), ahead)
		}
	})
}

// A secondary applies what is committed in groups: not every commit, but at latest when gatherMutations have come, when gatherTime
// is over, or when it stops being a secondary.
func TestSecondaryGathersCommits(t *testing.T) {
	h := newHotMember(t, false, 1)
	lag := func() int { return int(h.p.replica.Committed() - h.p.store.AppliedDecree()) }
	most := 0
	h.do(func() {
		for range 4 * gatherMutations {
			h.prepare(1)
			h.synced()
			h.unsent()
			most = max(most, lag())
			if lag() != len(h.p.committed) || h.sh.gathered != lag() {
				t.Fatalf("%d commits are not applied, %d are kept, %d in all partitions", lag(), len(h.p.committed), h.sh.gathered)
			}
			if want := lag() * len(h.batch); h.sh.gatheredBytes != want || h.p.gathered.bytes != want {
				t.Fatalf("%d bytes are kept, %d in all partitions, want %d", h.p.gathered.bytes, h.sh.gatheredBytes, want)
			}
		}
	})
	if most < 2 || most > gatherMutations {
		t.Errorf("at most %d commits waited, want more than one and not more than %d", most, gatherMutations)
	}
	eventually(t, "what was gathered is applied when its time is over", func() (applied bool) {
		h.do(func() {
			h.p.step(&consensus.Event{Kind: consensus.EventTick})
			h.work()
			applied = lag() == 0
		})
		return applied
	})
	h.do(func() {
		h.prepare(1)
		h.synced()
		h.prepare(1)
		h.synced()
		if lag() == 0 {
			t.Error("nothing was gathered")
		}
		h.p.wanted = consensus.Config{Ballot: 2, Primary: h.node.id, Secondaries: h.others}
		h.p.ballot, h.p.wants = 2, true
		h.p.adoptConfig()
		if h.p.replica.Role() != consensus.Primary || lag() != 0 {
			t.Errorf("role %v, %d commits are not applied", h.p.replica.Role(), lag())
		}
	})
}

// What all partitions of a shard have gathered is bounded: with others at a limit a secondary applies at once.
func TestSecondariesGatherWithinALimit(t *testing.T) {
	h := newHotMember(t, false, 1)
	for name, tc := range map[string]struct {
		gathered *int
		limit    int
	}{"mutations": {&h.sh.gathered, maxGathered}, "bytes": {&h.sh.gatheredBytes, maxGatheredBytes}} {
		h.do(func() {
			*tc.gathered += tc.limit
			for range 2 * gatherMutations {
				h.prepare(1)
				h.synced()
				h.unsent()
				if n := len(h.p.committed); n != 0 {
					t.Fatalf("%s: %d commits wait", name, n)
				}
			}
			if *tc.gathered != tc.limit {
				t.Errorf("%s: %d gathered, want %d", name, *tc.gathered, tc.limit)
			}
			*tc.gathered -= tc.limit
		})
	}
}
