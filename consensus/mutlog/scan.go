package mutlog

import (
	"encoding/binary"

	"pegasus/netcore/proto"
)

// item is what a scan finds: an intact record, or damaged bytes.
type item struct {
	off, end int64
	header   header // of an intact record
	payload  []byte // of an intact record, a view into the scanned bytes
	damaged  bool
	// known says that a damage is exactly one record, of gpid and decree. A forget record has decree 0, a table no gpid.
	known  bool
	gpid   proto.GPID
	decree proto.Decree
}

// scanSegment visits the records and damages in the bytes of a segment in order. It ends where no valid record follows. An
// error is one of visit, or ErrNewerFormat.
func scanSegment(b []byte, seq uint64, visit func(*item) error) error {
	if err := checkSegmentHeader(b); err != nil {
		return err
	}
	off, before := segmentHeaderLen, 0
	for {
		it := item{off: int64(off)}
		h, ok := parseHeader(b[min(off, len(b)):], seq)
		if !ok {
			next, h := findHeader(b, off, before, seq)
			if next < 0 {
				return nil
			}
			it.end, it.damaged = int64(next), true
			if int(h.prevOffset) == off {
				it.known, it.gpid, it.decree = true, h.prevGPID, h.prevDecree
			}
		} else {
			if err := h.check(); err != nil {
				return err
			}
			// The length is covered by the header's checksum, so a record that sticks out was cut off with the file.
			it.end = min(int64(off+h.size()), int64(len(b)))
			if from := off + recordHeaderLen; from+h.length <= len(b) {
				it.payload = b[from : from+h.length]
			}
			if it.payload == nil || !h.payloadOK(it.payload) {
				it.damaged, it.known, it.gpid, it.decree = true, true, h.rec.GPID, h.rec.Decree
			}
			it.header = h
			before = off
		}
		if err := visit(&it); err != nil {
			return err
		}
		off = int(it.end)
	}
}

// findHeader returns the first valid record header after off, or -1. before is where the last intact header was; a header that
// claims a predecessor outside [before, its own place) is a piece of some payload that looks like a record.
func findHeader(b []byte, off, before int, seq uint64) (int, header) {
	le := binary.LittleEndian
	for at := off + recordAlign; at+recordHeaderLen <= len(b); at += recordAlign {
		if le.Uint16(b[at+8:]) != recordMagic {
			continue
		}
		h, ok := parseHeader(b[at:], seq)
		if ok && int(h.prevOffset) >= before && int(h.prevOffset) < at {
			return at, h
		}
	}
	return -1, header{}
}
