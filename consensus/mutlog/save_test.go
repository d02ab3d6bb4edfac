package mutlog

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

func mustTail(t *testing.T, l *Log, g proto.GPID) *Reader {
	t.Helper()
	r, spoiled, err := l.Tail(g)
	if err != nil || spoiled {
		t.Fatal(spoiled, err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// What a log holds of a partition is saved and read back record by record, also after a power loss.
func TestSaveAndLoad(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 60, 700, 0, 1)
	r := rec(gpid(0), 50, 2, 300) // replaces a tail
	mustAppend(t, l, r)
	mustDrain(t, l)
	want := map[proto.Decree]Record{}
	for d := proto.Decree(1); d < 50; d++ {
		want[d] = rec(gpid(0), d, 1, 700)
	}
	want[50] = r
	if err := Save(fsys, "/saved", mustTail(t, l, gpid(0)), ""); err != nil {
		t.Fatal(err)
	}
	fsys.PowerLoss(rand.New(rand.NewPCG(1, 2)))
	next := proto.Decree(1)
	spoiled, err := Load(fsys, "/saved", gpid(0), func(r Record) error {
		if r.Decree != next || !sameRecord(r, want[next]) {
			t.Errorf("decree %d where %d was expected", r.Decree, next)
		}
		next++
		return nil
	})
	if err != nil || spoiled != "" || next != 51 {
		t.Fatalf("%q, %v, up to %d", spoiled, err, next-1)
	}
	none := func(Record) error { return nil }
	if _, err := Load(fsys, "/saved", gpid(1), none); !errors.Is(err, ErrDamaged) {
		t.Errorf("another partition's: %v", err)
	}
	if _, err := Load(fsys, "/none", gpid(0), none); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The reason of a loss is kept. A file cut anywhere, or with any byte damaged, is not taken for whole; one that could not be
// written is not there.
func TestDamageOfASavedLog(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 3, 40, 0)
	if err := Save(fsys, "/saved", mustTail(t, l, gpid(0)), "lost decree 7"); err != nil {
		t.Fatal(err)
	}
	none := func(Record) error { return nil }
	if s, err := Load(fsys, "/saved", gpid(0), none); err != nil || s != "lost decree 7" {
		t.Fatal(s, err)
	}
	b, err := disk.ReadFile(fsys, "/saved")
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) error {
		if err := disk.WriteFile(fsys, "/damaged", b); err != nil {
			t.Fatal(err)
		}
		_, err := Load(fsys, "/damaged", gpid(0), none)
		return err
	}
	for n := range len(b) - recordAlign {
		if try(b[:n]) == nil {
			t.Fatalf("cut at %d of %d is taken for whole", n, len(b))
		}
	}
	for at := segmentHeaderLen; at < len(b)-recordAlign; at++ {
		b[at] ^= 4
		if try(b) == nil {
			t.Fatalf("damage at %d is not seen", at)
		}
		b[at] ^= 4
	}
	fsys.Inject(disk.Fault{Op: disk.OpWrite, Glob: "other.tmp", Keep: 20, Err: syscall.ENOSPC})
	if err := Save(fsys, "/other", mustTail(t, l, gpid(0)), ""); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if names, err := fsys.List("/"); err != nil || len(names) != 3 {
		t.Errorf("%v, %v", names, err)
	}
}

// What is left of a spoiled partition is saved with the word that it is not whole, also when nothing is left.
func TestTailOfASpoiledPartition(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 5, 100, 0)
	for _, left := range []proto.Decree{5, 0} {
		p := l.parts[gpid(0)]
		p.spoiled, p.quarantined = true, true
		p.index.cut(left)
		p.last = left
		r, spoiled, err := l.Tail(gpid(0))
		if err != nil || !spoiled {
			t.Fatal(spoiled, err)
		}
		if err := Save(fsys, "/saved", r, "rot"); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		n := proto.Decree(0)
		why, err := Load(fsys, "/saved", gpid(0), func(Record) error { n++; return nil })
		if err != nil || why != "rot" || n != left {
			t.Errorf("%q, %v, %d records, want %d", why, err, n, left)
		}
	}
	if _, _, err := l.Tail(gpid(3)); err != ErrNotInLog {
		t.Error(err)
	}
}
