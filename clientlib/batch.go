package clientlib

import (
	"context"
	"errors"
	"time"
)

// Batch gathers operations on any records, which Commit sends together and waits for together: as many as fit leave in one
// write for each server, and the caller wakes up once. It is not atomic, and operations of a batch are not ordered among
// themselves. It is for one goroutine at a time, and good for any number of rounds.
type Batch struct {
	Async // what gathers: its operations return futures that are settled by Commit

	ops []operation
}

type operation struct {
	call   *pending // nil when it was refused at once
	settle func() error
}

// NewBatch returns an empty batch.
func (t *Table) NewBatch() *Batch {
	b := &Batch{}
	b.Async = Async{table: t, batch: b}
	return b
}

// Len returns how many operations the batch has.
func (b *Batch) Len() int { return len(b.ops) }

// Commit sends the operations, waits until all have ended, and empties the batch. It returns the first of their errors; each
// future has its own. When ctx ends before, so do the operations that have not ended.
func (b *Batch) Commit(ctx context.Context) error {
	ops, client := b.ops, b.table.client
	b.ops = nil
	g := &group{over: make(chan struct{}, 1)}
	g.left.Store(int64(len(ops)) + 1) // one more, so that it is not over before all have started
	client.flusher.expect()           // the frames of all operations leave together
	for _, op := range ops {
		if op.call == nil {
			g.ended()
			continue
		}
		op.call.group = g
		b.launch(ctx, op.call)
	}
	client.flusher.leave(false)
	g.ended()
	select {
	case <-g.over:
	case <-ctx.Done():
		cause := ctx.Err()
		if errors.Is(cause, context.DeadlineExceeded) {
			cause = ErrTimeout
		}
		for _, op := range ops {
			if op.call != nil {
				op.call.cancel(client, cause)
			}
		}
		<-g.over
	}
	var first error
	for _, op := range ops {
		if op.call != nil {
			op.call.group = nil
		}
		if err := op.settle(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// launch starts a call, when there is room.
func (b *Batch) launch(ctx context.Context, p *pending) {
	client := b.table.client
	for {
		if d, ok := ctx.Deadline(); ok && p.Timeout == 0 {
			p.Timeout = max(time.Until(d), 1)
		}
		if full := b.table.do(&p.Call); !full || ctx.Err() != nil {
			return
		}
		p.group.left.Add(1)
		client.flusher.leave(false) // or there will never be room
		p.conn.Load().waitRoom(ctx)
		client.flusher.expect()
	}
}

// BatchGet returns the values of many records, which may be in any partitions, in the order of the keys; nil for those that
// do not exist. The first error is returned, beside the values that were found. It sends one GET for each key, all at once:
// a server answers the gets of one turn from one look into its store, and each key is checked to be in the right partition.
// The RPC for many keys checks one of them alone, so that it could miss records of a table that is being split.
func (t *Table) BatchGet(ctx context.Context, keys []CompositeKey) (values [][]byte, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	b := t.NewBatch()
	found := make([]*Future[[]byte], len(keys))
	for i, k := range keys {
		found[i] = b.Get(k.HashKey, k.SortKey)
	}
	err = b.Commit(ctx)
	values = make([][]byte, len(keys))
	for i, f := range found {
		values[i] = f.value
	}
	return values, err
}
