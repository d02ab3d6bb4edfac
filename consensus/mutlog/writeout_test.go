package mutlog

import (
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// writesFS tells what is written, and from where to where.
type writesFS struct {
	disk.FS
	writes *[]extent
}

type extent struct{ from, to int64 }

func (f writesFS) Create(name string) (disk.File, error) { return f.wrap(f.FS.Create(name)) }
func (f writesFS) OpenRW(name string) (disk.File, error) { return f.wrap(f.FS.OpenRW(name)) }

func (f writesFS) wrap(file disk.File, err error) (disk.File, error) {
	return writesFile{file, f.writes}, err
}

type writesFile struct {
	disk.File
	writes *[]extent
}

func (f writesFile) WriteAt(p []byte, off int64) (int, error) {
	*f.writes = append(*f.writes, extent{off, off + int64(len(p))})
	return f.File.WriteAt(p, off)
}

func (f writesFile) WriteBlocks(p []byte, off int64) error {
	*f.writes = append(*f.writes, extent{off, off + int64(len(p))})
	return f.File.WriteBlocks(p, off)
}

// A new segment is written from end to end before a record comes into it, a recycled one gets its header and no more, and records are
// written in whole blocks.
func TestSegmentsAreWrittenOut(t *testing.T) {
	o := small()
	o.SegmentSize, o.TotalSize = 1<<20+5<<10, 5<<20 // not whole blocks
	const whole = 1<<20 + 8<<10
	var writes []extent
	l, _, err := Open(writesFS{disk.NewMem(1), &writes}, "/log", o, replayed{}.take)
	if err != nil {
		t.Fatal(err)
	}
	chores(t, l)
	at := int64(0)
	for _, w := range writes {
		if w.from == at {
			at = w.to
		}
	}
	if at != whole {
		t.Fatalf("a new segment is written to %d of %d: %v", at, whole, writes)
	}
	recycled := false
	for d := proto.Decree(1); d <= 6000; d++ {
		mustAppend(t, l, rec(gpid(0), d, 1, 900))
		w := l.NextWrite()
		if w == nil {
			chores(t, l)
			w = l.NextWrite()
		}
		writes = writes[:0]
		if err := w.Do(); err != nil {
			t.Fatal(err)
		}
		for _, e := range writes {
			if e.from%disk.BlockSize != 0 || e.to%disk.BlockSize != 0 || e.to > whole {
				t.Fatalf("a write from %d to %d", e.from, e.to)
			}
		}
		if _, err := l.Complete(w); err != nil {
			t.Fatal(err)
		}
		l.FlushedUpTo(gpid(0), d)
		if c := l.NextChore(); c != nil {
			writes = writes[:0]
			reuse := c.recycle != ""
			if err := c.Do(); err != nil {
				t.Fatal(err)
			}
			if err := l.CompleteChore(c); err != nil {
				t.Fatal(err)
			}
			if reuse {
				recycled = true
				if len(writes) != 1 || writes[0].to > disk.BlockSize {
					t.Fatalf("a recycled segment is written at %v", writes)
				}
			}
		}
	}
	if !recycled {
		t.Fatal("no segment was recycled")
	}
}
