package consensus

import "pegasus/netcore/invariant"

// entry is one prepared, uncommitted mutation.
type entry struct {
	mutation Mutation
	// waits counts the durable copies that are still missing before the mutation may commit. In a group of one only the
	// local log counts; a group of n starts at n. Nothing but the counter changes when a copy is confirmed.
	waits int
}

// window holds the mutations (committed, prepared] in a ring, in decree order without gaps.
//
// A slot keeps the memory of its token slice when its entry leaves, so a steady stream of proposals allocates nothing.
type window struct {
	slots []entry
	head  int // slot of the oldest entry
	count int
	bytes int // sum of the batches' lengths
}

// keepTokens is the capacity above which a slot's token slice is given back instead of kept: a rare huge batch must not pin
// its memory in every slot it passes through.
const keepTokens = 4096

func (w *window) at(i int) *entry { return &w.slots[(w.head+i)%len(w.slots)] }

// push copies m and its tokens into the next slot. The caller has checked the limits; the ring grows only up to them.
func (w *window) push(m *Mutation, waits int) *entry {
	if w.count == len(w.slots) {
		w.grow()
	}
	e := w.at(w.count)
	tokens := append(e.mutation.Tokens[:0], m.Tokens...)
	e.mutation = *m
	e.mutation.Tokens = tokens
	e.waits = waits
	w.count++
	w.bytes += len(m.Batch)
	return e
}

func (w *window) grow() {
	slots := make([]entry, max(16, 2*len(w.slots)))
	for i := range w.count {
		slots[i] = *w.at(i)
	}
	w.slots, w.head = slots, 0
}

// popFront removes the oldest entry. Its token memory stays valid until the slot is pushed again.
func (w *window) popFront() {
	invariant.Assertf(w.count > 0, "pop from an empty window")
	e := w.at(0)
	w.release(e)
	w.head = (w.head + 1) % len(w.slots)
	w.count--
}

// popBack removes the newest entry.
func (w *window) popBack() {
	invariant.Assertf(w.count > 0, "pop from an empty window")
	w.release(w.at(w.count - 1))
	w.count--
}

func (w *window) release(e *entry) {
	w.bytes -= len(e.mutation.Batch)
	tokens := e.mutation.Tokens
	if cap(tokens) > keepTokens {
		tokens = nil
	}
	e.mutation = Mutation{Tokens: tokens[:0]}
}

// last is the newest mutation; ok is false when the window is empty.
func (w *window) last() (m *Mutation, ok bool) {
	if w.count == 0 {
		return nil, false
	}
	return &w.at(w.count - 1).mutation, true
}
