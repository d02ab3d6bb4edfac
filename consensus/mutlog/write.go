package mutlog

import (
	"errors"
	"syscall"

	"pegasus/netcore/disk"
)

// Write is one group commit: one write call and, in SyncGroup, one fdatasync. It belongs to whoever does it between NextWrite
// and Complete.
type Write struct {
	segment *segment
	file    disk.File
	off     int64
	sync    bool
	at      place  // of the first record
	table   []byte // table record in front, empty unless this is the first write of the segment
	batch   batch
	blocks  blocks

	// retired is the file of the segment before, to be closed, and in SyncOS synced before.
	retired        disk.File
	retiredSegment *segment
	syncRetired    bool
	retiredFailed  bool

	err  error
	full bool // err is that the disk is full, and the write may be done again as it is
}

// Size tells how many records the write has and how many bytes; the owner asks before Complete.
func (w *Write) Size() (records, bytes int) {
	return len(w.batch.recs), len(w.table) + len(w.batch.buf)
}

// Switches tells whether it is the first write of its segment, which closes the one before, and may sync that for long.
func (w *Write) Switches() bool { return w.retired != nil || len(w.table) > 0 }

// Do performs the write. It blocks and may run on any goroutine, once. The error is also what Complete returns.
func (w *Write) Do() error {
	w.err = w.do()
	return w.err
}

func (w *Write) do() error {
	w.retiredFailed, w.full = false, false
	if w.retired != nil {
		var err error
		if w.syncRetired {
			err = w.retired.Datasync()
			w.retiredFailed = err != nil
		}
		// Its bytes are synced or given up, so an error of close has nothing left to lose.
		_ = w.retired.Close()
		w.retired = nil
		if err != nil {
			return err
		}
	}
	// Checksums are computed here, by the log lane where that writes.
	at := w.at
	off := uint32(w.off)
	if len(w.table) > 0 {
		stamp(w.table, at)
		at.prevOffset = off
		at.prevGPID.App, at.prevGPID.Part, at.prevDecree = 0, 0, 0
		off += uint32(len(w.table))
	}
	for i := range w.batch.recs {
		q := &w.batch.recs[i]
		stamp(w.batch.buf[q.off:], at)
		at.prevOffset, at.prevGPID, at.prevDecree = off+uint32(q.off), q.part.gpid, q.decree
	}
	if w.off == segmentHeaderLen {
		w.blocks.begin(segmentHeader(w.segment.seq))
	}
	err := w.blocks.write(w.file, w.off, w.sync, w.table, w.batch.buf)
	if err == nil && w.sync {
		err = w.file.Datasync()
	}
	if err == nil {
		w.blocks.accept()
	}
	w.full = errors.Is(err, syscall.ENOSPC)
	return err
}
