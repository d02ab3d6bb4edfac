package shard

import (
	"sync"

	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// message is what a shard's mailbox carries. Its deliver method runs on the loop of the receiving shard.
type message interface {
	deliver(sh *Shard)
}

// dest is where a reply goes: a session of the shard that accepted the request.
type dest struct {
	ref   loop.Ref
	shard proto.ShardID
	trace uint32 // of Shard.traces when somebody wants to see where its time goes; mostly 0
	at    int64  // when it came, on the node's clock: the beginning of the turn that read it
}

// call is one unanswered request. It holds no view into a frame.
type call struct {
	dest
	to proto.ReplyTo
}

// forwardBatch carries the frames of one turn from the shard that accepted them to the shard that owns their partitions.
type forwardBatch struct {
	from   proto.ShardID
	at     int64 // when the frames came, as dest.at
	buf    []byte
	frames []forwardedFrame
}

type forwardedFrame struct {
	ref    loop.Ref
	end    uint32
	native bool
}

// replyBatch carries the replies of one turn back.
type replyBatch struct {
	buf     []byte
	replies []forwardedReply
}

type forwardedReply struct {
	ref loop.Ref
	end uint32
}

// maxPooledBatch bounds the buffers that the pools keep, so that one large value does not stay for ever.
const maxPooledBatch = 1 << 20

var forwardBatches = sync.Pool{New: func() any { return new(forwardBatch) }}
var replyBatches = sync.Pool{New: func() any { return new(replyBatch) }}

func (b *forwardBatch) release() {
	if cap(b.buf) > maxPooledBatch {
		return
	}
	b.buf, b.frames = b.buf[:0], b.frames[:0]
	forwardBatches.Put(b)
}

func (b *replyBatch) release() {
	if cap(b.buf) > maxPooledBatch {
		return
	}
	b.buf, b.replies = b.buf[:0], b.replies[:0]
	replyBatches.Put(b)
}
