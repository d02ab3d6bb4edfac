package compare

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pegasus/netcore/proto/golden"
)

// clockSlack is how far two times relative to the sending may lie apart, in seconds.
const clockSlack = 5

// maxShown bounds a value in a difference, in bytes.
const maxShown = 300

// everywhere volatile: which server answered, and how many writes the partition had seen before.
var everywhere = []string{"body.server", "body.decree"}

// Diff compares a normalised response with the recorded one of a step. It returns one line per difference, in path
// order; none means equal.
func Diff(step *golden.Step, got map[string]any) []string {
	d := differ{volatile: slices.Concat(everywhere, step.Volatile), tolerance: step.Tolerance}
	d.walk("", step.Response, got)
	return d.lines
}

type differ struct {
	volatile  []string
	tolerance map[string]int64
	lines     []string
}

func (d *differ) walk(path string, want, got any) {
	if d.isVolatile(path) {
		return
	}
	if wm, ok := want.(map[string]any); ok {
		if gm, ok := got.(map[string]any); ok {
			d.maps(path, wm, gm)
			return
		}
	}
	if wl, ok := want.([]any); ok {
		if gl, ok := got.([]any); ok {
			d.lists(path, wl, gl)
			return
		}
	}
	if !d.equal(path, want, got) {
		d.lines = append(d.lines, fmt.Sprintf("%s: want %s, got %s", path, show(want), show(got)))
	}
}

func (d *differ) maps(path string, want, got map[string]any) {
	var keys []string
	for k := range want {
		keys = append(keys, k)
	}
	for k := range got {
		if _, both := want[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		p := join(path, k)
		w, inWant := want[k]
		g, inGot := got[k]
		switch {
		case d.isVolatile(p):
		case !inGot:
			d.lines = append(d.lines, fmt.Sprintf("%s: want %s, got nothing", p, show(w)))
		case !inWant:
			d.lines = append(d.lines, fmt.Sprintf("%s: want nothing, got %s", p, show(g)))
		default:
			d.walk(p, w, g)
		}
	}
}

func (d *differ) lists(path string, want, got []any) {
	if len(want) != len(got) {
		d.lines = append(d.lines, fmt.Sprintf("%s: want %d elements, got %d: want %s, got %s",
			path, len(want), len(got), show(want), show(got)))
		return
	}
	for i := range want {
		d.walk(join(path, strconv.Itoa(i)), want[i], got[i])
	}
}

func (d *differ) equal(path string, want, got any) bool {
	if want == got { // both are leaves here, or of different kinds
		return true
	}
	if wk, wd, ok := relative(want); ok {
		gk, gd, ok := relative(got)
		return ok && wk == gk && wd-gd <= clockSlack && gd-wd <= clockSlack
	}
	slack, ok := d.tolerance[path]
	if !ok {
		return false
	}
	wn, err1 := asInt(want)
	gn, err2 := asInt(got)
	return err1 == nil && err2 == nil && wn >= 0 && gn >= 0 && wn-gn <= slack && gn-wn <= slack
}

func asInt(v any) (int64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, strconv.ErrSyntax
	}
	return n.Int64()
}

func (d *differ) isVolatile(path string) bool {
	return slices.ContainsFunc(d.volatile, func(pattern string) bool { return matches(pattern, path) })
}

// matches compares a dotted path with a pattern in which * stands for any one index or key.
func matches(pattern, path string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		s, srest, smore := strings.Cut(path, ".")
		if p != "*" && p != s || pmore != smore {
			return false
		}
		if !pmore {
			return true
		}
		pattern, path = prest, srest
	}
}

// At returns the value at a dotted path of a response; ok is false when there is none.
func At(resp map[string]any, path string) (v any, ok bool) {
	v = resp
	for _, key := range strings.Split(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			if v, ok = node[key]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(node) {
				return nil, false
			}
			v = node[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// Same tells whether two values of responses are equal, without volatile paths or tolerance.
func Same(a, b any) bool {
	var d differ
	d.walk("", a, b)
	return len(d.lines) == 0
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func show(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(raw) > maxShown {
		return fmt.Sprintf("%s... (%d bytes)", raw[:maxShown], len(raw))
	}
	return string(raw)
}
