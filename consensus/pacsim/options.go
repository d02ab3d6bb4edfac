package pacsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Fault is a kind of trouble. Each is on or off for a whole run, so that a failing run can be tried again without it.
type Fault uint

// The kinds of trouble, see faults.go for what each does.
const (
	FaultLoss        Fault = iota // single messages get lost
	FaultDuplicate                // single messages arrive twice
	FaultReorder                  // single messages overtake those of their own connection
	FaultDelay                    // bursts of slow links, up to longer than a lease
	FaultReconnect                // connections break; what the old one carried may arrive after the new one's
	FaultPartition                // two groups of nodes cannot talk
	FaultOneWay                   // one direction of one link is dead
	FaultFlap                     // a link goes on and off quickly
	FaultMetaSplit                // a node cannot talk to meta, only to its peers
	FaultCrash                    // a process dies, its page cache stays
	FaultPower                    // a machine loses power, with it what was not synced
	FaultPowerAll                 // all machines lose power at once
	FaultRestartLoop              // a process dies again soon after every start
	FaultStepCrash                // a process dies between two effects of a step
	FaultPause                    // a process stands still for up to several leases
	FaultDrift                    // clocks run at different speeds and start anywhere
	FaultSlowDisk                 // a disk takes long
	FaultSyncError                // a sync fails and loses what it was for
	FaultNoSpace                  // a disk is full for a while
	FaultRot                      // a bit of an older log segment flips
	FaultWipe                     // a machine loses its disk and comes back as a new node
	FaultMetaLeader               // the meta group changes its leader
	FaultMetaCrash                // a meta dies and comes back with what the journal holds
	FaultMetaOutage               // no meta answers for long
	FaultMetaSlow                 // meta takes long to answer
	FaultHandOver                 // an operator moves primaries
	FaultGrow                     // nodes are added late, so that learners have far to go
	FaultDrain                    // an operator has nodes emptied, for a restart or for good, and takes some of that back
	FaultBalance                  // an operator has replicas evened out, and pauses, resumes and cancels that

	faultCount
)

var faultNames = [faultCount]string{
	"loss", "duplicate", "reorder", "delay", "reconnect", "partition", "one-way", "flap", "meta-split", "crash", "power",
	"power-all", "restart-loop", "step-crash", "pause", "drift", "slow-disk", "sync-error", "no-space", "rot", "wipe",
	"meta-leader", "meta-crash", "meta-outage", "meta-slow", "hand-over", "grow", "drain", "balance",
}

// String is the name used in reports.
func (f Fault) String() string { return faultNames[f] }

// Options are what a seed draws before a run starts.
type Options struct {
	Seed       uint64
	Nodes      int // replica servers
	Metas      int
	Partitions int
	Replicas   int // max_replica_count
	MinWrite   int // fewer members refuse writes; 0: derived
	Clients    int
	Think      int64 // mean pause of a client between operations
	Storm      int64 // how long faults last
	Gap        int64 // mean pause between two faults
	// Loss, Duplicate and Reorder are per mille of messages.
	Loss, Duplicate, Reorder int
	FlushEvery               int64 // mean pause between flushes of a partition
	SegmentSize              int64
	Window                   int // mutations in flight
	CrashStep                int // one node dies at this boundary between effects, counted from the storm's begin; 0: none
	On                       [faultCount]bool
	// Only, if not empty, is the one kind of checker that looks. Runs end without it when a core breaks down or nothing moves.
	Only string
}

// Draw returns the options of a seed.
func Draw(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 0x0b71))
	pick := func(of ...int64) int64 { return of[r.IntN(len(of))] }
	o := Options{
		Seed: seed, Nodes: 3 + r.IntN(3), Metas: 1 + 2*r.IntN(2), Partitions: 1 + r.IntN(3), Clients: 2 + r.IntN(4),
		Think: pick(5, 20, 60) * millisecond, Storm: pick(20, 30, 45) * second, Gap: pick(300, 1000, 3000) * millisecond,
		Loss: int(pick(1, 10, 50)), Duplicate: int(pick(5, 30)), Reorder: int(pick(5, 50)),
		FlushEvery: pick(500, 3000, 15000) * millisecond, SegmentSize: pick(72, 96, 128) << 10, Window: int(pick(8, 64, 1024)),
	}
	o.Replicas = min(o.Nodes, int(pick(2, 3, 3, 3, 4)))
	if r.IntN(4) == 0 {
		o.MinWrite = 1 + r.IntN(o.Replicas)
	}
	// Most runs have a few kinds, some have one, some nearly all.
	chance := pick(8, 15, 25, 40, 80)
	for f := range o.On {
		o.On[f] = r.Int64N(100) < chance
	}
	return o
}

// ParseFaults reads names separated by commas.
func ParseFaults(list string) (on [faultCount]bool, err error) {
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(faultNames[:], name)
		if i < 0 {
			return on, fmt.Errorf("no fault is called %q; there are %s", name, strings.Join(faultNames[:], ", "))
		}
		on[i] = true
	}
	return on, nil
}

// Names lists the faults that are on, as ParseFaults takes them.
func (o Options) Names() string {
	var on []string
	for f, is := range o.On {
		if is {
			on = append(on, Fault(f).String())
		}
	}
	return strings.Join(on, ",")
}

// Without returns o with one kind of fault turned off.
func (o Options) Without(f Fault) Options {
	o.On[f] = false
	return o
}

// String says in one line what was drawn.
func (o Options) String() string {
	return fmt.Sprintf("seed %d: %d nodes, %d metas, %d partitions of %d replicas (min %d), %d clients every %d ms, storm %d s with a fault every %d ms, "+
		"loss %d‰ dup %d‰ reorder %d‰, flush every %d ms, segments of %d KiB, window %d; faults: %s",
		o.Seed, o.Nodes, o.Metas, o.Partitions, o.Replicas, o.MinWrite, o.Clients, o.Think/millisecond, o.Storm/second,
		o.Gap/millisecond, o.Loss, o.Duplicate, o.Reorder, o.FlushEvery/millisecond, o.SegmentSize>>10, o.Window,
		o.Names())
}
