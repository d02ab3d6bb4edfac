package rocks_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/linxGnu/grocksdb"

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

// Stores that fail in one call fail with their own errors, and spoil nothing before, between and behind them.
func TestGatherOfFailingStores(t *testing.T) {
	const size = 3000
	stores := gatherStores(t, 40, size)
	bad := map[int]string{3: "merge_operator", 4: "blob index", 21: "corrupted key"}
	for i, tag := range map[int]byte{3: tagMerge, 4: tagBlobIndex, 21: tagEntity} {
		stores[i] = brokenStore(t, gatherKey, tag)
	}
	var b engine.GetBatch
	for round := range 2 { // the arena of values has to grow in the first
		b.Reset()
		asked := append([]engine.Store{nil}, stores...)
		for range asked {
			b.Add(gatherKey)
		}
		b.SetFound(0, []byte("of the row cache"))
		b.Gather(asked)
		if b.Outcome(0) != engine.Found || string(b.Value(0)) != "of the row cache" {
			t.Errorf("round %d: what was not asked for: outcome %v, %.20q", round, b.Outcome(0), b.Value(0))
		}
		for i := range stores {
			outcome, err := b.Outcome(i+1), b.Err(i+1)
			if want := bad[i]; want == "" {
				if outcome != engine.Found || err != nil || !bytes.HasSuffix(b.Value(i+1), gatherValue(i, size)) {
					t.Errorf("round %d, store %d: outcome %v, %v, %d bytes", round, i, outcome, err, len(b.Value(i+1)))
				}
			} else if outcome != engine.Failed || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("round %d, store %d: outcome %v, %v, want %q", round, i, outcome, err, want)
			}
		}
	}
}

// Kinds of records that a store never has, in the default family; see RocksDB's dbformat.h.
const (
	tagMerge     = 0x2
	tagBlobIndex = 0x11
	tagEntity    = 0x16
)

// brokenStore opens a store in which key has a record of a kind that cannot be read, and nonsense for a value. Its block is in memory.
func brokenStore(t *testing.T, key []byte, tag byte) engine.Store {
	dir := t.TempDir()
	s := mustOpen(t, dir, rocks.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := grocksdb.NewDefaultOptions()
	defer o.Destroy()
	o.SetUint64AddMergeOperator()
	names, err := grocksdb.ListColumnFamilies(o, dir)
	if err != nil {
		t.Fatal(err)
	}
	db, families, err := grocksdb.OpenDbColumnFamilies(o, dir, names, slices.Repeat([]*grocksdb.Options{o}, len(names)))
	if err != nil {
		t.Fatal(err)
	}
	rep := append(make([]byte, 8), 1, 0, 0, 0, tag)
	rep = append(append(binary.AppendUvarint(rep, uint64(len(key))), key...), 2, 0, 127)
	w, batch, f := grocksdb.NewDefaultWriteOptions(), grocksdb.WriteBatchFrom(rep), grocksdb.NewDefaultFlushOptions()
	err = errors.Join(db.Write(w, batch), db.Flush(f))
	w.Destroy()
	batch.Destroy()
	f.Destroy()
	for _, family := range families {
		family.Destroy()
	}
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, rocks.Options{})
	t.Cleanup(func() { _ = s.Close() })
	var b engine.GetBatch
	b.Add(key)
	if s.MultiGet(&b, engine.TierAll); b.Outcome(0) != engine.Failed {
		t.Fatalf("a broken record: outcome %v", b.Outcome(0))
	}
	return s
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
