package proto

import (
	"bytes"
	"testing"
)

func TestEscapes(t *testing.T) {
	for _, c := range []struct {
		in   string
		text string
		all  string
	}{
		{"plain key", "plain key", `\x70\x6C\x61\x69\x6E\x20\x6B\x65\x79`},
		{"a\x00b\xff", `a\x00b\xFF`, `\x61\x00\x62\xFF`},
		{"\n\r\t\"'\\", `\n\r\t\"\'\\`, `\x0A\x0D\x09\x22\x27\x5C`},
		{"", "", ""},
	} {
		if got := EscapeText([]byte(c.in), false); got != c.text {
			t.Errorf("EscapeText(%q) = %s, want %s", c.in, got, c.text)
		}
		if got := EscapeText([]byte(c.in), true); got != c.all {
			t.Errorf("EscapeText(%q, all) = %s, want %s", c.in, got, c.all)
		}
	}
	for _, bad := range []string{`\`, `a\q`, `\x1`, `\xZZ`, `\0`} {
		if b, err := UnescapeText(bad); err == nil {
			t.Errorf("UnescapeText(%s) = %q without an error", bad, b)
		}
	}
	if b, err := UnescapeText(`\xfF`); err != nil || !bytes.Equal(b, []byte{0xff}) {
		t.Errorf("lower case hex: %q, %v", b, err)
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add([]byte("a\x00\\x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, all := range []bool{false, true} {
			if back, err := UnescapeText(EscapeText(b, all)); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%q came back as %q, %v", b, back, err)
			}
		}
	})
}

func BenchmarkEscapeText(b *testing.B) {
	text := bytes.Repeat([]byte("value 1\n"), 13)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		EscapeText(text, false)
	}
}
