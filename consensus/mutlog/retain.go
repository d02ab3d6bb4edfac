package mutlog

import (
	"slices"

	"pegasus/netcore/proto"
)

// FlushedUpTo tells that the partition's store holds every decree up to d durably without the log. Segments that nobody needs
// any more are freed. The price is constant, plus the partitions of a segment when the one that held it lets go.
func (l *Log) FlushedUpTo(g proto.GPID, d proto.Decree) {
	p := l.parts[g]
	if p == nil || d <= p.flushed {
		return
	}
	p.flushed = d
	l.sweep = true
	l.freeSegments()
}

// OldestHolder tells whom to flush when the log runs full: a partition that keeps the oldest segment which flushes can free. After
// one beyond upTo the partition does not keep it any more. helps tells whether a flush of a partition gets that far; it does not
// while decrees up to upTo are prepared and not committed. ok is false when no flush frees anything. The price is the number of
// segments and their partitions.
func (l *Log) OldestHolder(helps func(g proto.GPID, upTo proto.Decree) bool) (g proto.GPID, upTo proto.Decree, ok bool) {
	for _, s := range l.segments {
		var first *member
		for _, m := range s.members {
			if !m.needed() {
				continue
			}
			if m.part.gone || !helps(m.part.gpid, m.upTo()) {
				first = nil
				break
			}
			if first == nil {
				first = m
			}
		}
		if first != nil {
			return first.part.gpid, first.upTo(), true
		}
	}
	return g, 0, false
}

// freeSegments frees what nobody needs. From the oldest on that is done as soon as possible; segments in the middle are freed once
// the log is half full. What is prepared and cannot commit (a member is dead, and meta away) holds its segments however often its
// store is flushed, and must not hold all that its neighbours have written since.
func (l *Log) freeSegments() {
	n := 0
	for n < len(l.segments) && l.release(l.segments[n]) {
		n++
	}
	l.segments = slices.Delete(l.segments, 0, n)
	if l.sweep && 2*int64(len(l.segments))*l.o.SegmentSize > l.o.TotalSize {
		l.segments = slices.DeleteFunc(l.segments, l.release)
	}
	l.sweep = false
}

// release frees a segment if nobody needs it; the caller takes it out of the list.
func (l *Log) release(s *segment) bool {
	if s == l.active || l.inflight && s == l.write.segment || s.readers > 0 || s.heldBy() != nil || l.pinned(s.seq) {
		return false
	}
	for _, m := range s.members {
		m.part.index.trim(s.seq)
		if m.part.member == m {
			m.part.member = nil
		}
	}
	// The oldest file leaves first, see Chore.Do.
	l.free = append(l.free, segmentName(s.seq))
	keep := max(0, l.o.Recycle)
	if s.bad {
		keep = 0
	}
	l.trimFree(keep)
	return true
}

// trimFree gives all but the newest keep free files to the next chore for removal.
func (l *Log) trimFree(keep int) {
	if n := len(l.free) - keep; n > 0 {
		l.files.remove = append(l.files.remove, l.free[:n]...)
		l.free = slices.Delete(l.free, 0, n)
	}
}

// Pin keeps the decrees of a partition in the log for a reader that comes back later: a learner, a duplication, a backup, a
// feed. It holds whole segments from its position on, but not without limit: when they exceed its cap, or the log its total
// size, the pin is lost and the reader needs a full resync. A pin does not survive a restart; its user takes it again.
type Pin struct {
	log  *Log
	part *part
	name string
	next proto.Decree
	seq  uint64 // oldest segment held
	max  int64
	lost bool
}

// Pin takes a pin at decree from: the first that is still wanted. It may be one above the last decree. maxBytes caps the
// log held behind the newest segment. The error is ErrNotInLog when from is not in the log.
func (l *Log) Pin(name string, g proto.GPID, from proto.Decree, maxBytes int64) (*Pin, error) {
	p := l.parts[g]
	if p == nil {
		return nil, ErrNotInLog
	}
	pin := &Pin{log: l, part: p, name: name, max: maxBytes}
	if !pin.moveTo(from) {
		return nil, ErrNotInLog
	}
	l.pins = append(l.pins, pin)
	return pin, nil
}

// moveTo finds the segment of decree d; false when it is not in the log.
func (p *Pin) moveTo(d proto.Decree) bool {
	p.next = d
	x := &p.part.index
	if i := x.find(d); i >= 0 {
		p.seq = x.marks[i].at.seq
		return true
	}
	if d <= x.last || d > p.part.last+1 {
		return false
	}
	// Not written yet: it will not be older than the newest segment.
	p.seq = p.log.newestSeq()
	return true
}

func (l *Log) newestSeq() uint64 {
	if n := len(l.segments); n > 0 {
		return l.segments[n-1].seq
	}
	return 0
}

// Name is what the pin was taken as, for reports.
func (p *Pin) Name() string { return p.name }

// Next is the first decree that is still wanted.
func (p *Pin) Next() proto.Decree { return p.next }

// Lost tells that the decrees are no longer held: the reader needs a full resync and should Release the pin.
func (p *Pin) Lost() bool { return p.lost }

// Advance tells that decrees below next are no longer wanted. Going back is not possible. A lost pin stays lost.
func (p *Pin) Advance(next proto.Decree) {
	if p.lost || next <= p.next {
		return
	}
	if !p.moveTo(next) {
		p.lost = true
	}
	p.log.freeSegments()
}

// Release gives the pin up. A second call does nothing.
func (p *Pin) Release() {
	p.lost = true
	l := p.log
	if i := slices.Index(l.pins, p); i >= 0 {
		l.pins = slices.Delete(l.pins, i, i+1)
		l.freeSegments()
	}
}

func (l *Log) pinned(seq uint64) bool {
	for _, p := range l.pins {
		if !p.lost && p.seq <= seq {
			return true
		}
	}
	return false
}

// dropGreedyPins drops the pins above their cap, when a segment was added.
func (l *Log) dropGreedyPins() {
	dropped := false
	for _, p := range l.pins {
		if p.lost {
			continue
		}
		held := int64(0)
		for _, s := range l.segments {
			if s.seq >= p.seq && s != l.active {
				held += l.o.SegmentSize
			}
		}
		if held > p.max {
			p.lost, dropped = true, true
		}
	}
	if dropped {
		l.freeSegments()
	}
}

// dropHoldingPins drops the pins that alone keep the oldest segment, when the log has no room left.
func (l *Log) dropHoldingPins() {
	if len(l.segments) == 0 || l.segments[0].heldBy() != nil {
		return
	}
	for _, p := range l.pins {
		if p.seq <= l.segments[0].seq {
			p.lost = true
		}
	}
	l.freeSegments()
}
