//go:build pacbugs

package pacsim

import "testing"

// TestPlantedBugsInClients proves that the simulator sees what clients do, too.
func TestPlantedBugsInClients(t *testing.T) {
	repeatsLostWrites = true
	sum := campaign(1, bugPatience, Draw)
	repeatsLostWrites = false
	if sum.failed == nil {
		t.Fatalf("not found in %d seeds", sum.runs)
	}
	if r := Run(sum.failed.Options, nil); r.Failure != nil {
		t.Fatalf("%v\nfails without the bug too: %v", r.Options, r.Failure)
	}
	t.Logf("found by seed %d, in %d seeds: %v", sum.failed.Options.Seed, sum.runs, sum.failed.Failure)
}
