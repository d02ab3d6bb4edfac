package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history builds the operations of one key from times in no unit.
type history []*op

func (h *history) op(v verb, from, to int64, change func(*op)) *history {
	o := &op{verb: v, from: from, to: to}
	if change != nil {
		change(o)
	}
	*h = append(*h, o)
	return h
}

func (h *history) set(from, to int64, value string) *history {
	return h.op(opSet, from, to, func(o *op) { o.value = value })
}

func (h *history) maybeSet(from, to int64, value string) *history {
	return h.op(opSet, from, to, func(o *op) { o.value, o.maybe = value, true })
}

func (h *history) get(from, to int64, value string) *history {
	return h.op(opGet, from, to, func(o *op) { o.seen = content{value != "", value} })
}

func (h *history) incr(from, to, by int64, sum string) *history {
	return h.op(opIncr, from, to, func(o *op) { o.by, o.seen, o.maybe = by, content{sum != "", sum}, sum == "" })
}

func (h *history) cas(from, to int64, expect, value, found string, applied bool) *history {
	return h.op(opCAS, from, to, func(o *op) {
		o.expect, o.value, o.seen, o.applied = content{expect != "", expect}, value, content{found != "", found}, applied
	})
}

// The checker must accept what may happen and refuse what must not.
func TestJudge(t *testing.T) {
	h := func() *history { return &history{} }
	for name, c := range map[string]struct {
		h    *history
		want porcupine.CheckResult
	}{
		"a value is read":                    {h().set(0, 1, "1").get(2, 3, "1"), porcupine.Ok},
		"a write is lost":                    {h().set(0, 1, "1").get(2, 3, ""), porcupine.Illegal},
		"a read is stale":                    {h().set(0, 1, "1").set(2, 3, "2").get(4, 5, "1"), porcupine.Illegal},
		"a read during a write":              {h().set(0, 1, "1").set(2, 9, "2").get(3, 4, "2").get(5, 6, "2"), porcupine.Ok},
		"a value comes and goes":             {h().set(0, 1, "1").set(2, 9, "2").get(3, 4, "2").get(5, 6, "1"), porcupine.Illegal},
		"nobody wrote this":                  {h().set(0, 1, "1").get(2, 3, "7"), porcupine.Illegal},
		"no answer, never seen":              {h().set(0, 1, "1").maybeSet(2, 3, "2").get(4, 5, "1"), porcupine.Ok},
		"no answer, seen later":              {h().set(0, 1, "1").maybeSet(2, 3, "2").get(4, 5, "1").get(6, 7, "2"), porcupine.Ok},
		"no answer, seen and then gone":      {h().set(0, 1, "1").maybeSet(2, 3, "2").get(4, 5, "2").get(6, 7, "1"), porcupine.Illegal},
		"seen before it was sent":            {h().get(0, 1, "2").maybeSet(2, 3, "2"), porcupine.Illegal},
		"sums":                               {h().incr(0, 1, 2, "2").incr(2, 3, 5, "7").get(4, 5, "7"), porcupine.Ok},
		"an addition is lost":                {h().incr(0, 1, 2, "2").incr(2, 3, 5, "5"), porcupine.Illegal},
		"an addition happens twice":          {h().incr(0, 1, 2, "2").get(2, 3, "4"), porcupine.Illegal},
		"an addition without answer counts":  {h().incr(0, 1, 2, "2").incr(2, 3, 5, "").get(4, 5, "2").get(6, 7, "7"), porcupine.Ok},
		"an addition without answer, twice":  {h().incr(0, 1, 2, "2").incr(2, 3, 5, "").get(4, 5, "12"), porcupine.Illegal},
		"check_and_set on nothing":           {h().cas(0, 1, "", "1", "", true).get(2, 3, "1"), porcupine.Ok},
		"check_and_set refuses":              {h().set(0, 1, "1").cas(2, 3, "", "2", "1", false).get(4, 5, "1"), porcupine.Ok},
		"check_and_set refuses and writes":   {h().set(0, 1, "1").cas(2, 3, "", "2", "1", false).get(4, 5, "2"), porcupine.Illegal},
		"two check_and_set on one value win": {h().set(0, 1, "1").cas(2, 5, "1", "2", "1", true).cas(2, 5, "1", "3", "1", true), porcupine.Illegal},
		"a deleted record is back":           {h().set(0, 1, "1").op(opDel, 2, 3, nil).get(4, 5, "1"), porcupine.Illegal},
		"a deletion without answer": {
			h().set(0, 1, "1").op(opDel, 2, 3, func(o *op) { o.maybe = true }).get(4, 5, "1").get(6, 7, ""), porcupine.Ok},
	} {
		if got := verdict(*c.h, time.Minute); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestStoryEndsWithTheFault(t *testing.T) {
	h := new(history).set(0, 1, "1").set(2, 3, "2").get(4, 5, "1").get(6, 7, "2").get(8, 9, "2")
	r := newRecorder()
	r.keys["k"] = (*[]*op)(h)
	bad, total := r.check()
	if total != 5 || len(bad) != 1 {
		t.Fatalf("%d operations, faults %q", total, bad)
	}
	lines := strings.Split(strings.TrimSpace(bad[0]), "\n")
	if last := lines[len(lines)-1]; len(lines) != 4 || !strings.Contains(last, `get -> "1"`) {
		t.Errorf("the story does not end with the stale read:\n%s", bad[0])
	}
}
