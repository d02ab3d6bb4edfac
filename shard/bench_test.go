package shard

import (
	"strconv"
	"testing"

	"pegasus/engine"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// Serving costs what a request costs apart from sockets and storage: frame, admission, the turn, the reply. One operation is
// one request.

func benchmarkServe(b *testing.B, code proto.Code, args func([]byte) []byte, write bool) {
	for _, perTurn := range []int{1, 16, 64} {
		b.Run("turn="+strconv.Itoa(perTurn), func(b *testing.B) {
			h := newHot(b, code, args, perTurn)
			b.ReportAllocs()
			b.ResetTimer()
			h.rounds(b, perTurn, func() bool {
				h.serve()
				return !write || h.commit(b)
			})
		})
	}
}

// rounds runs round, which is n operations, until the benchmark has enough. A round that says false waits for room in the log,
// which is made outside the measured time.
func (h *hot) rounds(b *testing.B, n int, round func() bool) {
	for done := 0; done < b.N; {
		h.do(func() {
			b.StartTimer()
			for ok := true; ok && done < b.N; done += n {
				ok = round()
				h.replied()
			}
			b.StopTimer()
		})
		h.sync()
		for h.deliverOne() {
		}
		clear(h.replies)
	}
}

// commit completes a log write; only what the loop does of it is measured.
func (h *hot) commit(b *testing.B) bool {
	b.StopTimer()
	w := h.sh.log.NextWrite()
	if w == nil {
		return false
	}
	h.sh.logJob.write = w
	if err := w.Do(); err != nil {
		b.Error(err)
	}
	b.StartTimer()
	h.sh.logJob.deliver(h.sh)
	h.work()
	return true
}

func BenchmarkServeGet(b *testing.B) {
	benchmarkServe(b, proto.CodeGet, keyArgs("hash", "sort"), false)
}

// BenchmarkServePut includes the append to the log and the commit, not the write of the log.
func BenchmarkServePut(b *testing.B) {
	benchmarkServe(b, proto.CodePut, putArgs("hash", "sort", string(make([]byte, 100))), true)
}

func BenchmarkServeIncr(b *testing.B) {
	benchmarkServe(b, proto.CodeIncr, incrArgs("hash", "sort", 1), true)
}

// BenchmarkForward is one frame's way through the batch to the owner and its reply's way back, without the two wake-ups.
func BenchmarkForward(b *testing.B) {
	for _, perTurn := range []int{1, 64} {
		b.Run("turn="+strconv.Itoa(perTurn), func(b *testing.B) {
			h := newHot(b, proto.CodeGet, keyArgs("hash", "sort"), perTurn)
			b.ReportAllocs()
			h.do(func() {
				b.ResetTimer()
				for n := 0; n < b.N; n += perTurn {
					for _, f := range h.frames {
						h.sh.forward(0, loop.Ref{Slot: 1, Gen: 1}, false, f)
					}
					batch := h.sh.forwards[0]
					h.sh.forwards[0] = nil
					batch.from = 1
					batch.deliver(h.sh)
					h.work()
					h.sh.replies[1].deliver(h.sh)
					h.sh.replies[1] = nil
				}
				b.StopTimer()
			})
		})
	}
}

// BenchmarkOverlay has a window of mutations of 16 records in flight; each operation adds one, looks 16 keys up and lets the
// oldest go.
func BenchmarkOverlay(b *testing.B) {
	for _, window := range []int{16, 256, 4096} {
		b.Run("window="+strconv.Itoa(window), func(b *testing.B) {
			const records = 16
			var o overlay
			ring := make([]*mutationOps, window)
			keys := make([][]byte, 1024)
			for i := range keys {
				keys[i] = engine.AppendKey(nil, []byte("hash"+strconv.Itoa(i)), []byte("sort"))
			}
			next := 0
			fill := func(m *mutationOps) {
				m.builder.Reset()
				for range records {
					m.builder.Put(keys[next%len(keys)], 0, 0, keys[0])
					next++
				}
				o.add(m)
			}
			for i := range ring {
				ring[i] = &mutationOps{}
				fill(ring[i])
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				m := ring[n%window]
				o.drop(m)
				fill(m)
				for i := range records {
					if _, _, ok := o.get(keys[(next-1-i)%len(keys)]); !ok {
						b.Fatal("record in flight not found")
					}
				}
			}
		})
	}
}

// BenchmarkCommit answers a window of mutations that was logged in one write.
func BenchmarkCommit(b *testing.B) {
	for _, window := range []int{16, 2048} {
		b.Run("window="+strconv.Itoa(window), func(b *testing.B) {
			h := newHot(b, proto.CodePut, putArgs("hash", "sort", "value"), 1)
			b.ReportAllocs()
			b.ResetTimer()
			h.rounds(b, window, func() bool {
				b.StopTimer()
				for range window {
					h.serve()
				}
				return h.commit(b)
			})
		})
	}
}
