package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/netcore/proto"
)

// DataDir is a data directory of a node. The tag is how meta and operators name it.
type DataDir struct{ Tag, Path string }

// DataDirs gives tags to directories that have none: disk1, disk2 and so on, by their place in the list.
func DataDirs(dirs ...DataDir) []DataDir {
	tagged := slices.Clone(dirs)
	for i := range tagged {
		if tagged[i].Tag == "" {
			tagged[i].Tag = "disk" + strconv.Itoa(i+1)
		}
	}
	return tagged
}

// diskStatus is disk_status of the Apache protocol.
type diskStatus int32

const (
	diskNormal diskStatus = 0
	diskFull   diskStatus = 1 // SPACE_INSUFFICIENT
	diskBroken diskStatus = 2 // IO_ERROR
)

// disks are the data directories of a node and what lies on each. Shards ask it when a replica is created, moved or deleted, never
// on the data path. A directory is never taken away while the node runs.
type disks struct {
	mu    sync.Mutex
	roots []*diskRoot
}

// diskRoot is a data directory or, with an empty tag, that of the logs, which all replicas need.
type diskRoot struct {
	path     string
	tag      string
	replicas map[proto.GPID]struct{} // guarded by disks.mu

	full      atomic.Bool
	broken    atomic.Bool // for the rest of the process's life
	suspect   atomic.Bool // a store on it failed: it is to be probed
	capacity  atomic.Int64
	available atomic.Int64 // bytes, at the last look
}

func newDisks(dirs []DataDir) *disks {
	d := &disks{}
	for _, dir := range DataDirs(dirs...) {
		d.roots = append(d.roots, newDiskRoot(dir))
	}
	return d
}

func newDiskRoot(dir DataDir) *diskRoot {
	return &diskRoot{path: dir.Path, tag: dir.Tag, replicas: map[proto.GPID]struct{}{}}
}

func (r *diskRoot) status() diskStatus {
	switch {
	case r.broken.Load():
		return diskBroken
	case r.full.Load():
		return diskFull
	}
	return diskNormal
}

// all returns the directories; the slice is not to be changed.
func (d *disks) all() []*diskRoot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roots
}

// byTag returns the directory of that tag, or nil.
func (d *disks) byTag(tag string) *diskRoot {
	for _, r := range d.all() {
		if r.tag == tag {
			return r
		}
	}
	return nil
}

// add takes a directory in while the node runs.
func (d *disks) add(r *diskRoot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roots = append(slices.Clone(d.roots), r)
}

// scan finds the replicas on all data directories that can be read; one that cannot is broken from then on. Names that are not
// replicas are left alone. A replica that lies twice was left behind on a directory that was broken for a while: the one of the
// higher ballot counts, the other one is moved aside.
func (d *disks) scan() (map[proto.GPID]replicaDir, error) {
	found := map[proto.GPID]replicaDir{}
	usable := 0
	var errs []error
	for _, root := range d.all() {
		if root.broken.Load() {
			continue
		}
		err := d.scanRoot(root, found)
		if errors.Is(err, errTwins) {
			return nil, err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("data directory %s: %w", root.path, err))
			root.broken.Store(true)
			continue
		}
		usable++
	}
	if usable == 0 {
		return nil, errors.Join(append(errs, errors.New("no data directory can be used"))...)
	}
	return found, nil
}

func (d *disks) scanRoot(root *diskRoot, found map[proto.GPID]replicaDir) error {
	dir := filepath.Join(root.path, replicasDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), suffixMoving); ok { // a move that a crash has ended
			if _, ok := parseReplicaName(base); ok {
				if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
			continue
		}
		g, ok := parseReplicaName(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		at := replicaDir{path: filepath.Join(dir, e.Name()), tag: root.tag}
		if other, twice := found[g]; twice {
			if at, err = settleTwins(g, other, at); err != nil {
				return err
			}
			d.forget(g)
		}
		found[g] = at
		d.note(g, at.tag)
	}
	return nil
}

// newer tells whether the record is of a later state of the replica than another one.
func (r *replicaRecord) newer(other *replicaRecord) bool {
	return r.Ballot > other.Ballot || r.Ballot == other.Ballot && r.Moved > other.Moved
}

var errTwins = errors.New("nothing tells which is newer: move one away")

// settleTwins chooses between two directories of one replica and moves the other one aside.
func settleTwins(g proto.GPID, one, two replicaDir) (replicaDir, error) {
	a, errA := readRecord(one)
	b, errB := readRecord(two)
	switch {
	case errA == nil && (errB != nil || a.newer(&b)):
	case errB == nil && (errA != nil || b.newer(&a)):
		one, two = two, one
	default:
		return replicaDir{}, fmt.Errorf("replica %v lies in %s and in %s: %w", g, one.path, two.path, errTwins)
	}
	reason := "a newer replica lies in " + one.path
	return one, setAside(two, suffixError, reason)
}

// Directories that are no replicas any more keep their name with the time, unix microseconds, and one of these behind it.
const (
	suffixError   = ".err" // failed, with the reason inside
	suffixGarbage = ".gar" // meta had no use for it
)

// setAside renames the directory of a replica so that nobody takes it for one. The reason, if any, is written inside.
func setAside(dir replicaDir, suffix, reason string) error {
	if reason != "" {
		if err := os.WriteFile(filepath.Join(dir.path, "reason.txt"), []byte(reason+"\n"), 0o644); err != nil {
			return err
		}
	}
	aside := fmt.Sprintf("%s.%d%s", dir.path, time.Now().UnixMicro(), suffix)
	return errors.Join(os.Rename(dir.path, aside), syncDir(filepath.Dir(dir.path)))
}

// asideSince reads the time from a name that setAside gave.
func asideSince(name, suffix string) (time.Time, bool) {
	base, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return time.Time{}, false
	}
	dot := strings.LastIndexByte(base, '.')
	if dot < 0 {
		return time.Time{}, false
	}
	if _, ok := parseReplicaName(base[:dot]); !ok {
		return time.Time{}, false
	}
	us, err := strconv.ParseInt(base[dot+1:], 10, 64)
	return time.UnixMicro(us), err == nil
}

// clean removes what was set aside long ago. It blocks. A zero time keeps everything of a kind.
func (d *disks) clean(now time.Time, keepErrors, keepGarbage time.Duration) (removed int, err error) {
	var errs []error
	for _, root := range d.all() {
		if root.broken.Load() {
			continue
		}
		dir := filepath.Join(root.path, replicasDir)
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, e := range entries {
			for suffix, keep := range map[string]time.Duration{suffixError: keepErrors, suffixOriginal: keepErrors, suffixGarbage: keepGarbage} {
				since, ok := asideSince(e.Name(), suffix)
				if !ok || keep == 0 || now.Sub(since) < keep {
					continue
				}
				errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
				removed++
			}
		}
	}
	return removed, errors.Join(errs...)
}

// place chooses where a new replica goes: where an earlier attempt already put it, else of the directories that are in order the
// one with the fewest replicas of its table, then the fewest in all, then the most space. ok is false when there is none.
func (d *disks) place(g proto.GPID) (at replicaDir, ok bool) {
	if at, ok := d.find(g); ok {
		return at, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var best *diskRoot
	bestApp := 0
	for _, r := range d.roots {
		if r.status() != diskNormal {
			continue
		}
		app := 0
		for other := range r.replicas {
			if other.App == g.App {
				app++
			}
		}
		if best == nil || app < bestApp || app == bestApp && (len(r.replicas) < len(best.replicas) ||
			len(r.replicas) == len(best.replicas) && r.available.Load() > best.available.Load()) {
			best, bestApp = r, app
		}
	}
	if best == nil {
		return replicaDir{}, false
	}
	best.replicas[g] = struct{}{}
	return best.dir(g), true
}

// placeable tells whether a new replica would find a place.
func (d *disks) placeable() bool {
	return slices.ContainsFunc(d.all(), func(r *diskRoot) bool { return r.status() == diskNormal })
}

// find tells where the files of a replica are.
func (d *disks) find(g proto.GPID) (replicaDir, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.roots {
		if _, ok := r.replicas[g]; ok {
			return r.dir(g), true
		}
	}
	return replicaDir{}, false
}

// note tells that a replica's files are in the directory of that tag.
func (d *disks) note(g proto.GPID, tag string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.roots {
		if r.tag == tag {
			r.replicas[g] = struct{}{}
		}
	}
}

// forget tells that the files of a replica are no longer there.
func (d *disks) forget(g proto.GPID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.roots {
		delete(r.replicas, g)
	}
}

// held are the replicas in a directory.
func (d *disks) held(r *diskRoot) []proto.GPID {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]proto.GPID, 0, len(r.replicas))
	for g := range r.replicas {
		list = append(list, g)
	}
	return list
}

func (r *diskRoot) dir(g proto.GPID) replicaDir {
	return replicaDir{path: filepath.Join(r.path, replicasDir, g.String()+replicaSuffix), tag: r.tag}
}
