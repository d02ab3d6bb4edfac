package escape

import (
	"bytes"
	"slices"
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
		if got := Text([]byte(c.in), false); got != c.text {
			t.Errorf("Text(%q) = %s, want %s", c.in, got, c.text)
		}
		if got := Text([]byte(c.in), true); got != c.all {
			t.Errorf("Text(%q, all) = %s, want %s", c.in, got, c.all)
		}
	}
	for _, bad := range []string{`\`, `a\q`, `\x1`, `\xZZ`, `\0`} {
		if b, err := Bytes(bad); err == nil {
			t.Errorf("Bytes(%s) = %q without an error", bad, b)
		}
	}
	if b, err := Bytes(`\xfF`); err != nil || !bytes.Equal(b, []byte{0xff}) {
		t.Errorf("lower case hex: %q, %v", b, err)
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add([]byte("a\x00\\x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, all := range []bool{false, true} {
			if back, err := Bytes(Text(b, all)); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%q came back as %q, %v", b, back, err)
			}
		}
	})
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{`set  a	b c`, []string{"set", "a", "b", "c"}},
		{`set "a b" 'c d' e\ f`, []string{"set", "a b", "c d", "e f"}},
		{`set a\x00 "b\x01\"" 'c\x02'`, []string{"set", `a\x00`, `b\x01"`, `c\x02`}},
		{`x "" ''`, []string{"x", "", ""}},
		{`ls # all of them`, []string{"ls"}},
		{`a#b`, []string{"a#b"}},
		{`"a"'b'c`, []string{"abc"}},
		{`"a\\" b`, []string{`a\\`, "b"}},
		{`'{"ops":[{"params":"{\"p\":1}"}]}'`, []string{`{"ops":[{"params":"{\"p\":1}"}]}`}},
		{"", nil},
	} {
		got, err := Words(c.line)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Words(%s) = %q, %v, want %q", c.line, got, err, c.want)
		}
	}
	for _, open := range []string{`a "b`, `a 'b`, `"a\"`} {
		if w, err := Words(open); err == nil {
			t.Errorf("Words(%s) = %q without an error", open, w)
		}
	}
	for line, want := range map[string][]string{
		"": {""}, "ls": {"ls"}, "ls ": {"ls", ""}, "use 'te": {"use", "te"}, "a b  c": {"a", "b", "c"},
	} {
		if got := Partial(line); !slices.Equal(got, want) {
			t.Errorf("Partial(%q) = %q, want %q", line, got, want)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("it's", `a"b\`)
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := Words(Quote(a) + " " + Quote(b))
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Fatalf("%q and %q came back as %q, %v", a, b, got, err)
		}
	})
}
