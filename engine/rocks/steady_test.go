package rocks_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

var noSettings = engine.TableOptions{PartitionVersion: -1}

// A compaction that began under a default TTL goes on when that is taken away. The store is steady when what it did is in force, and
// no record changes any more then.
func TestSteady(t *testing.T) {
	const records = 500
	dir := t.TempDir()
	s := mustOpen(t, dir, rocks.Options{NoAutoCompact: true, Compression: "none"})
	noise := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 1000)
	for i := range records {
		for k := range value {
			value[k] = byte(noise.Uint32())
		}
		putOne(t, s, proto.Decree(i+1), steadyKey(i), value)
	}
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	slow, err := rocks.NewShared(rocks.SharedOptions{IOBytesPerSecond: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	s = mustOpen(t, dir, rocks.Options{Shared: slow, NoAutoCompact: true, Compression: "none",
		Table: engine.TableOptions{DefaultTTL: 100_000, PartitionVersion: -1}})
	defer s.Close()
	if !s.Steady(false) {
		t.Error("no options were replaced")
	}
	before, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	had := len(before)
	done := make(chan error, 1)
	go func() { done <- s.Compact(engine.CompactOptions{}) }()
	waitFor(t, "the compaction to write, with the settings that it has by then", func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		return err != nil || len(files) > had
	})
	s.SetTableOptions(noSettings)
	if s.Steady(false) || s.Steady(true) {
		t.Fatal("steady while the compaction runs")
	}
	if expiryOf(t, s, 0) != 0 {
		t.Fatal("the compaction was too quick for the test")
	}
	waitFor(t, "the store to be steady", func() bool { return s.Steady(true) })
	for i := range records {
		if expiryOf(t, s, i) == 0 {
			t.Fatalf("record %d is not yet what the compaction makes of it, or never will be", i)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !s.Steady(false) {
		t.Error("it is not steady any more")
	}
	s.SetTableOptions(noSettings)
	s.SetTableOptions(engine.TableOptions{PartitionVersion: 1})
	if !s.Steady(false) {
		t.Error("options under which compactions rewrite nothing leave nothing behind")
	}
	s.SetTableOptions(engine.TableOptions{PartitionVersion: 1, NoFillCache: true})
	if !s.Steady(false) {
		t.Error("the same options for compactions")
	}
	s.SetTableOptions(noSettings)
	if s.Steady(false) || !s.Steady(true) || !s.Steady(false) {
		t.Error("steady is to be known by a look, and from then on")
	}
}

func steadyKey(i int) []byte { return engine.AppendKey(nil, fmt.Appendf(nil, "h%04d", i), nil) }

func expiryOf(t *testing.T, s engine.Store, i int) uint32 {
	t.Helper()
	var b engine.GetBatch
	b.Add(steadyKey(i))
	s.MultiGet(&b, engine.TierAll)
	v, err := engine.ParseValue(engine.DataV1, b.Value(0))
	if err != nil {
		t.Fatal(err)
	}
	return v.Expire
}
