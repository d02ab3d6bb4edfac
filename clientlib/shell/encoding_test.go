package shell

import (
	"strings"
	"testing"
)

// What pegic's encodings make of text, and how bytes look in them.
func TestEncodings(t *testing.T) {
	for _, tc := range []struct{ name, text, bytes, shown string }{
		{"asciihex", `a\x00\n\"`, "a\x00\n\"", ""},
		{"ASCIIHEX", `\xFF`, "\xff", ""},
		{"utf8", `中 a\n`, `中 a\n`, ""},
		{"utf-8", "a\tb", "a\tb", `a\tb`},
		{"int32", "19491001", "\x01\x29\x68\xb9", ""},
		{"int32", "-1", "\xff\xff\xff\xff", ""},
		{"int32", "2147483647", "\x7f\xff\xff\xff", ""},
		{"int64", "-9223372036854775808", "\x80\x00\x00\x00\x00\x00\x00\x00", ""},
		{"int64", "1", "\x00\x00\x00\x00\x00\x00\x00\x01", ""},
		{"bytes", "104,101, 255,0", "he\xff\x00", "104,101,255,0"},
		{"javabytes", "49,-1,-128,127,0", "1\xff\x80\x7f\x00", ""},
		{"int32", "", "", ""},
		{"bytes", "", "", ""},
	} {
		s := New(Options{})
		for p := range parts {
			if err := s.encode(partNames[p], tc.name); err != nil {
				t.Fatal(err)
			}
			b, err := s.bytes(p, tc.text)
			if err != nil || string(b) != tc.bytes {
				t.Errorf("%s: %q is %q, %v, want %q", tc.name, tc.text, b, err, tc.bytes)
			}
			want := tc.shown
			if want == "" {
				want = tc.text
			}
			if got := s.shown(p, []byte(tc.bytes)); got != want {
				t.Errorf("%s: %q is shown as %q, want %q", tc.name, tc.bytes, got, want)
			}
		}
	}
}

func TestEncodingsRefuse(t *testing.T) {
	s := New(Options{})
	for _, tc := range []struct{ name, text, want string }{
		{"asciihex", `a\q`, `\q`}, {"utf8", "\xff", "no valid UTF-8"}, {"int32", "x", "no number of 32 bits"}, {"int32", "2147483648", "32 bits"},
		{"int64", "1.5", "64 bits"}, {"bytes", "1,256", `"256" is no number from 0 to 255`}, {"bytes", "-1", "from 0 to 255"},
		{"javabytes", "1,,2", `"" is no number`}, {"javabytes", "128", "from -128 to 127"},
	} {
		if err := s.encode("sort_key", tc.name); err != nil {
			t.Fatal(err)
		}
		if _, err := s.bytes(sortKey, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) || ExitCode(err) != ExitUsage {
			t.Errorf("%s: %q: %v, want %q", tc.name, tc.text, err, tc.want)
		}
	}
	// What is stored and not in the encoding is shown, and cannot be taken for what is.
	for _, tc := range []struct{ name, bytes, want string }{
		{"int32", "12345", "(no int32) 12345"}, {"int64", "\x00a", `(no int64) \x00a`}, {"utf8", "a\xff", `(no utf8) a\xFF`},
	} {
		if err := s.encode("value", tc.name); err != nil {
			t.Fatal(err)
		}
		if got := s.shown(value, []byte(tc.bytes)); got != tc.want {
			t.Errorf("%s: %q is shown as %q", tc.name, tc.bytes, got)
		}
	}
	for _, text := range []string{"hashkey", "hashkey=java", "key=utf8", "hashkey=utf8,", ""} {
		if err := s.encodeAll(text); ExitCode(err) != ExitUsage {
			t.Errorf("--encoding %q: %v", text, err)
		}
	}
	if err := s.encodeAll("hashkey=int32, value=UTF8"); err != nil || s.encodings[hashKey].name != "int32" || s.encodings[value].name != "utf8" {
		t.Errorf("%v, %v", err, s.encodings)
	}
	if err := s.compress("lz4"); ExitCode(err) != ExitUsage {
		t.Errorf("compression lz4: %v", err)
	}
}

// The parts of a list of arguments, the last of which repeat.
func TestArgumentsByPart(t *testing.T) {
	s := New(Options{})
	if err := s.encodeAll("hashkey=int32,sortkey=bytes,value=utf8"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args  string
		loop  int
		parts []part
		want  string
	}{
		{"7", 1, []part{hashKey, sortKey}, "\x00\x00\x00\x07"},
		{"7 1 2 3", 1, []part{hashKey, sortKey}, "\x00\x00\x00\x07|\x01|\x02|\x03"},
		{"7 1 v 2 w 3", 2, []part{hashKey, sortKey, value}, "\x00\x00\x00\x07|\x01|v|\x02|w|\x03"},
		{"set 1 v", 1, []part{verbatim, sortKey, value}, "set|\x01|v"},
	} {
		got, err := s.allBytes(strings.Fields(tc.args), tc.loop, tc.parts...)
		text := make([]string, len(got))
		for i := range got {
			text[i] = string(got[i])
		}
		if err != nil || strings.Join(text, "|") != tc.want {
			t.Errorf("%s: %q, %v", tc.args, text, err)
		}
	}
	// A mutation is called set or del, whatever stands behind it.
	c := call{Shell: s}
	got, err := c.tracedWords(checkAndMutate, strings.Fields("7 1 exist o set 2 del del 3 set 4 set"))
	text := make([]string, len(got))
	for i := range got {
		text[i] = string(got[i])
	}
	if want := "\x00\x00\x00\x07|\x01|exist|o|set|\x02|del|del|\x03|set|\x04|set"; err != nil || strings.Join(text, "|") != want {
		t.Errorf("%q, %v", text, err)
	}
}
