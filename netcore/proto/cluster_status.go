package proto

// What a node tells meta about itself from time to time, and what meta may tell a node to throw away.

// The kinds of this file; numbers are fixed for ever.
const (
	PeerStatus  PeerKind = 13 // node to meta, every few seconds: NodeStatusReport
	PeerDiscard PeerKind = 14 // meta to node, pushed: Discard
)

// DiskStatus is one data directory of a node.
type DiskStatus struct {
	Tag         string `thrift:"1"`
	Dir         string `thrift:"2"`
	CapacityMB  int64  `thrift:"3"`
	AvailableMB int64  `thrift:"4"`
	Status      int32  `thrift:"5"` // disk_status of the Apache protocol: 0 normal, 1 space insufficient, 2 I/O error
}

// ReplicaLoad is what one replica costs its node. Rates are averages over the time since the status before.
type ReplicaLoad struct {
	GPID           GPID   `thrift:"1"`
	DiskTag        string `thrift:"2"`
	Bytes          int64  `thrift:"3"` // of its store on disk
	ReadsPerSec    int64  `thrift:"4"`
	WritesPerSec   int64  `thrift:"5"`
	ReadBytesPerS  int64  `thrift:"6"`
	WriteBytesPerS int64  `thrift:"7"`
	// ManualCompact is manual_compaction_status of the Apache protocol: 0 idle, 1 queuing, 2 running, 3 finished.
	ManualCompact int32 `thrift:"8"`
	// ManualCompactEnded is when the last manual compaction ended, in unix milliseconds; 0: never.
	ManualCompactEnded int64 `thrift:"9"`
	// Latencies of the requests answered in the last ten seconds, in microseconds; 0 when there were none.
	ReadP50  int64 `thrift:"10,opt"`
	ReadP99  int64 `thrift:"11,opt"`
	WriteP50 int64 `thrift:"12,opt"`
	WriteP99 int64 `thrift:"13,opt"`
	// HotKeys are those that came most often in the last ten seconds, reads and writes; a few, and often none.
	HotKeys []HotKey `thrift:"14,opt"`
}

// HotKey is a hash key that a replica is asked for often. Only a part of the requests is counted, so the figures are estimates.
type HotKey struct {
	HashKey string `thrift:"1"` // its first 64 bytes
	Write   bool   `thrift:"2"`
	PerSec  int64  `thrift:"3"`
	Percent int32  `thrift:"4"` // of the reads, or writes, of the replica
}

// NodeStatusReport is what a node tells meta for placement, balance and people: it decides nothing about who is a member.
type NodeStatusReport struct {
	Node     NodeID        `thrift:"1"`
	Disks    []DiskStatus  `thrift:"2"`
	Replicas []ReplicaLoad `thrift:"3"`
	// Closed are the replicas on its disks that are not open: those of dropped tables, and those that left their group.
	// Meta has them discarded only when it saw them in several reports.
	Closed []GPID `thrift:"4,opt"`
}

// Discard tells a node that meta has no use for a replica that is no member. The node moves it aside (as Apache Pegasus'
// .gar folders) unless the replica knows a ballot above Ballot or is a member by its own knowledge.
type Discard struct {
	GPID   GPID   `thrift:"1"`
	Ballot Ballot `thrift:"2"` // of the register when meta decided
}
