package disk

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Op is a kind of call that a Fault can hit.
type Op uint8

const (
	// OpOpen is FS.Open and FS.OpenRW.
	OpOpen Op = iota
	OpCreate
	OpRemove
	OpRename
	OpList
	OpMkdir
	OpSyncDir
	OpRead
	// OpWrite is File.WriteAt and File.WriteBlocks.
	OpWrite
	// OpSync is File.Datasync and File.Sync. A failed one leaves the file as Linux does: each unsynced sector reached the
	// disk or not, and all count as clean, so that a later successful sync does not write them.
	OpSync
	OpPreallocate
	OpTruncate

	opCount
)

// Fault makes matching calls on a Mem fail.
type Fault struct {
	Op Op
	// Glob is matched (path.Match) against the whole name if it has a slash, else against the last element. Empty is any.
	Glob string
	// Nth is the first matching call that fails, counted from 1 at Inject. 0 means 1.
	Nth int
	// Times is how many calls in a row fail from there on. 0 means 1; negative means all.
	Times int
	// Err is the cause; nil means EIO.
	Err error
	// Keep is, for OpWrite, how many bytes are written all the same: a short write.
	Keep int
}

type armedFault struct {
	Fault
	seen int
}

// Inject arms a fault. Several may be armed; the first that hits a call decides.
func (m *Mem) Inject(f Fault) {
	if f.Nth == 0 {
		f.Nth = 1
	}
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Err == nil {
		f.Err = syscall.EIO
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &armedFault{Fault: f})
}

// ClearFaults disarms everything injected.
func (m *Mem) ClearFaults() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// Count is how many calls of a kind were made, failed ones included.
func (m *Mem) Count(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[op]
}

// hit counts a call and returns the fault that it meets, or nil. Spent faults are dropped.
func (m *Mem) hit(op Op, name string) *armedFault {
	m.counts[op]++
	for i, f := range m.faults {
		if f.Op != op || !f.matches(name) {
			continue
		}
		f.seen++
		if f.seen < f.Nth {
			continue
		}
		if f.Times > 0 && f.seen == f.Nth+f.Times-1 {
			m.faults = slices.Delete(m.faults, i, i+1)
		}
		return f
	}
	return nil
}

func (f *armedFault) matches(name string) bool {
	if f.Glob == "" {
		return true
	}
	if !strings.Contains(f.Glob, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(f.Glob, name)
	return ok && err == nil
}

func (f *armedFault) pathError(name string) error {
	return fmt.Errorf("%s: injected: %w", name, f.Err)
}
