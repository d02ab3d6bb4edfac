package mutlog

import (
	"fmt"
	"slices"

	"pegasus/netcore/proto"
)

// history is what one log directory tells about its partitions; the rules are those of the package comment. It is fed record
// by record in the order of the log, and finished once.
type history struct {
	flushed func(proto.GPID) proto.Decree
	stride  int64
	parts   map[proto.GPID]*past
	floor   uint64 // segments below are void
	// open are the damages since the last table; a table settles what they cost.
	open []damage
	// synced is, per segment since the last table, up to where it was durable once; lastSynced the newest segment of which
	// anything was, so that the segments before it were finished.
	synced     map[uint64]int64
	lastSynced uint64
	suspect    bool
	// nextSeq is the number expected next; gap the first missing number before a file that came instead, 0 for none.
	nextSeq, gap uint64
}

// past is the part of a history that concerns one partition.
type past struct {
	gpid    proto.GPID
	flushed proto.Decree
	// unchecked: nobody knows what the store holds, so the log cannot be held against it.
	unchecked bool
	ballot    proto.Ballot
	index     index
	lastAt    position // of the last accepted record
	hole      *hole
	// lost are decrees that a table misses: spoiled in the end, unless a later record of a higher ballot replaces them.
	lost    Range
	spoiled string
}

// hole is a record that does not follow what was accepted before it. Whether that is a loss or a torn tail turns out later.
type hole struct {
	decree proto.Decree
	at     position
}

// damage is a range of bytes that is no record. Of a segment that cannot be read at all, or is missing, off is 0.
type damage struct {
	at     position
	end    int64
	known  bool
	gpid   proto.GPID
	decree proto.Decree
	rotten bool // durable once for sure, whatever synced says
}

func newHistory(o *Options) *history {
	return &history{flushed: o.Flushed, stride: o.IndexStride, parts: map[proto.GPID]*past{}, synced: map[uint64]int64{}}
}

func (h *history) past(g proto.GPID) *past {
	p := h.parts[g]
	if p == nil {
		p = &past{gpid: g}
		p.unchecked = true
		if h.flushed != nil {
			d := h.flushed(g)
			p.flushed, p.unchecked = max(d, 0), d < 0
		}
		h.parts[g] = p
	}
	return p
}

// begin announces the next file, in order of seq.
func (h *history) begin(seq uint64) {
	if h.nextSeq != 0 && seq > h.nextSeq && h.gap == 0 {
		h.gap = h.nextSeq
	}
	h.nextSeq = seq + 1
}

func (h *history) visit(seq uint64, it *item) error {
	at := position{seq, it.off}
	if it.damaged {
		h.damaged(damage{at: at, end: it.end, known: it.known, gpid: it.gpid, decree: it.decree})
		return nil
	}
	if h.gap != 0 {
		// Only records behind it show that the missing segment was ever used.
		h.open = append(h.open, damage{at: position{seq: h.gap}, rotten: true})
		h.gap = 0
	}
	if it.header.synced > segmentHeaderLen {
		h.lastSynced = max(h.lastSynced, seq)
	}
	h.synced[seq] = max(h.synced[seq], int64(it.header.synced))
	r := &it.header.rec
	switch it.header.typ {
	case typeTable:
		floor, entries, err := parseTable(it.payload)
		if err != nil {
			return err
		}
		h.table(floor, entries)
	case typeForget:
		delete(h.parts, r.GPID)
	case typeMutation:
		h.mutation(r, at)
	}
	return nil
}

func (h *history) damaged(d damage) {
	if d.known && d.decree == 0 {
		// A forget record says all it has to say by its name; a table is replaced by the next one.
		delete(h.parts, d.gpid)
		d.gpid = proto.GPID{}
	}
	h.open = append(h.open, d)
}

func (h *history) mutation(r *Record, at position) {
	p := h.past(r.GPID)
	last := p.index.last
	switch {
	case p.spoiled != "":
		return
	case p.lost.First != 0 && r.Decree > p.lost.First:
		p.lost.Last = min(p.lost.Last, r.Decree-1)
		return
	case r.Decree == last+1, r.Decree <= p.flushed+1 && r.Decree > last:
	case last == 0 && (p.unchecked || len(h.open) == 0):
		// Nothing was lost before it here: what it continues is in another log, or the store; merge will see.
	case r.Decree <= last && r.Ballot > p.ballot:
	case r.Decree > last+1:
		if p.hole == nil {
			p.hole = &hole{r.Decree, at}
		}
		return
	default:
		return
	}
	stride := h.stride
	if n := len(h.open); n > 0 && p.lastAt.less(h.open[n-1].at) {
		// No reader should have to cross damaged bytes on its way from one mark to the next.
		stride = 0
	}
	p.index.add(r.Decree, at, stride)
	p.ballot, p.lastAt, p.hole, p.lost = r.Ballot, at, nil, Range{}
}

// table settles everything before it.
func (h *history) table(floor uint64, entries []tableEntry) {
	h.floor = max(h.floor, floor)
	kept := make(map[proto.GPID]*past, len(entries))
	for _, e := range entries {
		p := h.past(e.gpid)
		kept[e.gpid] = p
		last := p.index.last
		switch {
		case p.spoiled != "":
		case e.last == spoiledEntry:
			p.spoil("an earlier recovery found records lost above decree %d", last)
		case last >= e.last:
			p.index.cut(e.last)
			p.lost = Range{}
		case e.last <= p.flushed || p.unchecked && (last == 0 || h.missing()):
			// Flushed before, and perhaps freed: nothing is missed. Of a store that does not tell, this is believed of segments
			// that are not there; when it opens again, merge holds it against what is.
			p.index = index{last: e.last}
			p.lost = Range{}
		case p.lost.First == 0:
			p.lost = Range{max(last, p.flushed) + 1, e.last}
		}
		p.hole = nil
	}
	h.parts = kept
	h.open = h.open[:0]
	clear(h.synced)
}

// missing tells whether segments before this point are not there. Those in the middle are freed like others, see freeSegments.
func (h *history) missing() bool {
	return slices.ContainsFunc(h.open, func(d damage) bool { return d.rotten && d.at.off == 0 && d.end == 0 })
}

func (p *past) spoil(format string, args ...any) {
	if p.spoiled == "" {
		p.spoiled = fmt.Sprintf(format, args...)
	}
}

// finish settles what no table did.
func (h *history) finish() {
	rotten := func(d *damage) bool {
		return d.rotten || d.at.seq < h.lastSynced || d.at.off < h.synced[d.at.seq]
	}
	for i := range h.open {
		d := &h.open[i]
		switch {
		case !rotten(d):
		case d.known && d.gpid == (proto.GPID{}):
		case d.known:
			if p := h.past(d.gpid); d.decree > p.flushed && (d.decree > p.index.last || d.decree < p.index.first()) {
				p.spoil("decree %d is damaged in segment %d at %d", d.decree, d.at.seq, d.at.off)
			}
		default:
			h.suspect = true
			for _, p := range h.parts {
				if p.hole != nil || p.lastAt.less(d.at) {
					p.spoil("records may be lost in segment %d from %d to %d", d.at.seq, d.at.off, d.end)
				}
			}
		}
	}
	for _, p := range h.parts {
		if p.lost.First != 0 {
			p.spoil("decrees %d to %d are lost", p.lost.First, p.lost.Last)
		}
		if p.hole == nil {
			continue
		}
		torn := false
		for i := range h.open {
			torn = torn || !rotten(&h.open[i])
		}
		if !torn {
			p.spoil("decree %d in segment %d at %d follows %d", p.hole.decree, p.hole.at.seq, p.hole.at.off, p.index.last)
		}
		p.hole = nil
	}
	h.open = nil
}
