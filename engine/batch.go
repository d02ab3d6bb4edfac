package engine

import "encoding/binary"

// Record tags of RocksDB's write-batch representation (db/dbformat.h of RocksDB: kTypeDeletion, kTypeValue). Only these two
// appear in a mutation; the store adds the decree's own record when it applies.
const (
	tagDelete byte = 0x0
	tagPut    byte = 0x1
)

// MaxBatchLen bounds the batches of one Apply together: larger ones are refused. A mutation is at most about 1 MiB of
// user data, so this leaves room for a turn's worth of them and keeps offsets within 32 bits.
const MaxBatchLen = 256 << 20

// BatchBuilder builds the records of one mutation in RocksDB's write-batch representation without its 12-byte header: a
// little-endian u32 count, then the records. The same bytes are log record, prepare payload and what Store.Apply takes.
// The zero value is ready to use.
type BatchBuilder struct {
	buf []byte
}

// BatchHeaderLen is the length of the count before the records.
const BatchHeaderLen = 4

// Reset empties the builder and keeps its memory.
func (b *BatchBuilder) Reset() { b.buf = b.buf[:0] }

// Count is the number of records.
func (b *BatchBuilder) Count() uint32 {
	if len(b.buf) == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(b.buf)
}

// Len is the number of bytes built so far, the count included; 0 for an empty builder.
func (b *BatchBuilder) Len() int { return len(b.buf) }

// Bytes returns the batch, valid until the next call of a method. An empty builder gives nil: an empty mutation.
func (b *BatchBuilder) Bytes() []byte {
	if len(b.buf) == 0 {
		return nil
	}
	return b.buf
}

// Truncate drops everything built after a mark taken with Len and Count together.
func (b *BatchBuilder) Truncate(length int, count uint32) {
	b.buf = b.buf[:length]
	if length > 0 {
		binary.LittleEndian.PutUint32(b.buf, count)
	}
}

func (b *BatchBuilder) begin(tag byte, key []byte) {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, 0, 0, 0, 0)
	}
	binary.LittleEndian.PutUint32(b.buf, binary.LittleEndian.Uint32(b.buf)+1)
	b.buf = append(b.buf, tag)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(key)))
	b.buf = append(b.buf, key...)
}

// Put appends a record that stores user data under a raw key in value layout v1.
func (b *BatchBuilder) Put(key []byte, expire uint32, timetag uint64, user []byte) {
	b.begin(tagPut, key)
	b.buf = binary.AppendUvarint(b.buf, uint64(ValueHeaderLen+len(user)))
	b.buf = AppendValueHeader(b.buf, expire, timetag)
	b.buf = append(b.buf, user...)
}

// Delete appends a record that removes a raw key.
func (b *BatchBuilder) Delete(key []byte) { b.begin(tagDelete, key) }
