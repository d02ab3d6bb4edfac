package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Violation is one thing that is wrong with a file. Line is 0 when the fault is that a key is missing.
type Violation struct {
	Line int
	Key  string // dotted, with the index of the element in an array of tables: peers[1].raft
	What string // what was found and what is allowed
}

// Violations is the error of a file that could be read but not accepted: everything that is wrong with it, by line.
type Violations struct {
	File string
	List []Violation
}

func (v *Violations) add(line int, key, what string) {
	v.List = append(v.List, Violation{Line: line, Key: key, What: what})
}

// has tells whether key, or anything inside it, was refused already.
func (v *Violations) has(key string) bool {
	return slices.ContainsFunc(v.List, func(o Violation) bool {
		inside, ok := strings.CutPrefix(o.Key, key)
		return ok && (inside == "" || inside[0] == '.' || inside[0] == '[')
	})
}

// syntax takes over the error of the TOML parser: it stops at the first one, so it is the only one known.
func (v *Violations) syntax(err error) {
	var p toml.ParseError
	if errors.As(err, &p) {
		line := p.Position.Line
		if strings.HasSuffix(p.Message, `'\n' instead`) {
			line-- // the parser has counted the line break that it complains about
		}
		v.add(line, p.LastKey, p.Message)
		return
	}
	v.add(0, "", err.Error())
}

func (v *Violations) orNil() error {
	if len(v.List) == 0 {
		return nil
	}
	slices.SortStableFunc(v.List, func(a, b Violation) int { return a.Line - b.Line })
	return v
}

// Error has one line per violation: file:line: key: what.
func (v *Violations) Error() string {
	var b strings.Builder
	for i, o := range v.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(v.File)
		if o.Line > 0 {
			fmt.Fprintf(&b, ":%d", o.Line)
		}
		b.WriteString(": ")
		if o.Key != "" {
			b.WriteString(o.Key + ": ")
		}
		b.WriteString(o.What)
	}
	return b.String()
}
