package clientlib

import (
	"context"
	"errors"
	"fmt"

	"pegasus/netcore/proto"
)

// The classes. Every error that an operation returns is of exactly one of them, by errors.Is.
var (
	// ErrRefused: certainly not executed, and it would be refused again: a bad argument, a table that does not exist, an
	// operation that the table does not allow.
	ErrRefused = errors.New("refused")
	// ErrRetriable: certainly not executed (or only read), for a reason that may pass. Trying again does no harm.
	ErrRetriable = errors.New("not executed")
	// ErrUnknownOutcome: a write whose answer was lost. It may or may not have been, or yet become, effective.
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
)

// The causes, wrapped beside the class. Others are a *ServerError, and the error of the context.
var (
	// ErrTimeout: the deadline passed. errors.Is finds context.DeadlineExceeded in it too.
	ErrTimeout error = timeout{}
	// ErrPipelineFull: Table.Do found as many requests in flight as Options.Pipeline allows.
	ErrPipelineFull = errors.New("too many requests in flight")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("client is closed")
	// ErrSessionReset: the connection was lost with the request in flight.
	ErrSessionReset = errors.New("connection lost")
	// ErrKey: a key that cannot be encoded, or that the operation does not allow: a hash key of 65535 bytes or more, or an
	// empty one.
	ErrKey = errors.New("hash key is empty or too long")
	// ErrArgument: an argument that no server would take, such as lists of different lengths.
	ErrArgument = errors.New("bad argument")
	// ErrNoTable: meta knows no table of this name, or has it dropped.
	ErrNoTable = errors.New("no such table")
	// ErrReply: the server's answer cannot be read.
	ErrReply = errors.New("answer cannot be read")

	errNoPrimary  = errors.New("partition has no primary")
	errNoRoute    = errors.New("partition's server cannot be reached")
	errNotDialled = errors.New("no connection to the server yet")
	errNoMeta     = errors.New("no meta server answered as leader")
	errTooMany    = errors.New("too many operations wait to be tried again")
	errSilent     = errors.New("server does not answer")
)

type timeout struct{}

func (timeout) Error() string   { return "deadline exceeded" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// Is makes it equal to the context's error.
func (timeout) Is(target error) bool { return target == context.DeadlineExceeded }

// OpError is what operations return: what was tried, where, and in which class it failed for which cause.
type OpError struct {
	Op        string // as in TableConnector of the official client: "GET", "SET", ...
	Table     string
	Partition int    // -1 when it came to none
	Node      string // address of the server, "" when it came to none
	Class     error  // ErrRefused, ErrRetriable or ErrUnknownOutcome
	Cause     error
}

// Error names operation, table, class and cause. Partition and Node are left out, so that equal errors have equal texts.
func (e *OpError) Error() string {
	return fmt.Sprintf("pegasus: %s on table %s: %v: %v", e.Op, e.Table, e.Class, e.Cause)
}

// Unwrap gives class and cause.
func (e *OpError) Unwrap() []error { return []error{e.Class, e.Cause} }

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
		return "server answered " + what + ": " + e.Hint
	}
	return "server answered " + what
}

// Unwrap gives the RPC error, so that errors.Is(err, proto.ErrBusy) works.
func (e *ServerError) Unwrap() error {
	if e.Code == proto.ErrOK {
		return nil
	}
	return e.Code
}

// opNames are those of the official client.
var opNames = map[proto.Code]string{
	proto.CodeGet: "GET", proto.CodePut: "SET", proto.CodeRemove: "DEL", proto.CodeTTL: "TTL",
	proto.CodeMultiGet: "MULTI_GET", proto.CodeMultiPut: "MULTI_SET", proto.CodeMultiRemove: "MULTI_DEL",
	proto.CodeSortkeyCount: "SORTKEY_COUNT", proto.CodeIncr: "INCR", proto.CodeCheckAndSet: "CHECK_AND_SET",
	proto.CodeCheckAndMutate: "CHECK_AND_MUTATE", proto.CodeGetScanner: "GET_SCANNER", proto.CodeScan: "SCAN",
	proto.CodeBatchGet: "BATCH_GET", proto.CodeClearScanner: "CLEAR_SCANNER",
}

func opName(c proto.Code) string {
	if n, ok := opNames[c]; ok {
		return n
	}
	return c.String()
}

// refused is the error of an operation that never left the client because of its arguments.
func (t *Table) refused(c proto.Code, cause error) error {
	return &OpError{Op: opName(c), Table: t.name, Partition: -1, Class: ErrRefused, Cause: cause}
}

// statusError is the error of a storage status other than OK. An attempt that the storage failed at may have left a write
// behind.
func statusError(c *Call, s proto.StorageStatus) error {
	class := ErrRetriable
	switch {
	case s == proto.StorageInvalidArgument || s == proto.StorageNotSupported:
		class = ErrRefused
	case c.Code.IsWrite():
		class = ErrUnknownOutcome
	}
	return c.failure(class, &ServerError{Status: s})
}
