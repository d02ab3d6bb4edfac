package clientlib

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"pegasus/netcore/proto"
)

// readChunk is the size of the read buffer; it grows for larger replies and shrinks again.
const readChunk = 64 << 10

// maxKept is how much of a buffer is kept after a burst or a large reply, in bytes.
const maxKept = 1 << 20

// maxOwn is how many frames may be written by their callers between two replies. More are a stream, which the writer gathers
// while it flows.
const maxOwn = 4

// send sees to it that what is in out gets written, and unlocks mu, which must be held.
func (c *conn) send() {
	switch {
	case c.writing: // who writes looks at all that is in out then
		c.mu.Unlock()
	case c.dirty && c.left < maxLeft:
		c.left++
		c.mu.Unlock()
	case !c.dirty && c.node.client.flusher.later(c):
		c.dirty, c.left = true, 1
		c.mu.Unlock()
	case c.raw != nil && c.own < maxOwn:
		c.own++
		c.writeNow()
	default:
		c.mu.Unlock()
		pulse(c.wake)
	}
}

// writeNow writes out on this goroutine, as far as the kernel takes it at once, and unlocks mu, which must be held. Nobody
// else may be writing.
func (c *conn) writeNow() {
	c.writing, c.left = true, 0
	buf := c.out
	c.out, c.spare = c.spare[:0], nil
	c.offerRoom()
	c.mu.Unlock()
	n, err := c.raw.write(buf)
	if err != nil {
		c.fail(ErrSessionReset)
		return
	}
	c.mu.Lock()
	c.writing = false
	more := n < len(buf) || len(c.out) > 0 && !c.dirty
	if n < len(buf) { // the rest goes before what others have appended
		c.out = append(append([]byte(nil), buf[n:]...), c.out...)
	}
	c.keep(buf)
	c.mu.Unlock()
	if more {
		pulse(c.wake)
	}
}

// keep gives a written buffer back. REQUIRES: mu is held.
func (c *conn) keep(buf []byte) {
	if cap(buf) > maxKept {
		buf = nil
	}
	c.spare = buf[:0]
}

// write is the writer goroutine.
func (c *conn) write() {
	for range c.wake {
		c.mu.Lock()
		for !c.writing && c.err == nil && len(c.out) > 0 {
			c.writing = true
			buf := c.out
			c.out, c.spare = c.spare[:0], nil
			c.offerRoom()
			c.mu.Unlock()
			if _, err := c.nc.Write(buf); err != nil {
				c.fail(ErrSessionReset)
				return
			}
			c.mu.Lock()
			c.writing = false
			c.keep(buf)
		}
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return
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
			if len(buf) > maxKept && max(have, need) < readChunk {
				buf = append(make([]byte, 0, readChunk), buf[:have]...)[:readChunk]
			}
		}
		if err != nil {
			c.fail(ErrSessionReset)
			return
		}
	}
}

// replyBatch is how many replies are matched under one lock.
const replyBatch = 32

// replies ends the calls of all complete replies in b. It returns how many bytes it used, and how many the next reply
// needs at least.
func (c *conn) replies(b []byte) (used, need int, err error) {
	var batch [replyBatch]proto.Reply
	var calls [replyBatch]*Call
	burst := false
	defer func() {
		if burst {
			c.node.client.flusher.leave(true)
		}
	}()
	for {
		n := 0
		for n < replyBatch {
			var size int
			if size, need, err = proto.ParseReply(b[used:], c.maxFrame, &batch[n]); err != nil || size == 0 {
				break
			}
			used += size
			n++
		}
		if n == 0 {
			return used, need, err
		}
		c.arrived.Add(uint64(n))
		if !burst {
			burst = true
			c.node.client.flusher.expect()
		}
		c.mu.Lock()
		c.own = 0
		for i := range n {
			calls[i] = c.take(batch[i].Seq)
		}
		c.mu.Unlock()
		for i := range n {
			if calls[i] != nil {
				calls[i].answered(&batch[i])
			}
		}
		if n < replyBatch {
			return used, need, err
		}
	}
}

// rawWriter writes to a socket what the kernel takes at once.
type rawWriter struct {
	conn syscall.RawConn
	buf  []byte
	n    int
	err  error
	once func(fd uintptr) bool // made once: a closure for each write would be an allocation
}

func newRawWriter(nc net.Conn) *rawWriter {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	w := &rawWriter{conn: raw}
	w.once = func(fd uintptr) bool {
		for {
			w.n, w.err = syscall.Write(int(fd), w.buf)
			if !errors.Is(w.err, syscall.EINTR) {
				return true
			}
		}
	}
	return w
}

// write returns how many bytes were taken, without waiting for room. It must not run twice at once.
func (w *rawWriter) write(b []byte) (int, error) {
	w.buf = b
	err := w.conn.Write(w.once)
	w.buf = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(w.err, syscall.EAGAIN):
		return 0, nil
	case w.err != nil:
		return 0, w.err
	}
	return w.n, nil
}
