package rocks

// #include "shim.h"
import "C"

import (
	"sync/atomic"

	"github.com/linxGnu/grocksdb"

	"pegasus/netcore/invariant"
)

// SharedOptions size what all stores of a process share. Zero fields take the default.
type SharedOptions struct {
	// BlockCacheBytes is the size of the block cache: data, index and filter blocks of all stores. The default is 256 MiB.
	BlockCacheBytes uint64
	// MemtableBytes is the sum of all memtables past which a store that is written to is flushed. Memtables of idle stores
	// count and stay: flush those whose log is wanted back. The default is 512 MiB.
	MemtableBytes uint64
	// IOBytesPerSecond limits what flushes and compactions write. 0 means no limit, which is the default.
	IOBytesPerSecond int64
	// FlushThreads and CompactThreads are the sizes of RocksDB's two pools, which belong to the process: the last Shared
	// made wins. The defaults are 1 and 2.
	FlushThreads   int
	CompactThreads int
}

func (o SharedOptions) withDefaults() SharedOptions {
	if o.BlockCacheBytes == 0 {
		o.BlockCacheBytes = 256 << 20
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = 512 << 20
	}
	if o.FlushThreads == 0 {
		o.FlushThreads = 1
	}
	if o.CompactThreads == 0 {
		o.CompactThreads = 2
	}
	return o
}

// Shared is the block cache, the memtable budget, the write rate limit and the background threads that the stores of a
// process have in common. It is safe for concurrent use. Close it after the last store.
type Shared struct {
	o      SharedOptions
	cache  *grocksdb.Cache
	wbm    *C.pg_shared
	stores atomic.Int64
	closed atomic.Bool
}

// NewShared allocates them.
func NewShared(o SharedOptions) (*Shared, error) {
	o = o.withDefaults()
	var st C.pg_status
	wbm := C.pg_shared_new(C.uint64_t(o.MemtableBytes), C.int64_t(o.IOBytesPerSecond), &st)
	if err := statusErr(&st); err != nil {
		return nil, err
	}
	s := &Shared{o: o, wbm: wbm, cache: grocksdb.NewLRUCache(o.BlockCacheBytes)}
	// All stores use the process's default environment; this is a handle to it.
	env := grocksdb.NewDefaultEnv()
	env.SetHighPriorityBackgroundThreads(o.FlushThreads)
	env.SetLowPriorityBackgroundThreads(o.CompactThreads)
	env.Destroy()
	return s, nil
}

// BlockCacheUsage is the number of bytes in the block cache.
func (s *Shared) BlockCacheUsage() uint64 { return s.cache.GetUsage() }

// MemtableUsage is the number of bytes in memtables of all stores.
func (s *Shared) MemtableUsage() uint64 { return uint64(C.pg_shared_memtable_bytes(s.wbm)) }

// Close frees everything. All stores must have been closed. A second call does nothing.
func (s *Shared) Close() {
	if s.closed.Swap(true) {
		return
	}
	invariant.Assertf(s.stores.Load() == 0, "shared cache closed with %d open stores", s.stores.Load())
	s.cache.Destroy()
	C.pg_shared_free(s.wbm)
}
