package route

import (
	"slices"
	"time"

	"pegasus/netcore/proto"
)

// The distance between two questions about a table doubles from askFirst to askMost while answers bring nothing new.
const (
	askFirst = 20 * time.Millisecond
	askMost  = time.Second
)

// Table is what a client knows of a table, and what it has still to ask. The zero value knows nothing and wants to know
// everything.
type Table struct {
	// Rand spreads pauses; it is set before the first use.
	Rand Rand

	m      *Map // nil before the first answer
	gone   proto.ErrCode
	asking bool
	asked  []int32 // by the question under way; nil means all
	wanted []int32 // in doubt, not asked yet, sorted; unused when all is true
	all    bool
	due    time.Duration // the next question must not be asked earlier
	last   time.Duration // when the last one ended
	futile int           // questions in a row that brought nothing new
}

// Question is what meta is to be asked. No partitions means all.
type Question struct{ Partitions []int32 }

// Map returns the newest map, nil before the first answer.
func (t *Table) Map() *Map { return t.m }

// Gone is what the last answer of meta said in place of a configuration, such as proto.ErrObjectNotFound for a table that
// does not exist; proto.ErrOK when there was none.
func (t *Table) Gone() proto.ErrCode { return t.gone }

// Doubt makes the whole table worth a question.
func (t *Table) Doubt() { t.all = true }

// Refresh is Doubt for somebody who needs the answer now: it cuts the distance to the last question to its least.
func (t *Table) Refresh() { t.all, t.due = true, min(t.due, t.last+askFirst) }

// Suspect reports that a partition was not served where the map of a version said. It returns true when the newest map
// says something newer, so that the request may be sent again at once; otherwise the partition has become worth a question.
func (t *Table) Suspect(part int32, version uint64) (newer bool) {
	switch {
	case t.m == nil || int(part) >= len(t.m.Entries):
		t.all = true
	case t.m.Entries[part].At > version:
		return true
	default:
		if i, known := slices.BinarySearch(t.wanted, part); !known {
			t.wanted = slices.Insert(t.wanted, i, part)
		}
	}
	return false
}

// Next gives the question that is due. Otherwise ok is false, and wait is how long to wait until Next is to be called
// again, negative when that has to wait for something else to happen.
func (t *Table) Next(now time.Duration) (q Question, wait time.Duration, ok bool) {
	if t.asking || !t.all && len(t.wanted) == 0 && t.m != nil {
		return Question{}, -1, false
	}
	if now < t.due {
		return Question{}, t.due - now, false
	}
	t.asking = true
	t.asked = nil
	if !t.all && t.m != nil && 2*len(t.wanted) <= len(t.m.Entries) {
		t.asked = slices.Clone(t.wanted)
	}
	t.all, t.wanted = false, t.wanted[:0]
	return Question{Partitions: t.asked}, 0, true
}

// Answer takes meta's answer to the question under way. It returns whether requests that wait may find what they wait for
// now. The error is that of an answer that makes no sense, which counts as none.
func (t *Table) Answer(now time.Duration, resp *proto.QueryCfgResponse) (changed bool, err error) {
	if resp.Err == proto.ErrBusyCreating {
		t.missed(now)
		return false, resp.Err
	}
	if resp.Err != proto.ErrOK {
		changed = t.gone != resp.Err
		t.gone = resp.Err
		t.missed(now)
		return changed, nil
	}
	old := t.m
	var next *Map
	switch {
	case t.asked == nil:
		version := uint64(1)
		if old != nil {
			version = old.Version + 1
		}
		next, err = newMap(resp, version)
	case resp.AppID != old.App || int(resp.PartitionCount) != len(old.Entries):
		// Another table of this name, or more partitions: what was answered does not fit what is known.
		t.asking, t.all, t.due = false, true, now
		return false, nil
	default:
		next, err = old.merged(resp)
	}
	if err != nil {
		t.missed(now)
		return false, err
	}
	t.asking, t.m = false, next
	changed = t.gone != proto.ErrOK || news(old, next)
	t.gone = proto.ErrOK
	t.space(now, changed)
	return changed, nil
}

// Fail ends the question under way without an answer.
func (t *Table) Fail(now time.Duration) { t.missed(now) }

// missed asks the same again later.
func (t *Table) missed(now time.Duration) {
	t.asking = false
	if t.asked == nil {
		t.all = true
	}
	for _, p := range t.asked {
		t.Suspect(p, t.m.Entries[p].At)
	}
	t.space(now, false)
}

func (t *Table) space(now time.Duration, changed bool) {
	if changed {
		t.futile = 0
	}
	t.last = now
	t.due = now + t.Rand.Spread(doubled(askFirst, askMost, t.futile))
	t.futile++
}

// news tells whether a map sends requests elsewhere than the one before.
func news(old, next *Map) bool {
	if old == nil || old.App != next.App || len(old.Entries) != len(next.Entries) {
		return true
	}
	for i := range next.Entries {
		if next.Entries[i].differs(&old.Entries[i]) {
			return true
		}
	}
	return false
}
