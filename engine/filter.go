package engine

import "encoding/binary"

// FilterVerdict is what a compaction does with a record.
type FilterVerdict uint8

const (
	Keep       FilterVerdict = iota
	Drop                     // expired, left behind by a split, or deleted by a rule
	SetExpires               // keep, with the expiry that comes with the verdict
)

// Filter is the rule by which a compaction treats one record of a store, at now seconds since EpochOffset. It is the
// reference: a store that applies the rule in another language is tested against it. Records that are no records of ours
// (key without length prefix, value shorter than its header) are kept, since a compaction is no place to lose data.
func Filter(o TableOptions, v DataVersion, now uint32, key, value []byte) (verdict FilterVerdict, expire uint32) {
	if len(key) < keyPrefixLen || len(value) < v.HeaderLen() {
		return Keep, 0
	}
	at := 0
	if v == DataV2 {
		at = 1
	}
	expire = binary.BigEndian.Uint32(value[at:])
	verdict = Keep
	if expire == 0 && o.DefaultTTL != 0 {
		verdict, expire = SetExpires, now+o.DefaultTTL
	}
	if o.Rules != nil {
		left, changed, drop := o.Rules.apply(now, expire, key)
		if drop {
			return Drop, 0
		}
		if expire = left; changed {
			verdict = SetExpires
		}
	}
	if Expired(expire, now) || o.stale(key) {
		return Drop, 0
	}
	return verdict, expire
}

// stale tells whether a split gave the key to another partition.
func (o TableOptions) stale(key []byte) bool {
	if o.PartitionVersion < 0 || o.PartitionIndex > o.PartitionVersion {
		return false
	}
	hash, ok := KeyHash(key)
	return ok && hash&uint64(o.PartitionVersion) != uint64(o.PartitionIndex)
}

// SetExpire replaces the expiry in a stored value of at least the header's length.
func SetExpire(v DataVersion, value []byte, expire uint32) {
	if v == DataV2 {
		value = value[1:]
	}
	binary.BigEndian.PutUint32(value, expire)
}
