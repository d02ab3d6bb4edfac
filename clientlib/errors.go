package clientlib

import (
	"errors"
	"fmt"

	"pegasus/netcore/proto"
)

var (
	// ErrNotFound is returned by reads of a record that does not exist or has expired.
	ErrNotFound = errors.New("clientlib: record not found")
	// ErrUnknownOutcome is returned by a write whose answer was lost: it may or may not have been, or yet become,
	// effective. The cause is wrapped beside it.
	ErrUnknownOutcome = errors.New("clientlib: outcome of the write is unknown")
	// ErrTimeout is returned when the deadline passed. A write that was already sent returns ErrUnknownOutcome too.
	ErrTimeout = errors.New("clientlib: deadline exceeded")
	// ErrPipelineFull is returned by Table.Do when the connection has Options.Pipeline requests in flight.
	ErrPipelineFull = errors.New("clientlib: too many requests in flight")
	// ErrClosed is returned after Client.Close.
	ErrClosed = errors.New("clientlib: client is closed")
	// ErrSessionReset is the loss of a connection with requests in flight.
	ErrSessionReset = errors.New("clientlib: connection lost")
	// ErrKey is returned for keys that cannot be encoded: a hash key of 65535 bytes or more.
	ErrKey = errors.New("clientlib: hash key is too long")

	errNoPrimary  = errors.New("clientlib: partition has no primary")
	errNotDialled = errors.New("clientlib: no connection to the node yet")
	errNoMeta     = errors.New("clientlib: no meta server answered as leader")
)

// ServerError is an error that a server answered. errors.Is finds the proto.ErrCode of an RPC error in it.
type ServerError struct {
	Code   proto.ErrCode       // of the RPC; ErrOK when the storage answered
	Status proto.StorageStatus // of the storage, when Code is ErrOK
	Hint   string              // what a meta server had to say, often empty
}

// Error names the code or status, and the hint.
func (e *ServerError) Error() string {
	what := e.Code.String()
	if e.Code == proto.ErrOK {
		what = fmt.Sprintf("storage status %d", e.Status)
	}
	if e.Hint != "" {
		return "clientlib: server answered " + what + ": " + e.Hint
	}
	return "clientlib: server answered " + what
}

// Unwrap gives the RPC error, so that errors.Is(err, proto.ErrBusy) works.
func (e *ServerError) Unwrap() error {
	if e.Code == proto.ErrOK {
		return nil
	}
	return e.Code
}

// reaction is what an error at the RPC level asks of the client.
type reaction uint8

const (
	giveUp  reaction = iota
	again            // certainly not executed: send again after a pause
	reroute          // certainly not executed here: ask meta for the primary, then send again
	unclear          // a write may have been executed
)

// react maps the errors of a data request (spec wire 4). A server here answers ERR_INVALID_STATE only to what it did
// not execute; what it can no longer learn the fate of is ERR_TIMEOUT.
func react(code proto.ErrCode) reaction {
	switch code {
	case proto.ErrInvalidState, proto.ErrObjectNotFound, proto.ErrParentPartitionMisused:
		return reroute
	case proto.ErrNotEnoughMember, proto.ErrCapacityExceeded, proto.ErrSplitting:
		return again
	case proto.ErrTimeout:
		return unclear
	}
	return giveUp
}
