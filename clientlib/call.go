package clientlib

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

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
	// Err says why there is no result: a *ServerError, or one of this package's errors.
	Err error

	target   target
	deadline time.Time
	attempts int
	canceled atomic.Bool
	conn     atomic.Pointer[conn]
}

// target is where the replies and losses of a call go: a table (data) or the meta group.
type target interface {
	// ended takes a call that was answered with code (cause nil) or lost by cause.
	ended(call *Call, code proto.ErrCode, cause error)
}

// answered ends the attempt with a reply. The reply is a view that dies with the return.
func (c *Call) answered(r *proto.Reply) {
	code := r.Code()
	if code == proto.ErrOK {
		c.Result = append(c.Result[:0], r.Body...)
	}
	c.target.ended(c, code, nil)
}

// lost ends the attempt without a reply, after it was handed to the connection.
func (c *Call) lost(cause error) { c.target.ended(c, proto.ErrOK, cause) }

func (c *Call) done(err error) {
	c.Err = err
	c.OnDone(c)
}

// cancel ends the call soon, wherever it is.
func (c *Call) cancel(err error) {
	c.canceled.Store(true)
	if cn := c.conn.Load(); cn != nil {
		cn.cancel(c, err)
	}
}

// unknown wraps the loss of a write.
func unknown(cause error) error { return fmt.Errorf("%w: %w", ErrUnknownOutcome, cause) }

// prepare readies the call for a new operation.
func (c *Call) prepare(t target, timeout time.Duration) (now time.Time) {
	if c.Timeout > 0 {
		timeout = c.Timeout
	}
	now = time.Now()
	c.target, c.Err, c.attempts, c.deadline = t, nil, 0, now.Add(timeout)
	c.canceled.Store(false)
	c.conn.Store(nil)
	return now
}

// await starts the call and waits for its end. The context's deadline becomes the call's; its cancellation ends the
// call. Unlike Table.Do it waits for room in the pipeline.
func await(ctx context.Context, call *Call, start func(*Call)) error {
	ended := make(chan struct{}, 1)
	call.OnDone = func(*Call) { ended <- struct{}{} }
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d, ok := ctx.Deadline(); ok {
			call.Timeout = max(time.Until(d), 1)
		}
		start(call)
		select {
		case <-ended:
		case <-ctx.Done():
			call.cancel(ctx.Err())
			<-ended
		}
		cn := call.conn.Load()
		if cn == nil || !errors.Is(call.Err, ErrPipelineFull) {
			return call.Err
		}
		cn.waitRoom(ctx)
	}
}
