package clientlib

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// Call is one request. The caller owns it and fills the first part; from Table.Do until OnDone it belongs to the
// client. It may be used again after OnDone; a Call that is reused allocates nothing.
type Call struct {
	Code proto.Code
	// Hash is the partition hash of the key (proto.KeyHash of the hash key, proto.RawKeyHash of a raw key).
	Hash uint64
	// Args is the encoded argument: field header, value, stop byte.
	Args []byte
	// Timeout bounds the whole operation with its retries; 0 means Options.Timeout.
	Timeout time.Duration
	// OnDone runs when the operation has ended, on a goroutine of the client that must not be blocked: it may start
	// other calls with Do but must not wait for one.
	OnDone func(*Call)

	// Result is the encoded result (field header, value, stop byte) when Err is nil. It is reused by the next Do.
	Result []byte
	// Err says why there is no result: an *OpError.
	Err error

	target   target
	table    *Table // nil for requests to a server by its address
	begun    time.Duration
	deadline time.Duration // on the client's clock
	attempts route.Attempts
	part     int32
	version  uint64 // of the map that the attempt was routed by
	node     *node
	heard    uint64 // answers of meta when the table was found to be gone, plus 1
	cause    error  // of the last failed attempt
	seq      int32  // in conn, guarded by its lock
	hedged   bool   // a second attempt was made, or will not be
	canceled atomic.Pointer[error]
	conn     atomic.Pointer[conn] // where it is, or was last, in flight
	parked   parking
}

// target is where the ends of attempts go: a table, or whoever asked one server.
type target interface {
	// ended takes a call whose attempt has ended: with a reply's code, or for a cause.
	ended(call *Call, how route.Outcome, code proto.ErrCode, cause error)
}

// harmful tells whether executing the call twice, or out of turn, can do harm. A SCAN moves its scanner on.
func (c *Call) harmful() bool {
	return !c.Code.IsRead() || c.Code == proto.CodeScan
}

// answered ends the attempt with a reply. The reply is a view that dies with the return.
func (c *Call) answered(r *proto.Reply) {
	code := r.Code()
	if code == proto.ErrOK {
		c.Result = append(c.Result[:0], r.Body...)
	}
	c.target.ended(c, route.Replied, code, nil)
}

// end ends the call for its owner and for the observer.
func (c *Call) end(err error) {
	if c.table != nil {
		c.table.finish(c, err)
		return
	}
	c.done(err)
}

func (c *Call) done(err error) {
	c.Err, c.cause, c.node = err, nil, nil
	c.OnDone(c)
}

// failure makes the error of the call.
func (c *Call) failure(class, cause error) error {
	e := &OpError{Op: opName(c.Code), Partition: int(c.part), Class: class, Cause: cause}
	if c.table != nil {
		e.Table = c.table.name
	}
	if c.node != nil {
		e.Node = c.node.address
	}
	return e
}

// stopped returns why the call was canceled, nil if it was not.
func (c *Call) stopped() error {
	if p := c.canceled.Load(); p != nil {
		return *p
	}
	return nil
}

// cancel ends the call soon, wherever it is: in flight, parked, or on its way from one to the other, where whoever puts it
// down looks at canceled afterwards.
func (c *Call) cancel(client *Client, cause error) {
	c.canceled.Store(&cause)
	if cn := c.conn.Load(); cn != nil && cn.cancel(c, cause) {
		return
	}
	client.clerk.cancel(c)
}

// prepare readies the call for a new operation.
func (c *Call) prepare(to target, client *Client) (now time.Duration) {
	timeout := client.opt.Timeout
	if c.Timeout > 0 {
		timeout = c.Timeout
	}
	now = client.now()
	c.target, c.table, c.Err, c.cause = to, nil, nil, nil
	c.attempts, c.begun, c.deadline, c.part, c.version, c.heard = route.Attempts{}, now, now+timeout, -1, 0, 0
	c.hedged = false
	if c.canceled.Load() != nil {
		c.canceled.Store(nil)
	}
	c.conn.Store(nil)
	return now
}

// pending is a call that somebody waits for. It is pooled: the channel, the arguments and the result are used again.
type pending struct {
	Call
	ended   chan struct{} // cap 1
	raw     []byte        // scratch for the encoded key
	list    proto.List    // scratch for lists of keys and records
	group   *group        // told instead of the channel, when the call is one of many
	client  *Client       // that is waited for
	waiting atomic.Uint32 // whether somebody waits on ended, and is expected by the flusher
}

// The states of waiting.
const (
	nobodyWaits = iota
	waits
	expected // it was woken, and the flusher counts on it
)

var pendings = sync.Pool{New: func() any {
	p := &pending{ended: make(chan struct{}, 1)}
	p.OnDone = func(*Call) {
		if p.group != nil {
			p.group.ended()
			return
		}
		if p.waiting.CompareAndSwap(waits, expected) {
			p.client.flusher.expect()
		}
		p.ended <- struct{}{}
	}
	return p
}}

func newPending(code proto.Code) *pending {
	p := pendings.Get().(*pending)
	p.Code, p.Hash = code, 0
	return p
}

// full tells whether the call ended because its connection, which is not nil then, had no room.
func (p *pending) full() bool { return p.Err != nil && errors.Is(p.Err, ErrPipelineFull) }

// maxPooled is how many bytes of buffers a pooled call keeps.
const maxPooled = 64 << 10

func (p *pending) release() {
	if cap(p.Args)+cap(p.Result)+cap(p.raw)+cap(p.list.Raw) > maxPooled {
		p.Args, p.Result, p.raw, p.list = nil, nil, nil, proto.List{}
	}
	p.Timeout, p.group, p.Err, p.table, p.target = 0, nil, nil, nil, nil
	pendings.Put(p)
}

// await starts the call and waits for its end. The context's deadline becomes the call's; its cancellation ends the
// call. Unlike Table.Do it waits for room in the pipeline.
func (p *pending) await(ctx context.Context, client *Client, start func(*Call)) error {
	for {
		if err := ctx.Err(); err != nil {
			return p.failure(ErrRetriable, err)
		}
		if d, ok := ctx.Deadline(); ok {
			p.Timeout = max(time.Until(d), 1)
		}
		start(&p.Call)
		p.wait(ctx, client)
		if p.Err == nil || !p.full() {
			return p.Err
		}
		p.conn.Load().waitRoom(ctx)
	}
}

// wait returns when the call has ended, which it does soon once ctx has.
func (p *pending) wait(ctx context.Context, client *Client) {
	p.client = client
	p.waiting.Store(waits)
	defer func() {
		if p.waiting.Swap(nobodyWaits) == expected {
			client.flusher.leave(false)
		}
	}()
	if ctx.Done() == nil {
		<-p.ended
		return
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		cause := ctx.Err()
		if errors.Is(cause, context.DeadlineExceeded) {
			if p.deadline < client.now()+2*tick {
				<-p.ended // by its own deadline, and with what the client knows of the reason
				return
			}
			cause = ErrTimeout
		}
		p.cancel(client, cause)
		<-p.ended
	}
}

// group counts calls that are waited for together.
type group struct {
	left atomic.Int64
	over chan struct{} // cap 1: all have ended
}

func (g *group) ended() {
	if g.left.Add(-1) == 0 {
		g.over <- struct{}{}
	}
}
