package mutlog

import (
	"slices"
	"sort"

	"pegasus/netcore/proto"
)

// mark says where a decree of the partition starts.
type mark struct {
	decree proto.Decree
	at     position
}

// index finds the decrees of one partition. It is sparse: a mark per segment and per stride of log bytes, so its memory is
// bounded by (total size / stride) marks of 24 bytes per partition. From one mark to the next the partition's decrees follow
// each other in the log, with nothing damaged in between.
//
// Invariant: marks rise in decree and position; every decree of [marks[0].decree, last] is in the log.
type index struct {
	marks []mark
	last  proto.Decree
}

// add enters the next decree. One that does not follow the last replaces it and its successors, or, above it, starts the index
// anew.
func (x *index) add(d proto.Decree, at position, stride int64) {
	follows := d == x.last+1
	switch {
	case d > x.last+1:
		x.marks = x.marks[:0]
	case d <= x.last:
		x.cut(d - 1)
	}
	x.last = d
	if n := len(x.marks); follows && n > 0 {
		if m := x.marks[n-1].at; m.seq == at.seq && at.off-m.off < stride {
			return
		}
	}
	x.marks = append(x.marks, mark{d, at})
}

// cut drops every decree above last.
func (x *index) cut(last proto.Decree) {
	if last >= x.last {
		return
	}
	x.marks = x.marks[:sort.Search(len(x.marks), func(i int) bool { return x.marks[i].decree > last })]
	x.last = last
}

// trim drops what lies in segments up to seq.
func (x *index) trim(seq uint64) {
	n := 0
	for n < len(x.marks) && x.marks[n].at.seq <= seq {
		n++
	}
	x.marks = slices.Delete(x.marks, 0, n)
}

// first is the lowest decree in the log, 0 when there is none.
func (x *index) first() proto.Decree {
	if len(x.marks) == 0 {
		return 0
	}
	return x.marks[0].decree
}

// find returns the index of the mark that d is reached from, -1 when d is not in the log.
func (x *index) find(d proto.Decree) int {
	if d > x.last {
		return -1
	}
	return sort.Search(len(x.marks), func(i int) bool { return x.marks[i].decree > d }) - 1
}
