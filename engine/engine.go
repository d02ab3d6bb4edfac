// Package engine says what a replica's store is and how records look in it: the Store interface, key and value schema,
// TTL, write-batch building. It imports proto and invariant only; package rocks implements Store over RocksDB, package
// mem over a Go map, and enginetest holds both to the same behaviour.
//
// It knows nothing of replication: it is told decrees and keeps the last one beside the data, in the same atomic step.
package engine

import (
	"errors"
	"time"

	"pegasus/netcore/proto"
)

// Outcome is how a read of one key, or one slice of a scan, ended. WouldBlock is not an error: it says that the answer is
// not in memory and that the caller should ask again with TierAll where blocking is allowed.
type Outcome uint8

const (
	NotFound   Outcome = iota // no such record
	Found                     // the record is there
	WouldBlock                // cannot be told without reading from storage (TierCache only)
	Failed                    // the store failed; see the error that comes with it
)

// Tier says where a read may look.
type Tier uint8

const (
	TierCache Tier = iota // memtables and block cache only: never blocks, may answer WouldBlock
	TierAll               // everything; may block on storage, so never on a loop
)

// Errors of a Store. Implementations wrap them, so test with errors.Is.
var (
	// ErrCorruption means that stored bytes are damaged: the replica must be quarantined.
	ErrCorruption = errors.New("engine: corruption")
	// ErrIO means that the storage below failed, a full disk (ErrNoSpace) included.
	ErrIO = errors.New("engine: i/o error")
	// ErrNoSpace means that the disk is full. It also matches ErrIO.
	ErrNoSpace = errors.New("engine: no space")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("engine: closed")
	// ErrReadOnly means that the store holds values of an older layout and can only be read.
	ErrReadOnly = errors.New("engine: store of an older data version is read-only")
	// ErrNotStore means that the directory does not hold a store of this format.
	ErrNotStore = errors.New("engine: not a pegasus store")
)

// Store is the storage of one replica. Apply, Set*, Flush and Close are called by the owner, one at a time (Apply never
// concurrently with itself); reads, iterators and Checkpoint may run beside them from any goroutine.
type Store interface {
	// MultiGet looks up every key of b and fills its outcomes and values. It is one call into the store. A value is the
	// raw stored value (see ParseValue). With TierCache it never blocks. A failure of one key does not touch others.
	MultiGet(b *GetBatch, tier Tier)

	// Apply writes mutations atomically, together with decree, which must be larger than every decree applied before.
	// Each element of batches is the records of one mutation as built by BatchBuilder, applied in order. Nothing is synced:
	// the shard log is the write-ahead log. The slices may be reused when Apply returns. An error leaves the store
	// unusable for writes until it is reopened, but ErrNoSpace does not: nothing was written, and the same Apply may be tried
	// again.
	Apply(decree proto.Decree, batches ...[]byte) error

	// Stalled tells whether Apply would currently block because flushes or compactions lag behind.
	Stalled() bool

	// NewIterator returns an iterator over a snapshot of the store taken now. The caller closes it, before the Store.
	NewIterator(o IterOptions) (Iterator, error)

	// DataVersion is the layout of the values in this store: what ParseValue needs. It never changes. Only a store of
	// layout v1 can be written; Apply on another one fails with ErrReadOnly.
	DataVersion() DataVersion

	// AppliedDecree is the decree of the last Apply; FlushedDecree the one that a crash now would come back to.
	AppliedDecree() proto.Decree
	FlushedDecree() proto.Decree

	// Flush makes everything applied so far durable and returns the decree reached. It blocks.
	Flush() (proto.Decree, error)

	// Checkpoint writes a consistent copy of the flushed state into dir, which must not exist, by hard links where it can,
	// and returns its decree. It flushes first when flush is set. It blocks.
	Checkpoint(dir string, flush bool) (proto.Decree, error)

	// Compact rewrites the whole key range, applying the compaction filter (expired, default TTL, stale after split, rules).
	// It blocks, often for long; AbortCompact makes it end with ErrClosed.
	Compact(o CompactOptions) error

	// AbortCompact ends a Compact that runs, and refuses any later one: the store is about to be closed. It does not block.
	AbortCompact()

	// CompactedAt is when a Compact last finished, also of an earlier life of the store; zero when none has.
	CompactedAt() time.Time

	// Tune changes settings of the store itself. It may block for a moment. The scenario is remembered when the store is
	// opened again.
	Tune(t Tuning) error

	// Tuning is what Tune was last given, or what the store was opened with. It does not block.
	Tuning() Tuning

	// SetTableOptions changes what writes and the compaction filter must know of the table; it takes effect at once, but a compaction
	// that runs goes by the options that it began with.
	SetTableOptions(o TableOptions)

	// Steady tells whether every compaction goes by the options that were set last, or by some that had it change nothing but what has
	// expired (see TableOptions.Rewrites). It goes by the last look and does not block; with look set it looks, which may take a moment.
	Steady(look bool) bool

	// Stats returns sizes and counters for metrics and admission.
	Stats() Stats

	// DiskBytes is the size of the store's files. It is cheaper than Stats.
	DiskBytes() uint64

	// Close releases the store without flushing: unflushed decrees are replayed from the shard log. All iterators must have
	// been closed.
	Close() error
}

// TableOptions are the table's settings that matter below the handlers.
type TableOptions struct {
	DefaultTTL uint32 // seconds; 0 = none. Given by the compaction filter to records without an expiry
	// PartitionVersion is partition_count-1 when the split check is on and -1 when it is off: then no record is stale.
	PartitionVersion int32
	PartitionIndex   int32
	// Rules are what the compaction filter does besides; nil: nothing. They are not changed once given.
	Rules *Rules
	// NoFillCache keeps reads from putting blocks into the cache.
	NoFillCache bool
}

// Rewrites tells whether compactions under these options change or drop records that have not expired.
func (o TableOptions) Rewrites() bool {
	return o.DefaultTTL != 0 || o.Rules != nil || o.PartitionVersion > 0
}

// CompactOptions say how a whole store is compacted. The zero value rewrites everything and leaves it on its level.
type CompactOptions struct {
	// Level is where the records go; 0: where they are. A level that is not free is an error.
	Level int
	// SkipBottommost leaves the files of the lowest level alone, so that what expired in them stays.
	SkipBottommost bool
}

// Tuning is what a table may set of its stores while they are open. Zero fields are what the store was opened with.
type Tuning struct {
	// Scenario is normal, prefer_write (compactions wait) or bulk_load (no compaction until it changes).
	Scenario string
	// WriteBufferBytes is the size at which a memtable is flushed.
	WriteBufferBytes uint64
}

// IterOptions bound an iterator. Bounds are raw keys; nil means unbounded. They are copied.
type IterOptions struct {
	Lower   []byte // inclusive
	Upper   []byte // exclusive
	Reverse bool
	Tier    Tier
	// NoFillCache keeps a long scan from evicting the block cache.
	NoFillCache bool
}

// Iterator walks raw records in key order (or against it). It is not safe for concurrent use but may move between
// goroutines. The caller's protocol is: Next until it says it stopped, look at the rows, call Next again.
type Iterator interface {
	// Next clears rows and fills it with the following records until the range ends or a limit of l is reached; at least one
	// record is returned per call unless the range ended. more is false when the range is exhausted. Outcome is Found when the slice is valid, WouldBlock
	// (TierCache: the iterator is then spent and must be closed), or Failed with err.
	Next(rows *Rows, l SliceLimit) (more bool, o Outcome, err error)
	Close()
}

// SliceLimit bounds one Next. Zero fields mean no limit of that kind, but at least one must be set.
type SliceLimit struct {
	MaxRows  int
	MaxBytes int           // keys and values together; checked after each row
	MaxTime  time.Duration // looked at every few rows
	// KeysOnly leaves out the user data: values are cut after the value header, so that TTL can still be told.
	KeysOnly bool
}

// Stats describe a store at one moment. Sizes are bytes.
type Stats struct {
	LiveBytes       uint64 // estimated live data on disk
	MemtableBytes   uint64
	EstimatedKeys   uint64
	PendingCompact  uint64 // estimated bytes of compaction debt
	FilesAtLevel0   int
	RunningFlushes  int
	RunningCompacts int
}
