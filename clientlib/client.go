// Package clientlib is the Go client of a Pegasus cluster: it finds tables through the meta servers, sends each request
// to the primary of its partition over one pipelined connection per node, and follows the cluster when partitions move.
// It builds without cgo, depends on package proto and the standard library alone, and knows nothing of how servers
// store or replicate.
//
// What may be retried is decided by what is known. A request that was certainly not executed (no connection, not the
// primary, window full) is sent again until its deadline; a read always is. A write whose answer was lost is not: it
// returns ErrUnknownOutcome, because a second attempt could undo what others wrote in between.
package clientlib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// Options tunes a client. The zero value of every field means its default.
type Options struct {
	// Metas are the addresses ("host:port") of the meta servers, at least one.
	Metas []string
	// Timeout is how long an operation may take whose context has no deadline. Default 10 s.
	Timeout time.Duration
	// DialTimeout bounds one attempt to connect. Default 2 s.
	DialTimeout time.Duration
	// Pipeline is how many requests may be in flight on one connection, rounded up to a power of two, at most 65536.
	// Default 1024.
	Pipeline int
	// MaxFrame is the largest reply that is accepted, in bytes. Default 64 MiB.
	MaxFrame int
	// Dial replaces the dialer, for tests. Default: TCP without delay.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

const maxPipeline = 1 << 16

func (o *Options) ensureDefaults() error {
	if len(o.Metas) == 0 {
		return errors.New("clientlib: no meta server given")
	}
	for _, m := range o.Metas {
		if _, _, err := net.SplitHostPort(m); err != nil {
			return fmt.Errorf("clientlib: meta server %q: %w", m, err)
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 2 * time.Second
	}
	if o.Pipeline <= 0 {
		o.Pipeline = 1024
	}
	if o.Pipeline > maxPipeline {
		return fmt.Errorf("clientlib: pipeline of %d is larger than %d", o.Pipeline, maxPipeline)
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = 64 << 20
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	return nil
}

// Client is a connection to a cluster. It is safe for concurrent use.
type Client struct {
	opt   Options
	metas metaGroup

	mu     sync.Mutex
	nodes  map[string]*node
	tables map[string]*Table
	closed bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Dial returns a client of the cluster with the given meta servers. It connects when it is first used, so that a
// program may start before its cluster.
func Dial(o Options) (*Client, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	c := &Client{opt: o, nodes: map[string]*node{}, tables: map[string]*Table{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.metas.addresses = append([]string(nil), o.Metas...)
	c.wg.Add(1)
	go c.sweep()
	return c, nil
}

// Close ends all connections. Requests in flight end with ErrClosed or ErrUnknownOutcome. It waits for the client's
// goroutines, so it must not be called from a Call's OnDone.
func (c *Client) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	nodes := slices.Collect(maps.Values(c.nodes))
	c.mu.Unlock()
	c.cancel()
	for _, n := range nodes {
		n.close()
	}
	c.wg.Wait()
}

// node returns the node of an address, which is made when it is new.
func (c *Client) node(address string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[address]
	if n == nil {
		n = &node{client: c, address: address}
		c.nodes[address] = n
	}
	return n
}

// spawn runs f on a goroutine that Close waits for. It returns false when the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		f()
	}()
	return true
}

// sweepInterval is how late a deadline may be noticed.
const sweepInterval = 10 * time.Millisecond

// sweep ends calls whose deadline has passed. One ticker for all connections is cheaper than a timer per call.
func (c *Client) sweep() {
	defer c.wg.Done()
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	var nodes []*node
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			c.mu.Lock()
			nodes = slices.AppendSeq(nodes[:0], maps.Values(c.nodes))
			c.mu.Unlock()
			for _, n := range nodes {
				if cn := n.conn.Load(); cn != nil {
					cn.expire(now)
				}
			}
		}
	}
}

// pause waits for d, the end of ctx or of the client.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}
