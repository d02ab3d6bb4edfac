package consensus

import "pegasus/netcore/proto"

// Role is what a replica is for its partition.
type Role uint8

const (
	// Inactive serves nothing: no configuration that names it is known, or its log failed.
	Inactive Role = iota
	// Primary orders writes and, with leases, serves reads.
	Primary
	// Secondary logs what the primary prepares; a write needs its acknowledgement.
	Secondary
	// Learner catches up; its acknowledgements do not count yet.
	Learner
)

// String names the role as Apache Pegasus' partition_status does.
func (r Role) String() string {
	switch r {
	case Primary:
		return "PS_PRIMARY"
	case Secondary:
		return "PS_SECONDARY"
	case Learner:
		return "PS_POTENTIAL_SECONDARY"
	default:
		return "PS_INACTIVE"
	}
}

// Config is a configuration of a partition as meta's register holds it. Ballot orders configurations: each differs from the
// one before by one accepted change.
type Config struct {
	Ballot      proto.Ballot
	Primary     proto.NodeID
	Secondaries []proto.NodeID
}

// Mutation is the unit of replication: the records of one or more client writes under one decree.
type Mutation struct {
	// Ballot is the one it was last prepared under here. Content is decided by (Ballot, Decree).
	Ballot    proto.Ballot
	Decree    proto.Decree
	Committed proto.Decree // the proposer's commit point when it was prepared
	Timestamp int64        // microseconds since 1970, unique and rising per partition
	// Batch is the write-batch records (engine.BatchBuilder); empty for an empty mutation. It must not change until the
	// mutation is committed and logged.
	Batch []byte
	// Tokens name the client operations of the mutation to the driver; nil on replicas that did not propose it.
	Tokens []uint64
}

// EventKind says which fields of an Event count. Now always does.
type EventKind uint8

const (
	// EventConfigure: Config is the newest configuration from meta's register, pushed or as the answer to an Ask, accepted or
	// not (ERR_INVALID_VERSION carries it). The driver has made its ballot durable before, if it is a new one. An older
	// ballot than the current one is ignored.
	EventConfigure EventKind = iota + 1
	// EventPropose: Batch, Timestamp, Tokens are a new mutation.
	EventPropose
	// EventLogSynced: the record (Ballot, Decree) and every one appended before it is durable in the local log. Ballot tells
	// a record from the one that replaced it; 0 is good enough where nothing is ever replaced, in groups of one.
	EventLogSynced
	// EventLogFailed: the local log failed; nothing appended since the last LogSynced may be trusted to be durable.
	EventLogFailed
	// EventFlushed: the store holds every mutation up to Decree durably, without the log.
	EventFlushed
	// EventMessage: Message came from Node. Its Batch is kept, see Effects; the rest is not.
	EventMessage
	// EventTick: time passed. A few times per Timing.Retry is enough; it costs little when nothing is due.
	EventTick
	// EventAddLearner: meta proposes to the primary that Node become a secondary.
	EventAddLearner
	// EventHandOver: meta proposes to the primary that Node, a secondary, become primary.
	EventHandOver
	// EventRemove: meta proposes to the primary to remove Node, a secondary or a learner.
	EventRemove
	// EventLogRead answers Effects.ReadLog: Mutations follow each other from the decree asked for. Failed: the log does not
	// hold them any more. Batches must stay until the effects of this step are consumed.
	EventLogRead
	// EventCheckpointSent answers Effects.SendCheckpoint: a checkpoint of Decree is ready for Node, or Failed.
	EventCheckpointSent
	// EventCheckpointInstalled answers Effects.Install: the store is the one of the checkpoint, durably at Decree, and the
	// log has forgotten the partition, durably; or Failed and nothing changed.
	EventCheckpointInstalled
	// EventBallotDurable answers Effects.Persist.
	EventBallotDurable
	// EventAskRefused: meta answered an Ask with an error other than ERR_INVALID_VERSION. The Ask may still be accepted if it
	// was sent more than once.
	EventAskRefused
)

// Event is one input of a Replica. Tokens and configurations are copied by Step; batches are kept, see Effects.
type Event struct {
	Kind      EventKind
	Now       int64 // monotonic nanoseconds, of any origin; never smaller than in the event before
	Config    Config
	Ballot    proto.Ballot
	Decree    proto.Decree
	Timestamp int64
	Batch     []byte
	Tokens    []uint64
	Node      proto.NodeID
	Message   *proto.ReplMessage
	Mutations []Mutation
	Failed    bool
}

// Reject is a proposal that was refused, or (ErrTimeout) whose outcome this replica can no longer learn.
type Reject struct {
	Tokens []uint64
	Err    proto.ErrCode
}

// Send is a message to another node.
type Send struct {
	To      proto.NodeID
	Message proto.ReplMessage
}

// Ask is a request to meta: replace the configuration of ballot Config.Ballot-1 by Config. Type and Node, the one that the
// change is about, say what it does: CTUpgradeToPrimary (hand-over, or take-over when Node asks itself),
// CTUpgradeToSecondary (a learner has caught up), CTRemove, CTPrimaryForceUpdateBallot (same members).
type Ask struct {
	Type   proto.ConfigType
	Node   proto.NodeID
	Config Config
}

// ReadLog asks the driver for mutations From..To of its log, at most Bytes of batches but at least one mutation.
type ReadLog struct {
	Learner  proto.NodeID
	From, To proto.Decree
	Bytes    int
}

// SendCheckpoint asks the driver for a checkpoint of the store for a learner, with the log pinned from its decree on.
type SendCheckpoint struct{ Learner proto.NodeID }

// Install asks the driver to replace the store by the checkpoint of Decree that From made ready.
type Install struct {
	From   proto.NodeID
	Decree proto.Decree
}

// Effects are the outputs of Step, appended to by the replica and carried out by the driver field by field in the order given
// here; the driver resets them between steps. Slices inside are valid until the next Step of the same replica: what is sent
// later has to be encoded or copied before.
//
// Ownership of batches: the replica keeps the Batch of a proposal or of a prepare until the mutation has come back in Commit,
// and the driver may reuse the memory once it is committed, applied, and durable in the log. A batch that never comes back
// (refused, a duplicate, replaced under a higher ballot) is to be left to the garbage collector.
type Effects struct {
	// Persist, if not 0, is a ballot to be made durable, like one of EventConfigure, and then reported with
	// EventBallotDurable. Nothing is acknowledged under it before.
	Persist proto.Ballot

	Append  []Mutation
	Commit  []Mutation
	Rejects []Reject
	Sends   []Send
	Asks    []Ask

	ReadLog        []ReadLog
	SendCheckpoint []SendCheckpoint
	Install        []Install
	// Release: the learner needs its checkpoint, log pin and readers no more.
	Release []proto.NodeID

	// StateChanged: role, ballot or members changed; meta wants a report, clients may have to be told.
	StateChanged bool
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	clear(e.Append)
	clear(e.Commit)
	clear(e.Rejects)
	clear(e.Sends)
	clear(e.Asks)
	*e = Effects{
		Append: e.Append[:0], Commit: e.Commit[:0], Rejects: e.Rejects[:0], Sends: e.Sends[:0], Asks: e.Asks[:0],
		ReadLog: e.ReadLog[:0], SendCheckpoint: e.SendCheckpoint[:0], Install: e.Install[:0], Release: e.Release[:0],
	}
}

// LeaseView is what a replica asks of its node's lease keeper; Leases implements it. now is a fresh reading of the clock.
type LeaseView interface {
	// Valid tells whether this node holds a lease from node. Ask for it before Term: a renewal after a lapse changes Term first.
	Valid(node proto.NodeID, now int64) bool
	// Term numbers the spans of uninterrupted leases from node, from 1.
	Term(node proto.NodeID) uint64
	// Expired tells whether every lease granted to node has surely ended: its grace is over.
	Expired(node proto.NodeID, now int64) bool
	// Lost tells whether node has not acknowledged a beacon for a grace.
	Lost(node proto.NodeID, now int64) bool
	// MayDrop grants, once in a while per node, the right to remove node because it is slow.
	MayDrop(node proto.NodeID, now int64) bool
}
