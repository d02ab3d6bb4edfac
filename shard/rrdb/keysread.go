package rrdb

import (
	"bytes"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// keysPerCall is how many keys are looked up in one call into the store, and so in one snapshot. It bounds the arena that
// the values are copied into.
const keysPerCall = 1024

// keysRead is what BATCH_GET and MULTI_GET with sort keys have in common: looking up keys in the order of the request.
type keysRead struct {
	env     Env
	store   engine.Store
	request proto.List // copied: the frame may be gone when the lookup runs in a lane
	walk    proto.Reader
	todo    int
	gets    engine.GetBatch
	list    proto.List
	bytes   int
	status  proto.StorageStatus
	over    bool
	err     error
}

func (r *keysRead) init(store engine.Store, env *Env, request proto.List) {
	r.store, r.env = store, *env
	r.request = proto.List{N: request.N, Raw: bytes.Clone(request.Raw)}
	r.restart()
}

func (r *keysRead) restart() {
	r.walk, r.todo = r.request.Reader(), r.request.N
	r.list.Reset()
	r.bytes, r.status, r.over = 0, proto.StorageOK, false
}

// run looks up the next keys. add takes the next element of walk and adds its raw key to the batch; take gets the
// element again with the user data of its record and says whether to go on.
func (r *keysRead) run(tier engine.Tier, add func(*proto.Reader), take func(*proto.Reader, []byte, bool) bool) (State, error) {
	if r.over {
		return r.state()
	}
	again := r.walk
	n := min(r.todo, keysPerCall)
	r.gets.Reset()
	for range n {
		add(&r.walk)
	}
	r.store.MultiGet(&r.gets, tier)
	for i := range n {
		switch r.gets.Outcome(i) {
		case engine.WouldBlock:
			r.restart()
			return WouldBlock, nil
		case engine.Failed:
			return r.fail(r.gets.Err(i))
		}
	}
	r.todo -= n
	for i := range n {
		v, exist, err := r.env.live(r.gets.Outcome(i), r.gets.Value(i))
		if err != nil {
			return r.fail(err)
		}
		if !take(&again, v.User, exist) {
			r.over = true
			return r.state()
		}
	}
	if r.todo > 0 {
		return More, nil
	}
	r.over = true
	return r.state()
}

func (r *keysRead) state() (State, error) {
	if r.err != nil {
		return Failed, r.err
	}
	return Done, nil
}

func (r *keysRead) fail(err error) (State, error) {
	r.list.Reset()
	r.err, r.status, r.over = err, storageStatus(err), true
	return Failed, err
}

// full tells whether the reply has reached the limit of this server, and makes it an incomplete one then.
func (r *keysRead) full() bool {
	if limit := r.env.Limits.MaxReplyBytes; limit > 0 && r.bytes >= limit {
		r.status = proto.StorageIncomplete
		return true
	}
	return false
}

// TimeUp has no meaning for lookups.
func (r *keysRead) TimeUp() {}

// Close has nothing to release.
func (r *keysRead) Close() {}

// multiGetKeys is a MULTI_GET that names sort keys. Missing and expired ones are left out without a word.
type multiGetKeys struct {
	keysRead
	hashKey  []byte
	key      []byte
	noValue  bool
	maxCount int
	maxBytes int
}

func newMultiGetKeys(store engine.Store, env *Env, m *proto.MultiGetRequest) *multiGetKeys {
	g := &multiGetKeys{hashKey: bytes.Clone(m.HashKey), noValue: m.NoValue}
	g.maxCount = env.Limits.MultiGetMaxIterCount
	if m.MaxCount > 0 {
		g.maxCount = min(g.maxCount, int(m.MaxCount))
	}
	g.maxBytes = int(m.MaxSize)
	g.init(store, env, m.SortKeys)
	return g
}

func (g *multiGetKeys) Run(tier engine.Tier, _ engine.SliceLimit) (State, error) {
	return g.run(tier, g.add, g.take)
}

func (g *multiGetKeys) add(r *proto.Reader) {
	g.key = engine.AppendKey(g.key[:0], g.hashKey, r.Blob())
	g.gets.Add(g.key)
}

// take collects a record. The limits are looked at before it, so that at least one record is always returned.
func (g *multiGetKeys) take(r *proto.Reader, user []byte, exist bool) bool {
	sortKey := r.Blob()
	if !exist {
		return true
	}
	if g.full() {
		return false
	}
	if g.list.N >= g.maxCount || g.maxBytes > 0 && g.bytes >= g.maxBytes {
		g.status = proto.StorageIncomplete
		return false
	}
	kv := proto.KeyValue{Key: sortKey, Value: user}
	if g.noValue {
		kv.Value = nil
	}
	g.bytes += len(kv.Key) + len(kv.Value)
	g.list.AddKeyValue(kv)
	return true
}

// Work tells the first key and how many were looked up, for explanations. The key is valid until the next call.
func (g *multiGetKeys) Work() (rawKey []byte, records int) {
	var first []byte
	if g.request.N > 0 {
		r := g.request.Reader()
		first = r.Blob()
	}
	g.key = engine.AppendKey(g.key[:0], g.hashKey, first)
	return g.key, g.request.N - g.todo
}

// AppendReply appends the result struct.
func (g *multiGetKeys) AppendReply(dst []byte) []byte {
	reply := proto.MultiGetResponse{Error: g.status, KVs: g.list, GPID: g.env.GPID, Server: g.env.Server}
	return reply.AppendResult(dst)
}

// batchGet is a BATCH_GET.
type batchGet struct {
	keysRead
	key []byte
}

func newBatchGet(store engine.Store, env *Env, args []byte) (Read, error) {
	var m proto.BatchGetRequest
	if err := m.DecodeArgs(args); err != nil {
		return nil, err
	}
	g := &batchGet{}
	g.init(store, env, m.Keys)
	if !validFullKeys(m.Keys) {
		g.status, g.over = proto.StorageInvalidArgument, true
	}
	return g, nil
}

func validFullKeys(keys proto.List) bool {
	r := keys.Reader()
	for range keys.N {
		if !validHashKey(r.FullKey().HashKey) {
			return false
		}
	}
	return keys.N > 0
}

func (g *batchGet) Run(tier engine.Tier, _ engine.SliceLimit) (State, error) {
	return g.run(tier, g.add, g.take)
}

// Work tells the first key and how many were looked up, for explanations. The key is valid until the next call.
func (g *batchGet) Work() (rawKey []byte, records int) {
	if g.status == proto.StorageInvalidArgument {
		return nil, 0
	}
	r := g.request.Reader()
	first := r.FullKey()
	g.key = engine.AppendKey(g.key[:0], first.HashKey, first.SortKey)
	return g.key, g.request.N - g.todo
}

func (g *batchGet) add(r *proto.Reader) {
	k := r.FullKey()
	g.key = engine.AppendKey(g.key[:0], k.HashKey, k.SortKey)
	g.gets.Add(g.key)
}

func (g *batchGet) take(r *proto.Reader, user []byte, exist bool) bool {
	k := r.FullKey()
	if !exist {
		return true
	}
	if g.full() {
		return false
	}
	g.bytes += len(k.HashKey) + len(k.SortKey) + len(user)
	g.list.AddFullData(proto.FullData{HashKey: k.HashKey, SortKey: k.SortKey, Value: user})
	return true
}

// AppendReply appends the result struct.
func (g *batchGet) AppendReply(dst []byte) []byte {
	reply := proto.BatchGetResponse{Error: g.status, Data: g.list, GPID: g.env.GPID, Server: g.env.Server}
	return reply.AppendResult(dst)
}
