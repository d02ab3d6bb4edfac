package words

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
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
		got, err := Split(c.line)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Split(%s) = %q, %v, want %q", c.line, got, err, c.want)
		}
	}
	for _, open := range []string{`a "b`, `a 'b`, `"a\"`} {
		if w, err := Split(open); err == nil {
			t.Errorf("Split(%s) = %q without an error", open, w)
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
		got, err := Split(Quote(a) + " " + Quote(b))
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Fatalf("%q and %q came back as %q, %v", a, b, got, err)
		}
	})
}
