package rrdb

import (
	"bytes"
	"math"
	"strconv"

	"pegasus/engine"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Atomic operations are evaluated once, on the primary, against the newest state of the one record that they read, and
// replicated as the puts and deletes that they come to. The caller fetches that record (AtomicKey), from its in-flight
// writes or from the store, and hands it to Eval. Arguments are decoded twice, which is cheaper than keeping them.

// AtomicKey appends the raw key of the record that an atomic operation reads. Nothing is appended when the request is
// invalid whatever the record holds; Eval then ignores what it is given. An error means that the arguments do not decode.
func AtomicKey(dst []byte, code proto.Code, args []byte) ([]byte, error) {
	switch code {
	case proto.CodeIncr:
		var m proto.IncrRequest
		if err := m.DecodeArgs(args); err != nil || !ValidKey(m.Key) {
			return dst, err
		}
		return append(dst, m.Key...), nil
	case proto.CodeCheckAndSet:
		var m proto.CheckAndSetRequest
		if err := m.DecodeArgs(args); err != nil || !validCheckAndSet(&m) {
			return dst, err
		}
		return engine.AppendKey(dst, m.HashKey, m.CheckSortKey), nil
	case proto.CodeCheckAndMutate:
		var m proto.CheckAndMutateRequest
		if err := m.DecodeArgs(args); err != nil || !validCheckAndMutate(&m) {
			return dst, err
		}
		return engine.AppendKey(dst, m.HashKey, m.CheckSortKey), nil
	}
	invariant.Assertf(false, "AtomicKey of %v", code)
	return dst, nil
}

func validCheckAndSet(m *proto.CheckAndSetRequest) bool {
	return m.CheckType.Valid() && validHashKey(m.HashKey)
}

func validCheckAndMutate(m *proto.CheckAndMutateRequest) bool {
	if m.Mutations.N == 0 || !m.CheckType.Valid() || !validHashKey(m.HashKey) {
		return false
	}
	list := m.Mutations.Reader()
	for range m.Mutations.N {
		if op := list.Mutation().Op; op != proto.MutatePut && op != proto.MutateDelete {
			return false
		}
	}
	return true
}

// Eval evaluates an atomic operation on the record that AtomicKey named and appends its effects to b: none when it fails.
// outcome is engine.Found with the raw stored value, or engine.NotFound. An error means that the arguments do not decode;
// b is then as it was. args and raw may be reused afterwards.
func Eval(b *engine.BatchBuilder, env *Env, code proto.Code, args []byte, outcome engine.Outcome, raw []byte) (Reply, error) {
	switch code {
	case proto.CodeIncr:
		return evalIncr(b, env, args, outcome, raw)
	case proto.CodeCheckAndSet:
		return evalCheckAndSet(b, env, args, outcome, raw)
	case proto.CodeCheckAndMutate:
		return evalCheckAndMutate(b, env, args, outcome, raw)
	}
	invariant.Assertf(false, "Eval of %v", code)
	return Reply{}, nil
}

func evalIncr(b *engine.BatchBuilder, env *Env, args []byte, outcome engine.Outcome, raw []byte) (Reply, error) {
	var m proto.IncrRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeIncr}
	if !ValidKey(m.Key) {
		return r.fail(proto.StorageInvalidArgument), nil
	}
	old, exist, err := env.live(outcome, raw)
	if err != nil {
		return r.fail(storageStatus(err)), nil
	}
	base, ok := int64(0), true
	if exist && len(old.User) > 0 {
		if base, ok = ParseInt(old.User); !ok {
			return r.fail(proto.StorageInvalidArgument), nil
		}
	}
	if m.Increment > 0 && base > math.MaxInt64-m.Increment || m.Increment < 0 && base < math.MinInt64-m.Increment {
		r.number = base
		return r.fail(proto.StorageInvalidArgument), nil
	}
	r.number = base + m.Increment
	// 0 keeps an expiry, a negative value clears it. What comes out as "none" is subject to the table's default.
	expire := max(m.Expire, 0)
	if exist && m.Expire == 0 {
		expire = int32(old.Expire)
	}
	var room [20]byte
	b.Put(m.Key, env.expiry(expire), env.timetag(), strconv.AppendInt(room[:0], r.number, 10))
	return r, nil
}

func evalCheckAndSet(b *engine.BatchBuilder, env *Env, args []byte, outcome engine.Outcome, raw []byte) (Reply, error) {
	var m proto.CheckAndSetRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeCheckAndSet}
	if !validCheckAndSet(&m) {
		return r.fail(proto.StorageInvalidArgument), nil
	}
	if r = r.checked(env, m.CheckType, m.CheckOperand, m.ReturnCheckValue, outcome, raw); r.failed {
		return r, nil
	}
	sortKey := m.CheckSortKey
	if m.SetDiffSortKey {
		sortKey = m.SetSortKey
	}
	var room [keyScratch]byte
	key := engine.AppendKey(room[:0], m.HashKey, sortKey)
	b.Put(key, env.expiry(m.SetExpire), env.timetag(), m.SetValue)
	return r, nil
}

func evalCheckAndMutate(b *engine.BatchBuilder, env *Env, args []byte, outcome engine.Outcome, raw []byte) (Reply, error) {
	var m proto.CheckAndMutateRequest
	if err := m.DecodeArgs(args); err != nil {
		return Reply{}, err
	}
	r := Reply{code: proto.CodeCheckAndMutate}
	if !validCheckAndMutate(&m) {
		return r.fail(proto.StorageInvalidArgument), nil
	}
	if r = r.checked(env, m.CheckType, m.CheckOperand, m.ReturnCheckValue, outcome, raw); r.failed {
		return r, nil
	}
	var room [keyScratch]byte
	key := room[:0]
	list := m.Mutations.Reader()
	for range m.Mutations.N {
		mu := list.Mutation()
		key = engine.AppendKey(key[:0], m.HashKey, mu.SortKey)
		if mu.Op == proto.MutateDelete {
			b.Delete(key)
			continue
		}
		b.Put(key, env.expiry(mu.Expire), env.timetag(), mu.Value)
	}
	return r, nil
}

// checked evaluates the condition on the record and fills in what the client is told of it, also when it fails.
func (r Reply) checked(env *Env, t proto.CheckType, operand []byte, report bool, outcome engine.Outcome, raw []byte) Reply {
	old, exist, err := env.live(outcome, raw)
	if err != nil {
		return r.fail(storageStatus(err))
	}
	if report {
		r.returned, r.exist = true, exist
		if exist {
			r.check = bytes.Clone(old.User)
		}
	}
	if status := check(t, operand, exist, old.User); status != proto.StorageOK {
		return r.fail(status)
	}
	return r
}

func (r Reply) fail(status proto.StorageStatus) Reply {
	r.status, r.failed = status, true
	return r
}
