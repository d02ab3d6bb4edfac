// Package admin is the operators' side of the Go client: one method for each request to the meta leader or to a named
// server that is not about records. It holds no state of its own and knows nothing of how the requests are carried out.
//
// An error that a server answered is a *clientlib.ServerError with its hint; errors.Is finds the proto.ErrCode in it.
// Methods that change something and may not be asked twice return clientlib.ErrUnknownOutcome when the answer was lost.
package admin

import (
	"context"
	"reflect"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// Admin asks the servers of one cluster. It is as safe for concurrent use as its client.
type Admin struct{ client *clientlib.Client }

// New returns the operators' side of a client, which stays the caller's to close.
func New(c *clientlib.Client) Admin { return Admin{client: c} }

// Client returns the client that a was made from.
func (a Admin) Client() *clientlib.Client { return a.client }

// hintFields are what the responses call the explanation of their error.
var hintFields = []string{"HintMessage", "HintMsg", "ErrHint", "Hint"}

// outcome reads error and hint out of a response. All responses have an Err; a hint is a string, a pointer to one, or
// absent. Read by reflection, because the alternative is the same four lines for each of forty responses.
func outcome(response any) (proto.ErrCode, string) {
	v := reflect.ValueOf(response).Elem()
	code := v.FieldByName("Err").Interface().(proto.ErrCode)
	for _, name := range hintFields {
		f := v.FieldByName(name)
		if !f.IsValid() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		return code, f.String()
	}
	return code, ""
}

type repeat bool

const (
	once    repeat = false
	repeats repeat = true
)

// meta asks the meta leader.
func meta[R any](ctx context.Context, a Admin, code proto.Code, request any, again repeat) (*R, error) {
	response := new(R)
	err := a.client.AskMeta(ctx, clientlib.Question{
		Code: code, Request: request, Response: response, Repeats: bool(again),
		Verdict: func() (proto.ErrCode, string) { return outcome(response) },
	})
	return response, err
}

// node asks one server.
func node[R any](ctx context.Context, a Admin, address string, code proto.Code, gpid proto.GPID, request any) (*R, error) {
	response := new(R)
	if err := a.client.AskNode(ctx, address, code, gpid, request, response); err != nil {
		return response, err
	}
	if code, hint := outcome(response); code != proto.ErrOK {
		return response, &clientlib.ServerError{Code: code, Hint: hint}
	}
	return response, nil
}

// Command runs a remote command on a meta or replica server and returns the text that it answers. What went wrong is in
// the text too.
func (a Admin) Command(ctx context.Context, address, name string, args ...string) (string, error) {
	var text string
	err := a.client.AskNode(ctx, address, proto.CodeCLICall, proto.GPID{},
		&proto.Command{Cmd: name, Arguments: args}, &text)
	return text, err
}
