package mutlog

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"pegasus/netcore/disk"
)

func TestDump(t *testing.T) {
	v := makeVictim(t, fresh())
	dump := func(fsys disk.FS) (mutations, tables, damages int) {
		t.Helper()
		err := Dump(fsys, victimDir, func(e *Entry) error {
			switch e.Kind {
			case EntryMutation:
				want := v.content[e.Record.GPID][e.Record.Decree-1]
				if !sameRecord(e.Record, want) {
					t.Errorf("dumped %v decree %d as %+v", e.Record.GPID, e.Record.Decree, e.Record)
				}
				mutations++
			case EntryTable:
				if e.Offset != segmentHeaderLen || e.Floor == 0 {
					t.Errorf("table at %d with floor %d", e.Offset, e.Floor)
				}
				tables++
			case EntryDamage:
				damages++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return mutations, tables, damages
	}
	all := 0
	for _, rs := range v.content {
		all += len(rs)
	}
	whole := v.with(t, "", nil)
	if m, tables, d := dump(whole); m != all || tables != len(v.names) || d != 0 {
		t.Errorf("%d of %d mutations, %d tables in %d segments, %d damages", m, all, tables, len(v.names), d)
	}
	s := v.spans[1]
	if m, _, d := dump(v.with(t, s.name, flipAt(s.off+20))); m != all-1 || d != 1 {
		t.Errorf("with one record damaged: %d of %d mutations, %d damages", m, all, d)
	}
	if err := Dump(whole, "/elsewhere", func(*Entry) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	stop := errors.New("enough")
	if err := Dump(whole, victimDir, func(*Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the visitor's error became %v", err)
	}
}

func flipAt(off int64) func([]byte) []byte {
	return func(b []byte) []byte {
		b[off] ^= 0xff
		return b
	}
}

// Whatever is damaged, Check says what the server would find, and leaves the files alone.
func TestCheckIsWhatOpenFinds(t *testing.T) {
	v := makeVictim(t, fresh())
	content := func(fsys disk.FS) map[string]string {
		all := map[string]string{}
		for _, name := range mustList(t, fsys, victimDir) {
			b, err := disk.ReadFile(fsys, victimDir+"/"+name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(b)
		}
		return all
	}
	for i, s := range v.spans {
		for _, off := range []int64{s.off, s.off + 17, s.off + recordHeaderLen} {
			if off >= s.padding {
				continue
			}
			fsys := v.with(t, s.name, flipAt(off))
			before := content(fsys)
			checked, err := Check(fsys, []string{victimDir}, fresh())
			if err != nil {
				t.Fatalf("span %d at %d: %v", i, off, err)
			}
			if !reflect.DeepEqual(before, content(fsys)) {
				t.Fatalf("span %d at %d: the check changed the files", i, off)
			}
			_, opened, _ := mustOpen(t, fsys, victimDir, fresh())
			if !reflect.DeepEqual(checked, opened) {
				t.Fatalf("span %d at %d: the check says\n%+v\nthe server finds\n%+v", i, off, checked, opened)
			}
		}
	}
}
