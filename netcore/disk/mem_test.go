package disk

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// outcomes runs a scenario that ends in a power loss with many seeds and counts what the file "/d/f" holds afterwards.
func outcomes(t *testing.T, scenario func(m *Mem)) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(300) {
		m := NewMem(seed)
		must(t, m.MkdirAll("/d"), m.SyncDir("/"))
		scenario(m)
		m.PowerLoss(rng(seed))
		b, err := ReadFile(m, "/d/f")
		if errors.Is(err, fs.ErrNotExist) {
			seen["none"]++
			continue
		}
		must(t, err)
		seen[string(b)]++
	}
	return seen
}

func wantOutcomes(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("never %q", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d outcomes, want %d: %.200v", len(got), len(want), got)
	}
}

func TestPowerLossLeavesWhatWasSynced(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, "abc", 0)
		must(t, f.Datasync(), m.SyncDir("/d"))
	}), "abc")
}

func TestPowerLossMayLoseAnUnsyncedName(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, "abc", 0)
		must(t, f.Datasync())
	}), "none", "abc")
}

func TestPowerLossMayLoseAnUnsyncedDirectory(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		must(t, m.Remove("/d"), m.SyncDir("/"), m.MkdirAll("/d"))
		f := create(t, m, "/d/f")
		must(t, f.Datasync(), m.SyncDir("/d"))
	}), "none", "")
}

func TestPowerLossTearsBetweenSectors(t *testing.T) {
	a, b := strings.Repeat("a", SectorSize), strings.Repeat("b", SectorSize)
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, a+a, 0)
		must(t, f.Datasync(), m.SyncDir("/d"))
		write(t, f, b+b, 0)
	}), a+a, a+b, b+a, b+b)
}

func TestPowerLossKeepsAnOlderOverwrite(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, "1", 0)
		must(t, f.Datasync(), m.SyncDir("/d"))
		write(t, f, "2", 0)
		write(t, f, "3", 0)
	}), "1", "2", "3")
}

func TestPowerLossAndLength(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, "abc", 0)
		must(t, f.Datasync(), m.SyncDir("/d"))
		must(t, f.Truncate(1))
	}), "abc", "a", "a\x00\x00")
	// The length without the bytes, the bytes without the length, both or nothing.
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		must(t, f.Datasync(), m.SyncDir("/d"))
		write(t, f, "ab", 0)
	}), "", "\x00\x00", "ab")
}

func TestPowerLossAndRename(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		must(t, WriteFile(m, "/d/f", []byte("old")))
		f := create(t, m, "/d/tmp")
		write(t, f, "new", 0)
		must(t, f.Sync(), m.Rename("/d/tmp", "/d/f"))
	}), "old", "new")
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		must(t, WriteFile(m, "/d/f", []byte("old")), WriteFile(m, "/d/f", []byte("new")))
	}), "new")
}

func TestOldFilesAndLocksDieWithThePower(t *testing.T) {
	m := NewMem(1)
	f := create(t, m, "/f")
	l, err := m.Lock("/")
	must(t, err, m.SyncDir("/"))
	m.PowerLoss(rng(1))
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("write: %v", err)
	}
	if _, err := m.Lock("/"); err != nil {
		t.Fatalf("lock: %v", err)
	}
	if l.Close() == nil {
		t.Fatal("the old lock was still there")
	}
}

// TestFailedSyncMarksClean: the second sync says yes about bytes that are not on the disk.
func TestFailedSyncMarksClean(t *testing.T) {
	wantOutcomes(t, outcomes(t, func(m *Mem) {
		f := create(t, m, "/d/f")
		write(t, f, "1", 0)
		must(t, f.Datasync(), m.SyncDir("/d"))
		write(t, f, "2", 0)
		m.Inject(Fault{Op: OpSync, Glob: "f"})
		if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		must(t, f.Datasync())
		if got := content(t, m, "/d/f"); got != "2" {
			t.Fatalf("the cache shows %q", got)
		}
	}), "1", "2")
}

func TestFaultsHitTheirCalls(t *testing.T) {
	m := NewMem(1)
	must(t, m.MkdirAll("/a"), m.MkdirAll("/b"))
	m.Inject(Fault{Op: OpCreate, Glob: "/b/*", Nth: 2, Times: 2, Err: syscall.EMFILE})
	var failed []string
	for _, name := range []string{"/a/1", "/b/1", "/a/2", "/b/2", "/b/3", "/b/4"} {
		if _, err := m.Create(name); err != nil {
			if !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
			failed = append(failed, name)
		}
	}
	if got := strings.Join(failed, " "); got != "/b/2 /b/3" {
		t.Fatalf("failed %s", got)
	}
	f, err := m.OpenRW("/a/1")
	must(t, err)
	m.Inject(Fault{Op: OpWrite, Keep: 2})
	if n, err := f.WriteAt([]byte("abcd"), 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("short write: %d, %v", n, err)
	}
	if got := content(t, m, "/a/1"); got != "ab" {
		t.Fatalf("content %q", got)
	}
	m.Inject(Fault{Op: OpRead, Times: -1})
	for range 3 {
		if _, err := ReadFile(m, "/a/1"); err == nil {
			t.Fatal("read")
		}
	}
	m.ClearFaults()
	must(t, m.FlipBit("/a/1", 8))
	if got := content(t, m, "/a/1"); got != "ac" {
		t.Fatalf("content %q", got)
	}
	if m.FlipBit("/a/1", 16) == nil {
		t.Fatal("flipped a bit after the end")
	}
	if m.Count(OpWrite) != 1 {
		t.Fatalf("%d writes", m.Count(OpWrite))
	}
}

func TestFullDisk(t *testing.T) {
	m := NewMem(1)
	m.SetCapacity(1000)
	f := create(t, m, "/f")
	if err := f.Preallocate(1001); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	must(t, f.Preallocate(600))
	g := create(t, m, "/g")
	if n, err := g.WriteAt(make([]byte, 500), 0); n != 400 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	// What is there already can be overwritten.
	write(t, f, "abc", 0)
	must(t, m.Remove("/f"))
	write(t, g, "abc", 500)
	if s, err := m.Space("/"); s != (Space{1000, 497}) || err != nil {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	run := func() string {
		m := NewMem(7)
		f := create(t, m, "/f")
		must(t, m.SyncDir("/"))
		for i := range int64(50) {
			write(t, f, strings.Repeat(string(rune('a'+i%26)), 700), i*333)
			if i%10 == 5 {
				m.Inject(Fault{Op: OpSync})
				if f.Datasync() == nil {
					t.Fatal("no fault")
				}
			}
		}
		m.PowerLoss(rng(9))
		return content(t, m, "/f")
	}
	if first := run(); first != run() {
		t.Fatal("two runs differ")
	}
}
