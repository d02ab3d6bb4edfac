package core

import (
	"cmp"
	"maps"
	"slices"

	"pegasus/netcore/proto"
)

// Now is the time of an event. Mono is a monotonic clock in nanoseconds, Unix the wall clock in seconds; only times that
// people see come from the latter.
type Now struct {
	Mono int64
	Unix int64
}

// Event is one input of Core.Step: one of the types below.
type Event interface{ event() }

// Committed is a journal entry. Data is not kept. At is when a leader took it, in unix milliseconds, the same for every meta.
type Committed struct {
	Data []byte
	At   int64
}

// Restored replaces the replicated state by that of a snapshot.
type Restored struct{ State *State }

// Leadership says who leads. Leading must not be reported before every entry of earlier terms was Committed. Address and
// IP are those of the leader, zero when it is not known.
type Leadership struct {
	Role    Role
	Address proto.HostPort
	IP      proto.RPCAddress
}

// Refused says that the journal did not take a proposal and never will.
type Refused struct{ Seq uint64 }

// Tick lets time pass. Deadlines are checked only then; every 100 ms is plenty.
type Tick struct{}

// Request is a call of a client. Args is a pointer to the request struct of an RPC that Core serves, see NewRequest. Core
// keeps Args.
type Request struct {
	Token uint64
	Args  any
}

// The frames of a node. Link names its connection, never 0; Seq is that of the frame. Core keeps Msg.
type (
	// Hello opens or renews a node's session.
	Hello struct {
		Link uint64
		Seq  uint64
		Msg  *proto.NodeHello
	}
	// Beacon is a sign of life.
	Beacon struct {
		Link uint64
		Seq  uint64
		Msg  *proto.NodeBeacon
	}
	// Report lists replicas that changed.
	Report struct {
		Link uint64
		Msg  *proto.NodeReport
	}
	// Update asks for another configuration.
	Update struct {
		Link uint64
		Seq  uint64
		Msg  *proto.UpdateConfig
	}
	// LinkClosed says that a connection is gone.
	LinkClosed struct{ Link uint64 }
)

func (Committed) event()  {}
func (Restored) event()   {}
func (Leadership) event() {}
func (Refused) event()    {}
func (Tick) event()       {}
func (Request) event()    {}
func (Hello) event()      {}
func (Beacon) event()     {}
func (Report) event()     {}
func (Update) event()     {}
func (LinkClosed) event() {}

// Effects are the outputs of Step, appended to by it and emptied by the driver between steps.
type Effects struct {
	Propose []Proposed
	Send    []Send
	Reply   []Reply
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	clear(e.Propose)
	clear(e.Send)
	clear(e.Reply)
	e.Propose, e.Send, e.Reply = e.Propose[:0], e.Send[:0], e.Reply[:0]
}

// Proposed is an entry for the journal.
type Proposed struct {
	Seq  uint64
	Data []byte
}

// Send is a frame for a node. Msg is a pointer to a message struct and must be encoded before the next Step.
type Send struct {
	Link uint64
	Kind proto.PeerKind
	Seq  uint64
	Msg  any
}

// Reply answers a Request. With Err other than ErrOK the call fails at the RPC level and Body is nil; else Body is a
// pointer to the response struct, to be encoded before the next Step. Forward marks the answer of a meta that does not
// lead; Leader is whom native clients are sent to, 0 when nobody is known.
type Reply struct {
	Token   uint64
	Err     proto.ErrCode
	Body    any
	Forward bool
	Leader  proto.RPCAddress
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
