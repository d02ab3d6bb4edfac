package mutlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"pegasus/netcore/proto"
)

// Record is one mutation in the log.
type Record struct {
	GPID      proto.GPID
	Ballot    proto.Ballot
	Decree    proto.Decree
	Committed proto.Decree // the proposer's commit point
	Timestamp int64        // microseconds since 1970
	Payload   []byte
}

// Version is the format version that is written. Version 1 is the first.
const Version = 1

// recordType says what a record is.
type recordType uint8

const (
	typeMutation recordType = 1
	typeTable    recordType = 2 // the state of all partitions, first record of a segment
	typeForget   recordType = 3 // everything of the partition before this record is void
)

// Layout of a record, little endian, at a multiple of 8:
//
//	 0 u32 crc32c of bytes 4..88        40 i64 ballot
//	 4 u32 crc32c of the payload        48 i64 decree
//	 8 u16 magic                        56 i64 committed
//	10 u8  version                      64 i64 timestamp
//	11 u8  type                         72 i32 app, i32 partition of the record before
//	12 u32 length of the payload        80 i64 decree of the record before
//	16 u64 segment                      88 payload, then zeros up to a multiple of 8
//	24 u32 synced: this segment was durable up to this offset when the record was written
//	28 u32 offset of the record before, 0 for the first of a segment
//	32 i32 app, i32 partition
const (
	recordHeaderLen = 88
	recordMagic     = 0x6C50
	recordAlign     = 8
)

// Layout of the segment header, little endian: 8 bytes magic, u32 version, u32 reserved (0), u64 segment, u32 crc32c of the
// bytes before, zeros up to segmentHeaderLen.
const (
	segmentMagic     = "PegasLog"
	segmentHeaderLen = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize is the space that a record takes in a segment.
func recordSize(payload int) int {
	return (recordHeaderLen + payload + recordAlign - 1) &^ (recordAlign - 1)
}

// header is a decoded record header.
type header struct {
	version    uint8
	typ        recordType
	length     int
	synced     uint32
	prevOffset uint32
	rec        Record // without payload
	prevGPID   proto.GPID
	prevDecree proto.Decree
	payloadCRC uint32
}

// size is the space of the whole record.
func (h *header) size() int { return recordSize(h.length) }

// appendRecord encodes a record up to the fields that depend on its place, which stamp fills in.
func appendRecord(dst []byte, typ recordType, r *Record) []byte {
	le := binary.LittleEndian
	var h [recordHeaderLen]byte
	le.PutUint16(h[8:], recordMagic)
	h[10] = Version
	h[11] = byte(typ)
	le.PutUint32(h[12:], uint32(len(r.Payload)))
	le.PutUint32(h[32:], uint32(r.GPID.App))
	le.PutUint32(h[36:], uint32(r.GPID.Part))
	le.PutUint64(h[40:], uint64(r.Ballot))
	le.PutUint64(h[48:], uint64(r.Decree))
	le.PutUint64(h[56:], uint64(r.Committed))
	le.PutUint64(h[64:], uint64(r.Timestamp))
	dst = append(dst, h[:]...)
	dst = append(dst, r.Payload...)
	var zeros [recordAlign]byte
	return append(dst, zeros[:recordSize(len(r.Payload))-recordHeaderLen-len(r.Payload)]...)
}

// place is where a record goes and what it says about the bytes before it.
type place struct {
	seq        uint64
	synced     uint32
	prevOffset uint32
	prevGPID   proto.GPID
	prevDecree proto.Decree
}

// stamp completes the encoded record at the start of b and returns its size.
func stamp(b []byte, at place) int {
	le := binary.LittleEndian
	length := int(le.Uint32(b[12:]))
	le.PutUint32(b[4:], crc32.Checksum(b[recordHeaderLen:recordHeaderLen+length], castagnoli))
	le.PutUint64(b[16:], at.seq)
	le.PutUint32(b[24:], at.synced)
	le.PutUint32(b[28:], at.prevOffset)
	le.PutUint32(b[72:], uint32(at.prevGPID.App))
	le.PutUint32(b[76:], uint32(at.prevGPID.Part))
	le.PutUint64(b[80:], uint64(at.prevDecree))
	le.PutUint32(b[0:], crc32.Checksum(b[4:recordHeaderLen], castagnoli))
	return recordSize(length)
}

// parseHeader decodes the record header at the start of b; ok is false for bytes that are no header of this segment.
func parseHeader(b []byte, seq uint64) (h header, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHeaderLen || le.Uint16(b[8:]) != recordMagic || le.Uint64(b[16:]) != seq {
		return h, false
	}
	if le.Uint32(b[0:]) != crc32.Checksum(b[4:recordHeaderLen], castagnoli) {
		return h, false
	}
	h = header{
		version: b[10], typ: recordType(b[11]), length: int(le.Uint32(b[12:])),
		synced: le.Uint32(b[24:]), prevOffset: le.Uint32(b[28:]),
		rec: Record{
			GPID:   proto.GPID{App: int32(le.Uint32(b[32:])), Part: int32(le.Uint32(b[36:]))},
			Ballot: proto.Ballot(le.Uint64(b[40:])), Decree: proto.Decree(le.Uint64(b[48:])),
			Committed: proto.Decree(le.Uint64(b[56:])), Timestamp: int64(le.Uint64(b[64:])),
		},
		prevGPID:   proto.GPID{App: int32(le.Uint32(b[72:])), Part: int32(le.Uint32(b[76:]))},
		prevDecree: proto.Decree(le.Uint64(b[80:])),
		payloadCRC: le.Uint32(b[4:]),
	}
	return h, true
}

func (h *header) payloadOK(payload []byte) bool {
	return crc32.Checksum(payload, castagnoli) == h.payloadCRC
}

// check refuses what this program cannot understand although it is intact.
func (h *header) check() error {
	if h.version > Version || h.version == 0 {
		return fmt.Errorf("%w: record version %d, this program reads up to %d", ErrNewerFormat, h.version, Version)
	}
	if h.typ < typeMutation || h.typ > typeForget {
		return fmt.Errorf("%w: record type %d", ErrNewerFormat, h.typ)
	}
	return nil
}

func segmentHeader(seq uint64) []byte {
	b := make([]byte, segmentHeaderLen)
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint32(b[8:], Version)
	le.PutUint64(b[16:], seq)
	le.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
	return b
}

// checkSegmentHeader refuses a segment of a newer version. A header that is damaged, or left from the file's former life,
// says nothing: the records speak for themselves.
func checkSegmentHeader(b []byte) error {
	le := binary.LittleEndian
	if len(b) < segmentHeaderLen || string(b[:8]) != segmentMagic || le.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return nil
	}
	if v := le.Uint32(b[8:]); v > Version {
		return fmt.Errorf("%w: segment version %d, this program reads up to %d", ErrNewerFormat, v, Version)
	}
	return nil
}

// tableEntry is one partition in a table record: its last decree in the log before the table, or spoiledEntry when an earlier
// recovery found records of it lost and nobody has forgotten it since.
type tableEntry struct {
	gpid proto.GPID
	last proto.Decree
}

const (
	tableEntryLen              = 16
	spoiledEntry  proto.Decree = -1
)

// tableLen is the payload length of a table: u64 floor, then the entries.
func tableLen(entries int) int { return 8 + entries*tableEntryLen }

// appendTable encodes the payload of a table record. Segments below floor hold nothing of value any more.
func appendTable(dst []byte, floor uint64, entries []tableEntry) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, floor)
	for _, e := range entries {
		dst = le.AppendUint32(dst, uint32(e.gpid.App))
		dst = le.AppendUint32(dst, uint32(e.gpid.Part))
		dst = le.AppendUint64(dst, uint64(e.last))
	}
	return dst
}

func parseTable(p []byte) (floor uint64, entries []tableEntry, err error) {
	if len(p) < 8 || (len(p)-8)%tableEntryLen != 0 {
		return 0, nil, fmt.Errorf("%w: table of %d bytes", ErrNewerFormat, len(p))
	}
	le := binary.LittleEndian
	floor = le.Uint64(p)
	for p = p[8:]; len(p) > 0; p = p[tableEntryLen:] {
		entries = append(entries, tableEntry{
			gpid: proto.GPID{App: int32(le.Uint32(p)), Part: int32(le.Uint32(p[4:]))},
			last: proto.Decree(le.Uint64(p[8:])),
		})
	}
	return floor, entries, nil
}
