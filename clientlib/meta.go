package clientlib

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pegasus/netcore/proto"
)

// metaGroup remembers which meta server answered last as leader.
type metaGroup struct {
	addresses []string

	mu     sync.Mutex
	leader string // "" when unknown
	next   int    // index of the address to ask when the leader is unknown
}

func (m *metaGroup) pick() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader != "" {
		return m.leader
	}
	m.next++
	return m.addresses[(m.next-1)%len(m.addresses)]
}

// found remembers the leader; "" makes the next question go round the list.
func (m *metaGroup) found(leader string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader = leader
}

// metaTarget ends the calls to meta servers: what to do next is decided by the caller of exchange.
type metaTarget struct{}

func (metaTarget) ended(call *Call, code proto.ErrCode, cause error) {
	switch {
	case cause != nil:
		call.done(unknown(cause))
	case code != proto.ErrOK:
		call.done(&ServerError{Code: code})
	default:
		call.done(nil)
	}
}

// question is one request to the meta leader.
type question struct {
	code     proto.Code
	request  any                             // pointer to a struct of package proto
	response any                             // likewise
	verdict  func() (proto.ErrCode, *string) // of the response: its err, and its hint if it has one
	forward  func() string                   // of the response: where the leader is; nil when it cannot tell
	repeats  bool                            // asking twice does no harm
}

// A meta server that does not answer for metaPatience is passed over; a round without a leader is followed by a pause.
const (
	metaPatience = 2 * time.Second
	metaPause    = 50 * time.Millisecond
)

// ask sends the question to the leader, wherever it is, until ctx ends.
func (c *Client) ask(ctx context.Context, q *question) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	args := proto.AppendArgs(nil, q.request, 1)
	last := errNoMeta
	for attempt := 1; ; attempt++ {
		address := c.metas.pick()
		err := c.exchange(ctx, address, q, args)
		code := proto.ErrOK
		var hint string
		if err == nil {
			var h *string
			if code, h = q.verdict(); h != nil {
				hint = *h
			}
		}
		switch {
		case err != nil:
			last = fmt.Errorf("meta %s: %w", address, err)
			c.metas.found("")
			if errors.Is(err, ErrUnknownOutcome) && !q.repeats || errors.Is(err, ErrClosed) {
				return last
			}
		case code == proto.ErrOK:
			c.metas.found(address)
			return nil
		case code == proto.ErrForwardToOthers:
			leader := ""
			if q.forward != nil {
				leader = q.forward()
			}
			c.metas.found(leader)
			if leader != "" {
				continue
			}
			last = errNoMeta
		case code == proto.ErrServiceNotActive || code == proto.ErrUnderRecovery:
			last = &ServerError{Code: code, Hint: hint}
		default:
			c.metas.found(address)
			return &ServerError{Code: code, Hint: hint}
		}
		if attempt%len(c.metas.addresses) == 0 {
			if c.pause(ctx, metaPause) != nil {
				return fmt.Errorf("%w: %w", ErrTimeout, last)
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrTimeout, last)
		}
	}
}

// exchange asks one meta server and decodes its response.
func (c *Client) exchange(ctx context.Context, address string, q *question, args []byte) error {
	ctx, cancel := context.WithTimeout(ctx, metaPatience)
	defer cancel()
	cn, err := c.node(address).connect(ctx)
	if err != nil {
		return err
	}
	call := &Call{Code: q.code, Args: args}
	err = await(ctx, call, func(call *Call) {
		if err := cn.start(call, proto.GPID{}, call.prepare(metaTarget{}, metaPatience)); err != nil {
			call.done(err)
		}
	})
	if err != nil {
		return err
	}
	return proto.UnmarshalArgs(call.Result, q.response)
}
