package clientlib

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"pegasus/netcore/proto"
)

// A conn is one TCP connection with many requests in flight. Callers append their frames to one shared buffer under the
// lock and leave; a writer goroutine takes whatever has gathered and writes it in one go, so that load makes writes
// larger, not more numerous. A reader goroutine matches replies by seqid. A goroutine or a channel per request was
// rejected: a wake-up costs more than the request.
//
// Invariant: whoever takes a call out of its slot, under mu, is the one who ends it.
type conn struct {
	nc       net.Conn
	maxFrame int

	mu       sync.Mutex
	slots    []slot // ring by seqid, a power of two
	inflight int
	waiters  int    // callers in waitRoom
	seq      int32  // last one given out, > 0
	out      []byte // frames that the writer has not taken
	err      error  // set once, when the connection ended

	wake  chan struct{} // cap 1: out is not empty, or err is set
	freed chan struct{} // cap 1: there may be room; pulsed only while waiters > 0
}

// slot holds one request in flight; call is nil when it is free.
type slot struct {
	call *Call
	seq  int32
}

// maxQueuedBytes bounds what may wait for the writer.
const maxQueuedBytes = 32 << 20

// readChunk is the initial size of the read buffer; it grows to the largest reply.
const readChunk = 64 << 10

func newConn(nc net.Conn, pipeline, maxFrame int) *conn {
	size := 1
	for size < pipeline {
		size *= 2
	}
	return &conn{
		nc: nc, maxFrame: maxFrame, slots: make([]slot, size),
		wake: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}
}

// start puts the call in flight. On an error the call was certainly not sent and still belongs to the caller. now is the
// time from which the server's share of the deadline is counted.
func (c *conn) start(call *Call, g proto.GPID, now time.Time) error {
	timeout := max(call.deadline.Sub(now).Milliseconds(), 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	call.conn.Store(c)
	switch {
	case call.canceled.Load(): // after the Store: either cancel finds this conn, or start sees the flag
		return context.Canceled
	case c.err != nil:
		return errNotDialled
	case !c.room():
		return ErrPipelineFull
	}
	// A slow request keeps its slot while the ring goes round; seqids of occupied slots are passed over.
	var s *slot
	for {
		if c.seq++; c.seq <= 0 {
			c.seq = 1
		}
		if s = &c.slots[int(c.seq)&(len(c.slots)-1)]; s.call == nil {
			break
		}
	}
	s.call, s.seq = call, c.seq
	c.inflight++
	empty := len(c.out) == 0
	var mark int
	c.out, mark = proto.AppendRequest(c.out, call.Code, g, c.seq, int32(min(timeout, 1<<30)), call.Hash)
	c.out = append(c.out, call.Args...)
	c.out = proto.FinishRequest(c.out, mark)
	if empty {
		pulse(c.wake)
	}
	c.offerRoom()
	return nil
}

// room tells whether start would accept a call. REQUIRES: mu is held.
func (c *conn) room() bool { return c.inflight < len(c.slots) && len(c.out) <= maxQueuedBytes }

// offerRoom wakes one waiter if there is room; the waiter that starts a call passes it on. REQUIRES: mu is held.
func (c *conn) offerRoom() {
	if c.waiters > 0 && c.room() {
		pulse(c.freed)
	}
}

// waitRoom returns when there may be room, the connection has ended, or ctx has.
func (c *conn) waitRoom(ctx context.Context) {
	c.mu.Lock()
	if c.room() || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.waiters++
	c.mu.Unlock()
	select {
	case <-c.freed:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.waiters--
	if c.err != nil && c.waiters > 0 { // pass the end of the connection on
		pulse(c.freed)
	}
	c.mu.Unlock()
}

func pulse(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// take removes the call with a seqid from the ring. It returns nil for a seqid that is not in flight.
func (c *conn) take(seq int32) *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[int(seq)&(len(c.slots)-1)]
	if s.call == nil || s.seq != seq {
		return nil
	}
	return c.release(s)
}

// release empties a slot. REQUIRES: mu is held.
func (c *conn) release(s *slot) *Call {
	call := s.call
	s.call = nil
	c.inflight--
	c.offerRoom()
	return call
}

// cancel ends the call with err if it is still in flight here.
func (c *conn) cancel(call *Call, err error) {
	c.mu.Lock()
	i := slices.IndexFunc(c.slots, func(s slot) bool { return s.call == call })
	if i >= 0 {
		c.release(&c.slots[i])
	}
	c.mu.Unlock()
	if i >= 0 {
		call.lost(err)
	}
}

// expire ends the calls whose deadline is before now.
func (c *conn) expire(now time.Time) {
	var late []*Call
	c.mu.Lock()
	if c.inflight > 0 {
		for i := range c.slots {
			if s := &c.slots[i]; s.call != nil && now.After(s.call.deadline) {
				late = append(late, c.release(s))
			}
		}
	}
	c.mu.Unlock()
	for _, call := range late {
		call.lost(ErrTimeout)
	}
}

// fail ends the connection and every call in flight on it.
func (c *conn) fail(err error) {
	var lost []*Call
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		for i := range c.slots {
			if s := &c.slots[i]; s.call != nil {
				lost = append(lost, c.release(s))
			}
		}
	}
	c.mu.Unlock()
	_ = c.nc.Close()
	pulse(c.wake)
	pulse(c.freed)
	for _, call := range lost {
		call.lost(err)
	}
}

// write is the writer goroutine.
func (c *conn) write() {
	var buf []byte
	for range c.wake {
		c.mu.Lock()
		buf, c.out = c.out, buf[:0]
		err := c.err
		c.offerRoom()
		c.mu.Unlock()
		if err != nil {
			return
		}
		if len(buf) > 0 {
			if _, err := c.nc.Write(buf); err != nil {
				c.fail(ErrSessionReset)
				return
			}
		}
		if cap(buf) > 1<<20 { // do not keep the memory of a burst
			buf = nil
		}
	}
}

// read is the reader goroutine.
func (c *conn) read() {
	buf := make([]byte, readChunk)
	have, need := 0, 4
	for {
		if need > len(buf) {
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		}
		n, err := c.nc.Read(buf[have:])
		have += n
		if have >= need {
			used, more, perr := c.replies(buf[:have])
			if perr != nil {
				c.fail(fmt.Errorf("%w: %w", ErrSessionReset, perr))
				return
			}
			have = copy(buf, buf[used:have])
			need = more
		}
		if err != nil {
			c.fail(ErrSessionReset)
			return
		}
	}
}

// replies ends the calls of all complete replies in b. It returns how many bytes it used, and how many the next reply
// needs at least.
func (c *conn) replies(b []byte) (used, need int, err error) {
	for {
		var r proto.Reply
		n, more, err := proto.ParseReply(b[used:], c.maxFrame, &r)
		if err != nil {
			return used, 0, err
		}
		if n == 0 {
			return used, more, nil
		}
		used += n
		if call := c.take(r.Seq); call != nil {
			call.answered(&r)
		}
	}
}
