// Package metric holds the histogram that one goroutine owns and others may read as copies. It knows no names, no registry and
// no export format: package export has those.
package metric

import (
	"math"
	"math/bits"
)

// Log-linear buckets: every power of two is cut into 8 equal parts, so a value is known to 1/8 = 12.5 %, from 0 (exact below 16)
// to MaxValue. Fixed arrays and no pointers: recording is two shifts and an increment, merging is addition. 2.3 KiB is little
// enough for what exists thousands of times, a latency per replica and kind of request. HdrHistogram does the same with
// configurable precision, which costs a larger record path; sketches (DDSketch, t-digest) need logarithms or sorting.
const (
	subBits = 3
	sub     = 1 << subBits
	octaves = 36
	buckets = octaves * sub

	// MaxValue is the largest value told apart; larger ones count as this. In nanoseconds it is 275 seconds.
	MaxValue = 1<<(octaves+subBits-1) - 1
)

// Histogram counts values by size. The zero value is ready. It belongs to one goroutine.
type Histogram struct {
	n      uint64
	sum    uint64
	counts [buckets]uint64
}

// Record adds a value. Negative values count as 0, those beyond MaxValue as MaxValue.
func (h *Histogram) Record(v int64) { h.RecordN(v, 1) }

// RecordN adds a value n times.
func (h *Histogram) RecordN(v int64, n uint64) {
	v = min(max(v, 0), MaxValue)
	h.counts[index(uint64(v))] += n
	h.n += n
	h.sum += uint64(v) * n
}

// index is the bucket of v: v itself below 2*sub, then sub buckets per power of two.
func index(v uint64) int {
	shift := bits.Len64(v|(sub-1)) - subBits - 1
	if shift <= 0 {
		return int(v)
	}
	return shift<<subBits + int(v>>shift)
}

// highest is the largest value of bucket i.
func highest(i int) int64 {
	if i < 2*sub {
		return int64(i)
	}
	shift := i>>subBits - 1
	return int64(i&(sub-1)|sub)<<shift + 1<<shift - 1
}

// Count is the number of values recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Sum is the sum of the values recorded.
func (h *Histogram) Sum() uint64 { return h.sum }

// Merge adds the values of o to h.
func (h *Histogram) Merge(o *Histogram) {
	for i := range h.counts {
		h.counts[i] += o.counts[i]
	}
	h.n += o.n
	h.sum += o.sum
}

// Since makes h what was recorded in now and not yet in then, an earlier copy of it.
func (h *Histogram) Since(now, then *Histogram) {
	for i := range h.counts {
		h.counts[i] = now.counts[i] - then.counts[i]
	}
	h.n, h.sum = now.n-then.n, now.sum-then.sum
}

// Quantile returns a value that is not below the q-quantile (0 <= q <= 1) and at most 1/8 above it, 0 when there is no
// value.
func (h *Histogram) Quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i]; seen >= rank {
			return highest(i)
		}
	}
	return MaxValue
}

// Below returns how many values are smaller than 1<<k, for every k from first to last: the cumulative buckets that
// Prometheus wants, exactly, as powers of two are ends of buckets. It appends to dst.
func (h *Histogram) Below(dst []uint64, first, last int) []uint64 {
	var seen uint64
	i := 0
	for k := first; k <= last; k++ {
		for ; i < buckets && highest(i) < 1<<k; i++ {
			seen += h.counts[i]
		}
		dst = append(dst, seen)
	}
	return dst
}
