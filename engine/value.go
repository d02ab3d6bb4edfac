package engine

import "encoding/binary"

// EpochOffset is 2016-01-01 00:00 UTC in unix seconds; expiry times are stored as seconds since then (spec rrdb 5).
const EpochOffset = 1451606400

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
