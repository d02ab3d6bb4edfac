package engine

import "unsafe"

// GetBatch collects point lookups so that a loop pays one call into the store for all of a turn. Keys and values live in
// two arenas; after the first uses a batch allocates nothing. It has one owner at a time.
type GetBatch struct {
	keys    []byte
	ends    []uint32 // end offset of key i in keys
	vals    []byte
	results []GetResult
	errs    []getError // failures only
	handles []unsafe.Pointer
	single  *GetBatch // for Gather, where a store takes only its own keys
}

// GetResult is how the lookup of one key ended. Off and Len place its value in the arena of values. It holds no Go
// pointer and has a fixed layout, because a C++ store fills it in.
type GetResult struct {
	Off     uint32
	Len     uint32
	Outcome Outcome
	_       [3]byte
}

type getError struct {
	key int
	err error
}

// GetArenas are the insides of a GetBatch, for a store that fills them in without a call per key. Everything is owned by
// the batch. Vals is the arena of values: a store appends to it and hands it back with SetValues.
type GetArenas struct {
	Keys    []byte
	Ends    []uint32 // end offset of key i in Keys
	Vals    []byte
	Results []GetResult // one per key
}

// Reset empties the batch and keeps its memory. Values returned before become invalid.
func (b *GetBatch) Reset() {
	b.keys, b.ends, b.vals, b.results = b.keys[:0], b.ends[:0], b.vals[:0], b.results[:0]
	clear(b.errs)
	b.errs = b.errs[:0]
}

// Add copies key into the batch and returns its index. Keys of one batch may repeat.
func (b *GetBatch) Add(key []byte) int {
	b.keys = append(b.keys, key...)
	b.ends = append(b.ends, uint32(len(b.keys)))
	b.results = append(b.results, GetResult{})
	return len(b.ends) - 1
}

// Len is the number of keys added.
func (b *GetBatch) Len() int { return len(b.ends) }

// Key returns key i as a view into the batch.
func (b *GetBatch) Key(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = b.ends[i-1]
	}
	return b.keys[start:b.ends[i]:b.ends[i]]
}

// Outcome tells how the lookup of key i ended.
func (b *GetBatch) Outcome(i int) Outcome { return b.results[i].Outcome }

// Err is the error of key i when its outcome is Failed, else nil.
func (b *GetBatch) Err(i int) error {
	for _, e := range b.errs {
		if e.key == i {
			return e.err
		}
	}
	return nil
}

// Value returns the raw value of key i, a view that is valid until the next Reset. It is empty unless the outcome is Found.
func (b *GetBatch) Value(i int) []byte {
	r := b.results[i]
	return b.vals[r.Off : r.Off+r.Len : r.Off+r.Len]
}

// SetFound records the raw value of key i; it is copied. For implementations of Store.
func (b *GetBatch) SetFound(i int, value []byte) {
	off := uint32(len(b.vals))
	b.vals = append(b.vals, value...)
	b.results[i] = GetResult{Outcome: Found, Off: off, Len: uint32(len(value))}
}

// SetOutcome records any outcome but Found for key i, with an error when it is Failed. For implementations of Store.
func (b *GetBatch) SetOutcome(i int, o Outcome, err error) {
	b.results[i] = GetResult{Outcome: o}
	if err != nil {
		b.errs = append(b.errs, getError{key: i, err: err})
	}
}

// Arenas opens the batch to an implementation of Store.
func (b *GetBatch) Arenas() GetArenas {
	return GetArenas{Keys: b.keys, Ends: b.ends, Vals: b.vals, Results: b.results}
}

// Handles returns room for n pointers of a store, for one call. They must not be to memory of Go. For implementations of Gatherer.
func (b *GetBatch) Handles(n int) []unsafe.Pointer {
	if cap(b.handles) < n {
		b.handles = make([]unsafe.Pointer, max(n, 2*cap(b.handles)))
	}
	return b.handles[:n]
}

// Gatherer is a Store that can look up keys of many stores of its kind at once.
type Gatherer interface {
	// Gather looks up key i of b in stores[i], in memory, as Store.MultiGet does with TierCache; nil leaves a key alone. It returns
	// false, having done nothing, when one of the stores is of another kind.
	Gather(b *GetBatch, stores []Store) bool
}

// Gather looks up key i in stores[i], in memory, as Store.MultiGet does with TierCache, and in one call if the stores can do that.
// A key whose store is nil is left alone. A loop with many stores pays one call for all of a turn, and the stores can fetch what
// they need of memory side by side.
func (b *GetBatch) Gather(stores []Store) {
	for _, s := range stores {
		if s == nil {
			continue
		}
		if g, ok := s.(Gatherer); ok && g.Gather(b, stores) {
			return
		}
		break
	}
	if b.single == nil {
		b.single = &GetBatch{}
	}
	one := b.single
	for i, s := range stores {
		if s == nil {
			continue
		}
		one.Reset()
		one.Add(b.Key(i))
		if s.MultiGet(one, TierCache); one.Outcome(0) == Found {
			b.SetFound(i, one.Value(0))
		} else {
			b.SetOutcome(i, one.Outcome(0), one.Err(0))
		}
	}
}

// SetValues hands the arena of values back after a store appended to it. For implementations of Store.
func (b *GetBatch) SetValues(vals []byte) { b.vals = vals }
