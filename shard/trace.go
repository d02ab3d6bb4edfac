package shard

import (
	"fmt"
	"strings"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// The remote command trace performs one data request on a replica that this node has and answers with where its time went. It is
// the request of a client in everything but its way in and out: admission, the same turn as others, the same mutation. The key must
// belong to the partition. How a request is written is in tracerequest.go.

// traceRequest carries a traced request to the shard that owns its partition.
type traceRequest struct {
	frame []byte
	hash  uint64
	gpid  proto.GPID
	from  call // who asked
}

// maxTraces bounds the traced requests of a shard that are under way; ids are their places, from 1 on.
const maxTraces = 16

type traceSlot struct {
	used bool
	from call
}

// startTrace begins a trace for c, which asked with a remote command; the answer follows. An error is answered at once.
func (sh *Shard) startTrace(c *call, args []string) error {
	t, err := parseTrace(args, uint32(sh.loop.WallMicros()/1e6-engine.EpochOffset))
	if err != nil {
		return err
	}
	t.from = *c
	sh.node.owner(t.gpid).deliverLater(t)
	return nil
}

func (t *traceRequest) deliver(sh *Shard) {
	var req proto.Request
	p := sh.partitions[t.gpid]
	id := sh.freeTrace()
	switch {
	case p == nil:
		sh.traceAnswer(&t.from, fmt.Sprintf("ERR: no replica %v on this server", t.gpid))
	case p.app.PartitionCount < 1 || int32(t.hash%uint64(p.app.PartitionCount)) != t.gpid.Part:
		sh.traceAnswer(&t.from, fmt.Sprintf("ERR: the key does not belong to partition %v", t.gpid))
	case id == 0:
		sh.traceAnswer(&t.from, fmt.Sprintf("ERR: %d requests are traced already", maxTraces))
	case !sh.parse(t.frame, false, &req):
		sh.traceAnswer(&t.from, "ERR: the request is too long for a frame")
	default:
		sh.traces[id-1] = traceSlot{used: true, from: t.from}
		sh.serve(dest{shard: sh.id, trace: id, at: sh.turnStart()}, &req)
	}
}

// freeTrace returns the id of a free slot, 0 when there is none.
func (sh *Shard) freeTrace() uint32 {
	for i := range sh.traces {
		if !sh.traces[i].used {
			return uint32(i + 1)
		}
	}
	return 0
}

// traced ends the trace of c with its explanation.
func (sh *Shard) traced(c *call, text string) {
	slot := &sh.traces[c.trace-1]
	from := slot.from
	*slot = traceSlot{}
	sh.traceAnswer(&from, text)
}

// traceFailed ends the trace of a request that was refused.
func (sh *Shard) traceFailed(c *call, code proto.ErrCode) {
	text := fmt.Sprintf("%s refused with %v after %v", kindNames[kindOf[c.to.Code]], code, shown(sh.clock()-c.at))
	sh.traced(c, strings.TrimSpace(text))
}

// traceAnswer sends a text to who asked, through the shard that has the session.
func (sh *Shard) traceAnswer(c *call, text string) {
	text += "\n"
	sh.answer(c, &text)
}
