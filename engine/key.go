package engine

import (
	"encoding/binary"

	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// MaxHashKeyLen is the longest hash key: 65535 itself is not legal (spec rrdb 3).
const MaxHashKeyLen = 65534

// keyPrefixLen is the length of the u16 that tells where a raw key's hash key ends.
const keyPrefixLen = 2

// AppendKey appends the raw key of a record: u16 length of the hash key (big endian), hash key, sort key. Records are
// therefore ordered by hash key length, hash key, sort key. The caller has checked len(hashKey) <= MaxHashKeyLen.
func AppendKey(dst, hashKey, sortKey []byte) []byte {
	invariant.Assertf(len(hashKey) <= MaxHashKeyLen, "hash key is too long")
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(hashKey)))
	dst = append(dst, hashKey...)
	return append(dst, sortKey...)
}

// SplitKey takes a raw key apart; both parts are views. ok is false when the bytes are no raw key: shorter than their
// length prefix says, or shorter than the prefix itself (an empty write of Apache Pegasus is stored under the empty key).
func SplitKey(raw []byte) (hashKey, sortKey []byte, ok bool) {
	if len(raw) < keyPrefixLen {
		return nil, nil, false
	}
	end := keyPrefixLen + int(binary.BigEndian.Uint16(raw))
	if len(raw) < end {
		return nil, nil, false
	}
	return raw[keyPrefixLen:end:end], raw[end:], true
}

// AppendNext appends the smallest byte string that is greater than every string beginning with prefix: the exclusive
// upper bound of a prefix. Nothing is appended when there is none (an empty prefix, or 0xff bytes only): unbounded.
func AppendNext(dst, prefix []byte) []byte {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return dst
	}
	dst = append(dst, prefix[:n]...)
	dst[len(dst)-1]++
	return dst
}

// AppendNextHashKey appends the exclusive upper bound of all records of a hash key. It always exists, because a legal
// length prefix is never ff ff.
func AppendNextHashKey(dst, hashKey []byte) []byte {
	start := len(dst)
	dst = AppendKey(dst, hashKey, nil)
	end := len(dst)
	for dst[end-1] == 0xff {
		end--
	}
	invariant.Assertf(end > start, "hash key without upper bound")
	dst[end-1]++
	return dst[:end]
}

// KeyHash is the partition hash of a raw key. ok is false when the bytes are no raw key.
func KeyHash(raw []byte) (hash uint64, ok bool) {
	if _, _, ok := SplitKey(raw); !ok {
		return 0, false
	}
	return proto.RawKeyHash(raw), true
}
