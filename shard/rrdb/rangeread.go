package rrdb

import (
	"bytes"
	"math"
	"sync"

	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// rangeRead is what multi_get, sortkey_count and the scanner have in common: walking an iterator in slices, judging each
// record, collecting results in their encoded form, and telling why it ended.
//
// The rule that shapes it is how the original tells "all" from "there is more" (recorded): the answer is incomplete when
// a limit was reached and the iterator stands on another record, whatever that record is: expired, filtered, or outside
// the asked range. Hence the iterator is bounded not by the asked range but by what the original's iterator could see
// (the hash key, or the whole partition), the far end of the range is checked here, record by record, and a limit is
// found to be reached only when the record behind it turns up. That record, and what else the slice brought, stays in the
// arena for the next batch of a scan.
type rangeRead struct {
	env   Env
	store engine.Store
	opts  engine.IterOptions

	far          []byte // last key of the range in the direction of the walk; nil = the iterator's end
	farInclusive bool
	maxCount     int
	maxIter      int
	maxBytes     int // 0 = no limit
	hashFilter   filter
	sortFilter   filter
	validateHash bool
	sortKeysOnly bool // results carry sort keys, otherwise raw keys
	noValue      bool
	withExpire   bool
	countOnly    bool

	it    engine.Iterator
	mem   *arena
	dry   bool                         // the iterator has nothing behind mem.rows
	taken int                          // rows at the start of mem.rows that are done with
	at    int                          // row that visit looks at
	visit func(key, value []byte) bool // visitRow, bound once

	count int
	iter  int
	bytes int
	end   ending
	err   error
}

// ending is why a walk stopped.
type ending uint8

const (
	running   ending = iota
	complete         // the far end of the range was seen
	exhausted        // the iterator has no more
	limited          // a limit was reached and another record follows
	timedOut
	failed
)

// Bounds of one slice, so that neither the arena of rows nor the time between two looks at the budget grows with the
// request.
const (
	sliceRows  = 1024
	sliceBytes = 1 << 20
)

// arena is the memory of a range read: the rows of the last slice and the results. It is used again by later reads.
type arena struct {
	rows   engine.Rows
	kvs    proto.List
	ends   []int  // of each result in kvs.Raw, for reverse reads
	turned []byte // kvs.Raw, last result first
}

// keptBytes is the size of results above which their memory is not kept for later.
const keptBytes = 64 << 10

var arenas = sync.Pool{New: func() any { return new(arena) }}

// release gives the memory back. What it held was bytes of results.
func (a *arena) release(bytes int) {
	if bytes > keptBytes {
		return
	}
	a.rows.Reset()
	a.kvs.Reset()
	a.ends = a.ends[:0]
	arenas.Put(a)
}

func (r *rangeRead) init(store engine.Store, env *Env) {
	r.store, r.env, r.visit = store, *env, r.visitRow
	r.mem = arenas.Get().(*arena)
	r.maxCount, r.maxIter = math.MaxInt, math.MaxInt
}

func (r *rangeRead) Run(tier engine.Tier, budget engine.SliceLimit) (State, error) {
	r.takeRows()
	for r.end == running {
		if r.dry || r.noBounds() {
			r.end = exhausted
			break
		}
		if err := r.open(tier); err != nil {
			r.fail(err)
			break
		}
		more, outcome, err := r.it.Next(&r.mem.rows, r.slice(budget))
		if outcome == engine.WouldBlock {
			invariant.Assertf(r.opts.Tier == engine.TierCache, "an iterator that may block would block")
			r.restart()
			if tier == engine.TierCache {
				return WouldBlock, nil
			}
			continue // the iterator was a cache-only one of an earlier run
		}
		if outcome == engine.Failed {
			r.fail(err)
			break
		}
		r.dry, r.taken = !more, 0
		r.takeRows()
		if r.end == running && more {
			return More, nil
		}
	}
	if r.end == failed {
		return Failed, r.err
	}
	return Done, nil
}

// noBounds tells whether the bounds of the iterator leave nothing between them.
func (r *rangeRead) noBounds() bool {
	return r.opts.Lower != nil && r.opts.Upper != nil && bytes.Compare(r.opts.Lower, r.opts.Upper) >= 0
}

func (r *rangeRead) open(tier engine.Tier) (err error) {
	if r.it != nil {
		return nil
	}
	r.opts.Tier = tier
	r.it, err = r.store.NewIterator(r.opts)
	return err
}

// slice asks for no more records than can be used, plus the one that tells whether there is more.
func (r *rangeRead) slice(budget engine.SliceLimit) engine.SliceLimit {
	want := min(r.maxCount-r.count, r.maxIter-r.iter, sliceRows-1) + 1
	if budget.MaxRows == 0 || budget.MaxRows > want {
		budget.MaxRows = want
	}
	if budget.MaxBytes == 0 || budget.MaxBytes > sliceBytes {
		budget.MaxBytes = sliceBytes
	}
	budget.KeysOnly = r.noValue || r.countOnly
	return budget
}

// takeRows takes what is left in the arena, up to the end of the walk.
func (r *rangeRead) takeRows() {
	if r.end != running || r.taken == r.mem.rows.Len() {
		return
	}
	r.at = 0
	r.mem.rows.Each(r.visit)
}

func (r *rangeRead) visitRow(key, value []byte) bool {
	if r.at++; r.at <= r.taken {
		return true
	}
	if !r.take(key, value) {
		return false
	}
	r.taken++
	return true
}

// take takes one record. It returns false when the walk is over.
func (r *rangeRead) take(key, value []byte) bool {
	if r.count >= r.maxCount || r.iter >= r.maxIter || r.maxBytes > 0 && r.bytes >= r.maxBytes {
		r.end = limited
		return false
	}
	beyond := -1
	if r.far != nil {
		beyond = bytes.Compare(key, r.far)
		if r.opts.Reverse {
			beyond = -beyond
		}
	}
	if beyond > 0 || beyond == 0 && !r.farInclusive {
		r.end = complete
		return false
	}
	r.iter++
	if err := r.judge(key, value); err != nil {
		r.fail(err)
		return false
	}
	if beyond == 0 {
		r.end = complete
		return false
	}
	return true
}

// judge collects the record unless it is expired, belongs to another partition or is filtered out.
func (r *rangeRead) judge(key, value []byte) error {
	v, err := engine.ParseValue(r.env.DataVersion, value)
	if err != nil {
		return err
	}
	if engine.Expired(v.Expire, r.env.NowEpoch) {
		return nil
	}
	hashKey, sortKey, ok := engine.SplitKey(key)
	if !ok || r.validateHash && !r.env.owns(key) || !r.hashFilter.match(hashKey) || !r.sortFilter.match(sortKey) {
		return nil
	}
	r.count++
	if r.countOnly {
		return nil
	}
	kv := proto.KeyValue{Key: key, Value: v.User, HasExpire: r.withExpire, Expire: int32(v.Expire)}
	if r.sortKeysOnly {
		kv.Key = sortKey
	}
	if r.noValue {
		kv.Value = nil
	}
	r.bytes += len(kv.Key) + len(kv.Value)
	r.mem.kvs.AddKeyValue(kv)
	if r.opts.Reverse {
		r.mem.ends = append(r.mem.ends, len(r.mem.kvs.Raw))
	}
	return nil
}

// owns tells whether a record belongs to this partition, as far as the split check is on.
func (env *Env) owns(key []byte) bool {
	version := env.PartitionVersion
	if version < 0 {
		return true
	}
	hash, ok := engine.KeyHash(key)
	return ok && env.GPID.Part <= version && hash&uint64(version) == uint64(env.GPID.Part)
}

// results returns what was collected, in ascending order of keys whatever the direction was.
func (r *rangeRead) results() proto.List {
	if !r.opts.Reverse {
		return r.mem.kvs
	}
	turned := r.mem.turned[:0]
	for i := len(r.mem.ends) - 1; i >= 0; i-- {
		start := 0
		if i > 0 {
			start = r.mem.ends[i-1]
		}
		turned = append(turned, r.mem.kvs.Raw[start:r.mem.ends[i]]...)
	}
	r.mem.turned = turned
	return proto.List{N: r.mem.kvs.N, Raw: turned}
}

// restart forgets everything that was collected.
func (r *rangeRead) restart() {
	r.closeIterator()
	r.mem.rows.Reset()
	r.dry, r.taken = false, 0
	r.clear()
}

// clear empties the results and makes the walk ready to go on where it is.
func (r *rangeRead) clear() {
	r.count, r.iter, r.bytes, r.end = 0, 0, 0, running
	r.mem.kvs.Reset()
	r.mem.ends = r.mem.ends[:0]
}

func (r *rangeRead) fail(err error) {
	invariant.Assertf(err != nil, "range read of %v failed without an error", r.env.GPID)
	r.clear()
	r.end, r.err = failed, err
}

func (r *rangeRead) TimeUp() {
	if r.end == running {
		r.end = timedOut
	}
}

func (r *rangeRead) Close() {
	r.closeIterator()
	if r.mem != nil {
		r.mem.release(r.bytes)
		r.mem = nil
	}
}

func (r *rangeRead) closeIterator() {
	if r.it != nil {
		r.it.Close()
		r.it = nil
	}
}

// Work tells where the read begins and how many records it has looked at, for explanations.
func (r *rangeRead) Work() (rawKey []byte, records int) { return r.opts.Lower, r.iter }
