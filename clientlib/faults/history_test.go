package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// verb is what an operation does to its key.
type verb uint8

const (
	opGet verb = iota
	opSet
	opDel
	opIncr // adds by, answers the sum
	opCAS  // sets value if the record is what the worker expects; answers what it found
)

var verbNames = [...]string{"get", "set", "del", "incr", "check_and_set"}

func (v verb) String() string { return verbNames[v] }

// content is what a key holds. The zero value is "no record".
type content struct {
	there bool
	value string
}

func (c content) String() string {
	if !c.there {
		return "nothing"
	}
	return strconv.Quote(c.value)
}

// op is one operation of a history.
type op struct {
	worker   int
	verb     verb
	value    string  // set, check_and_set: what is written
	by       int64   // incr
	expect   content // check_and_set
	seen     content // get, check_and_set: what was found; incr: the sum
	applied  bool    // check_and_set: it wrote
	maybe    bool    // no answer: it may have happened, or happen until the end of the history
	from, to int64   // nanoseconds since the start of the recorder, monotonic
}

func (o *op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%9.3f-%-9.3f w%d %v", float64(o.from)/1e6, float64(o.to)/1e6, o.worker, o.verb)
	switch o.verb {
	case opSet:
		fmt.Fprintf(&b, " %q", o.value)
	case opIncr:
		fmt.Fprintf(&b, " %d", o.by)
	case opCAS:
		fmt.Fprintf(&b, " %v to %q", o.expect, o.value)
	}
	switch {
	case o.maybe:
		b.WriteString(" -> ?")
	case o.verb == opCAS:
		fmt.Fprintf(&b, " -> %v, found %v", o.applied, o.seen)
	case o.verb == opGet || o.verb == opIncr:
		fmt.Fprintf(&b, " -> %v", o.seen)
	}
	return b.String()
}

// step is the sequential behaviour of one key: may o happen on c, and what does it leave?
func step(c content, o *op) (bool, content) {
	switch o.verb {
	case opGet:
		return o.seen == c, c
	case opSet:
		return true, content{true, o.value}
	case opDel:
		return true, content{}
	case opIncr:
		old := int64(0)
		if c.there {
			var err error
			if old, err = strconv.ParseInt(c.value, 10, 64); err != nil {
				return false, c
			}
		}
		sum := content{true, strconv.FormatInt(old+o.by, 10)}
		return o.maybe || o.seen == sum, sum
	}
	matches := o.expect == c
	after := c
	if matches {
		after = content{true, o.value}
	}
	return o.maybe || o.seen == c && o.applied == matches, after
}

var model = porcupine.Model{
	Init: func() any { return content{} },
	Step: func(state, input, _ any) (bool, any) { return step(state.(content), input.(*op)) },
	Hash: func(state any) uint64 {
		h := uint64(14695981039346656037)
		for _, b := range []byte(state.(content).value) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		return h
	},
}

// verdict checks the history of one key that was absent at first.
//
// Written values are unique, so a write without an answer that nobody ever saw can be left out: wherever it may have
// happened, nothing happened between it and the next write that depends on it. That keeps the search small. Those that
// were seen, and additions and deletions, stay and may happen as late as the end.
func verdict(ops []*op, patience time.Duration) porcupine.CheckResult {
	seen := map[string]bool{}
	for _, o := range ops {
		if !o.maybe {
			seen[o.seen.value] = true
		}
	}
	var list []porcupine.Operation
	for _, o := range ops {
		to := o.to
		if o.maybe {
			if (o.verb == opSet || o.verb == opCAS) && !seen[o.value] {
				continue
			}
			to = math.MaxInt64
		}
		list = append(list, porcupine.Operation{ClientId: o.worker, Input: o, Call: o.from, Return: to})
	}
	return porcupine.CheckOperationsTimeout(model, list, patience)
}

// recorder collects the histories of many keys.
type recorder struct {
	start time.Time

	mu   sync.Mutex
	keys map[string]*[]*op
}

func newRecorder() *recorder { return &recorder{start: time.Now(), keys: map[string]*[]*op{}} }

func (r *recorder) now() int64 { return int64(time.Since(r.start)) }

// add records an operation that has ended.
func (r *recorder) add(key string, o *op) {
	o.to = r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.keys[key]
	if list == nil {
		list = new([]*op)
		r.keys[key] = list
	}
	*list = append(*list, o)
}

// checkPatience bounds the search on one key.
const checkPatience = 20 * time.Second

// check returns a description of every key whose history no order of its operations explains, or could not be decided.
func (r *recorder) check() (bad []string, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, list := range r.keys {
		total += len(*list)
		if res := verdict(*list, checkPatience); res != porcupine.Ok {
			bad = append(bad, fmt.Sprintf("key %s: %v\n%s", key, map[porcupine.CheckResult]string{
				porcupine.Illegal: "not linearizable", porcupine.Unknown: "no decision in time",
			}[res], story(*list)))
		}
	}
	slices.Sort(bad)
	return bad, total
}

// story prints the end of the shortest beginning of a history that cannot be explained.
func story(list []*op) string {
	ops := slices.Clone(list)
	slices.SortFunc(ops, func(a, b *op) int { return cmp.Compare(a.to, b.to) })
	lo, hi := 0, len(ops)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if verdict(until(ops, ops[mid].to), time.Second) == porcupine.Illegal {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	const most = 40
	var b strings.Builder
	for _, o := range ops[max(0, hi+1-most) : hi+1] {
		fmt.Fprintf(&b, "    %v\n", o)
	}
	return b.String()
}

// until returns the history as it was known at a time: what had not ended then has no answer.
func until(ops []*op, at int64) (known []*op) {
	for _, o := range ops {
		switch {
		case o.to <= at:
			known = append(known, o)
		case o.from <= at && o.verb != opGet:
			open := *o
			open.maybe, open.seen = true, content{}
			known = append(known, &open)
		}
	}
	return known
}
