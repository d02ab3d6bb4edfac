package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"pegasus/netcore/disk"
)

func TestDiskFull(t *testing.T) {
	tr := randomTree(30, 3*BlockSize, 4*BlockSize)
	_, addr := offered(t, tr, Options{})
	fsys := disk.NewMem(1)
	fsys.SetCapacity(5 * BlockSize)
	if _, err := Fetch(within(t), addr, testID, "/dst", Options{FS: fsys}); !errors.Is(err, ErrNoSpace) || !errors.Is(err, ErrDisk) {
		t.Fatal(err)
	}
	// It fills up while the copy runs.
	fsys.SetCapacity(100 * BlockSize)
	full := false
	_, err := Fetch(within(t), addr, testID, "/dst", Options{FS: fsys, Window: 1, Progress: func(Progress) {
		if !full {
			full = true
			fsys.SetCapacity(3 * BlockSize)
		}
	}})
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	fsys.SetCapacity(100 * BlockSize)
	_, err = Fetch(within(t), addr, testID, "/dst", Options{FS: fsys})
	must(t, err)
	tr.check(t, fsys, "/dst")
}

// Whatever call of the disk fails, Fetch says so, and the next one ends well.
func TestDiskFaults(t *testing.T) {
	tr := randomTree(31, 17*BlockSize, 10, BlockSize+1)
	_, addr := offered(t, tr, Options{})
	for _, op := range []disk.Op{
		disk.OpCreate, disk.OpRename, disk.OpList, disk.OpMkdir, disk.OpSyncDir, disk.OpWrite, disk.OpSync, disk.OpPreallocate, disk.OpRemove, disk.OpOpen, disk.OpRead,
	} {
		hits := 0
		for nth := 1; ; nth += 1 + nth/2 {
			fsys := disk.NewMem(uint64(nth))
			if op == disk.OpRead || op == disk.OpRemove {
				fetchSome(t, addr, fsys) // so that there is something to read
			}
			before := fsys.Count(op)
			fsys.Inject(disk.Fault{Op: op, Nth: nth})
			_, err := Fetch(within(t), addr, testID, "/dst", Options{FS: fsys})
			if fsys.Count(op)-before < nth {
				must(t, err)
				break
			}
			if err != nil {
				hits++
				if !errors.Is(err, ErrDisk) || errors.Is(err, ErrNoSpace) {
					t.Fatalf("op %d, call %d: %v", op, nth, err)
				}
			}
			fsys.ClearFaults()
			if err != nil {
				_, err = Fetch(within(t), addr, testID, "/dst", Options{FS: fsys})
				must(t, err)
			}
			tr.check(t, fsys, "/dst")
			fsys.PowerLoss(rand.New(rand.NewPCG(uint64(nth), 1)))
			tr.check(t, fsys, "/dst")
		}
		if hits == 0 {
			t.Errorf("op %d: no failure was seen", op)
		}
	}
}

// fetchSome is a Fetch that is cut off in the middle.
func fetchSome(t *testing.T, addr string, fsys disk.FS) {
	ctx, cancel := context.WithCancel(within(t))
	_, err := Fetch(ctx, addr, testID, "/dst", Options{FS: fsys, Window: 1, Progress: func(p Progress) {
		if p.Fetched > 3*BlockSize {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// The machine goes down at some moment of the copy. The next Fetch ends well, and what it said is durable is so.
func TestPowerLoss(t *testing.T) {
	tr := randomTree(32, 5*BlockSize, 10, 0, 2*BlockSize+1)
	_, addr := offered(t, tr, Options{})
	reused := int64(0)
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 5))
		fsys := disk.NewMem(seed)
		for cut := int64(1); cut < tr.bytes(); cut += rng.Int64N(4 * BlockSize) {
			ctx, cancel := context.WithCancel(within(t))
			_, err := Fetch(ctx, addr, testID, "/dst", Options{FS: fsys, Window: 1, Progress: func(p Progress) {
				reused += p.Reused
				if p.Fetched+p.Reused >= cut {
					cancel()
				}
			}})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			cancel()
			fsys.PowerLoss(rng)
		}
		_, err := Fetch(within(t), addr, testID, "/dst", Options{FS: fsys})
		must(t, err)
		fsys.PowerLoss(rng)
		tr.check(t, fsys, "/dst")
	}
	if reused == 0 {
		t.Fatal("nothing survived a power loss, ever")
	}
}
