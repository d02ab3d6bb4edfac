package proto

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// Containers of the schema codec. The element types in their headers are ignored when reading, as the Apache readers do;
// sizes are not believed beyond what the remaining bytes can hold.

// maxPrealloc bounds how many elements are allocated before the first one was read.
const maxPrealloc = 64

// A struct without fields takes one byte on the wire and hundreds in memory. A container may take maxGrowth times the
// size of the whole message, plus freeGrowth bytes; real messages stay below 4 times.
const (
	maxGrowth  = 32
	freeGrowth = 64 << 10
)

// sizeGuard refuses a container of n elements of so many bytes in memory.
func sizeGuard(r *Reader, n int, elem uintptr) bool {
	if int64(n)*int64(elem) > int64(len(r.b))*maxGrowth+freeGrowth {
		r.Fail(ErrMalformed)
	}
	return r.err == nil
}

func listPlan(t reflect.Type) *plan {
	elem := planOf(t.Elem())
	return &plan{TList, 5,
		func(dst []byte, v reflect.Value) []byte {
			n := v.Len()
			dst = AppendList(dst, elem.wire, n)
			for i := range n {
				dst = elem.append(dst, v.Index(i))
			}
			return dst
		},
		func(r *Reader, v reflect.Value, depth int) {
			if depth > maxSkipDepth {
				r.Fail(ErrMalformed)
				return
			}
			_, n := r.ListHeader(elem.min)
			if !sizeGuard(r, n, t.Elem().Size()) {
				return
			}
			out := reflect.MakeSlice(t, 0, min(n, maxPrealloc))
			zero := reflect.Zero(t.Elem())
			for i := 0; i < n && r.err == nil; i++ {
				out = reflect.Append(out, zero)
				elem.read(r, out.Index(i), depth+1)
			}
			v.Set(out)
		}}
}

// mapPlan is the plan of a map, or of a set when the value type is struct{}.
func mapPlan(t reflect.Type) *plan {
	key := planOf(t.Key())
	if t.Elem() == reflect.TypeFor[struct{}]() {
		unit := reflect.ValueOf(struct{}{})
		return &plan{TSet, 5,
			func(dst []byte, v reflect.Value) []byte {
				dst = AppendList(dst, key.wire, v.Len())
				for _, k := range sortedKeys(v) {
					dst = key.append(dst, k)
				}
				return dst
			},
			func(r *Reader, v reflect.Value, depth int) {
				_, n := r.ListHeader(key.min)
				readEntries(r, v, t, n, func(out reflect.Value) {
					k := reflect.New(t.Key()).Elem()
					key.read(r, k, depth+1)
					out.SetMapIndex(k, unit)
				})
			}}
	}
	val := planOf(t.Elem())
	return &plan{TMap, 6,
		func(dst []byte, v reflect.Value) []byte {
			dst = append(dst, key.wire, val.wire)
			dst = AppendI32(dst, int32(v.Len()))
			for _, k := range sortedKeys(v) {
				dst = key.append(dst, k)
				dst = val.append(dst, v.MapIndex(k))
			}
			return dst
		},
		func(r *Reader, v reflect.Value, depth int) {
			if depth > maxSkipDepth {
				r.Fail(ErrMalformed)
				return
			}
			_, _, n := r.MapHeader(key.min + val.min)
			readEntries(r, v, t, n, func(out reflect.Value) {
				k, e := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
				key.read(r, k, depth+1)
				val.read(r, e, depth+1)
				out.SetMapIndex(k, e)
			})
		}}
}

func readEntries(r *Reader, v reflect.Value, t reflect.Type, n int, one func(out reflect.Value)) {
	if !sizeGuard(r, n, t.Key().Size()+t.Elem().Size()) {
		return
	}
	out := reflect.MakeMapWithSize(t, min(n, maxPrealloc))
	for i := 0; i < n && r.err == nil; i++ {
		one(out)
	}
	v.Set(out)
}

// sortedKeys returns the keys of a map in the order of the Apache server's ordered maps, so that equal messages have
// equal bytes.
func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, compareKeys)
	return keys
}

func compareKeys(a, b reflect.Value) int {
	switch a.Kind() {
	case reflect.String:
		return cmp.Compare(a.String(), b.String())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return cmp.Compare(a.Int(), b.Int())
	case reflect.Uint64: // RPCAddress
		return cmp.Compare(a.Uint(), b.Uint())
	}
	switch a := a.Interface().(type) {
	case GPID:
		return a.Compare(b.Interface().(GPID))
	case HostPort:
		b := b.Interface().(HostPort)
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Kind, b.Kind))
	}
	panic(fmt.Sprintf("BUG: %v cannot be the key of a map on the wire", a.Type()))
}
