// Package shard is a replica node. One Shard is one event loop and the sole owner of its partitions: their consensus
// state, store, in-flight writes, scan contexts and timers. No lock and no channel lies on the data path; what may block
// runs in a lane and comes back as a message to the loop.
//
// The way of a request, in reading order:
//
//	session.go    bytes of a session are cut into frames and told apart by their first bytes
//	dispatch.go   a frame goes to the owner of its partition: this shard, or another one by mailbox (forward.go)
//	admission.go  the checks of the replication layer, in the order of the recordings
//	reads.go      gets of a turn become one call into all their stores; misses go to the read lane
//	ranges.go     range reads and scanners, run in slices
//	writes.go     writes of a turn become one mutation per partition; atomic operations see what is in flight (overlay.go)
//	commit.go     effects of consensus: shard log, store, replies
//
// Around it: partition.go (what the owner keeps per partition), lifecycle.go (open, close, configure), metalink.go (the
// node's one connection to the meta group), recovery.go (stores and logs at start), node.go (assembly).
//
// It refuses to know how requests are worded (rrdb, netcore/proto), how bytes get on a disk (engine, consensus/mutlog) and
// who decides on configurations (metasvc).
package shard
