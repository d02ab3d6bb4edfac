// Package rocks is the Store of a replica over RocksDB, and the only package that uses cgo. grocksdb opens, configures
// and checkpoints; a small C++ shim does what must be one call: lookups of a batch, apply, a slice of a scan; and what
// runs on RocksDB's threads: the compaction filter, the listener.
//
// It knows nothing of replication or of tables: decrees and table settings are handed to it.
//
// Facts about RocksDB that shape it: a write batch with the write-ahead log off is atomic over column families, and a
// flush that is atomic over them makes storage hold exactly the state after some batch. So the decree that a batch
// writes into the meta family tells, after a crash, which batch that was.
package rocks

// #include "shim.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Store implements engine.Store. It owns every handle below and frees them in Close, in the one order that RocksDB
// allows: shim, column families, database, options.
type Store struct {
	// What lookups and applies need, in one cache line.
	c       *C.pg_store
	gate    gate
	applied atomic.Int64
	metaID  uint32
	noFill  atomic.Bool
	broken  atomic.Bool // an Apply failed
	version engine.DataVersion

	dir   string
	o     Options
	opts  *optionSet
	db    *grocksdb.DB
	data  *grocksdb.ColumnFamilyHandle
	meta  *grocksdb.ColumnFamilyHandle
	state *C.pg_state

	iters     atomic.Int64
	compacted atomic.Int64 // unix milliseconds
	tuning    atomic.Pointer[engine.Tuning]
	rules     atomic.Pointer[engine.Rules]
	table     engine.TableOptions // the owner's
	replaced  atomic.Uint64       // how often options under which compactions rewrite have been replaced
	steady    atomic.Uint64       // value of replaced for which no compaction of earlier options is left
	batch     []byte              // the representation of the batch being applied, reused
}

var (
	_ engine.Store    = (*Store)(nil)
	_ engine.Gatherer = (*Store)(nil)
)

// maxGetBytes bounds the values of one GetBatch. A lookup past it fails; callers ask for less.
const maxGetBytes = 1 << 30

// ErrBatchTooLarge is the failure of lookups whose batch has more than 1 GiB of values, and of an Apply of more than
// engine.MaxBatchLen.
var ErrBatchTooLarge = errors.New("rocks: batch too large")

// MultiGet implements engine.Store. A value that finds no room in the batch costs a second call, which asks for the
// missing ones only, after the arena has grown; the batch keeps its arena, so this ends after the first batches.
// A buffer on the C side, copied afterwards, was rejected: it would cost every batch what this costs the first.
func (s *Store) MultiGet(b *engine.GetBatch, tier engine.Tier) {
	if b.Len() == 0 {
		return
	}
	if !s.gate.enter() {
		failAll(b, engine.ErrClosed)
		return
	}
	defer s.gate.leave()
	a := b.Arenas()
	var st C.pg_status
	flags := flag(tier == engine.TierCache, C.PG_CACHE_ONLY) | flag(s.noFill.Load(), C.PG_NO_FILL)
	retry := C.int(0)
	for {
		used := C.pg_multiget(s.c, chars(a.Keys), (*C.uint32_t)(unsafe.SliceData(a.Ends)), C.int(len(a.Ends)), flags, retry,
			chars(a.Vals), C.uint64_t(len(a.Vals)), C.uint64_t(cap(a.Vals)), (*C.pg_result)(unsafe.Pointer(unsafe.SliceData(a.Results))), &st)
		a.Vals = a.Vals[:used]
		if !growValues(b, &a) {
			break
		}
		retry = 1
	}
	b.SetValues(a.Vals)
	failUnread(b, &a, &st)
}

// growValues makes room for the values that found none, if there are such, and tells whether they are to be asked for once more.
func growValues(b *engine.GetBatch, a *engine.GetArenas) bool {
	missing := uint64(0)
	for i := range a.Results {
		if a.Results[i].Outcome == C.PG_TOO_SMALL {
			missing += uint64(a.Results[i].Len)
		}
	}
	if missing == 0 {
		return false
	}
	if uint64(len(a.Vals))+missing > maxGetBytes {
		refuseMissing(b, a.Results)
		return false
	}
	// Twice as much, for values that grow under our hands and for the next batch.
	a.Vals = append(make([]byte, 0, 2*(uint64(len(a.Vals))+missing)), a.Vals...)
	return true
}

// failUnread gives the lookups that failed the error of the call.
func failUnread(b *engine.GetBatch, a *engine.GetArenas, st *C.pg_status) {
	if err := statusErr(st); err != nil {
		for i := range a.Results {
			if a.Results[i].Outcome == engine.Failed && b.Err(i) == nil {
				b.SetOutcome(i, engine.Failed, err)
			}
		}
	}
}

// Gather implements engine.Gatherer.
func (s *Store) Gather(b *engine.GetBatch, stores []engine.Store) bool {
	handles := b.Handles(len(stores))
	for i, other := range stores {
		handles[i] = nil
		if other == nil {
			continue
		}
		o, ok := other.(*Store)
		if !ok {
			return false
		}
		// Nothing here waits for what is read, so the stores' lines are fetched side by side.
		handles[i] = unsafe.Pointer(o.c)
	}
	for i, other := range stores {
		if other != nil && !other.(*Store).gate.enter() {
			b.SetOutcome(i, engine.Failed, engine.ErrClosed)
			handles[i] = nil
		}
	}
	gather(b, handles)
	for i, other := range stores {
		if handles[i] != nil {
			other.(*Store).gate.leave()
		}
	}
	return true
}

// gather is MultiGet for keys of many stores. A lookup that fails costs one more call, so that each has the error of its own store.
func gather(b *engine.GetBatch, handles []unsafe.Pointer) {
	a := b.Arenas()
	var st C.pg_status
	retry := C.int(0)
	for {
		used := C.pg_gather(unsafe.SliceData(handles), chars(a.Keys), (*C.uint32_t)(unsafe.SliceData(a.Ends)), C.int(len(handles)), retry,
			chars(a.Vals), C.uint64_t(len(a.Vals)), C.uint64_t(cap(a.Vals)), (*C.pg_result)(unsafe.Pointer(unsafe.SliceData(a.Results))), &st)
		a.Vals = a.Vals[:used]
		retry = 1
		if st.code != 0 {
			failUnread(b, &a, &st)
			st = C.pg_status{}
		} else if !growValues(b, &a) {
			break
		}
	}
	b.SetValues(a.Vals)
}

func failAll(b *engine.GetBatch, err error) {
	for i := range b.Len() {
		b.SetOutcome(i, engine.Failed, err)
	}
}

func refuseMissing(b *engine.GetBatch, results []engine.GetResult) {
	for i := range results {
		if results[i].Outcome == C.PG_TOO_SMALL {
			b.SetOutcome(i, engine.Failed, ErrBatchTooLarge)
		}
	}
}

// Parts of RocksDB's write-batch representation: u64 sequence (filled in by RocksDB), u32 count, records.
const (
	repHeader  = 12
	tagPutInCF = 0x5
)

// Apply implements engine.Store.
func (s *Store) Apply(decree proto.Decree, batches ...[]byte) error {
	if !s.gate.enter() {
		return engine.ErrClosed
	}
	defer s.gate.leave()
	if s.broken.Load() {
		return fmt.Errorf("%w: an earlier apply failed", engine.ErrIO)
	}
	if s.version != engine.DataV1 {
		return engine.ErrReadOnly
	}
	last := s.applied.Load()
	if int64(decree) <= last { // asserted in here, because the arguments of an assertion go to the heap
		invariant.Assertf(false, "apply of decree %d after %d", decree, last)
	}
	if err := s.compose(decree, batches); err != nil {
		return err
	}
	var st C.pg_status
	C.pg_apply(s.c, chars(s.batch), C.size_t(len(s.batch)), &st)
	if err := statusErr(&st); err != nil {
		// A full disk stops RocksDB before it writes anything, and until it has recovered by itself.
		if !errors.Is(err, engine.ErrNoSpace) {
			s.broken.Store(true)
		}
		return err
	}
	s.applied.Store(int64(decree))
	return nil
}

// compose builds one representation of all batches and the decree's record. The batches are checked, because RocksDB
// would apply a malformed one up to the damage, and could be told to write into the meta family.
func (s *Store) compose(decree proto.Decree, batches [][]byte) error {
	total := repHeader
	for _, b := range batches {
		total += len(b)
	}
	if total > engine.MaxBatchLen {
		return fmt.Errorf("%w: %d bytes", ErrBatchTooLarge, total)
	}
	count := uint32(1)
	rep := append(s.batch[:0], make([]byte, repHeader)...)
	for _, b := range batches {
		n, err := engine.CheckBatch(b)
		if err != nil {
			return err
		}
		if n > 0 {
			count += n
			rep = append(rep, b[engine.BatchHeaderLen:]...)
		}
	}
	rep = append(rep, tagPutInCF)
	rep = binary.AppendUvarint(rep, uint64(s.metaID))
	rep = binary.AppendUvarint(rep, uint64(len(keyFlushedDecree)))
	rep = append(rep, keyFlushedDecree...)
	var digits [20]byte
	value := strconv.AppendInt(digits[:0], int64(decree), 10)
	rep = binary.AppendUvarint(rep, uint64(len(value)))
	rep = append(rep, value...)
	binary.LittleEndian.PutUint32(rep[repHeader-4:], count)
	s.batch = rep
	return nil
}

// Stalled implements engine.Store. It is as recent as RocksDB's last change of a file or memtable.
func (s *Store) Stalled() bool {
	if !s.gate.enter() {
		return false
	}
	defer s.gate.leave()
	return C.pg_state_stalled(s.state) != 0
}

// DataVersion implements engine.Store.
func (s *Store) DataVersion() engine.DataVersion { return s.version }

// AppliedDecree implements engine.Store.
func (s *Store) AppliedDecree() proto.Decree { return proto.Decree(s.applied.Load()) }

// FlushedDecree implements engine.Store. It reads memory only and may lag a flush in the background by a moment. After
// Close it is 0.
func (s *Store) FlushedDecree() proto.Decree {
	if !s.gate.enter() {
		return 0
	}
	defer s.gate.leave()
	return proto.Decree(C.pg_state_flushed(s.state))
}

// Flush implements engine.Store.
func (s *Store) Flush() (proto.Decree, error) {
	if !s.gate.enter() {
		return 0, engine.ErrClosed
	}
	defer s.gate.leave()
	// While RocksDB recovers from a full disk it says that a flush is over which has not begun. The decree tells.
	want := s.AppliedDecree()
	for range flushAttempts {
		if err := s.flush(); err != nil {
			return 0, err
		}
		if d, err := s.persistedDecree(); err != nil || d >= want {
			return d, err
		}
	}
	return 0, fmt.Errorf("%w: %s: flushes do not reach decree %d", engine.ErrIO, s.dir, want)
}

// flushAttempts is how many flushes may do nothing before it is taken for an error.
const flushAttempts = 3

func (s *Store) flush() error {
	var st C.pg_status
	C.pg_flush(s.c, &st)
	return statusErr(&st)
}

// Checkpoint implements engine.Store. Files are hard-linked when dir is on the same file system, else copied.
func (s *Store) Checkpoint(dir string, flush bool) (proto.Decree, error) {
	if !s.gate.enter() {
		return 0, engine.ErrClosed
	}
	defer s.gate.leave()
	if _, err := os.Lstat(dir); err == nil {
		return 0, fmt.Errorf("%w: %s exists", engine.ErrIO, dir)
	}
	if flush {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	cp, err := s.db.NewCheckpoint()
	if err != nil {
		return 0, openError(dir, err)
	}
	defer cp.Destroy()
	const neverFlush = 1<<64 - 1 // the size of write-ahead log past which it would flush by itself
	if err := cp.CreateCheckpoint(dir, neverFlush); err != nil {
		return 0, openError(dir, err)
	}
	// A flush may have run since the decree was last known here, so it is asked from the copy.
	decree, err := decreeOf(dir, s.o)
	if err != nil {
		return 0, errors.Join(err, os.RemoveAll(dir))
	}
	return decree, nil
}

// Compact implements engine.Store. It flushes first. Close makes it end with ErrClosed.
func (s *Store) Compact(o engine.CompactOptions) error {
	if !s.gate.enter() {
		return engine.ErrClosed
	}
	defer s.gate.leave()
	if err := s.flush(); err != nil {
		return err
	}
	level := C.int(-1)
	if o.Level > 0 {
		level = C.int(o.Level)
	}
	var st C.pg_status
	C.pg_compact(s.c, level, flag(!o.SkipBottommost, 1), &st)
	if err := statusErr(&st); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	if err := s.metaPut(keyCompactFinish, strconv.FormatInt(now, 10)); err != nil {
		return err
	}
	s.compacted.Store(now)
	if err := s.flush(); err != nil { // or a crash would have it done again
		return err
	}
	_, err := s.persistedDecree()
	return err
}

// AbortCompact implements engine.Store.
func (s *Store) AbortCompact() {
	if !s.gate.enter() {
		return
	}
	defer s.gate.leave()
	C.pg_abort_compact(s.c)
}

// CompactedAt implements engine.Store.
func (s *Store) CompactedAt() time.Time {
	if ms := s.compacted.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// SetTableOptions implements engine.Store. A compaction that runs already keeps the settings it started with.
func (s *Store) SetTableOptions(o engine.TableOptions) {
	if !s.gate.enter() {
		return
	}
	defer s.gate.leave()
	C.pg_state_set_table(s.state, C.uint32_t(o.DefaultTTL), C.int32_t(o.PartitionVersion), C.int32_t(o.PartitionIndex))
	s.noFill.Store(o.NoFillCache)
	if old := s.rules.Swap(o.Rules); old != o.Rules {
		b := o.Rules.AppendBinary(nil)
		C.pg_state_set_rules(s.state, chars(b), C.size_t(len(b)))
	}
	old := s.table
	if s.table = o; old.Rewrites() && (old.DefaultTTL != o.DefaultTTL || old.PartitionVersion != o.PartitionVersion || old.Rules != o.Rules) {
		s.replaced.Add(1) // last: a compaction that begins from here on goes by o
	}
}

// Steady implements engine.Store. RocksDB counts a compaction as running before it makes its filter and until its files are in force,
// and tells their number under its mutex; so when none runs, all of those before are over.
func (s *Store) Steady(look bool) bool {
	now := s.replaced.Load()
	if s.steady.Load() == now {
		return true
	}
	if !look || !s.gate.enter() {
		return false
	}
	defer s.gate.leave()
	if n, ok := s.db.GetIntPropertyCF("rocksdb.num-running-compactions", s.data); !ok || n > 0 {
		return false
	}
	s.steady.Store(now)
	return s.replaced.Load() == now
}

// Stats implements engine.Store. It takes RocksDB's mutex a few times: for once a second, not for every request.
func (s *Store) Stats() engine.Stats {
	if !s.gate.enter() {
		return engine.Stats{}
	}
	defer s.gate.leave()
	number := func(name string) uint64 {
		v, _ := s.db.GetIntPropertyCF(name, s.data)
		return v
	}
	level0, _ := strconv.Atoi(s.db.GetPropertyCF("rocksdb.num-files-at-level0", s.data))
	return engine.Stats{
		LiveBytes:       number("rocksdb.estimate-live-data-size"),
		MemtableBytes:   number("rocksdb.size-all-mem-tables"),
		EstimatedKeys:   number("rocksdb.estimate-num-keys"),
		PendingCompact:  number("rocksdb.estimate-pending-compaction-bytes"),
		FilesAtLevel0:   level0,
		RunningFlushes:  int(number("rocksdb.num-running-flushes")),
		RunningCompacts: int(number("rocksdb.num-running-compactions")),
	}
}

// Levels is the number of levels of the store.
func (s *Store) Levels() int { return s.o.Levels }

// DiskBytes implements engine.Store.
func (s *Store) DiskBytes() uint64 {
	if !s.gate.enter() {
		return 0
	}
	defer s.gate.leave()
	n, _ := s.db.GetIntPropertyCF("rocksdb.live-sst-files-size", s.data)
	return n
}

// Close implements engine.Store. It waits for calls that are inside; a manual compaction is cut short. A second call
// does nothing.
func (s *Store) Close() error {
	invariant.Assertf(s.iters.Load() == 0, "store %s closed with %d open iterators", s.dir, s.iters.Load())
	if !s.gate.shut(s.db.DisableManualCompaction) {
		return nil
	}
	if s.c != nil {
		C.pg_store_free(s.c)
	}
	s.data.Destroy()
	s.meta.Destroy()
	s.db.Close()
	s.opts.destroy()
	C.pg_state_free(s.state)
	s.o.Shared.stores.Add(-1)
	return nil
}
