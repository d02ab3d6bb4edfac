package clientlib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"pegasus/clientlib/route"
)

// Options tunes a client. The zero value of every field means its default.
type Options struct {
	// Metas are the addresses ("host:port") of the meta servers, at least one that works. A host may be a name, also one
	// that stands for several servers, or an IPv6 address in brackets. Names are looked up again when no meta answers.
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
	// Hedge lets reads that take long be asked of a secondary too, for as much as this share of all reads (0.02 is two in a
	// hundred); the first answer counts. What a secondary answers may be older than what was read or written before, so 0,
	// the default, turns it off.
	Hedge float64
	// Compressor changes values on their way to and from the servers. Default: none.
	Compressor Compressor
	// Observer is told what happens, for metrics. Default: none.
	Observer Observer
	// Dial replaces the dialer, for tests. Default: TCP without delay.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Resolve replaces the look-up of the names of meta servers, for tests. It returns addresses without port.
	Resolve func(ctx context.Context, host string) ([]string, error)
}

// Compressor changes values. It must be safe for concurrent use. Package clientlib/zstd has one.
type Compressor interface {
	// Compress appends the compressed value to dst, which may be nil.
	Compress(dst, value []byte) []byte
	// Decompress appends the original of a value that was read to dst, which may be nil.
	Decompress(dst, value []byte) ([]byte, error)
}

func (o *Options) hedging() bool { return o.Hedge > 0 }

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
	if o.Hedge < 0 || o.Hedge > 1 {
		return fmt.Errorf("clientlib: share of hedged reads %v is not within 0 and 1", o.Hedge)
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = 64 << 20
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]string, error) {
			return net.DefaultResolver.LookupHost(ctx, host)
		}
	}
	return nil
}

// Client is a connection to a cluster. It is safe for concurrent use.
type Client struct {
	opt   Options
	epoch time.Time // of the client's clock
	metas metaGroup
	clerk clerk

	flusher flusher

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
	c := &Client{opt: o, epoch: time.Now(), nodes: map[string]*node{}, tables: map[string]*Table{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.clerk = clerk{client: c, wake: make(chan struct{}, 1)}
	c.metas.given, c.metas.core.Rand = slices.Clone(o.Metas), c.seed()
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.clerk.run()
	}()
	return c, nil
}

// Close ends all connections. Operations in flight end with ErrClosed: writes whose fate is unknown with ErrUnknownOutcome
// too. It waits for the client's goroutines, so it must not be called from a Call's OnDone. It is always nil.
func (c *Client) Close() error {
	c.mu.Lock()
	already := c.closed
	c.closed = true
	nodes := slices.Collect(maps.Values(c.nodes))
	c.mu.Unlock()
	if already {
		c.wg.Wait()
		return nil
	}
	c.cancel()
	for _, n := range nodes {
		n.close()
	}
	c.wg.Wait()
	return nil
}

// seed starts a generator of pauses: clients that start together must not ask together.
func (c *Client) seed() route.Rand { return route.Rand(rand.Uint64()) }

// node returns the node of an address, which is made when it is new.
func (c *Client) node(address string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[address]
	if n == nil {
		n = &node{client: c, address: address, rnd: c.seed()}
		c.nodes[address] = n
	}
	n.unused = false
	return n
}

// shardNode returns the node of a shard's port; whole is the server's common one.
func (c *Client) shardNode(address string, whole *node) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[address]
	if n == nil {
		n = &node{client: c, address: address, rnd: c.seed(), whole: whole}
		c.nodes[address] = n
	}
	n.unused = false
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

// prune forgets servers that nobody has asked for between two looks and that have nothing in flight.
func (c *Client) prune() {
	c.mu.Lock()
	for _, t := range c.tables {
		if r := t.routing.Load(); r != nil {
			for _, n := range r.nodes {
				if n != nil {
					n.unused = false
					if n.whole != nil {
						n.whole.unused = false
					}
				}
			}
			if c.opt.hedging() && r.m != nil {
				for i := range r.m.Entries {
					for _, address := range r.m.Entries[i].Secondaries {
						if n := c.nodes[address]; n != nil {
							n.unused = false
						}
					}
				}
			}
		}
	}
	var old []*node
	for _, n := range c.nodes {
		if n.unused {
			old = append(old, n)
		}
		n.unused = true
	}
	c.mu.Unlock()
	for _, n := range old {
		if n.idle() {
			c.mu.Lock()
			delete(c.nodes, n.address)
			c.mu.Unlock()
			n.close()
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
