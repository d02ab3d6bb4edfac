package clientlib

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// node is a server, or one shard of it, by its address, with at most one live connection.
type node struct {
	client  *Client
	address string
	// whole is the server's common port when address is the port of one of its shards. It takes over while that port cannot
	// be reached, which a firewall may see to; the server hands requests on.
	whole    *node
	troubled atomic.Bool          // the last attempt to connect failed
	conn     atomic.Pointer[conn] // nil when there is none
	unused   bool                 // nobody has asked for it since Client.prune looked; guarded by the client's lock

	mu       sync.Mutex
	circuit  route.Circuit
	rnd      route.Rand
	dialling chan struct{} // closed when the attempt under way has ended; nil when there is none
	lastErr  error         // of the last attempt, or why the last connection was given up
}

// connect returns the live connection, or makes one, sharing the attempt with all others who want one. It blocks.
func (n *node) connect(ctx context.Context) (*conn, error) {
	for {
		if cn := n.conn.Load(); cn != nil {
			return cn, nil
		}
		n.mu.Lock()
		wait := n.dialling
		if wait == nil && !n.circuit.Allow(n.client.now()) {
			err := n.lastErr
			n.mu.Unlock()
			return nil, err
		}
		if wait == nil {
			if wait = n.begin(); wait == nil {
				n.mu.Unlock()
				return nil, ErrClosed
			}
		}
		n.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if cn := n.conn.Load(); cn != nil {
			return cn, nil
		}
		n.mu.Lock()
		err := n.lastErr
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// parkUntilDialled parks the call until the attempt to connect has ended, which it begins if it must. It returns false,
// with the reason, when the server is to be left alone.
func (n *node) parkUntilDialled(call *Call) (parked bool, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn.Load() != nil {
		n.client.clerk.park(call, 0, nil)
		return true, nil
	}
	if n.dialling == nil {
		if !n.circuit.Allow(n.client.now()) {
			return false, fmt.Errorf("%w: %w", errNoRoute, n.lastErr)
		}
		if n.begin() == nil {
			return false, ErrClosed
		}
	}
	// With mu held the end of the attempt, which releases the call, cannot come before it is parked.
	n.client.clerk.park(call, call.deadline, n)
	return true, nil
}

// begin starts an attempt to connect. It returns nil when the client is closed. REQUIRES: mu is held.
func (n *node) begin() chan struct{} {
	over := make(chan struct{})
	started := n.client.spawn(func() {
		err := n.dial()
		n.mu.Lock()
		n.lastErr, n.dialling = err, nil
		n.troubled.Store(err != nil)
		if err != nil {
			n.circuit.Failed(n.client.now(), &n.rnd)
		} else {
			n.circuit.Succeeded()
		}
		n.mu.Unlock()
		close(over)
		n.client.clerk.releaseAll(n)
	})
	if !started {
		return nil
	}
	n.dialling = over
	return over
}

func (n *node) dial() error {
	c := n.client
	ctx, cancel := context.WithTimeout(c.ctx, c.opt.DialTimeout)
	defer cancel()
	nc, err := c.opt.Dial(ctx, n.address)
	if err != nil {
		return err
	}
	n.mu.Lock()
	probe := n.circuit.Doubtful()
	n.mu.Unlock()
	cn := newConn(n, nc, c.opt.Pipeline, c.opt.MaxFrame)
	if !c.spawn(cn.write) {
		_ = nc.Close()
		return ErrClosed
	}
	if !c.spawn(cn.read) {
		cn.fail(ErrClosed)
		return ErrClosed
	}
	if probe {
		if err := n.probe(ctx, cn); err != nil {
			cn.fail(err)
			return err
		}
	}
	n.conn.Store(cn)
	switch {
	case c.ctx.Err() != nil: // Close has passed by, or will see it
		cn.fail(ErrClosed)
		return ErrClosed
	case cn.over():
		n.conn.CompareAndSwap(cn, nil)
		return ErrSessionReset
	}
	c.observe(Event{Kind: EventConnected, Node: n.address})
	return nil
}

// probe waits until the server answers anything at all.
func (n *node) probe(ctx context.Context, cn *conn) error {
	p := newPending(proto.CodeTTL)
	p.Args = append(p.Args[:0], pingArgs...)
	p.Timeout = time.Hour // ctx ends it: the clerk does not know this connection yet
	n.client.startAt(cn, &p.Call, proto.GPID{})
	p.wait(ctx, n.client)
	p.release()
	if cn.arrived.Load() == 0 {
		return errSilent
	}
	return nil
}

// failed opens the circuit of a server that has fallen silent.
func (n *node) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastErr = err
	n.circuit.Failed(n.client.now(), &n.rnd)
}

func (n *node) close() {
	if cn := n.conn.Swap(nil); cn != nil {
		cn.fail(ErrClosed)
	}
}

func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// idle tells whether nothing is in flight or begun.
func (n *node) idle() bool {
	n.mu.Lock()
	dialling := n.dialling != nil
	n.mu.Unlock()
	cn := n.conn.Load()
	if cn == nil {
		return !dialling
	}
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.inflight == 0
}

// plain ends the calls that go to one server by its address, with one attempt.
type plain struct{}

func (plain) ended(call *Call, how route.Outcome, code proto.ErrCode, cause error) {
	switch {
	case how != route.Replied && call.Code.IsRead():
		call.done(call.failure(ErrRetriable, cause))
	case how != route.Replied:
		call.done(call.failure(ErrUnknownOutcome, cause))
	case code != proto.ErrOK:
		call.done(call.failure(ErrRefused, &ServerError{Code: code}))
	default:
		call.done(nil)
	}
}

// startAt starts a call that has one attempt on one connection.
func (c *Client) startAt(cn *conn, call *Call, g proto.GPID) {
	now := call.prepare(plain{}, c)
	call.node = cn.node
	var err error
	switch cn.start(call, g, now, false) {
	case startOK:
		return
	case startEnded:
		err = ErrSessionReset
	case startNoRoom:
		err = ErrPipelineFull
	case startCanceled:
		err = call.stopped()
	}
	call.done(call.failure(ErrRetriable, err))
}

// now is the time since the client was made, on the monotonic clock.
func (c *Client) now() time.Duration { return time.Since(c.epoch) }
