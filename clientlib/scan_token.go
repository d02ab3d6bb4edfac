package clientlib

import (
	"bytes"
	"context"
	"encoding/binary"

	"pegasus/netcore/proto"
)

// A token is: version 1, kind, and of a hash key: whether the key is included, key, end included, end; of partitions: app id
// and partition count (u32 each), number of partitions that remain (u32) and these, whether the key is included, key behind
// which the first of them goes on; of an ordered scan: whether the key is included, key. Keys are raw, with a length of u32.
const tokenVersion = 1

func appendBytes(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// Token implements Scanner.
func (s *scanner) Token() []byte {
	b := []byte{tokenVersion, s.kind}
	if s.kind == scanHashKey {
		at, included := s.first, s.last == nil && s.startIncluded
		if s.last != nil {
			at = s.last
		}
		b = appendBytes(proto.AppendBool(b, included), at)
		return appendBytes(proto.AppendBool(b, s.cur.ends), s.cur.stop)
	}
	rest, at, included := s.rest, firstKey, true
	if s.cur != nil {
		rest = append([]int32{s.part}, rest...)
		if at, included = s.first, s.startIncluded; s.last != nil {
			at, included = s.last, false
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(s.app))
	b = binary.BigEndian.AppendUint32(b, uint32(s.count))
	b = binary.BigEndian.AppendUint32(b, uint32(len(rest)))
	for _, p := range rest {
		b = binary.BigEndian.AppendUint32(b, uint32(p))
	}
	return appendBytes(proto.AppendBool(b, included), at)
}

// Token implements Scanner.
func (s *orderedScanner) Token() []byte {
	return appendBytes(proto.AppendBool([]byte{tokenVersion, scanOrdered}, s.included), s.last)
}

// ResumeScanner returns a scanner that goes on where another of this table was when it gave the token, with the options of
// that one. A token of an unordered scanner is good as long as the table has as many partitions as it had, that of an
// ordered one, or of one hash key, for ever.
func (t *Table) ResumeScanner(_ context.Context, token []byte, o *ScannerOptions) (Scanner, error) {
	r := proto.NewReader(bytes.Clone(token)) // the scanner keeps the keys in it
	version, kind := r.Byte(), r.Byte()
	o = o.orDefaults()
	var s Scanner
	bad := version != tokenVersion
	switch kind {
	case scanHashKey:
		included, start := r.Bool(), r.Blob()
		ends, stop := r.Bool(), r.Blob()
		hashKey, _, err := SplitKey(start)
		bad = bad || err != nil || len(hashKey) == 0 || r.Err() != nil
		if !bad {
			own := &scanner{t: t, opt: o, kind: scanHashKey, first: start, startIncluded: included}
			own.cur = &partScan{t: t, hash: proto.KeyHash(hashKey), opt: o, start: start, begins: included, stop: stop, ends: ends, size: int32(o.BatchSize)}
			s = own
		}
	case scanOrdered:
		included, start := r.Bool(), r.Blob()
		if bad = bad || r.Err() != nil || len(start) < 2; !bad {
			s = t.orderedFrom(o, start, included)
		}
	case scanUnordered:
		own := &scanner{t: t, opt: o, kind: scanUnordered, app: r.I32(), count: r.I32()}
		for n := r.I32(); n > 0 && r.Err() == nil; n-- {
			part := r.I32()
			bad = bad || part < 0 || part >= own.count
			own.rest = append(own.rest, part)
		}
		included, start := r.Bool(), r.Blob()
		bad = bad || r.Err() != nil || len(start) < 2
		if m := t.routing.Load().m; !bad && (own.app != m.App || int(own.count) != len(m.Entries)) {
			return nil, &OpError{Op: "SCAN", Table: t.name, Partition: -1, Class: ErrRefused, Cause: ErrPartitionsChanged}
		}
		if !bad && len(own.rest) > 0 {
			own.open(own.rest[0], start, included)
			own.rest = own.rest[1:]
		}
		s = own
	default:
		bad = true
	}
	if bad {
		return nil, t.refused(proto.CodeGetScanner, ErrToken)
	}
	return s, nil
}
