package engine

import (
	"bytes"
	"testing"
)

func TestKeyRoundTrip(t *testing.T) {
	long := bytes.Repeat([]byte("h"), MaxHashKeyLen)
	for _, c := range []struct{ hash, sort []byte }{
		{nil, nil}, {[]byte("h"), nil}, {nil, []byte("s")}, {[]byte("h"), []byte("s")}, {long, []byte("s")}, {[]byte{0xff, 0xff}, []byte{0}},
	} {
		raw := AppendKey([]byte("before"), c.hash, c.sort)[len("before"):]
		hash, sort, ok := SplitKey(raw)
		if !ok || !bytes.Equal(hash, c.hash) || !bytes.Equal(sort, c.sort) {
			t.Fatalf("%.20q, %q became %.20q, %q, %v", c.hash, c.sort, hash, sort, ok)
		}
	}
	for _, bad := range []string{"", "\x00", "\x00\x01", "\x00\x03ab", "\xff\xff"} {
		if _, _, ok := SplitKey([]byte(bad)); ok {
			t.Errorf("%q was taken for a key", bad)
		}
		if _, ok := KeyHash([]byte(bad)); ok {
			t.Errorf("%q has a hash", bad)
		}
	}
}

// TestKeyHash has the check values of the specification.
func TestKeyHash(t *testing.T) {
	for _, c := range []struct {
		hash, sort string
		want       uint64
	}{{"hello", "x", 0x3377857006524257}, {"", "123456789", 0xae8b14860a799888}, {"", "", 0}} {
		if got, ok := KeyHash(AppendKey(nil, []byte(c.hash), []byte(c.sort))); !ok || got != c.want {
			t.Errorf("%q, %q: %x, %v; want %x", c.hash, c.sort, got, ok, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"\xff\xff", ""}, {"a", "b"}, {"a\xff", "b"}, {"a\xffb\xff\xff", "a\xffc"}, {"\x00", "\x01"},
	} {
		if got := AppendNext(nil, []byte(c[0])); string(got) != c[1] {
			t.Errorf("after %q comes %q, want %q", c[0], got, c[1])
		}
	}
	for _, c := range [][2]string{
		{"", "\x00\x01"}, {"a", "\x00\x01b"}, {"\xff", "\x00\x02"}, {"b\xff\xff", "\x00\x03c"},
	} {
		if got := AppendNextHashKey([]byte("-"), []byte(c[0])); string(got) != "-"+c[1] {
			t.Errorf("after hash key %q comes %q, want %q", c[0], got, c[1])
		}
	}
}

// FuzzNext checks the bound from both sides.
func FuzzNext(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add([]byte("a\xff\xff"), []byte("\xff"))
	f.Fuzz(func(t *testing.T, prefix, rest []byte) {
		next := AppendNext(nil, prefix)
		if len(next) == 0 {
			return
		}
		inside := append(bytes.Clone(prefix), rest...)
		if bytes.Compare(inside, next) >= 0 {
			t.Fatalf("%q is not below the bound %q of prefix %q", inside, next, prefix)
		}
		// The bound is the smallest: what is below it and above the prefix begins with the prefix.
		if bytes.Compare(rest, prefix) > 0 && bytes.Compare(rest, next) < 0 && !bytes.HasPrefix(rest, prefix) {
			t.Fatalf("%q lies between prefix %q and bound %q", rest, prefix, next)
		}
	})
}

func FuzzSplitKey(f *testing.F) {
	f.Add([]byte("\x00\x01ab"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		hash, sort, ok := SplitKey(raw)
		if ok && len(hash) <= MaxHashKeyLen && !bytes.Equal(AppendKey(nil, hash, sort), raw) {
			t.Fatalf("%q does not come back", raw)
		}
	})
}
