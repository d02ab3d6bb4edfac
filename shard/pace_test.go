package shard

import (
	"testing"

	"pegasus/netcore/lane"
)

// The log lane follows the loop while writes come one by one and little is read, and is free otherwise.
func TestLogPace(t *testing.T) {
	sh := &Shard{logLane: lane.New("log", 1, 1, lane.Threads())}
	defer sh.logLane.Close()
	ready := make(chan struct{})
	if err := sh.logLane.Submit(func() { close(ready) }); err != nil {
		t.Fatal(err)
	}
	<-ready // the worker has its thread
	for _, step := range []struct {
		name    string
		records int    // per write
		reads   uint64 // in all
		follows bool
	}{
		{"one record per write", 1, 0, true},
		{"several records", 2, 0, false},
		{"one record again, a read for each", 1, paceWrites, true},
		{"as many reads as may be", 1, calmReads, true},
		{"more", 1, calmReads + 1, false},
		{"none", 1, 0, true},
	} {
		before := sh.logLane.Stats().Follows
		sh.stats.Gets += step.reads / 2
		sh.stats.Ranges += step.reads - step.reads/2
		for range paceWrites {
			if got := sh.logLane.Stats().Follows; got != before {
				t.Fatalf("%s: decided before %d writes", step.name, paceWrites)
			}
			sh.logPace.wrote(sh, step.records)
		}
		if got := sh.logLane.Stats().Follows; got != step.follows {
			t.Fatalf("%s: follows is %v", step.name, got)
		}
	}
}
