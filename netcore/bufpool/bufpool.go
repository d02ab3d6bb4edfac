// Package bufpool keeps byte buffers for reuse, in classes of size. It knows nothing of what is in them.
package bufpool

import (
	"math/bits"
	"sync"

	"pegasus/netcore/invariant"
)

// Own free lists and not sync.Pool: a Put into a sync.Pool allocates the slice header, its content is dropped by
// every second garbage collection just when buffers are in demand, and nothing bounds what it holds. A Pool belongs
// to one goroutine, so it needs no lock; Shared is the same behind a mutex for buffers that change owner.

const (
	minShift = 9  // smallest class: 512 B
	maxShift = 20 // largest class: 1 MiB; larger buffers go to the garbage collector
	classes  = maxShift - minShift + 1

	// MaxKept is the capacity above which a buffer is never kept.
	MaxKept = 1 << maxShift
)

// Pool is a set of free lists owned by one goroutine. Create it with New.
type Pool struct {
	classBytes int
	free       [classes][][]byte
	hits       uint64
	misses     uint64
}

// New makes a pool that keeps at most classBytes bytes of free buffers per size class (at least one buffer each), so
// at most 12*max(classBytes, class size) in total.
func New(classBytes int) *Pool {
	invariant.Assertf(classBytes >= 0, "bufpool class limit %d", classBytes)
	return &Pool{classBytes: classBytes}
}

// Get returns an empty slice with a capacity of at least n. Its bytes beyond the length are arbitrary. The caller owns
// it until he gives it to Put, of this or any other pool, or forgets it.
func (p *Pool) Get(n int) []byte {
	c := classFor(n)
	if c >= classes {
		p.misses++
		return make([]byte, 0, n)
	}
	if l := p.free[c]; len(l) > 0 {
		b := l[len(l)-1]
		l[len(l)-1] = nil
		p.free[c] = l[:len(l)-1]
		p.hits++
		return b
	}
	p.misses++
	return make([]byte, 0, 1<<(c+minShift))
}

// Put takes b back. The caller must not touch it any more. Buffers that are too small, too large or too many are
// dropped; nil is fine.
func (p *Pool) Put(b []byte) {
	n := cap(b)
	if n < 1<<minShift || n > MaxKept {
		return
	}
	// By the class that the capacity fills, so that Get never returns less than its class promises.
	c := bits.Len(uint(n)) - 1 - minShift
	if kept := len(p.free[c]); kept > 0 && (kept+1)<<(c+minShift) > p.classBytes {
		return
	}
	p.free[c] = append(p.free[c], b[:0])
}

// Grow returns a buffer with the content of b and room for extra more bytes; b itself goes back to the pool when it
// was too small.
func (p *Pool) Grow(b []byte, extra int) []byte {
	if cap(b)-len(b) >= extra {
		return b
	}
	nb := append(p.Get(max(len(b)+extra, 2*len(b))), b...)
	p.Put(b)
	return nb
}

// Stats returns how many Gets were served from a free list, how many were not, and the bytes that lie in the lists.
func (p *Pool) Stats() (hits, misses uint64, bytes int) {
	for c := range p.free {
		for _, b := range p.free[c] {
			bytes += cap(b)
		}
	}
	return p.hits, p.misses, bytes
}

func classFor(n int) int {
	if n <= 1<<minShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minShift
}

// Shared is a Pool for any number of goroutines.
type Shared struct {
	mu sync.Mutex
	p  *Pool
}

// NewShared makes a shared pool; see New for classBytes.
func NewShared(classBytes int) *Shared { return &Shared{p: New(classBytes)} }

// Get is Pool.Get.
func (s *Shared) Get(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.Get(n)
}

// Put is Pool.Put.
func (s *Shared) Put(b []byte) {
	s.mu.Lock()
	s.p.Put(b)
	s.mu.Unlock()
}
