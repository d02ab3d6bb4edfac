package clientlib

import "sync"

// flusher gathers writes over all connections of a client. Those who are about to ask are known: a reader that hands out
// replies (to callbacks, which may start calls), callers that were woken by a reply and have not run yet, a batch that is
// being started. As long as there is one, frames stay in the connections' buffers; the last one to go writes each buffer in
// one go. So a steady load needs neither a wake-up of a writer for a request nor a write for each. When nobody is expected a
// caller writes its frame itself, and there are the writers for what the kernel does not take at once, and for streams of
// requests that no reply has caused.
//
// A yield of the reader in place of counting was rejected: it puts the reader behind everything else that the application has to
// do. Those who were woken are next in line anyway.
type flusher struct {
	mu       sync.Mutex
	expected int
	dirty    []*conn // with frames that the last to go must write
	spare    []*conn
}

// expect announces somebody who calls leave soon, whatever happens.
func (f *flusher) expect() {
	f.mu.Lock()
	f.expected++
	f.mu.Unlock()
}

// later leaves the writing of a connection to those who are expected, if there are any.
func (f *flusher) later(c *conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.expected == 0 {
		return false
	}
	f.dirty = append(f.dirty, c)
	return true
}

// leave is the end of what expect announced. The last one writes.
func (f *flusher) leave() {
	f.mu.Lock()
	f.expected--
	if f.expected > 0 || len(f.dirty) == 0 {
		f.mu.Unlock()
		return
	}
	list := f.dirty
	f.dirty, f.spare = f.spare, nil
	f.mu.Unlock()
	for i, c := range list {
		c.flush()
		list[i] = nil
	}
	f.mu.Lock()
	f.spare = list[:0]
	f.mu.Unlock()
}

// flush writes what was left to others.
func (c *conn) flush() {
	c.mu.Lock()
	c.dirty = false
	if c.writing || c.err != nil || len(c.out) == 0 {
		c.mu.Unlock()
		return
	}
	if c.raw == nil {
		c.mu.Unlock()
		pulse(c.wake)
		return
	}
	c.writeNow()
}
