package engine

import "encoding/binary"

// Rows is an arena of records that one slice of a scan returned. After the first uses it allocates nothing.
// The layout in the arena is, per row: u32 key length, u32 value length (native byte order of the shim: little endian), key,
// value; the C++ shim writes it in one go.
type Rows struct {
	buf []byte
	n   int
}

const rowHeader = 8

// Reset empties rows and keeps the memory. Views returned before become invalid.
func (r *Rows) Reset() { r.buf, r.n = r.buf[:0], 0 }

// Len is the number of rows.
func (r *Rows) Len() int { return r.n }

// Append copies one row. For implementations of Iterator.
func (r *Rows) Append(key, value []byte) {
	r.buf = binary.LittleEndian.AppendUint32(r.buf, uint32(len(key)))
	r.buf = binary.LittleEndian.AppendUint32(r.buf, uint32(len(value)))
	r.buf = append(r.buf, key...)
	r.buf = append(r.buf, value...)
	r.n++
}

// Each calls f for every row in order until f returns false. Key and value are views valid until the next Reset.
func (r *Rows) Each(f func(key, value []byte) bool) {
	b := r.buf
	for range r.n {
		kl := binary.LittleEndian.Uint32(b)
		vl := binary.LittleEndian.Uint32(b[4:])
		b = b[rowHeader:]
		if !f(b[:kl:kl], b[kl:kl+vl:kl+vl]) {
			return
		}
		b = b[kl+vl:]
	}
}

// Bytes is the size of the keys and values together.
func (r *Rows) Bytes() int { return len(r.buf) - r.n*rowHeader }

// Arena returns the memory of rows for an implementation of Iterator that writes rows itself: the bytes in use; the rest of
// its capacity is free.
func (r *Rows) Arena() []byte { return r.buf }

// SetArena hands the memory back holding n rows in the layout of Rows. For implementations of Iterator.
func (r *Rows) SetArena(buf []byte, n int) { r.buf, r.n = buf, n }
