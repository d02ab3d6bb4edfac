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
	passed   int     // bursts that ended since something was left to others
	dirty    []*conn // with frames that the last to go must write
	spare    []*conn
}

// Under load somebody is always expected. So nothing is left to others for longer than maxPassed bursts, and no more frames
// than maxLeft on one connection.
const (
	maxPassed = 2
	maxLeft   = 64
)

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

// leave is the end of what expect announced. The last one writes. burst tells whether it was that of a reader.
func (f *flusher) leave(burst bool) {
	f.mu.Lock()
	f.expected--
	if len(f.dirty) > 0 && burst {
		f.passed++
	}
	if len(f.dirty) == 0 || f.expected > 0 && f.passed <= maxPassed {
		f.mu.Unlock()
		return
	}
	list := f.dirty
	f.dirty, f.spare, f.passed = f.spare, nil, 0
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
	c.dirty, c.left = false, 0
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
