package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

// both runs a test against the real and the in-memory file system: what they share is the contract.
func both(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem(1)
		if err := m.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		test(t, m, "/data")
	})
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func create(t testing.TB, fsys FS, name string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	return f
}

func write(t testing.TB, f File, s string, off int64) {
	t.Helper()
	n, err := f.WriteAt([]byte(s), off)
	if err != nil || n != len(s) {
		t.Fatalf("wrote %d of %d: %v", n, len(s), err)
	}
}

func content(t testing.TB, fsys FS, name string) string {
	t.Helper()
	b, err := ReadFile(fsys, name)
	must(t, err)
	return string(b)
}

func TestFiles(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "a")
		f := create(t, fsys, name)
		if _, err := fsys.Create(name); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("second create: %v", err)
		}
		write(t, f, "hello", 3)
		write(t, f, "J", 3)
		if got := content(t, fsys, name); got != "\x00\x00\x00Jello" {
			t.Fatalf("content %q", got)
		}
		must(t, f.Truncate(5), f.Truncate(7), f.Datasync(), f.Sync())
		if got := content(t, fsys, name); got != "\x00\x00\x00Je\x00\x00" {
			t.Fatalf("content %q", got)
		}
		must(t, f.Preallocate(1000), f.Preallocate(10))
		if n, err := f.Size(); n != 1000 || err != nil {
			t.Fatalf("size %d, %v", n, err)
		}
		if err := Fill(f, make([]byte, 10), 995); err == nil {
			t.Fatal("read beyond the end")
		}
		must(t, f.Close())
		if f.Datasync() == nil {
			t.Fatal("sync of a closed file")
		}
		r, err := fsys.Open(name)
		must(t, err)
		if _, err := r.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("write to a file opened for reading")
		}
		must(t, r.Close())
		rw, err := fsys.OpenRW(name)
		must(t, err)
		write(t, rw, "x", 0)
		must(t, rw.Close())
	})
}

func TestWriteBlocks(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "a")
		f := create(t, fsys, name)
		defer f.Close()
		write(t, f, strings.Repeat("x", 3*BlockSize+5), 0)
		p := Blocks(2 * BlockSize)
		if len(p) != 2*BlockSize || cap(p) != len(p) || len(bytes.Trim(p, "\x00")) > 0 {
			t.Fatalf("%d bytes of %d: %q", len(p), cap(p), p)
		}
		copy(p, "first")
		copy(p[BlockSize:], "second")
		must(t, f.WriteBlocks(p[BlockSize:], BlockSize))
		must(t, f.WriteBlocks(p, 4*BlockSize), f.Datasync())
		// What the page cache had of these blocks must not hide what came past it.
		want := strings.Repeat("x", BlockSize) + string(p[BlockSize:]) + strings.Repeat("x", BlockSize+5)
		want += strings.Repeat("\x00", BlockSize-5) + string(p)
		if got := content(t, fsys, name); got != want {
			t.Fatalf("wrong content, %d bytes of %d", len(got), len(want))
		}
		write(t, f, "third", 4*BlockSize)
		if got := content(t, fsys, name)[4*BlockSize:]; !strings.HasPrefix(got, "third\x00") || len(got) != 2*BlockSize {
			t.Fatalf("content %q", got)
		}
		must(t, f.WriteBlocks(nil, 0))
		must(t, fsys.Rename(name, path.Join(dir, "b")))
		g, err := fsys.OpenRW(path.Join(dir, "b"))
		must(t, err)
		must(t, fsys.Rename(path.Join(dir, "b"), name), g.WriteBlocks(p, 0), g.Close())
		if got := content(t, fsys, name); !strings.HasPrefix(got, "first\x00") {
			t.Fatal("blocks of a file that was renamed are elsewhere")
		}
		if g.WriteBlocks(p, 0) == nil {
			t.Fatal("blocks to a closed file")
		}
		r, err := fsys.Open(name)
		must(t, err)
		if r.WriteBlocks(p, 0) == nil {
			t.Fatal("blocks to a file opened for reading")
		}
		must(t, r.Close())
	})
}

func TestNames(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		for _, missing := range []error{
			second(fsys.Open(path.Join(dir, "no"))), second(fsys.OpenRW(path.Join(dir, "no"))), second(fsys.Stat(path.Join(dir, "no"))),
			fsys.Remove(path.Join(dir, "no")), fsys.Rename(path.Join(dir, "no"), path.Join(dir, "x")),
			second(fsys.Create(path.Join(dir, "no/file"))), second(fsys.List(path.Join(dir, "no"))), fsys.SyncDir(path.Join(dir, "no")),
		} {
			if !errors.Is(missing, fs.ErrNotExist) {
				t.Errorf("want not exist, got %v", missing)
			}
		}
		must(t, fsys.MkdirAll(path.Join(dir, "d/e")), fsys.MkdirAll(path.Join(dir, "d/e")))
		must(t, WriteFile(fsys, path.Join(dir, "d/b"), []byte("b")), WriteFile(fsys, path.Join(dir, "d/a"), []byte("a")))
		must(t, WriteFile(fsys, path.Join(dir, "d/a"), []byte("again")))
		names, err := fsys.List(path.Join(dir, "d"))
		if err != nil || !slices.Equal(names, []string{"a", "b", "e"}) {
			t.Fatalf("names %v, %v", names, err)
		}
		must(t, fsys.Rename(path.Join(dir, "d/a"), path.Join(dir, "d/b")), fsys.SyncDir(path.Join(dir, "d")))
		if got := content(t, fsys, path.Join(dir, "d/b")); got != "again" {
			t.Fatalf("content %q", got)
		}
		st, err := fsys.Stat(path.Join(dir, "d/b"))
		if err != nil || st != (Info{Size: 5}) {
			t.Fatalf("stat %+v, %v", st, err)
		}
		if st, err = fsys.Stat(path.Join(dir, "d")); err != nil || !st.Dir {
			t.Fatalf("stat %+v, %v", st, err)
		}
		if fsys.Remove(path.Join(dir, "d")) == nil {
			t.Fatal("removed a directory that is not empty")
		}
		must(t, fsys.Remove(path.Join(dir, "d/b")), fsys.Remove(path.Join(dir, "d/e")), fsys.Remove(path.Join(dir, "d")))
		if fsys.MkdirAll(dir) != nil || second(fsys.Space(dir)) != nil {
			t.Fatal("directory is gone")
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		l, err := fsys.Lock(dir)
		must(t, err)
		if _, err := fsys.Lock(dir); !errors.Is(err, ErrLocked) {
			t.Fatalf("second lock: %v", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(dir)
		must(t, err)
		must(t, l.Close())
	})
}

func TestSpace(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		s, err := fsys.Space(dir)
		if err != nil || s.Available <= 0 || s.Available > s.Total {
			t.Fatalf("%+v, %v", s, err)
		}
	})
}
