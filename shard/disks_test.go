package shard

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// twoDisks are data directories of the tests' node: the first is that of the fixture.
func twoDisks(t testing.TB) func(*Options) {
	second := t.TempDir()
	return func(o *Options) {
		o.DataDirs = []DataDir{{Tag: "one", Path: o.DataDirs[0].Path}, {Tag: "two", Path: second}}
		o.LogDir = o.DataDirs[0].Path
	}
}

// A new replica goes to the directory with the fewest of its table, then the fewest in all, then the most space; never to one that
// is not in order.
func TestPlacement(t *testing.T) {
	d := newDisks([]DataDir{{Path: "/a"}, {Tag: "ssd", Path: "/b"}, {Path: "/c"}})
	if tags := []string{d.roots[0].tag, d.roots[1].tag, d.roots[2].tag}; !slices.Equal(tags, []string{"disk1", "ssd", "disk3"}) {
		t.Fatalf("tags %q", tags)
	}
	d.roots[2].available.Store(10)
	place := func(app, part int32) string {
		at, ok := d.place(proto.GPID{App: app, Part: part})
		if !ok {
			return ""
		}
		return at.tag
	}
	for i, step := range []struct {
		app, part int32
		want      string
	}{
		{1, 0, "disk3"}, {1, 1, "disk1"}, {1, 2, "ssd"}, {2, 0, "disk3"},
		{1, 0, "disk3"}, // it is there
		{3, 0, "disk1"}, {3, 1, "ssd"},
	} {
		if got := place(step.app, step.part); got != step.want {
			t.Errorf("step %d: on %s, want %s", i, got, step.want)
		}
	}
	d.roots[0].full.Store(true)
	d.roots[1].broken.Store(true)
	for i := range int32(4) {
		if got := place(4, i); got != "disk3" {
			t.Errorf("on %s, which is not in order", got)
		}
	}
	d.roots[2].full.Store(true)
	if got := place(5, 0); got != "" || d.placeable() {
		t.Errorf("on %s, and none is in order", got)
	}
}

// What was set aside is removed when its time has come, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	d := newDisks([]DataDir{{Path: dir}})
	now := time.UnixMicro(1_000_000_000_000_000)
	reps := filepath.Join(dir, replicasDir)
	for _, name := range []string{
		"1.0.pegasus", "1.1.pegasus.999999999000000.err", "1.2.pegasus.999999000000000.err",
		"1.3.pegasus.999999999000000.gar", "1.4.pegasus.999999000000000.gar", "1.5.pegasus.x.gar", "mine.999.gar", "readme",
	} {
		if err := os.MkdirAll(filepath.Join(reps, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	list := func() string {
		names, err := disk.OS().List(reps)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names, " ")
	}
	if n, err := d.clean(now, 0, time.Minute); n != 1 || err != nil {
		t.Fatalf("%d removed, %v", n, err)
	}
	if n, err := d.clean(now, time.Minute, time.Minute); n != 1 || err != nil {
		t.Fatalf("%d removed, %v", n, err)
	}
	if got := list(); got != "1.0.pegasus 1.1.pegasus.999999999000000.err 1.3.pegasus.999999999000000.gar 1.5.pegasus.x.gar mine.999.gar readme" {
		t.Errorf("left: %s", got)
	}
}

// A disk that fails its probe is given up: its replicas fail, those of the other disk serve, meta is told at once, and new
// replicas go elsewhere.
func TestBrokenDisk(t *testing.T) {
	c := newCluster(t, 2, twoDisks(t))
	c.table(1, 8, nil)
	onTwo := func() (n int) {
		for i := range int32(8) {
			if onPartition(c.node, proto.GPID{App: 1, Part: i}, func(p *partition) string { return p.dir.tag }) == "two" {
				n++
			}
		}
		return n
	}
	if n := onTwo(); n != 4 {
		t.Fatalf("%d of 8 replicas on the second disk", n)
	}
	cause := errors.New("a scratch")
	root := c.node.disks.byTag("two")
	c.node.space.failDisk(root, cause)
	for i := range int32(8) {
		g := proto.GPID{App: 1, Part: i}
		switch onPartition(c.node, g, func(p *partition) string { return p.dir.tag }) {
		case "two":
			eventually(t, "the replica is reported", func() bool { return strings.Contains(c.meta.report(g).Failure, "a scratch") })
		default:
			if !onPartition(c.node, g, func(p *partition) bool { return p.mayRead(false) }) {
				t.Errorf("%v on the other disk does not serve", g)
			}
		}
	}
	eventually(t, "meta is told of the disk", func() bool {
		s := c.meta.status(c.node.id)
		return len(s.Disks) == 2 && s.Disks[0].Status == 0 && s.Disks[1].Status == 2 && s.Disks[1].Tag == "two"
	})
	c.table(2, 4, nil)
	for i := range int32(4) {
		if tag := onPartition(c.node, proto.GPID{App: 2, Part: i}, func(p *partition) string { return p.dir.tag }); tag != "one" {
			t.Errorf("a new replica on %s", tag)
		}
	}
}

// A probe tells a disk that fails from one that is full.
func TestProbe(t *testing.T) {
	fsys := disk.NewMem(1)
	for _, dir := range []string{"/d", "/l"} {
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	d := newDisks([]DataDir{{Path: "/d"}})
	s := newSpace(fsys, 0, d, "/l", zap.NewNop())
	failed := 0
	s.failed = func(*diskRoot, error) { failed++ }
	for _, step := range []struct {
		err    error
		broken bool
	}{{nil, false}, {syscall.ENOSPC, false}, {nil, false}, {syscall.EIO, true}, {nil, true}} {
		if step.err != nil {
			fsys.Inject(disk.Fault{Op: disk.OpWrite, Glob: "*.tmp", Times: 1, Err: step.err})
		}
		if s.probe(d.roots[0]); d.roots[0].broken.Load() != step.broken {
			t.Errorf("after %v: broken is %v", step.err, d.roots[0].broken.Load())
		}
	}
	if failed != 1 {
		t.Errorf("it failed %d times", failed)
	}
	if names, err := fsys.List("/d"); err != nil || len(names) > 1 {
		t.Errorf("a probe leaves %q, %v", names, err)
	}
}

// A node starts without a directory that cannot be used, and is the same node; the replicas there come back with it.
func TestStartWithoutADisk(t *testing.T) {
	c := newCluster(t, 2, twoDisks(t))
	c.table(1, 4, nil)
	fill(c.dial(), 1, 4, 40, "v")
	id := c.node.id
	dirs := c.opts.DataDirs
	c.stop()
	away := dirs[1].Path + ".away"
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(dirs[1].Path, away)
	if err := os.WriteFile(dirs[1].Path, nil, 0o644); err != nil { // where a directory cannot be made
		t.Fatal(err)
	}
	again := func() {
		fresh := testOptions(t, c.dir, 2, c.opts.Metas...)
		c.opts.Listen, c.opts.ShardPort = fresh.Listen, fresh.ShardPort
		c.start()
	}
	again()
	if c.node.id != id || c.node.disks.roots[1].status() != diskBroken {
		t.Errorf("node %v was %v, disk %v", c.node.id, id, c.node.disks.roots[1].status())
	}
	served := 0
	for i := range int32(4) {
		if onPartition(c.node, proto.GPID{App: 1, Part: i}, func(p *partition) bool { return p != nil }) {
			served++
		}
	}
	if served != 2 {
		t.Errorf("%d replicas on the disk that is left", served)
	}
	c.stop()
	if err := os.Remove(dirs[1].Path); err != nil {
		t.Fatal(err)
	}
	rename(away, dirs[1].Path)
	again()
	c.served(1, 4)
	checkFill(c.dial(), 1, 4, 40, "v")
	c.stop()

	// Directories of two nodes are no node.
	stranger := t.TempDir()
	if err := writeIdentity(stranger, proto.NodeID{9}); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, c.dir, 2, c.opts.Metas...)
	o.DataDirs = append(o.DataDirs, DataDir{Path: stranger})
	if n, err := Start(o); err == nil || !strings.Contains(err.Error(), "is of node") {
		t.Errorf("started: %v, %v", n, err)
	}
}

// A replica that lies twice is the one of the higher ballot; the other is moved aside. Which of two of the same ballot counts is
// for a person to say.
func TestTwins(t *testing.T) {
	dirs := []DataDir{{Path: t.TempDir()}, {Path: t.TempDir()}}
	g := proto.GPID{App: 1, Part: 2}
	lay := func(i int, ballot proto.Ballot) replicaDir {
		at := newDiskRoot(dirs[i]).dir(g)
		if err := os.MkdirAll(at.path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeRecord(at, replicaRecord{Format: 1, AppID: 1, Partition: 2, Ballot: ballot}); err != nil {
			t.Fatal(err)
		}
		return at
	}
	lay(0, 4)
	newer := lay(1, 5)
	d := newDisks(dirs)
	found, err := d.scan()
	if err != nil || found[g].path != newer.path {
		t.Fatalf("found %v, %v", found, err)
	}
	if at, _ := d.find(g); at.path != newer.path {
		t.Errorf("the replica is in %s", at.path)
	}
	names, err := disk.OS().List(filepath.Join(dirs[0].Path, replicasDir))
	if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], suffixError) {
		t.Errorf("the older one: %q, %v", names, err)
	}
	lay(0, 5)
	if _, err := newDisks(dirs).scan(); !errors.Is(err, errTwins) {
		t.Errorf("two of one ballot: %v", err)
	}
}
