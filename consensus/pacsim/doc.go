// Package pacsim runs whole clusters in virtual time, in one goroutine, from one seed: the replication core, the lease
// keeper, the shard log and the meta core exactly as daemons run them, on disks that lose power, over a network that loses
// messages, under clocks that drift. It knows nothing of sockets, of RocksDB and of the shard's request handlers; what it
// has in their place is a model of a driver: the shortest one that keeps the duties listed in package consensus.
//
// # Why this shape
//
// The cores are pure, so a run needs no patched runtime and no goroutines: an event is a time and a function, and the order of
// equal times is the order in which they were scheduled. Everything random comes from one generator. Nothing walks a map
// where the order could matter. So one number is a whole history, a failure replays exactly, and turning faults off one by one
// shrinks it. Each trace event goes into a hash; equal seeds must give equal hashes, which a test demands.
//
// # Swarm
//
// A seed draws which kinds of faults are on and how hard (Options). Most runs have few kinds: a fault that is always on hides
// bugs that need quiet. The cluster runs under faults for a while (safety), then everything heals and it must come to rest
// within bounded virtual time (liveness).
//
// # What the faults leave possible
//
// PacificA promises nothing when every copy of a partition is gone. So media damage (a wiped disk, rotten bits) strikes only a
// node whose partitions all keep another member that is whole, whatever becomes of the changes under way (Sim.expendable); crashes, power losses of all nodes at once, pauses and
// partitions strike without any limit. Rot stays out of the last write of a log, where it cannot be told from a torn tail. Clock
// drift stays below what separates lease from grace.
//
// # Checkers
//
// Each is in a file of its own, check_*.go: history (what is committed never differs nor gets lost), serving (one primary per ballot, no
// read after the lease), prefix, content, linear (porcupine), live. With Options.Only a single one looks: each must find a planted
// bug alone, or it is no checker.
package pacsim
