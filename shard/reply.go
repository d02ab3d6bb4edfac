package shard

import (
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// beginReply starts a successful reply: the returned buffer ends where the result struct goes. Pass it, with the result
// appended, to endReply; nothing else may be replied in between.
func (sh *Shard) beginReply(c *call) (buf []byte, mark int) {
	return proto.AppendReply(sh.replyBuffer(&c.dest), &c.to, proto.ErrOK, sh.node.address)
}

// endReply finishes what beginReply began.
func (sh *Shard) endReply(c *call, buf []byte, mark int) {
	sh.sendReply(&c.dest, proto.FinishReply(buf, mark))
}

// fail answers with an error of the RPC level and no body.
func (sh *Shard) fail(c *call, code proto.ErrCode) {
	sh.failures.count(c.to.Code, code)
	if c.trace != 0 {
		sh.traceFailed(c, code)
	}
	buf, mark := proto.AppendReply(sh.replyBuffer(&c.dest), &c.to, code, sh.node.address)
	sh.sendReply(&c.dest, proto.FinishReply(buf, mark))
}

// silence ends a request that gets no reply.
func (sh *Shard) silence(d *dest) {
	if d.trace != 0 {
		sh.traced(&call{dest: *d}, "not answered")
	}
	if d.shard != sh.id {
		sh.replyBuffer(d)
		b := sh.replies[d.shard]
		b.replies = append(b.replies, forwardedReply{ref: d.ref, end: uint32(len(b.buf))})
		return
	}
	if s := sh.loop.Session(d.ref); s != nil {
		sh.answered(s)
	}
}

// replyBuffer returns the buffer that a reply to d is appended to: the session's own, the batch for the shard that has the
// session, or a sink when the session is gone.
func (sh *Shard) replyBuffer(d *dest) []byte {
	if d.shard == sh.id {
		if s := sh.loop.Session(d.ref); s != nil {
			return s.Out()
		}
		return sh.sink[:0]
	}
	b := sh.replies[d.shard]
	if b == nil {
		b = replyBatches.Get().(*replyBatch)
		sh.replies[d.shard] = b
	}
	return b.buf
}

func (sh *Shard) sendReply(d *dest, buf []byte) {
	if d.shard == sh.id {
		s := sh.loop.Session(d.ref)
		if s == nil {
			if cap(buf) <= maxPooledBatch {
				sh.sink = buf[:0]
			}
			return
		}
		s.SetOut(buf)
		sh.answered(s)
		return
	}
	b := sh.replies[d.shard]
	b.buf = buf
	b.replies = append(b.replies, forwardedReply{ref: d.ref, end: uint32(len(buf))})
}

// answered counts one request of a session as done.
func (sh *Shard) answered(s *loop.Session) {
	if st, ok := s.State.(*sessionState); ok {
		st.inFlight--
	}
}
