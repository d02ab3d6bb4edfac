package clientlib

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"pegasus/netcore/proto"
)

// Table is an open table. It is safe for concurrent use, and lives as long as its client.
type Table struct {
	client *Client
	name   string

	route    atomic.Pointer[route]
	fetching flight
}

// route is where the partitions of a table are. It is immutable.
type route struct {
	appID   int32
	primary []*node // by partition; nil when there is none
	// moved maps the partition of a hash to the one that serves it: an unfinished split child is served by its parent.
	moved   []int32
	fetched time.Time
}

// Open finds a table and returns a handle, the same for the same name.
func (c *Client) Open(ctx context.Context, name string) (*Table, error) {
	c.mu.Lock()
	t := c.tables[name]
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t = &Table{client: c, name: name}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if err := t.fetch(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.tables[name]; known != nil {
		return known, nil
	}
	c.tables[name] = t
	return t, nil
}

// bounded gives ctx the client's timeout when it has no deadline.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opt.Timeout)
}

// Name returns the name of the table.
func (t *Table) Name() string { return t.name }

// Partitions returns how many partitions the table has, as far as the client knows.
func (t *Table) Partitions() int { return len(t.route.Load().primary) }

// refresh asks for the route unless it was fetched after since. It waits for the answer for a moment only: while no
// meta server answers, the route that is known may still be the right one.
func (t *Table) refresh(ctx context.Context, since time.Time) {
	if t.route.Load().fetched.After(since) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, retryMost)
	defer cancel()
	// An error shows in the next attempt, which meets the old route.
	_ = t.fetching.join(ctx, t.client, func() error { return t.fetch(t.client.ctx) })
}

func (t *Table) fetch(ctx context.Context) error {
	cfg, err := t.client.QueryConfig(ctx, t.name)
	if err != nil {
		return err
	}
	r := &route{
		appID: cfg.AppID, fetched: time.Now(),
		primary: make([]*node, len(cfg.Partitions)), moved: make([]int32, len(cfg.Partitions)),
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		r.moved[i] = int32(i)
		switch {
		case p.Ballot < 0:
			r.moved[i] = int32(i - len(cfg.Partitions)/2)
		case p.Primary.IsValid():
			r.primary[i] = t.client.node(p.Primary.String())
		case p.HPPrimary.IsValid():
			r.primary[i] = t.client.node(p.HPPrimary.String())
		}
	}
	t.route.Store(r)
	return nil
}

// checkConfig refuses answers that routing could not use.
func checkConfig(name string, cfg *proto.QueryCfgResponse) error {
	n := len(cfg.Partitions)
	if n == 0 || n != int(cfg.PartitionCount) {
		return fmt.Errorf("clientlib: table %s: %d of %d partitions in the answer", name, n, cfg.PartitionCount)
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if int(p.PID.Part) != i || p.PID.App != cfg.AppID || p.Ballot < 0 && (n%2 != 0 || i < n/2) {
			return fmt.Errorf("clientlib: table %s: bad partition %v, ballot %d at index %d", name, p.PID, p.Ballot, i)
		}
	}
	return nil
}

// Do starts the call. It does not block: the call ends in OnDone, with ErrPipelineFull when there is no room, possibly
// before Do returns. Do allocates nothing unless it must retry or the buffers of the call grow.
func (t *Table) Do(call *Call) { t.try(call, call.prepare(t, t.client.opt.Timeout)) }

func (t *Table) try(call *Call, now time.Time) {
	r := t.route.Load()
	part := r.moved[call.Hash%uint64(len(r.moved))]
	n := r.primary[part]
	if n == nil {
		t.later(call, errNoPrimary)
		return
	}
	cn := n.conn.Load()
	if cn == nil {
		t.later(call, errNotDialled)
		return
	}
	switch err := cn.start(call, proto.GPID{App: r.appID, Part: part}, now); {
	case err == nil:
	case errors.Is(err, errNotDialled):
		t.later(call, err)
	default:
		call.done(err)
	}
}

// ended decides what becomes of a call after an attempt.
func (t *Table) ended(call *Call, code proto.ErrCode, cause error) {
	write := call.Code.IsWrite()
	switch {
	case cause == nil && code == proto.ErrOK:
		call.done(nil)
	case cause == nil:
		err := &ServerError{Code: code}
		switch r := react(code); {
		case r == giveUp:
			call.done(err)
		case r == unclear && write:
			call.done(unknown(err))
		default:
			t.later(call, err)
		}
	case write:
		call.done(unknown(cause))
	case errors.Is(cause, ErrSessionReset):
		t.later(call, cause)
	default:
		call.done(cause)
	}
}

// The pause before the n-th further attempt doubles from retryFirst to retryMost.
const (
	retryFirst = 4 * time.Millisecond
	retryMost  = 256 * time.Millisecond
)

// later tries the call again off the caller's goroutine: what went wrong needs a pause, a dial or a question to meta.
func (t *Table) later(call *Call, cause error) {
	if !t.client.spawn(func() { t.retry(call, cause) }) {
		call.done(ErrClosed)
	}
}

func (t *Table) retry(call *Call, cause error) {
	failed := time.Now()
	ctx, cancel := context.WithDeadline(t.client.ctx, call.deadline)
	defer cancel()
	if call.attempts++; call.attempts > 1 {
		if err := t.client.pause(ctx, min(retryFirst<<min(call.attempts-2, 10), retryMost)); err != nil {
			t.stop(call, err, cause)
			return
		}
	}
	if !errors.Is(cause, errNotDialled) || call.attempts > 1 {
		t.refresh(ctx, failed)
	}
	r := t.route.Load()
	if n := r.primary[r.moved[call.Hash%uint64(len(r.moved))]]; n != nil {
		if _, err := n.connect(ctx); err != nil {
			cause = err
		}
	}
	if err := ctx.Err(); err != nil {
		t.stop(call, err, cause)
		return
	}
	if call.canceled.Load() {
		call.done(context.Canceled)
		return
	}
	t.try(call, time.Now())
}

// stop ends a call that was certainly not executed, and says what kept it from being sent.
func (t *Table) stop(call *Call, err, cause error) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = ErrTimeout
	case errors.Is(err, context.Canceled):
		err = ErrClosed
	}
	if !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	call.done(err)
}
