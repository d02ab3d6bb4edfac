package metric

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func TestBuckets(t *testing.T) {
	for i := range buckets {
		hi := highest(i)
		if index(uint64(hi)) != i {
			t.Fatalf("highest(%d) = %d lies in bucket %d", i, hi, index(uint64(hi)))
		}
		if i > 0 && index(uint64(highest(i-1)+1)) != i {
			t.Fatalf("bucket %d does not begin where %d ends", i, i-1)
		}
	}
	if highest(buckets-1) != MaxValue {
		t.Fatalf("the last bucket ends at %d, MaxValue is %d", highest(buckets-1), int64(MaxValue))
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Fatal("an empty histogram is not zero")
	}
	h.Record(-5)
	h.Record(1 << 62)
	if h.Quantile(0) != 0 || h.Quantile(1) != MaxValue || h.Quantile(7) != MaxValue || h.Count() != 2 {
		t.Fatalf("q0 %d q1 %d", h.Quantile(0), h.Quantile(1))
	}
	h.Reset()
	h.Record(1000)
	for _, q := range []float64{0, 0.5, 0.999, 1} {
		if h.Quantile(q) != 1000 {
			t.Fatalf("one value: quantile %v is %d", q, h.Quantile(q))
		}
	}
}

// Quantiles against the sorted values, for shapes from flat to heavy tailed, and in two halves merged.
func TestQuantilesAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() int64{
		"small":  func() int64 { return r.Int64N(50) },
		"flat":   func() int64 { return r.Int64N(1_000_000) },
		"heavy":  func() int64 { return int64(1) << r.IntN(40) * (1 + r.Int64N(3)) / 2 },
		"stable": func() int64 { return 123_456 },
	} {
		var whole, a, b Histogram
		var all []int64
		var sum uint64
		for i := range 20_000 {
			v := min(draw(), MaxValue)
			all, sum = append(all, v), sum+uint64(v)
			whole.Record(v)
			if i%3 == 0 {
				a.Record(v)
			} else {
				b.Record(v)
			}
		}
		a.Merge(&b)
		if a != whole {
			t.Fatalf("%s: merged halves differ from the whole", name)
		}
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			want := all[max(int(float64(len(all))*q+0.999999)-1, 0)]
			got := whole.Quantile(q)
			if got < want || float64(got) > float64(want)*(1+1.0/sub) {
				t.Fatalf("%s: quantile %v is %d, want %d", name, q, got, want)
			}
		}
		if whole.Sum() != sum || whole.Max() != all[len(all)-1] {
			t.Fatalf("%s: sum %d max %d", name, whole.Sum(), whole.Max())
		}
	}
}

func TestPublish(t *testing.T) {
	type shard struct {
		Gets int64
		Lat  Histogram
	}
	var p Published[shard]
	if p.Load() != nil {
		t.Fatal("something was published before the first Publish")
	}
	var own shard
	var wg sync.WaitGroup
	wg.Add(1)
	stop := make(chan struct{})
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s := p.Load(); s != nil && uint64(s.Gets) != s.Lat.Count() {
				t.Errorf("torn copy: %d gets, %d latencies", s.Gets, s.Lat.Count())
				return
			}
		}
	}()
	for i := range int64(2000) {
		own.Gets++
		own.Lat.Record(i)
		if i%50 == 0 {
			p.Publish(&own)
		}
	}
	close(stop)
	wg.Wait()
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	v := int64(1)
	if n := testing.AllocsPerRun(1000, func() { h.Record(v); v = v*5 + 3 }); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	var h Histogram
	v := uint64(88172645463325252)
	for b.Loop() {
		v ^= v << 13
		v ^= v >> 7
		v ^= v << 17
		h.Record(int64(v >> 40))
	}
}
