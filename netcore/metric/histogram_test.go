package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramBuckets(t *testing.T) {
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

func TestHistogramAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h, early, late Histogram
	var all []int64
	for i := range 20_000 {
		v := int64(1)<<r.IntN(37) + r.Int64N(1000)
		all = append(all, min(v, MaxValue))
		h.Record(v)
		if i == 9_999 {
			early = h
		}
	}
	late.Since(&h, &early)
	if late.Count() != 10_000 {
		t.Fatalf("%d values since the copy", late.Count())
	}
	late.Merge(&early)
	if late != h {
		t.Fatal("what was and what came since are not the whole")
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(float64(len(all))*q+0.999999)-1, 0)]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*(1+1.0/sub) {
			t.Fatalf("quantile %v is %d, want %d", q, got, want)
		}
	}
	for i, n := range h.Below(nil, 5, 40) {
		want, _ := slices.BinarySearch(all, 1<<(5+i))
		if n != uint64(want) {
			t.Fatalf("%d values below 2^%d, want %d", n, 5+i, want)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Fatal("an empty histogram has a median")
	}
	h.Record(-1)
	h.Record(1 << 60)
	if h.Quantile(0) != 0 || h.Quantile(1) != MaxValue || h.Sum() != MaxValue {
		t.Fatalf("q0 %d q1 %d sum %d", h.Quantile(0), h.Quantile(1), h.Sum())
	}
	v := int64(1)
	if n := testing.AllocsPerRun(1000, func() { h.Record(v); v = v*5 + 3 }); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	v := int64(1)
	if n := testing.AllocsPerRun(1000, func() { h.Record(v); v = v*7 + 3 }); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	for v := int64(1); b.Loop(); v = v*7 + 3 {
		h.Record(v & MaxValue)
	}
}
