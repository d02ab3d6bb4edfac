package shard

import (
	"pegasus/netcore/proto"
)

// serve handles a request for a partition of this shard. The request's views die when serve returns.
func (sh *Shard) serve(d dest, req *proto.Request) { sh.admit(d, req, false) }

// admit checks a request and serves it. A request that was delayed by a throttle comes here again, and is not counted again.
func (sh *Shard) admit(d dest, req *proto.Request, delayed bool) {
	if sh.denying {
		sh.silence(&d)
		return
	}
	p := sh.partitions[req.GPID]
	if p == nil {
		if ofReplica(req.Code) {
			sh.administer(d, req)
		} else {
			sh.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrObjectNotFound)
		}
		return
	}
	switch {
	case req.Code == proto.CodeDuplicate || req.Code == proto.CodeBulkLoad:
		sh.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrNotImplemented)
	case req.Code.IsWrite():
		if p.admitted(d, req, p.admitWrite(req, delayed)) {
			p.write(d, req)
		}
	case req.Code.IsRead():
		if p.admitted(d, req, p.admitRead(req, delayed)) {
			p.read(d, req)
		}
	case ofReplica(req.Code):
		sh.administer(d, req)
	default:
		sh.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrHandlerNotFound)
	}
}

// admitted carries out a verdict; true means go on.
func (p *partition) admitted(d dest, req *proto.Request, v verdict) bool {
	switch {
	case v.after > 0:
		p.shard.park(d, req, v)
		return false
	case v.err == proto.ErrOK:
		return true
	case v.silent:
		p.shard.silence(&d)
	default:
		p.shard.fail(&call{dest: d, to: req.ReplyTo()}, v.err)
	}
	return false
}

func (p *partition) read(d dest, req *proto.Request) {
	switch req.Code {
	case proto.CodeGet, proto.CodeTTL:
		p.get(d, req)
	case proto.CodeBatchGet, proto.CodeMultiGet, proto.CodeSortkeyCount:
		p.rangeRead(d, req)
	case proto.CodeGetScanner:
		p.getScanner(d, req)
	case proto.CodeScan:
		p.scan(d, req)
	case proto.CodeClearScanner:
		p.clearScanner(d, req)
	}
}

// serveByName handles a request that is for no partition.
func (sh *Shard) serveByName(d dest, req *proto.Request) {
	c := call{dest: d, to: req.ReplyTo()}
	switch {
	case req.Code == proto.CodeNegotiation:
		sh.answer(&c, &proto.NegotiationResponse{Status: proto.SASLAuthDisable})
	case req.Code == proto.CodeCLICall:
		var cmd proto.Command
		if err := proto.UnmarshalArgs(req.Args, &cmd); err != nil {
			sh.fail(&c, proto.ErrInvalidParameters)
			return
		}
		sh.command(&c, &cmd)
	default:
		sh.administer(d, req)
	}
}

// administer handles an RPC of the admin plane.
func (sh *Shard) administer(d dest, req *proto.Request) {
	c := call{dest: d, to: req.ReplyTo()}
	handle := adminHandler(req.Code)
	if handle == nil {
		sh.fail(&c, proto.ErrHandlerNotFound)
	} else if err := handle(sh, &c, req.Args); err != nil {
		sh.fail(&c, proto.ErrInvalidParameters)
	}
}

// answer replies with a message of the admin plane.
func (sh *Shard) answer(c *call, result any) {
	buf, mark := sh.beginReply(c)
	sh.endReply(c, proto.AppendResult(buf, result), mark)
}
