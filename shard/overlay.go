package shard

import (
	"bytes"

	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// overlay answers what a record will be once everything in flight has been applied. Atomic operations are evaluated on it
// before the store, so that they share mutations and are pipelined like puts.
//
// Shape: a map from the hash of the raw key to the newest in-flight record with that hash, older ones chained behind it.
// Keys and values are views into the bytes of their mutation, which never change once written, so an entry costs no copy.
// Mutations apply in order, hence entries leave oldest first and a FIFO slab is enough. The slab is moved down only when most
// of it is free: with thousands of mutations in flight, moving it for each would cost more than all the rest.
//
// A partition that sees no atomic operation pays nothing: the overlay is filled when the first one arrives while writes are
// in flight, and is dropped when nothing is in flight any more. Rejected: always filling it (a map insert per put for the
// many tables that never need it) and a lock per key (it would end pipelining on one counter).
type overlay struct {
	active  bool
	heads   map[uint64]int64 // key hash -> absolute index of the newest entry
	entries []overlayEntry   // oldest first; entries[i] has absolute index base+i
	gone    int              // entries at the start that have left
	base    int64
}

// oldest is the absolute index of the oldest entry.
func (o *overlay) oldest() int64 { return o.base + int64(o.gone) }

type overlayEntry struct {
	hash  uint64
	older int64 // absolute index of the next older entry with the same hash; below the oldest = none
	ops   *mutationOps
	rec   engine.Record
}

// add indexes the records of ops that it has not indexed yet.
func (o *overlay) add(ops *mutationOps) {
	if o.heads == nil {
		o.heads = make(map[uint64]int64)
	}
	r := engine.ReadRecords(ops.builder.Bytes(), ops.overlaidBytes, ops.builder.Count()-uint32(ops.overlaid))
	for r.Next() {
		rec := r.Record()
		h := proto.RawKeyHash(rec.Key)
		older, ok := o.heads[h]
		if !ok {
			older = o.base - 1
		}
		o.heads[h] = o.base + int64(len(o.entries))
		o.entries = append(o.entries, overlayEntry{hash: h, older: older, ops: ops, rec: rec})
		ops.overlaid++
	}
	invariant.Assertf(r.Err() == nil, "a batch of our own does not read back: %v", r.Err())
	ops.overlaidBytes = ops.builder.Len()
}

// get returns the in-flight state of key. ok is false when nothing in flight touches it. The value is a view into the
// mutation's bytes.
func (o *overlay) get(key []byte) (outcome engine.Outcome, value []byte, ok bool) {
	if len(o.entries) == 0 {
		return 0, nil, false
	}
	at, found := o.heads[proto.RawKeyHash(key)]
	for ; found && at >= o.oldest(); at = o.entries[at-o.base].older {
		e := &o.entries[at-o.base]
		if !bytes.Equal(e.rec.Key, key) {
			continue
		}
		if e.rec.Delete {
			return engine.NotFound, nil, true
		}
		return engine.Found, e.rec.Value, true
	}
	return 0, nil, false
}

// drop forgets the records of ops, which must be the oldest mutation in flight.
func (o *overlay) drop(ops *mutationOps) {
	end := o.gone + ops.overlaid
	for i := o.gone; i < end; i++ {
		e := &o.entries[i]
		invariant.Assertf(e.ops == ops, "overlay entries leave out of order")
		if o.heads[e.hash] == o.base+int64(i) {
			delete(o.heads, e.hash)
		}
	}
	clear(o.entries[o.gone:end])
	o.gone = end
	if o.gone > len(o.entries)/2 {
		kept := copy(o.entries, o.entries[o.gone:])
		clear(o.entries[max(kept, o.gone):])
		o.entries = o.entries[:kept]
		o.base += int64(o.gone)
		o.gone = 0
	}
	ops.overlaid, ops.overlaidBytes = 0, 0
}

// deactivate empties the overlay; nothing may be in flight.
func (o *overlay) deactivate() {
	invariant.Assertf(len(o.entries) == o.gone, "overlay dropped with records in flight")
	o.active = false
}

// forget drops the records of ops, which is the oldest mutation in flight or, when oldest is false, the newest.
func (o *overlay) forget(ops *mutationOps, oldest bool) {
	if oldest {
		o.drop(ops)
		return
	}
	keep := len(o.entries) - ops.overlaid
	for i := len(o.entries) - 1; i >= keep; i-- {
		e := &o.entries[i]
		invariant.Assertf(e.ops == ops, "overlay entries leave out of order")
		if e.older >= o.oldest() {
			o.heads[e.hash] = e.older
		} else {
			delete(o.heads, e.hash)
		}
	}
	clear(o.entries[keep:])
	o.entries = o.entries[:keep]
	ops.overlaid, ops.overlaidBytes = 0, 0
}
