package shard

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// One key makes a tenth of the requests, the rest is spread over a thousand.
func TestHotKeyIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h hotCounter
	const requests = 200_000
	for range requests {
		key := fmt.Sprintf("cold%d", r.IntN(1000))
		if r.IntN(10) == 0 {
			key = "hot"
		}
		if h.sample(0, 1) == 0 {
			h.count(engine.AppendKey(nil, []byte(key), []byte("sort")))
		}
	}
	hot := h.sketch.hottest(true, 10)
	if len(hot) == 0 || hot[0].HashKey != "hot" || !hot[0].Write {
		t.Fatalf("hot keys %v", hot)
	}
	if hot[0].Percent < 8 || hot[0].Percent > 20 || hot[0].PerSec < requests/10/10*8/10 || hot[0].PerSec > requests/10/10*2 {
		t.Errorf("estimated as %+v", hot[0])
	}
	h.count([]byte{0xff}) // no raw key
	if (*hotSketch)(nil).hottest(false, 1) != nil {
		t.Error("keys without a sample")
	}
}

// What is counted in a replica comes out of the census that ends a period, once.
func TestHotKeysOfAPeriod(t *testing.T) {
	h := newHot(t, proto.CodeGet, keyArgs("hash", "k"), 16)
	g := proto.GPID{App: 1}
	a := &census{shard: h.sh, back: make(chan *census, 1), replicas: map[proto.GPID]*replicaCensus{}}
	period := func(last bool) []proto.HotKey {
		h.do(func() {
			a.round, a.last = a.round+1, last
			a.deliver(h.sh)
		})
		<-a.back
		return a.replicas[g].hotReads.hottest(false, 10)
	}
	h.do(func() {
		for range 100 {
			h.serve()
			h.replied()
		}
	})
	if hot := period(false); hot != nil {
		t.Errorf("before the end of the period: %v", hot)
	}
	if hot := period(true); len(hot) != 1 || hot[0].HashKey != "hash" || hot[0].Percent != 100 || hot[0].PerSec != 160 {
		t.Errorf("hot keys %v", hot)
	}
	if hot := period(true); len(hot) != 0 {
		t.Errorf("in a period without requests: %v", hot)
	}
}

// Of every so many requests one is counted, and not always the same one of a client that repeats itself.
func TestSamplingDoesNotRepeatItself(t *testing.T) {
	var h hotCounter
	places := map[int]int{}
	const rounds = 1000
	for i := range rounds * hotSample {
		if h.sample(0, 1) == 0 {
			places[i%hotSample]++
		}
	}
	total := 0
	for place, n := range places {
		if total += n; n > 4*rounds/hotSample {
			t.Errorf("place %d is counted %d times in %d", place, n, rounds)
		}
	}
	if total < rounds-1 || total > rounds {
		t.Errorf("%d counted in %d", total, rounds)
	}
}

// What a request pays for being watched, with a detection under way.
func BenchmarkHotKeys(b *testing.B) {
	var h hotCounter
	h.startDetection(1)
	keys := make([][]byte, 1<<12)
	for i := range keys {
		keys[i] = engine.AppendKey(nil, fmt.Appendf(nil, "user%08d", i*i%len(keys)), []byte("sort"))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if h.sample(0, 1) == 0 {
			h.count(keys[i%len(keys)])
		}
	}
}
