package proto

import "slices"

// Codecs of the data messages (spec rrdb 1). They are written by hand because a get or a put must be decoded and answered
// without an allocation; everything rare goes through the schema codec instead.
//
// A decoded message is a set of views into the input. A list stays encoded: decoding checks it once, from end to end, and
// afterwards it is walked in place with the methods of Reader. The same List is what an encoder fills, so a server copies
// rows from the store into the reply without an element struct in between.
//
// Decoding rules of the server that was recorded (spec wire 10): type and id of the argument's own field header are
// ignored, unknown fields are skipped, a known field of another type is skipped and keeps its default, bytes behind the
// stop byte are ignored. A blob is announced as a struct but is not one, so known blob fields are read by schema.

// StorageStatus is the error field of a data response: the status codes of RocksDB.
type StorageStatus int32

// The storage statuses that appear in replies (spec rrdb 1).
const (
	StorageOK              StorageStatus = 0
	StorageNotFound        StorageStatus = 1
	StorageCorruption      StorageStatus = 2
	StorageNotSupported    StorageStatus = 3
	StorageInvalidArgument StorageStatus = 4
	StorageIOError         StorageStatus = 5
	StorageIncomplete      StorageStatus = 7
	StorageTryAgain        StorageStatus = 13
)

// FilterType says how a filter pattern is matched. An empty pattern matches everything.
type FilterType int32

// The filter types of the wire.
const (
	FilterNone FilterType = iota
	FilterAnywhere
	FilterPrefix
	FilterPostfix
)

// Valid tells whether f is one of the four types.
func (f FilterType) Valid() bool { return f >= FilterNone && f <= FilterPostfix }

// CheckType is the condition of CHECK_AND_SET and CHECK_AND_MUTATE.
type CheckType int32

// The check types of the wire.
const (
	CheckNone CheckType = iota
	CheckNotExist
	CheckNotExistOrEmpty
	CheckExist
	CheckNotEmpty
	CheckMatchAnywhere
	CheckMatchPrefix
	CheckMatchPostfix
	CheckBytesLess
	CheckBytesLessOrEqual
	CheckBytesEqual
	CheckBytesGreaterOrEqual
	CheckBytesGreater
	CheckIntLess
	CheckIntLessOrEqual
	CheckIntEqual
	CheckIntGreaterOrEqual
	CheckIntGreater
)

// Valid tells whether c is one of the eighteen types.
func (c CheckType) Valid() bool { return c >= CheckNone && c <= CheckIntGreater }

// checkTypeNames are those of Apache Pegasus' shell.
var checkTypeNames = [...]string{
	CheckNotExist: "not_exist", CheckNotExistOrEmpty: "not_exist_or_empty", CheckExist: "exist", CheckNotEmpty: "not_empty",
	CheckMatchAnywhere: "match_anywhere", CheckMatchPrefix: "match_prefix", CheckMatchPostfix: "match_postfix",
	CheckBytesLess: "bytes_less", CheckBytesLessOrEqual: "bytes_less_or_equal", CheckBytesEqual: "bytes_equal",
	CheckBytesGreaterOrEqual: "bytes_greater_or_equal", CheckBytesGreater: "bytes_greater",
	CheckIntLess: "int_less", CheckIntLessOrEqual: "int_less_or_equal", CheckIntEqual: "int_equal",
	CheckIntGreaterOrEqual: "int_greater_or_equal", CheckIntGreater: "int_greater",
}

// CheckTypeNames lists the names that ParseCheckType knows. No check has none.
func CheckTypeNames() []string { return slices.Clone(checkTypeNames[CheckNone+1:]) }

// ParseCheckType finds a check type by its name.
func ParseCheckType(name string) (CheckType, bool) {
	i := slices.Index(checkTypeNames[:], name)
	return CheckType(i), i > int(CheckNone)
}

// MutateOp is the operation of one element of a CHECK_AND_MUTATE.
type MutateOp int32

// The operations of the wire.
const (
	MutatePut MutateOp = iota
	MutateDelete
)

// UpdateType says what an update_request stands for. Clients send UpdatePut or nothing.
type UpdateType int32

// UpdatePut is an ordinary put.
const UpdatePut UpdateType = 0

// OptBool is an optional bool field.
type OptBool uint8

// The states of an OptBool.
const (
	BoolUnset OptBool = iota
	BoolFalse
	BoolTrue
)

// Or returns the value, or def when it is not set.
func (o OptBool) Or(def bool) bool {
	if o == BoolUnset {
		return def
	}
	return o == BoolTrue
}

func optBool(v bool) OptBool {
	if v {
		return BoolTrue
	}
	return BoolFalse
}

func appendOptBool(dst []byte, id int16, o OptBool) []byte {
	if o == BoolUnset {
		return dst
	}
	return appendBoolField(dst, id, o == BoolTrue)
}

// List is an encoded list: N elements, one after the other, without the list header. What the elements are is said by
// the field that holds it; they are read with Blob, KeyValue, FullKey, FullData or Mutation of its Reader.
type List struct {
	N   int
	Raw []byte
}

// Reader returns a Reader over the elements. After N elements of the right kind it has no error.
func (l List) Reader() Reader { return NewReader(l.Raw) }

// Reset empties l and keeps its memory. Never call it on a decoded list: that memory belongs to the input.
func (l *List) Reset() { l.N, l.Raw = 0, l.Raw[:0] }

// AddBlob appends one blob.
func (l *List) AddBlob(v []byte) { l.N, l.Raw = l.N+1, AppendBlob(l.Raw, v) }

// AddKeyValue appends one key_value.
func (l *List) AddKeyValue(kv KeyValue) { l.N, l.Raw = l.N+1, kv.Append(l.Raw) }

// AddFullKey appends one full_key.
func (l *List) AddFullKey(k FullKey) { l.N, l.Raw = l.N+1, k.Append(l.Raw) }

// AddFullData appends one full_data.
func (l *List) AddFullData(d FullData) { l.N, l.Raw = l.N+1, d.Append(l.Raw) }

// AddMutation appends one mutate.
func (l *List) AddMutation(m Mutation) { l.N, l.Raw = l.N+1, m.Append(l.Raw) }

// Field tags for the decoders: id in the high bits, wire type in the low byte, as Reader.tag returns them.
const (
	tagBool   = int32(TBool)
	tagI32    = int32(TI32)
	tagI64    = int32(TI64)
	tagString = int32(TString)
	tagBlob   = int32(TStruct) // announced as a struct, encoded as i32 length and bytes
	tagList   = int32(TList)
)

// tag reads a field header; 0 is the end of the struct or an error.
func (r *Reader) tag() int32 {
	typ, id := r.Field()
	if typ == TStop {
		return 0
	}
	return int32(id)<<8 | int32(typ)
}

func (r *Reader) skipTag(tag int32) { r.Skip(byte(tag)) }

// valueReader returns a Reader placed behind the field header of an argument or a result.
func valueReader(b []byte) Reader {
	r := NewReader(b)
	r.Field()
	return r
}

// endValue reads the stop byte behind an argument or a result and returns the first error.
func endValue(r *Reader) error {
	r.Byte()
	return r.Err()
}

const (
	minBlob   = 4 // an empty blob
	minStruct = 1 // a stop byte
)

func readBlobList(r *Reader) List {
	_, n := r.ListHeader(minBlob)
	start := r.Offset()
	for i := 0; i < n && r.Err() == nil; i++ {
		r.Blob()
	}
	return r.listFrom(start, n)
}

func (r *Reader) listFrom(start, n int) List {
	if r.Err() != nil {
		return List{}
	}
	return List{N: n, Raw: r.b[start:r.off:r.off]}
}

// beginArgs and beginResult write the header of the one field around a struct value: id 1 in requests of the thrift
// clients, id 0 ("success") in replies.
func beginArgs(dst []byte) []byte   { return AppendField(dst, TStruct, 1) }
func beginResult(dst []byte) []byte { return AppendField(dst, TStruct, 0) }

// endStruct closes the value and the struct around it.
func endStruct(dst []byte) []byte { return append(dst, TStop, TStop) }

func appendI32Field(dst []byte, id int16, v int32) []byte {
	return AppendI32(AppendField(dst, TI32, id), v)
}

func appendI64Field(dst []byte, id int16, v int64) []byte {
	return AppendI64(AppendField(dst, TI64, id), v)
}

func appendBoolField(dst []byte, id int16, v bool) []byte {
	return AppendBool(AppendField(dst, TBool, id), v)
}

func appendBlobField(dst []byte, id int16, v []byte) []byte {
	return AppendBlob(AppendField(dst, TStruct, id), v)
}

func appendStringField(dst []byte, id int16, v []byte) []byte {
	return AppendBlob(AppendField(dst, TString, id), v)
}

func appendListField(dst []byte, id int16, l List) []byte {
	dst = AppendList(AppendField(dst, TList, id), TStruct, l.N)
	return append(dst, l.Raw...)
}
