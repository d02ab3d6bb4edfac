package perf

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
)

// A pipeline is a connection to a server that answers in order. Requests that gather while a write is under way leave together
// in the next one; a reader goroutine ends the operations.
type pipeline struct {
	nc    net.Conn
	reply func(r *bufio.Reader) (miss bool, err error)

	mu     sync.Mutex
	out    []byte
	err    error
	flying []*pipelined  // requests in flight, in order
	wake   chan struct{} // cap 1: there is output
	wg     sync.WaitGroup
}

// dialPipeline connects. reply reads one reply; an error that is not a *refusal ends the connection.
func dialPipeline(ctx context.Context, address string, reply func(*bufio.Reader) (bool, error)) (*pipeline, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &pipeline{nc: nc, reply: reply, wake: make(chan struct{}, 1)}
	c.wg.Go(c.write)
	c.wg.Go(c.read)
	return c, nil
}

// refusal is a reply that is an error; the connection goes on.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

var (
	errPipelineClosed = errors.New("perf: connection closed")
	errStrayReply     = errors.New("perf: a reply to nothing")
)

// Close ends the connection and what is in flight on it.
func (c *pipeline) Close() {
	c.fail(errPipelineClosed)
	c.wg.Wait()
}

func (c *pipeline) fail(err error) {
	c.mu.Lock()
	lost := c.flying
	if c.err == nil {
		c.err = err
		close(c.wake)
	}
	c.flying = nil
	c.mu.Unlock()
	_ = c.nc.Close()
	for _, s := range lost {
		s.op.Done(false, err)
	}
}

// pipelined is the part of a slot that all pipelines share.
type pipelined struct {
	conn    *pipeline
	request func(out []byte) []byte // appends the request of op
	op      *Op
}

// Blocks implements Slot.
func (s *pipelined) Blocks() bool { return false }

// Start implements Slot.
func (s *pipelined) Start(op *Op) {
	s.op = op
	c := s.conn
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		op.Done(false, err)
		return
	}
	idle := len(c.out) == 0
	c.out = s.request(c.out)
	c.flying = append(c.flying, s)
	if idle {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.mu.Unlock()
}

func (c *pipeline) write() {
	var buf []byte
	for range c.wake {
		c.mu.Lock()
		buf, c.out = c.out, buf[:0]
		c.mu.Unlock()
		if _, err := c.nc.Write(buf); err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *pipeline) read() {
	r := bufio.NewReaderSize(c.nc, 64<<10)
	for {
		miss, err := c.reply(r)
		var refused *refusal
		if err != nil && !errors.As(err, &refused) {
			c.fail(err)
			return
		}
		c.mu.Lock()
		if len(c.flying) == 0 {
			c.mu.Unlock()
			c.fail(errStrayReply)
			return
		}
		s := c.flying[0]
		c.flying = c.flying[1:]
		c.mu.Unlock()
		s.op.Done(miss, err)
	}
}
