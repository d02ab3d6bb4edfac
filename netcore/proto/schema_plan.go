package proto

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pegasus/netcore/invariant"
)

// Building plans. A type that cannot travel is a mistake in our source, found by the first test that touches it: that is
// an assertion and not an error.

var plans sync.Map // reflect.Type to *plan

// primitives are the types whose wire form does not follow from their kind.
var primitives = map[reflect.Type]*plan{
	reflect.TypeFor[GPID](): primitive(8,
		func(dst []byte, g *GPID) []byte { return AppendI64(dst, g.Thrift()) },
		func(r *Reader, g *GPID) { *g = GPIDFromThrift(r.I64()) }),
	reflect.TypeFor[RPCAddress](): primitive(8,
		func(dst []byte, a *RPCAddress) []byte { return AppendI64(dst, int64(*a)) },
		func(r *Reader, a *RPCAddress) { *a = RPCAddress(r.I64()) }),
	reflect.TypeFor[HostPort](): primitive(7,
		func(dst []byte, h *HostPort) []byte {
			return append(AppendI16(AppendBlob(dst, h.Host), int16(h.Port)), byte(h.Kind))
		},
		func(r *Reader, h *HostPort) {
			*h = HostPort{Host: r.String(), Port: uint16(r.I16()), Kind: HostKind(r.Byte())}
		}),
	// A name that is not known, from a newer peer, reads as ErrUnknown and CodeUnknown.
	reflect.TypeFor[ErrCode](): primitive(4,
		func(dst []byte, e *ErrCode) []byte { return AppendBlob(dst, e.String()) },
		func(r *Reader, e *ErrCode) {
			var ok bool
			if *e, ok = errByName[string(r.Blob())]; !ok {
				*e = ErrUnknown
			}
		}),
	reflect.TypeFor[Code](): primitive(4,
		func(dst []byte, c *Code) []byte {
			if *c == CodeUnknown {
				return AppendBlob(dst, invalidTaskName)
			}
			return AppendBlob(dst, c.String())
		},
		func(r *Reader, c *Code) { *c = ParseCode(r.Blob()) }),
	reflect.TypeFor[NodeID](): primitive(4+len(NodeID{}),
		func(dst []byte, n *NodeID) []byte { return AppendBlob(dst, n[:]) },
		func(r *Reader, n *NodeID) {
			b := r.Blob()
			if len(b) != len(n) {
				r.Fail(ErrMalformed)
				return
			}
			copy(n[:], b)
		}),
}

// primitive adapts typed functions. Map keys are not addressable, so values are copied out first.
func primitive[T any](minLen int, app func([]byte, *T) []byte, read func(*Reader, *T)) *plan {
	return &plan{
		wire: TStruct,
		min:  minLen,
		append: func(dst []byte, v reflect.Value) []byte {
			if v.CanAddr() {
				return app(dst, v.Addr().Interface().(*T))
			}
			t := v.Interface().(T)
			return app(dst, &t)
		},
		read: func(r *Reader, v reflect.Value, _ int) { read(r, v.Addr().Interface().(*T)) },
	}
}

// planOf returns the plan of a type, building it on first use.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p, _ := plans.LoadOrStore(t, buildPlan(t))
	return p.(*plan)
}

func buildPlan(t reflect.Type) *plan {
	if p, ok := primitives[t]; ok {
		return p
	}
	switch t.Kind() {
	case reflect.Bool:
		return &plan{TBool, 1,
			func(dst []byte, v reflect.Value) []byte { return AppendBool(dst, v.Bool()) },
			func(r *Reader, v reflect.Value, _ int) { v.SetBool(r.Bool()) }}
	case reflect.Int8:
		return &plan{TByte, 1,
			func(dst []byte, v reflect.Value) []byte { return append(dst, byte(v.Int())) },
			func(r *Reader, v reflect.Value, _ int) { v.SetInt(int64(int8(r.Byte()))) }}
	case reflect.Int16:
		return &plan{TI16, 2,
			func(dst []byte, v reflect.Value) []byte { return AppendI16(dst, int16(v.Int())) },
			func(r *Reader, v reflect.Value, _ int) { v.SetInt(int64(r.I16())) }}
	case reflect.Int32:
		return &plan{TI32, 4,
			func(dst []byte, v reflect.Value) []byte { return AppendI32(dst, int32(v.Int())) },
			func(r *Reader, v reflect.Value, _ int) { v.SetInt(int64(r.I32())) }}
	case reflect.Int64:
		return &plan{TI64, 8,
			func(dst []byte, v reflect.Value) []byte { return AppendI64(dst, v.Int()) },
			func(r *Reader, v reflect.Value, _ int) { v.SetInt(r.I64()) }}
	case reflect.String:
		return &plan{TString, 4,
			func(dst []byte, v reflect.Value) []byte { return AppendBlob(dst, v.String()) },
			func(r *Reader, v reflect.Value, _ int) { v.SetString(r.String()) }}
	case reflect.Pointer:
		return pointerPlan(t)
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[byte]() {
			return bytesPlan(TStruct)
		}
		return listPlan(t)
	case reflect.Map:
		return mapPlan(t)
	case reflect.Struct:
		s := buildStruct(t)
		return &plan{TStruct, 1, s.append, s.read}
	}
	panic(fmt.Sprintf("BUG: %v has no wire form", t))
}

// bytesPlan is the plan of []byte, a blob or a string by the type that announces it.
func bytesPlan(wire byte) *plan {
	return &plan{wire, 4,
		func(dst []byte, v reflect.Value) []byte { return AppendBlob(dst, v.Bytes()) },
		func(r *Reader, v reflect.Value, _ int) { v.SetBytes(append([]byte{}, r.Blob()...)) }}
}

func pointerPlan(t reflect.Type) *plan {
	elem := planOf(t.Elem())
	return &plan{elem.wire, elem.min,
		func(dst []byte, v reflect.Value) []byte {
			if v.IsNil() { // a required field without a value: write the zero one
				return elem.append(dst, reflect.Zero(t.Elem()))
			}
			return elem.append(dst, v.Elem())
		},
		func(r *Reader, v reflect.Value, depth int) {
			v.Set(reflect.New(t.Elem()))
			elem.read(r, v.Elem(), depth)
		}}
}

func buildStruct(t reflect.Type) *structPlan {
	s := &structPlan{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("thrift")
		if !ok {
			continue
		}
		num, flag, _ := strings.Cut(tag, ",")
		id, err := strconv.ParseInt(num, 10, 16)
		invariant.Assertf(err == nil && f.IsExported(), "%v.%s: bad thrift tag %q", t, f.Name, tag)
		fp := fieldPlan{plan: planOf(f.Type), id: int16(id), index: i}
		switch flag {
		case "":
		case "opt":
			fp.opt = true
		case "string":
			invariant.Assertf(f.Type.Kind() == reflect.Slice, "%v.%s: only []byte can be sent as string", t, f.Name)
			fp.plan = bytesPlan(TString)
		default:
			invariant.Assertf(false, "%v.%s: bad thrift tag %q", t, f.Name, tag)
		}
		s.fields = append(s.fields, fp)
	}
	slices.SortFunc(s.fields, func(a, b fieldPlan) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(s.fields); i++ {
		invariant.Assertf(s.fields[i-1].id != s.fields[i].id, "%v: two fields with id %d", t, s.fields[i].id)
	}
	return s
}
