package rrdb

import (
	"errors"
	"time"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Env is what an operation must know of its partition and of the moment. Reads that outlive the call copy it.
type Env struct {
	GPID        proto.GPID
	Server      []byte // host:port as it stands in replies; never changed once set
	NowEpoch    uint32 // seconds since engine.EpochOffset
	TimestampUS int64  // of the mutation that a write goes into, microseconds since 1970
	ClusterID   uint8  // own id for timetags, 0..127
	DefaultTTL  uint32 // seconds, for writes without an expiry; 0 = none
	// PartitionVersion is partition_count-1 when the split check is on: scans then leave out what belongs to another
	// partition. -1 when it is off.
	PartitionVersion int32
	DataVersion      engine.DataVersion // of the store, for reading; writes are always layout v1
	Limits           Limits
	// AtomicIdempotent is the table's mode in which an atomic operation that fails is answered with decree -1.
	AtomicIdempotent bool
}

// Limits bound one call of a range read. What lies behind a limit is fetched by the client's next call.
type Limits struct {
	MultiGetMaxIterCount int // records looked at, and returned, by one multi_get; > 0
	MultiGetMaxIterBytes int // bytes of sort keys and values returned by one multi_get; 0 = no limit
	ScanMaxIter          int // records looked at, and returned, by one call of a scan; > 0
	// MaxReplyBytes bounds keys and values in one reply of a batch_get, a multi_get by sort keys or a scan, which the
	// limits above do not: past it a scan goes on with the next call, the others say Incomplete. 0 = no limit.
	MaxReplyBytes int
	// IterationTime is how long a range read may take before the caller ends it with TimeUp; 0 = no limit.
	IterationTime time.Duration
}

// DefaultLimits are those of Apache Pegasus.
var DefaultLimits = Limits{
	MultiGetMaxIterCount: 3000,
	MultiGetMaxIterBytes: 30 << 20,
	ScanMaxIter:          1000,
	MaxReplyBytes:        256 << 20,
	IterationTime:        30 * time.Second,
}

// ValidKey tells whether raw is a raw key that requests may name: at least two bytes, a hash key of at most
// engine.MaxHashKeyLen bytes, and a length prefix that does not exceed the key.
func ValidKey(raw []byte) bool {
	hash, _, ok := engine.SplitKey(raw)
	return ok && validHashKey(hash)
}

func validHashKey(hash []byte) bool { return len(hash) <= engine.MaxHashKeyLen }

// live parses a stored value. exist is false when the record is absent or expired.
func (env *Env) live(outcome engine.Outcome, raw []byte) (v engine.Value, exist bool, err error) {
	if outcome != engine.Found {
		return engine.Value{}, false, nil
	}
	v, err = engine.ParseValue(env.DataVersion, raw)
	return v, err == nil && !engine.Expired(v.Expire, env.NowEpoch), err
}

// storageStatus is what a client is told of an error of the store.
func storageStatus(err error) proto.StorageStatus {
	if errors.Is(err, engine.ErrCorruption) {
		return proto.StorageCorruption
	}
	return proto.StorageIOError
}
