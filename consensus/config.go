package consensus

import (
	"fmt"
	"time"
)

// Limits bound the memory of one partition.
//
// Apache Pegasus allows 20 mutations in two-phase commit (staleness_for_commit); with batching and group commit the window has
// to cover what arrives during a few fsyncs, so here it is bounded by memory first and by a generous count second.
type Limits struct {
	// Mutations is the highest number of uncommitted mutations; a further proposal gets ErrCapacityExceeded. Default 4096.
	Mutations int
	// Bytes is the highest sum of their batch lengths; a further proposal gets ErrBusy. A single batch above it can never
	// be accepted and gets ErrInvalidData. Default 64 MiB.
	Bytes int
	// History is the highest sum of batch lengths of committed mutations held for learners. Default 16 MiB; nothing is held
	// while nobody learns.
	History int
	// InFlight is the highest sum of batch lengths sent to one member and not acknowledged, when it is fed what it lacks.
	// Their number is bounded by Mutations: a follower has no room for many more.
	// Default 4 MiB.
	InFlight int
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&l.Mutations, 4096)
	set(&l.Bytes, 64<<20)
	set(&l.History, 16<<20)
	set(&l.InFlight, 4<<20)
	return l
}

// Timing is the clockwork of groups. All durations are on monotonic clocks that run at about the same speed.
type Timing struct {
	Beacon time.Duration // between two beacons to a node. Default 300 ms.
	Lease  time.Duration // how long an acknowledged beacon is a lease, from when it was sent. Default 1.5 s.
	Grace  time.Duration // how long a node may be silent before it is taken for dead. Default 2.5 s.

	Retry    time.Duration // until a message or an ask without answer is repeated. Default 500 ms.
	Announce time.Duration // until members are told of a commit point that no prepare carried. Default 100 ms.
	HandOver time.Duration // how long a hand-over may wait for the window to empty. Default 1 s.
	Slow     time.Duration // how long a member must be slow before it is removed. Default 5 s.
	SlowPer  time.Duration // at most one removal per slow node in this time. Default 1 min.
}

// DefaultTiming has the defaults.
func DefaultTiming() Timing {
	return Timing{
		Beacon: 300 * time.Millisecond, Lease: 1500 * time.Millisecond, Grace: 2500 * time.Millisecond,
		Retry: 500 * time.Millisecond, Announce: 100 * time.Millisecond, HandOver: time.Second,
		Slow: 5 * time.Second, SlowPer: time.Minute,
	}
}

// Validate tells what is wrong with t, all of it at once. The lease must end before the grace: the holder gives up before
// anybody may take its place.
func (t Timing) Validate() error {
	switch {
	case t.Beacon <= 0 || t.Retry <= 0 || t.Announce <= 0 || t.HandOver <= 0 || t.Slow <= 0 || t.SlowPer <= 0:
		return fmt.Errorf("consensus timing %+v: every duration must be above 0", t)
	case t.Beacon*2 > t.Lease:
		return fmt.Errorf("beacon interval %v: a lease of %v must survive the loss of one beacon", t.Beacon, t.Lease)
	case t.Lease >= t.Grace:
		return fmt.Errorf("lease %v must be shorter than grace %v", t.Lease, t.Grace)
	}
	return nil
}

// MinMembers is the number of members, primary included, that a group must have to take writes. configured is the setting of
// table or cluster, 0 for none.
func MinMembers(maxReplicaCount, configured int) int {
	switch {
	case configured > 0:
		return configured
	case maxReplicaCount > 2:
		return maxReplicaCount/2 + 1
	default:
		return 1
	}
}
