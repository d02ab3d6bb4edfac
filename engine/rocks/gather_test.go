package rocks_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

var (
	gatherKey  = slotKey(0)
	missingKey = slotKey(1)
	coldKey    = slotKey(2)
)

// gatherStores are n stores over one Shared; store i has gatherKey with value i.
func gatherStores(t testing.TB, n, size int) (stores []engine.Store) {
	sh, err := rocks.NewShared(rocks.SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sh.Close)
	for i := range n {
		s := mustOpen(t, t.TempDir(), rocks.Options{Shared: sh})
		t.Cleanup(func() { _ = s.Close() })
		putOne(t, s, 1, gatherKey, gatherValue(i, size))
		stores = append(stores, s)
	}
	return stores
}

func gatherValue(i, size int) []byte {
	return append(fmt.Appendf(nil, "value %d ", i), bytes.Repeat([]byte{'x'}, size)...)
}

func putOne(t testing.TB, s engine.Store, d proto.Decree, key []byte, value []byte) {
	var b engine.BatchBuilder
	b.Put(key, 0, 0, value)
	if err := s.Apply(d, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// Every key is looked up in its own store, in whatever order stores come and repeat, and values find room.
func TestGather(t *testing.T) {
	const size = 3000 // more in all than the arena has at first
	stores := gatherStores(t, 40, size)
	var b engine.GetBatch
	for round := range 3 {
		b.Reset()
		var asked []engine.Store
		add := func(s engine.Store, key []byte) {
			b.Add(key)
			asked = append(asked, s)
		}
		for i := range stores {
			add(stores[len(stores)-1-i], gatherKey)
			add(stores[i%7], missingKey)
			add(nil, gatherKey)
		}
		b.Gather(asked)
		for i := range stores {
			want := gatherValue(len(stores)-1-i, size)
			if b.Outcome(3*i) != engine.Found || !bytes.HasSuffix(b.Value(3*i), want) {
				t.Fatalf("round %d, key %d: outcome %v, %d bytes", round, 3*i, b.Outcome(3*i), len(b.Value(3*i)))
			}
			if b.Outcome(3*i+1) != engine.NotFound || b.Outcome(3*i+2) != engine.NotFound {
				t.Fatalf("round %d, key %d: outcomes %v, %v", round, 3*i, b.Outcome(3*i+1), b.Outcome(3*i+2))
			}
		}
	}
}

// One store that is closed spoils its own keys only.
func TestGatherOfClosedStore(t *testing.T) {
	stores := gatherStores(t, 3, 0)
	if err := stores[1].Close(); err != nil {
		t.Fatal(err)
	}
	var b engine.GetBatch
	for range stores {
		b.Add(gatherKey)
	}
	b.Gather(stores)
	if b.Outcome(0) != engine.Found || b.Outcome(2) != engine.Found {
		t.Errorf("outcomes %v, %v", b.Outcome(0), b.Outcome(2))
	}
	if b.Outcome(1) != engine.Failed || !errors.Is(b.Err(1), engine.ErrClosed) {
		t.Errorf("closed: outcome %v, %v", b.Outcome(1), b.Err(1))
	}
}

// Stores of several kinds are asked one by one, and only in memory.
func TestGatherOfKinds(t *testing.T) {
	stores := gatherStores(t, 1, 0)
	other := mem.New(mem.Options{WouldBlock: func(key []byte) bool { return bytes.Equal(key, coldKey) }})
	putOne(t, other, 1, gatherKey, []byte("of the other"))
	putOne(t, other, 2, coldKey, nil)
	var b engine.GetBatch
	for _, key := range [][]byte{gatherKey, gatherKey, coldKey, missingKey} {
		b.Add(key)
	}
	b.Gather([]engine.Store{stores[0], other, other, stores[0]})
	if !bytes.HasSuffix(b.Value(0), gatherValue(0, 0)) || !bytes.HasSuffix(b.Value(1), []byte("of the other")) || b.Outcome(2) != engine.WouldBlock ||
		b.Outcome(3) != engine.NotFound {
		t.Errorf("%q, %q, %v, %v", b.Value(0), b.Value(1), b.Outcome(2), b.Outcome(3))
	}
}

func TestGatherTouchesNoStorage(t *testing.T) {
	s := coldStore(t, rocks.Options{})
	var b engine.GetBatch
	b.Add(slotKey(1))
	b.Add(slotKey(2))
	b.Gather([]engine.Store{s, s})
	if b.Outcome(0) != engine.WouldBlock || b.Outcome(1) != engine.WouldBlock {
		t.Errorf("outcomes %v, %v of keys that are not in memory", b.Outcome(0), b.Outcome(1))
	}
}

func TestGatherAllocs(t *testing.T) {
	stores := gatherStores(t, 20, 100)
	var b engine.GetBatch
	key := gatherKey
	get := func() {
		b.Reset()
		for range stores {
			b.Add(key)
		}
		b.Gather(stores)
	}
	if n := testing.AllocsPerRun(100, get); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What lookups cost when each is in another store, and when all are in a few.
func BenchmarkGather(b *testing.B) {
	for _, n := range []int{4, 256} {
		b.Run(fmt.Sprint(n, " stores"), func(b *testing.B) {
			stores := gatherStores(b, n, 100)
			var batch engine.GetBatch
			key := gatherKey
			asked := make([]engine.Store, 32)
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				batch.Reset()
				for i := range asked {
					asked[i] = stores[at]
					at = (at + 37) % n
					batch.Add(key)
				}
				batch.Gather(asked)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(asked)), "ns/key")
		})
	}
}
