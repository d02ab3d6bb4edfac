package mutlog

import (
	"errors"
	"fmt"

	"pegasus/netcore/proto"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrBusy: the pending buffer is full; ask again after the next Complete. Clients get ERR_BUSY.
	ErrBusy = errors.New("log: too much is waiting to be written")
	// ErrFull: the log is at its total size, or no new segment can be made. The partition named by OldestHolder should be
	// flushed. Clients get ERR_DISK_INSUFFICIENT.
	ErrFull = errors.New("log: no room")
	// ErrNoSpace: a write met a full disk and waits for space; see Complete.
	ErrNoSpace = errors.New("log: the disk is full")
	// ErrTooLarge: the record is above Options.MaxRecord, or the partition above Options.MaxPartitions.
	ErrTooLarge = errors.New("log: limit exceeded")
	// ErrQuarantined: records of this partition were lost. Nothing is accepted for it before Forget.
	ErrQuarantined = errors.New("log: partition is quarantined")
	// ErrNotInLog: the decrees asked for are not, or no longer, in the log. The reader needs a full resync.
	ErrNotInLog = errors.New("log: decree is not in the log")
	// ErrDamaged: a Reader met bytes that are not the record it expected.
	ErrDamaged = errors.New("log: damaged record")
	// ErrNewerFormat: the log was written by a newer program. Open changes nothing.
	ErrNewerFormat = errors.New("log: newer format")
)

// SyncMode is the strength of "durable".
type SyncMode uint8

const (
	// SyncGroup: durable means fdatasync'ed; one fdatasync covers everything that queued while the last one ran.
	SyncGroup SyncMode = iota
	// SyncOS: durable means in the page cache of the operating system. It survives the end of the process and nothing more:
	// a power loss takes what was acknowledged since the last segment change, and can spoil a partition whose ballot changed
	// since then.
	SyncOS
)

// String returns the word used in configuration files.
func (m SyncMode) String() string {
	if m == SyncOS {
		return "os"
	}
	return "group"
}

// ParseSyncMode is the inverse of SyncMode.String.
func ParseSyncMode(s string) (SyncMode, error) {
	switch s {
	case "group":
		return SyncGroup, nil
	case "os":
		return SyncOS, nil
	}
	return 0, fmt.Errorf("sync mode %q: want group or os", s)
}

// Options of a log. The zero value means the defaults.
type Options struct {
	Sync SyncMode
	// SegmentSize in bytes. At least MaxPending plus the largest table. Default 64 MiB, at most 1 GiB.
	SegmentSize int64
	// TotalSize bounds all files of the log in bytes: segments in use, spare and recycled ones. Default 8 GiB.
	TotalSize int64
	// MaxRecord is the largest payload in bytes. Default 16 MiB.
	MaxRecord int
	// MaxPending bounds the bytes appended and not yet handed to a write. Default 32 MiB. The memory of a log is twice this
	// at most, and settles at what the load needs.
	MaxPending int
	// MaxPartitions bounds the partitions in one log. Default 65536.
	MaxPartitions int
	// IndexStride is the distance in bytes between index marks of a partition inside a segment: a read scans at most this
	// much, plus a segment's worth of neighbours, before its first record. Default 1 MiB.
	IndexStride int64
	// Recycle is how many freed segments are kept for reuse instead of being removed. Default 2; negative means none.
	Recycle int
	// Flushed, used while opening, tells up to which decree a partition's store is durable without the log: records up to it
	// are not replayed, and their damage does no harm. Records must then continue right after it. Nil, or a negative
	// decree, means replay all and check nothing against the store.
	Flushed func(proto.GPID) proto.Decree
}

func (o Options) withDefaults() Options {
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 20
	}
	if o.TotalSize == 0 {
		o.TotalSize = 8 << 30
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = 16 << 20
	}
	if o.MaxPending == 0 {
		o.MaxPending = 32 << 20
	}
	if o.MaxPartitions == 0 {
		o.MaxPartitions = 1 << 16
	}
	if o.IndexStride == 0 {
		o.IndexStride = 1 << 20
	}
	if o.Recycle == 0 {
		o.Recycle = 2
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Sync > SyncOS {
		bad("unknown sync mode %d", o.Sync)
	}
	if o.MaxRecord < 0 || o.MaxPartitions < 1 || o.IndexStride < 1 {
		bad("max record %d, max partitions %d, index stride %d: want positive numbers", o.MaxRecord, o.MaxPartitions, o.IndexStride)
	}
	if o.MaxPending < recordSize(o.MaxRecord) {
		bad("max pending %d cannot hold a record of max record %d", o.MaxPending, o.MaxRecord)
	}
	// Forget is never refused, so pending may exceed its bound by one forget record per partition.
	need := segmentHeaderLen + int64(recordSize(tableLen(o.MaxPartitions))) + int64(o.MaxPending) + int64(o.MaxPartitions)*recordHeaderLen
	if o.SegmentSize < need || o.SegmentSize > 1<<30 {
		bad("segment size %d: want %d to %d for these limits", o.SegmentSize, need, int64(1<<30))
	}
	if o.TotalSize < 3*o.SegmentSize {
		bad("total size %d: want at least three segments of %d", o.TotalSize, o.SegmentSize)
	}
	return errors.Join(errs...)
}
