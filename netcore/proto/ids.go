// Package proto holds the words of the system's language and their bytes: identifiers, error and RPC codes, frame
// headers and message codecs. It is a leaf: it imports only invariant and the standard library, knows no socket, no
// clock and no goroutine, and never keeps a slice that it was given.
//
// Decoders of hot messages return views into the input; such a view lives exactly as long as the input bytes do.
package proto

import (
	"cmp"
	"encoding/hex"
	"fmt"
)

// GPID names a partition: the table's id (from 1) and the index of the partition in the table (from 0).
type GPID struct {
	App  int32
	Part int32
}

// Thrift is the wire form of a GPID: partition index in the high, app id in the low 32 bits.
func (g GPID) Thrift() int64 { return int64(g.Part)<<32 | int64(uint32(g.App)) }

// GPIDFromThrift is the inverse of GPID.Thrift.
func GPIDFromThrift(v int64) GPID { return GPID{App: int32(uint32(v)), Part: int32(v >> 32)} }

// String prints "app.partition", the notation of the field.
func (g GPID) String() string { return fmt.Sprintf("%d.%d", g.App, g.Part) }

// Compare orders by app id, then partition index.
func (g GPID) Compare(o GPID) int {
	if c := cmp.Compare(g.App, o.App); c != 0 {
		return c
	}
	return cmp.Compare(g.Part, o.Part)
}

// Ballot numbers the configurations of a partition: it grows by one with every accepted change. 0 is a partition that
// was never assigned, InvalidBallot one that does not exist (an unfinished split child).
type Ballot int64

// InvalidBallot marks a partition without a configuration.
const InvalidBallot Ballot = -1

// Decree numbers the mutations of a partition from 1. 0 means "none yet".
type Decree int64

// NodeID is the identity of a replica server, drawn once at random and kept in its data directory. It survives a
// change of address. The zero value is no node.
type NodeID [16]byte

// String prints the id as 32 hex digits, or "none".
func (n NodeID) String() string {
	if n == (NodeID{}) {
		return "none"
	}
	return hex.EncodeToString(n[:])
}

// IsZero tells whether n names no node.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// ParseNodeID is the inverse of NodeID.String for real ids: 32 hex digits.
func ParseNodeID(s string) (NodeID, error) {
	var n NodeID
	if len(s) != 2*len(n) {
		return n, fmt.Errorf("node id %q: want %d hex digits", s, 2*len(n))
	}
	if _, err := hex.Decode(n[:], []byte(s)); err != nil {
		return NodeID{}, fmt.Errorf("node id %q: %w", s, err)
	}
	return n, nil
}

// ShardID is the index of an event loop inside one process, from 0.
type ShardID uint16

// Placement returns the shard that owns a partition on a node with the given number of shards (>= 1). It is a pure
// function, equal on all nodes, so that with equal shard counts shard i talks only to shard i of a peer.
//
// Consecutive partitions of a table go round the shards, so each shard gets its share of every table. The first one is
// moved by the golden ratio from table to table, which spreads tables with few partitions evenly for any number of
// shards.
func Placement(g GPID, shards int) ShardID {
	start := uint64(uint32(g.App)*2654435769) * uint64(shards) >> 32
	return ShardID((start + uint64(uint32(g.Part))) % uint64(shards))
}
