// Package metric holds counters and histograms that one goroutine owns and others may read as copies. It knows no
// names, no registry and no export format.
//
// Counters are plain int64 fields of a struct of the owner's making; what is needed for them is only Published. A
// shared atomic counter costs three times as much and bounces its cache line between processors.
package metric

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// Log-linear buckets: every power of two is cut into 32 equal parts, so a value is known to 1/32 = 3.1 %, from 0 (exact
// below 64) to MaxValue. Fixed arrays and no pointers: recording is two shifts and an increment, merging is addition,
// and a histogram of 9 KiB fits beside many others. HdrHistogram does the same with configurable precision, which
// costs a larger record path; sketches (DDSketch, t-digest) need logarithms or sorting.
const (
	subBits = 5
	sub     = 1 << subBits
	octaves = 36
	buckets = octaves * sub

	// MaxValue is the largest value told apart; larger ones count as this. In nanoseconds it is 36 minutes.
	MaxValue = 1<<(octaves+subBits-1) - 1
)

// Histogram counts values by size. The zero value is ready. It belongs to one goroutine.
type Histogram struct {
	counts [buckets]uint64
	n      uint64
	sum    uint64
	max    int64
}

// Record adds a value. Negative values count as 0, those beyond MaxValue as MaxValue.
func (h *Histogram) Record(v int64) {
	v = min(max(v, 0), MaxValue)
	h.counts[index(uint64(v))]++
	h.n++
	h.sum += uint64(v)
	if v > h.max {
		h.max = v
	}
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

// Max is the largest value recorded, 0 when there is none.
func (h *Histogram) Max() int64 { return h.max }

// Mean is the average, 0 when there is no value.
func (h *Histogram) Mean() float64 {
	if h.n == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.n)
}

// Quantile returns a value that is not below the q-quantile (0 <= q <= 1) and at most 1/32 above it, 0 when there is
// no value. q outside of the range is taken as its nearer end.
func (h *Histogram) Quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i]; seen >= rank {
			return min(highest(i), h.max)
		}
	}
	return h.max
}

// Merge adds the values of o to h.
func (h *Histogram) Merge(o *Histogram) {
	for i := range h.counts {
		h.counts[i] += o.counts[i]
	}
	h.n += o.n
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Reset forgets all values.
func (h *Histogram) Reset() { *h = Histogram{} }

// Published hands copies of the owner's metrics to other goroutines. T must hold no pointers or slices that the owner
// goes on writing to. The zero value is ready.
type Published[T any] struct{ p atomic.Pointer[T] }

// Publish copies *v; owner only, about once a second (it allocates the copy).
func (p *Published[T]) Publish(v *T) {
	c := *v
	p.p.Store(&c)
}

// Load returns the last copy, nil before the first. It is shared by all callers: read only.
func (p *Published[T]) Load() *T { return p.p.Load() }
