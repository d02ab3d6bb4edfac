package rocks_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
)

// The shapes of LIMITS: 20-byte keys, 100-byte values. benchKeys fit the block cache.
const (
	benchKeys  = 200_000
	benchValue = 100
)

func benchKey(dst []byte, i int) []byte {
	// Scattered like hashes, so that neighbours in time are not neighbours in the tree.
	return engine.AppendKey(dst, fmt.Appendf(nil, "user%010d", uint32(i)*2654435761%benchKeys), []byte("sort"))
}

// benchStore is filled, and with flush set read from files through a warm cache.
func benchStore(b *testing.B, flush bool) (*rocks.Store, [][]byte) {
	b.Helper()
	s := mustOpen(b, b.TempDir(), rocks.Options{WriteBufferBytes: 256 << 20})
	b.Cleanup(func() { s.Close() })
	keys := make([][]byte, benchKeys)
	var batch engine.BatchBuilder
	for i := range keys {
		keys[i] = benchKey(nil, i)
		batch.Put(keys[i], 0, 0, make([]byte, benchValue))
		if batch.Count() == 1000 || i == len(keys)-1 {
			if err := s.Apply(s.AppliedDecree()+1, batch.Bytes()); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
	if flush {
		if err := s.Compact(engine.CompactOptions{}); err != nil {
			b.Fatal(err)
		}
		var g engine.GetBatch
		for _, k := range keys {
			g.Reset()
			g.Add(k)
			s.MultiGet(&g, engine.TierAll)
		}
	}
	b.Log(rocks.BuildProfile())
	b.ReportAllocs()
	b.ResetTimer()
	return s, keys
}

func benchGet(b *testing.B, flush bool, size int, tier engine.Tier) {
	s, keys := benchStore(b, flush)
	var g engine.GetBatch
	at := 0
	for b.Loop() {
		g.Reset()
		for range size {
			g.Add(keys[at])
			at = (at + 7919) % len(keys)
		}
		s.MultiGet(&g, tier)
		if g.Outcome(size-1) != engine.Found {
			b.Fatal(g.Outcome(size-1), g.Err(size-1))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/key")
}

func BenchmarkGet(b *testing.B) {
	for _, where := range []string{"memtable", "cache"} {
		for _, size := range []int{1, 16} {
			for tier, name := range []string{"TierCache", "TierAll"} {
				b.Run(fmt.Sprintf("%s/%s/keys=%d", where, name, size), func(b *testing.B) {
					benchGet(b, where == "cache", size, engine.Tier(tier))
				})
			}
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("puts=", size), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), rocks.Options{})
			b.Cleanup(func() { s.Close() })
			batches := make([]engine.BatchBuilder, 1000)
			value := make([]byte, benchValue)
			n := 0
			for i := range batches {
				for range size {
					batches[i].Put(benchKey(nil, n), 0, 0, value)
					n++
				}
			}
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				if err := s.Apply(s.AppliedDecree()+1, batches[at].Bytes()); err != nil {
					b.Fatal(err)
				}
				at = (at + 1) % len(batches)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/put")
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for _, where := range []string{"memtable", "cache"} {
		for _, size := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/rows=%d", where, size), func(b *testing.B) {
				s, _ := benchStore(b, where == "cache")
				var it engine.Iterator
				var rows engine.Rows
				for b.Loop() {
					if it == nil {
						var err error
						if it, err = s.NewIterator(engine.IterOptions{Tier: engine.TierAll}); err != nil {
							b.Fatal(err)
						}
					}
					more, _, err := it.Next(&rows, engine.SliceLimit{MaxRows: size})
					if err != nil {
						b.Fatal(err)
					}
					if !more {
						it.Close()
						it = nil
					}
				}
				if it != nil {
					it.Close()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/row")
			})
		}
	}
}

// BenchmarkSeekScan10 opens an iterator for each ten rows.
func BenchmarkSeekScan10(b *testing.B) {
	for _, where := range []string{"memtable", "cache"} {
		b.Run(where, func(b *testing.B) {
			s, keys := benchStore(b, where == "cache")
			var rows engine.Rows
			at := 0
			for b.Loop() {
				at = (at + 7919) % len(keys)
				it, err := s.NewIterator(engine.IterOptions{Lower: keys[at], Tier: engine.TierCache})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := it.Next(&rows, engine.SliceLimit{MaxRows: 10}); err != nil {
					b.Fatal(err)
				}
				it.Close()
			}
		})
	}
}

// BenchmarkNeighbours gets and puts ten records of a hash key, as multi_get and multi_put do.
func BenchmarkNeighbours(b *testing.B) {
	const n = 10
	setup := func(b *testing.B) (*rocks.Store, [][]byte) {
		s, keys := benchStore(b, false)
		slices.SortFunc(keys, bytes.Compare)
		return s, keys
	}
	b.Run("get", func(b *testing.B) {
		s, keys := setup(b)
		var g engine.GetBatch
		at := 0
		for b.Loop() {
			g.Reset()
			for _, key := range keys[at*n : at*n+n] {
				g.Add(key)
			}
			at = (at + 7919) % (len(keys) / n)
			if s.MultiGet(&g, engine.TierCache); g.Outcome(n-1) != engine.Found {
				b.Fatal(g.Outcome(n-1), g.Err(n-1))
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
	})
	b.Run("put", func(b *testing.B) {
		s, keys := setup(b)
		var batch engine.BatchBuilder
		value := make([]byte, benchValue)
		at := 0
		for b.Loop() {
			batch.Reset()
			for _, key := range keys[at*n : at*n+n] {
				batch.Put(key, 0, 0, value)
			}
			at = (at + 7919) % (len(keys) / n)
			if err := s.Apply(s.AppliedDecree()+1, batch.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/put")
	})
	b.Run("load", func(b *testing.B) { // ascending keys behind all that are there
		s, _ := setup(b)
		var batch engine.BatchBuilder
		value := make([]byte, benchValue)
		at := 0
		for b.Loop() {
			batch.Reset()
			for range n {
				batch.Put(engine.AppendKey(nil, fmt.Appendf(nil, "vser%010d", at), []byte("sort")), 0, 0, value)
				at++
			}
			if err := s.Apply(s.AppliedDecree()+1, batch.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/put")
	})
}

// BenchmarkBareCall is the price of crossing into C++ and back.
func BenchmarkBareCall(b *testing.B) {
	for b.Loop() {
		rocks.LiveObjects()
	}
}
