package metric

import (
	"math"
	"math/bits"
)

// Coarse is a histogram for what exists thousands of times, a latency per replica and kind of request: 2.3 KiB where
// Histogram has 9, by cutting every power of two into 8 parts instead of 32. A value is known to 1/8 = 12.5 %.
const (
	coarseBits    = 3
	coarseSub     = 1 << coarseBits
	coarseOctaves = 36
	coarseBuckets = coarseOctaves * coarseSub

	// CoarseMax is the largest value told apart; larger ones count as this. In nanoseconds it is 275 seconds.
	CoarseMax = 1<<(coarseOctaves+coarseBits-1) - 1
)

// Coarse counts values by size. The zero value is ready. It belongs to one goroutine.
type Coarse struct {
	counts [coarseBuckets]uint64
	n      uint64
	sum    uint64
}

// Record adds a value. Negative values count as 0, those beyond CoarseMax as CoarseMax.
func (h *Coarse) Record(v int64) {
	v = min(max(v, 0), CoarseMax)
	h.counts[coarseIndex(uint64(v))]++
	h.n++
	h.sum += uint64(v)
}

// coarseIndex is the bucket of v: v itself below 2*coarseSub, then coarseSub buckets per power of two.
func coarseIndex(v uint64) int {
	shift := bits.Len64(v|(coarseSub-1)) - coarseBits - 1
	if shift <= 0 {
		return int(v)
	}
	return shift<<coarseBits + int(v>>shift)
}

// coarseHighest is the largest value of bucket i.
func coarseHighest(i int) int64 {
	if i < 2*coarseSub {
		return int64(i)
	}
	shift := i>>coarseBits - 1
	return int64(i&(coarseSub-1)|coarseSub)<<shift + 1<<shift - 1
}

// Count is the number of values recorded.
func (h *Coarse) Count() uint64 { return h.n }

// Sum is the sum of the values recorded.
func (h *Coarse) Sum() uint64 { return h.sum }

// Merge adds the values of o to h.
func (h *Coarse) Merge(o *Coarse) {
	for i := range h.counts {
		h.counts[i] += o.counts[i]
	}
	h.n += o.n
	h.sum += o.sum
}

// Since makes h what was recorded in now and not yet in then, an earlier copy of it.
func (h *Coarse) Since(now, then *Coarse) {
	for i := range h.counts {
		h.counts[i] = now.counts[i] - then.counts[i]
	}
	h.n, h.sum = now.n-then.n, now.sum-then.sum
}

// Quantile returns a value that is not below the q-quantile (0 <= q <= 1) and at most 1/8 above it, 0 when there is no
// value.
func (h *Coarse) Quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i]; seen >= rank {
			return coarseHighest(i)
		}
	}
	return CoarseMax
}

// Below returns how many values are smaller than 1<<k, for every k from first to last: the cumulative buckets that
// Prometheus wants, exactly, as powers of two are ends of buckets. It appends to dst.
func (h *Coarse) Below(dst []uint64, first, last int) []uint64 {
	var seen uint64
	i := 0
	for k := first; k <= last; k++ {
		for ; i < coarseBuckets && coarseHighest(i) < 1<<k; i++ {
			seen += h.counts[i]
		}
		dst = append(dst, seen)
	}
	return dst
}
