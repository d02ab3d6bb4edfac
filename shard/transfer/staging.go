package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"

	"pegasus/netcore/disk"
	"pegasus/netcore/lane"
)

const (
	// syncWorkers run fsyncs beside the copy: file systems commit several at once, which makes small files bearable.
	syncWorkers = 4
	// syncEvery is how much of a file is written before it is synced. Without it the kernel would gather gigabytes and write
	// them in one go, with the shard log's fdatasync behind them.
	syncEvery = 16 * BlockSize
	// syncQueue bounds the files that wait for their sync, and so the open ones.
	syncQueue = 64
)

// staging is the directory that a Fetch fills. One goroutine uses it; jobs of its lane touch open files alone.
type staging struct {
	fs      disk.FS
	dir     string
	m       *Manifest
	encoded []byte
	files   []stagedFile
	missing int64 // bytes
	journal *journal
	lane    *lane.Lane

	mu  sync.Mutex
	err error // of a job
}

// stagedFile is one file of the manifest.
type stagedFile struct {
	info    *FileInfo
	have    bitset // blocks written and verified
	missing int    // blocks
	open    *openFile
}

func (f *stagedFile) blocks() int { return len(f.info.Blocks) }

// openFile is a file being written; mu is for the jobs of the lane.
type openFile struct {
	name   string
	file   disk.File
	dirty  int // bytes since the last sync was queued
	mu     sync.Mutex
	closed bool
}

func openStaging(fsys disk.FS, dir string) (*staging, error) {
	s := &staging{fs: fsys, dir: path.Clean(dir)}
	// The directory above is not made: nobody could tell later whether its own name was ever made durable.
	if _, err := fsys.Stat(path.Dir(s.dir)); err != nil {
		return nil, diskError(err)
	}
	if err := fsys.MkdirAll(s.dir); err != nil {
		return nil, diskError(err)
	}
	s.lane = lane.New("transfer-sync", syncWorkers, syncQueue)
	return s, nil
}

// diskError gives an error of the staging disk its type.
func diskError(err error) error {
	if err == nil || errors.Is(err, ErrDisk) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", ErrDisk, err)
}

// adopt makes m the manifest, finds out what of it is here already, and removes what is no part of it. What is here may
// come from a Fetch that was cut off, of this or of an older checkpoint: only content counts.
func (s *staging) adopt(ctx context.Context, m *Manifest, encoded []byte, b *Budget) error {
	s.abandon()
	names, err := s.fs.List(s.dir)
	if err != nil {
		return diskError(err)
	}
	hints, ours := readJournal(s.fs, s.dir)
	if !ours {
		// A Fetch that ended well leaves just the files; the learner may have died before it knew.
		for _, name := range names {
			if m.find(name) == nil && name != journalName+".tmp" {
				return fmt.Errorf("%w: %s holds %s", ErrStaging, s.dir, name)
			}
		}
	}
	kept, err := s.removeStrangers(names, m)
	if err != nil {
		return diskError(err)
	}
	s.m, s.encoded, s.files, s.missing = m, encoded, make([]stagedFile, len(m.Files)), 0
	buf := make([]byte, BlockSize)
	var room int64
	for i := range m.Files {
		f := &s.files[i]
		f.info = &m.Files[i]
		f.have, f.missing = newBitset(f.blocks()), f.blocks()
		if _, here := slices.BinarySearch(kept, f.info.Name); !here {
			room += f.info.Size
		} else if err := s.inspect(ctx, f, hints, b, buf); err != nil {
			return err
		}
	}
	if sp, err := s.fs.Space(s.dir); err != nil {
		return diskError(err)
	} else if sp.Available < room {
		return fmt.Errorf("%w: %d bytes are missing, %d are free", ErrNoSpace, room, sp.Available)
	}
	if s.journal, err = newJournal(s.fs, s.dir, encoded, s.files); err != nil {
		return diskError(err)
	}
	return s.settle()
}

// removeStrangers removes what is no part of m, or has another length, and returns the files that stay.
func (s *staging) removeStrangers(names []string, m *Manifest) (kept []string, err error) {
	for _, name := range names {
		if name == journalName {
			continue
		}
		st, err := s.fs.Stat(path.Join(s.dir, name))
		if err != nil {
			return nil, err
		}
		if info := m.find(name); info != nil && !st.Dir && st.Size == info.Size {
			kept = append(kept, name)
		} else if err := s.fs.Remove(path.Join(s.dir, name)); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// inspect reads the blocks of f that may be good. Without usable hints those are all.
func (s *staging) inspect(ctx context.Context, f *stagedFile, hints map[string]bitset, b *Budget, buf []byte) (err error) {
	file, err := s.fs.Open(path.Join(s.dir, f.info.Name))
	if err != nil {
		return diskError(err)
	}
	defer func() { err = errors.Join(err, diskError(file.Close())) }()
	for block := range f.blocks() {
		if hints != nil && !hints[f.info.Name].has(block) {
			continue
		}
		p := buf[:f.info.blockLen(block)]
		if err := b.hashed.take(ctx, len(p)); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := disk.Fill(file, p, int64(block)*BlockSize); err != nil {
			return diskError(err)
		}
		if sumOf(p) == f.info.Blocks[block] {
			f.have.set(block)
			f.missing--
		}
	}
	return nil
}

// settle counts what is missing, and has complete files synced: whoever wrote them may have died before.
func (s *staging) settle() error {
	for i := range s.files {
		f := &s.files[i]
		for block := range f.blocks() {
			if !f.have.has(block) {
				s.missing += int64(f.info.blockLen(block))
			}
		}
		if f.missing > 0 {
			continue
		}
		if err := s.openFile(f); err != nil {
			return err
		}
		s.finishFile(f)
	}
	return s.failed()
}

func (s *staging) openFile(f *stagedFile) error {
	name := path.Join(s.dir, f.info.Name)
	file, err := s.fs.OpenRW(name)
	if errors.Is(err, fs.ErrNotExist) {
		if file, err = s.fs.Create(name); err == nil && f.blocks() > 1 {
			// The whole length at once: a full disk shows now, and the file lies together.
			if err = file.Preallocate(f.info.Size); err != nil {
				err = errors.Join(err, file.Close())
			}
		}
	}
	if err != nil {
		return diskError(err)
	}
	f.open = &openFile{name: name, file: file}
	return nil
}

// put writes a verified block. p is not kept.
func (s *staging) put(file, block int, p []byte) error {
	f := &s.files[file]
	if f.open == nil {
		if err := s.openFile(f); err != nil {
			return err
		}
	}
	if _, err := f.open.file.WriteAt(p, int64(block)*BlockSize); err != nil {
		return diskError(err)
	}
	if err := s.journal.add(file, block); err != nil {
		return diskError(err)
	}
	f.have.set(block)
	f.missing--
	s.missing -= int64(len(p))
	if f.open.dirty += len(p); f.missing == 0 {
		s.finishFile(f)
	} else if f.open.dirty >= syncEvery {
		f.open.dirty = 0
		open := f.open
		s.run(func() { s.sync(open, false) })
	}
	return s.failed()
}

func (s *staging) finishFile(f *stagedFile) {
	open := f.open
	f.open = nil
	s.run(func() { s.sync(open, true) })
}

// run has a job done by the lane, or here when the lane has enough to do: that slows the copy down to what the disk takes.
func (s *staging) run(job func()) {
	if s.lane.Submit(job) != nil {
		job()
	}
}

// sync is a job. A file whose sync failed is removed: the kernel calls its pages clean now, so the next Fetch would find
// the right bytes in memory, sync them with success, and lose them.
func (s *staging) sync(f *openFile, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	var err error
	if last {
		err = f.file.Sync()
	} else {
		err = f.file.Datasync()
	}
	if err != nil {
		err = errors.Join(err, s.fs.Remove(f.name))
	}
	if last || err != nil {
		f.closed = true
		err = errors.Join(err, f.file.Close())
	}
	if err != nil {
		s.mu.Lock()
		s.err = errors.Join(s.err, err)
		s.mu.Unlock()
	}
}

func (s *staging) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return diskError(s.err)
}

// finish makes everything durable and the directory just what the manifest says.
func (s *staging) finish() error {
	s.lane.Close()
	if err := s.failed(); err != nil {
		return err
	}
	// Names first, then without the journal: a directory without one is complete.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return diskError(err)
	}
	err := s.journal.f.Close()
	s.journal = nil
	if err != nil {
		return diskError(err)
	}
	if err := s.fs.Remove(path.Join(s.dir, journalName)); err != nil {
		return diskError(err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return diskError(err)
	}
	return diskError(s.fs.SyncDir(path.Dir(s.dir)))
}

// abandon closes what is open, which a later adopt takes up again. Blocks written so far may or may not be durable.
func (s *staging) abandon() {
	for i := range s.files {
		if open := s.files[i].open; open != nil {
			s.files[i].open = nil
			open.mu.Lock()
			if !open.closed {
				open.closed = true
				// What is lost by this will not verify.
				_ = open.file.Close()
			}
			open.mu.Unlock()
		}
	}
	if s.journal != nil {
		_ = s.journal.f.Close()
		s.journal = nil
	}
}

// close ends the lane, after which nothing of this Fetch runs.
func (s *staging) close() {
	s.abandon()
	s.lane.Close()
}
