package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// window holds the mutations (committed, prepared] in a ring, in decree order without gaps.
//
// A slot keeps the memory of its token slice when its entry leaves, so a steady stream of proposals allocates nothing.
type window struct {
	slots []Mutation
	head  int // slot of the oldest entry
	count int
	bytes int // sum of the batches' lengths
}

// keepTokens is the capacity above which a slot's token slice is given back instead of kept: a rare huge batch must not pin
// its memory in every slot it passes through.
const keepTokens = 4096

func (w *window) at(i int) *Mutation { return &w.slots[(w.head+i)%len(w.slots)] }

// push copies m and its tokens into the next slot. The caller has checked the limits; the ring grows only up to them.
func (w *window) push(m *Mutation) *Mutation {
	if w.count == len(w.slots) {
		w.grow()
	}
	e := w.at(w.count)
	tokens := append(e.Tokens[:0], m.Tokens...)
	*e = *m
	e.Tokens = tokens
	w.count++
	w.bytes += len(m.Batch)
	return e
}

func (w *window) grow() {
	slots := make([]Mutation, max(16, 2*len(w.slots)))
	for i := range w.count {
		slots[i] = *w.at(i)
	}
	w.slots, w.head = slots, 0
}

// popFront removes the oldest entry. Its token memory stays valid until the slot is pushed again.
func (w *window) popFront() {
	invariant.Assertf(w.count > 0, "pop from an empty window")
	w.release(w.at(0))
	w.head = (w.head + 1) % len(w.slots)
	if w.count--; w.count == 0 {
		w.head = 0 // the slot that was used last is in the processor's cache
	}
}

// popBack removes the newest entry.
func (w *window) popBack() {
	invariant.Assertf(w.count > 0, "pop from an empty window")
	w.release(w.at(w.count - 1))
	w.count--
}

func (w *window) release(e *Mutation) {
	w.bytes -= len(e.Batch)
	tokens := e.Tokens
	if cap(tokens) > keepTokens {
		tokens = nil
	}
	*e = Mutation{Tokens: tokens[:0]}
}

// last is the newest mutation; ok is false when the window is empty.
func (w *window) last() (m *Mutation, ok bool) {
	if w.count == 0 {
		return nil, false
	}
	return w.at(w.count - 1), true
}

// history holds copies of the newest committed mutations while somebody learns, so that a learner can step from the log into
// the window without racing against commits. The oldest go when it is full; a learner that needs them reads the log again.
type history struct {
	held  []Mutation // in decree order without gaps
	bytes int
}

// keep copies m, which follows the last one held, and then drops what limit does not allow.
func (h *history) keep(m *Mutation, limit int) {
	c := Mutation{Ballot: m.Ballot, Decree: m.Decree, Committed: m.Committed, Timestamp: m.Timestamp}
	c.Batch = append([]byte(nil), m.Batch...)
	h.held = append(h.held, c)
	h.bytes += len(c.Batch)
	drop := 0
	for h.bytes > limit || len(h.held)-drop > maxHistory {
		h.bytes -= len(h.held[drop].Batch)
		h.held[drop] = Mutation{}
		drop++
	}
	h.held = h.held[drop:]
}

// maxHistory bounds the number of mutations held, for those that have next to no bytes.
const maxHistory = 16384

// find returns the mutation of a decree, nil when it is not held.
func (h *history) find(d proto.Decree) *Mutation {
	if len(h.held) == 0 {
		return nil
	}
	i := int(d - h.held[0].Decree)
	if i < 0 || i >= len(h.held) {
		return nil
	}
	return &h.held[i]
}

func (h *history) clear() { *h = history{} }
