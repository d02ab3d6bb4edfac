package engine

import (
	"encoding/binary"
	"fmt"
)

// EpochOffset is 2016-01-01 00:00 UTC in unix seconds; expiry times are stored as seconds since then (spec rrdb 5).
const EpochOffset = 1451606400

// DataVersion is the value layout of a whole store, kept in its meta column family as pegasus_data_version. All values
// of a store have the same one. Apache Pegasus also has code that takes a set top bit of a value's first byte as a
// version mark, but its servers do not use it, and neither may we: in v1 that bit belongs to expire_ts, and an expiry
// of 2^31 seconds and more is legal (recorded against it).
type DataVersion uint32

// The value layouts (spec rrdb 5), all fields big endian.
const (
	DataV0 DataVersion = 0 // u32 expire_ts, user data
	DataV1 DataVersion = 1 // u32 expire_ts, u64 timetag, user data: the only one that is written
	DataV2 DataVersion = 2 // u8 0x82, u32 expire_ts, u64 timetag, user data
)

// v2Mark is the first byte of every value of layout v2.
const v2Mark = 0x82

// ErrBadValue means that a stored value is shorter than its header or has an unknown layout. It matches ErrCorruption.
var ErrBadValue = fmt.Errorf("%w: malformed value", ErrCorruption)

// Known tells whether this program can read values of layout v.
func (v DataVersion) Known() bool { return v <= DataV2 }

// HeaderLen is the number of bytes before the user data, or 0 for an unknown layout.
func (v DataVersion) HeaderLen() int {
	switch v {
	case DataV0:
		return 4
	case DataV1:
		return ValueHeaderLen
	case DataV2:
		return 1 + ValueHeaderLen
	}
	return 0
}

// ParseValue takes a stored value apart; User is a view. An error matches ErrBadValue.
func ParseValue(version DataVersion, raw []byte) (Value, error) {
	if version == DataV1 && len(raw) >= ValueHeaderLen {
		return Value{
			Expire:  binary.BigEndian.Uint32(raw),
			Timetag: binary.BigEndian.Uint64(raw[4:]),
			User:    raw[ValueHeaderLen:],
		}, nil
	}
	header := version.HeaderLen()
	if header == 0 || len(raw) < header || version == DataV2 && raw[0] != v2Mark {
		return Value{}, fmt.Errorf("%w: layout %d, %d bytes", ErrBadValue, version, len(raw))
	}
	if version == DataV2 {
		return ParseValue(DataV1, raw[1:])
	}
	return Value{Expire: binary.BigEndian.Uint32(raw), User: raw[header:]}, nil
}

// ValueHeaderLen is the length of the header of value layout v1, the one that is written: u32 expire_ts, u64 timetag.
const ValueHeaderLen = 12

// Value is a stored value taken apart. User is a view into the raw value.
type Value struct {
	Expire  uint32 // seconds since EpochOffset; 0 = never
	Timetag uint64 // 0 in layout v0, which has none
	User    []byte
}

// Expired tells whether a record with this expiry is gone at now (seconds since EpochOffset).
func Expired(expire, now uint32) bool { return expire > 0 && expire <= now }

// AppendValueHeader appends the header of layout v1.
func AppendValueHeader(dst []byte, expire uint32, timetag uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, expire)
	return binary.BigEndian.AppendUint64(dst, timetag)
}

// Timetag packs a write's timestamp (microseconds, 56 bits), cluster id (7 bits) and deletion mark.
func Timetag(timestampUS int64, clusterID uint8, deleted bool) uint64 {
	t := uint64(timestampUS)<<8 | uint64(clusterID&0x7f)<<1
	if deleted {
		t |= 1
	}
	return t
}

// TimetagTimestamp is the write's timestamp in microseconds.
func TimetagTimestamp(t uint64) int64 { return int64(t >> 8) }

// TimetagCluster is the id of the cluster that the write came from; 0 when none was configured.
func TimetagCluster(t uint64) uint8 { return uint8(t>>1) & 0x7f }

// TimetagDeleted tells whether the write was a deletion.
func TimetagDeleted(t uint64) bool { return t&1 != 0 }
