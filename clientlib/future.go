package clientlib

import (
	"context"
	"time"

	"pegasus/netcore/proto"
)

// Future is an operation under way. It is for one goroutine at a time.
type Future[T any] struct {
	table  *Table
	call   *pending // nil when the outcome is known
	decode func(*pending, Compressor) (T, error)
	plain  bool // values are not compressed
	value  T
	err    error
}

// Wait returns the outcome when there is one. When ctx ends before, so does the operation. An operation that found no room in
// the pipeline starts in Wait. Further calls return the same.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	if p := f.call; p != nil {
		p.wait(ctx, f.table.client)
		if p.full() {
			p.conn.Load().waitRoom(ctx)
			_ = f.table.run(ctx, p, nil) // its error is the call's, or ctx's
		}
		_ = f.settle()
	}
	return f.value, f.err
}

// settle takes the outcome of a call that has ended.
func (f *Future[T]) settle() error {
	p := f.call
	if p == nil {
		return f.err
	}
	if f.err = p.Err; f.err == nil {
		c := f.table.client.opt.Compressor
		if f.plain {
			c = nil
		}
		f.value, f.err = f.decode(p, c)
	}
	f.call = nil
	p.release()
	return f.err
}

// Async starts operations without waiting for them; they are those of Table, and return futures. Each operation is bounded by
// Timeout, or Options.Timeout when it is 0. Keys and values may be changed after the start.
type Async struct {
	Timeout time.Duration

	table *Table
	batch *Batch
}

// Async returns what starts operations on the table.
func (t *Table) Async() Async { return Async{table: t} }

// start starts the operation p, or adds it to the batch.
func start[T any](a Async, p *pending, err error, decode func(*pending, Compressor) (T, error)) *Future[T] {
	f := &Future[T]{table: a.table}
	if err != nil {
		f.err = a.table.refused(p.Code, err)
		p.release()
		if a.batch != nil {
			a.batch.ops = append(a.batch.ops, operation{settle: f.settle})
		}
		return f
	}
	f.call, f.decode = p, decode
	p.Timeout = a.Timeout
	if a.batch != nil {
		a.batch.ops = append(a.batch.ops, operation{call: p, settle: f.settle})
	} else {
		a.table.Do(&p.Call)
	}
	return f
}

// nothing is the result of writes that return none.
type nothing struct{}

func decodeUpdate(p *pending, _ Compressor) (nothing, error)   { return nothing{}, p.decodeUpdate() }
func decodeMultiDel(p *pending, _ Compressor) (nothing, error) { return nothing{}, p.decodeMultiDel() }
func decodeTTL(p *pending, _ Compressor) (int, error)          { return p.decodeTTL() }
func decodeIncr(p *pending, _ Compressor) (int64, error)       { return p.decodeIncr() }
func decodeCount(p *pending, _ Compressor) (int64, error)      { return p.decodeCount() }

// Fetched is what MultiGet finds.
type Fetched struct {
	KVs []*KeyValue
	All bool // none was left out because of a limit
}

func decodeMultiGet(p *pending, c Compressor) (Fetched, error) {
	kvs, all, err := p.decodeMultiGet(c)
	return Fetched{kvs, all}, err
}

func decodeMutate(p *pending, c Compressor) (*CheckAndMutateResult, error) {
	return mutateResult(p.decodeCheck(c))
}

func (a Async) compressor() Compressor { return a.table.client.opt.Compressor }

// Get is Table.Get.
func (a Async) Get(hashKey, sortKey []byte) *Future[[]byte] {
	p := newPending(proto.CodeGet)
	return start(a, p, p.encodeKey(hashKey, sortKey), (*pending).decodeGet)
}

// Set is Table.Set.
func (a Async) Set(hashKey, sortKey, value []byte) *Future[nothing] {
	return a.SetTTL(hashKey, sortKey, value, 0)
}

// SetTTL is Table.SetTTL.
func (a Async) SetTTL(hashKey, sortKey, value []byte, ttl time.Duration) *Future[nothing] {
	p := newPending(proto.CodePut)
	return start(a, p, p.encodeSet(a.compressor(), hashKey, sortKey, value, ttl), decodeUpdate)
}

// Del is Table.Del.
func (a Async) Del(hashKey, sortKey []byte) *Future[nothing] {
	p := newPending(proto.CodeRemove)
	return start(a, p, p.encodeKey(hashKey, sortKey), decodeUpdate)
}

// TTL is Table.TTL.
func (a Async) TTL(hashKey, sortKey []byte) *Future[int] {
	p := newPending(proto.CodeTTL)
	return start(a, p, p.encodeKey(hashKey, sortKey), decodeTTL)
}

// Incr is Table.Incr.
func (a Async) Incr(hashKey, sortKey []byte, increment int64) *Future[int64] {
	return a.IncrTTL(hashKey, sortKey, increment, 0)
}

// IncrTTL is Table.IncrTTL.
func (a Async) IncrTTL(hashKey, sortKey []byte, increment int64, ttl time.Duration) *Future[int64] {
	p := newPending(proto.CodeIncr)
	return start(a, p, p.encodeIncr(hashKey, sortKey, increment, ttl), decodeIncr)
}

// SortKeyCount is Table.SortKeyCount.
func (a Async) SortKeyCount(hashKey []byte) *Future[int64] {
	p := newPending(proto.CodeSortkeyCount)
	return start(a, p, p.encodeCount(hashKey), decodeCount)
}

// MultiGet is Table.MultiGetOpt; nil options mean the defaults.
func (a Async) MultiGet(hashKey []byte, sortKeys [][]byte, o *MultiGetOptions) *Future[Fetched] {
	return a.multiGet(hashKey, sortKeys, nil, nil, o)
}

// MultiGetRange is Table.MultiGetRangeOpt; nil options mean the defaults.
func (a Async) MultiGetRange(hashKey, startSortKey, stopSortKey []byte, o *MultiGetOptions) *Future[Fetched] {
	return a.multiGet(hashKey, nil, startSortKey, stopSortKey, o)
}

func (a Async) multiGet(hashKey []byte, sortKeys [][]byte, from, to []byte, o *MultiGetOptions) *Future[Fetched] {
	p := newPending(proto.CodeMultiGet)
	f := start(a, p, p.encodeMultiGet(hashKey, sortKeys, from, to, o), decodeMultiGet)
	f.plain = o != nil && o.NoValue
	return f
}

// MultiSet is Table.MultiSetOpt.
func (a Async) MultiSet(hashKey []byte, sortKeys, values [][]byte, ttl time.Duration) *Future[nothing] {
	p := newPending(proto.CodeMultiPut)
	return start(a, p, p.encodeMultiSet(a.compressor(), hashKey, sortKeys, values, ttl), decodeUpdate)
}

// MultiDel is Table.MultiDel.
func (a Async) MultiDel(hashKey []byte, sortKeys [][]byte) *Future[nothing] {
	p := newPending(proto.CodeMultiRemove)
	return start(a, p, p.encodeMultiDel(hashKey, sortKeys), decodeMultiDel)
}

// CheckAndSet is Table.CheckAndSet.
func (a Async) CheckAndSet(hashKey, checkSortKey []byte, checkType CheckType, checkOperand, setSortKey, setValue []byte,
	o *CheckAndSetOptions) *Future[*CheckAndSetResult] {
	p := newPending(proto.CodeCheckAndSet)
	err := p.encodeCheckAndSet(a.compressor(), hashKey, checkSortKey, checkType, checkOperand, setSortKey, setValue, o)
	return start(a, p, err, (*pending).decodeCheck)
}

// CheckAndMutate is Table.CheckAndMutate.
func (a Async) CheckAndMutate(hashKey, checkSortKey []byte, checkType CheckType, checkOperand []byte, mutations []Mutation,
	o *CheckAndMutateOptions) *Future[*CheckAndMutateResult] {
	p := newPending(proto.CodeCheckAndMutate)
	err := p.encodeCheckAndMutate(a.compressor(), hashKey, checkSortKey, checkType, checkOperand, mutations, o)
	return start(a, p, err, decodeMutate)
}
