package rrdb

import (
	"pegasus/netcore/proto"
)

// Reply is the answer to a write, kept until its mutation is committed. It holds no view of the request.
type Reply struct {
	code     proto.Code
	status   proto.StorageStatus
	silent   bool
	failed   bool // an atomic operation without effect
	returned bool // check_value_returned
	exist    bool // check_value_exist
	number   int64
	check    []byte // check_value
}

// Silent tells whether the client is never answered: a PUT whose update type is not the plain one is written and, as
// recorded, gets no reply.
func (r *Reply) Silent() bool { return r.silent }

// NeedsDecree tells whether the operation belongs into a mutation. On a table with idempotent atomic operations one
// that fails is answered with decree -1 and nothing is replicated; it still must not be answered before the writes in
// flight that it was evaluated on have committed.
func (r *Reply) NeedsDecree(env *Env) bool { return !r.failed || !env.AtomicIdempotent }

// Status is the storage status that the reply carries.
func (r *Reply) Status() proto.StorageStatus { return r.status }

// Append appends the result struct. decree is that of the mutation; it is replaced by -1 when none was needed.
func (r *Reply) Append(dst []byte, env *Env, decree proto.Decree) []byte {
	if !r.NeedsDecree(env) {
		decree = -1
	}
	switch r.code {
	case proto.CodeMultiRemove:
		m := proto.MultiRemoveResponse{Error: r.status, Count: r.number, GPID: env.GPID, Decree: decree, Server: env.Server}
		return m.AppendResult(dst)
	case proto.CodeIncr:
		m := proto.IncrResponse{Error: r.status, NewValue: r.number, GPID: env.GPID, Decree: decree, Server: env.Server}
		return m.AppendResult(dst)
	case proto.CodeCheckAndSet, proto.CodeCheckAndMutate:
		m := proto.CheckResponse{Error: r.status, ValueReturned: r.returned, ValueExist: r.exist, Value: r.check,
			GPID: env.GPID, Decree: decree, Server: env.Server}
		return m.AppendResult(dst)
	default:
		m := proto.UpdateResponse{Error: r.status, GPID: env.GPID, Decree: decree, Server: env.Server}
		return m.AppendResult(dst)
	}
}
