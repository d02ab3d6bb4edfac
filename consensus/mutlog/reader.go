package mutlog

import (
	"fmt"
	"path"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// Reader reads a range of decrees of one partition, in order. Next blocks and may run on any goroutine, one at a time. Close
// belongs to the owner of the log.
type Reader struct {
	fs    disk.FS
	dir   string
	gpid  proto.GPID
	marks []mark // from the one that next is reached from
	next  proto.Decree
	to    proto.Decree

	file disk.File
	seq  uint64
	off  int64 // of the next record in file; 0 when marks[0] is to be gone to
	buf  []byte
	base int64 // offset of buf in file
	rec  Record
	err  error

	log   *Log
	holds []*segment
}

// readChunk is how much a Reader reads at a time.
const readChunk = 256 << 10

// Read returns a Reader for decrees from..to, cut off at the last that is in the log and durable. The files it needs stay until it is closed. The
// error is ErrNotInLog when from is not in the log; to below from gives an empty Reader.
func (l *Log) Read(g proto.GPID, from, to proto.Decree) (*Reader, error) {
	p := l.parts[g]
	if p == nil {
		return nil, ErrNotInLog
	}
	to = min(to, p.durable, p.index.last)
	if from <= to && p.index.find(from) < 0 {
		return nil, ErrNotInLog
	}
	r := newReader(l.fs, l.dir, &p.index, g, from, to)
	r.log = l
	if len(r.marks) == 0 {
		return r, nil
	}
	first, last := r.marks[0].at.seq, r.marks[len(r.marks)-1].at.seq
	for _, s := range l.segments {
		if s.seq >= first && s.seq <= last {
			s.readers++
			r.holds = append(r.holds, s)
		}
	}
	return r, nil
}

// newReader copies what it needs of the index, so that the log may move on.
func newReader(fsys disk.FS, dir string, x *index, g proto.GPID, from, to proto.Decree) *Reader {
	r := &Reader{fs: fsys, dir: dir, gpid: g, next: from, to: to}
	if from > to {
		return r
	}
	end := x.find(to) + 1
	r.marks = append(r.marks, x.marks[x.find(from):end]...)
	return r
}

// Next moves to the next record; false at the end or on an error.
func (r *Reader) Next() bool {
	if r.err != nil || r.next > r.to {
		return false
	}
	r.err = r.advance()
	return r.err == nil
}

// Err is what ended Next, nil at the regular end.
func (r *Reader) Err() error { return r.err }

// Record is the current record. Its payload is valid until the next call of Next or Close.
func (r *Reader) Record() Record { return r.rec }

func (r *Reader) advance() error {
	for len(r.marks) > 1 && r.marks[1].decree <= r.next {
		r.marks = r.marks[1:]
		r.off = 0
	}
	if r.off == 0 {
		if err := r.open(r.marks[0].at); err != nil {
			return err
		}
	}
	for {
		head, err := r.view(recordHeaderLen)
		if err != nil {
			return err
		}
		h, ok := parseHeader(head, r.seq)
		if !ok {
			return fmt.Errorf("%w: segment %d at %d", ErrDamaged, r.seq, r.off)
		}
		if h.typ != typeMutation || h.rec.GPID != r.gpid || h.rec.Decree != r.next {
			r.off += int64(h.size())
			continue
		}
		all, err := r.view(recordHeaderLen + h.length)
		if err != nil {
			return err
		}
		if !h.payloadOK(all[recordHeaderLen:]) {
			return fmt.Errorf("%w: segment %d at %d, decree %d", ErrDamaged, r.seq, r.off, r.next)
		}
		r.rec = h.rec
		r.rec.Payload = all[recordHeaderLen:]
		r.off += int64(h.size())
		r.next++
		return nil
	}
}

// open goes to a position.
func (r *Reader) open(at position) error {
	if r.file == nil || r.seq != at.seq {
		if err := r.closeFile(); err != nil {
			return err
		}
		f, err := r.fs.Open(path.Join(r.dir, segmentName(at.seq)))
		if err != nil {
			return err
		}
		r.file, r.buf, r.base = f, r.buf[:0], 0
	}
	r.seq, r.off = at.seq, at.off
	return nil
}

// view returns n bytes at r.off.
func (r *Reader) view(n int) ([]byte, error) {
	from := r.off - r.base
	if from >= 0 && from+int64(n) <= int64(len(r.buf)) {
		return r.buf[from : from+int64(n)], nil
	}
	want := max(n, readChunk)
	if cap(r.buf) < want {
		r.buf = make([]byte, want)
	}
	got, err := r.file.ReadAt(r.buf[:want], r.off)
	r.buf, r.base = r.buf[:got], r.off
	if got < n {
		return nil, fmt.Errorf("%w: segment %d ends at %d: %w", ErrDamaged, r.seq, r.off, err)
	}
	return r.buf[:n], nil
}

func (r *Reader) closeFile() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// Close gives up the files. A second call does nothing.
func (r *Reader) Close() error {
	for _, s := range r.holds {
		s.readers--
	}
	if len(r.holds) > 0 {
		r.holds = nil
		r.log.freeSegments()
	}
	return r.closeFile()
}
