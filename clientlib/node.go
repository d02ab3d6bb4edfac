package clientlib

import (
	"context"
	"sync/atomic"
)

// node is a server by its address, with at most one live connection.
type node struct {
	client  *Client
	address string
	conn    atomic.Pointer[conn] // nil when there is none

	dialling flight
}

// connect returns the live connection, or makes one. It blocks.
func (n *node) connect(ctx context.Context) (*conn, error) {
	if cn := n.conn.Load(); cn != nil {
		return cn, nil
	}
	if err := n.dialling.join(ctx, n.client, n.dial); err != nil {
		return nil, err
	}
	if cn := n.conn.Load(); cn != nil {
		return cn, nil
	}
	return nil, ErrSessionReset // lost again at once
}

func (n *node) dial() error {
	ctx, cancel := context.WithTimeout(n.client.ctx, n.client.opt.DialTimeout)
	defer cancel()
	nc, err := n.client.opt.Dial(ctx, n.address)
	if err != nil {
		return err
	}
	cn := newConn(nc, n.client.opt.Pipeline, n.client.opt.MaxFrame)
	n.conn.Store(cn)
	running := n.client.spawn(cn.write) && n.client.spawn(func() {
		cn.read()
		n.conn.CompareAndSwap(cn, nil)
	})
	if !running {
		n.conn.Store(nil)
		cn.fail(ErrClosed)
		return ErrClosed
	}
	return nil
}

func (n *node) close() {
	if cn := n.conn.Swap(nil); cn != nil {
		cn.fail(ErrClosed)
	}
}
