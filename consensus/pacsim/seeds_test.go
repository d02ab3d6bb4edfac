package pacsim

import (
	"testing"
	"time"
)

// fixedSeeds have found something once, or cover a kind of fault alone; they run every time.
var fixedSeeds = []uint64{1, 2, 3, 4, 5, 6, 7, 8}

func TestFixedSeeds(t *testing.T) {
	for _, seed := range fixedSeeds {
		report(t, Run(Draw(seed), nil))
	}
}

// TestFreshSeeds runs seeds that nobody has run before, for a bounded time (PACSIM_SECONDS of wall time, or 20). A failure is tried
// again without one fault after the other, so that what is left is needed for it.
func TestFreshSeeds(t *testing.T) {
	seed := *fromFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) >> 16 << 8
	}
	var runs, mutations, answered int
	var virtual int64
	var events uint64
	start := time.Now()
	for until := start.Add(seconds(20)); time.Now().Before(until) && !t.Failed(); seed++ {
		r := Run(Draw(seed), nil)
		runs++
		virtual += r.Virtual
		events += r.Events
		mutations += r.Mutations
		answered += r.Answered
		if r.Failure != nil {
			report(t, Shrink(r))
		}
	}
	spent := time.Since(start).Seconds()
	t.Logf("%d seeds up to %d: %.1f simulated hours in %.0f s (%.2f h/s), %d events, %d mutations, %d operations",
		runs, seed-1, float64(virtual)/float64(3600*second), spent, float64(virtual)/float64(3600*second)/max(spent, 1e-3), events, mutations, answered)
}

// TestSameSeedSameTrace is what everything else rests on: nothing of a run depends on anything but its seed.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(100); seed < 112; seed++ {
		first := Run(Draw(seed), nil)
		for range 2 {
			if again := Run(Draw(seed), nil); again.Hash != first.Hash || again.Events != first.Events {
				t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, first.Events, first.Hash, again.Events, again.Hash)
			}
		}
	}
}
