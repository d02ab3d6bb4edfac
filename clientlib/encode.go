package clientlib

import (
	"encoding/binary"
	"math"
	"time"

	"pegasus/netcore/proto"
)

// What operations look like on the wire. Each encoder readies a pending call and may fail on arguments alone; each decoder
// reads the result of a call that ended without error. Synchronous operations, futures and batches share them.

// maxHashKey is the longest hash key: the value 65535 of the length prefix is not legal.
const maxHashKey = math.MaxUint16 - 1

// expireEpoch is the unix time from which records count their expiry, 2016-01-01 UTC.
const expireEpoch = 1451606400

// RawKey appends the encoded key of a record: u16 length of the hash key, hash key, sort key.
func RawKey(dst, hashKey, sortKey []byte) ([]byte, error) {
	if len(hashKey) > maxHashKey {
		return nil, ErrKey
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(hashKey)))
	return append(append(dst, hashKey...), sortKey...), nil
}

// SplitKey takes an encoded key apart. The parts are views.
func SplitKey(raw []byte) (hashKey, sortKey []byte, err error) {
	if len(raw) < 2 || len(raw)-2 < int(binary.BigEndian.Uint16(raw)) {
		return nil, nil, ErrKey
	}
	n := 2 + int(binary.BigEndian.Uint16(raw))
	return raw[2:n:n], raw[n:], nil
}

// expireAt turns a time to live into an expiry: 0 means never. A fraction of a second counts as a whole one.
func expireAt(ttl time.Duration) int32 {
	if ttl <= 0 {
		return 0
	}
	return int32(uint32(time.Now().Unix() - expireEpoch + int64((ttl+time.Second-1)/time.Second)))
}

// keyed readies p for an operation on one record.
func (p *pending) keyed(hashKey, sortKey []byte) error {
	raw, err := RawKey(p.raw[:0], hashKey, sortKey)
	if err != nil {
		return err
	}
	p.raw = raw
	p.Hash = proto.RawKeyHash(raw)
	return nil
}

// hashed readies p for an operation on records of one hash key, which cannot be empty: without one the sort keys would
// spread them over partitions.
func (p *pending) hashed(hashKey []byte) error {
	if len(hashKey) == 0 || len(hashKey) > maxHashKey {
		return ErrKey
	}
	p.Hash = proto.KeyHash(hashKey)
	p.list.Reset()
	return nil
}

// encodeKey readies p for GET, TTL or REMOVE.
func (p *pending) encodeKey(hashKey, sortKey []byte) error {
	if err := p.keyed(hashKey, sortKey); err != nil {
		return err
	}
	p.Args = proto.AppendBlobArg(p.Args[:0], p.raw)
	return nil
}

func (p *pending) encodeSet(c Compressor, hashKey, sortKey, value []byte, ttl time.Duration) error {
	if err := p.keyed(hashKey, sortKey); err != nil {
		return err
	}
	put := proto.PutRequest{Key: p.raw, Value: compressed(c, value), Expire: expireAt(ttl)}
	p.Args = put.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeIncr(hashKey, sortKey []byte, by int64, ttl time.Duration) error {
	if err := p.keyed(hashKey, sortKey); err != nil {
		return err
	}
	req := proto.IncrRequest{Key: p.raw, Increment: by, Expire: expireAt(ttl)}
	if ttl < 0 {
		req.Expire = -1
	}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeCount(hashKey []byte) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	p.Args = proto.AppendBlobArg(p.Args[:0], hashKey)
	return nil
}

func (p *pending) encodeMultiGet(hashKey []byte, sortKeys [][]byte, start, stop []byte, o *MultiGetOptions) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	for _, k := range sortKeys {
		p.list.AddBlob(k)
	}
	if o == nil {
		o = DefaultMultiGetOptions
	}
	req := proto.MultiGetRequest{
		HashKey: hashKey, SortKeys: p.list, Start: start, Stop: stop,
		MaxCount: int32(min(max(o.MaxFetchCount, 0), math.MaxInt32)), MaxSize: int32(min(max(o.MaxFetchSize, 0), math.MaxInt32)),
		StartInclusive: o.StartInclusive, StopInclusive: o.StopInclusive, NoValue: o.NoValue, Reverse: o.Reverse,
		FilterType: o.SortKeyFilter.Type.wire(), FilterPattern: o.SortKeyFilter.Pattern,
	}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeMultiSet(c Compressor, hashKey []byte, sortKeys, values [][]byte, ttl time.Duration) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	if len(sortKeys) == 0 || len(sortKeys) != len(values) {
		return ErrArgument
	}
	for i, k := range sortKeys {
		p.list.AddKeyValue(proto.KeyValue{Key: k, Value: compressed(c, values[i])})
	}
	req := proto.MultiPutRequest{HashKey: hashKey, KVs: p.list, Expire: expireAt(ttl)}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeMultiDel(hashKey []byte, sortKeys [][]byte) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	if len(sortKeys) == 0 {
		return ErrArgument
	}
	for _, k := range sortKeys {
		p.list.AddBlob(k)
	}
	req := proto.MultiRemoveRequest{HashKey: hashKey, SortKeys: p.list}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeCheckAndSet(c Compressor, hashKey, checkSortKey []byte, check CheckType, operand, setSortKey, value []byte,
	o *CheckAndSetOptions) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	if o == nil {
		o = &CheckAndSetOptions{}
	}
	req := proto.CheckAndSetRequest{
		HashKey: hashKey, CheckSortKey: checkSortKey, CheckType: proto.CheckType(check), CheckOperand: operand,
		SetValue: compressed(c, value), SetExpire: expireAt(time.Duration(o.SetValueTTLSeconds) * time.Second),
		ReturnCheckValue: o.ReturnCheckValue,
	}
	if string(setSortKey) != string(checkSortKey) {
		req.SetDiffSortKey, req.SetSortKey = true, setSortKey
	}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func (p *pending) encodeCheckAndMutate(c Compressor, hashKey, checkSortKey []byte, check CheckType, operand []byte,
	mutations []Mutation, o *CheckAndMutateOptions) error {
	if err := p.hashed(hashKey); err != nil {
		return err
	}
	if len(mutations) == 0 {
		return ErrArgument
	}
	for _, m := range mutations {
		w := proto.Mutation{Op: proto.MutateDelete, SortKey: m.SortKey}
		if !m.Del {
			w = proto.Mutation{Op: proto.MutatePut, SortKey: m.SortKey, Value: compressed(c, m.Value), Expire: expireAt(m.TTL)}
		}
		p.list.AddMutation(w)
	}
	req := proto.CheckAndMutateRequest{
		HashKey: hashKey, CheckSortKey: checkSortKey, CheckType: proto.CheckType(check), CheckOperand: operand,
		Mutations: p.list, ReturnCheckValue: o != nil && o.ReturnCheckValue,
	}
	p.Args = req.AppendArgs(p.Args[:0])
	return nil
}

func compressed(c Compressor, value []byte) []byte {
	if c == nil {
		return value
	}
	return c.Compress(nil, value)
}

// original returns a copy of a value in the buffer of a call, decompressed, never nil.
func original(c Compressor, value []byte) ([]byte, error) {
	if c == nil {
		return append(make([]byte, 0, len(value)), value...), nil
	}
	v, err := c.Decompress(nil, value)
	if v == nil {
		v = []byte{}
	}
	return v, err
}
