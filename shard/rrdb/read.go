package rrdb

import (
	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// State is how far a Read has come.
type State uint8

// The states of a Read.
const (
	Done       State = iota // AppendReply has the answer
	More                    // the budget is used up: run it again
	WouldBlock              // run it again with engine.TierAll, where blocking is allowed
	Failed                  // the store failed, see the error; AppendReply has an answer with its status
)

// Read is a read over several records. It is run in slices until it says Done or Failed, then asked for the reply, then
// closed. It keeps nothing of the request's bytes or of Env, so it may be parked and may move between goroutines, but it
// is used by one at a time. What it answers is always seen in one snapshot of the store: a run that would block forgets
// all that was collected from memory and starts over on a new snapshot.
//
// The time that counts for expiry is the one that Env had when the read was made.
type Read interface {
	// Run goes on for at most one slice. A zero budget means slices of the package's choice.
	Run(tier engine.Tier, budget engine.SliceLimit) (State, error)
	// TimeUp ends the read with what it has: Limits.IterationTime has passed. The caller has the clock.
	TimeUp()
	// AppendReply appends the result struct. It is called at most once, before Close.
	AppendReply(dst []byte) []byte
	// Close releases iterator and memory. It may be called in any state and more than once.
	Close()
}

// NewRead makes the Read of a MULTI_GET, BATCH_GET or SORTKEY_COUNT. An error means that the arguments do not decode.
func NewRead(store engine.Store, env *Env, code proto.Code, args []byte) (Read, error) {
	switch code {
	case proto.CodeMultiGet:
		return newMultiGet(store, env, args)
	case proto.CodeBatchGet:
		return newBatchGet(store, env, args)
	case proto.CodeSortkeyCount:
		return newSortkeyCount(store, env, args)
	}
	invariant.Assertf(false, "NewRead of %v", code)
	return nil, nil
}
