package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCoarseBuckets(t *testing.T) {
	for i := range coarseBuckets {
		hi := coarseHighest(i)
		if coarseIndex(uint64(hi)) != i {
			t.Fatalf("highest(%d) = %d lies in bucket %d", i, hi, coarseIndex(uint64(hi)))
		}
		if i > 0 && coarseIndex(uint64(coarseHighest(i-1)+1)) != i {
			t.Fatalf("bucket %d does not begin where %d ends", i, i-1)
		}
	}
	if coarseHighest(coarseBuckets-1) != CoarseMax {
		t.Fatalf("the last bucket ends at %d, CoarseMax is %d", coarseHighest(coarseBuckets-1), int64(CoarseMax))
	}
}

func TestCoarseAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h, early, late Coarse
	var all []int64
	for i := range 20_000 {
		v := int64(1)<<r.IntN(37) + r.Int64N(1000)
		all = append(all, min(v, CoarseMax))
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
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*(1+1.0/coarseSub) {
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

func TestCoarseEdges(t *testing.T) {
	var h Coarse
	if h.Quantile(0.5) != 0 {
		t.Fatal("an empty histogram has a median")
	}
	h.Record(-1)
	h.Record(1 << 60)
	if h.Quantile(0) != 0 || h.Quantile(1) != CoarseMax || h.Sum() != CoarseMax {
		t.Fatalf("q0 %d q1 %d sum %d", h.Quantile(0), h.Quantile(1), h.Sum())
	}
	v := int64(1)
	if n := testing.AllocsPerRun(1000, func() { h.Record(v); v = v*5 + 3 }); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}
