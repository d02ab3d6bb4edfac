package rrdb

import (
	"pegasus/engine"
	"pegasus/netcore/proto"
)

// AppendGetReply appends the result of a GET. raw is the stored value, looked at only when outcome is engine.Found.
func AppendGetReply(dst []byte, env *Env, outcome engine.Outcome, raw []byte) []byte {
	reply := proto.ReadResponse{GPID: env.GPID, Server: env.Server}
	v, exist, err := env.live(outcome, raw)
	switch {
	case err != nil:
		reply.Error = storageStatus(err)
	case outcome == engine.Failed:
		reply.Error = proto.StorageIOError
	case !exist:
		reply.Error = proto.StorageNotFound
	default:
		reply.Value = v.User
	}
	return reply.AppendResult(dst)
}

// AppendTTLReply appends the result of a TTL. The remaining time wraps around like that of the original when the expiry
// is more than 2^31 seconds ahead.
func AppendTTLReply(dst []byte, env *Env, outcome engine.Outcome, raw []byte) []byte {
	reply := proto.TTLResponse{GPID: env.GPID, Server: env.Server}
	v, exist, err := env.live(outcome, raw)
	switch {
	case err != nil:
		reply.Error = storageStatus(err)
	case outcome == engine.Failed:
		reply.Error = proto.StorageIOError
	case !exist:
		reply.Error = proto.StorageNotFound
	case v.Expire == 0:
		reply.Seconds = -1
	default:
		reply.Seconds = int32(v.Expire - env.NowEpoch)
	}
	return reply.AppendResult(dst)
}

// AppendInvalidKeyReply appends the result of a GET or TTL whose key is not one (see ValidKey).
func AppendInvalidKeyReply(dst []byte, env *Env, code proto.Code) []byte {
	if code == proto.CodeTTL {
		reply := proto.TTLResponse{Error: proto.StorageInvalidArgument, GPID: env.GPID, Server: env.Server}
		return reply.AppendResult(dst)
	}
	reply := proto.ReadResponse{Error: proto.StorageInvalidArgument, GPID: env.GPID, Server: env.Server}
	return reply.AppendResult(dst)
}
