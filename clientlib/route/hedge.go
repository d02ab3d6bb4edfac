package route

import "time"

// A second attempt is made after the delay that all but one in twenty reads keep, within these bounds.
const (
	hedgeLeast = time.Millisecond
	hedgeMost  = time.Second
	hedgeBurst = 10 // second attempts that may be saved up
)

// Hedge decides when a read is worth a second attempt elsewhere. The delay follows the latencies; the budget is a share of
// all reads, so that a cluster that is slow because it is loaded is not loaded more. A fixed delay was rejected: at
// saturation it doubles the load (measured for Apache Pegasus' backup requests: half the throughput).
type Hedge struct {
	// Budget is the share of reads that may get a second attempt; 0 means none.
	Budget float64

	delay  time.Duration
	tokens float64
}

// Took reports how long a read took. The delay moves up by 19 parts when it was exceeded and down by 1 part when not, so
// that it rests where one in twenty exceeds it.
func (h *Hedge) Took(d time.Duration) {
	if h.delay == 0 {
		h.delay = 4 * d
	}
	part := max(h.delay/400, time.Microsecond)
	if d > h.delay {
		h.delay += 19 * part
	} else {
		h.delay -= part
	}
	h.delay = min(max(h.delay, hedgeLeast), hedgeMost)
	h.tokens = min(h.tokens+h.Budget, hedgeBurst)
}

// Delay is how long to wait for the first attempt; false when nothing is known yet or the budget is spent.
func (h *Hedge) Delay() (time.Duration, bool) { return h.delay, h.delay > 0 && h.tokens >= 1 }

// Spend pays for a second attempt; false when the budget is spent.
func (h *Hedge) Spend() bool {
	if h.tokens < 1 {
		return false
	}
	h.tokens--
	return true
}
