package perf

import (
	"context"
	"errors"
)

// Driver is a kind of store that can be put under load.
type Driver interface {
	// Name of the store, for reports.
	Name() string
	// Dial opens one connection (to every server, if there are several) that may have depth operations in flight.
	Dial(ctx context.Context, depth int) (Conn, error)
	// Supports tells whether the store has an operation like that.
	Supports(k Kind) bool
	// Servers lists what the store consists of, with what each server says of itself.
	Servers(ctx context.Context) []Server
}

// Conn is a connection.
type Conn interface {
	// Slot makes room for one operation in flight. It is called depth times at most.
	Slot() Slot
	Close()
}

// Slot carries out operations, one at a time.
type Slot interface {
	// Start begins op, which must not be touched until op.Done is called, once, on any goroutine, possibly before Start
	// returns. Start may block for as long as the operation takes only if the slot says so in Blocks.
	Start(op *Op)
	// Blocks tells that Start returns when the operation is over: such a slot needs a goroutine of its own.
	Blocks() bool
}

// Op is one operation. The one who starts it owns its memory.
type Op struct {
	Kind    Kind
	HashKey []byte
	SortKey []byte // of the first record
	N       int    // records of a MultiGet, MultiPut, Scan or TableScan; else 1
	First   uint64 // number of the first of them in its hash key
	// Values holds the values to be written, record i at i*ValueSize (a shorter slice repeats its beginning).
	Values    []byte
	ValueSize int
	record    uint64 // that an Insert adds
	// Done ends the operation. miss: a read found nothing.
	Done func(miss bool, err error)
}

// Value is the value of the i-th record that the operation writes.
func (o *Op) Value(i int) []byte {
	at := i * o.ValueSize
	if at+o.ValueSize > len(o.Values) {
		at = 0
	}
	return o.Values[at : at+o.ValueSize]
}

// sortKey appends the sort key of the i-th record.
func (o *Op) sortKey(dst []byte, i int) []byte { return appendKey(dst, o.First+uint64(i), sortKeyLen) }

// flatKey appends hash and sort key of the i-th record: its key in a store that knows no sort keys.
func (o *Op) flatKey(dst []byte, i int) []byte {
	dst = append(dst, o.HashKey...)
	if o.N > 1 {
		return o.sortKey(dst, i)
	}
	return append(dst, o.SortKey...)
}

// errUnsupported ends an operation that the store has not.
var errUnsupported = errors.New("perf: the store has no such operation")
