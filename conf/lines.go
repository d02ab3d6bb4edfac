package conf

import (
	"fmt"
	"strings"
)

// lineIndex maps dotted keys (with [i] for elements of arrays of tables) and table names to their line, from 1.
//
// The TOML library keeps one position per key name, which for arrays of tables is that of the last element only. Values
// in these files are short, so a walk over the lines that knows headers, keys, and brackets and strings that span lines
// is enough and exact. It runs only over text that the library has accepted.
type lineIndex map[string]int

// of returns the line of key, or the line of the closest table around it, or 0.
func (x lineIndex) of(key string) int {
	for key != "" {
		if n, ok := x[key]; ok {
			return n
		}
		cut := strings.LastIndexByte(key, '.')
		if cut < 0 {
			return 0
		}
		key = key[:cut]
	}
	return 0
}

func indexLines(text []byte) lineIndex {
	x := lineIndex{}
	elements := map[string]int{}
	table := ""
	depth, quote := 0, ""
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if depth > 0 || quote != "" {
			depth, quote = scanValue(line, depth, quote)
			continue
		}
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "[["):
			name := keyName(line[2:strings.Index(line, "]]")])
			table = fmt.Sprintf("%s[%d].", name, elements[name])
			x[fmt.Sprintf("%s[%d]", name, elements[name])] = i + 1
			elements[name]++
		case line[0] == '[':
			name := keyName(line[1:strings.IndexByte(line, ']')])
			table = name + "."
			x[name] = i + 1
		default:
			key, value, _ := strings.Cut(line, "=")
			x[table+keyName(key)] = i + 1
			depth, quote = scanValue(value, 0, "")
		}
	}
	return x
}

// keyName normalises a key as written: spaces around dots and quotes around parts go.
func keyName(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"'`)
	}
	return strings.Join(parts, ".")
}

// scanValue walks over one line of a value and returns the depth of open brackets and the open multi-line quote.
func scanValue(s string, depth int, quote string) (int, string) {
	for s != "" {
		if quote != "" {
			end := strings.Index(s, quote)
			if end < 0 {
				if len(quote) == 1 {
					quote = "" // one-line strings end with their line
				}
				return depth, quote
			}
			if quote[0] == '"' && end > 0 && s[end-1] == '\\' {
				s = s[end+1:]
				continue
			}
			s, quote = s[end+len(quote):], ""
			continue
		}
		switch {
		case s[0] == '#':
			return depth, ""
		case strings.HasPrefix(s, `"""`), strings.HasPrefix(s, "'''"):
			quote, s = s[:3], s[3:]
			continue
		case s[0] == '"' || s[0] == '\'':
			quote = s[:1]
		case s[0] == '[' || s[0] == '{':
			depth++
		case s[0] == ']' || s[0] == '}':
			depth--
		}
		s = s[1:]
	}
	return depth, quote
}
