//go:build pacbugs

package pacsim

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/consensus"
)

var bugFlag = flag.String("bug", "", "plant only this bug")

// bugPatience bounds the search for one bug in wall time.
const bugPatience = 40 * time.Second

// TestPlantedBugs proves that the simulator has eyes: each bug that package consensus can be built with must be found. Bugs are
// of the process, so they are planted one after the other; the seeds of one bug run on all processors.
func TestPlantedBugs(t *testing.T) {
	defer consensus.Plant(consensus.NoBug)
	for b := consensus.NoBug + 1; b < consensus.NumBugs; b++ {
		if *bugFlag != "" && *bugFlag != b.String() {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			consensus.Plant(b)
			start := time.Now()
			sum := campaign(1, bugPatience, func(seed uint64) Options { return provoke(b, seed) })
			found := sum.failed
			if found == nil {
				t.Fatalf("not found in %d seeds", sum.runs)
			}
			spent := time.Since(start)
			consensus.Plant(consensus.NoBug)
			if r := Run(found.Options, nil); r.Failure != nil {
				t.Fatalf("%v\nfails without the bug too: %v", r.Options, r.Failure)
			}
			t.Logf("found by seed %d, %d seeds in %v: %v", found.Options.Seed, sum.runs, spent, found.Failure)
		})
	}
}

// eyes names for each checker a bug that it must find with all other checkers blind. What nobody sees because another checker is
// faster might as well not be there. Breaks in the order of decrees and of ballots are fed to their checkers by hand, in check_test.go:
// the cores would panic before they made one.
var eyes = map[string]consensus.Bug{
	"acked":      consensus.SkipNack,
	"content":    consensus.SkipNack,
	"history":    consensus.CommitWithoutOne,
	"lease":      consensus.ServeAfterLease,
	"linear":     consensus.CommitWithoutOne,
	"live":       consensus.SkipNack,
	"prefix":     consensus.CommitWithoutOne,
	"stale-read": consensus.PongThoughAsked,
}

// TestEveryChecker proves that each checker alone has eyes.
func TestEveryChecker(t *testing.T) {
	if *bugFlag != "" {
		t.Skip("-bug asks for one bug")
	}
	defer consensus.Plant(consensus.NoBug)
	for _, kind := range slices.Sorted(maps.Keys(eyes)) {
		b := eyes[kind]
		consensus.Plant(b)
		sum := campaign(1, bugPatience, func(seed uint64) Options {
			o := provoke(b, seed)
			o.Only = kind
			return o
		})
		if sum.failed == nil {
			t.Errorf("%s does not see %v in %d seeds", kind, b, sum.runs)
			continue
		}
		what, _, _ := strings.Cut(sum.failed.Failure.Error(), "\n")
		t.Logf("%s sees %v in seed %d: %s", kind, b, sum.failed.Options.Seed, what)
	}
}

// focus names the faults that some bugs need together. Plain seeds find these too, only later.
var focus = map[consensus.Bug][]Fault{
	consensus.LeaseFromReceipt: {FaultOneWay},
	consensus.NoTermBump:       {FaultPause, FaultPartition, FaultOneWay},
	consensus.PongThoughAsked:  {FaultPause, FaultMetaSlow, FaultMetaSplit},
}

// provoke draws the options of a seed: every other one has nothing but the faults that the bug needs.
func provoke(b consensus.Bug, seed uint64) Options {
	o := Draw(seed)
	if of := focus[b]; len(of) > 0 && seed%2 == 0 {
		o.On = [faultCount]bool{}
		for _, f := range of {
			o.On[f] = true
		}
		o.Gap, o.Think, o.Storm = 300*millisecond, 5*millisecond, 45*second
	}
	return o
}
