package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
)

// Mem is a file system in memory that misbehaves on request, deterministically from its seed and the order of calls:
// injected errors (Inject), a full disk (SetCapacity), bit rot (FlipBit) and power loss (PowerLoss).
//
// It models a page cache over a disk. Everybody reads the cache. Datasync and Sync bring a file's bytes and length to the
// disk, SyncDir the names of a directory; PowerLoss throws the cache away except for the parts that happened to be written
// back. What is not synced may survive in any combination, sector by sector and name by name, because that is all POSIX
// promises; real file systems keep more.
type Mem struct {
	mu       sync.Mutex
	rng      *rand.Rand
	names    map[string]*node // the cache's view
	onDisk   map[string]*node // after a power loss now, if nothing unsynced survived
	unsynced []nameChange
	boot     int // grows with every power loss; files opened before are dead
	locks    map[string]bool
	capacity int64
	faults   []*armedFault
	counts   [opCount]int
}

// node is a file, or a directory when file is nil.
type node struct{ file *inode }

// nameChange is a creation (to only), a removal (from only) or a rename that no SyncDir has covered yet.
type nameChange struct {
	from, to string
	node     *node
}

// NewMem returns an empty file system whose root "/" and working directory "." exist.
func NewMem(seed uint64) *Mem {
	m := &Mem{
		rng: rand.New(rand.NewPCG(seed, 0)), names: map[string]*node{}, locks: map[string]bool{}, capacity: 1 << 40,
	}
	m.names["/"], m.names["."] = &node{}, &node{}
	m.onDisk = maps.Clone(m.names)
	return m
}

// SetCapacity limits the sum of the file lengths; growing beyond it is ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// PowerLoss turns the machine off and on: each unsynced sector, length and name change survives or not as rng says.
// Open files and locks are gone; every call on an old File fails.
func (m *Mem) PowerLoss(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.unsynced {
		if rng.IntN(2) == 0 {
			c.apply(m.onDisk)
		}
	}
	m.unsynced = nil
	// A file whose directory was lost is lost with it.
	for _, name := range slices.Sorted(maps.Keys(m.onDisk)) {
		if _, ok := m.onDisk[path.Dir(name)]; !ok {
			delete(m.onDisk, name)
		}
	}
	m.names = maps.Clone(m.onDisk)
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		if f := m.names[name].file; f != nil {
			f.powerLoss(rng)
		}
	}
	m.boot++
	clear(m.locks)
}

func (c nameChange) apply(names map[string]*node) {
	if c.from != "" {
		// By node, not by name: when an earlier rename was lost the file still has an older name.
		maps.DeleteFunc(names, func(_ string, n *node) bool { return n == c.node })
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

func (m *Mem) change(c nameChange) {
	c.apply(m.names)
	m.unsynced = append(m.unsynced, c)
}

// FlipBit inverts one bit of a file, in the cache and on the disk.
func (m *Mem) FlipBit(name string, bit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("flip", name)
	if err != nil {
		return err
	}
	if n.file == nil || bit < 0 || bit/8 >= int64(len(n.file.data)) {
		return &fs.PathError{Op: "flip", Path: name, Err: fs.ErrInvalid}
	}
	n.file.data[bit/8] ^= 1 << (bit % 8)
	if bit/8 < int64(len(n.file.disk)) {
		n.file.disk[bit/8] ^= 1 << (bit % 8)
	}
	return nil
}

func (m *Mem) find(op, name string) (*node, error) {
	n, ok := m.names[path.Clean(name)]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (m *Mem) open(op Op, name string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(op, name); f != nil {
		return nil, f.pathError(name)
	}
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.file == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	return &memFile{m: m, inode: n.file, name: name, boot: m.boot, writable: writable}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open(OpOpen, name, false) }

// OpenRW implements FS.
func (m *Mem) OpenRW(name string) (File, error) { return m.open(OpOpen, name, true) }

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpCreate, name); f != nil {
		return nil, f.pathError(name)
	}
	name = path.Clean(name)
	if _, ok := m.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if _, err := m.find("create", path.Dir(name)); err != nil {
		return nil, err
	}
	n := &node{file: &inode{dirty: map[int][][]byte{}}}
	m.change(nameChange{to: name, node: n})
	return &memFile{m: m, inode: n.file, name: name, boot: m.boot, writable: true}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpRemove, name); f != nil {
		return f.pathError(name)
	}
	n, err := m.find("remove", name)
	if err != nil {
		return err
	}
	if n.file == nil && len(m.list(path.Clean(name))) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	m.change(nameChange{from: path.Clean(name), node: n})
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpRename, from); f != nil {
		return f.pathError(from)
	}
	n, err := m.find("rename", from)
	if err != nil {
		return err
	}
	if n.file == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: syscall.EISDIR}
	}
	if _, err := m.find("rename", path.Dir(path.Clean(to))); err != nil {
		return err
	}
	m.change(nameChange{from: path.Clean(from), to: path.Clean(to), node: n})
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpList, dir); f != nil {
		return nil, f.pathError(dir)
	}
	n, err := m.find("list", dir)
	if err != nil {
		return nil, err
	}
	if n.file != nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: syscall.ENOTDIR}
	}
	return m.list(path.Clean(dir)), nil
}

func (m *Mem) list(dir string) []string {
	var names []string
	for name := range m.names {
		if name != dir && name != "." && path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("stat", name)
	if err != nil {
		return Info{}, err
	}
	if n.file == nil {
		return Info{Dir: true}, nil
	}
	return Info{Size: int64(len(n.file.data))}, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpMkdir, dir); f != nil {
		return f.pathError(dir)
	}
	return m.mkdirAll(path.Clean(dir))
}

func (m *Mem) mkdirAll(dir string) error {
	if n, ok := m.names[dir]; ok {
		if n.file != nil {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if err := m.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	m.change(nameChange{to: dir, node: &node{}})
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.hit(OpSyncDir, dir); f != nil {
		return f.pathError(dir)
	}
	if _, err := m.find("sync", dir); err != nil {
		return err
	}
	dir = path.Clean(dir)
	in := func(name string) bool { return name != "" && path.Dir(name) == dir }
	m.unsynced = slices.DeleteFunc(m.unsynced, func(c nameChange) bool {
		if !in(c.from) && !in(c.to) {
			return false
		}
		c.apply(m.onDisk)
		return true
	})
	return nil
}

// Lock implements FS. The lock has no file.
func (m *Mem) Lock(dir string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("lock", dir); err != nil {
		return nil, err
	}
	dir = path.Clean(dir)
	if m.locks[dir] {
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: ErrLocked}
	}
	m.locks[dir] = true
	return &memLock{m: m, dir: dir, boot: m.boot}, nil
}

type memLock struct {
	m    *Mem
	dir  string
	boot int
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.boot != l.m.boot || !l.m.locks[l.dir] {
		return fmt.Errorf("unlock %s: %w", l.dir, fs.ErrClosed)
	}
	delete(l.m.locks, l.dir)
	return nil
}

// Space implements FS.
func (m *Mem) Space(dir string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("space", dir); err != nil {
		return Space{}, err
	}
	return Space{Total: m.capacity, Available: max(0, m.capacity-m.used())}, nil
}

func (m *Mem) used() int64 {
	var sum int64
	for _, n := range m.names {
		if n.file != nil {
			sum += int64(len(n.file.data))
		}
	}
	return sum
}
