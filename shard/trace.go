package shard

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// The remote command trace performs one request on a replica that this node has and answers with where its time went:
//
//	trace get|ttl|set|remove|incr APP_ID.PARTITION HASH_KEY SORT_KEY [VALUE|INCREMENT]
//
// It is the request of a client in everything but its way in and out: admission, the same turn as others, the same mutation.
// The key must belong to the partition.

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
	t, err := parseTrace(args)
	if err != nil {
		return err
	}
	t.from = *c
	sh.node.owner(t.gpid).deliverLater(t)
	return nil
}

var errTraceUsage = errors.New("usage: trace get|ttl|set|remove|incr APP_ID.PARTITION HASH_KEY SORT_KEY [VALUE|INCREMENT]")

func parseTrace(args []string) (*traceRequest, error) {
	if len(args) < 4 {
		return nil, errTraceUsage
	}
	g, ok := parseReplicaName(args[1] + replicaSuffix)
	hash, sort := []byte(args[2]), []byte(args[3])
	if !ok || len(hash) > engine.MaxHashKeyLen {
		return nil, errTraceUsage
	}
	key := engine.AppendKey(nil, hash, sort)
	t := &traceRequest{gpid: g, hash: proto.RawKeyHash(key)}
	var code proto.Code
	var body []byte
	switch rest := args[4:]; {
	case args[0] == "get" && len(rest) == 0:
		code, body = proto.CodeGet, proto.AppendBlobArg(nil, key)
	case args[0] == "ttl" && len(rest) == 0:
		code, body = proto.CodeTTL, proto.AppendBlobArg(nil, key)
	case args[0] == "remove" && len(rest) == 0:
		code, body = proto.CodeRemove, proto.AppendBlobArg(nil, key)
	case args[0] == "set" && len(rest) == 1:
		m := proto.PutRequest{Key: key, Value: []byte(rest[0])}
		code, body = proto.CodePut, m.AppendArgs(nil)
	case args[0] == "incr" && len(rest) == 1:
		by, err := strconv.ParseInt(rest[0], 10, 64)
		if err != nil {
			return nil, errTraceUsage
		}
		m := proto.IncrRequest{Key: key, Increment: by}
		code, body = proto.CodeIncr, m.AppendArgs(nil)
	default:
		return nil, errTraceUsage
	}
	frame, mark := proto.AppendRequest(nil, code, g, 1, 0, t.hash)
	t.frame = proto.FinishRequest(append(frame, body...), mark)
	return t, nil
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
		sh.traceAnswer(&t.from, errTraceUsage.Error()) // too long for a frame
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
