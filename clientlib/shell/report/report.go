// Package report prints what a command found out: as aligned tables for people and as JSON for scripts, from the same
// document, so that the two cannot say different things.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Doc is what a command prints: parts in order.
type Doc struct{ parts []part }

type part interface {
	title() string
	text(b *strings.Builder, colour bool)
	json(b *strings.Builder) error
}

// Table is a part with rows of equal length. Values are strings, bools, integers, float64, time.Time, time.Duration,
// Mark, or nil for what is not known.
type Table struct {
	name    string
	columns []string
	rows    [][]any
}

// Fields is a part with one value per key.
type Fields struct {
	name  string
	pairs []pair
}

type pair struct {
	key   string
	value any
}

// lines is a part of free text, one JSON string.
type lines struct{ name, body string }

// Mark is text that asks for attention: it is coloured on a terminal and plain text everywhere else.
type Mark struct {
	Text string
	Bad  bool // red; otherwise green
}

// Good marks a state that is as it should be, Bad one that is not.
func Good(text string) Mark { return Mark{Text: text} }

// Bad marks a state that is not as it should be.
func Bad(text string) Mark { return Mark{Text: text, Bad: true} }

// Table adds a table. The name is the heading for people and the key in JSON.
func (d *Doc) Table(name string, columns ...string) *Table {
	t := &Table{name: name, columns: columns}
	d.parts = append(d.parts, t)
	return t
}

// Fields adds a list of keys with values.
func (d *Doc) Fields(name string) *Fields {
	f := &Fields{name: name}
	d.parts = append(d.parts, f)
	return f
}

// Text adds free text.
func (d *Doc) Text(name, body string) { d.parts = append(d.parts, lines{name, body}) }

// Row adds a row; its values stand for the columns in order.
func (t *Table) Row(values ...any) {
	if len(values) != len(t.columns) {
		panic(fmt.Sprintf("report: %d values for %d columns of %s", len(values), len(t.columns), t.name))
	}
	t.rows = append(t.rows, values)
}

// Set adds a key with its value.
func (f *Fields) Set(key string, value any) *Fields {
	f.pairs = append(f.pairs, pair{key, value})
	return f
}

// Printer writes documents. The zero value of the flags is plain text.
type Printer struct {
	W      io.Writer
	JSON   bool
	Colour bool
}

// Print writes a document. In JSON it is one object with a member for each part, or the value of the only part when
// that has no name; the text ends with a line break.
func (p *Printer) Print(d *Doc) error {
	var b strings.Builder
	if p.JSON {
		if err := d.json(&b); err != nil {
			return err
		}
	} else {
		for i, part := range d.parts {
			if i > 0 {
				b.WriteByte('\n')
			}
			if part.title() != "" {
				b.WriteString(paint("["+part.title()+"]", bold, p.Colour) + "\n")
			}
			part.text(&b, p.Colour)
		}
	}
	_, err := io.WriteString(p.W, b.String())
	return err
}

func (d *Doc) json(b *strings.Builder) error {
	if len(d.parts) == 1 && d.parts[0].title() == "" {
		if err := d.parts[0].json(b); err != nil {
			return err
		}
		b.WriteByte('\n')
		return nil
	}
	b.WriteByte('{')
	for i, part := range d.parts {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := member(b, part.title()); err != nil {
			return err
		}
		if err := part.json(b); err != nil {
			return err
		}
	}
	b.WriteString("}\n")
	return nil
}

// Object writes one record of a stream: the values in JSON as an object on a line of its own, for people the text.
func (p *Printer) Object(text string, keysAndValues ...any) error {
	if !p.JSON {
		_, err := io.WriteString(p.W, text+"\n")
		return err
	}
	f := &Fields{}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		f.Set(keysAndValues[i].(string), keysAndValues[i+1])
	}
	return p.Print(&Doc{parts: []part{f}})
}

func (t *Table) title() string  { return t.name }
func (f *Fields) title() string { return f.name }
func (l lines) title() string   { return l.name }

const (
	bold  = "1"
	red   = "31"
	green = "32"
)

func paint(s, colour string, on bool) string {
	if !on {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// gap is between two columns.
const gap = "  "

// text aligns numbers to the right and everything else to the left; the last column is not padded.
func (t *Table) text(b *strings.Builder, colour bool) {
	width := make([]int, len(t.columns))
	number := make([]bool, len(t.columns))
	for i, c := range t.columns {
		width[i] = utf8.RuneCountInString(c)
		number[i] = slices.ContainsFunc(t.rows, func(row []any) bool { return isNumber(row[i]) })
	}
	for _, row := range t.rows {
		for i, v := range row {
			width[i] = max(width[i], utf8.RuneCountInString(show(v)))
			number[i] = number[i] && (v == nil || isNumber(v))
		}
	}
	line := func(cell func(i int) (text string, colour string)) {
		var out strings.Builder
		for i := range t.columns {
			s, c := cell(i)
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
			if c != "" {
				s = paint(s, c, colour)
			}
			switch {
			case number[i]:
				out.WriteString(pad + s)
			case i < len(t.columns)-1:
				out.WriteString(s + pad)
			default:
				out.WriteString(s)
			}
			if i < len(t.columns)-1 {
				out.WriteString(gap)
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
	line(func(i int) (string, string) { return t.columns[i], bold })
	for _, row := range t.rows {
		line(func(i int) (string, string) { return show(row[i]), colourOf(row[i]) })
	}
}

func (f *Fields) text(b *strings.Builder, colour bool) {
	width := 0
	for _, p := range f.pairs {
		width = max(width, utf8.RuneCountInString(p.key))
	}
	for _, p := range f.pairs {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(p.key))
		s := show(p.value)
		if c := colourOf(p.value); c != "" {
			s = paint(s, c, colour)
		}
		// Further lines of a value stand under its first.
		s = strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", width+3))
		b.WriteString(strings.TrimRight(p.key+pad+" : "+s, " ") + "\n")
	}
}

func (l lines) text(b *strings.Builder, _ bool) {
	b.WriteString(l.body)
	if l.body != "" && !strings.HasSuffix(l.body, "\n") {
		b.WriteByte('\n')
	}
}

func colourOf(v any) string {
	switch v := v.(type) {
	case Mark:
		if v.Bad {
			return red
		}
		return green
	}
	return ""
}

func isNumber(v any) bool {
	switch v.(type) {
	case int, int32, int64, uint64, uint32, uint16, uint8, float64:
		return true
	}
	return false
}

// show prints a value for people.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		return v
	case Mark:
		return v.Text
	case float64:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05")
	case time.Duration:
		return v.Round(time.Second).String()
	}
	return fmt.Sprint(v)
}

func (t *Table) json(b *strings.Builder) error {
	b.WriteByte('[')
	for i, row := range t.rows {
		if i > 0 {
			b.WriteByte(',')
		}
		f := Fields{}
		for j, v := range row {
			f.Set(t.columns[j], v)
		}
		if err := f.json(b); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func (f *Fields) json(b *strings.Builder) error {
	b.WriteByte('{')
	for i, p := range f.pairs {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := member(b, p.key); err != nil {
			return err
		}
		if err := scalar(b, p.value); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func (l lines) json(b *strings.Builder) error { return scalar(b, l.body) }

func member(b *strings.Builder, key string) error {
	if err := scalar(b, key); err != nil {
		return err
	}
	b.WriteByte(':')
	return nil
}

// scalar writes a value: times as RFC 3339, durations as seconds.
func scalar(b *strings.Builder, v any) error {
	switch x := v.(type) {
	case Mark:
		v = x.Text
	case time.Time:
		v = x.UTC().Format(time.RFC3339)
	case time.Duration:
		v = x.Seconds()
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("report: %T: %w", v, err)
	}
	b.Write(out)
	return nil
}
