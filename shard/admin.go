package shard

import (
	"fmt"
	"runtime"
	"time"

	"pegasus/engine/rocks"
)

// Version and Commit are what the node calls itself in /version and in the remote command version. The build sets them.
var (
	Version = "dev"
	Commit  = "unknown"
)

// Stats are the sums over all shards, at most a second old. It may be called from any goroutine.
func (n *Node) Stats() Stats {
	var sum Stats
	for _, sh := range n.shards {
		if s := sh.published.Load(); s != nil {
			sum.Gets += s.Gets
			sum.Ranges += s.Ranges
			sum.Writes += s.Writes
			sum.Mutations += s.Mutations
			sum.Forwarded += s.Forwarded
			sum.ColdReads += s.ColdReads
			sum.LogWrites += s.LogWrites
			sum.LoopLogWrites += s.LoopLogWrites
			sum.LogSyncs += s.LogSyncs
			sum.LogBytes += s.LogBytes
			sum.Rows.Hits += s.Rows.Hits
			sum.Rows.Misses += s.Rows.Misses
			sum.Rows.Puts += s.Rows.Puts
			sum.Rows.Rows += s.Rows.Rows
			sum.Rows.Bytes += s.Rows.Bytes
			sum.Rows.Limit += s.Rows.Limit
		}
	}
	return sum
}

// publication asks a shard to publish its counters.
type publication struct{ done chan<- struct{} } // has room for it

func (m *publication) deliver(sh *Shard) {
	sh.publish()
	m.drop()
}

func (m *publication) drop() { m.done <- struct{}{} }

// countersPatience bounds how long Counters waits for loops that are busy.
const countersPatience = time.Second

// Counters are the numbers of Stats by name, for the debug port: as they are now, because a measurement takes their differences, or a
// second old if a loop does not answer for countersPatience. It may be called from any goroutine.
func (n *Node) Counters() map[string]uint64 {
	done := make(chan struct{}, len(n.shards))
	for _, sh := range n.shards {
		sh.deliverLater(&publication{done: done})
	}
	timer := time.NewTimer(countersPatience)
	defer timer.Stop()
wait:
	for range n.shards {
		select {
		case <-done:
		case <-timer.C:
			break wait
		}
	}
	s := n.Stats()
	return map[string]uint64{
		"gets": s.Gets, "range_reads": s.Ranges, "writes": s.Writes, "mutations": s.Mutations,
		"forwarded_frames": s.Forwarded, "cold_reads": s.ColdReads,
		"log_writes": s.LogWrites, "log_syncs": s.LogSyncs, "log_bytes": s.LogBytes, "loop_log_writes": s.LoopLogWrites,
	}
}

func (n *Node) version() string {
	return fmt.Sprintf("Pegasus Server %s (%s, rocksdb %s)", Version, runtime.Version(), rocks.BuildProfile())
}
