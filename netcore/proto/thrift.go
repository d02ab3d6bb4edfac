package proto

import (
	"encoding/binary"
	"errors"
)

// Thrift wire types of TBinaryProtocol (spec: Apache Thrift binary protocol; Pegasus uses the strict form and big endian).
const (
	TStop   byte = 0
	TBool   byte = 2
	TByte   byte = 3
	TDouble byte = 4
	TI16    byte = 6
	TI32    byte = 8
	TU64    byte = 9 // used by the native client for u64 arguments
	TI64    byte = 10
	TString byte = 11
	TStruct byte = 12
	TMap    byte = 13
	TSet    byte = 14
	TList   byte = 15
)

// ErrTruncated and ErrMalformed are the two ways in which message bytes can be wrong. Neither is ever a reason to stop
// the process; the caller answers ERR_INVALID_DATA or closes the one connection.
var (
	ErrTruncated = errors.New("proto: message ends early")
	ErrMalformed = errors.New("proto: malformed message")
)

// maxSkipDepth bounds recursion when unknown fields are skipped.
const maxSkipDepth = 32

// Reader decodes TBinaryProtocol values from a byte slice. The first error sticks; later reads return zero values, so
// a decoder checks Err once at its end. Slices that it returns are views into the input.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader returns a Reader over b. The Reader never writes to b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err returns the first error met, or nil.
func (r *Reader) Err() error { return r.err }

// Offset returns how many bytes have been consumed.
func (r *Reader) Offset() int { return r.off }

// Rest returns the bytes not yet consumed, as a view.
func (r *Reader) Rest() []byte { return r.b[r.off:] }

// Fail makes err stick unless an earlier error already did.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
		r.off = len(r.b)
	}
}

func (r *Reader) take(n int) []byte {
	if n < 0 {
		r.Fail(ErrMalformed)
		return nil
	}
	if len(r.b)-r.off < n {
		r.Fail(ErrTruncated)
		return nil
	}
	v := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return v
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.off < len(r.b) {
		v := r.b[r.off]
		r.off++
		return v
	}
	r.Fail(ErrTruncated)
	return 0
}

// Bool reads a TBool value: any non-zero byte is true.
func (r *Reader) Bool() bool { return r.Byte() != 0 }

// I16 reads a big-endian 16-bit integer.
func (r *Reader) I16() int16 {
	if v := r.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

// I32 reads a big-endian 32-bit integer.
func (r *Reader) I32() int32 {
	if v := r.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

// I64 reads a big-endian 64-bit integer.
func (r *Reader) I64() int64 {
	if v := r.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// Blob reads a string, binary or Pegasus blob value (i32 length, bytes) as a view. A negative length is malformed.
func (r *Reader) Blob() []byte { return r.take(int(r.I32())) }

// String reads a string value as a new Go string.
func (r *Reader) String() string { return string(r.Blob()) }

// Field reads a field header. It returns TStop at the end of the struct and after an error.
func (r *Reader) Field() (typ byte, id int16) {
	typ = r.Byte()
	if typ == TStop || r.err != nil {
		return TStop, 0
	}
	return typ, r.I16()
}

// ListHeader reads the header of a list or set and returns its size. minElem is the smallest possible encoding of one
// element in bytes (>= 1); a size that the remaining bytes cannot hold is an error, so a caller may allocate by size.
func (r *Reader) ListHeader(minElem int) (elem byte, size int) {
	elem = r.Byte()
	size = int(r.I32())
	if r.err == nil && (size < 0 || size > (len(r.b)-r.off)/minElem) {
		r.Fail(ErrMalformed)
		return elem, 0
	}
	return elem, size
}

// MapHeader reads the header of a map, with the same guard as ListHeader for one key and value together.
func (r *Reader) MapHeader(minEntry int) (key, val byte, size int) {
	key, val = r.Byte(), r.Byte()
	size = int(r.I32())
	if r.err == nil && (size < 0 || size > (len(r.b)-r.off)/minEntry) {
		r.Fail(ErrMalformed)
		return key, val, 0
	}
	return key, val, size
}

// Skip passes over one value of the given wire type. It knows standard thrift only: the Pegasus primitives (blob, gpid,
// error_code, ...) are announced as structs but are not, and must be read by schema.
func (r *Reader) Skip(typ byte) { r.skip(typ, 0) }

func (r *Reader) skip(typ byte, depth int) {
	if depth > maxSkipDepth {
		r.Fail(ErrMalformed)
		return
	}
	switch typ {
	case TBool, TByte:
		r.take(1)
	case TI16:
		r.take(2)
	case TI32:
		r.take(4)
	case TI64, TU64, TDouble:
		r.take(8)
	case TString:
		r.Blob()
	case TStruct:
		for {
			t, _ := r.Field()
			if t == TStop {
				return
			}
			r.skip(t, depth+1)
		}
	case TMap:
		k, v, n := r.MapHeader(2)
		for i := 0; i < n && r.err == nil; i++ {
			r.skip(k, depth+1)
			r.skip(v, depth+1)
		}
	case TSet, TList:
		e, n := r.ListHeader(1)
		for i := 0; i < n && r.err == nil; i++ {
			r.skip(e, depth+1)
		}
	default:
		r.Fail(ErrMalformed)
	}
}

// AppendI16 appends a big-endian 16-bit integer.
func AppendI16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

// AppendI32 appends a big-endian 32-bit integer.
func AppendI32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendI64 appends a big-endian 64-bit integer.
func AppendI64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBlob appends i32 length and the bytes of v: the encoding of strings, binaries and Pegasus blobs.
func AppendBlob[T ~string | ~[]byte](dst []byte, v T) []byte {
	dst = AppendI32(dst, int32(len(v)))
	return append(dst, v...)
}

// AppendField appends a field header.
func AppendField(dst []byte, typ byte, id int16) []byte {
	return append(dst, typ, byte(uint16(id)>>8), byte(id))
}

// AppendList appends the header of a list or set.
func AppendList(dst []byte, elem byte, size int) []byte {
	return AppendI32(append(dst, elem), int32(size))
}
