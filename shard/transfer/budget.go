package transfer

import (
	"context"
	"sync"
	"time"
)

// DefaultTransfers is how many transfers a node serves, and how many it fetches, at the same time.
const DefaultTransfers = 5

// Budget is what one node spends on transfers. All methods may be called from any goroutine.
//
// It has one rate for two flows, counted apart: bytes moved, sent and received together, and bytes read only to be
// checksummed (offering a directory, verifying what a staging directory holds). Counting those as one would halve the speed
// of a copy; not counting the second would let it run at the speed of the disk, against the reads of clients.
type Budget struct {
	moved  bucket
	hashed bucket

	mu       sync.Mutex
	limit    int // of serving and of fetching, each
	serving  int
	fetching int
}

// NewBudget makes a budget of bytes per second (0 is no limit) and of transfers served and fetched at a time, each (> 0).
func NewBudget(bytesPerSecond int64, transfers int) *Budget {
	b := &Budget{limit: max(transfers, 1)}
	b.SetRate(bytesPerSecond)
	return b
}

// SetRate changes the bytes per second from now on; 0 is no limit.
func (b *Budget) SetRate(bytesPerSecond int64) {
	b.moved.setRate(bytesPerSecond)
	b.hashed.setRate(bytesPerSecond)
}

// BudgetStats tells what a Budget was spent on.
type BudgetStats struct {
	Rate     int64 // bytes per second, 0 is no limit
	Serving  int   // transfers that run now
	Fetching int
	Moved    int64         // bytes permitted
	Hashed   int64         // bytes permitted
	Waited   time.Duration // for permission, all transfers together
}

// Stats returns the counters, which are not read at one instant.
func (b *Budget) Stats() BudgetStats {
	b.mu.Lock()
	s := BudgetStats{Serving: b.serving, Fetching: b.fetching}
	b.mu.Unlock()
	var moved, hashed time.Duration
	s.Rate, s.Moved, moved = b.moved.stats()
	_, s.Hashed, hashed = b.hashed.stats()
	s.Waited = moved + hashed
	return s
}

// enter takes a place in *n, which is one of the two counts; leave gives it back.
func (b *Budget) enter(n *int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *n >= b.limit {
		return false
	}
	*n++
	return true
}

func (b *Budget) leave(n *int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n--
}

// bucket is a token bucket. It may be in debt: a taker books its tokens at once and waits until they would have been there,
// which makes the order of waiting first in, first out without a queue.
type bucket struct {
	mu     sync.Mutex
	rate   float64 // tokens per second; 0 is no limit
	tokens float64
	last   time.Time
	taken  int64
	waited time.Duration
}

// burst is a tenth of a second, and always enough for a block.
func (b *bucket) burst() float64 { return max(b.rate/10, BlockSize) }

func (b *bucket) setRate(bytesPerSecond int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	// A debt was booked for waits that are under way already; it does not carry over to the new rate.
	b.rate = float64(max(bytesPerSecond, 0))
	b.tokens = min(max(b.tokens, 0), b.burst())
}

func (b *bucket) refill() {
	now := time.Now()
	if !b.last.IsZero() {
		b.tokens = min(b.tokens+now.Sub(b.last).Seconds()*b.rate, b.burst())
	}
	b.last = now
}

// tryTake takes n tokens if they are there.
func (b *bucket) tryTake(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate > 0 {
		if b.refill(); b.tokens < float64(n) {
			return false
		}
		b.tokens -= float64(n)
	}
	b.taken += int64(n)
	return true
}

// take waits until n tokens are there, or returns the cause of ctx's end and takes none.
func (b *bucket) take(ctx context.Context, n int) error {
	wait := b.book(n)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tokens += float64(n)
		b.taken -= int64(n)
		return context.Cause(ctx)
	}
}

func (b *bucket) book(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken += int64(n)
	if b.rate == 0 {
		return 0
	}
	b.refill()
	b.tokens -= float64(n)
	wait := time.Duration(-b.tokens / b.rate * float64(time.Second))
	b.waited += max(wait, 0)
	return wait
}

func (b *bucket) stats() (rate, taken int64, waited time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(b.rate), b.taken, b.waited
}
