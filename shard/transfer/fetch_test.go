package transfer

import (
	"context"
	"errors"
	"net"
	"os"
	"path"
	"sync"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

func TestFetch(t *testing.T) {
	tr := randomTree(1, 5*BlockSize+17, 0, 1, BlockSize, 3*BlockSize-1, 20)
	ended := make(chan error, 1)
	s, addr := offered(t, tr, Options{Ended: func(id uint64, err error) {
		if id == testID {
			ended <- err
		}
	}})
	dst := path.Join(t.TempDir(), "learn")
	var last Progress
	m, err := Fetch(within(t), addr, testID, dst, Options{Progress: func(p Progress) { last = p }})
	must(t, err)
	tr.check(t, disk.OS(), dst)
	if m.ID != testID || m.GPID != testGPID || m.Decree != 42 || len(m.Files) != len(tr) || m.Bytes() != tr.bytes() {
		t.Fatalf("%+v", m)
	}
	if want := (Progress{Total: tr.bytes(), Fetched: tr.bytes(), Dials: 1}); last != want {
		t.Fatalf("%+v, want %+v", last, want)
	}
	must(t, <-ended)
	if st := s.Stats(); st.Bytes != uint64(tr.bytes()) || st.Fetched != 1 || st.Offers != 1 || st.Damaged != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestFetchOfNothing(t *testing.T) {
	_, addr := offered(t, tree{}, Options{})
	dst := t.TempDir()
	_, err := Fetch(within(t), addr, testID, dst, Options{})
	must(t, err)
	tree{}.check(t, disk.OS(), dst)
}

func TestManySmallFiles(t *testing.T) {
	from, to := disk.NewMem(1), disk.NewMem(2)
	sizes := make([]int, 10_000)
	for i := range sizes {
		sizes[i] = i % 300
	}
	tr := randomTree(2, sizes...)
	_, addr := offered(t, tr, Options{FS: from})
	_, err := Fetch(within(t), addr, testID, "/dst", Options{FS: to})
	must(t, err)
	tr.check(t, to, "/dst")
}

func TestBigFile(t *testing.T) {
	tr := randomTree(3, 96*BlockSize+1)
	_, addr := offered(t, tr, Options{})
	dst := t.TempDir()
	_, err := Fetch(within(t), addr, testID, dst, Options{})
	must(t, err)
	tr.check(t, disk.OS(), dst)
}

// fetchPart fetches until n bytes have come, and is cut off then.
func fetchPart(t *testing.T, addr, dst string, o Options, n int64) (got int64) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(within(t))
	cut := errors.New("cut off")
	o.Progress = func(p Progress) {
		got = p.Fetched
		if p.Fetched >= n {
			cancel(cut)
		}
	}
	if _, err := Fetch(ctx, addr, testID, dst, o); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	return got
}

// A restarted learner copies what is missing and nothing else.
func TestResume(t *testing.T) {
	tr := randomTree(4, 4*BlockSize+1, 5, 6*BlockSize, 3*BlockSize+100)
	s, addr := offered(t, tr, Options{})
	dst := t.TempDir()
	var have int64
	for _, part := range []int64{1, BlockSize, 4 * BlockSize, 5 * BlockSize} {
		have += fetchPart(t, addr, dst, Options{Window: 1}, part)
	}
	eventually(t, "the server is done with the learner", func() bool { return s.Stats().Conns == 0 })
	before := s.Stats().Bytes
	var last Progress
	_, err := Fetch(within(t), addr, testID, dst, Options{Progress: func(p Progress) { last = p }})
	must(t, err)
	tr.check(t, disk.OS(), dst)
	if want := (Progress{Total: tr.bytes(), Reused: have, Fetched: tr.bytes() - have, Dials: 1}); last != want {
		t.Fatalf("%+v, want %+v", last, want)
	}
	if got := s.Stats().Bytes - before; got != uint64(tr.bytes()-have) {
		t.Fatalf("%d bytes moved, %d were missing", got, tr.bytes()-have)
	}
	// Once more into the complete directory: everything is verified, nothing moves.
	_, err = Fetch(within(t), addr, testID, dst, Options{Progress: func(p Progress) { last = p }})
	must(t, err)
	if want := (Progress{Total: tr.bytes(), Reused: tr.bytes(), Dials: 1}); last != want {
		t.Fatalf("%+v, want %+v", last, want)
	}
}

// What a staging directory holds counts only if its checksum says so.
func TestResumeDistrustsTheStagingDisk(t *testing.T) {
	fsys := disk.NewMem(1)
	tr := randomTree(5, 4*BlockSize, 4*BlockSize)
	_, addr := offered(t, tr, Options{FS: fsys})
	have := fetchPart(t, addr, "/dst", Options{FS: fsys, Window: 1}, 6*BlockSize)
	must(t, fsys.FlipBit("/dst/000001.sst", 8*BlockSize+3), fsys.FlipBit("/dst/000002.sst", 7))
	var last Progress
	_, err := Fetch(within(t), addr, testID, "/dst", Options{FS: fsys, Progress: func(p Progress) { last = p }})
	must(t, err)
	tr.check(t, fsys, "/dst")
	if want := have - 2*BlockSize; last.Reused != want {
		t.Fatalf("%d bytes reused, want %d", last.Reused, want)
	}
}

// A newer checkpoint shares most of its files with the one that was cut off.
func TestResumeWithNewerCheckpoint(t *testing.T) {
	old := randomTree(6, 3*BlockSize, 2*BlockSize, BlockSize)
	_, addr := offered(t, old, Options{})
	dst := t.TempDir()
	fetchPart(t, addr, dst, Options{Window: 1}, 4*BlockSize)
	newer := tree{"000001.sst": old["000001.sst"], "000002.sst": old["000002.sst"][:BlockSize], "000009.sst": old["000003.sst"]}
	s, addr := offered(t, newer, Options{})
	_, err := Fetch(within(t), addr, testID, dst, Options{})
	must(t, err)
	newer.check(t, disk.OS(), dst)
	if got := s.Stats().Bytes; got != 2*BlockSize {
		t.Fatalf("%d bytes moved", got)
	}
}

func TestForeignDirectory(t *testing.T) {
	tr := randomTree(7, 10)
	_, addr := offered(t, tr, Options{})
	dst := t.TempDir()
	other := tree{"000001.sst": []byte("0123456789"), "precious": []byte("data")}
	other.write(t, disk.OS(), dst)
	if _, err := Fetch(within(t), addr, testID, dst, Options{}); !errors.Is(err, ErrStaging) {
		t.Fatal(err)
	}
	other.check(t, disk.OS(), dst)
}

func TestTwoLearners(t *testing.T) {
	a, b := randomTree(8, 3*BlockSize, 77), randomTree(9, 2*BlockSize+5)
	s, addr := offered(t, a, Options{})
	dirB := path.Join(t.TempDir(), "b")
	b.write(t, disk.OS(), dirB)
	must(t, s.Offer(2, proto.GPID{App: 1}, 1, dirB))
	dst := t.TempDir()
	var wg sync.WaitGroup
	for id, tr := range map[uint64]tree{testID: a, 2: b} {
		wg.Go(func() {
			to := path.Join(dst, map[uint64]string{testID: "a", 2: "b"}[id])
			if _, err := Fetch(within(t), addr, id, to, Options{}); err != nil {
				t.Error(err)
				return
			}
			tr.check(t, disk.OS(), to)
		})
	}
	wg.Wait()
}

// held starts a Fetch that stands still in the middle until release is called, which returns its error.
func held(t *testing.T, addr string, id uint64, o Options) (release func() error) {
	t.Helper()
	there, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	o.Progress = func(p Progress) {
		if p.Fetched > 0 {
			once.Do(func() {
				close(there)
				<-goOn
			})
		}
	}
	go func() {
		_, err := Fetch(within(t), addr, id, t.TempDir(), o)
		done <- err
	}()
	select {
	case <-there:
	case err := <-done:
		t.Fatal(err)
	}
	return func() error {
		close(goOn)
		return <-done
	}
}

// One learner at a time: another node is told to come back, the same node may replace its own connection.
func TestOneLearnerPerTransfer(t *testing.T) {
	s, addr := offered(t, randomTree(10, 30*BlockSize), Options{})
	release := held(t, addr, testID, Options{Node: proto.NodeID{1}, Window: 1})
	if _, err := Fetch(within(t), addr, testID, t.TempDir(), Options{Node: proto.NodeID{2}}); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	if got := s.Stats().Busy; got != 1 {
		t.Fatalf("%d refused", got)
	}
	_, err := Fetch(within(t), addr, testID, t.TempDir(), Options{Node: proto.NodeID{1}})
	must(t, err)
	must(t, release())
}

func TestTransferLimit(t *testing.T) {
	tr := randomTree(11, 4*BlockSize)
	s, addr := offered(t, tr, Options{Budget: NewBudget(0, 1)})
	dir := path.Join(t.TempDir(), "b")
	tr.write(t, disk.OS(), dir)
	must(t, s.Offer(2, testGPID, 1, dir))
	mine := NewBudget(0, 1)
	release := held(t, addr, testID, Options{Window: 1, Budget: mine})
	if _, err := Fetch(within(t), addr, 2, t.TempDir(), Options{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("served beyond the limit: %v", err)
	}
	if _, err := Fetch(within(t), addr, 2, t.TempDir(), Options{Budget: mine}); !errors.Is(err, ErrBusy) {
		t.Fatalf("fetched beyond the limit: %v", err)
	}
	must(t, release())
	eventually(t, "the place is free again", func() bool { return s.o.Budget.Stats().Serving == 0 })
	_, err := Fetch(within(t), addr, 2, t.TempDir(), Options{Budget: mine})
	must(t, err)
}

func TestOffers(t *testing.T) {
	s, addr := serve(t, Options{})
	dir := path.Join(t.TempDir(), "cp")
	if err := s.Offer(1, testGPID, 1, dir); !errors.Is(err, ErrSource) {
		t.Fatal(err)
	}
	must(t, os.MkdirAll(path.Join(dir, "sub"), 0o755))
	if err := s.Offer(1, testGPID, 1, dir); !errors.Is(err, ErrManifest) {
		t.Fatal(err)
	}
	must(t, os.Remove(path.Join(dir, "sub")))
	if err := s.Offer(1, proto.GPID{}, 1, dir); !errors.Is(err, ErrManifest) {
		t.Fatal(err)
	}
	must(t, s.Offer(1, testGPID, 1, dir))
	if err := s.Offer(1, testGPID, 1, dir); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	s.Release(1)
	s.Release(1)
	eventually(t, "the directory is removed", func() bool { return missing(dir) })
	if _, err := Fetch(within(t), addr, 1, t.TempDir(), Options{}); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	must(t, os.MkdirAll(dir, 0o755), s.Offer(1, testGPID, 1, dir))
	s.Close()
	if !missing(dir) {
		t.Fatal("closed, and the directory is there")
	}
	if err := s.Offer(1, testGPID, 1, dir); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	s.Close()
}

func missing(name string) bool {
	_, err := os.Stat(name)
	return os.IsNotExist(err)
}

// Release cuts off who fetches, and only then the directory goes.
func TestReleaseWhileFetched(t *testing.T) {
	s, addr := offered(t, randomTree(12, 30*BlockSize), Options{})
	release := held(t, addr, testID, Options{Window: 1})
	s.Release(testID)
	if err := release(); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	s, addr := offered(t, randomTree(13, 20*BlockSize), Options{})
	dst := t.TempDir()
	fetchPart(t, addr, dst, Options{}, 3*BlockSize)
	eventually(t, "the server noticed", func() bool { return s.Stats().Conns == 0 })

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Fetch(ctx, addr, testID, dst, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestServerGone(t *testing.T) {
	s, addr := offered(t, randomTree(14, 20*BlockSize), Options{})
	release := held(t, addr, testID, Options{Window: 1, Attempts: 2})
	s.Close()
	if err := release(); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
}

// Garbage on the port costs the connection that sent it.
func TestGarbage(t *testing.T) {
	tr := randomTree(15, 100)
	s, addr := offered(t, tr, Options{})
	for range 20 {
		c, err := net.Dial("tcp", addr)
		must(t, err)
		_, err = c.Write(randomTree(16, 1000)["000001.sst"])
		must(t, err, c.Close())
	}
	eventually(t, "all are gone", func() bool { return s.Stats().Conns == 0 && s.Stats().Damaged == 20 })
	dst := t.TempDir()
	_, err := Fetch(within(t), addr, testID, dst, Options{})
	must(t, err)
	tr.check(t, disk.OS(), dst)
}
