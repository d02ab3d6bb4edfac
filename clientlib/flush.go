package clientlib

import (
	"runtime"
	"sync"
)

// flusher gathers writes over all connections of a client. While a reader hands out a burst of replies, those who get them
// are about to ask again: their frames stay in the connections' buffers, and the reader, when it has handed out all and let
// the callers run, writes each buffer in one go. So a steady load needs neither a wake-up of a writer goroutine for a request
// nor a write for each. Outside bursts, and for what the kernel does not take at once, there are the writers.
type flusher struct {
	mu     sync.Mutex
	bursts int     // readers that hand out replies now
	dirty  []*conn // with frames that the end of a burst must write
}

func (f *flusher) begin() {
	f.mu.Lock()
	f.bursts++
	f.mu.Unlock()
}

// later puts a connection off to the end of a burst, if there is one.
func (f *flusher) later(c *conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bursts == 0 {
		return false
	}
	f.dirty = append(f.dirty, c)
	return true
}

// end writes what was put off. list is scratch of the caller.
func (f *flusher) end(list []*conn) []*conn {
	runtime.Gosched() // to those who were woken
	f.mu.Lock()
	f.bursts--
	list, f.dirty = f.dirty, list[:0]
	f.mu.Unlock()
	for i, c := range list {
		c.flush()
		list[i] = nil
	}
	return list
}

// flush writes what was put off.
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
