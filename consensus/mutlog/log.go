package mutlog

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"

	"pegasus/netcore/disk"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Log is an open log. One owner; see the package comment for what runs where.
type Log struct {
	fs    disk.FS
	dir   string
	o     Options
	parts map[proto.GPID]*part

	// Invariant: segments are in order of seq, without the spare; active, if any, is the last of them.
	segments []*segment
	active   *segment // nil after a failed write until a spare takes its place
	spare    *segment
	nextSeq  uint64 // of the next spare
	free     []string
	files    fileDuty

	pending  batch
	inflight bool
	write    Write // the one write, reused
	stalled  bool  // write met a full disk; NextWrite hands it out again
	chore    *Chore
	choreErr error // of the last chore

	pins    []*Pin
	sweep   bool   // somebody needs less since freeSegments looked at all segments
	round   uint64 // numbers Completes, see part.round
	durable []Durable
	stats   counters
}

// part is what the log knows of a partition.
type part struct {
	gpid proto.GPID
	// last is the last decree appended, written the last one handed to a write, durable the last one reported durable.
	// durable <= written <= last, but before the first write and while one that replaces decrees is pending.
	last, written, durable proto.Decree
	durableBallot          proto.Ballot // of the record of decree durable
	flushed                proto.Decree
	ballot                 proto.Ballot // of last
	// below bounds durable while the pending write replaces decrees: what an older write brings above it is void already.
	below       proto.Decree
	index       index
	quarantined bool
	spoiled     bool // quarantined because of a loss that must not be forgotten by a restart
	gone        bool // by Forget; writes under way and segments may still point here
	forgotten   bool // gone, and durably so

	member *member // of the newest segment with records of this partition
	round  uint64  // the Complete that listed it last, at listed
	listed int
}

const noBelow proto.Decree = math.MaxInt64

// batch is the encoded records of one write.
type batch struct {
	buf  []byte
	recs []queued
}

// queued is a record in a batch; its bytes start at off.
type queued struct {
	part   *part
	off    int
	typ    recordType
	decree proto.Decree
	ballot proto.Ballot
}

// keepBuffer is the capacity above which a batch buffer is given back to the heap after use.
const keepBuffer = 4 << 20

func (b *batch) reset() {
	clear(b.recs)
	b.buf, b.recs = b.buf[:0], b.recs[:0]
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
}

func (b *batch) add(p *part, typ recordType, r *Record) {
	b.recs = append(b.recs, queued{part: p, off: len(b.buf), typ: typ, decree: r.Decree, ballot: r.Ballot})
	b.buf = appendRecord(b.buf, typ, r)
}

// recordEnd is where the bytes of record i end.
func (b *batch) recordEnd(i int) int {
	if i+1 < len(b.recs) {
		return b.recs[i+1].off
	}
	return len(b.buf)
}

// Durable is the progress of one partition: every decree up to Decree is durable. In the list that comes with an error it is a
// partition that lost what it had appended beyond Decree.
type Durable struct {
	GPID   proto.GPID
	Decree proto.Decree
	Ballot proto.Ballot // of the record of that decree; it tells the record from one that it replaced
}

// Append copies r, payload included, into the next write. No I/O; nothing is allocated once the buffers have grown.
//
// Decrees of a partition rise by one. A record whose decree was appended before replaces it and everything after it; it must
// have a higher ballot. The first record of a partition may have any decree.
//
// Errors: ErrBusy, ErrFull, ErrTooLarge, ErrQuarantined; the log is unchanged then.
func (l *Log) Append(r *Record) error {
	if err := l.Check(r.GPID, len(r.Payload)); err != nil {
		return err
	}
	p := l.parts[r.GPID]
	if p == nil {
		p = &part{gpid: r.GPID, below: noBelow}
		l.parts[r.GPID] = p
	}
	if p.last != 0 && r.Decree != p.last+1 && !(r.Decree <= p.last && r.Ballot > p.ballot) || r.Decree < 1 {
		invariant.Assertf(false, "%v: append of decree %d, ballot %d after decree %d, ballot %d",
			r.GPID, r.Decree, r.Ballot, p.last, p.ballot)
	}
	switch {
	case p.last == 0:
		// The store has what comes before.
		p.durable = r.Decree - 1
	case r.Decree <= p.last:
		p.below = min(p.below, r.Decree-1)
		p.durable = min(p.durable, p.below)
	}
	p.last, p.ballot = r.Decree, r.Ballot
	l.pending.add(p, typeMutation, r)
	return nil
}

// roomFor tells whether size more bytes can be written soon. While a spare may still be coming the answer is yes: pending is
// bounded anyway.
func (l *Log) roomFor(size int) bool {
	coming := l.chore != nil && l.chore.make || l.choreErr == nil && (len(l.free) > 0 || l.mayGrow())
	if l.spare != nil || coming {
		return true
	}
	return l.active != nil && l.active.room(l.o.SegmentSize) >= l.tableSize()+len(l.pending.buf)+size
}

// Forget drops a partition: its records no longer hold segments, are never replayed again, and a quarantine ends. On disk it
// takes effect with the next write, before any record appended later. A partition that is not in the log is ignored.
func (l *Log) Forget(g proto.GPID) {
	p := l.parts[g]
	if p == nil {
		return
	}
	delete(l.parts, g)
	p.gone = true
	for _, pin := range l.pins {
		if pin.part == p {
			pin.lost = true
		}
	}
	l.pending.add(p, typeForget, &Record{GPID: g})
}

// tableSize is the space that the first write of the active segment needs for its table; 0 for later writes.
func (l *Log) tableSize() int {
	if l.active == nil || l.active.end > segmentHeaderLen {
		return 0
	}
	return recordSize(tableLen(len(l.parts)))
}

// NextWrite returns the next write, or nil when one is in flight, nothing is pending, or there is no segment to write to
// until a chore has made one. After a write that met a full disk it returns the same one again: the owner waits a while
// before it asks.
func (l *Log) NextWrite() *Write {
	if l.inflight || len(l.pending.recs) == 0 && !l.stalled {
		return nil
	}
	w := &l.write
	if l.stalled {
		l.inflight = true
		return w
	}
	if l.active == nil || l.active.room(l.o.SegmentSize) < l.tableSize()+len(l.pending.buf) {
		if l.spare == nil {
			return nil
		}
		if l.active != nil {
			w.retired, w.retiredSegment, w.syncRetired = l.active.file, l.active, l.o.Sync == SyncOS
			l.active.file = nil
		}
		l.active, l.spare = l.spare, nil
		l.segments = append(l.segments, l.active)
		l.sweep = true
		l.dropGreedyPins()
	}
	s := l.active
	w.segment, w.file, w.off, w.sync = s, s.file, s.end, l.o.Sync == SyncGroup
	w.at = place{seq: s.seq, synced: uint32(s.synced), prevOffset: s.prevOffset, prevGPID: s.prevGPID, prevDecree: s.prevDecree}
	w.table = w.table[:0]
	if s.end == segmentHeaderLen {
		w.table = l.encodeTable(w.table)
	}
	w.batch, l.pending = l.pending, w.batch
	l.place(w)
	l.inflight = true
	return w
}

// encodeTable appends the table record of a new segment. No write is in flight, so what is written is also durable.
func (l *Log) encodeTable(dst []byte) []byte {
	entries := make([]tableEntry, 0, len(l.parts))
	for g, p := range l.parts {
		switch {
		case p.spoiled:
			entries = append(entries, tableEntry{gpid: g, last: spoiledEntry})
		case p.written > 0:
			entries = append(entries, tableEntry{gpid: g, last: p.written})
		}
	}
	slices.SortFunc(entries, func(a, b tableEntry) int { return a.gpid.Compare(b.gpid) })
	payload := appendTable(make([]byte, 0, tableLen(len(entries))), l.segments[0].seq, entries)
	return appendRecord(dst, typeTable, &Record{Payload: payload})
}

// place enters the records of w into index and segment.
func (l *Log) place(w *Write) {
	s := w.segment
	if len(w.table) > 0 {
		s.prevOffset, s.prevGPID, s.prevDecree = uint32(s.end), proto.GPID{}, 0
		s.end += int64(len(w.table))
	}
	for i := range w.batch.recs {
		q := &w.batch.recs[i]
		p, off := q.part, s.end+int64(q.off)
		s.prevOffset, s.prevGPID, s.prevDecree = uint32(off), p.gpid, q.decree
		if q.typ != typeMutation {
			continue
		}
		p.written, p.below = q.decree, noBelow
		if p.gone {
			continue
		}
		p.index.add(q.decree, position{s.seq, off}, l.o.IndexStride)
		if p.member == nil || p.member.segment != s {
			p.member = s.join(p)
		}
		p.member.last = max(p.member.last, q.decree)
	}
	s.end += int64(len(w.batch.buf))
}

// Complete takes back a write after Do. The list names each partition whose durable decree moved; it is valid until the next
// Complete.
//
// ErrNoSpace means that the disk is full and nothing is lost: the write waits, Append says ErrFull, and NextWrite hands the
// write out again. It is written again from its first byte, so a sync that failed for want of space is not asked about bytes
// that the kernel has given up.
//
// With another error the log has given up the segment and the list names the partitions that lost records, those still pending
// included. They are quarantined until Forget. A partition should then be told EventLogFailed; whether its records beyond
// Decree are on disk is unknown until the next write is durable, and from then on they are gone.
func (l *Log) Complete(w *Write) ([]Durable, error) {
	invariant.Assertf(w == &l.write && l.inflight, "complete of a write that is not in flight")
	l.inflight = false
	l.round++
	l.durable = l.durable[:0]
	err := w.err
	if l.stalled = w.full; w.full {
		return nil, fmt.Errorf("write of log segment %d: %w: %w", w.segment.seq, ErrNoSpace, err)
	}
	if err != nil {
		l.abandon(w)
		err = fmt.Errorf("write of log segment %d: %w", w.segment.seq, err)
	} else {
		l.stats.writes++
		l.stats.records += uint64(len(w.batch.recs))
		l.stats.bytes += uint64(len(w.table) + len(w.batch.buf))
		if w.sync {
			l.stats.syncs++
			w.segment.synced = w.segment.end
		}
		for i := range w.batch.recs {
			switch q := &w.batch.recs[i]; {
			case q.typ == typeForget:
				q.part.forgotten = true
			case !q.part.gone:
				if q.decree <= q.part.below {
					q.part.durableBallot = q.ballot
				}
				q.part.durable = min(q.decree, q.part.below)
				l.list(q.part)
			}
		}
		l.freeSegments()
	}
	w.batch.reset()
	w.segment, w.file, w.retired, w.retiredSegment, w.err = nil, nil, nil, nil, nil
	return l.durable, err
}

// list enters p into the result of the current Complete, once.
func (l *Log) list(p *part) {
	if p.round != l.round {
		p.round, p.listed = l.round, len(l.durable)
		l.durable = append(l.durable, Durable{GPID: p.gpid})
	}
	l.durable[p.listed].Decree, l.durable[p.listed].Ballot = p.durable, p.durableBallot
}

// abandon gives up the segment of a failed write. Nothing is written to it again and it is not synced again: after a failed
// fsync Linux takes the lost pages for clean.
func (l *Log) abandon(w *Write) {
	l.stats.failures++
	s := w.segment
	l.files.close = append(l.files.close, s.file)
	s.file, l.active = nil, nil
	s.bad = true
	lost := func(p *part) {
		if !p.gone {
			l.quarantine(p)
			l.list(p)
		}
	}
	for i := range w.batch.recs {
		lost(w.batch.recs[i].part)
	}
	if l.o.Sync == SyncOS {
		// Nothing of the segment was ever synced, nor, if that failed, of the one before.
		for _, m := range s.members {
			lost(m.part)
		}
		if w.retiredFailed {
			for _, m := range w.retiredSegment.members {
				lost(m.part)
			}
		}
	}
	l.requeue(w)
}

// quarantine cuts p back to what is durable.
func (l *Log) quarantine(p *part) {
	p.quarantined = true
	p.last, p.written, p.below = p.durable, p.durable, noBelow
	p.index.cut(p.durable)
	for _, pin := range l.pins {
		if pin.part == p {
			pin.lost = true
		}
	}
}

// requeue rebuilds pending after a failed write: records of quarantined partitions leave, forget records of the write come
// again.
func (l *Log) requeue(w *Write) {
	var keep batch
	take := func(b *batch, want func(q *queued) bool) {
		for i := range b.recs {
			if q := b.recs[i]; want(&q) {
				from, to := q.off, b.recordEnd(i)
				q.off = len(keep.buf)
				keep.recs = append(keep.recs, q)
				keep.buf = append(keep.buf, b.buf[from:to]...)
			}
		}
	}
	take(&w.batch, func(q *queued) bool { return q.typ == typeForget })
	take(&l.pending, func(q *queued) bool { return q.typ == typeForget || !q.part.quarantined && !q.part.gone })
	l.pending = keep
}

// Drain runs everything that is pending, writes and chores, and waits for it: for shutdown and for tools. It blocks. The
// caller must not have a Write or Chore under way. progress, if not nil, gets the result of every Complete.
func (l *Log) Drain(progress func([]Durable, error)) error {
	var errs []error
	chores := true
	for {
		if chores {
			if c := l.NextChore(); c != nil {
				// The error comes back from CompleteChore.
				_ = c.Do()
				if err := l.CompleteChore(c); err != nil {
					errs = append(errs, err)
					chores = false
				}
				continue
			}
		}
		w := l.NextWrite()
		if w == nil {
			break
		}
		_ = w.Do()
		d, err := l.Complete(w)
		if progress != nil {
			progress(d, err)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if l.stalled {
			break
		}
	}
	if len(l.pending.recs) > 0 {
		errs = append(errs, fmt.Errorf("%w for %d pending records", ErrFull, len(l.pending.recs)))
	}
	return errors.Join(errs...)
}

// Close closes the files. What is still pending is not written: Drain first. No Write or Chore may be under way.
func (l *Log) Close() error {
	invariant.Assertf(!l.inflight && l.chore == nil, "close of log %s with work under way", l.dir)
	for _, s := range []*segment{l.active, l.spare} {
		if s != nil && s.file != nil {
			l.files.close = append(l.files.close, s.file)
			s.file = nil
		}
	}
	var errs []error
	for _, f := range l.files.close {
		errs = append(errs, f.Close())
	}
	l.files.close = nil
	return errors.Join(errs...)
}

func (l *Log) path(name string) string { return path.Join(l.dir, name) }
