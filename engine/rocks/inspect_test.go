package rocks_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// written makes a closed store with n records at decree n, in one file per family.
func written(t *testing.T, o rocks.Options, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rdb")
	s, err := rocks.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var b engine.BatchBuilder
		key := engine.AppendKey(nil, []byte("hash"), fmt.Appendf(nil, "%04d", i))
		b.Put(key, 0, 0, fmt.Appendf(nil, "value %d", i))
		if err := s.Apply(proto.Decree(i+1), b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func tables(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	return list
}

func TestReadOnly(t *testing.T) {
	o := rocks.Options{Shared: shared}
	dir := written(t, o, 50)
	before := listing(t, dir)
	r, err := rocks.OpenReadOnly(dir, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.Decree() != 50 || r.DataVersion() != engine.DataV1 {
		t.Errorf("decree %d, data version %d", r.Decree(), r.DataVersion())
	}
	v, found, err := r.Get(engine.AppendKey(nil, []byte("hash"), []byte("0007")))
	if err != nil || !found || string(v[engine.ValueHeaderLen:]) != "value 7" {
		t.Errorf("got %q, %v, %v", v, found, err)
	}
	if _, found, err := r.Get(engine.AppendKey(nil, []byte("hash"), []byte("x"))); found || err != nil {
		t.Errorf("a record that is not there: %v, %v", found, err)
	}
	it, err := r.NewIterator(engine.IterOptions{Tier: engine.TierAll})
	if err != nil {
		t.Fatal(err)
	}
	var rows engine.Rows
	if _, _, err := it.Next(&rows, engine.SliceLimit{MaxRows: 1000}); err != nil || rows.Len() != 50 {
		t.Errorf("%d rows, %v", rows.Len(), err)
	}
	it.Close()
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	r.Close()
	if after := listing(t, dir); after != before {
		t.Errorf("looking at a store changed its files from %s to %s", before, after)
	}
}

func TestReadOnlyFindsDamage(t *testing.T) {
	o := rocks.Options{Shared: shared}
	dir := written(t, o, 50)
	for _, file := range tables(t, dir) {
		spoil(t, file, 20)
	}
	r, err := rocks.OpenReadOnly(dir, o, 0)
	if err == nil {
		err = r.Verify()
		r.Close()
	}
	if !errors.Is(err, engine.ErrCorruption) {
		t.Errorf("a damaged store gave %v", err)
	}
	if _, err := rocks.OpenReadOnly(t.TempDir(), o, 0); !errors.Is(err, engine.ErrNotStore) {
		t.Errorf("an empty folder gave %v", err)
	}
}

// spoil changes a byte of a file.
func spoil(t *testing.T, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0xff
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSSTFile(t *testing.T) {
	dir := written(t, rocks.Options{Shared: shared}, 50)
	seen := map[string]uint64{}
	var rows int
	for _, path := range tables(t, dir) {
		f, err := rocks.OpenSSTFile(path)
		if err != nil {
			t.Fatal(err)
		}
		family, n, err := f.Family()
		if err != nil {
			t.Fatal(err)
		}
		seen[family] += n
		if err := f.Verify(); err != nil {
			t.Error(err)
		}
		if p, err := f.Properties(); err != nil || !strings.Contains(p, "# entries: ") {
			t.Errorf("properties %q, %v", p, err)
		}
		if family == "default" {
			if err := f.Seek(engine.AppendKey(nil, []byte("hash"), []byte("0010"))); err != nil {
				t.Fatal(err)
			}
			for {
				more, err := f.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
				if rows == 0 && !strings.HasSuffix(string(f.Key()), "0010") {
					t.Errorf("the first key behind 0010 is %q", f.Key())
				}
				rows++
			}
		}
		f.Close()
		spoil(t, path, 20)
		if f, err = rocks.OpenSSTFile(path); err == nil {
			err = f.Verify()
			f.Close()
		}
		if !errors.Is(err, engine.ErrCorruption) {
			t.Errorf("a damaged file gave %v", err)
		}
	}
	if seen["default"] != 50 || seen["pegasus_meta_cf"] == 0 || rows != 40 {
		t.Errorf("entries %v, %d rows from 0010 on", seen, rows)
	}
	if _, err := rocks.OpenSSTFile(filepath.Join(dir, "CURRENT")); err == nil {
		t.Error("CURRENT is no table file")
	}
}
