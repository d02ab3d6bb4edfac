package pacsim

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// fixedSeeds run every time: numbers under which the search for a bug, planted or real, has ended, when the options drawn for
// them were others. They are a sample like any other, but the same one everywhere.
var fixedSeeds = []uint64{1, 2, 7, 14, 17, 18, 20, 28, 66, 76, 126, 576, 1291, 1314, 1329, 1508}

func TestFixedSeeds(t *testing.T) {
	for _, seed := range fixedSeeds {
		report(t, Run(Draw(seed), nil))
	}
}

// totals adds up what a campaign did.
type totals struct {
	runs, mutations, answered int
	undecided                 int
	virtual                   int64
	events                    uint64
	failed                    *Result // the first, if any
}

// runPatience is how long one run may take in wall time; the usual is a tenth of a second.
const runPatience = time.Minute

// campaign runs seeds from first on, on all processors, for a time or until one fails.
func campaign(first uint64, spend time.Duration, options func(seed uint64) Options) totals {
	var mu sync.Mutex
	var sum totals
	next, until := first, time.Now().Add(spend)
	take := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, sum.failed == nil && time.Now().Before(until)
	}
	running := map[uint64]bool{}
	// A run that does not end is a failure too, and only its seed can tell why.
	watch := time.AfterFunc(spend+runPatience, func() {
		mu.Lock()
		panic(fmt.Sprintf("seeds that do not end: %v", slices.Collect(maps.Keys(running))))
	})
	defer watch.Stop()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				mu.Lock()
				running[seed] = true
				mu.Unlock()
				r := Run(options(seed), nil)
				mu.Lock()
				delete(running, seed)
				sum.undecided += r.Undecided
				sum.runs++
				sum.virtual += r.Virtual
				sum.events += r.Events
				sum.mutations += r.Mutations
				sum.answered += r.Answered
				if r.Failure != nil && sum.failed == nil && (r.Options.Only == "" || r.Options.Only == r.Failure.Kind) {
					sum.failed = &r
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return sum
}

// TestFreshSeeds runs seeds that nobody has run before, for a bounded time (PACSIM_SECONDS of wall time, see make sim; a few
// seconds else). A failure is tried again without one fault after the other, so that what is left is needed for it.
func TestFreshSeeds(t *testing.T) {
	first := *fromFlag
	if first == 0 {
		first = uint64(time.Now().UnixNano()) >> 16 << 8
	}
	start := time.Now()
	sum := campaign(first, seconds(), Draw)
	cpu := time.Since(start).Seconds() * float64(runtime.GOMAXPROCS(0))
	hours := float64(sum.virtual) / float64(3600*second)
	t.Logf("%d seeds from %d: %.1f simulated hours, %.3f per CPU second; %d events, %d mutations, %d operations, %d keys undecided",
		sum.runs, first, hours, hours/max(cpu, 1e-3), sum.events, sum.mutations, sum.answered, sum.undecided)
	if sum.failed != nil {
		t.Logf("%v: %v", sum.failed.Options, sum.failed.Failure)
		report(t, Shrink(*sum.failed, 30*time.Second))
	}
}

// TestEachFaultAlone sees to it that every kind of fault is met where nothing else hides what it does.
func TestEachFaultAlone(t *testing.T) {
	for f := Fault(0); f < faultCount; f++ {
		o := Draw(7000 + uint64(f))
		o.On = [faultCount]bool{}
		o.On[f] = true
		report(t, Run(o, nil))
	}
}

// TestMediaLostDuringChange takes disks away while members come and go.
func TestMediaLostDuringChange(t *testing.T) {
	lost := 0
	for seed := uint64(8000); seed < 8012; seed++ {
		o := Draw(seed)
		o.On = [faultCount]bool{}
		for _, f := range []Fault{FaultWipe, FaultRot, FaultCrash, FaultPartition, FaultMetaSlow, FaultHandOver} {
			o.On[f] = true
		}
		o.Nodes, o.Replicas, o.Gap = max(o.Nodes, 4), max(o.Replicas, 3), 400*millisecond
		r := Run(o, nil)
		report(t, r)
		lost += r.LostInChange
	}
	if lost < 10 {
		t.Errorf("only %d replicas were lost while their members changed", lost)
	}
}

// TestJobsUnderFaults empties nodes and evens out replicas while metas and servers come and go.
func TestJobsUnderFaults(t *testing.T) {
	done, ended := 0, 0
	for seed := uint64(8500); seed < 8516; seed++ {
		o := Draw(seed)
		o.On = [faultCount]bool{}
		for _, f := range []Fault{FaultDrain, FaultBalance, FaultCrash, FaultMetaLeader, FaultMetaCrash, FaultMetaSlow, FaultDuplicate, FaultPartition} {
			o.On[f] = true
		}
		o.Nodes, o.Metas, o.Gap = max(o.Nodes, 4), 3, 600*millisecond
		r := Run(o, nil)
		report(t, r)
		done, ended = done+r.JobsDone, ended+r.JobsEnded
	}
	if t.Logf("%d jobs were finished, %d ended", done, ended); done < 30 || ended < done+10 {
		t.Errorf("%d jobs were finished, %d ended: too few of either", done, ended)
	}
}

// TestCrashAtEveryStep lets a process die at its first, second, third ... boundary between two effects, primary and secondary in
// turn, with power or without.
func TestCrashAtEveryStep(t *testing.T) {
	boundaries := 150
	if testing.Short() {
		boundaries = 30
	}
	for step := 1; step <= boundaries && !t.Failed(); step++ {
		o := Draw(9000 + uint64(step%8))
		o.On = [faultCount]bool{}
		o.Nodes, o.Replicas, o.MinWrite, o.Partitions, o.Metas, o.Think, o.Storm = 3, 3, 0, 1, 1, 2*millisecond, 3*second
		o.CrashStep = step
		report(t, Run(o, nil))
	}
}

// TestSameSeedSameTrace is what everything else rests on: nothing of a run depends on anything but its seed.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(100); seed < 110; seed++ {
		first := Run(Draw(seed), nil)
		for range 2 {
			if again := Run(Draw(seed), nil); again.Hash != first.Hash || again.Events != first.Events {
				t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, first.Events, first.Hash, again.Events, again.Hash)
			}
		}
	}
	if a, b := Run(Draw(100), nil), Run(Draw(101), nil); a.Hash == b.Hash {
		t.Errorf("seeds 100 and 101 have the same hash %x", a.Hash)
	}
}
