package rocks_test

import (
	"fmt"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
)

// coldStore returns a store of several files with an empty block cache of its own.
func coldStore(t *testing.T, o rocks.Options) *rocks.Store {
	t.Helper()
	dir := filledStore(t)
	sh, err := rocks.NewShared(rocks.SharedOptions{BlockCacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o.Shared = sh
	o.NoAutoCompact = true
	s := mustOpen(t, dir, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		sh.Close()
	})
	return s
}

// TestCacheTierGet covers one key and a batch, which take different ways through RocksDB.
func TestCacheTierGet(t *testing.T) {
	want := slotContent(300)
	for _, size := range []int{1, 2, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := coldStore(t, rocks.Options{})
			var b engine.GetBatch
			fill := func() {
				b.Reset()
				for i := range size {
					b.Add(slotKey(int64(i + 1)))
				}
			}
			count := func(tier engine.Tier) (found, blocked int) {
				t.Helper()
				s.MultiGet(&b, tier)
				for i := range b.Len() {
					user, stored := want[string(b.Key(i))]
					switch b.Outcome(i) {
					case engine.Found:
						found++
						if got := string(b.Value(i)[engine.ValueHeaderLen:]); !stored || got != user {
							t.Fatalf("key %q: %.20q, want %.20q, stored %v", b.Key(i), got, user, stored)
						}
					case engine.NotFound:
						if stored {
							t.Fatalf("key %q is stored and not found, tier %d", b.Key(i), tier)
						}
					case engine.WouldBlock:
						blocked++
					case engine.Failed:
						t.Fatal(b.Err(i))
					}
				}
				return found, blocked
			}
			fill()
			if _, blocked := count(engine.TierCache); blocked == 0 {
				t.Fatal("a cold store answered everything from memory")
			}
			fill()
			found, blocked := count(engine.TierAll)
			if found == 0 || blocked != 0 {
				t.Fatalf("all tiers: %d found, %d would block", found, blocked)
			}
			fill()
			if again, blocked := count(engine.TierCache); again != found || blocked != 0 {
				t.Fatalf("warm: %d found, %d would block; want %d, 0", again, blocked, found)
			}
			// What is in the memtable needs no storage, and hides what is there.
			if err := s.Apply(s.AppliedDecree()+1, slotBatch(1)); err != nil {
				t.Fatal(err)
			}
			b.Reset()
			b.Add(slotKey(1))
			if s.MultiGet(&b, engine.TierCache); b.Outcome(0) != engine.Found {
				t.Fatalf("outcome %d for a key in the memtable", b.Outcome(0))
			}
		})
	}
}

func TestCacheTierScan(t *testing.T) {
	s := coldStore(t, rocks.Options{BlockBytes: 512})
	scan := func(tier engine.Tier, noFill bool) (rows int, o engine.Outcome) {
		t.Helper()
		it, err := s.NewIterator(engine.IterOptions{Tier: tier, NoFillCache: noFill})
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		var r engine.Rows
		for {
			more, o, err := it.Next(&r, engine.SliceLimit{MaxRows: 7})
			if err != nil {
				t.Fatal(err)
			}
			rows += r.Len()
			if o == engine.WouldBlock {
				if r.Len() != 0 {
					t.Fatalf("%d rows beside WouldBlock", r.Len())
				}
				// The iterator is spent and says so again.
				if _, o, _ := it.Next(&r, engine.SliceLimit{MaxRows: 7}); o != engine.WouldBlock {
					t.Fatalf("a spent iterator answers %d", o)
				}
			}
			if !more || o != engine.Found {
				return rows, o
			}
		}
	}
	if rows, o := scan(engine.TierCache, false); o != engine.WouldBlock {
		t.Fatalf("cold: %d rows, outcome %d", rows, o)
	}
	all, _ := scan(engine.TierAll, true)
	if rows, o := scan(engine.TierCache, false); o != engine.WouldBlock {
		t.Fatalf("after a scan that does not fill the cache: %d rows, outcome %d", rows, o)
	}
	scan(engine.TierAll, false)
	if rows, o := scan(engine.TierCache, false); o != engine.Found || rows != all {
		t.Fatalf("warm: %d rows of %d, outcome %d", rows, all, o)
	}
	if s.Stats().FilesAtLevel0 != 3 || s.Stats().LiveBytes == 0 {
		t.Fatalf("stats %+v", s.Stats())
	}
}

// TestPrefixFilter proves that a range read of an absent hash key is answered by the filters, which are in memory, while
// without them it needs a data block, which is not.
func TestPrefixFilter(t *testing.T) {
	hash := func(i int) []byte { return []byte{'k', byte(i)} }
	for _, noPrefix := range []bool{false, true} {
		t.Run(fmt.Sprint("noPrefix=", noPrefix), func(t *testing.T) {
			dir := t.TempDir()
			o := rocks.Options{NoPrefixFilter: noPrefix}
			s := mustOpen(t, dir, o)
			var b engine.BatchBuilder
			for i := 0; i <= 200; i += 2 {
				b.Put(engine.AppendKey(nil, hash(i), []byte("s")), 0, 0, make([]byte, 100))
			}
			if err := s.Apply(1, b.Bytes()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sh, err := rocks.NewShared(rocks.SharedOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer sh.Close()
			o.Shared = sh
			s = mustOpen(t, dir, o)
			defer s.Close()
			answered := 0
			for i := 1; i < 200; i += 2 {
				it, err := s.NewIterator(engine.IterOptions{
					Lower: engine.AppendKey(nil, hash(i), nil), Upper: engine.AppendNextHashKey(nil, hash(i)), Tier: engine.TierCache})
				if err != nil {
					t.Fatal(err)
				}
				var rows engine.Rows
				if more, out, err := it.Next(&rows, engine.SliceLimit{MaxRows: 1}); more || rows.Len() > 0 || err != nil {
					t.Fatal(more, rows.Len(), err)
				} else if out == engine.Found {
					answered++
				}
				it.Close()
			}
			// One in a hundred may be a false positive.
			if !noPrefix && answered < 90 || noPrefix && answered > 10 {
				t.Fatalf("%d of 100 absent hash keys answered from memory", answered)
			}
		})
	}
}
