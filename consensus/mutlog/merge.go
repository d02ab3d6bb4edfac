package mutlog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// merged is what several logs together hold. Almost always each partition is in one of them; after a change of the number of
// shards one may continue in another.
type merged struct {
	images []*image
	parts  map[proto.GPID]*total
	split  map[proto.GPID]bool
}

// total is a partition over all logs.
type total struct {
	flushed proto.Decree
	checked bool  // against the store
	runs    []run // by first decree, without overlap or gap
	spoiled string
	next    proto.Decree // the next to be replayed
}

// run is what one image has of a partition and what counts of it.
type run struct {
	image *image
	past  *past
	Range
}

func merge(images []*image) *merged {
	m := &merged{images: images, parts: map[proto.GPID]*total{}, split: map[proto.GPID]bool{}}
	for _, im := range images {
		for g, p := range im.history.parts {
			t := m.parts[g]
			if t == nil {
				t = &total{flushed: p.flushed, checked: !p.unchecked}
				m.parts[g] = t
			}
			if p.spoiled != "" && t.spoiled == "" {
				t.spoiled = fmt.Sprintf("%s: %s", im.dir, p.spoiled)
			}
			if first := p.index.first(); first > 0 {
				t.runs = append(t.runs, run{im, p, Range{first, p.index.last}})
			}
		}
	}
	for g, t := range m.parts {
		if len(t.runs) > 1 {
			m.split[g] = true
		}
		t.join()
	}
	return m
}

// join brings the runs into one sequence of decrees that continues the store.
func (t *total) join() {
	slices.SortFunc(t.runs, func(a, b run) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.past.ballot, b.past.ballot))
	})
	var runs []run
	for _, next := range t.runs {
		if len(runs) > 0 {
			prev := &runs[len(runs)-1]
			if next.Last <= prev.Last && next.past.ballot <= prev.past.ballot {
				// A copy that was not finished: only a higher ballot may shorten what is there.
				continue
			}
			if next.First > prev.Last+1 && next.First > t.flushed+1 && t.spoiled == "" {
				t.spoiled = fmt.Sprintf("decrees %d to %d are in no log", prev.Last+1, next.First-1)
			}
			if t.spoiled != "" {
				break
			}
			prev.Last = min(prev.Last, next.First-1)
		}
		runs = append(runs, next)
	}
	t.runs = runs
	t.next = t.flushed + 1
	if len(t.runs) == 0 {
		return
	}
	first := t.runs[0].First
	if first <= t.flushed+1 {
		return
	}
	if t.checked {
		if t.spoiled == "" {
			t.spoiled = fmt.Sprintf("the store ends at decree %d, the log starts at %d", t.flushed, first)
		}
		t.runs = nil
	}
	t.next = first
}

// quarantined tells that a partition must be forgotten before it goes on.
func (m *merged) quarantined(g proto.GPID) bool { return m.parts[g].spoiled != "" || m.split[g] }

func (m *merged) report(rep *Report) {
	for g, t := range m.parts {
		var r Range
		if n := len(t.runs); n > 0 {
			r = Range{t.runs[0].First, t.runs[n-1].Last}
		}
		rep.Partitions[g] = r
		if t.spoiled != "" {
			rep.Spoiled[g] = t.spoiled
		}
	}
	rep.Split = slices.SortedFunc(maps.Keys(m.split), proto.GPID.Compare)
	for _, im := range m.images {
		rep.Suspect = rep.Suspect || im.history.suspect
	}
}

// replay delivers what counts: first log by log in the order of the files, then the split partitions one by one.
func (m *merged) replay(fsys disk.FS, deliver func(Record) error) error {
	for _, im := range m.images {
		if err := m.replayImage(fsys, im, deliver); err != nil {
			return err
		}
	}
	for _, g := range slices.SortedFunc(maps.Keys(m.split), proto.GPID.Compare) {
		t := m.parts[g]
		for _, r := range t.runs {
			if from := max(t.next, r.First); from <= r.Last {
				if err := replayRun(fsys, r, g, from, deliver); err != nil {
					return err
				}
				t.next = r.Last + 1
			}
		}
	}
	return nil
}

func replayRun(fsys disk.FS, r run, g proto.GPID, from proto.Decree, deliver func(Record) error) error {
	rd := newReader(fsys, r.image.dir, &r.past.index, g, from, r.Last)
	defer rd.Close()
	for rd.Next() {
		if err := deliver(rd.Record()); err != nil {
			return err
		}
	}
	return rd.Err()
}

// replayImage delivers the records of the partitions that are in this image alone.
func (m *merged) replayImage(fsys disk.FS, im *image, deliver func(Record) error) error {
	var buf []byte
	var err error
	for _, s := range im.segments {
		if len(s.last) == 0 || s.seq < im.history.floor {
			continue
		}
		if buf, err = readSegment(fsys, im.dir+"/"+segmentName(s.seq), buf, &Options{}); err != nil {
			return err
		}
		err := scanSegment(buf, s.seq, func(it *item) error {
			if it.damaged || it.header.typ != typeMutation || !m.counts(im, s.seq, it) {
				return nil
			}
			r := it.header.rec
			r.Payload = it.payload
			return deliver(r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// counts tells whether a record is the one to be replayed next for its partition: not flushed, not given up and not replaced
// by a later one.
func (m *merged) counts(im *image, seq uint64, it *item) bool {
	r := &it.header.rec
	t := m.parts[r.GPID]
	if t == nil || m.split[r.GPID] || len(t.runs) == 0 || r.Decree != t.next || r.Decree > t.runs[0].Last {
		return false
	}
	x := &t.runs[0].past.index
	i := x.find(r.Decree)
	if i < 0 || (position{seq, it.off}).less(x.marks[i].at) {
		return false
	}
	t.next++
	return true
}
