package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// OS returns the real file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (osFS) OpenRW(name string) (File, error) { return openOS(name, os.O_RDWR) }

func (osFS) Create(name string) (File, error) { return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	o := &osFile{f: f, fd: int(f.Fd()), direct: notOpen}
	if flag == os.O_RDONLY {
		o.direct = refused
	}
	return o, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (osFS) Stat(name string) (Info, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: st.Size(), Dir: st.IsDir()}, nil
}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// lockName is the file that carries the lock of a directory. It stays when the lock is released: removing it would let two
// processes lock two different files of that name.
const lockName = "LOCK"

func (osFS) Lock(dir string) (io.Closer, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

func (osFS) Space(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return Space{Total: int64(st.Blocks) * st.Bsize, Available: int64(st.Bavail) * st.Bsize}, nil
}

// osFile keeps the descriptor beside the file: os.File closes it only in Close, and f keeps it reachable.
type osFile struct {
	f  *os.File
	fd int

	direct int // a second descriptor, for WriteBlocks, or one of the constants
}

const (
	notOpen = -1 // WriteBlocks was not called yet
	refused = -2 // the file is not for writing, or its system takes no direct I/O, or not in blocks of this size
)

func (o *osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }

func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }

func (o *osFile) WriteBlocks(p []byte, off int64) error {
	mustBeAligned(p, off)
	if o.direct == notOpen {
		o.openDirect()
	}
	for o.direct >= 0 && len(p) > 0 {
		n, err := unix.Pwrite(o.direct, p, off)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EINVAL || err == nil && n&(BlockSize-1) != 0:
			o.closeDirect()
		case err != nil:
			return o.fail("write", err)
		}
		p, off = p[max(n, 0):], off+int64(max(n, 0))
	}
	if len(p) == 0 {
		return nil
	}
	_, err := o.f.WriteAt(p, off)
	return err
}

// openDirect opens the file once more, whatever its name is by now.
func (o *osFile) openDirect() {
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(o.fd), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = refused
	}
	o.direct = fd
}

func (o *osFile) closeDirect() {
	if o.direct >= 0 {
		unix.Close(o.direct)
	}
	o.direct = refused
}

func (o *osFile) Datasync() error {
	for {
		if err := unix.Fdatasync(o.fd); err != unix.EINTR {
			return o.fail("fdatasync", err)
		}
	}
}

func (o *osFile) Sync() error { return o.f.Sync() }

func (o *osFile) Preallocate(size int64) error {
	for {
		err := unix.Fallocate(o.fd, 0, 0, size)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EOPNOTSUPP:
			return o.extend(size)
		}
		return o.fail("fallocate", err)
	}
}

// extend stands in for fallocate on file systems that have none: the length is there, the space is not reserved.
func (o *osFile) extend(size int64) error {
	have, err := o.Size()
	if err != nil || have >= size {
		return err
	}
	return o.f.Truncate(size)
}

func (o *osFile) Truncate(size int64) error { return o.f.Truncate(size) }

func (o *osFile) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (o *osFile) Close() error {
	o.closeDirect()
	return o.f.Close()
}

func (o *osFile) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, o.f.Name(), err)
}
