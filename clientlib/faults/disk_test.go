package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

// A disk that fills up makes writes fail with ERR_DISK_INSUFFICIENT, of the groups with a member there and of no others; reads go
// on, nobody leaves a group, no daemon ends, and when there is space again writes go on by themselves. Once the reserve is
// touched, and once there is not a byte left.
func TestFullDisk(t *testing.T) {
	const reserve = 16 << 20
	dir := t.TempDir()
	disk := filepath.Join(dir, "replica1", "data")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=600m"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := open(t, onebox.Options{Dir: dir, Metas: 1, ReplicaExtra: "[limits]\nmin_free_disk = \"16MiB\""})
	l := startLoad(t, w.client, table, t.Name(), 1)
	t.Cleanup(func() { l.end(); l.tell() })
	w.ok(l.progress(everything()...))
	pids := map[string]int{}
	for _, n := range w.Nodes {
		pids[n.Name] = n.PID()
	}
	handle, err := w.client.OpenTable(contextFor(t), table)
	w.ok(err)
	put := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return handle.Set(ctx, []byte("full"), []byte("s"), make([]byte, 1000))
	}
	ballots := func() (list []int64) {
		cfg, err := w.client.QueryConfig(contextFor(t), table)
		w.ok(err)
		for i := range cfg.Partitions {
			list = append(list, int64(cfg.Partitions[i].Ballot))
		}
		return list
	}
	before := ballots()
	for _, left := range []int64{reserve / 2, 0} {
		ballast := filepath.Join(disk, "ballast")
		fill(t, disk, ballast, left)
		w.ok(eventually(patience, func() error {
			var refused *clientlib.ServerError
			if err := put(); errors.As(err, &refused) && refused.Code == proto.ErrDiskInsufficient {
				return nil
			} else if err != nil {
				return err
			}
			return errors.New("writes are taken")
		}))
		if _, err := handle.Get(contextFor(t), []byte("full"), []byte("s")); err != nil {
			t.Errorf("a read: %v", err)
		}
		w.ok(os.Remove(ballast))
		w.ok(eventually(patience, put))
		w.ok(l.progress(everything()...))
	}
	for _, n := range w.Nodes {
		if n.PID() != pids[n.Name] {
			t.Errorf("%s was process %d, is %d", n.Name, pids[n.Name], n.PID())
		}
	}
	for i, b := range ballots() {
		if b != before[i] {
			t.Errorf("partition %d went from ballot %d to %d", i, before[i], b)
		}
	}
	aside, err := filepath.Glob(filepath.Join(dir, "replica*", "data", "reps", "*.err"))
	w.ok(err)
	if len(aside) > 0 {
		t.Errorf("replicas were given up: %v", aside)
	}
	w.settled(l)
}

// fill leaves so many bytes of a file system.
func fill(t *testing.T, fs, ballast string, left int64) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(fs, &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left); err != nil {
		t.Fatal(err)
	}
}
