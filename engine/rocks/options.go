package rocks

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
)

// Options are the settings of one store. Zero fields take the default. All but Shared may differ from one Open to the
// next of the same store.
type Options struct {
	// Shared is required.
	Shared *Shared
	// Table is where SetTableOptions starts.
	Table engine.TableOptions
	// MustExist makes Open fail with ErrNotStore instead of creating a store.
	MustExist bool

	// WriteBufferBytes is the size at which a memtable is flushed. The default is 64 MiB: flushes of that size sort straight
	// into files of TargetFileBytes. Smaller ones make more files at level 0, which every get has to look at.
	WriteBufferBytes uint64
	// WriteBuffers is the number of memtables, the one being written included, at which writes stop. The default is 4: one
	// burst may run three flushes ahead of the disk.
	WriteBuffers int
	// BlockBytes is the size of a data block before compression. The default is 4 KiB, the page that a miss reads anyway;
	// larger blocks compress better and make every cached get decode more.
	BlockBytes int
	// BloomBits per key, over whole keys (gets) and hash keys (range reads). The default is 10: 1% of useless file reads for
	// 1.25 bytes a key. -1 turns filters off.
	BloomBits int
	// NoPrefixFilter leaves hash keys out of the filters and makes every range read look into every file:
	// rocksdb_filter_type=common of Apache Pegasus, whose default, prefix, is ours.
	NoPrefixFilter bool
	// Compression is none, snappy, lz4 or zstd, of level 2 and below. Levels 0 and 1 are rewritten soon and stay
	// uncompressed. The default is lz4: about half the size for less CPU than a block read.
	Compression string
	// L0Compact, L0Slowdown and L0Stop are the numbers of files at level 0 that start a compaction, delay writes and stop them. The
	// defaults are 4, 30 and 60, those of Apache Pegasus: gets tolerate many files thanks to the filters, while a stop hits
	// every partition on the same loop.
	L0Compact, L0Slowdown, L0Stop int
	// TargetFileBytes is the size of a file at level 1. The default is 64 MiB.
	TargetFileBytes uint64
	// LevelBaseBytes is the size of level 1, each level below is ten times larger. The default is 640 MiB, ten files.
	LevelBaseBytes uint64
	// Levels is the number of levels of a new store, 1 to 10. The default is 7. One that exists keeps those it was made with.
	Levels int
	// NoAutoCompact leaves compactions to Compact.
	NoAutoCompact bool
}

// defaultLevels is RocksDB's default; Apache Pegasus writes 6, and a store is opened with as many as it has or more.
const defaultLevels = 7

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def64 := func(v *uint64, d uint64) {
		if *v == 0 {
			*v = d
		}
	}
	def64(&o.WriteBufferBytes, 64<<20)
	def64(&o.TargetFileBytes, 64<<20)
	def64(&o.LevelBaseBytes, 640<<20)
	def(&o.WriteBuffers, 4)
	def(&o.BlockBytes, 4<<10)
	def(&o.BloomBits, 10)
	def(&o.L0Compact, 4)
	def(&o.L0Slowdown, 30)
	def(&o.L0Stop, 60)
	def(&o.Levels, defaultLevels)
	if o.Compression == "" {
		o.Compression = "lz4"
	}
	return o
}

var compressions = map[string]grocksdb.CompressionType{
	"none": grocksdb.NoCompression, "snappy": grocksdb.SnappyCompression,
	"lz4": grocksdb.LZ4Compression, "zstd": grocksdb.ZSTDCompression,
}

// Validate returns all that is wrong with o, defaults applied.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("rocks: "+format, args...))
		}
	}
	check(o.Shared != nil, "Options.Shared is required")
	_, known := compressions[o.Compression]
	check(known, "unknown compression %q", o.Compression)
	check(o.WriteBufferBytes >= 64<<10, "WriteBufferBytes %d is below 64 KiB", o.WriteBufferBytes)
	check(o.WriteBuffers >= 2, "WriteBuffers %d: flushing one needs a second", o.WriteBuffers)
	check(o.BlockBytes >= 512 && o.BlockBytes <= 1<<20, "BlockBytes %d is not within 512 B..1 MiB", o.BlockBytes)
	check(o.BloomBits == -1 || o.BloomBits >= 1 && o.BloomBits <= 32, "BloomBits %d is not -1 or within 1..32", o.BloomBits)
	check(0 < o.L0Compact && o.L0Compact <= o.L0Slowdown && o.L0Slowdown <= o.L0Stop,
		"level 0 limits %d, %d, %d do not ascend", o.L0Compact, o.L0Slowdown, o.L0Stop)
	check(o.Levels >= 1 && o.Levels <= 10, "Levels %d is not within 1..10", o.Levels)
	check(o.TargetFileBytes >= 64<<10, "TargetFileBytes %d is below 64 KiB", o.TargetFileBytes)
	check(o.LevelBaseBytes >= o.TargetFileBytes, "LevelBaseBytes %d is below TargetFileBytes", o.LevelBaseBytes)
	return errors.Join(errs...)
}

// optionSet owns the three option objects of an open store.
type optionSet struct {
	db, data, meta *grocksdb.Options
}

func (s *optionSet) destroy() {
	s.db.Destroy()
	s.data.Destroy()
	s.meta.Destroy()
}

// build turns o into RocksDB's options. quiet keeps RocksDB from writing an info log into the directory.
func (o Options) build(state *C.pg_state, quiet bool) *optionSet {
	s := &optionSet{db: o.database(), data: o.dataFamily(), meta: metaFamily()}
	C.pg_options_attach(handle(s.db), o.Shared.wbm, state, flag(quiet, C.PG_QUIET))
	C.pg_options_attach(handle(s.data), nil, state, C.PG_DATA_CF|flag(!o.NoPrefixFilter, C.PG_PREFIX))
	return s
}

func (o Options) database() *grocksdb.Options {
	db := grocksdb.NewDefaultOptions()
	// Data and decree must reach storage together, or a crash would find one without the other.
	db.SetAtomicFlush(true)
	// There is one writer per store; the lock-free insert costs more, and updates in place exclude it.
	db.SetAllowConcurrentMemtableWrites(false)
	// All files stay open: a lookup in the table cache that misses would read storage, or make TierCache useless.
	db.SetMaxOpenFiles(-1)
	db.SetMaxBackgroundJobs(o.Shared.o.FlushThreads + o.Shared.o.CompactThreads)
	// Files are synced a piece at a time: one sync of 64 MiB makes the shard log's own syncs wait.
	db.SetBytesPerSync(1 << 20)
	// An iterator that is the last user of a file or memtable leaves freeing it to a background thread: loops close iterators.
	db.AvoidUnnecessaryBlockingIO(true)
	// The default would reserve 4 MiB of disk per store.
	db.SetManifestPreallocationSize(64 << 10)
	// RocksDB's default depends on how it was compiled. A store's log is bounded to 8 MiB.
	db.SetInfoLogLevel(grocksdb.InfoInfoLogLevel)
	db.SetMaxLogFileSize(4 << 20)
	db.SetKeepLogFileNum(2)
	// The statistics of thousands of stores would be dumped into their logs every ten minutes.
	db.SetStatsDumpPeriodSec(0)
	db.SetStatsPersistPeriodSec(0)
	// Opening a store would otherwise read the properties of every file, to plan compactions that can wait.
	db.SetSkipStatsUpdateOnDBOpen(true)
	return db
}

func (o Options) dataFamily() *grocksdb.Options {
	cf := grocksdb.NewDefaultOptions()
	cf.SetWriteBufferSize(o.WriteBufferBytes)
	cf.SetMaxWriteBufferNumber(o.WriteBuffers)
	// The default would be 1 MiB. The memory of a memtable counts in whole arena blocks, and a process has thousands of
	// nearly empty ones.
	cf.SetArenaBlockSize(64 << 10)
	cf.SetNumLevels(o.Levels)
	perLevel := make([]grocksdb.CompressionType, o.Levels)
	for i := range perLevel {
		perLevel[i] = grocksdb.NoCompression
		if i >= 2 {
			perLevel[i] = compressions[o.Compression]
		}
	}
	cf.SetCompressionPerLevel(perLevel)
	cf.SetLevel0FileNumCompactionTrigger(o.L0Compact)
	cf.SetLevel0SlowdownWritesTrigger(o.L0Slowdown)
	cf.SetLevel0StopWritesTrigger(o.L0Stop)
	cf.SetTargetFileSizeBase(o.TargetFileBytes)
	cf.SetMaxBytesForLevelBase(o.LevelBaseBytes)
	cf.SetDisableAutoCompactions(o.NoAutoCompact)

	t := grocksdb.NewDefaultBlockBasedTableOptions()
	t.SetBlockCache(o.Shared.cache)
	t.SetBlockSize(o.BlockBytes)
	// Version 5 has the faster filter; every RocksDB since 6.6 reads it.
	t.SetFormatVersion(5)
	// Index and filter blocks count against the cache, so that memory is bounded, but leave it last, and those of level 0,
	// which every get asks, never.
	t.SetCacheIndexAndFilterBlocks(true)
	t.SetCacheIndexAndFilterBlocksWithHighPriority(true)
	t.SetPinL0FilterAndIndexBlocksInCache(true)
	if o.BloomBits > 0 {
		t.SetFilterPolicy(grocksdb.NewBloomFilter(float64(o.BloomBits)))
		t.SetWholeKeyFiltering(true)
	}
	cf.SetBlockBasedTableFactory(t)
	t.Destroy() // it was copied
	return cf
}

// metaFamily holds a handful of records, one of which every apply overwrites.
func metaFamily() *grocksdb.Options {
	cf := grocksdb.NewDefaultOptions()
	cf.SetArenaBlockSize(8 << 10)
	// The decree's record is overwritten where it stands instead of being added once more by every apply: small applies cost
	// a quarter less, and the memtable does not fill with decrees. The family has no snapshots then; nobody takes one.
	cf.SetInplaceUpdateSupport(true)
	// One lock for those updates, as there is one writer. The default would be 10,000, which are half a megabyte per store.
	cf.SetInplaceUpdateNumLocks(1)
	// It never holds more than a few records. The default would be 64 MiB, and after a full disk RocksDB goes on only when as much
	// is free as the largest write buffer of the store takes.
	cf.SetWriteBufferSize(256 << 10)
	cf.SetNumLevels(defaultLevels)
	cf.SetCompression(grocksdb.NoCompression)
	return cf
}
