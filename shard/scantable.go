package shard

import "pegasus/shard/rrdb"

// scanTable holds the scans of a partition that wait for their next batch, under handles that are positive, rise, and are
// never used twice in the life of a process. A scan that nobody fetches expires; when the table is full the one that waited
// longest goes, and its client starts over (a SCAN of an unknown handle says NotFound, and every client then reopens).
type scanTable struct {
	next    int64 // last handle given out
	waiting map[int64]parkedScan
	order   []int64 // handles by age; those taken meanwhile are skipped
}

type parkedScan struct {
	scanner *rrdb.Scanner
	expires int64 // loop time in nanoseconds
}

// put parks a scanner and returns its handle.
func (t *scanTable) put(s *rrdb.Scanner, expires int64, limit int) int64 {
	if t.waiting == nil {
		t.waiting = map[int64]parkedScan{}
		t.next = instanceSeed()
	}
	for len(t.waiting) >= limit {
		t.dropOldest()
	}
	t.next++
	t.waiting[t.next] = parkedScan{scanner: s, expires: expires}
	t.order = append(t.order, t.next)
	return t.next
}

// take removes and returns the scanner of a handle, or nil.
func (t *scanTable) take(handle int64) *rrdb.Scanner {
	parked, ok := t.waiting[handle]
	if !ok {
		return nil
	}
	delete(t.waiting, handle)
	t.trim()
	return parked.scanner
}

// expire closes what nobody has fetched in time.
func (t *scanTable) expire(now int64) {
	for len(t.order) > 0 {
		parked, ok := t.waiting[t.order[0]]
		if ok && parked.expires > now {
			return
		}
		t.dropOldest()
	}
}

func (t *scanTable) dropOldest() {
	handle := t.order[0]
	t.order = t.order[1:]
	if parked, ok := t.waiting[handle]; ok {
		parked.scanner.Close()
		delete(t.waiting, handle)
	}
}

// trim keeps order from growing with handles that were taken.
func (t *scanTable) trim() {
	if len(t.order) < 64 || len(t.order) < 2*len(t.waiting) {
		return
	}
	kept := t.order[:0]
	for _, h := range t.order {
		if _, ok := t.waiting[h]; ok {
			kept = append(kept, h)
		}
	}
	t.order = kept
}

// closeAll drops every scan.
func (t *scanTable) closeAll() {
	for _, parked := range t.waiting {
		parked.scanner.Close()
	}
	t.waiting, t.order = nil, nil
}
