package clientlib

import (
	"context"
	"time"

	"pegasus/netcore/proto"
)

// What TTL returns in place of seconds.
const (
	NoTTL    = -1 // the record does not expire
	NotFound = -2 // there is no record
)

// KeyValue is a record of a hash key.
type KeyValue struct{ SortKey, Value []byte }

// CompositeKey is the key of a record.
type CompositeKey struct{ HashKey, SortKey []byte }

// run carries out an operation whose arguments were encoded with err.
func (t *Table) run(ctx context.Context, p *pending, err error) error {
	if err != nil {
		return t.refused(p.Code, err)
	}
	for {
		if err := ctx.Err(); err != nil {
			p.table, p.part = t, -1
			return p.failure(ErrRetriable, err)
		}
		if d, ok := ctx.Deadline(); ok {
			p.Timeout = max(time.Until(d), 1)
		}
		t.Do(&p.Call)
		p.wait(ctx, t.client)
		if p.Err == nil || !p.full() {
			return p.Err
		}
		p.conn.Load().waitRoom(ctx)
	}
}

// Get returns the value of a record, nil if there is none. An empty value is not nil.
func (t *Table) Get(ctx context.Context, hashKey, sortKey []byte) ([]byte, error) {
	p := newPending(proto.CodeGet)
	defer p.release()
	if err := t.run(ctx, p, p.encodeKey(hashKey, sortKey)); err != nil {
		return nil, err
	}
	return p.decodeGet(t.client.opt.Compressor)
}

// Set writes a record that does not expire, unless the table has a default time to live.
func (t *Table) Set(ctx context.Context, hashKey, sortKey, value []byte) error {
	return t.SetTTL(ctx, hashKey, sortKey, value, 0)
}

// SetTTL writes a record that expires after ttl, if that is positive. A fraction of a second counts as a whole one.
func (t *Table) SetTTL(ctx context.Context, hashKey, sortKey, value []byte, ttl time.Duration) error {
	p := newPending(proto.CodePut)
	defer p.release()
	if err := t.run(ctx, p, p.encodeSet(t.client.opt.Compressor, hashKey, sortKey, value, ttl)); err != nil {
		return err
	}
	return p.decodeUpdate()
}

// Del removes a record. It is no error if there is none.
func (t *Table) Del(ctx context.Context, hashKey, sortKey []byte) error {
	p := newPending(proto.CodeRemove)
	defer p.release()
	if err := t.run(ctx, p, p.encodeKey(hashKey, sortKey)); err != nil {
		return err
	}
	return p.decodeUpdate()
}

// TTL returns how many seconds a record has to live, NoTTL if it does not expire, NotFound if there is none.
func (t *Table) TTL(ctx context.Context, hashKey, sortKey []byte) (int, error) {
	p := newPending(proto.CodeTTL)
	defer p.release()
	if err := t.run(ctx, p, p.encodeKey(hashKey, sortKey)); err != nil {
		return 0, err
	}
	return p.decodeTTL()
}

// Exist tells whether there is a record.
func (t *Table) Exist(ctx context.Context, hashKey, sortKey []byte) (bool, error) {
	ttl, err := t.TTL(ctx, hashKey, sortKey)
	return err == nil && ttl != NotFound, err
}

// Incr adds to a record that holds a decimal number, or to 0 if there is none, and returns the sum. The record keeps its
// expiry. It is never repeated when its answer is lost: that is ErrUnknownOutcome.
func (t *Table) Incr(ctx context.Context, hashKey, sortKey []byte, increment int64) (int64, error) {
	return t.IncrTTL(ctx, hashKey, sortKey, increment, 0)
}

// IncrTTL is Incr, and gives the record a new expiry when ttl is positive, none when it is negative.
func (t *Table) IncrTTL(ctx context.Context, hashKey, sortKey []byte, increment int64, ttl time.Duration) (int64, error) {
	p := newPending(proto.CodeIncr)
	defer p.release()
	if err := t.run(ctx, p, p.encodeIncr(hashKey, sortKey, increment, ttl)); err != nil {
		return 0, err
	}
	return p.decodeIncr()
}

// SortKeyCount returns how many records a hash key has, or -1 if the server gave up counting.
func (t *Table) SortKeyCount(ctx context.Context, hashKey []byte) (int64, error) {
	p := newPending(proto.CodeSortkeyCount)
	defer p.release()
	if err := t.run(ctx, p, p.encodeCount(hashKey)); err != nil {
		return 0, err
	}
	return p.decodeCount()
}
