package mutlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A saved log is one file with the records of one partition, taken out of the log of its shard so that the log may forget it: a
// replica that cannot be opened must not hold the segments of its neighbours. It is a segment like any other, of number savedSeq,
// and ends with a record of type table, without which it is not whole. What follows the floor in that table is the reason why the
// partition is spoiled, if it is: to take it out of the log must not make it look whole.

const savedSeq = 1

// saveChunk is how much is written at a time.
const saveChunk = 1 << 20

// Save writes what r reads into the file of that name, which it replaces, durably. spoiled is why the partition lost records,
// empty if it did not. It blocks. Nothing is there under the name before all of it is.
func Save(fsys disk.FS, name string, r *Reader, spoiled string) error {
	return save(fsys, name, r.gpid, r, spoiled)
}

// SaveRecords is Save for records that are at hand: those of one partition, in the order of their decrees.
func SaveRecords(fsys disk.FS, name string, g proto.GPID, records []Record) error {
	return save(fsys, name, g, &recordList{left: records}, "")
}

// source is where save takes records from.
type source interface {
	Next() bool
	Record() Record
	Err() error
}

// recordList is a source of records in memory.
type recordList struct {
	now  Record
	left []Record
}

func (l *recordList) Next() bool {
	if len(l.left) == 0 {
		return false
	}
	l.now, l.left = l.left[0], l.left[1:]
	return true
}

func (l *recordList) Record() Record { return l.now }
func (l *recordList) Err() error     { return nil }

func save(fsys disk.FS, name string, g proto.GPID, r source, spoiled string) (err error) {
	tmp := name + ".tmp"
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if err = errors.Join(writeSaved(f, g, r, spoiled), f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

func writeSaved(f disk.File, g proto.GPID, r source, spoiled string) error {
	buf := segmentHeader(savedSeq)
	off := int64(0)
	at := place{seq: savedSeq}
	add := func(typ recordType, rec *Record) error {
		if off+int64(len(buf)) > math.MaxUint32-int64(recordSize(len(rec.Payload))) {
			return fmt.Errorf("%w: a saved log may have 4 GiB", ErrTooLarge)
		}
		start := len(buf)
		buf = appendRecord(buf, typ, rec)
		stamp(buf[start:], at)
		at.prevOffset, at.prevGPID, at.prevDecree = uint32(off+int64(start)), rec.GPID, rec.Decree
		if len(buf) < saveChunk {
			return nil
		}
		_, err := f.WriteAt(buf, off)
		off += int64(len(buf))
		buf = buf[:0]
		return err
	}
	for r.Next() {
		rec := r.Record()
		if err := add(typeMutation, &rec); err != nil {
			return err
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	end := binary.LittleEndian.AppendUint64(nil, 0)
	if err := add(typeTable, &Record{GPID: g, Payload: append(end, spoiled...)}); err != nil {
		return err
	}
	if _, err := f.WriteAt(buf, off); err != nil {
		return err
	}
	return f.Sync()
}

// Load reads what Save wrote: deliver gets every record in order, with a payload that is valid until it returns. It blocks. The
// error is ErrDamaged when the file is not whole, and fs.ErrNotExist when there is none.
func Load(fsys disk.FS, name string, g proto.GPID, deliver func(Record) error) (spoiled string, err error) {
	b, err := disk.ReadFile(fsys, name)
	if err != nil {
		return "", err
	}
	whole := false
	err = scanSegment(b, savedSeq, func(it *item) error {
		switch {
		case it.damaged || whole || it.header.rec.GPID != g:
			return fmt.Errorf("%w: %s at %d", ErrDamaged, name, it.off)
		case it.header.typ == typeTable && len(it.payload) >= 8:
			whole, spoiled = true, string(it.payload[8:])
			return nil
		case it.header.typ != typeMutation:
			return fmt.Errorf("%w: %s at %d", ErrDamaged, name, it.off)
		}
		r := it.header.rec
		r.Payload = it.payload
		return deliver(r)
	})
	if err == nil && !whole {
		err = fmt.Errorf("%w: %s has no end", ErrDamaged, name)
	}
	return spoiled, err
}

// Tail returns a Reader of everything that the log holds durably of a partition, and whether records of it were lost before. The
// error is ErrNotInLog when nothing is held.
func (l *Log) Tail(g proto.GPID) (r *Reader, spoiled bool, err error) {
	p := l.parts[g]
	switch {
	case p == nil || p.index.first() == 0 && !p.spoiled:
		return nil, false, ErrNotInLog
	case p.index.first() == 0:
		return newReader(l.fs, l.dir, &p.index, g, 1, 0), true, nil // all is lost, which is to be remembered
	}
	r, err = l.Read(g, p.index.first(), p.last)
	return r, p.spoiled, err
}

// Partitions are those that the log holds.
func (l *Log) Partitions() []proto.GPID {
	list := make([]proto.GPID, 0, len(l.parts))
	for g := range l.parts {
		list = append(list, g)
	}
	return list
}
