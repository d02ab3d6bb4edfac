package perf

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Distribution says which records are asked for.
type Distribution string

// The distributions.
const (
	Uniform Distribution = "uniform"
	// Zipfian asks for few records often, with the exponent of YCSB (0.99), spread over the whole key space.
	Zipfian Distribution = "zipfian"
	// Latest asks for what was inserted last, with zipfian frequency.
	Latest Distribution = "latest"
	// Hot asks for one record only.
	Hot Distribution = "hot"
	// Sequential goes through the records in order, hash key by hash key, again and again.
	Sequential Distribution = "sequential"
)

var distributions = []Distribution{Uniform, Zipfian, Latest, Hot, Sequential}

// chooser draws record numbers. Any goroutine may call it, each with a random source of its own.
type chooser interface{ next(r *rand.Rand) uint64 }

// newChooser returns the chooser of a workload. total counts the records that are there, those included whose insert has ended.
func newChooser(w *Workload, total *atomic.Uint64) chooser {
	switch w.Distribution {
	case Zipfian:
		return newZipf(w.Records)
	case Latest:
		return &latest{zipf: newZipf(w.Records), total: total}
	case Hot:
		return uniform(1)
	case Sequential:
		return &sequence{n: w.Records, step: uint64(max(w.Batch, 1))}
	}
	return uniform(w.Records)
}

type uniform uint64

func (n uniform) next(r *rand.Rand) uint64 { return r.Uint64N(uint64(n)) }

type sequence struct {
	n, step uint64
	at      atomic.Uint64
}

func (s *sequence) next(*rand.Rand) uint64 { return (s.at.Add(s.step) - s.step) % s.n }

type latest struct {
	zipf  *zipf
	total *atomic.Uint64
}

func (l *latest) next(r *rand.Rand) uint64 { return l.total.Load() - 1 - l.zipf.rank(r) }

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
