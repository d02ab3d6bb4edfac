package mutlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"pegasus/netcore/disk"
	"pegasus/netcore/invariant"
)

// fileDuty is work on files that waits for a chore.
type fileDuty struct {
	close  []disk.File // abandoned files
	remove []string    // names, oldest first
}

// Chore is work on files outside the path of a write: it removes surplus segments and makes the spare one. It belongs to a
// background lane between NextChore and CompleteChore.
type Chore struct {
	fs      disk.FS
	log     *Log
	duty    fileDuty
	make    bool
	recycle string // name of the file to make the spare from, empty for a new one
	seq     uint64
	size    int64
	write   bool // the spare is written, and not only reserved

	removed int       // of duty.remove
	file    disk.File // the spare
	err     error
}

// NextChore returns work to do, or nil when there is none or one is under way.
func (l *Log) NextChore() *Chore {
	if l.chore != nil {
		return nil
	}
	if l.spare == nil && len(l.free) == 0 && !l.mayGrow() {
		l.dropHoldingPins()
	}
	spare := l.spare == nil && (len(l.free) > 0 || l.mayGrow())
	if !spare && len(l.files.close) == 0 && len(l.files.remove) == 0 {
		return nil // asked after every write, so nothing is allocated for this answer
	}
	c := &Chore{fs: l.fs, log: l, duty: l.files, size: l.o.SegmentSize, make: spare, write: l.o.Sync == SyncGroup}
	if spare {
		if len(l.free) > 0 {
			c.recycle = l.free[0]
			l.free = slices.Delete(l.free, 0, 1)
		}
		c.seq = l.nextSeq
		l.nextSeq++
	}
	l.files = fileDuty{}
	l.chore = c
	return c
}

// mayGrow tells whether a new file would keep the log within its total size.
func (l *Log) mayGrow() bool { return int64(l.fileCount()+1)*l.o.SegmentSize <= l.o.TotalSize }

func (l *Log) fileCount() int {
	n := len(l.segments) + len(l.free) + len(l.files.remove)
	if l.spare != nil {
		n++
	}
	if l.chore != nil {
		n += len(l.chore.duty.remove)
		if l.chore.make {
			n++
		}
	}
	return n
}

// Do performs the chore. It blocks and may run on any goroutine, once. The error is also what CompleteChore returns.
//
// Files leave oldest first and each departure is made durable before the next, so that after a crash the freed segments that
// are still there are not separated from the rest by a gap.
func (c *Chore) Do() error {
	for _, f := range c.duty.close {
		// The file was given up because of an I/O error; there is nothing to learn from another.
		_ = f.Close()
	}
	for _, name := range c.duty.remove {
		if err := c.fs.Remove(c.log.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.err = err
			return err
		}
		if c.err = c.fs.SyncDir(c.log.dir); c.err != nil {
			return c.err
		}
		c.removed++
	}
	if c.make {
		c.file, c.err = makeSegment(c.fs, c.log.dir, c.recycle, c.seq, c.size, c.write)
	}
	return c.err
}

// makeSegment makes an empty segment, durable with its name, from an old file or anew.
func makeSegment(fsys disk.FS, dir, recycle string, seq uint64, size int64, write bool) (disk.File, error) {
	name := dir + "/" + segmentName(seq)
	var f disk.File
	var err error
	if recycle != "" {
		if err = fsys.Rename(dir+"/"+recycle, name); err == nil {
			f, err = fsys.OpenRW(name)
		}
	} else {
		f, err = fsys.Create(name)
	}
	if err != nil {
		return nil, err
	}
	// An old file has the size already, unless the segment size was changed.
	if err = makeRoom(f, size, write); err == nil {
		header := disk.Blocks(disk.BlockSize)
		copy(header, segmentHeader(seq))
		if err = f.WriteBlocks(header, 0); err == nil {
			if err = f.Sync(); err == nil {
				err = fsys.SyncDir(dir)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeRoom makes the file at least size bytes long, in whole blocks, and if so told writes all that it lacks, zeros. Space that is only
// reserved is "never written" to most file systems, and the first write to each block of it changes that mark, which is metadata: the
// write and fdatasync of a group commit then write two places, one after the other. On ext4 it cost 62 us of processor time and took
// 225 us for 2.5 KiB, 95 and 300 for 20 KiB; in space that had been written, and by direct I/O, 40 and 150, 40 and 160.
func makeRoom(f disk.File, size int64, write bool) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	size = (size + disk.BlockSize - 1) &^ (disk.BlockSize - 1)
	if err := f.Preallocate(size); err != nil || !write {
		return err
	}
	have &^= disk.BlockSize - 1 // what a recycled file held is free to be overwritten
	for have < size {
		n := min(size-have, int64(len(zeros)))
		if err := f.WriteBlocks(zeros[:n], have); err != nil {
			return err
		}
		// A little at a time: whoever syncs another file waits for what the disk was given before.
		if err := f.Datasync(); err != nil {
			return err
		}
		have += n
	}
	return nil
}

// zeros are written, never changed.
var zeros = disk.Blocks(512 << 10)

// CompleteChore takes back a chore after Do. After an error the same work is due again; the owner waits before it asks.
func (l *Log) CompleteChore(c *Chore) error {
	invariant.Assertf(c == l.chore, "complete of a chore that is not under way")
	l.chore = nil
	l.choreErr = c.err
	l.files.remove = append(c.duty.remove[c.removed:], l.files.remove...)
	switch {
	case !c.make:
	case c.file != nil:
		l.spare = &segment{seq: c.seq, file: c.file, end: segmentHeaderLen, synced: segmentHeaderLen}
	default:
		// Whatever the attempt left goes away before the next one, under the old or the new name. The number is used again:
		// a number that is missing between others means that a segment is lost.
		l.nextSeq = c.seq
		if c.recycle != "" {
			l.files.remove = append(l.files.remove, c.recycle)
		}
		l.files.remove = append(l.files.remove, segmentName(c.seq))
	}
	if c.err != nil {
		return fmt.Errorf("log files in %s: %w", l.dir, c.err)
	}
	return nil
}
