package shard

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// read gets a record in a turn of its own; absent ones are "-".
func (s *solo) read(key string) string {
	s.t.Helper()
	var seq int32
	s.turn(func() { seq = s.request(proto.CodeGet, solo1, keyArgs(key, "")) })
	var r proto.ReadResponse
	reply, ok := s.replies[seq]
	if !ok {
		s.t.Fatalf("get of %s: no answer", key)
	}
	if err := r.DecodeResult(reply.Body); err != nil {
		s.t.Fatalf("get of %s: %v", key, err)
	}
	if r.Error != 0 {
		return "-"
	}
	return string(r.Value)
}

// rowHits are the gets that the row cache has answered.
func (s *solo) rowHits() (n uint64) {
	s.do(func() { n = s.sh.rows.Stats().Hits })
	return n
}

// describe is what meta says of the table.
func (s *solo) describe(p *partition, envs map[string]string) {
	s.do(func() {
		p.configureTable(&proto.AppInfo{Status: proto.AppAvailable, AppID: solo1.App, PartitionCount: 1, Envs: envs})
	})
}

// compactAway deletes a record as a compaction does: the store changes, and the loop is not told.
func (s *solo) compactAway(store engine.Store, key string) {
	var b engine.BatchBuilder
	b.Delete(rawKey(key, ""))
	s.do(func() {
		if err := store.Apply(store.AppliedDecree()+1, b.Bytes()); err != nil {
			s.t.Error(err)
		}
	})
}

// Whatever is written, by whichever request, the next get sees it, and gets are answered from the cache meanwhile.
func TestRowsFollowWrites(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	s.open(solo1, mem.New(mem.Options{}))
	rng := rand.New(rand.NewPCG(3, 4))
	want := map[string]string{}
	for i := range 2000 {
		key := fmt.Sprint("key", rng.IntN(20))
		switch rng.IntN(6) {
		case 0:
			want[key] = fmt.Sprint(i)
			s.put(key, want[key])
			s.finish()
		case 1:
			delete(want, key)
			s.turn(func() { s.request(proto.CodeRemove, solo1, keyArgs(key, "")) })
			s.finish()
		case 2:
			want["counter"] = fmt.Sprint(i)
			s.turn(func() {
				s.request(proto.CodeRemove, solo1, keyArgs("counter", ""))
				s.request(proto.CodeIncr, solo1, incrArgs("counter", "", int64(i)))
			})
			s.finish()
			key = "counter"
		}
		expect, ok := want[key]
		if !ok {
			expect = "-"
		}
		if got := s.read(key); got != expect {
			t.Fatalf("step %d: %s is %q, want %q", i, key, got, expect)
		}
	}
	if n := s.rowHits(); n < 200 {
		t.Fatalf("the row cache answered %d gets: nothing was tested", n)
	}
}

// A turn may ask for some rows that are there and some that are not, and for one row twice.
func TestRowsOfATurn(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	s.open(solo1, mem.New(mem.Options{}))
	for _, key := range []string{"a", "b", "c"} {
		s.put(key, "value of "+key)
	}
	s.finish()
	s.read("b")
	keys := []string{"a", "b", "absent", "c", "b", "a"}
	seqs := make([]int32, len(keys))
	s.turn(func() {
		for i, key := range keys {
			seqs[i] = s.request(proto.CodeGet, solo1, keyArgs(key, ""))
		}
	})
	for i, key := range keys {
		var r proto.ReadResponse
		reply := s.replies[seqs[i]]
		if err := r.DecodeResult(reply.Body); err != nil {
			t.Fatal(err)
		}
		if key == "absent" {
			if r.Error == 0 {
				t.Errorf("%s was found", key)
			}
		} else if string(r.Value) != "value of "+key {
			t.Errorf("%s is %q", key, r.Value)
		}
	}
}

// A row expires in the cache as it does in the store.
func TestRowsExpire(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(solo1, mem.New(mem.Options{}))
	var expires uint32
	s.do(func() { expires = p.freshEnv().NowEpoch + 2 })
	m := proto.PutRequest{Key: rawKey("k", ""), Value: []byte("v"), Expire: int32(expires)}
	s.turn(func() { s.request(proto.CodePut, solo1, m.AppendArgs) })
	s.finish()
	eventually(t, "the record to expire", func() bool { return s.read("k") == "-" })
	if s.rowHits() == 0 {
		t.Fatal("the row was never in the cache")
	}
}

// What compactions may change behind the loop's back is not cached, and what was cached before is not believed afterwards.
func TestRowsOfTablesThatCompactionsChange(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	store := mem.New(mem.Options{})
	p := s.open(solo1, store)
	s.put("k", "v")
	s.finish()
	s.read("k")
	s.read("k")
	before := s.rowHits()
	if before == 0 {
		t.Fatal("the row was never in the cache")
	}
	s.describe(p, map[string]string{"default_ttl": "100"})
	s.read("k")
	s.compactAway(store, "k")
	if got := s.read("k"); got != "-" {
		t.Errorf("with a default TTL a get is answered from the cache: %q", got)
	}
	s.describe(p, nil)
	if got := s.read("k"); got != "-" {
		t.Errorf("after a default TTL a get is answered from before it: %q", got)
	}
	if after := s.rowHits(); after != before {
		t.Errorf("%d hits", after-before)
	}
}

// Rows of a store that was replaced are not believed.
func TestRowsOfAnotherStore(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(solo1, mem.New(mem.Options{}))
	s.put("k", "v")
	s.finish()
	s.read("k")
	s.do(func() { p.store = mem.New(mem.Options{}) })
	if got := s.read("k"); got != "-" {
		t.Fatalf("the new store has nothing, and %q was read", got)
	}
}

// Settings that come and go without a get in between end what was cached before them as well.
func TestRowsBeginAnewWithSettings(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	store := mem.New(mem.Options{})
	p := s.open(solo1, store)
	s.put("k", "v")
	s.finish()
	s.read("k")
	before := s.rowHits()
	s.describe(p, nil)
	if s.read("k"); s.rowHits() != before+1 {
		t.Error("settings that are the same took the row away")
	}
	s.describe(p, map[string]string{"default_ttl": "100"})
	s.describe(p, nil)
	s.compactAway(store, "k")
	if got := s.read("k"); got != "-" {
		t.Fatalf("a get is answered from before a default TTL: %q", got)
	}
}

// unsteadyStore has a compaction under way that began under other options, until it is over.
type unsteadyStore struct {
	engine.Store
	over, seen atomic.Bool
}

func (s *unsteadyStore) Steady(look bool) bool {
	if look && s.over.Load() {
		s.seen.Store(true)
	}
	return s.seen.Load()
}

// While a compaction that began under other settings may still change records, none is cached; when it is over they are.
func TestRowsWaitForCompactions(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	store := &unsteadyStore{Store: mem.New(mem.Options{})}
	store.seen.Store(true)
	p := s.open(solo1, store)
	s.put("k", "v")
	s.put("other", "w")
	s.finish()
	s.read("k")
	s.do(func() { p.flushed = p.replica.Committed() })
	survey := func() {
		s.do(s.sh.survey)
		m := next[*flushSurvey](s)
		s.turn(func() { m.deliver(s.sh) })
	}
	s.describe(p, map[string]string{"default_ttl": "100"})
	store.seen.Store(false)
	s.describe(p, nil)
	survey()
	before := s.rowHits()
	if got := s.read("k"); got != "v" {
		t.Fatal(got)
	}
	s.compactAway(store, "k")
	if got := s.read("k"); got != "-" || s.rowHits() != before {
		t.Fatalf("what the compaction took away is still read: %q", got)
	}
	store.over.Store(true)
	survey()
	for range 3 {
		if got := s.read("other"); got != "w" {
			t.Fatal(got)
		}
	}
	if s.rowHits() == before {
		t.Error("the compaction is over, and no row is cached")
	}
	s.do(func() {
		if s.sh.survey(); s.sh.surveying {
			t.Error("the store is asked although nothing waits for it")
		}
	})
}
