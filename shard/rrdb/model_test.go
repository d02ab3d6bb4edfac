package rrdb_test

import (
	"bytes"
	"sort"
	"strings"

	"pegasus/engine"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// model is the naive picture of a partition: all records in order. Its reads are written down as the loops of the recorded
// server go, record by record over the whole partition, without slices, bounds or snapshots.
type model []record

type record struct {
	key, value string
	expire     uint32
}

type kv struct{ key, value string }

// put returns a copy with the record set; a nil value removes it.
func (m model) put(key string, expire uint32, value *string) model {
	out := make(model, 0, len(m)+1)
	for _, r := range m {
		if r.key != key {
			out = append(out, r)
		}
	}
	if value != nil {
		out = append(out, record{key, *value, expire})
		sort.Slice(out, func(i, j int) bool { return out[i].key < out[j].key })
	}
	return out
}

func (r record) expired(now uint32) bool { return r.expire > 0 && r.expire <= now }

func rawKey(hashKey, sortKey string) string {
	return string(engine.AppendKey(nil, []byte(hashKey), []byte(sortKey)))
}

func nextKey(prefix string) string { return string(engine.AppendNext(nil, []byte(prefix))) }

func matches(kind proto.FilterType, pattern, s string) bool {
	switch {
	case kind == proto.FilterNone || pattern == "":
		return true
	case kind == proto.FilterAnywhere:
		return strings.Contains(s, pattern)
	case kind == proto.FilterPrefix:
		return strings.HasPrefix(s, pattern)
	}
	return strings.HasSuffix(s, pattern)
}

// visible are the records that an iterator bound to a hash key sees.
func (m model) visible(hashKey string) model {
	var out model
	for _, r := range m {
		if strings.HasPrefix(r.key, rawKey(hashKey, "")) {
			out = append(out, r)
		}
	}
	return out
}

func (m model) multiGet(env *rrdb.Env, req *proto.MultiGetRequest) (proto.StorageStatus, []kv) {
	hashKey := string(req.HashKey)
	start, startIn := rawKey(hashKey, string(req.Start)), req.StartInclusive
	stop, stopIn := nextKey(rawKey(hashKey, "")), false
	if len(req.Stop) > 0 {
		stop, stopIn = rawKey(hashKey, string(req.Stop)), req.StopInclusive
	}
	if req.FilterType == proto.FilterPrefix && len(req.FilterPattern) > 0 {
		prefix := rawKey(hashKey, string(req.FilterPattern))
		if prefix > start {
			start, startIn = prefix, true
		}
		if nextKey(prefix) <= stop {
			stop, stopIn = nextKey(prefix), false
		}
	}
	if start > stop || start == stop && !(startIn && stopIn) {
		return proto.StorageOK, nil
	}
	rows := m.visible(hashKey)
	inside := func(k string) bool { return k < stop || k == stop && stopIn }
	skip := func(k string) bool { return k < start || k == start && !startIn }
	last := stop
	if req.Reverse {
		rows = nil
		for i := len(m) - 1; i >= 0; i-- {
			rows = append(rows, m[i])
		}
		inside = func(k string) bool { return k > start || k == start && startIn }
		skip = func(k string) bool { return k > stop || k == stop && !stopIn }
		last = start
	}
	maxCount, maxSize := env.Limits.MultiGetMaxIterCount, env.Limits.MultiGetMaxIterBytes
	if req.MaxCount > 0 {
		maxCount = min(maxCount, int(req.MaxCount))
	}
	if req.MaxSize > 0 {
		maxSize = min(maxSize, int(req.MaxSize))
	}
	var out []kv
	size, seen := 0, 0
	for _, r := range rows {
		if skip(r.key) {
			continue
		}
		if len(out) >= maxCount || seen >= env.Limits.MultiGetMaxIterCount || size >= maxSize {
			return proto.StorageIncomplete, ascending(out, req.Reverse)
		}
		if !inside(r.key) {
			break
		}
		seen++
		sortKey := r.key[2+len(hashKey):]
		if !r.expired(env.NowEpoch) && matches(req.FilterType, string(req.FilterPattern), sortKey) {
			e := kv{sortKey, r.value}
			if req.NoValue {
				e.value = ""
			}
			out = append(out, e)
			size += len(e.key) + len(e.value)
		}
		if r.key == last {
			break
		}
	}
	return proto.StorageOK, ascending(out, req.Reverse)
}

func ascending(l []kv, reversed bool) []kv {
	if reversed {
		sort.Slice(l, func(i, j int) bool { return l[i].key < l[j].key })
	}
	return l
}

func (m model) sortkeyCount(env *rrdb.Env, hashKey string) int64 {
	n := int64(0)
	for _, r := range m.visible(hashKey) {
		if !r.expired(env.NowEpoch) {
			n++
		}
	}
	return n
}

// scanAll is everything that a scan returns over all its batches.
func (m model) scanAll(env *rrdb.Env, req *proto.GetScannerRequest) []kv {
	hashKey, _, _ := engine.SplitKey(req.Start)
	rows := m
	if len(hashKey) > 0 && !req.FullScan.Or(false) {
		rows = m.visible(string(hashKey))
	}
	var out []kv
	for _, r := range rows {
		hashKey, sortKey, _ := engine.SplitKey([]byte(r.key))
		low, high := bytes.Compare([]byte(r.key), req.Start), bytes.Compare([]byte(r.key), req.Stop)
		switch {
		case low < 0 || low == 0 && !req.StartInclusive || high > 0 || high == 0 && !req.StopInclusive:
		case r.expired(env.NowEpoch):
		case !matches(req.HashFilterType, string(req.HashFilter), string(hashKey)):
		case !matches(req.SortFilterType, string(req.SortFilter), string(sortKey)):
		default:
			e := kv{r.key, r.value}
			if req.NoValue {
				e.value = ""
			}
			out = append(out, e)
		}
	}
	return out
}

func decoded(l proto.List) []kv {
	var out []kv
	r := l.Reader()
	for range l.N {
		e := r.KeyValue()
		out = append(out, kv{string(e.Key), string(e.Value)})
	}
	return out
}
