// Package perf puts load on a cluster through the client library and reports what came out: throughput, latency
// percentiles, and what an operation cost the servers and the client. It knows the servers only by their addresses and
// process ids.
package perf

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Distribution says which records are asked for.
type Distribution string

// The distributions.
const (
	Uniform Distribution = "uniform"
	// Zipfian asks for few records often, with the exponent of YCSB (0.99), spread over the whole key space.
	Zipfian Distribution = "zipfian"
)

// Workload describes the records and the mix of operations.
type Workload struct {
	Records      uint64       `json:"records"`
	KeySize      int          `json:"key_size"`   // bytes of the hash key; the sort key is empty
	ValueSize    int          `json:"value_size"` // bytes
	ReadShare    float64      `json:"read_share"` // 0 to 1, the rest is writes
	Distribution Distribution `json:"distribution"`
}

// minKeySize holds the digits of the largest record number that Validate accepts.
const (
	minKeySize = 10
	maxRecords = 9_999_999_999
	maxSize    = 1 << 20
)

// Validate says what is wrong with the workload, or nil.
func (w *Workload) Validate() error {
	switch {
	case w.Records < 1 || w.Records > maxRecords:
		return fmt.Errorf("%d records: want 1 to %d", w.Records, maxRecords)
	case w.KeySize < minKeySize || w.KeySize > math.MaxUint16-1:
		return fmt.Errorf("keys of %d bytes: want %d to %d", w.KeySize, minKeySize, math.MaxUint16-1)
	case w.ValueSize < 0 || w.ValueSize > maxSize:
		return fmt.Errorf("values of %d bytes: want 0 to %d", w.ValueSize, maxSize)
	case !(w.ReadShare >= 0 && w.ReadShare <= 1):
		return fmt.Errorf("read share %v: want 0 to 1", w.ReadShare)
	case w.Distribution != Uniform && w.Distribution != Zipfian:
		return fmt.Errorf("distribution %q: want %s or %s", w.Distribution, Uniform, Zipfian)
	}
	return nil
}

// appendKey appends the hash key of a record: its number in decimal, padded with zeros to size.
func appendKey(dst []byte, record uint64, size int) []byte {
	at := len(dst)
	for range size {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= at && record > 0; i-- {
		dst[i] = byte('0' + record%10)
		record /= 10
	}
	return dst
}

// chooser draws record numbers. It is used by one goroutine at a time.
type chooser interface{ next(r *rand.Rand) uint64 }

// newChooser returns a chooser that lanes may share: it has no state of its own.
func newChooser(w *Workload) chooser {
	if w.Distribution == Zipfian {
		return newZipf(w.Records)
	}
	return uniform(w.Records)
}

type uniform uint64

func (n uniform) next(r *rand.Rand) uint64 { return r.Uint64N(uint64(n)) }

// zipf draws by the method of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), which
// YCSB uses too: constant time per draw after one pass over the records.
type zipf struct {
	n                        uint64
	alpha, zetaN, eta, half2 float64
}

const zipfTheta = 0.99

func newZipf(n uint64) *zipf {
	z := &zipf{n: n, alpha: 1 / (1 - zipfTheta), zetaN: zeta(n), half2: 1 + math.Pow(0.5, zipfTheta)}
	z.eta = (1 - math.Pow(2/float64(n), 1-zipfTheta)) / (1 - zeta(2)/z.zetaN)
	return z
}

// zeta sums 1/i^theta; beyond exact terms the integral is close enough (relative error under 1e-6).
func zeta(n uint64) float64 {
	const exact = 1 << 20
	sum := 0.0
	for i := uint64(1); i <= min(n, exact); i++ {
		sum += math.Pow(float64(i), -zipfTheta)
	}
	if n > exact {
		sum += (math.Pow(float64(n)+0.5, 1-zipfTheta) - math.Pow(exact+0.5, 1-zipfTheta)) / (1 - zipfTheta)
	}
	return sum
}

func (z *zipf) next(r *rand.Rand) uint64 { return scramble(z.rank(r)) % z.n }

// rank draws a rank from 0, the most frequent.
func (z *zipf) rank(r *rand.Rand) uint64 {
	u := r.Float64()
	switch uz := u * z.zetaN; {
	case uz < 1 || z.n == 1:
		return 0
	case uz < z.half2:
		return 1
	}
	return min(uint64(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)), z.n-1)
}

// scramble spreads neighbouring ranks over the key space (the finaliser of splitmix64, a bijection).
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
