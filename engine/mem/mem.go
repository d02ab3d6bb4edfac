// Package mem is a Store in memory: the model that the real one is tested against, and the store of simulations. It is
// pure Go, deterministic, and can be told to answer WouldBlock, to fail, or to lose what was not flushed.
//
// It knows nothing of caches, compactions that run on their own, or how long anything takes.
package mem

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Op names an operation for failure injection.
type Op string

// The operations that Options.Fail is asked about.
const (
	OpGet        Op = "get"
	OpApply      Op = "apply"
	OpScan       Op = "scan"
	OpFlush      Op = "flush"
	OpCheckpoint Op = "checkpoint"
	OpCompact    Op = "compact"
	OpTune       Op = "tune"
)

// Options are what tests may inject. The zero value is a store that always works.
type Options struct {
	Table engine.TableOptions
	// WouldBlock tells, for a raw key, whether TierCache should find it out of memory.
	WouldBlock func(key []byte) bool
	// Fail is asked before every operation (once per key of a MultiGet); what it returns, wrapped in one of the engine's
	// errors as a real store would, is how the operation ends.
	Fail func(Op) error
	// Stalled is what Store.Stalled answers.
	Stalled func() bool
	// Now is the clock of Compact, in seconds since engine.EpochOffset; the system's clock when nil.
	Now func() uint32
}

// state is one consistent content of the store. It is immutable.
type state struct {
	root   *node
	decree proto.Decree
	rows   int
	bytes  int
}

// Store implements engine.Store.
type Store struct {
	o         Options
	dir       string // "" when nothing is kept on disk
	table     atomic.Pointer[engine.TableOptions]
	aborted   atomic.Bool
	compacted atomic.Int64 // unix milliseconds
	tuning    atomic.Pointer[engine.Tuning]
	now       atomic.Pointer[state]
	flushed   atomic.Pointer[state]
	applyMu   sync.Mutex // Apply is never concurrent with itself, but Compact and Flush may run beside it
	broken    bool       // an Apply failed; guarded by applyMu
	closed    atomic.Bool
	iters     atomic.Int64
}

// New returns an empty store that lives in memory only.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = func() uint32 { return uint32(time.Now().Unix() - engine.EpochOffset) }
	}
	s := &Store{o: o}
	s.table.Store(&o.Table)
	empty := &state{}
	s.now.Store(empty)
	s.flushed.Store(empty)
	return s
}

// Reopen closes s as a crash would and returns a new store with the same options that holds what s had flushed.
func (s *Store) Reopen() *Store {
	s.closed.Store(true)
	n := New(s.o)
	n.dir = s.dir
	n.now.Store(s.flushed.Load())
	n.flushed.Store(s.flushed.Load())
	return n
}

func (s *Store) fail(op Op) error {
	if s.closed.Load() {
		return engine.ErrClosed
	}
	if s.o.Fail != nil {
		return s.o.Fail(op)
	}
	return nil
}

// MultiGet implements engine.Store.
func (s *Store) MultiGet(b *engine.GetBatch, tier engine.Tier) {
	st := s.now.Load()
	for i := range b.Len() {
		key := b.Key(i)
		if err := s.fail(OpGet); err != nil {
			b.SetOutcome(i, engine.Failed, err)
		} else if s.blocks(tier, key) {
			b.SetOutcome(i, engine.WouldBlock, nil)
		} else if v, ok := st.root.get(key); ok {
			b.SetFound(i, v)
		} else {
			b.SetOutcome(i, engine.NotFound, nil)
		}
	}
}

func (s *Store) blocks(tier engine.Tier, key []byte) bool {
	return tier == engine.TierCache && s.o.WouldBlock != nil && s.o.WouldBlock(key)
}

// Apply implements engine.Store.
func (s *Store) Apply(decree proto.Decree, batches ...[]byte) error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.broken {
		return fmt.Errorf("%w: an earlier apply failed", engine.ErrIO)
	}
	if err := s.fail(OpApply); err != nil {
		s.broken = !errors.Is(err, engine.ErrClosed) && !errors.Is(err, engine.ErrNoSpace)
		return err
	}
	old := s.now.Load()
	invariant.Assertf(decree > old.decree, "apply of decree %d after %d", decree, old.decree)
	next := *old
	next.decree = decree
	for _, b := range batches {
		if err := next.apply(b); err != nil {
			return err
		}
	}
	s.now.Store(&next)
	return nil
}

func (st *state) apply(batch []byte) error {
	r := engine.ReadBatch(batch)
	for r.Next() {
		rec := r.Record()
		st.drop(rec.Key)
		if !rec.Delete {
			st.insert(clone(rec.Key), clone(rec.Value))
		}
	}
	return r.Err()
}

func (st *state) insert(key, value []byte) {
	st.root = st.root.put(key, value)
	st.rows++
	st.bytes += len(key) + len(value)
}

func (st *state) drop(key []byte) {
	old, ok := st.root.get(key)
	if !ok {
		return
	}
	st.root = st.root.remove(key)
	st.rows--
	st.bytes -= len(key) + len(old)
}

// clone never returns nil, so that an empty value stays a value.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// Stalled implements engine.Store.
func (s *Store) Stalled() bool { return s.o.Stalled != nil && s.o.Stalled() }

// DataVersion implements engine.Store.
func (s *Store) DataVersion() engine.DataVersion { return engine.DataV1 }

// AppliedDecree implements engine.Store.
func (s *Store) AppliedDecree() proto.Decree { return s.now.Load().decree }

// FlushedDecree implements engine.Store.
func (s *Store) FlushedDecree() proto.Decree { return s.flushed.Load().decree }

// Flush implements engine.Store.
func (s *Store) Flush() (proto.Decree, error) {
	if err := s.fail(OpFlush); err != nil {
		return 0, err
	}
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	st := s.now.Load()
	if s.dir != "" {
		if err := save(s.dir, st); err != nil {
			return 0, err
		}
	}
	s.flushed.Store(st)
	return st.decree, nil
}

// Checkpoint implements engine.Store. The directory can be opened with Open.
func (s *Store) Checkpoint(dir string, flush bool) (proto.Decree, error) {
	if err := s.fail(OpCheckpoint); err != nil {
		return 0, err
	}
	if flush {
		if _, err := s.Flush(); err != nil {
			return 0, err
		}
	}
	st := s.flushed.Load()
	if err := create(dir, st); err != nil {
		return 0, err
	}
	return st.decree, nil
}

// Compact implements engine.Store. There are no levels, so all of it is rewritten whatever o says.
func (s *Store) Compact(engine.CompactOptions) error {
	if err := s.fail(OpCompact); err != nil {
		return err
	}
	if s.aborted.Load() {
		return engine.ErrClosed
	}
	s.applyMu.Lock()
	next := *s.now.Load()
	o, now := *s.table.Load(), s.o.Now()
	next.root.walk(func(n *node) bool {
		switch verdict, expire := engine.Filter(o, engine.DataV1, now, n.key, n.value); verdict {
		case engine.Drop:
			next.drop(n.key)
		case engine.SetExpires:
			v := clone(n.value)
			engine.SetExpire(engine.DataV1, v, expire)
			next.root = next.root.put(n.key, v)
		}
		return true
	})
	s.now.Store(&next)
	s.applyMu.Unlock()
	if _, err := s.Flush(); err != nil {
		return err
	}
	s.compacted.Store(time.Now().UnixMilli())
	return nil
}

// AbortCompact implements engine.Store.
func (s *Store) AbortCompact() { s.aborted.Store(true) }

// CompactedAt implements engine.Store. It is not kept on disk.
func (s *Store) CompactedAt() time.Time {
	if ms := s.compacted.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// Tune implements engine.Store: it only remembers.
func (s *Store) Tune(t engine.Tuning) error {
	if err := s.fail(OpTune); err != nil {
		return err
	}
	s.tuning.Store(&t)
	return nil
}

// Tuning implements engine.Store.
func (s *Store) Tuning() engine.Tuning {
	if p := s.tuning.Load(); p != nil {
		return *p
	}
	return engine.Tuning{Scenario: "normal"}
}

// SetTableOptions implements engine.Store. A Compact that runs ends first.
func (s *Store) SetTableOptions(o engine.TableOptions) {
	s.applyMu.Lock()
	s.table.Store(&o)
	s.applyMu.Unlock()
}

// Steady implements engine.Store: always, for no Compact outlives its options.
func (s *Store) Steady(bool) bool { return true }

// Stats implements engine.Store.
func (s *Store) Stats() engine.Stats {
	st := s.now.Load()
	return engine.Stats{LiveBytes: uint64(st.bytes), MemtableBytes: uint64(st.bytes), EstimatedKeys: uint64(st.rows)}
}

// DiskBytes implements engine.Store: what was flushed.
func (s *Store) DiskBytes() uint64 { return uint64(s.flushed.Load().bytes) }

// Close implements engine.Store.
func (s *Store) Close() error {
	invariant.Assertf(s.iters.Load() == 0, "store closed with %d open iterators", s.iters.Load())
	s.closed.Store(true)
	return nil
}
