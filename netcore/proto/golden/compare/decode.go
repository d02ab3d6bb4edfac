package compare

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"pegasus/netcore/proto/golden"
)

// errShort is a value that runs past the end of the reply.
var errShort = errors.New("reply ends early")

// cursor walks the bytes of a reply. The first error sticks.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail(errShort)
		return make([]byte, min(max(n, 0), 8)) // zeros for the fixed-width readers
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() byte   { return c.take(1)[0] }
func (c *cursor) i16() int16 { return int16(binary.BigEndian.Uint16(c.take(2))) }
func (c *cursor) i32() int32 { return int32(binary.BigEndian.Uint32(c.take(4))) }
func (c *cursor) i64() int64 { return int64(binary.BigEndian.Uint64(c.take(8))) }
func (c *cursor) blob() []byte {
	if n := int(c.i32()); c.err == nil {
		if n >= 0 && n <= len(c.b) {
			return c.take(n)
		}
		c.fail(errShort)
	}
	return nil
}

func number(v int64) json.Number { return json.Number(strconv.FormatInt(v, 10)) }

// value decodes one value of type t into the JSON form of the recordings, not yet normalised.
func (c *cursor) value(t *typ) any {
	switch t.kind {
	case kindBool:
		switch b := c.u8(); b {
		case 0, 1:
			return b == 1
		default:
			c.fail(fmt.Errorf("boolean of value %d", b))
		}
	case kindByte:
		return number(int64(int8(c.u8())))
	case kindI16:
		return number(int64(c.i16()))
	case kindI32:
		return number(int64(c.i32()))
	case kindI64:
		return number(c.i64())
	case kindString, kindName:
		return string(c.blob())
	case kindBlob:
		return golden.Pack(c.blob())
	case kindGPID:
		v := c.i64()
		return map[string]any{"app_id": number(int64(int32(v))), "partition_index": number(v >> 32)}
	case kindAddress:
		return address(uint64(c.i64()))
	case kindHostPort:
		host, port, family := string(c.blob()), uint16(c.i16()), c.u8()
		if family == 0 {
			return "invalid"
		}
		return host + ":" + strconv.Itoa(int(port))
	case kindStruct:
		return c.structure(t)
	case kindList, kindSet:
		return c.list(t)
	case kindMap:
		return c.table(t)
	}
	return nil
}

// address is the text of an rpc_address value: ipv4 in the high 32 bits, port in the next 16, type in the low ones.
func address(v uint64) string {
	if v == 0 {
		return "invalid"
	}
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(v>>32))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(v>>16)).String()
}

func (c *cursor) structure(t *typ) map[string]any {
	out := map[string]any{}
	for c.err == nil {
		w := c.u8()
		if w == 0 || c.err != nil {
			break
		}
		id := c.i16()
		f, ok := t.fields[id]
		switch {
		case c.err != nil:
		case !ok:
			c.fail(fmt.Errorf("field %d of wire type %d is not in the IDL", id, w))
		case w != wire[f.typ.kind]:
			c.fail(fmt.Errorf("field %d (%s) has wire type %d, want %d", id, f.name, w, wire[f.typ.kind]))
		case out[f.name] != nil:
			c.fail(fmt.Errorf("field %d (%s) twice", id, f.name))
		default:
			out[f.name] = c.value(f.typ)
		}
	}
	return out
}

func (c *cursor) list(t *typ) []any {
	w, n := c.u8(), int(c.i32())
	if c.err == nil && (w != wire[t.elem.kind] || n < 0 || n > len(c.b)) {
		c.fail(fmt.Errorf("list of %d elements of wire type %d, want type %d", n, w, wire[t.elem.kind]))
	}
	out := []any{}
	for i := 0; i < n && c.err == nil; i++ {
		out = append(out, c.value(t.elem))
	}
	return out
}

func (c *cursor) table(t *typ) map[string]any {
	wk, wv, n := c.u8(), c.u8(), int(c.i32())
	// An empty map may carry any types: the thrift library of Apache Pegasus writes the declared ones all the same.
	if c.err == nil && (wk != wire[t.key.kind] || wv != wire[t.elem.kind] || n < 0 || n > len(c.b)) {
		c.fail(fmt.Errorf("map of %d entries of wire types %d,%d, want %d,%d", n, wk, wv, wire[t.key.kind], wire[t.elem.kind]))
	}
	out := map[string]any{}
	for i := 0; i < n && c.err == nil; i++ {
		k := c.value(t.key)
		out[fmt.Sprint(k)] = c.value(t.elem)
	}
	return out
}
