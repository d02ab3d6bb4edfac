package clientlib

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// Table is an open table. It is safe for concurrent use, and lives as long as its client.
type Table struct {
	client *Client
	name   string

	routing atomic.Pointer[routing] // nil until meta has answered once

	mu     sync.Mutex
	route  route.Table
	rnd    route.Rand
	asking bool          // a goroutine carries questions to meta
	news   chan struct{} // closed and replaced when a question has ended
	askErr error         // of the last question
	hedge  hedger
}

// routing is where the partitions of a table are. It is immutable.
type routing struct {
	m       *route.Map
	gone    proto.ErrCode // what meta said in place of a configuration
	answers uint64        // of meta, so far
	nodes   []*node       // by partition: where its primary wants requests; nil when there is none
}

// OpenTable finds a table and returns a handle, the same for the same name.
func (c *Client) OpenTable(ctx context.Context, name string) (*Table, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	c.mu.Lock()
	t := c.tables[name]
	if t == nil {
		t = &Table{client: c, name: name, rnd: c.seed(), news: make(chan struct{})}
		t.route.Rand = c.seed()
		t.hedge.init(c)
		c.tables[name] = t
	}
	c.mu.Unlock()
	for {
		if r := t.routing.Load(); r != nil && r.gone == proto.ErrOK {
			return t, nil
		}
		if err := t.ask(ctx); err != nil {
			return nil, &OpError{Op: "OPEN", Table: name, Partition: -1, Class: ErrRetriable, Cause: err}
		}
		if r := t.routing.Load(); r != nil && r.gone != proto.ErrOK {
			c.forget(t)
			return nil, &OpError{Op: "OPEN", Table: name, Partition: -1, Class: ErrRefused, Cause: joined{ErrNoTable, r.gone}}
		}
	}
}

// forget drops a table that never existed.
func (c *Client) forget(t *Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.routing.Load().m == nil && c.tables[t.name] == t {
		delete(c.tables, t.name)
	}
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
func (t *Table) Partitions() int { return len(t.routing.Load().nodes) }

// Close is there for applications that come from the official client. A table lives as long as its client; it is always nil.
func (t *Table) Close() error { return nil }

// Do starts the call. It does not block: the call ends in OnDone, with ErrPipelineFull when there is no room, possibly
// before Do returns. Do allocates nothing unless it must retry or the buffers of the call grow.
func (t *Table) Do(call *Call) { t.do(call) }

// do is Do. It returns true when the call has ended with ErrPipelineFull.
func (t *Table) do(call *Call) (full bool) {
	now := call.prepare(t, t.client)
	call.table = t
	return t.try(call, now, true)
}

// roomPause is how long a call waits for room that has been on its way before.
const roomPause = 5 * time.Millisecond

// try makes an attempt. It returns true when there was no room for the first one, with which the call has ended.
func (t *Table) try(call *Call, now time.Duration, first bool) (full bool) {
	r := t.routing.Load()
	if r.gone != proto.ErrOK {
		t.waitForTable(call, r)
		return false
	}
	part := r.m.Partition(call.Hash)
	n := r.nodes[part]
	call.part, call.version, call.node = part, r.m.Version, n
	if n == nil {
		t.judge(call, now, route.Unsent, proto.ErrOK, errNoPrimary)
		return false
	}
	cn := n.conn.Load()
	if cn == nil && n.whole != nil && n.troubled.Load() {
		n.warm()
		n = n.whole
		call.node, cn = n, n.conn.Load()
	}
	if cn == nil {
		if parked, why := n.parkUntilDialled(call); !parked {
			t.judge(call, now, route.Unsent, proto.ErrOK, why)
		}
		return false
	}
	switch cn.start(call, proto.GPID{App: r.m.App, Part: part}, now, false) {
	case startOK:
	case startEnded:
		t.judge(call, now, route.Unsent, proto.ErrOK, ErrSessionReset)
	case startNoRoom:
		if first {
			call.end(call.failure(ErrRetriable, ErrPipelineFull))
			return true
		}
		t.client.clerk.park(call, now+roomPause, nil)
	case startCanceled:
		call.stop(call.stopped())
	}
	return false
}

// waitForTable ends the call if meta has said, since the call began, that there is no such table; else it waits for that.
func (t *Table) waitForTable(call *Call, r *routing) {
	if call.heard != 0 && call.heard <= r.answers {
		call.end(call.failure(ErrRefused, joined{ErrNoTable, r.gone}))
		return
	}
	if call.heard == 0 {
		call.heard = r.answers + 1
	}
	t.mu.Lock()
	t.route.Doubt()
	t.mu.Unlock()
	t.client.clerk.park(call, call.deadline, t)
	t.kick()
	if now := t.routing.Load(); now.answers >= call.heard { // the answer came before the call was parked
		t.client.clerk.releaseAll(t)
	}
}

// ended decides what becomes of a call after an attempt.
func (t *Table) ended(call *Call, how route.Outcome, code proto.ErrCode, cause error) {
	if how == route.Replied {
		if code == proto.ErrOK {
			t.finish(call, nil)
			return
		}
		cause = &ServerError{Code: code}
	}
	t.judge(call, t.client.now(), how, code, cause)
}

// judge carries out the verdict on an attempt.
func (t *Table) judge(call *Call, now time.Duration, how route.Outcome, code proto.ErrCode, cause error) {
	t.mu.Lock()
	v := call.attempts.Judge(call.harmful(), how, code, call.deadline-now, &t.rnd)
	v.Suspect = v.Suspect && call.canceled.Load() == nil // who gives up says nothing about the server
	newer := v.Suspect && t.route.Suspect(call.part, call.version)
	t.mu.Unlock()
	if v.Suspect && !newer {
		t.kick()
	}
	if v.Late && how != route.Late {
		cause = joined{ErrTimeout, cause}
	}
	switch v.Step {
	case route.Again:
		call.cause = cause
		due := now + v.Pause
		var key any
		if newer {
			due = now
		}
		if v.Suspect {
			key = t
		}
		t.client.observe(Event{Kind: EventRetry, Table: t.name, Op: call.Code, Err: cause})
		t.client.clerk.park(call, due, key)
	case route.Refused:
		t.finish(call, call.failure(ErrRefused, cause))
	case route.Doubtful:
		class := ErrUnknownOutcome
		if !call.Code.IsWrite() {
			class = ErrRetriable
		}
		t.finish(call, call.failure(class, cause))
	default:
		t.finish(call, call.failure(ErrRetriable, cause))
	}
}

// finish ends the call and tells the observer.
func (t *Table) finish(call *Call, err error) {
	if t.client.opt.Observer != nil {
		t.client.observe(Event{Kind: EventEnded, Table: t.name, Op: call.Code, Err: err, Took: t.client.now() - call.begun})
	}
	if call.hedging(err) {
		t.hedge.took(t.client.now() - call.begun)
	}
	call.done(err)
}
