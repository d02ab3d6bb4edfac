package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBadBatch means that bytes are not what BatchBuilder builds.
var ErrBadBatch = errors.New("engine: malformed batch")

// Record is one record of a batch. Key and Value are views into the batch; Value is the whole stored value (layout v1,
// see ParseValue) and nil for a deletion.
type Record struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// BatchReader walks the records of a batch that BatchBuilder built; nil is the empty batch. Use:
//
//	r := ReadBatch(b)
//	for r.Next() {
//		use(r.Record())
//	}
//	if err := r.Err(); err != nil { ... }
//
// It allocates only for an error.
type BatchReader struct {
	rest []byte
	left uint32
	rec  Record
	err  error
}

// ReadBatch starts at the first record.
func ReadBatch(batch []byte) BatchReader {
	r := BatchReader{}
	if len(batch) == 0 {
		return r
	}
	if len(batch) < BatchHeaderLen {
		r.err = fmt.Errorf("%w: %d bytes", ErrBadBatch, len(batch))
		return r
	}
	r.left = binary.LittleEndian.Uint32(batch)
	r.rest = batch[BatchHeaderLen:]
	return r
}

// Count is the number of records that the batch claims beyond the current one.
func (r *BatchReader) Count() uint32 { return r.left }

// Next moves to the next record. It returns false at the end and at the first malformed record; Err tells which.
func (r *BatchReader) Next() bool {
	if r.err != nil {
		return false
	}
	if r.left == 0 {
		if len(r.rest) != 0 {
			r.err = fmt.Errorf("%w: %d bytes after the last record", ErrBadBatch, len(r.rest))
		}
		return false
	}
	if len(r.rest) == 0 {
		r.err = fmt.Errorf("%w: %d records missing", ErrBadBatch, r.left)
		return false
	}
	tag := r.rest[0]
	if tag != tagPut && tag != tagDelete {
		r.err = fmt.Errorf("%w: record tag %#x", ErrBadBatch, tag)
		return false
	}
	r.rec = Record{Delete: tag == tagDelete}
	r.rest = r.rest[1:]
	if r.rec.Key = r.field(); r.err != nil {
		return false
	}
	if tag == tagPut {
		if r.rec.Value = r.field(); r.err != nil {
			return false
		}
	}
	r.left--
	return true
}

// field takes a length-prefixed byte string off the front. Lengths are varint32 in RocksDB, which reads no more than
// five bytes of them.
func (r *BatchReader) field() []byte {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || size > binary.MaxVarintLen32 || n > uint64(len(r.rest)-size) {
		r.err = fmt.Errorf("%w: truncated record", ErrBadBatch)
		return nil
	}
	end := size + int(n)
	f := r.rest[size:end:end]
	r.rest = r.rest[end:]
	return f
}

// Record is the record that Next moved to.
func (r *BatchReader) Record() Record { return r.rec }

// Err tells why Next returned false: nil at the regular end.
func (r *BatchReader) Err() error { return r.err }

// CheckBatch tells whether batch is well formed and returns its number of records. Errors match ErrBadBatch.
func CheckBatch(batch []byte) (uint32, error) {
	r := ReadBatch(batch)
	n := r.Count()
	for r.Next() {
	}
	return n, r.Err()
}

// ReadRecords starts in the middle of a batch: at the record that begins at byte offset, with n records left. An offset of 0
// means the first record.
func ReadRecords(batch []byte, offset int, n uint32) BatchReader {
	if len(batch) == 0 {
		return BatchReader{}
	}
	return BatchReader{rest: batch[max(offset, BatchHeaderLen):], left: n}
}
