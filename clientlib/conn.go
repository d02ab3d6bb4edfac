package clientlib

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// A conn is one TCP connection with many requests in flight. Callers append their frames to one shared buffer under the
// lock and leave; a writer goroutine takes whatever has gathered and writes it in one go, so that load makes writes
// larger, not more numerous. A reader goroutine matches replies by seqid. A goroutine or a channel per request was
// rejected: a wake-up costs more than the request. For the same reason most frames are not written by the writer but by callers
// and readers (flush.go).
//
// Invariant: whoever takes a call out of its slot, under mu, is the one who ends it.
type conn struct {
	node     *node
	nc       net.Conn
	maxFrame int

	mu       sync.Mutex
	slots    []slot // ring by seqid, a power of two
	inflight int
	waiters  int           // callers in waitRoom
	seq      int32         // last one given out, > 0
	out      []byte        // frames that nobody has taken to write
	spare    []byte        // the other buffer, nil while it is being written
	writing  bool          // somebody writes, outside the lock
	dirty    bool          // it is on the flusher's list
	left     int           // frames left to others since
	own      int           // frames written by their callers since the last reply
	earliest time.Duration // no deadline of a call in flight is before it
	err      error         // set once, when the connection ended
	silence  route.Silence

	arrived atomic.Uint64 // replies
	raw     *rawWriter    // writes without waiting; nil when nc cannot

	wake  chan struct{} // cap 1: out is not empty, or err is set
	freed chan struct{} // cap 1: there may be room; pulsed only while waiters > 0
}

// slot holds one request in flight; call is nil when it is free.
type slot struct {
	call *Call
	seq  int32
	at   time.Duration // when it was sent
}

// maxQueuedBytes bounds what may wait for the writer.
const maxQueuedBytes = 32 << 20

func newConn(n *node, nc net.Conn, pipeline, maxFrame int) *conn {
	size := 1
	for size < pipeline {
		size *= 2
	}
	return &conn{
		node: n, nc: nc, maxFrame: maxFrame, slots: make([]slot, size), raw: newRawWriter(nc),
		wake: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}
}

// started is what became of an attempt to put a call in flight.
type started uint8

const (
	startOK    started = iota
	startEnded         // the connection has ended
	startNoRoom
	startCanceled
)

// start puts the call in flight. Unless it returns startOK the call was certainly not sent and still belongs to the
// caller. now is the time from which the server's share of the deadline is counted.
func (c *conn) start(call *Call, g proto.GPID, now time.Duration, backup bool) started {
	timeout := int32(min(max((call.deadline-now).Milliseconds(), 1), 1<<30))
	c.mu.Lock()
	call.conn.Store(c)
	var no started
	switch {
	case call.canceled.Load() != nil: // after the Store: either cancel finds this conn, or start sees the flag
		no = startCanceled
	case c.err != nil:
		no = startEnded
	case !c.room():
		no = startNoRoom
	}
	if no != startOK {
		c.mu.Unlock()
		return no
	}
	// A slow request keeps its slot while the ring goes round; seqids of occupied slots are passed over.
	var s *slot
	for {
		c.next()
		if s = &c.slots[int(c.seq)&(len(c.slots)-1)]; s.call == nil {
			break
		}
	}
	s.call, s.seq, s.at, call.seq = call, c.seq, now, c.seq
	if c.inflight == 0 || call.deadline < c.earliest {
		c.earliest = call.deadline
	}
	c.inflight++
	alone := c.inflight == 1
	c.frame(call.Code, g, timeout, call.Hash, call.Args, backup)
	c.offerRoom()
	c.send()
	if alone {
		c.node.client.clerk.stir()
	}
	return startOK
}

// post sends a request whose answer, if there is one, nobody wants.
func (c *conn) post(code proto.Code, g proto.GPID, hash uint64, args []byte) {
	c.mu.Lock()
	if c.err != nil || len(c.out) > maxQueuedBytes {
		c.mu.Unlock()
		return
	}
	for {
		c.next()
		if c.slots[int(c.seq)&(len(c.slots)-1)].call == nil {
			break
		}
		if c.inflight == len(c.slots) { // every slot is taken, so no seqid is free of one
			c.mu.Unlock()
			return
		}
	}
	c.frame(code, g, 1000, hash, args, false)
	c.send()
}

// next gives out a seqid. REQUIRES: mu is held.
func (c *conn) next() {
	if c.seq++; c.seq <= 0 {
		c.seq = 1
	}
}

// frame appends a request with the current seqid to out. REQUIRES: mu is held.
func (c *conn) frame(code proto.Code, g proto.GPID, timeout int32, hash uint64, args []byte, backup bool) {
	var mark int
	if backup {
		c.out, mark = proto.AppendBackupRequest(c.out, code, g, c.seq, timeout, hash)
		c.out = append(c.out, args...)
		c.out = proto.FinishBackupRequest(c.out, mark)
		return
	}
	c.out, mark = proto.AppendRequest(c.out, code, g, c.seq, timeout, hash)
	c.out = append(c.out, args...)
	c.out = proto.FinishRequest(c.out, mark)
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

// take removes the call with a seqid from the ring. It returns nil for a seqid that is not in flight. REQUIRES: mu is held.
func (c *conn) take(seq int32) *Call {
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

// steal takes the call out of flight if it still is there under a seqid.
func (c *conn) steal(call *Call, seq int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[int(seq)&(len(c.slots)-1)]
	if s.call != call || s.seq != seq {
		return false
	}
	c.release(s)
	return true
}

// takeReads takes the reads of a table out of flight whose partitions have moved.
func (c *conn) takeReads(t *Table, moved func(part int32) bool) (calls []*Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.slots {
		if s := &c.slots[i]; s.call != nil && s.call.table == t && !s.call.harmful() && moved(s.call.part) {
			calls = append(calls, c.release(s))
		}
	}
	return calls
}

// cancel ends the call if it is in flight here.
func (c *conn) cancel(call *Call, cause error) bool {
	c.mu.Lock()
	s := &c.slots[int(call.seq)&(len(c.slots)-1)]
	mine := s.call == call
	if mine {
		c.release(s)
	}
	c.mu.Unlock()
	if mine {
		call.target.ended(call, route.Late, proto.ErrOK, cause)
	}
	return mine
}

// expire ends the calls whose deadline is before now.
func (c *conn) expire(now time.Duration) {
	var late []*Call
	c.mu.Lock()
	if c.inflight > 0 && c.earliest < now {
		c.earliest = 1<<63 - 1
		for i := range c.slots {
			switch s := &c.slots[i]; {
			case s.call == nil:
			case s.call.deadline < now:
				late = append(late, c.release(s))
			default:
				c.earliest = min(c.earliest, s.call.deadline)
			}
		}
	}
	c.mu.Unlock()
	for _, call := range late {
		call.target.ended(call, route.Late, proto.ErrOK, ErrTimeout)
	}
}

// listen does what a silence of the server asks for.
func (c *conn) listen(now time.Duration) (busy bool) {
	var inDoubt []doubt
	c.mu.Lock()
	busy = c.inflight > 0
	alarm := c.silence.Look(now, c.arrived.Load(), busy)
	if alarm == route.SuspectIt {
		for i := range c.slots {
			if call := c.slots[i].call; call != nil && call.table != nil {
				inDoubt = append(inDoubt, doubt{call.table, call.part, call.version})
			}
		}
	}
	c.mu.Unlock()
	switch alarm {
	case route.SuspectIt:
		for _, d := range inDoubt {
			d.table.suspect(d.part, d.version)
		}
	case route.PingIt:
		// A data request for no partition: servers answer ERR_HANDLER_NOT_FOUND at once (spec wire 4).
		c.post(proto.CodeTTL, proto.GPID{}, 0, pingArgs)
	case route.DropIt:
		c.node.failed(errSilent)
		c.fail(errSilent)
	}
	return busy
}

type doubt struct {
	table   *Table
	part    int32
	version uint64
}

var pingArgs = proto.AppendBlobArg(nil, []byte{0, 1, 0})

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
	c.node.conn.CompareAndSwap(c, nil)
	_ = c.nc.Close()
	pulse(c.wake)
	pulse(c.freed)
	for _, call := range lost {
		call.target.ended(call, route.Lost, proto.ErrOK, err)
	}
}
