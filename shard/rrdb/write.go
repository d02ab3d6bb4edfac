package rrdb

import (
	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// keyScratch is room on the stack for a raw key composed from hash key and sort key; longer ones go to the heap.
const keyScratch = 256

// Encode appends the records of a plain write (PUT, REMOVE, MULTI_PUT, MULTI_REMOVE) to b. An error means that the
// arguments do not decode; b is then as it was. An invalid request appends nothing but has a Reply: it takes a decree,
// so that all kinds of answers come in order. args may be reused afterwards.
func Encode(b *engine.BatchBuilder, env *Env, code proto.Code, args []byte) (Reply, error) {
	switch code {
	case proto.CodePut:
		return encodePut(b, env, args)
	case proto.CodeRemove:
		return encodeRemove(b, args)
	case proto.CodeMultiPut:
		return encodeMultiPut(b, env, args)
	case proto.CodeMultiRemove:
		return encodeMultiRemove(b, args)
	}
	invariant.Assertf(false, "Encode of %v", code)
	return Reply{}, nil
}

func encodePut(b *engine.BatchBuilder, env *Env, args []byte) (Reply, error) {
	var m proto.PutRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodePut, silent: m.Type != proto.UpdatePut}
	if !ValidKey(m.Key) {
		r.status = proto.StorageInvalidArgument
		return r, nil
	}
	b.Put(m.Key, env.expiry(m.Expire), env.timetag(), m.Value)
	return r, nil
}

func encodeRemove(b *engine.BatchBuilder, args []byte) (Reply, error) {
	key, err := proto.DecodeBlobArg(args)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeRemove}
	if !ValidKey(key) {
		r.status = proto.StorageInvalidArgument
		return r, nil
	}
	b.Delete(key)
	return r, nil
}

func encodeMultiPut(b *engine.BatchBuilder, env *Env, args []byte) (Reply, error) {
	var m proto.MultiPutRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeMultiPut}
	if m.KVs.N == 0 || !validHashKey(m.HashKey) {
		r.status = proto.StorageInvalidArgument
		return r, nil
	}
	var room [keyScratch]byte
	expire, tag, key := env.expiry(m.Expire), env.timetag(), room[:0]
	rows := m.KVs.Reader()
	for range m.KVs.N {
		kv := rows.KeyValue()
		key = engine.AppendKey(key[:0], m.HashKey, kv.Key)
		b.Put(key, expire, tag, kv.Value)
	}
	return r, nil
}

func encodeMultiRemove(b *engine.BatchBuilder, args []byte) (Reply, error) {
	var m proto.MultiRemoveRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeMultiRemove}
	if m.SortKeys.N == 0 || !validHashKey(m.HashKey) {
		r.status = proto.StorageInvalidArgument
		return r, nil
	}
	var room [keyScratch]byte
	key := room[:0]
	keys := m.SortKeys.Reader()
	for range m.SortKeys.N {
		key = engine.AppendKey(key[:0], m.HashKey, keys.Blob())
		b.Delete(key)
	}
	r.number = int64(m.SortKeys.N)
	return r, nil
}

// expiry is the expiry to store for one that was asked for. Negative values are legal and mean the years after 2084.
func (env *Env) expiry(asked int32) uint32 {
	if asked == 0 && env.DefaultTTL != 0 {
		return env.NowEpoch + env.DefaultTTL
	}
	return uint32(asked)
}

func (env *Env) timetag() uint64 { return engine.Timetag(env.TimestampUS, env.ClusterID, false) }
