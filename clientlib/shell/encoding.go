package shell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// How keys and values are written by a person and shown to one. The names are those of pegic, and so is what they mean. Nothing is an
// empty key or value in each of them, so that '' leaves a range open.

// encoding is one way. show says false when the bytes are not in it.
type encoding struct {
	name  string
	about string
	parse func(text string) ([]byte, error)
	show  func(b []byte) (string, bool)
}

// escaped is the way of Apache Pegasus' shell, and what there is without a choice.
const escaped = "asciihex"

var encodings = []encoding{
	{escaped, `C escapes: \n \r \t \" \' \\ \xHH`, proto.UnescapeText, func(b []byte) (string, bool) { return proto.EscapeText(b, false), true }},
	{"utf8", "text as it is; control characters are shown escaped", parseUTF8, showUTF8},
	{"int32", "a number in four bytes, big endian", parseInt(32), showInt(4)},
	{"int64", "a number in eight bytes, big endian", parseInt(64), showInt(8)},
	{"bytes", "numbers from 0 to 255 with commas between", parseBytes(0, 255), func(b []byte) (string, bool) { return showBytes(b, 0), true }},
	{"javabytes", "numbers from -128 to 127 with commas between", parseBytes(-128, 127), func(b []byte) (string, bool) { return showBytes(b, 128), true }},
}

func parseUTF8(text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("no valid UTF-8")
	}
	return []byte(text), nil
}

func showUTF8(b []byte) (string, bool) {
	if !utf8.Valid(b) {
		return "", false
	}
	var out strings.Builder
	for _, r := range string(b) {
		if unicode.IsControl(r) {
			out.WriteString(proto.EscapeText([]byte(string(r)), false))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String(), true
}

func parseInt(bits int) func(string) ([]byte, error) {
	return func(text string) ([]byte, error) {
		v, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("no number of %d bits", bits)
		}
		if bits == 32 {
			return binary.BigEndian.AppendUint32(nil, uint32(v)), nil
		}
		return binary.BigEndian.AppendUint64(nil, uint64(v)), nil
	}
}

func showInt(size int) func([]byte) (string, bool) {
	return func(b []byte) (string, bool) {
		switch {
		case len(b) != size:
			return "", false
		case size == 4:
			return strconv.Itoa(int(int32(binary.BigEndian.Uint32(b)))), true
		}
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10), true
	}
}

func parseBytes(least, most int) func(string) ([]byte, error) {
	return func(text string) ([]byte, error) {
		var out []byte
		for _, w := range strings.Split(text, ",") {
			v, err := strconv.Atoi(strings.TrimSpace(w))
			if err != nil || v < least || v > most {
				return nil, fmt.Errorf("%q is no number from %d to %d", w, least, most)
			}
			out = append(out, byte(v))
		}
		return out, nil
	}
}

// showBytes prints numbers; those from limit on are negative, unless limit is 0.
func showBytes(b []byte, limit int) string {
	out := make([]string, len(b))
	for i, c := range b {
		v := int(c)
		if limit > 0 && v >= limit {
			v -= 256
		}
		out[i] = strconv.Itoa(v)
	}
	return strings.Join(out, ",")
}

func findEncoding(name string) (*encoding, error) {
	lower := strings.ToLower(name)
	if lower == "utf-8" {
		lower = "utf8"
	}
	for i := range encodings {
		if encodings[i].name == lower {
			return &encodings[i], nil
		}
	}
	return nil, usagef("encoding %q: want one of %s", name, strings.Join(encodingNames(), ", "))
}

func encodingNames() (names []string) {
	for i := range encodings {
		names = append(names, encodings[i].name)
	}
	return names
}

// part is what of a record some bytes are.
type part int

const (
	hashKey part = iota
	sortKey
	value
	parts            // how many there are
	verbatim = parts // no part of a record: a word as it is
)

// partNames are those of pegic.
var partNames = [parts]string{"hashkey", "sortkey", "value"}

// encodingOf is the way that a part is written.
func (s *Shell) encodingOf(p part) *encoding {
	if e := s.encodings[p]; e != nil {
		return e
	}
	return &encodings[0]
}

// bytes reads an argument that is a part of a record.
func (s *Shell) bytes(p part, arg string) ([]byte, error) {
	if arg == "" || p == verbatim {
		return []byte(arg), nil
	}
	e := s.encodingOf(p)
	b, err := e.parse(arg)
	switch {
	case err == nil:
		return b, nil
	case e.name == escaped:
		return nil, usagef("%q: %v", arg, err)
	}
	return nil, usagef("%s %q is not in the encoding %s: %v", partNames[p], arg, e.name, err)
}

// allBytes is bytes for several arguments. The parts say what they are; the last ones repeat, as many as loop says.
func (s *Shell) allBytes(args []string, loop int, parts ...part) ([][]byte, error) {
	out := make([][]byte, len(args))
	for i, a := range args {
		p := i
		if p >= len(parts) {
			p = len(parts) - loop + (i-len(parts))%loop
		}
		b, err := s.bytes(parts[p], a)
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}

// shown prints a part of a record. What is not in its encoding is said to be so and has C escapes.
func (s *Shell) shown(p part, b []byte) string {
	e := s.encodingOf(p)
	switch {
	case e.name == escaped:
		return proto.EscapeText(b, s.escapeAll)
	case len(b) == 0:
		return ""
	}
	text, ok := e.show(b)
	if !ok {
		return "(no " + e.name + ") " + proto.EscapeText(b, s.escapeAll)
	}
	return text
}

// quoted is shown between quotes.
func (s *Shell) quoted(p part, b []byte) string { return `"` + s.shown(p, b) + `"` }

func (s *Shell) encodingCommand() *cobra.Command {
	cmd := s.command(groupSession, "encoding [hashkey|sortkey|value] [encoding]", "how keys and values are written and shown", (*call).setEncoding)
	var long strings.Builder
	long.WriteString("How keys and values are written and shown.\n")
	for i := range encodings {
		fmt.Fprintf(&long, "\n  %-10s %s", encodings[i].name, encodings[i].about)
	}
	cmd.Long = long.String()
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return partNames[:], cobra.ShellCompDirectiveNoFileComp
		case 1:
			return encodingNames(), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func (c *call) setEncoding(args []string) error {
	switch len(args) {
	case 1:
		return usagef("usage: encoding [hashkey|sortkey|value] [encoding]")
	case 2:
		if err := c.encode(args[0], args[1]); err != nil {
			return err
		}
	}
	var d report.Doc
	f := d.Fields("encoding")
	for p, name := range partNames {
		f.Set(name, c.encodingOf(part(p)).name)
	}
	return c.print(&d)
}

func (s *Shell) encode(what, name string) error {
	for p := range partNames {
		if strings.ReplaceAll(what, "_", "") == partNames[p] {
			e, err := findEncoding(name)
			if err == nil {
				s.encodings[p] = e
			}
			return err
		}
	}
	return usagef("%q: want one of %s", what, strings.Join(partNames[:], ", "))
}

// encodeAll takes the flag --encoding: hashkey=int32,value=utf8.
func (s *Shell) encodeAll(text string) error {
	for _, one := range strings.Split(text, ",") {
		what, name, ok := strings.Cut(one, "=")
		if !ok {
			return usagef("--encoding %q: want hashkey=ENCODING,sortkey=ENCODING,value=ENCODING, any of them", text)
		}
		if err := s.encode(strings.TrimSpace(what), strings.TrimSpace(name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shell) compressionCommand() *cobra.Command {
	cmd := s.command(groupSession, "compression [set] [no|zstd]", "whether values are compressed when written and unpacked when read, as the Java client does",
		(*call).setCompression)
	cmd.ValidArgs = []string{"no", "zstd"}
	return cmd
}

func (c *call) setCompression(args []string) error {
	if len(args) > 0 && args[0] == "set" {
		if args = args[1:]; len(args) == 0 {
			args = []string{"no"} // as pegic has it
		}
	}
	if len(args) > 0 {
		if err := c.compress(args[0]); err != nil {
			return err
		}
		c.disconnect() // the next command connects with it
	}
	name := "no"
	if c.compressed {
		name = "zstd"
	}
	return c.out.Object("compression: "+name, "compression", name)
}

func (s *Shell) compress(name string) error {
	switch strings.ToLower(name) {
	case "no":
		s.compressed = false
	case "zstd":
		s.compressed = true
	default:
		return usagef("compression %q: want no or zstd", name)
	}
	return nil
}
