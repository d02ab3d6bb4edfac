package clientlib

import (
	"context"
	"errors"
	"slices"

	"pegasus/netcore/proto"
)

// Question is a request of the admin plane to the meta leader, whoever that is.
type Question struct {
	Code proto.Code
	// Request and Response are pointers to structs of package proto; Response is filled in.
	Request, Response any
	// Verdict reads the error and the hint, if there is one, out of Response.
	Verdict func() (err proto.ErrCode, hint string)
	// Repeats says that asking twice does no harm. What does not repeat and whose answer is lost ends with
	// ErrUnknownOutcome.
	Repeats bool
}

// AskMeta asks the meta leader and follows it until ctx ends (Options.Timeout when it has no deadline). An error that
// the meta answered is a *ServerError.
func (c *Client) AskMeta(ctx context.Context, q Question) error {
	return c.ask(ctx, &question{
		code: q.Code, request: q.Request, response: q.Response, repeats: q.Repeats,
		verdict: func() (proto.ErrCode, *string) {
			code, hint := q.Verdict()
			return code, &hint
		},
	})
}

// AskNode sends one request to the server at address and decodes its answer into response, with no second attempt:
// what a node is asked by name no other node can answer. request and response are pointers to what package proto can
// encode. gpid goes into the header, zero for requests that concern no partition. An error at the RPC level is a
// *ServerError; errors inside the response are for the caller to read.
func (c *Client) AskNode(ctx context.Context, address string, code proto.Code, gpid proto.GPID, request, response any) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	return c.exchange(ctx, address, gpid, code, proto.AppendArgs(nil, request, 1), response)
}

// Metas returns the addresses of the meta servers as Options had them.
func (c *Client) Metas() []string { return slices.Clone(c.opt.Metas) }

// final tells whether an error at the RPC level would be the same from any other meta, or a second time.
func final(err error) bool {
	var s *ServerError
	if !errors.As(err, &s) {
		return false
	}
	switch s.Code {
	case proto.ErrNotImplemented, proto.ErrHandlerNotFound, proto.ErrInvalidParameters, proto.ErrACLDeny,
		proto.ErrUnauthenticated:
		return true
	}
	return false
}

// Exec sends one data request and returns its encoded result (field header, value, stop byte), which belongs to the
// caller: for requests that no method of Table makes. hash picks the partition, as in Call. It retries what may be
// retried, until ctx ends.
func (t *Table) Exec(ctx context.Context, code proto.Code, hash uint64, args []byte) ([]byte, error) {
	p := newPending(code)
	defer p.release()
	p.Hash, p.Args = hash, append(p.Args[:0], args...)
	if err := t.run(ctx, p, nil); err != nil {
		return nil, err
	}
	return slices.Clone(p.Result), nil
}
