package rocks_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
)

func mustOpen(t testing.TB, dir string, o rocks.Options) *rocks.Store {
	t.Helper()
	if o.Shared == nil {
		o.Shared = shared
	}
	s, err := rocks.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenRefuses(t *testing.T) {
	root := t.TempDir()
	empty, foreign := filepath.Join(root, "empty"), filepath.Join(root, "foreign")
	for _, d := range []string{empty, foreign} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(foreign, "letter.txt"), []byte("dear"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir  string
		o    rocks.Options
		want error
	}{
		{empty, rocks.Options{MustExist: true}, engine.ErrNotStore},
		{filepath.Join(root, "none"), rocks.Options{MustExist: true}, engine.ErrNotStore},
		{foreign, rocks.Options{}, engine.ErrNotStore},
		{filepath.Join(foreign, "letter.txt"), rocks.Options{}, engine.ErrIO},
	} {
		c.o.Shared = shared
		if s, err := rocks.Open(c.dir, c.o); !errors.Is(err, c.want) {
			t.Errorf("open of %s: %v, %v; want %v", c.dir, s, err, c.want)
		}
	}
	// A store that is open cannot be opened twice.
	s := mustOpen(t, empty, rocks.Options{})
	if _, err := rocks.Open(empty, rocks.Options{Shared: shared}); !errors.Is(err, engine.ErrIO) {
		t.Errorf("second open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "*.creating")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestOptionsValidate(t *testing.T) {
	err := rocks.Options{Compression: "brotli", BlockBytes: 1, L0Stop: 1}.Validate()
	for _, want := range []string{"Shared", "brotli", "BlockBytes", "level 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// TestInterruptedCreation finds what a crash while creating leaves behind.
func TestInterruptedCreation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.MkdirAll(filepath.Join(dir+".creating", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir, rocks.Options{})
	defer s.Close()
	if s.DataVersion() != engine.DataV1 || s.AppliedDecree() != 0 {
		t.Fatalf("new store has version %d, decree %d", s.DataVersion(), s.AppliedDecree())
	}
}

// filledStore makes a store with several files and returns its directory.
func filledStore(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s := mustOpen(t, dir, rocks.Options{NoAutoCompact: true})
	for d := int64(1); d <= 300; d++ {
		if err := s.Apply(s.AppliedDecree()+1, slotBatch(d)); err != nil {
			t.Fatal(err)
		}
		if d%100 == 0 {
			if _, err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestDamage breaks every kind of file in every way it can think of: each time the store must either say so or show
// exactly the content of the decree that it claims, and never end the process. That decree may be an older one: a manifest
// that lost its end is a manifest of the past, and only who remembers the decree can tell.
func TestDamage(t *testing.T) {
	healthy := filledStore(t)
	entries, err := os.ReadDir(healthy)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 6))
	refused := 0
	for _, e := range entries {
		if name := e.Name(); name == "LOCK" || strings.HasPrefix(name, "LOG") {
			continue
		}
		for _, kind := range []string{"missing", "empty", "half", "flipped", "flipped", "flipped", "garbage"} {
			dir := filepath.Join(t.TempDir(), "store")
			copyDir(t, healthy, dir)
			damage(t, filepath.Join(dir, e.Name()), kind, r)
			if err := readAll(dir); err != nil {
				refused++
				if !errors.Is(err, engine.ErrCorruption) && !errors.Is(err, engine.ErrNotStore) && !errors.Is(err, engine.ErrIO) {
					t.Errorf("%s %s: unclassified error %v", e.Name(), kind, err)
				}
			}
		}
	}
	if refused < len(entries) {
		t.Fatalf("%d refusals of %d files: the damage does not damage", refused, len(entries))
	}
}

func damage(t *testing.T, path, kind string, r *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "missing":
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	case "empty":
		b = nil
	case "half":
		b = b[:len(b)/2]
	case "flipped":
		if len(b) > 0 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	case "garbage":
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// readAll opens dir and compares everything in it with what its decree should hold; wrong content that no error explains
// panics.
func readAll(dir string) error {
	s, err := rocks.Open(dir, rocks.Options{Shared: shared, MustExist: true, NoAutoCompact: true})
	if err != nil {
		return err
	}
	defer s.Close()
	want := slotContent(int64(s.AppliedDecree()))
	it, err := s.NewIterator(engine.IterOptions{Tier: engine.TierAll, NoFillCache: true})
	if err != nil {
		return err
	}
	defer it.Close()
	var rows engine.Rows
	n := 0
	for more := true; more; {
		var o engine.Outcome
		if more, o, err = it.Next(&rows, engine.SliceLimit{MaxRows: 50}); o != engine.Found {
			return err
		}
		rows.Each(func(k, raw []byte) bool {
			v, perr := engine.ParseValue(s.DataVersion(), raw)
			if perr != nil || want[string(k)] != string(v.User) {
				panic(fmt.Sprintf("%s: %q holds %q", dir, k, raw))
			}
			n++
			return true
		})
	}
	if n != len(want) {
		panic(fmt.Sprintf("%s: %d records, want %d", dir, n, len(want)))
	}
	return nil
}

// TestNoLeak opens and closes stores, also by failing, and counts C++ objects.
func TestNoLeak(t *testing.T) {
	before := rocks.LiveObjects()
	dir := filledStore(t)
	for range 5 {
		s := mustOpen(t, dir, rocks.Options{})
		it, err := s.NewIterator(engine.IterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Checkpoint(filepath.Join(t.TempDir(), "cp"), true); err != nil {
			t.Fatal(err)
		}
		if rocks.LiveObjects() != before+3 { // state, store, iterator
			t.Fatalf("%d objects live with one store and iterator, %d before", rocks.LiveObjects(), before)
		}
		it.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "CURRENT")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("MANIFEST-999999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := rocks.Open(dir, rocks.Options{Shared: shared}); err == nil {
		t.Fatal("opened without a manifest")
	}
	if got := rocks.LiveObjects(); got != before {
		t.Fatalf("%d objects live, %d before", got, before)
	}
}
