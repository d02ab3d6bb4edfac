// Package consensus is PacificA as a pure state machine: one Replica per partition and node, driven by Step(event) and
// answering with effects. It reads no clock, starts no goroutine, does no I/O and calls no cgo, so the same code runs in a
// daemon and in a simulator. It imports proto and invariant only; bytes of mutations pass through it unread.
//
// The driver's duties, per partition and in the order of the effects:
//  1. Append: write the mutation to the shard log. Report EventLogSynced once it is durable.
//  2. Commit: apply the mutation to the store, in decree order, then answer its tokens.
//  3. Reject: answer the token with the error. With ErrTimeout the operation may or may not have an effect, which is what
//     clients take ERR_TIMEOUT for; with any other error it has none and never will.
//
// Its duties towards the store and the log: apply what the log replays up to the highest commit point found there, and hand
// the rest to NewReplica as Restored.Log; report EventFlushed when a flush of the store is durable.
//
// In this step groups have one member, the primary: the local log is the whole quorum.
package consensus

import "pegasus/netcore/proto"

// Role is what a replica is for its partition.
type Role uint8

const (
	// Inactive serves nothing: it has no configuration that names it, or its log failed.
	Inactive Role = iota
	// Primary orders writes and serves reads.
	Primary
)

// String names the role as Apache Pegasus' partition_status does.
func (r Role) String() string {
	if r == Primary {
		return "PS_PRIMARY"
	}
	return "PS_INACTIVE"
}

// Config is a configuration of a partition as meta's register holds it. Ballot orders configurations.
type Config struct {
	Ballot  proto.Ballot
	Primary proto.NodeID
}

// Mutation is the unit of replication: the records of one or more client writes under one decree.
type Mutation struct {
	Ballot    proto.Ballot
	Decree    proto.Decree
	Committed proto.Decree // the proposer's commit point when it was proposed
	Timestamp int64        // microseconds since 1970, unique and rising per partition
	// Batch is the write-batch records (engine.BatchBuilder); empty for an empty mutation. It must not change until the
	// mutation is committed and logged.
	Batch []byte
	// Tokens name the client operations of the mutation to the driver; nil on replicas that did not propose it.
	Tokens []uint64
}

// EventKind says which fields of an Event count.
type EventKind uint8

const (
	// EventConfigure: Config is the newest configuration from meta. An older ballot than the current one is ignored.
	EventConfigure EventKind = iota + 1
	// EventPropose: Batch, Timestamp, Tokens are a new mutation.
	EventPropose
	// EventLogSynced: every appended mutation up to Decree is durable in the local log.
	EventLogSynced
	// EventLogFailed: the local log failed; nothing appended since the last LogSynced may be trusted to be durable.
	EventLogFailed
	// EventFlushed: the store holds every mutation up to Decree durably, without the log.
	EventFlushed
)

// Event is one input of a Replica. Tokens are copied by Step; Batch is kept, see Mutation.
type Event struct {
	Kind      EventKind
	Config    Config
	Decree    proto.Decree
	Timestamp int64
	Batch     []byte
	Tokens    []uint64
}

// Reject is a proposal that was refused, or (ErrTimeout) whose outcome this replica can no longer learn.
type Reject struct {
	Tokens []uint64
	Err    proto.ErrCode
}

// Effects are the outputs of Step, appended to by the replica and consumed in order by the driver, which resets them between
// steps. Slices inside are valid until the next Step of the same replica: the replica reuses the memory of Tokens for later
// mutations, and drops its reference to Batch when it commits.
type Effects struct {
	Append  []Mutation
	Commit  []Mutation
	Rejects []Reject
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	clear(e.Append)
	clear(e.Commit)
	clear(e.Rejects)
	e.Append, e.Commit, e.Rejects = e.Append[:0], e.Commit[:0], e.Rejects[:0]
}
