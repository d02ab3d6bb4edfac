package proto

import (
	"reflect"
	"slices"
)

// The schema codec: TBinaryProtocol for every message that is not on the data path. A Go struct is the schema; a plan is
// built per type once, by reflection, and kept. Code generated from the IDL was the alternative: it would be faster where
// speed does not matter, and ten times the text.
//
// A tag `thrift:"ID"` makes a field part of the message; `thrift:"ID,opt"` makes it optional: a nil pointer, slice or map,
// or another zero value, is not written. Other fields are always written, in the order of their ids. A []byte is a
// Pegasus blob unless the tag says `thrift:"ID,string"`.
//
//	Go                                 wire
//	bool, int8, int16                  bool, byte, i16
//	int32, int64 and types over them   i32, i64 (enumerations, Ballot, Decree)
//	string                             string
//	[]T                                list
//	map[K]V, map[K]struct{}            map, set; keys are written in rising order
//	struct, *T                         struct, optional T
//	[]byte, NodeID                     blob (NodeID has 16 bytes)
//	GPID, RPCAddress, HostPort,        Pegasus primitives: announced as struct, but raw and without a stop byte
//	ErrCode, Code                      (spec wire 3)
//
// A reader skips fields that it does not know and known ones that come with another type, like the Apache servers. A
// Pegasus primitive in an unknown field cannot be skipped, as nothing announces it; so fields of these types may only
// be added to messages whose every reader knows them.

// Marshal appends the struct that v points to, with its stop byte. v must be a pointer to a struct with thrift tags.
func Marshal(dst []byte, v any) []byte {
	rv := reflect.ValueOf(v).Elem()
	return planOf(rv.Type()).append(dst, rv)
}

// Unmarshal reads a struct from the beginning of b into what v points to. Bytes behind it are ignored. Nothing in v
// refers to b afterwards; fields that b lacks keep their value. The error is ErrTruncated or ErrMalformed, and then v
// is half filled.
func Unmarshal(b []byte, v any) error {
	r := NewReader(b)
	rv := reflect.ValueOf(v).Elem()
	planOf(rv.Type()).read(&r, rv, 0)
	return r.Err()
}

// AppendArgs appends what v points to as a struct of one field with the given id: the argument of a call has id 1 in
// thrift clients. v points to any type that may be a field.
func AppendArgs(dst []byte, v any, id int16) []byte {
	rv := reflect.ValueOf(v).Elem()
	p := planOf(rv.Type())
	dst = AppendField(dst, p.wire, id)
	dst = p.append(dst, rv)
	return append(dst, TStop)
}

// AppendResult appends what v points to as the result of a call: field id 0.
func AppendResult(dst []byte, v any) []byte { return AppendArgs(dst, v, 0) }

// UnmarshalArgs reads an argument or a result into what v points to. The field header's type and id are ignored, as the
// Apache servers do, and so are bytes behind the stop byte; the stop byte itself must be there.
func UnmarshalArgs(args []byte, v any) error {
	r := NewReader(args)
	r.take(3)
	rv := reflect.ValueOf(v).Elem()
	planOf(rv.Type()).read(&r, rv, 0)
	if r.Byte() != TStop {
		r.Fail(ErrMalformed)
	}
	return r.Err()
}

// plan says how a type travels.
type plan struct {
	wire   byte // type byte that announces it
	min    int  // smallest encoding in bytes, >= 1: it bounds how many elements a container can hold
	append func(dst []byte, v reflect.Value) []byte
	// read stores into v, which is settable. depth counts nested containers and structs.
	read func(r *Reader, v reflect.Value, depth int)
}

// fieldPlan is one field of a struct.
type fieldPlan struct {
	*plan
	id    int16
	index int
	opt   bool
}

// structPlan is the plan of a struct; fields are in the order of their ids.
type structPlan struct{ fields []fieldPlan }

func (s *structPlan) append(dst []byte, v reflect.Value) []byte {
	for i := range s.fields {
		f := &s.fields[i]
		fv := v.Field(f.index)
		if f.opt && fv.IsZero() {
			continue
		}
		dst = AppendField(dst, f.wire, f.id)
		dst = f.append(dst, fv)
	}
	return append(dst, TStop)
}

func (s *structPlan) read(r *Reader, v reflect.Value, depth int) {
	if depth > maxSkipDepth {
		r.Fail(ErrMalformed)
		return
	}
	for {
		typ, id := r.Field()
		if typ == TStop {
			return
		}
		i, ok := slices.BinarySearchFunc(s.fields, id, func(f fieldPlan, id int16) int { return int(f.id) - int(id) })
		if !ok || s.fields[i].wire != typ {
			r.Skip(typ)
			continue
		}
		f := &s.fields[i]
		f.read(r, v.Field(f.index), depth+1)
	}
}
