package metasvc

import (
	"errors"
	"fmt"

	"pegasus/metasvc/core"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

var (
	errDialect = errors.New("metasvc: not a protocol of this port")
	errEarly   = errors.New("metasvc: not open yet")
)

// conn is the state of a session.
type conn struct {
	dialect proto.Dialect
	http    httpfront.Parser
}

// Opened implements loop.Sink. The loop runs before Start has got hold of it; that moment is not for visitors.
func (s *Server) Opened(ses *loop.Session) error {
	select {
	case <-s.opened:
	default:
		return errEarly
	}
	ses.State = &conn{http: httpfront.Parser{Preflight: true}}
	return nil
}

// Closed implements loop.Sink.
func (s *Server) Closed(ses *loop.Session, _ error) {
	if ses.State.(*conn).dialect == proto.DialectPeer {
		s.step(core.LinkClosed{Link: link(ses.Ref())})
	}
}

// Message implements loop.Handler.
func (s *Server) Message(fn *func()) { (*fn)() }

// Turn implements loop.Handler. Every event is carried out at once.
func (s *Server) Turn() {}

// Data implements loop.Sink: the first bytes choose the protocol of the connection, then frame by frame.
func (s *Server) Data(ses *loop.Session, in []byte) (consumed, need int, err error) {
	c := ses.State.(*conn)
	if c.dialect == proto.DialectUnknown {
		d := proto.Sniff(in)
		switch d {
		case proto.DialectNeedMore:
			return 0, 0, nil
		case proto.DialectUnknown:
			return 0, 0, errDialect
		}
		c.dialect = d
	}
	for consumed < len(in) && !ses.Closing() && !ses.Congested() {
		n, need, err := s.frame(ses, c, in[consumed:])
		if n == 0 || err != nil {
			return consumed, need, err
		}
		consumed += n
	}
	return consumed, 0, nil
}

// frame works off one frame from the front of in, with the results of the frame parsers.
func (s *Server) frame(ses *loop.Session, c *conn, in []byte) (n, need int, err error) {
	switch c.dialect {
	case proto.DialectTHFT:
		var req proto.Request
		if n, need, err = proto.ParseTHFT(in, maxFrame, &req); n > 0 {
			s.serve(ses, &req)
		}
	case proto.DialectRDSN:
		var req proto.Request
		if n, need, err = proto.ParseRDSN(in, maxFrame, &req); n > 0 && !req.Ignore {
			s.serve(ses, &req)
		}
	case proto.DialectPeer:
		var f proto.PeerFrame
		if n, need, err = proto.ParsePeer(in, maxFrame, &f); n > 0 {
			err = s.servePeer(ses, &f)
		}
	case proto.DialectHTTP:
		return s.serveHTTP(ses, c, in)
	}
	return n, need, err
}

// serve answers a request, or passes it to core, which will.
func (s *Server) serve(ses *loop.Session, req *proto.Request) {
	fail := func(err proto.ErrCode) { ses.SetOut(proto.AppendErrorReply(ses.Out(), req, err, s.self)) }
	args := newArgs(req.Code)
	switch {
	case req.Reject != proto.ErrOK:
		fail(req.Reject)
		return
	case req.GPID.App > 0, args == nil && !notYet[req.Code]:
		fail(proto.ErrHandlerNotFound)
		return
	case args == nil:
		fail(proto.ErrNotImplemented)
		return
	}
	if err := proto.UnmarshalArgs(req.Args, args); err != nil {
		fail(proto.ErrInvalidParameters)
		return
	}
	switch a := args.(type) {
	case *proto.NegotiationRequest:
		to := req.ReplyTo()
		s.write(ses, &to, proto.ErrOK, &proto.NegotiationResponse{Status: proto.SASLAuthDisable})
	case *proto.Command:
		to, ref := req.ReplyTo(), ses.Ref()
		s.command(a, func(text string) {
			if ses := s.loop.Session(ref); ses != nil {
				s.write(ses, &to, proto.ErrOK, &text)
			}
		})
	default:
		_, redirect := req.Origin()
		s.token++
		s.calls[s.token] = call{session: ses.Ref(), to: req.ReplyTo(), redirect: redirect, old: predatesHostPort(req)}
		s.step(core.Request{Token: s.token, Args: args})
	}
}

// newArgs returns an argument struct for the RPCs that a meta serves, nil for others.
func newArgs(code proto.Code) any {
	switch code {
	case proto.CodeNegotiation:
		return new(proto.NegotiationRequest)
	case proto.CodeCLICall:
		return new(proto.Command)
	}
	return core.NewRequest(code)
}

// notYet are the RPCs of clients and operators to the meta of Apache Pegasus that this one does not serve. What replica
// servers of Apache Pegasus send to their meta is not among them: they have no business here.
var notYet = func() map[proto.Code]bool {
	m := make(map[proto.Code]bool)
	for _, c := range []proto.Code{
		proto.CodeCMStartRestore, proto.CodeCMQueryRestoreStatus,
		proto.CodeCMAddBackupPolicy, proto.CodeCMQueryBackupPolicy, proto.CodeCMModifyBackupPolicy,
		proto.CodeCMStartBackupApp, proto.CodeCMQueryBackupStatus,
		proto.CodeCMStartPartitionSplit, proto.CodeCMControlPartitionSplit, proto.CodeCMQueryPartitionSplit,
		proto.CodeCMStartBulkLoad, proto.CodeCMControlBulkLoad, proto.CodeCMQueryBulkLoadStatus,
		proto.CodeCMClearBulkLoad, proto.CodeCMAddDuplication, proto.CodeCMModifyDuplication,
		proto.CodeCMQueryDuplication, proto.CodeCMListDuplication,
	} {
		m[c] = true
	}
	return m
}()

// reply answers a call that core has decided.
func (s *Server) reply(r *core.Reply) {
	c, ok := s.calls[r.Token]
	if !ok {
		return
	}
	delete(s.calls, r.Token)
	if c.render != nil {
		c.render(r)
		return
	}
	ses := s.loop.Session(c.session)
	if ses == nil {
		return
	}
	// Requests are never forwarded from meta to meta: a native client that cannot be redirected goes to the leader by
	// what the answer says, like all others.
	if r.Forward && c.redirect && r.Leader.IsValid() {
		s.write(ses, &c.to, proto.ErrForwardToOthers, &r.Leader)
		return
	}
	if c.old {
		withoutHostPorts(r.Body)
	}
	s.write(ses, &c.to, r.Err, r.Body)
}

// write appends a reply. body is a pointer to the result, nil for none.
func (s *Server) write(ses *loop.Session, to *proto.ReplyTo, err proto.ErrCode, body any) {
	out, mark := proto.AppendReply(ses.Out(), to, err, s.self)
	if body != nil {
		out = proto.AppendResult(out, body)
	}
	ses.SetOut(proto.FinishReply(out, mark))
}

// servePeer works off a frame of a node. What cannot be understood ends the session: a node of ours never sends it.
func (s *Server) servePeer(ses *loop.Session, f *proto.PeerFrame) error {
	l := link(ses.Ref())
	var ev core.Event
	var msg any
	switch f.Kind {
	case proto.PeerHello:
		m := new(proto.NodeHello)
		msg, ev = m, core.Hello{Link: l, Seq: f.Seq, Msg: m}
	case proto.PeerBeacon:
		m := new(proto.NodeBeacon)
		msg, ev = m, core.Beacon{Link: l, Seq: f.Seq, Msg: m}
	case proto.PeerReport:
		m := new(proto.NodeReport)
		msg, ev = m, core.Report{Link: l, Msg: m}
	case proto.PeerStatus:
		m := new(proto.NodeStatusReport)
		msg, ev = m, core.Status{Link: l, Msg: m}
	case proto.PeerUpdateConfig:
		m := new(proto.UpdateConfig)
		msg, ev = m, core.Update{Link: l, Seq: f.Seq, Msg: m}
	default:
		return fmt.Errorf("metasvc: peer frame of kind %d", f.Kind)
	}
	if err := proto.Unmarshal(f.Body, msg); err != nil {
		return fmt.Errorf("metasvc: peer frame of kind %d: %w", f.Kind, err)
	}
	if m, ok := msg.(*proto.NodeStatusReport); ok {
		s.watch.told(l, m)
	}
	s.step(ev)
	return nil
}

// send appends a frame for a node.
func (s *Server) send(f *core.Send) {
	ses := s.loop.Session(refOf(f.Link))
	if ses == nil {
		return
	}
	out, mark := proto.AppendPeerFrame(ses.Out(), f.Kind, 0, f.Seq)
	ses.SetOut(proto.FinishPeerFrame(proto.Marshal(out, f.Msg), mark))
}
