// Package disk is the narrow view of a file system that the rest of the system is written against: a real one (OS) and an
// in-memory one with faults and power loss (Mem). It knows files and directories, not what is in them.
//
// What a caller may rely on after a power loss, and nothing more:
//   - bytes of a file that Datasync or Sync reported durable, with the length they need;
//   - the names in a directory that SyncDir reported durable;
//   - a sector of 512 bytes that was being written holds its old or its new content, never a mixture.
//
// A failed Datasync or Sync must not be repeated on the same file: Linux marks the pages clean, so the second call says yes
// about bytes that are lost. Give up the file.
package disk

import (
	"errors"
	"io"
	"path"
	"unsafe"

	"pegasus/netcore/invariant"
)

// SectorSize is the unit that a disk writes atomically.
const SectorSize = 512

// BlockSize is the unit of WriteBlocks: at least the alignment that file systems and disks ask for, and what they deal in, mostly.
const BlockSize = 4096

// Blocks returns n zero bytes, n a multiple of BlockSize, in memory of the alignment that WriteBlocks needs.
func Blocks(n int) []byte {
	b := make([]byte, n+BlockSize)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (BlockSize - 1)
	return b[skip : skip+n : skip+n]
}

func mustBeAligned(p []byte, off int64) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if (at|uintptr(len(p))|uintptr(off))&(BlockSize-1) != 0 { // tested here: the arguments of Assertf would be allocated
		invariant.Assertf(false, "blocks at %#x, %d bytes, to offset %d", at, len(p), off)
	}
}

// ErrLocked is returned by FS.Lock when another process, or this one, holds the directory.
var ErrLocked = errors.New("directory is locked by another process")

// FS is a file system. Names are slash-separated paths. Errors match fs.ErrNotExist, fs.ErrExist and syscall.ENOSPC with
// errors.Is. All methods may block and may be called from any goroutine.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenRW opens an existing file for reading and writing.
	OpenRW(name string) (File, error)
	// Create makes an empty file for reading and writing; it fails with fs.ErrExist when the name is taken.
	Create(name string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// Rename moves a file and replaces what has the new name, atomically also across a power loss.
	Rename(from, to string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	Stat(name string) (Info, error)
	// MkdirAll makes a directory and its parents. Like any new name it is durable after SyncDir of the parent.
	MkdirAll(dir string) error
	// SyncDir makes the names in dir durable: creations, removals and renames.
	SyncDir(dir string) error
	// Lock takes dir for this process until the Closer is closed or the process dies; ErrLocked when it is taken.
	Lock(dir string) (io.Closer, error)
	// Space tells about the file system that holds dir.
	Space(dir string) (Space, error)
}

// File is an open file. Reads and writes name their offset, so a File has no position; different ranges may be read and
// written from several goroutines at once. Errors carry the file's name.
type File interface {
	io.ReaderAt
	// WriteAt writes all of p at off. On an error any part of p may have been written.
	io.WriterAt
	// WriteBlocks writes p, all of it, at off: like WriteAt, but where the file system can, past its page cache. p is whole blocks of
	// what Blocks returned, and off a multiple of BlockSize; anything else is a bug, and asserted. Only Datasync makes it durable. p
	// stays the caller's. One call at a time per File, and no WriteAt to the same blocks meanwhile. Errors are those of WriteAt.
	WriteBlocks(p []byte, off int64) error
	// Datasync makes the content durable, and of the metadata the length.
	Datasync() error
	// Sync makes content and metadata durable.
	Sync() error
	// Preallocate makes the file at least size bytes long, new bytes being zero, with the space reserved where the file
	// system can reserve. Existing bytes stay.
	Preallocate(size int64) error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// Info describes a file or directory.
type Info struct {
	Size int64
	Dir  bool
}

// Space is in bytes; Available is what an unprivileged process may still use.
type Space struct {
	Total, Available int64
}

// Fill reads exactly len(p) bytes at off; io.ErrUnexpectedEOF when the file ends before.
func Fill(f File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteFile replaces the file of the given name atomically and durably: after a power loss it has the old or the new
// content. The temporary file is name + ".tmp"; one writer per name at a time.
func WriteFile(fsys FS, name string, content []byte) error {
	tmp := name + ".tmp"
	// A leftover of a crash, or nothing at all: Create tells if it could not be removed.
	_ = fsys.Remove(tmp)
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// ReadFile returns the whole content of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	return p, Fill(f, p, 0)
}
