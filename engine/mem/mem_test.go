package mem_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pegasus/engine"
	"pegasus/engine/enginetest"
	"pegasus/engine/mem"
)

func open(t testing.TB, dir string) engine.Store {
	t.Helper()
	s, err := mem.Open(dir, mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) { enginetest.Run(t, open) }

func TestMetamorphic(t *testing.T) {
	for seed := range uint64(10) {
		enginetest.Metamorphic(t, seed, 300, func(dir string) (engine.Store, error) { return mem.Open(dir, mem.Options{}) })
	}
}

func put(t *testing.T, s engine.Store, key string) {
	t.Helper()
	var b engine.BatchBuilder
	b.Put([]byte(key), 0, 0, nil)
	if err := s.Apply(s.AppliedDecree()+1, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func TestWouldBlock(t *testing.T) {
	s := mem.New(mem.Options{WouldBlock: func(key []byte) bool { return string(key) == "cold" }})
	put(t, s, "a")
	put(t, s, "cold")
	for tier, want := range map[engine.Tier]engine.Outcome{engine.TierCache: engine.WouldBlock, engine.TierAll: engine.Found} {
		var b engine.GetBatch
		b.Add([]byte("cold"))
		b.Add([]byte("a"))
		if s.MultiGet(&b, tier); b.Outcome(0) != want || b.Outcome(1) != engine.Found {
			t.Errorf("tier %d: outcomes %d, %d", tier, b.Outcome(0), b.Outcome(1))
		}
		it, err := s.NewIterator(engine.IterOptions{Tier: tier})
		if err != nil {
			t.Fatal(err)
		}
		var rows engine.Rows
		more, o, _ := it.Next(&rows, engine.SliceLimit{MaxRows: 10})
		if blocked := want == engine.WouldBlock; o != engine.Found || more != blocked || rows.Len() != map[bool]int{true: 1, false: 2}[blocked] {
			t.Errorf("tier %d: outcome %d, %d rows, more %v", tier, o, rows.Len(), more)
		}
		if _, o, _ := it.Next(&rows, engine.SliceLimit{MaxRows: 10}); o != want {
			t.Errorf("tier %d: then outcome %d", tier, o)
		}
		it.Close()
	}
}

func TestFailures(t *testing.T) {
	failing := mem.Op("")
	s := mem.New(mem.Options{
		Fail: func(op mem.Op) error {
			if op == failing {
				return engine.ErrNoSpace
			}
			if failing == "i/o" {
				return engine.ErrIO
			}
			return nil
		},
		Stalled: func() bool { return failing == "stall" },
	})
	put(t, s, "a")
	for _, op := range []mem.Op{mem.OpGet, mem.OpScan, mem.OpFlush, mem.OpCheckpoint, mem.OpCompact, mem.OpApply} {
		failing = op
		var err error
		switch op {
		case mem.OpGet:
			var b engine.GetBatch
			b.Add([]byte("a"))
			s.MultiGet(&b, engine.TierAll)
			err = b.Err(0)
		case mem.OpScan:
			_, err = s.NewIterator(engine.IterOptions{})
		case mem.OpFlush:
			_, err = s.Flush()
		case mem.OpCheckpoint:
			_, err = s.Checkpoint(filepath.Join(t.TempDir(), "cp"), false)
		case mem.OpCompact:
			err = s.Compact(engine.CompactOptions{})
		case mem.OpApply:
			err = s.Apply(2)
		}
		if !errors.Is(err, engine.ErrNoSpace) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if failing = "stall"; !s.Stalled() {
		t.Error("not stalled")
	}
	if err := s.Apply(2); err != nil {
		t.Errorf("apply after a full disk: %v", err)
	}
	if failing = "i/o"; s.Apply(3) == nil {
		t.Error("apply did not fail")
	}
	failing = ""
	if err := s.Apply(3); !errors.Is(err, engine.ErrIO) {
		t.Errorf("apply after a failed one: %v", err)
	}
}

// TestReopen loses what was not flushed.
func TestReopen(t *testing.T) {
	s := mem.New(mem.Options{})
	put(t, s, "a")
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "b")
	n := s.Reopen()
	if n.AppliedDecree() != 1 || n.Stats().EstimatedKeys != 1 {
		t.Fatalf("decree %d, %d keys", n.AppliedDecree(), n.Stats().EstimatedKeys)
	}
	if err := s.Apply(3); !errors.Is(err, engine.ErrClosed) {
		t.Fatalf("the old store still works: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a")
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "store.mem")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		for _, b := range [][]byte{bad, good[:i]} {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := mem.Open(dir, mem.Options{}); !errors.Is(err, engine.ErrCorruption) {
				t.Fatalf("damage at byte %d: %v", i, err)
			}
		}
	}
	if err := os.Rename(path, filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.Open(dir, mem.Options{}); !errors.Is(err, engine.ErrNotStore) {
		t.Fatalf("foreign directory: %v", err)
	}
}
