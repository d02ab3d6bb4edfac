package mutlog

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// Range is a run of decrees, both ends included. The zero value is empty.
type Range struct{ First, Last proto.Decree }

// Report is the outcome of opening logs.
type Report struct {
	// Partitions are the partitions found and what of them the logs hold, spoiled ones up to the loss.
	Partitions map[proto.GPID]Range
	// Spoiled are partitions that lost records which were durable once, with the reason. They are quarantined: Append refuses
	// them until Forget.
	Spoiled map[proto.GPID]string
	// Suspect is set when records were lost and nothing tells of which partition. Every partition listed in Partitions and not
	// in Spoiled is proven whole; one that the store has and that is not listed cannot be trusted. It is said once: the next write
	// puts a table behind the damage, so act on it durably before.
	Suspect bool
	// Split are partitions with records in several logs, after a change of the number of shards. Their stores must be flushed
	// and they must be forgotten in all logs before they serve; until then Append refuses them.
	Split []proto.GPID
	// Segments, Bytes and Records count what was read and intact; Damages the ranges that were not, torn tails included.
	Segments, Records, Damages int
	Bytes                      int64
}

// image is a log directory as read.
type image struct {
	dir      string
	segments []*segmentImage
	unused   []uint64 // files after the last segment, without a record
	nextSeq  uint64
	history  *history
}

type segmentImage struct {
	seq  uint64
	last map[proto.GPID]proto.Decree // highest decree per partition
	// synced is up to where the records themselves say that the segment was durable; end is behind the last one.
	synced, end int64
}

// Open opens the log in dir, which is made if it does not exist, and replays it: replay gets every record that counts, per
// partition in decree order without gaps, and none at or below Options.Flushed. Its payload is valid until it returns; an error
// ends Open. Open blocks. It makes durable what it replays, and writes nothing else but the directory: the log gets its first segment
// from a chore.
func Open(fsys disk.FS, dir string, o Options, replay func(Record) error) (*Log, Report, error) {
	logs, _, rep, err := OpenAll(fsys, []string{dir}, nil, o, replay)
	if err != nil {
		return nil, rep, err
	}
	return logs[0], rep, nil
}

// OpenAll opens the logs of all shards of a node, and reads foreign ones: logs of shards that no longer exist. Records are
// matched by partition, whichever log they are in. A foreign log is removed by its Retire once the stores have flushed it.
func OpenAll(fsys disk.FS, live, foreign []string, o Options, replay func(Record) error) ([]*Log, []*Foreign, Report, error) {
	o = o.withDefaults()
	rep := Report{Partitions: map[proto.GPID]Range{}, Spoiled: map[proto.GPID]string{}}
	if err := o.validate(); err != nil {
		return nil, nil, rep, err
	}
	for _, dir := range live {
		if err := fsys.MkdirAll(dir); err != nil {
			return nil, nil, rep, err
		}
		if err := fsys.SyncDir(path.Dir(path.Clean(dir))); err != nil {
			return nil, nil, rep, err
		}
	}
	var images []*image
	for _, dir := range slices.Concat(live, foreign) {
		im, err := readImage(fsys, dir, &o, &rep)
		if err != nil {
			return nil, nil, rep, fmt.Errorf("log %s: %w", dir, err)
		}
		images = append(images, im)
	}
	for _, im := range images {
		if err := im.settle(fsys); err != nil {
			return nil, nil, rep, fmt.Errorf("log %s: %w", im.dir, err)
		}
	}
	m := merge(images)
	m.report(&rep)
	if err := m.replay(fsys, replay); err != nil {
		return nil, nil, rep, err
	}
	var logs []*Log
	for _, im := range images[:len(live)] {
		logs = append(logs, newLog(fsys, o, im, m))
	}
	var others []*Foreign
	for _, im := range images[len(live):] {
		others = append(others, newForeign(fsys, im, m))
	}
	return logs, others, rep, nil
}

// readImage reads a directory once, front to back.
func readImage(fsys disk.FS, dir string, o *Options, rep *Report) (*image, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	im := &image{dir: dir, history: newHistory(o)}
	var buf []byte
	for _, name := range names {
		seq, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		im.history.begin(seq)
		s := &segmentImage{seq: seq, last: map[proto.GPID]proto.Decree{}}
		if buf, err = readSegment(fsys, path.Join(dir, name), buf, o); err != nil {
			// Unreadable is as good as lost. The file stays: a later run may be able to read it, or finds it below the floor.
			im.history.damaged(damage{at: position{seq: seq}, rotten: true})
			rep.Damages++
			im.keep(nil, seq)
			continue
		}
		found, err := im.scan(s, buf, rep)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if found == 0 {
			im.unused = append(im.unused, seq)
			continue
		}
		rep.Segments++
		im.keep(s, seq)
	}
	if len(im.unused) > 0 && im.nextSeq == 0 {
		im.nextSeq = im.unused[0]
	}
	im.nextSeq = max(im.nextSeq, 1)
	im.history.finish()
	return im, nil
}

// scan feeds a segment to the history and returns the number of intact records.
func (im *image) scan(s *segmentImage, b []byte, rep *Report) (int, error) {
	found := 0
	err := scanSegment(b, s.seq, func(it *item) error {
		if it.damaged {
			rep.Damages++
		} else {
			found++
			s.synced, s.end = max(s.synced, int64(it.header.synced)), it.end
			rep.Records++
			rep.Bytes += it.end - it.off
			if r := &it.header.rec; it.header.typ == typeMutation {
				s.last[r.GPID] = max(s.last[r.GPID], r.Decree)
			}
		}
		return im.history.visit(s.seq, it)
	})
	return found, err
}

// keep enters a segment that is in use; s is nil for one that cannot be read. Files without a record before it were given up
// and leave in their turn.
func (im *image) keep(s *segmentImage, seq uint64) {
	for _, u := range im.unused {
		im.segments = append(im.segments, &segmentImage{seq: u})
	}
	im.unused = im.unused[:0]
	if s != nil {
		im.segments = append(im.segments, s)
	}
	im.nextSeq = seq + 1
}

// settle makes durable what a process that died may have left in the page cache only: whatever is replayed counts as durable from
// then on, also for peers. The bytes are written again and not only synced, because the process may have died of a failed sync,
// after which Linux takes pages for clean that never reached the disk.
func (im *image) settle(fsys disk.FS) error {
	for _, s := range im.segments {
		if s.end <= s.synced {
			continue
		}
		f, err := fsys.OpenRW(path.Join(im.dir, segmentName(s.seq)))
		if err != nil {
			return err
		}
		tail := make([]byte, s.end-s.synced)
		if err = disk.Fill(f, tail, s.synced); err == nil {
			if _, err = f.WriteAt(tail, s.synced); err == nil {
				err = f.Datasync()
			}
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// maxSegmentSize is the limit of Options.SegmentSize; a larger file is no segment.
const maxSegmentSize = 1 << 30

// readSegment reads a whole file into buf, which it may replace.
func readSegment(fsys disk.FS, name string, buf []byte, o *Options) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return buf, err
	}
	if size > maxSegmentSize {
		return buf, fmt.Errorf("%s: %d bytes are too many for a segment", name, size)
	}
	buf = slices.Grow(buf[:0], int(max(size, o.SegmentSize)))[:size]
	return buf, disk.Fill(f, buf, 0)
}

// newLog turns an image into an open log.
func newLog(fsys disk.FS, o Options, im *image, m *merged) *Log {
	l := &Log{fs: fsys, dir: im.dir, o: o, parts: map[proto.GPID]*part{}, nextSeq: im.nextSeq}
	for g, p := range im.history.parts {
		last := max(p.index.last, p.flushed)
		l.parts[g] = &part{
			gpid: g, below: noBelow, last: last, written: last, durable: last, flushed: p.flushed, ballot: p.ballot, index: p.index,
			quarantined: m.quarantined(g), spoiled: m.parts[g].spoiled != "",
		}
	}
	for _, si := range im.segments {
		if si.seq < im.history.floor {
			l.free = append(l.free, segmentName(si.seq))
			continue
		}
		s := &segment{seq: si.seq, end: o.SegmentSize, synced: o.SegmentSize}
		// Sorted, because what OldestHolder says depends on the order.
		for _, g := range slices.SortedFunc(maps.Keys(si.last), proto.GPID.Compare) {
			if p := l.parts[g]; p != nil {
				p.member = s.join(p)
				p.member.last = si.last[g]
			}
		}
		l.segments = append(l.segments, s)
	}
	l.freeSegments()
	l.trimFree(max(0, o.Recycle))
	// Their numbers come again, so the files must be gone before, and not be recycled.
	for _, seq := range im.unused {
		l.files.remove = append(l.files.remove, segmentName(seq))
	}
	return l
}

// Foreign is a log of a shard that no longer exists, already replayed. It is not written to.
type Foreign struct {
	fs    disk.FS
	dir   string
	needs map[proto.GPID]proto.Decree // last decree in the log, of partitions that are not flushed
}

func newForeign(fsys disk.FS, im *image, m *merged) *Foreign {
	f := &Foreign{fs: fsys, dir: im.dir, needs: map[proto.GPID]proto.Decree{}}
	for g, p := range im.history.parts {
		if p.index.last > p.flushed || m.quarantined(g) {
			f.needs[g] = p.index.last
		}
	}
	return f
}

// Dir is the directory.
func (f *Foreign) Dir() string { return f.dir }

// FlushedUpTo tells that the partition's store is durable up to d without any log.
func (f *Foreign) FlushedUpTo(g proto.GPID, d proto.Decree) {
	if last, ok := f.needs[g]; ok && d >= last {
		delete(f.needs, g)
	}
}

// Forget gives up what the log holds of a partition.
func (f *Foreign) Forget(g proto.GPID) { delete(f.needs, g) }

// Done tells that nobody needs the log any more.
func (f *Foreign) Done() bool { return len(f.needs) == 0 }

// Retire removes the log and its directory. It blocks. Other files in the directory, if any, keep it in place.
func (f *Foreign) Retire() error {
	if !f.Done() {
		return fmt.Errorf("log %s still holds records of %d partitions", f.dir, len(f.needs))
	}
	names, err := f.fs.List(f.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := parseSegmentName(name); !ok {
			return fmt.Errorf("log %s: %s is not part of a log", f.dir, name)
		}
		if err := f.fs.Remove(path.Join(f.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := f.fs.SyncDir(f.dir); err != nil {
			return err
		}
	}
	if err := f.fs.Remove(f.dir); err != nil {
		return err
	}
	return f.fs.SyncDir(path.Dir(path.Clean(f.dir)))
}
