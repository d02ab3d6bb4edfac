package mutlog

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pegasus/netcore/disk"
)

// A write that meets a full disk waits: nobody is quarantined, nothing more is taken, nothing is reported durable, and when
// there is space everything goes on where it stood. What was reported durable survives a power loss at any point.
func TestWriteWaitsForSpace(t *testing.T) {
	for name, fault := range map[string]disk.Fault{
		"nothing written": {Op: disk.OpWrite, Glob: "*.log", Times: 3, Err: syscall.ENOSPC},
		"short write":     {Op: disk.OpWrite, Glob: "*.log", Times: 3, Keep: 150, Err: syscall.ENOSPC},
		"failed sync":     {Op: disk.OpSync, Glob: "*.log", Times: 3, Err: syscall.ENOSPC},
	} {
		for _, mode := range []SyncMode{SyncGroup, SyncOS} {
			if mode == SyncOS && fault.Op == disk.OpSync {
				continue
			}
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				fsys, o := disk.NewMem(1), small()
				o.Sync = mode
				l, _, _ := mustOpen(t, fsys, "/log", o)
				fill(t, l, 1, 5, 100, 0, 1)
				mustAppend(t, l, rec(gpid(0), 6, 1, 100), rec(gpid(1), 6, 1, 100))
				fsys.Inject(fault)
				w := l.NextWrite()
				mustAppend(t, l, rec(gpid(0), 7, 1, 100))
				for range fault.Times {
					if err := w.Do(); !errors.Is(err, syscall.ENOSPC) {
						t.Fatal(err)
					}
					d, err := l.Complete(w)
					if !errors.Is(err, ErrNoSpace) || len(d) > 0 {
						t.Fatalf("%v, %v", d, err)
					}
					r := rec(gpid(1), 7, 1, 100)
					if err := l.Append(&r); err != ErrFull {
						t.Fatalf("append while there is no space: %v", err)
					}
					if again := l.NextWrite(); again != w {
						t.Fatal("another write")
					}
				}
				if err := w.Do(); err != nil {
					t.Fatal(err)
				}
				d, err := l.Complete(w)
				if err != nil || !slices.Equal(d, []Durable{{gpid(0), 6, 1}, {gpid(1), 6, 1}}) {
					t.Fatalf("%v, %v", d, err)
				}
				mustDrain(t, l)
				fill(t, l, 8, 9, 100, 0)
				fill(t, l, 7, 9, 100, 1)
				if mode == SyncGroup {
					fsys.PowerLoss(rand.New(rand.NewPCG(1, 2)))
				}
				_, rep, got := mustOpen(t, fsys, "/log", o)
				wantSpoiled(t, rep)
				for n := range 2 {
					if s := got.decrees(gpid(n)); s != "1..9" {
						t.Errorf("partition %d: %s", n, s)
					}
				}
			})
		}
	}
}

// Drain ends although the write waits, and a failure of another kind ends the waiting in the usual way.
func TestWaitingForSpaceEnds(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 5, 100, 0, 1)
	mustAppend(t, l, rec(gpid(0), 6, 1, 100))
	fsys.Inject(disk.Fault{Op: disk.OpWrite, Glob: "*.log", Err: syscall.ENOSPC})
	if err := l.Drain(nil); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	fsys.Inject(disk.Fault{Op: disk.OpWrite, Glob: "*.log", Err: syscall.EIO})
	w := l.NextWrite()
	if err := w.Do(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	d, err := l.Complete(w)
	if errors.Is(err, ErrNoSpace) || !slices.Equal(d, []Durable{{gpid(0), 5, 1}}) {
		t.Fatalf("%v, %v", d, err)
	}
	fill(t, l, 6, 7, 100, 1)
	_, rep, got := mustOpen(t, fsys, "/log", small())
	wantSpoiled(t, rep)
	if s := got.decrees(gpid(1)); s != "1..7" {
		t.Error(s)
	}
}
