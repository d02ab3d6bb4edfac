package rocks_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
)

// oddKeys are keys that lie close to each other, or look like each other's lengths and versions.
func oddKeys(rng *rand.Rand, n int) [][]byte {
	parts := [][]byte{{}, {0}, {0xff}, {0xff, 0xff}, []byte("a"), []byte("ab"), []byte("user"), bytes.Repeat([]byte{'k'}, 118),
		bytes.Repeat([]byte{'k'}, 119), bytes.Repeat([]byte{0x80}, 300), bytes.Repeat([]byte{'z'}, 17_000)}
	seen := map[string]bool{}
	var keys [][]byte
	for len(keys) < n {
		hash, sort := slices.Clone(parts[rng.IntN(len(parts))]), slices.Clone(parts[rng.IntN(len(parts)-1)])
		for range rng.IntN(4) {
			sort = append(sort, byte(rng.Uint32()))
		}
		if key := engine.AppendKey(nil, hash, sort); !seen[string(key)] {
			seen[string(key)] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// Whatever is written in whatever order, with many versions of a key, memtable and model agree on gets and on scans both ways.
func TestMemtableAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			s := mustOpen(t, t.TempDir(), rocks.Options{})
			defer s.Close()
			keys := oddKeys(rng, 400)
			if seed%2 == 1 { // in order, as bulk loads come
				slices.SortFunc(keys, bytes.Compare)
			}
			model := map[string][]byte{}
			var b engine.BatchBuilder
			for at, round := 0, 0; round < 300; round++ {
				b.Reset()
				for range 1 + rng.IntN(60) {
					key := keys[at%len(keys)]
					if at++; seed%2 == 0 {
						key = keys[rng.IntN(len(keys))]
					}
					if rng.IntN(4) == 0 {
						b.Delete(key)
						delete(model, string(key))
						continue
					}
					value := fmt.Appendf(nil, "%d.%d", round, at)
					b.Put(key, 0, uint64(round), value)
					model[string(key)] = value
				}
				if err := s.Apply(s.AppliedDecree()+1, b.Bytes()); err != nil {
					t.Fatal(err)
				}
				if round%30 != 29 {
					continue
				}
				checkGets(t, s, keys, model)
				checkScans(t, s, rng, model)
			}
			if st := s.Stats(); st.FilesAtLevel0 != 0 || st.LiveBytes != 0 {
				t.Error("the memtable was flushed: the test is about nothing else")
			}
		})
	}
}

func checkGets(t *testing.T, s *rocks.Store, keys [][]byte, model map[string][]byte) {
	t.Helper()
	var g engine.GetBatch
	for _, k := range keys {
		g.Add(k)
	}
	s.MultiGet(&g, engine.TierCache)
	for i, k := range keys {
		want, there := model[string(k)]
		if !there && g.Outcome(i) != engine.NotFound || there && (g.Outcome(i) != engine.Found || !bytes.HasSuffix(g.Value(i), want)) {
			t.Fatalf("get %q: %v, want %q, %v", k, g.Outcome(i), want, there)
		}
	}
}

// scan returns the keys of a range.
func scan(t *testing.T, s *rocks.Store, o engine.IterOptions) (keys []string) {
	t.Helper()
	it, err := s.NewIterator(o)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer it.Close()
	var rows engine.Rows
	for more := true; more; {
		var outcome engine.Outcome
		if more, outcome, err = it.Next(&rows, engine.SliceLimit{MaxRows: 50}); outcome != engine.Found {
			t.Error(outcome, err)
			return nil
		}
		rows.Each(func(key, _ []byte) bool {
			keys = append(keys, string(key))
			return true
		})
	}
	return keys
}

func checkScans(t *testing.T, s *rocks.Store, rng *rand.Rand, model map[string][]byte) {
	t.Helper()
	sorted := slices.Sorted(maps.Keys(model))
	for range 20 {
		lower, upper := sorted[rng.IntN(len(sorted))], sorted[rng.IntN(len(sorted))]
		if lower > upper {
			lower, upper = upper, lower
		}
		lo, _ := slices.BinarySearch(sorted, lower)
		hi, _ := slices.BinarySearch(sorted, upper)
		for _, reverse := range []bool{false, true} {
			want := slices.Clone(sorted[lo:hi])
			if reverse {
				slices.Reverse(want)
			}
			if got := scan(t, s, engine.IterOptions{Lower: []byte(lower), Upper: []byte(upper), Reverse: reverse}); !slices.Equal(got, want) {
				t.Fatalf("scan, reverse %v: %d keys, want %d", reverse, len(got), len(want))
			}
		}
	}
}

// Batches of every shape find their places beside what is there, whatever of the batch itself comes between a record and where it
// was looked for: more of them than are looked for ahead, keys once and again, next to each other, and in order.
func TestMemtableBatchesAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	s := mustOpen(t, t.TempDir(), rocks.Options{})
	defer s.Close()
	model := map[string][]byte{}
	key := func(i int) []byte { return engine.AppendKey(nil, fmt.Appendf(nil, "user%06d", i), []byte("sort")) }
	const space = 40_000
	shapes := map[string]func(from, i, n int) int{
		"ascending":   func(from, i, n int) int { return from + i },
		"interleaved": func(from, i, n int) int { return from + i*7 }, // between records that are there
		"descending":  func(from, i, n int) int { return from - i },
		"converging":  func(from, i, n int) int { return from + (i%2*2-1)*(n-i) },
		"again":       func(from, i, n int) int { return from + i%3 },
		"scattered":   func(from, i, n int) int { return rng.IntN(space) },
		"close":       func(from, i, n int) int { return from + rng.IntN(20) },
	}
	names := slices.Sorted(maps.Keys(shapes))
	var b engine.BatchBuilder
	apply := func(keys [][]byte, round int) {
		b.Reset()
		for i, key := range keys {
			value := fmt.Appendf(nil, "%d.%d", round, i)
			if b.Put(key, 0, 0, value); i%5 == 4 {
				b.Delete(key)
				value = nil
			}
			if model[string(key)] = value; value == nil {
				delete(model, string(key))
			}
		}
		if err := s.Apply(s.AppliedDecree()+1, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 200 {
		n := []int{2, 3, 15, 16, 17, 40, 300}[rng.IntN(7)]
		shape, from := shapes[names[round%len(names)]], n+rng.IntN(space)
		var keys [][]byte
		for i := range n {
			keys = append(keys, key(shape(from, i, n)))
		}
		apply(keys, round)
		if round%3 == 0 { // right behind what that ended with
			last := keys[n-1]
			apply([][]byte{slices.Concat(last, []byte{0}), slices.Concat(last, []byte{0, 1}), slices.Concat(last, []byte{2})}, round)
		}
		if round%20 != 19 {
			continue
		}
		var all [][]byte
		for i := range rng.IntN(50) {
			all = append(all, key(from+i), key(rng.IntN(space)))
		}
		checkGets(t, s, all, model)
		want := slices.Sorted(maps.Keys(model))
		if got := scan(t, s, engine.IterOptions{Tier: engine.TierAll}); !slices.Equal(got, want) {
			t.Fatalf("round %d: a scan finds %d keys, want %d", round, len(got), len(want))
		}
		checkScans(t, s, rng, model)
	}
	if st := s.Stats(); st.FilesAtLevel0 != 0 || st.LiveBytes != 0 {
		t.Error("the memtable was flushed: the test is about nothing else")
	}
}

// One writer, readers beside it: what was there before a read began is found, scans are in order, and memtables that become full and are
// flushed meanwhile, with searches walking in them, take nothing away.
func TestMemtableReadersBesideWriter(t *testing.T) {
	s := mustOpen(t, t.TempDir(), rocks.Options{WriteBufferBytes: 64 << 10})
	defer s.Close()
	const records, batch = 20_000, 40
	key := func(i int) []byte { // scattered, so that it is inserted everywhere
		return engine.AppendKey(nil, fmt.Appendf(nil, "user%010d", uint32(i)*2654435761), []byte("sort"))
	}
	var written atomic.Int64 // keys below it are in the store
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			var g engine.GetBatch
			for round := 0; ; round++ {
				n := int(written.Load())
				if n > 0 {
					g.Reset()
					for range 20 {
						g.Add(key(rng.IntN(n)))
					}
					s.MultiGet(&g, engine.Tier(round%2))
					for i := range g.Len() {
						if o := g.Outcome(i); o != engine.Found && !(o == engine.WouldBlock && round%2 == int(engine.TierCache)) {
							t.Errorf("a key that was written is %v, %v", o, g.Err(i))
							return
						}
					}
				}
				if round%50 == 0 {
					keys := scan(t, s, engine.IterOptions{Tier: engine.TierAll, Reverse: round%100 == 0})
					if round%100 == 0 {
						slices.Reverse(keys)
					}
					if len(keys) < n || !slices.IsSorted(keys) {
						t.Errorf("a scan finds %d of %d, in order: %v", len(keys), n, slices.IsSorted(keys))
						return
					}
				}
				if n == records {
					return
				}
			}
		})
	}
	var b engine.BatchBuilder
	for i := 0; i < records; i += batch {
		b.Reset()
		for j := range batch {
			b.Put(key(i+j), 0, 0, []byte("value"))
		}
		if err := s.Apply(s.AppliedDecree()+1, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		written.Store(int64(i + batch))
	}
	wg.Wait()
	if s.Stats().FilesAtLevel0 == 0 && s.Stats().LiveBytes == 0 {
		t.Error("nothing was flushed")
	}
}

// What is inserted between a key and where the search ahead of its lookup ended does not hide it.
func TestMemtableGetsBesideInsertsInFront(t *testing.T) {
	s := mustOpen(t, t.TempDir(), rocks.Options{})
	defer s.Close()
	const fixed, rounds = 16, 3000
	key := func(i int, front uint32) []byte { // those in front of key(i, MaxUint32) come closer and closer
		return engine.AppendKey(nil, fmt.Appendf(nil, "user%02d", i), binary.BigEndian.AppendUint32(nil, front))
	}
	var b engine.BatchBuilder
	put := func(front uint32) {
		b.Reset()
		for i := range fixed {
			b.Put(key(i, front), 0, 0, []byte("value"))
		}
		if err := s.Apply(s.AppliedDecree()+1, b.Bytes()); err != nil {
			t.Error(err)
		}
	}
	put(math.MaxUint32)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for front := range uint32(rounds) {
			put(front)
		}
		done.Store(true)
	})
	var g engine.GetBatch
	for !done.Load() {
		g.Reset()
		for i := range fixed {
			g.Add(key(i, math.MaxUint32))
		}
		s.MultiGet(&g, engine.TierCache)
		for i := range g.Len() {
			if g.Outcome(i) != engine.Found {
				t.Errorf("key %d: %v", i, g.Outcome(i))
				done.Store(true)
			}
		}
	}
	wg.Wait()
}
