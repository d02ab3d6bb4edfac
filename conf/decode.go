package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// decoder moves a parsed TOML tree into a struct of this package. Unlike the library's it does not stop at the first
// fault, and it checks the `allow` tag while it still knows the line.
type decoder struct {
	lines lineIndex
	out   *Violations
}

var (
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[Duration]()
)

// file decodes the top of a file into the struct that c points to.
func (d *decoder) file(tree map[string]any, c any) { d.table("", tree, reflect.ValueOf(c).Elem()) }

func (d *decoder) table(prefix string, tree map[string]any, dst reflect.Value) {
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(dst.Type()) {
		fields[f.Tag.Get("toml")] = f
	}
	for key, value := range tree {
		f, ok := fields[key]
		if !ok {
			known := make([]string, 0, len(fields))
			for k := range fields {
				known = append(known, k)
			}
			slices.Sort(known)
			d.fault(prefix+key, "unknown key; known here: "+strings.Join(known, ", "))
			continue
		}
		d.value(prefix+key, value, dst.FieldByIndex(f.Index), f.Tag.Get("allow"))
	}
}

func (d *decoder) fault(key, what string) { d.out.add(d.lines.of(key), key, what) }

func (d *decoder) value(key string, in any, dst reflect.Value, allow string) {
	switch {
	case dst.Type() == sizeType:
		text, ok := in.(string)
		n, err := ParseSize(text)
		if !ok || err != nil {
			d.fault(key, fmt.Sprintf("%s: %v", show(in), errSize))
			return
		}
		d.ranged(key, in, int64(n), allow, dst)
	case dst.Type() == durationType:
		text, ok := in.(string)
		n, err := ParseDuration(text)
		if !ok || err != nil {
			d.fault(key, fmt.Sprintf("%s: %v", show(in), errDuration))
			return
		}
		d.ranged(key, in, int64(n), allow, dst)
	case dst.Kind() == reflect.Int:
		n, ok := in.(int64)
		if !ok {
			d.fault(key, fmt.Sprintf("%s: want a whole number in %s", show(in), allow))
			return
		}
		d.ranged(key, in, n, allow, dst)
	case dst.Kind() == reflect.String:
		text, ok := in.(string)
		if !ok {
			d.fault(key, fmt.Sprintf("%s: want text in quotes, %s", show(in), wanted(allow)))
			return
		}
		if !allowedText(allow, text) {
			d.fault(key, fmt.Sprintf("%s: want %s", show(in), wanted(allow)))
			return
		}
		dst.SetString(text)
	case dst.Kind() == reflect.Slice && dst.Type().Elem().Kind() == reflect.String:
		d.texts(key, in, dst, allow)
	case dst.Kind() == reflect.Slice:
		d.tables(key, in, dst)
	case dst.Kind() == reflect.Struct:
		tree, ok := in.(map[string]any)
		if !ok {
			d.fault(key, fmt.Sprintf("%s: want a table, written [%s]", show(in), key))
			return
		}
		d.table(key+".", tree, dst)
	default:
		panic("conf: no decoder for " + dst.Type().String())
	}
}

func (d *decoder) ranged(key string, in any, n int64, allow string, dst reflect.Value) {
	if !allowedNumber(allow, n) {
		d.fault(key, fmt.Sprintf("%s: want %s", show(in), wanted(allow)))
		return
	}
	dst.SetInt(n)
}

func (d *decoder) texts(key string, in any, dst reflect.Value, allow string) {
	list, ok := in.([]any)
	if !ok {
		d.fault(key, fmt.Sprintf("%s: want a list of texts, each %s", show(in), wanted(allow)))
		return
	}
	out := make([]string, 0, len(list))
	for i, e := range list {
		text, ok := e.(string)
		if !ok || !allowedText(allow, text) {
			d.fault(key, fmt.Sprintf("element %d, %s: want %s", i+1, show(e), wanted(allow)))
			continue
		}
		if slices.Contains(out, text) {
			d.fault(key, fmt.Sprintf("element %d, %s: given twice", i+1, show(e)))
			continue
		}
		out = append(out, text)
	}
	dst.Set(reflect.ValueOf(out))
}

func (d *decoder) tables(key string, in any, dst reflect.Value) {
	list, ok := in.([]map[string]any)
	if !ok {
		d.fault(key, fmt.Sprintf("%s: want tables, each headed [[%s]]", show(in), key))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(list), len(list))
	for i, tree := range list {
		d.table(fmt.Sprintf("%s[%d].", key, i), tree, out.Index(i))
	}
	dst.Set(out)
}

// show prints a value of the TOML tree as a person would have written it.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case time.Time:
		return v.Format(time.RFC3339)
	case map[string]any, []map[string]any:
		return "a table"
	}
	return fmt.Sprint(v)
}
