package clientlib

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// metaGroup knows which meta server to ask: route.Metas over the addresses that the given names stand for now.
type metaGroup struct {
	given []string

	mu       sync.Mutex
	core     route.Metas
	resolved time.Duration // when; 0 means never
}

// resolveEvery is the least time between two look-ups of the names, resolvePatience how long one may take.
const (
	resolveEvery    = time.Second
	resolvePatience = 2 * time.Second
)

// pick returns the address to ask. The names of the meta servers are looked up before the first question, and again when a
// round of all found no leader.
func (c *Client) pickMeta(ctx context.Context) string {
	m := &c.metas
	m.mu.Lock()
	stale := m.resolved == 0 || m.core.Lost() && c.now()-m.resolved > resolveEvery
	if stale {
		m.resolved = max(c.now(), 1)
	}
	m.mu.Unlock()
	if stale {
		list := c.resolve(ctx, m.given)
		m.mu.Lock()
		m.core.Set(list)
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.core.Pick()
}

// resolve turns names into addresses, as many as each stands for. A name that cannot be looked up is kept: the dialer may
// know it, and will say what is wrong.
func (c *Client) resolve(ctx context.Context, given []string) []string {
	ctx, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	var list []string
	add := func(a string) {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, g := range given {
		host, port, _ := net.SplitHostPort(g)
		if net.ParseIP(host) != nil {
			add(g)
			continue
		}
		found, err := c.opt.Resolve(ctx, host)
		if err != nil || len(found) == 0 {
			add(g)
		}
		for _, ip := range found {
			add(net.JoinHostPort(ip, port))
		}
	}
	return list
}

func (c *Client) metaAnswered(from string, code proto.ErrCode, leader string) (again bool, pause time.Duration) {
	c.metas.mu.Lock()
	defer c.metas.mu.Unlock()
	return c.metas.core.Answered(from, code, leader)
}

func (c *Client) metaFailed(from string) time.Duration {
	c.metas.mu.Lock()
	defer c.metas.mu.Unlock()
	return c.metas.core.Failed(from)
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

// ask sends the question to the leader, wherever it is, until ctx ends.
func (c *Client) ask(ctx context.Context, q *question) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	args := proto.AppendArgs(nil, q.request, 1)
	last := errNoMeta
	for ctx.Err() == nil {
		address := c.pickMeta(ctx)
		err := c.askOne(ctx, address, q, args)
		var pause time.Duration
		if err != nil {
			last = fmt.Errorf("meta %s: %w", address, err)
			pause = c.metaFailed(address)
			if errors.Is(err, ErrUnknownOutcome) && !q.repeats || errors.Is(err, ErrClosed) || final(err) {
				return last
			}
		} else {
			code, hint := q.verdict()
			leader := ""
			if code == proto.ErrForwardToOthers && q.forward != nil {
				leader = q.forward()
			}
			var again bool
			if again, pause = c.metaAnswered(address, code, leader); !again {
				if code == proto.ErrOK {
					return nil
				}
				e := &ServerError{Code: code}
				if hint != nil {
					e.Hint = *hint
				}
				return e
			}
			if code != proto.ErrForwardToOthers {
				last = &ServerError{Code: code}
			}
		}
		if pause > 0 {
			if err := c.pause(ctx, pause); errors.Is(err, ErrClosed) {
				return err
			}
		}
	}
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return joined{err, last}
	}
	return joined{ErrTimeout, last}
}

// askOne asks one meta server, and waits for it no longer than another might take to answer.
func (c *Client) askOne(ctx context.Context, address string, q *question, args []byte) error {
	ctx, cancel := context.WithTimeout(ctx, route.MetaPatience)
	defer cancel()
	c.observe(Event{Kind: EventAsked, Node: address, Op: q.code})
	return c.exchange(ctx, address, proto.GPID{}, q.code, args, q.response)
}

// exchange sends one request to one server and decodes its response. REQUIRES: ctx has a deadline.
func (c *Client) exchange(ctx context.Context, address string, g proto.GPID, code proto.Code, args []byte, response any) error {
	cn, err := c.node(address).connect(ctx)
	if err != nil {
		return err
	}
	p := newPending(code)
	defer p.release()
	p.Args = append(p.Args[:0], args...)
	if err := p.await(ctx, c, func(call *Call) { c.startAt(cn, call, g) }); err != nil {
		return err
	}
	return proto.UnmarshalArgs(p.Result, response)
}
