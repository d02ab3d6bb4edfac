package shard

import (
	"errors"

	"pegasus/netcore/httpfront"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// sessionState is what a shard keeps per connection.
type sessionState struct {
	dialect  proto.Dialect
	inFlight int // requests whose reply has not been written yet
	http     httpfront.Parser
	peer     proto.NodeID // who is at the other end of a connection between replica servers
}

var (
	errUnknownProtocol = errors.New("first bytes match no protocol of this port")
)

// Opened makes the state of a new session.
func (sh *Shard) Opened(s *loop.Session) error {
	s.State = &sessionState{}
	if !sh.node.complete.Load() {
		s.Hold() // until startShard
	}
	return nil
}

// Data cuts what has arrived into frames and serves each. It is called with everything that is buffered and says how much
// it took and how many bytes it needs before it can take more. An error closes this session and nothing else.
func (sh *Shard) Data(s *loop.Session, in []byte) (consumed, need int, err error) {
	st := s.State.(*sessionState)
	if st.dialect == proto.DialectUnknown {
		switch d := proto.Sniff(in); d {
		case proto.DialectNeedMore:
			return 0, len(in) + 1, nil
		case proto.DialectUnknown:
			return 0, 0, errUnknownProtocol
		default:
			st.dialect = d
		}
	}
	switch st.dialect {
	case proto.DialectHTTP:
		return sh.serveHTTP(s, st, in)
	case proto.DialectPeer:
		return sh.servePeer(st, in)
	}
	native := st.dialect == proto.DialectRDSN
	var req proto.Request
	warmed := len(in)
	if sh.cold() {
		warmed = 0
	}
	for consumed < len(in) && !s.Congested() {
		var n int
		if consumed >= warmed {
			warmed = consumed + sh.warmFrames(in[consumed:], native)
		}
		frame := in[consumed:]
		if native {
			n, need, err = proto.ParseRDSN(frame, sh.opts.Limits.MaxFrame, &req)
		} else {
			n, need, err = proto.ParseTHFT(frame, sh.opts.Limits.MaxFrame, &req)
		}
		if err != nil {
			return consumed, 0, err
		}
		if n == 0 {
			return consumed, need, nil
		}
		consumed += n
		sh.dispatch(s, st, &req, frame[:n:n], native)
	}
	return consumed, 0, nil
}

// dispatch sends a request to the shard that owns its partition, or serves it here when it is for no partition.
func (sh *Shard) dispatch(s *loop.Session, st *sessionState, req *proto.Request, frame []byte, native bool) {
	if req.Ignore {
		return
	}
	st.inFlight++
	sh.noteRead(req)
	d := dest{ref: s.Ref(), shard: sh.id, at: sh.turnStart()}
	switch {
	case req.Reject != proto.ErrOK:
		s.SetOut(proto.AppendErrorReply(s.Out(), req, req.Reject, sh.node.address))
		st.inFlight--
	case req.Code == proto.CodeUnknown:
		s.SetOut(proto.AppendErrorReply(s.Out(), req, proto.ErrHandlerNotFound, sh.node.address))
		st.inFlight--
	case req.GPID.App <= 0:
		sh.serveByName(d, req)
	case st.inFlight > sh.opts.Limits.MaxInFlight:
		sh.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrBusy)
	default:
		if owner := proto.Placement(req.GPID, len(sh.node.shards)); owner != sh.id {
			sh.forward(owner, d.ref, native, frame)
		} else {
			sh.serve(d, req)
		}
	}
}

// Closed is told when a session ended. Its requests go on; their replies find no session.
func (sh *Shard) Closed(*loop.Session, error) {}
