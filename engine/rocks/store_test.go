package rocks_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// waitFor polls what another thread brings about.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestBackgroundFlush sees the flushed decree move without a Flush: it is what frees the shard log.
func TestBackgroundFlush(t *testing.T) {
	s := mustOpen(t, t.TempDir(), rocks.Options{WriteBufferBytes: 64 << 10})
	defer s.Close()
	for d := int64(1); d <= 2000; d++ {
		if err := s.Apply(proto.Decree(d), slotBatch(d)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "a flush", func() bool { return s.FlushedDecree() > 0 })
	if s.FlushedDecree() > s.AppliedDecree() {
		t.Fatalf("flushed %d, applied %d", s.FlushedDecree(), s.AppliedDecree())
	}
}

// TestStalled lets flushes outrun compactions, which a rate limit makes slow, and sees the stall come and go.
func TestStalled(t *testing.T) {
	sh, err := rocks.NewShared(rocks.SharedOptions{IOBytesPerSecond: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close()
	s := mustOpen(t, t.TempDir(), rocks.Options{Shared: sh, L0Compact: 2, L0Slowdown: 2, L0Stop: 1000})
	defer s.Close()
	if s.Stalled() {
		t.Fatal("an empty store is stalled")
	}
	var b engine.BatchBuilder
	for i := range 200 {
		b.Put(slotKey(int64(i)), 0, 0, make([]byte, 1000))
	}
	for d := proto.Decree(1); d <= 2; d++ {
		if err := s.Apply(d, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the stall", s.Stalled)
	waitFor(t, "its end", func() bool { return !s.Stalled() })
}

// TestMemtableBudget has many stores share a budget that one alone would not reach.
func TestMemtableBudget(t *testing.T) {
	const budget = 2 << 20
	sh, err := rocks.NewShared(rocks.SharedOptions{MemtableBytes: budget, IOBytesPerSecond: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close()
	var stores []*rocks.Store
	for i := range 4 {
		s := mustOpen(t, filepath.Join(t.TempDir(), fmt.Sprint(i)), rocks.Options{Shared: sh})
		defer s.Close()
		stores = append(stores, s)
	}
	for d := int64(1); d <= 8000; d++ {
		if err := stores[d%4].Apply(proto.Decree(d), slotBatch(d)); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range stores {
		waitFor(t, fmt.Sprint("a flush of store ", i), func() bool { return s.FlushedDecree() > 0 })
	}
	// Flushes run behind the writes.
	waitFor(t, "the budget to be kept, roughly", func() bool { return sh.MemtableUsage() <= 2*budget })
}

// TestCloseBesideCalls closes beside everything that may run on other goroutines.
func TestCloseBesideCalls(t *testing.T) {
	for round := range 5 {
		dir := filledStore(t)
		s := mustOpen(t, dir, rocks.Options{})
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		beside := func(call func() error) {
			wg.Go(func() {
				started <- struct{}{}
				for {
					if err := call(); errors.Is(err, engine.ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		n := 0
		beside(func() error { return s.Compact(engine.CompactOptions{}) })
		beside(func() error { _, err := s.Flush(); return err })
		beside(func() error {
			n++
			_, err := s.Checkpoint(filepath.Join(t.TempDir(), fmt.Sprint(round, n)), false)
			return err
		})
		var b engine.GetBatch
		beside(func() error {
			b.Reset()
			b.Add(slotKey(1))
			s.MultiGet(&b, engine.TierAll)
			return b.Err(0)
		})
		for range 4 {
			<-started
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

func TestUsageScenario(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, rocks.Options{})
	if got, err := s.UsageScenario(); err != nil || got != rocks.ScenarioNormal {
		t.Fatal(got, err)
	}
	if err := s.SetUsageScenario("warp"); err == nil {
		t.Fatal("accepted an unknown scenario")
	}
	if err := s.SetUsageScenario(rocks.ScenarioBulkLoad); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(1, slotBatch(1)); err != nil {
		t.Fatal(err)
	}
	if done := s.CompactedAt(); !done.IsZero() {
		t.Fatal(done)
	}
	before := time.Now().Truncate(time.Millisecond)
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, rocks.Options{})
	defer s.Close()
	if got, err := s.UsageScenario(); err != nil || got != rocks.ScenarioBulkLoad {
		t.Fatal(got, err)
	}
	if done := s.CompactedAt(); done.Before(before) || done.After(time.Now()) {
		t.Fatal(done)
	}
	if err := s.SetUsageScenario(rocks.ScenarioNormal); err != nil {
		t.Fatal(err)
	}
}

// A store keeps the number of levels that it was made with, whatever it is opened with later, and compacts to a level.
func TestLevels(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, rocks.Options{Levels: 4})
	if err := s.Apply(1, slotBatch(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(engine.CompactOptions{Level: 3}); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(engine.CompactOptions{Level: 6}); err == nil {
		t.Error("compacted to a level that is not there")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, levels := range []int{0, 2, 10} {
		s = mustOpen(t, dir, rocks.Options{Levels: levels})
		if got := s.Levels(); got != 4 {
			t.Errorf("opened with %d: %d levels", levels, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A compaction that is told to end does so, and the store takes none after that; everything else goes on.
func TestAbortCompact(t *testing.T) {
	s := mustOpen(t, t.TempDir(), rocks.Options{NoAutoCompact: true, TargetFileBytes: 64 << 10, LevelBaseBytes: 64 << 10})
	defer s.Close()
	for d := range proto.Decree(200) {
		if err := s.Apply(d+1, slotBatch(int64(d))); err != nil {
			t.Fatal(err)
		}
		if d%20 == 0 {
			if _, err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := make(chan error)
	go func() {
		for {
			if err := s.Compact(engine.CompactOptions{}); err != nil {
				done <- err
				return
			}
		}
	}()
	s.AbortCompact()
	if err := <-done; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("an aborted compaction says %v", err)
	}
	if err := s.Apply(201, slotBatch(201)); err != nil {
		t.Error(err)
	}
	if _, err := s.Flush(); err != nil {
		t.Error(err)
	}
}

// With NoFillCache reads leave the block cache as it is.
func TestNoFillCache(t *testing.T) {
	sh, err := rocks.NewShared(rocks.SharedOptions{BlockCacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close()
	dir := t.TempDir()
	s := mustOpen(t, dir, rocks.Options{Shared: sh})
	for d := range proto.Decree(40) {
		if err := s.Apply(d+1, slotBatch(int64(d))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	read := func() uint64 {
		var b engine.GetBatch
		b.Add(slotKey(crashSlots))
		s.MultiGet(&b, engine.TierAll)
		if b.Outcome(0) != engine.Found {
			t.Fatal("the record is gone")
		}
		it, err := s.NewIterator(engine.IterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var rows engine.Rows
		if _, _, err := it.Next(&rows, engine.SliceLimit{MaxRows: 100}); err != nil {
			t.Fatal(err)
		}
		it.Close()
		return sh.BlockCacheUsage()
	}
	s.SetTableOptions(engine.TableOptions{PartitionVersion: -1, NoFillCache: true})
	before := sh.BlockCacheUsage()
	if after := read(); after != before {
		t.Errorf("reads put %d bytes into the cache", after-before)
	}
	s.SetTableOptions(engine.TableOptions{PartitionVersion: -1})
	if after := read(); after == before {
		t.Error("reads put nothing into the cache: the test proves nothing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAllocs(t *testing.T) {
	s := mustOpen(t, t.TempDir(), rocks.Options{})
	defer s.Close()
	batch := slotBatch(1)
	d := proto.Decree(1 << 40) // small numbers become interfaces without allocating, and would hide that they do
	apply := func() {
		d++
		if err := s.Apply(d, batch, batch); err != nil {
			t.Fatal(err)
		}
	}
	var b engine.GetBatch
	get := func() {
		b.Reset()
		for i := range int64(16) {
			b.Add(slotKeys[i])
		}
		s.MultiGet(&b, engine.TierCache)
	}
	it, err := s.NewIterator(engine.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var rows engine.Rows
	next := func() {
		if _, _, err := it.Next(&rows, engine.SliceLimit{MaxRows: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]func(){
		"apply": apply, "multiget": get, "iterator": next,
		"decrees": func() { s.FlushedDecree(); s.AppliedDecree(); s.Stalled() },
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

var slotKeys = func() (keys [][]byte) {
	for i := range int64(crashSlots) {
		keys = append(keys, slotKey(i))
	}
	return keys
}()
