package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
)

// inode is the content of a file: data is the page cache, disk what a power loss leaves at least.
type inode struct {
	data []byte
	disk []byte
	// dirty holds, per sector written since the last sync, the contents it had since then, oldest first: write-back may
	// have stored any of them. Sectors past the end of disk or data read as zero.
	dirty map[int][][]byte
	// lengths are the lengths the file had since the last sync, oldest first, without the length on disk.
	lengths []int
}

// dirtyVersions bounds the remembered contents per sector; older ones are forgotten.
const dirtyVersions = 4

// touch records that [from, to) of data changed.
func (f *inode) touch(from, to int) {
	for s := from / SectorSize; s*SectorSize < to; s++ {
		v := f.dirty[s]
		if len(v) == dirtyVersions {
			v = slices.Delete(v, 0, 1)
		}
		f.dirty[s] = append(v, f.sector(s))
	}
}

func (f *inode) sector(s int) []byte {
	c := make([]byte, SectorSize)
	if from := s * SectorSize; from < len(f.data) {
		copy(c, f.data[from:])
	}
	return c
}

func (f *inode) resize(n int) {
	old := len(f.data)
	switch {
	case n < old:
		clear(f.data[n:])
		f.data = f.data[:n]
		// What was cut off must not come back when the file grows again.
		f.touch(n, old)
	case n > old:
		f.data = slices.Grow(f.data, n-old)[:n]
		clear(f.data[old:])
	default:
		return
	}
	f.lengths = append(f.lengths, n)
}

// store brings sector content c to the disk image.
func (f *inode) store(s int, c []byte) {
	if from := s * SectorSize; from < len(f.disk) {
		copy(f.disk[from:], c)
	}
}

func (f *inode) setDiskLength(n int) {
	old := len(f.disk)
	if n <= old {
		f.disk = f.disk[:n]
		return
	}
	f.disk = slices.Grow(f.disk, n-old)[:n]
	clear(f.disk[old:])
}

func (f *inode) sync() {
	f.setDiskLength(len(f.data))
	for s := range f.dirty {
		f.store(s, f.sector(s))
	}
	f.clean()
}

func (f *inode) clean() {
	clear(f.dirty)
	f.lengths = f.lengths[:0]
}

// writeBack stores a random selection of what is unsynced and declares everything clean.
func (f *inode) writeBack(rng *rand.Rand) {
	if i := rng.IntN(len(f.lengths) + 1); i > 0 {
		f.setDiskLength(f.lengths[i-1])
	}
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if i := rng.IntN(len(f.dirty[s]) + 1); i > 0 {
			f.store(s, f.dirty[s][i-1])
		}
	}
	f.clean()
}

func (f *inode) powerLoss(rng *rand.Rand) {
	f.writeBack(rng)
	f.data = slices.Clone(f.disk)
}

// memFile is an open file of a Mem.
type memFile struct {
	m        *Mem
	inode    *inode
	name     string
	boot     int
	writable bool
	closed   bool
}

// begin locks the file system and checks that the file may be used; the caller unlocks.
func (f *memFile) begin(op string, write bool) error {
	f.m.mu.Lock()
	switch {
	case f.closed, f.boot != f.m.boot:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	case write && !f.writable:
		return &fs.PathError{Op: op, Path: f.name, Err: syscall.EBADF}
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	err := f.begin("read", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if hit := f.m.hit(OpRead, f.name); hit != nil {
		return 0, hit.pathError(f.name)
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.begin("write", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: fs.ErrInvalid}
	}
	var cause error
	if hit := f.m.hit(OpWrite, f.name); hit != nil {
		p, cause = p[:min(hit.Keep, len(p))], hit.pathError(f.name)
	}
	n, err := f.put(p, int(off))
	if err != nil {
		return n, err
	}
	return n, cause
}

func (f *memFile) WriteBlocks(p []byte, off int64) error {
	mustBeAligned(p, off)
	_, err := f.WriteAt(p, off)
	return err
}

// put copies b into the cache; ENOSPC after the part that fitted.
func (f *memFile) put(b []byte, off int) (int, error) {
	var cause error
	if grow := int64(off + len(b) - len(f.inode.data)); grow > 0 {
		if room := f.m.capacity - f.m.used(); grow > room {
			cause = fmt.Errorf("write %s: %w", f.name, syscall.ENOSPC)
			b = b[:max(0, int64(len(b))-(grow-max(0, room)))]
		}
	}
	if len(b) == 0 {
		return 0, cause
	}
	if end := off + len(b); end > len(f.inode.data) {
		f.inode.resize(end)
	}
	copy(f.inode.data[off:], b)
	f.inode.touch(off, off+len(b))
	return len(b), cause
}

func (f *memFile) Datasync() error {
	err := f.begin("sync", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	if hit := f.m.hit(OpSync, f.name); hit != nil {
		f.inode.writeBack(f.m.rng)
		return hit.pathError(f.name)
	}
	f.inode.sync()
	return nil
}

func (f *memFile) Sync() error { return f.Datasync() }

func (f *memFile) Preallocate(size int64) error {
	err := f.begin("preallocate", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	if hit := f.m.hit(OpPreallocate, f.name); hit != nil {
		return hit.pathError(f.name)
	}
	return f.grow(int(size))
}

func (f *memFile) grow(size int) error {
	if size <= len(f.inode.data) {
		return nil
	}
	if int64(size-len(f.inode.data)) > f.m.capacity-f.m.used() {
		return fmt.Errorf("preallocate %s: %w", f.name, syscall.ENOSPC)
	}
	f.inode.resize(size)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	err := f.begin("truncate", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	if hit := f.m.hit(OpTruncate, f.name); hit != nil {
		return hit.pathError(f.name)
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: f.name, Err: fs.ErrInvalid}
	}
	f.inode.resize(int(size))
	return nil
}

func (f *memFile) Size() (int64, error) {
	err := f.begin("stat", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return int64(len(f.inode.data)), nil
}

func (f *memFile) Close() error {
	err := f.begin("close", false)
	defer f.m.mu.Unlock()
	f.closed = true
	return err
}
