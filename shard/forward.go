package shard

import (
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// forward copies a frame to the shard that owns its partition. It leaves with everything else of this turn.
func (sh *Shard) forward(owner proto.ShardID, ref loop.Ref, native bool, frame []byte) {
	b := sh.forwards[owner]
	if b == nil {
		b = forwardBatches.Get().(*forwardBatch)
		b.from, b.at = sh.id, sh.turnStart()
		sh.forwards[owner] = b
	}
	b.buf = append(b.buf, frame...)
	b.frames = append(b.frames, forwardedFrame{ref: ref, end: uint32(len(b.buf)), native: native})
	sh.stats.Forwarded++
}

// sendBatches posts the frames and replies that this turn collected for other shards: one message per shard and kind.
func (sh *Shard) sendBatches() {
	for i, b := range sh.forwards {
		if b == nil {
			continue
		}
		sh.forwards[i] = nil
		if err := sh.node.shards[i].loop.Post(b); err != nil {
			sh.refuseForwards(b)
			b.release()
		}
	}
	for i, b := range sh.replies {
		if b == nil {
			continue
		}
		sh.replies[i] = nil
		sh.node.shards[i].loop.PostMust(b)
	}
}

// refuseForwards answers ERR_BUSY to requests that the owner's full mailbox did not take.
func (sh *Shard) refuseForwards(b *forwardBatch) {
	start := uint32(0)
	for _, f := range b.frames {
		var req proto.Request
		if sh.parse(b.buf[start:f.end], f.native, &req) {
			sh.fail(&call{dest: dest{ref: f.ref, shard: sh.id, at: b.at}, to: req.ReplyTo()}, proto.ErrBusy)
		}
		start = f.end
	}
}

// deliver handles the frames on the owner's loop.
func (b *forwardBatch) deliver(sh *Shard) {
	start := uint32(0)
	for _, f := range b.frames {
		var req proto.Request
		frame := b.buf[start:f.end]
		start = f.end
		if sh.parse(frame, f.native, &req) {
			sh.noteRead(&req)
			sh.serve(dest{ref: f.ref, shard: b.from, at: b.at}, &req)
		}
	}
	b.release()
}

// deliver writes the replies into the sessions on the loop that owns them. A session that is gone takes its replies with it.
func (b *replyBatch) deliver(sh *Shard) {
	start := uint32(0)
	for _, r := range b.replies {
		if s := sh.loop.Session(r.ref); s != nil {
			s.SetOut(append(s.Out(), b.buf[start:r.end]...))
			sh.answered(s)
		}
		start = r.end
	}
	b.release()
}

// parse reads one whole frame again on the owner's side; it was parsed once where it arrived.
func (sh *Shard) parse(frame []byte, native bool, req *proto.Request) bool {
	var n int
	var err error
	if native {
		n, _, err = proto.ParseRDSN(frame, len(frame), req)
	} else {
		n, _, err = proto.ParseTHFT(frame, len(frame), req)
	}
	return err == nil && n == len(frame)
}
