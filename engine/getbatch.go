package engine

// GetBatch collects point lookups so that a loop pays one call into the store for all of a turn. Keys and values live in
// two arenas; after the first uses a batch allocates nothing. It has one owner at a time.
type GetBatch struct {
	keys    []byte
	ends    []uint32 // end offset of key i in keys
	vals    []byte
	results []getResult
}

type getResult struct {
	outcome Outcome
	off     uint32
	len     uint32
	err     error
}

// Reset empties the batch and keeps its memory. Values returned before become invalid.
func (b *GetBatch) Reset() {
	b.keys, b.ends, b.vals = b.keys[:0], b.ends[:0], b.vals[:0]
	clear(b.results)
	b.results = b.results[:0]
}

// Add copies key into the batch and returns its index. Keys of one batch may repeat.
func (b *GetBatch) Add(key []byte) int {
	b.keys = append(b.keys, key...)
	b.ends = append(b.ends, uint32(len(b.keys)))
	b.results = append(b.results, getResult{})
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
func (b *GetBatch) Outcome(i int) Outcome { return b.results[i].outcome }

// Err is the error of key i when its outcome is Failed.
func (b *GetBatch) Err(i int) error { return b.results[i].err }

// Value returns the raw value of key i, a view that is valid until the next Reset. It is empty unless the outcome is Found.
func (b *GetBatch) Value(i int) []byte {
	r := b.results[i]
	return b.vals[r.off : r.off+r.len : r.off+r.len]
}

// SetFound records the raw value of key i; it is copied. For implementations of Store.
func (b *GetBatch) SetFound(i int, value []byte) {
	off := uint32(len(b.vals))
	b.vals = append(b.vals, value...)
	b.results[i] = getResult{outcome: Found, off: off, len: uint32(len(value))}
}

// SetOutcome records any outcome but Found for key i. For implementations of Store.
func (b *GetBatch) SetOutcome(i int, o Outcome, err error) {
	b.results[i] = getResult{outcome: o, err: err}
}
