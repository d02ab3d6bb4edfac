package clientlib

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"pegasus/netcore/proto"
)

// maxHashKey is the longest hash key: the value 65535 of the length prefix is not legal.
const maxHashKey = math.MaxUint16 - 1

// expireEpoch is the unix time from which records count their expiry, 2016-01-01 UTC.
const expireEpoch = 1451606400

// NoTTL is what TTL returns for a record that does not expire.
const NoTTL time.Duration = -1

// RawKey appends the encoded key of a record: u16 length of the hash key, hash key, sort key.
func RawKey(dst, hashKey, sortKey []byte) ([]byte, error) {
	if len(hashKey) > maxHashKey {
		return nil, ErrKey
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(hashKey)))
	return append(append(dst, hashKey...), sortKey...), nil
}

// expireAt turns a time to live into an expiry: 0 means never. A fraction of a second counts as a whole one.
func expireAt(ttl time.Duration) int32 {
	if ttl <= 0 {
		return 0
	}
	return int32(uint32(time.Now().Unix() - expireEpoch + int64((ttl+time.Second-1)/time.Second)))
}

// run executes one operation and decodes its result.
func (t *Table) run(ctx context.Context, code proto.Code, hash uint64, args []byte, decode func([]byte) error) error {
	call := &Call{Code: code, Hash: hash, Args: args}
	if err := await(ctx, call, t.Do); err != nil {
		return err
	}
	return decode(call.Result)
}

// keyed is run for operations that carry one raw key.
func (t *Table) keyed(ctx context.Context, code proto.Code, hashKey, sortKey []byte,
	args func(raw []byte) []byte, decode func([]byte) error) error {
	raw, err := RawKey(nil, hashKey, sortKey)
	if err != nil {
		return err
	}
	return t.run(ctx, code, proto.RawKeyHash(raw), args(raw), decode)
}

// hashed is run for operations on one hash key.
func (t *Table) hashed(ctx context.Context, code proto.Code, hashKey, args []byte, decode func([]byte) error) error {
	if len(hashKey) > maxHashKey {
		return ErrKey
	}
	return t.run(ctx, code, proto.KeyHash(hashKey), args, decode)
}

// verdict turns a storage status into an error.
func verdict(s proto.StorageStatus) error {
	switch s {
	case proto.StorageOK:
		return nil
	case proto.StorageNotFound:
		return ErrNotFound
	}
	return &ServerError{Status: s}
}

func blobArg(raw []byte) []byte { return proto.AppendBlobArg(nil, raw) }

// decodeUpdate reads the result of a write that returns nothing else.
func decodeUpdate(body []byte) error {
	var r proto.UpdateResponse
	if err := r.DecodeResult(body); err != nil {
		return err
	}
	return verdict(r.Error)
}

// Get returns the value of a record, or ErrNotFound.
func (t *Table) Get(ctx context.Context, hashKey, sortKey []byte) ([]byte, error) {
	var r proto.ReadResponse
	err := t.keyed(ctx, proto.CodeGet, hashKey, sortKey, blobArg, r.DecodeResult)
	if err == nil {
		err = verdict(r.Error)
	}
	if err != nil {
		return nil, err
	}
	return r.Value, nil
}

// Set writes a record. It expires after ttl, if that is positive.
func (t *Table) Set(ctx context.Context, hashKey, sortKey, value []byte, ttl time.Duration) error {
	return t.keyed(ctx, proto.CodePut, hashKey, sortKey, func(raw []byte) []byte {
		put := proto.PutRequest{Key: raw, Value: value, Expire: expireAt(ttl)}
		return put.AppendArgs(nil)
	}, decodeUpdate)
}

// Del removes a record. It is no error if there is none.
func (t *Table) Del(ctx context.Context, hashKey, sortKey []byte) error {
	return t.keyed(ctx, proto.CodeRemove, hashKey, sortKey, blobArg, decodeUpdate)
}

// TTL returns how long a record has to live, NoTTL if it does not expire, or ErrNotFound.
func (t *Table) TTL(ctx context.Context, hashKey, sortKey []byte) (time.Duration, error) {
	var r proto.TTLResponse
	err := t.keyed(ctx, proto.CodeTTL, hashKey, sortKey, blobArg, r.DecodeResult)
	if err == nil {
		err = verdict(r.Error)
	}
	if err != nil {
		return 0, err
	}
	if r.Seconds == -1 {
		return NoTTL, nil
	}
	return time.Duration(uint32(r.Seconds)) * time.Second, nil
}

// Exist tells whether there is a record.
func (t *Table) Exist(ctx context.Context, hashKey, sortKey []byte) (bool, error) {
	_, err := t.TTL(ctx, hashKey, sortKey)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Incr adds to a record that holds a decimal number, or to 0 if there is none, and returns the sum. A record that
// exists keeps its expiry when ttl is 0, gets a new one when it is positive, and loses it when it is negative.
func (t *Table) Incr(ctx context.Context, hashKey, sortKey []byte, by int64, ttl time.Duration) (int64, error) {
	var r proto.IncrResponse
	err := t.keyed(ctx, proto.CodeIncr, hashKey, sortKey, func(raw []byte) []byte {
		req := proto.IncrRequest{Key: raw, Increment: by, Expire: expireAt(ttl)}
		if ttl < 0 {
			req.Expire = -1
		}
		return req.AppendArgs(nil)
	}, r.DecodeResult)
	if err == nil {
		err = verdict(r.Error)
	}
	return r.NewValue, err
}

// KeyValue is a record of a hash key.
type KeyValue struct{ SortKey, Value []byte }

// MultiGet returns the records of a hash key with the given sort keys, in that order and without those that do not
// exist; all records in key order when no sort key is given. more tells that the server stopped at one of its limits.
func (t *Table) MultiGet(ctx context.Context, hashKey []byte, sortKeys ...[]byte) (kvs []KeyValue, more bool, err error) {
	req := proto.MultiGetRequest{HashKey: hashKey, StartInclusive: true}
	for _, k := range sortKeys {
		req.SortKeys.AddBlob(k)
	}
	var r proto.MultiGetResponse
	if err := t.hashed(ctx, proto.CodeMultiGet, hashKey, req.AppendArgs(nil), r.DecodeResult); err != nil {
		return nil, false, err
	}
	more = r.Error == proto.StorageIncomplete
	if err := verdict(r.Error); err != nil && !more {
		return nil, false, err
	}
	list := r.KVs.Reader()
	for range r.KVs.N {
		kv := list.KeyValue()
		kvs = append(kvs, KeyValue{SortKey: kv.Key, Value: kv.Value})
	}
	return kvs, more, list.Err()
}

// MultiSet writes records of one hash key atomically. They expire after ttl, if that is positive.
func (t *Table) MultiSet(ctx context.Context, hashKey []byte, kvs []KeyValue, ttl time.Duration) error {
	req := proto.MultiPutRequest{HashKey: hashKey, Expire: expireAt(ttl)}
	for _, kv := range kvs {
		req.KVs.AddKeyValue(proto.KeyValue{Key: kv.SortKey, Value: kv.Value})
	}
	return t.hashed(ctx, proto.CodeMultiPut, hashKey, req.AppendArgs(nil), decodeUpdate)
}

// MultiDel removes records of one hash key atomically. It is no error if they do not exist.
func (t *Table) MultiDel(ctx context.Context, hashKey []byte, sortKeys ...[]byte) error {
	req := proto.MultiRemoveRequest{HashKey: hashKey}
	for _, k := range sortKeys {
		req.SortKeys.AddBlob(k)
	}
	var r proto.MultiRemoveResponse
	if err := t.hashed(ctx, proto.CodeMultiRemove, hashKey, req.AppendArgs(nil), r.DecodeResult); err != nil {
		return err
	}
	return verdict(r.Error)
}

// SortKeyCount returns how many records a hash key has, or -1 if the server gave up counting.
func (t *Table) SortKeyCount(ctx context.Context, hashKey []byte) (int64, error) {
	var r proto.CountResponse
	err := t.hashed(ctx, proto.CodeSortkeyCount, hashKey, proto.AppendBlobArg(nil, hashKey), r.DecodeResult)
	if err == nil {
		err = verdict(r.Error)
	}
	return r.Count, err
}
