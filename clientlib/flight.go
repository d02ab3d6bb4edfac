package clientlib

import (
	"context"
	"sync"
)

// flight lets many callers share one attempt at something slow, each with its own deadline: the attempt runs on a
// goroutine of its own and no caller waits longer than it wants. A mutex held during the attempt was rejected: callers
// would queue behind each other's timeouts.
type flight struct {
	mu      sync.Mutex
	current *attempt // nil when nothing is under way
}

type attempt struct {
	done chan struct{}
	err  error // set before done is closed
}

// join waits for the attempt under way, or starts one. run must end soon after the client is closed.
func (f *flight) join(ctx context.Context, c *Client, run func() error) error {
	f.mu.Lock()
	a := f.current
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		started := c.spawn(func() {
			a.err = run()
			f.mu.Lock()
			f.current = nil
			f.mu.Unlock()
			close(a.done)
		})
		if !started {
			f.mu.Unlock()
			return ErrClosed
		}
		f.current = a
	}
	f.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
