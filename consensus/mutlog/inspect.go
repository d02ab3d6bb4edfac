package mutlog

import (
	"fmt"
	"io/fs"
	"path"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// Check tells what OpenAll would say of logs, and changes nothing on the disk: what each holds of which partition, which lost
// records, how much is damaged.
func Check(fsys disk.FS, dirs []string, o Options) (Report, error) {
	o = o.withDefaults()
	rep := Report{Partitions: map[proto.GPID]Range{}, Spoiled: map[proto.GPID]string{}}
	if err := o.validate(); err != nil {
		return rep, err
	}
	var images []*image
	for _, dir := range dirs {
		im, err := readImage(fsys, dir, &o, &rep)
		if err != nil {
			return rep, fmt.Errorf("log %s: %w", dir, err)
		}
		images = append(images, im)
	}
	merge(images).report(&rep)
	return rep, nil
}

// Entry is something in a log, as it lies there.
type Entry struct {
	Segment uint64
	Offset  int64 // of the entry in the segment
	End     int64 // of the next one
	// Kind says what it is. Record is that of a mutation; of the others it has what is known: the partition that is
	// forgotten, or of which a record is damaged.
	Kind   EntryKind
	Record Record
	// Floor is the first segment that counts, and Partitions how many the table lists, for an EntryTable.
	Floor      uint64
	Partitions int
}

// EntryKind is the kind of an Entry.
type EntryKind int

// The kinds of entries.
const (
	EntryMutation EntryKind = iota
	EntryTable              // the state of all partitions, first of a segment
	EntryForget             // everything of the partition before is void
	EntryDamage             // bytes that are no entry
)

// String names the kind.
func (k EntryKind) String() string {
	return [...]string{"mutation", "table", "forget", "damage"}[k]
}

// Dump calls visit with everything that lies in the log in dir, in the order of the file names: also what is void, damaged or
// was replaced later. A payload is valid until visit returns. An error of visit ends it. A log that is being written may be
// dumped too; what is written meanwhile may be missing or look damaged.
func Dump(fsys disk.FS, dir string, visit func(*Entry) error) error {
	o := Options{}.withDefaults()
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	var buf []byte
	found := false
	for _, name := range names {
		seq, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		found = true
		if buf, err = readSegment(fsys, path.Join(dir, name), buf, &o); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := scanSegment(buf, seq, func(it *item) error { return visit(entryOf(seq, it)) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !found {
		return fmt.Errorf("%w: %s holds no segment of a log", errNoLog, dir)
	}
	return nil
}

var errNoLog = fmt.Errorf("mutlog: %w", fs.ErrNotExist)

func entryOf(seq uint64, it *item) *Entry {
	e := &Entry{Segment: seq, Offset: it.off, End: it.end}
	switch {
	case it.damaged:
		e.Kind, e.Record = EntryDamage, Record{GPID: it.gpid, Decree: it.decree}
	case it.header.typ == typeTable:
		e.Kind = EntryTable
		if floor, entries, err := parseTable(it.payload); err == nil {
			e.Floor, e.Partitions = floor, len(entries)
		}
	case it.header.typ == typeForget:
		e.Kind, e.Record = EntryForget, it.header.rec
	default:
		e.Record = it.header.rec
		e.Record.Payload = it.payload
	}
	return e
}
