// Package timer keeps the deadlines of one owner. It reads no clock, starts no goroutine and takes no lock: the owner
// says what time it is, in any unit it likes, and asks when it has to come back.
package timer

import "pegasus/netcore/invariant"

// A 4-ary heap of small entries, not a wheel: an owner has tens to a few thousand timers (per partition and per
// session in trouble, never per request), a heap gives the exact next deadline, so that an idle owner sleeps until
// then instead of ticking, and the order of firing is the same on every run, which simulation needs.

// maxTimers is far above any sane use; beyond it somebody forgets to stop timers.
const maxTimers = 1 << 20

// ID names a scheduled timer. The zero ID names none. An ID stays invalid for ever once its timer fired or was stopped.
type ID struct {
	slot int32
	gen  uint32
}

// Heap holds the timers of one owner. The zero value is ready.
type Heap struct {
	heap  []entry
	slots []slot
	free  []int32
	seq   uint64
}

type entry struct {
	at   int64
	seq  uint64 // ties fire in the order of scheduling
	slot int32
}

type slot struct {
	fn  func()
	gen uint32
	pos int32 // index in heap, -1 when free
}

// At schedules fn for the first Advance whose now is >= at.
func (h *Heap) At(at int64, fn func()) ID {
	if len(h.heap) >= maxTimers { // tested here: the arguments of Assertf would be allocated on every call
		invariant.Assertf(false, "%d timers: someone does not stop his timers", len(h.heap))
	}
	var s int32
	if n := len(h.free); n > 0 {
		s = h.free[n-1]
		h.free = h.free[:n-1]
	} else {
		s = int32(len(h.slots))
		h.slots = append(h.slots, slot{})
	}
	sl := &h.slots[s]
	sl.gen++
	sl.fn = fn
	h.seq++
	h.heap = append(h.heap, entry{})
	h.up(len(h.heap)-1, entry{at: at, seq: h.seq, slot: s})
	return ID{slot: s, gen: sl.gen}
}

// Stop removes the timer. It returns false when it fired or was stopped before, or id is zero.
func (h *Heap) Stop(id ID) bool {
	if id.gen == 0 || int(id.slot) >= len(h.slots) {
		return false
	}
	sl := &h.slots[id.slot]
	if sl.gen != id.gen || sl.pos < 0 {
		return false
	}
	h.removeAt(int(sl.pos))
	return true
}

// Next returns the earliest deadline; ok is false when there is none.
func (h *Heap) Next() (at int64, ok bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].at, true
}

// Len is the number of timers that wait.
func (h *Heap) Len() int { return len(h.heap) }

// Advance fires every timer that was scheduled before this call and is due at now, by deadline, ties in the order of
// scheduling, and returns their number. fn may schedule and stop timers; new ones wait for the next Advance, so that
// a timer that re-arms itself without delay cannot hold the owner.
func (h *Heap) Advance(now int64) int {
	fired, last := 0, h.seq
	for len(h.heap) > 0 && h.heap[0].at <= now && h.heap[0].seq <= last {
		fn := h.slots[h.heap[0].slot].fn
		h.removeAt(0)
		fn()
		fired++
	}
	return fired
}

func (h *Heap) removeAt(i int) {
	s := h.heap[i].slot
	h.slots[s].fn, h.slots[s].pos = nil, -1
	h.free = append(h.free, s)
	n := len(h.heap) - 1
	moved := h.heap[n]
	h.heap = h.heap[:n]
	if i == n {
		return
	}
	if i > 0 && less(moved, h.heap[(i-1)/4]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

func less(a, b entry) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *Heap) put(i int, e entry) {
	h.heap[i] = e
	h.slots[e.slot].pos = int32(i)
}

func (h *Heap) up(i int, e entry) {
	for i > 0 {
		parent := (i - 1) / 4
		if !less(e, h.heap[parent]) {
			break
		}
		h.put(i, h.heap[parent])
		i = parent
	}
	h.put(i, e)
}

func (h *Heap) down(i int, e entry) {
	for {
		first := 4*i + 1
		if first >= len(h.heap) {
			break
		}
		best := first
		for c := first + 1; c < min(first+4, len(h.heap)); c++ {
			if less(h.heap[c], h.heap[best]) {
				best = c
			}
		}
		if !less(h.heap[best], e) {
			break
		}
		h.put(i, h.heap[best])
		i = best
	}
	h.put(i, e)
}
