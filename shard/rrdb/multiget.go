package rrdb

import (
	"bytes"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// multiGet is a MULTI_GET over a range of a hash key.
type multiGet struct {
	rangeRead
	invalid bool
}

// newMultiGet makes a read over a range, or over the sort keys when the request names some.
func newMultiGet(store engine.Store, env *Env, args []byte) (Read, error) {
	var m proto.MultiGetRequest
	if err := m.DecodeArgs(args); err != nil {
		return nil, err
	}
	invalid := !m.FilterType.Valid() || !validHashKey(m.HashKey)
	if m.SortKeys.N > 0 && !invalid {
		return newMultiGetKeys(store, env, &m), nil
	}
	g := &multiGet{invalid: invalid}
	g.init(store, env)
	if invalid {
		g.end = complete
		return g, nil
	}
	g.maxIter = env.Limits.MultiGetMaxIterCount
	g.maxCount, g.maxBytes = multiGetLimits(env, &m)
	g.noValue, g.sortKeysOnly = m.NoValue, true
	g.sortFilter = filter{kind: m.FilterType, pattern: bytes.Clone(m.FilterPattern)}
	g.setRange(&m)
	return g, nil
}

// multiGetLimits returns the count and the bytes at which a MULTI_GET stops; 0 bytes = no limit.
func multiGetLimits(env *Env, m *proto.MultiGetRequest) (count, size int) {
	count, size = env.Limits.MultiGetMaxIterCount, env.Limits.MultiGetMaxIterBytes
	if m.MaxCount > 0 {
		count = min(count, int(m.MaxCount))
	}
	if m.MaxSize > 0 && (size == 0 || int(m.MaxSize) < size) {
		size = int(m.MaxSize)
	}
	return count, size
}

// setRange works out the asked range, narrowed by a prefix filter, and what the iterator may see of the store.
func (g *multiGet) setRange(m *proto.MultiGetRequest) {
	start, startInclusive := engine.AppendKey(nil, m.HashKey, m.Start), m.StartInclusive
	stop, stopInclusive := engine.AppendNextHashKey(nil, m.HashKey), false
	if len(m.Stop) > 0 {
		stop, stopInclusive = engine.AppendKey(nil, m.HashKey, m.Stop), m.StopInclusive
	}
	if g.sortFilter.prefix() {
		prefix := engine.AppendKey(nil, m.HashKey, g.sortFilter.pattern)
		if bytes.Compare(prefix, start) > 0 {
			start, startInclusive = prefix, true
		}
		if next := engine.AppendNext(nil, prefix); bytes.Compare(next, stop) <= 0 {
			stop, stopInclusive = next, false
		}
	}
	if emptyRange(start, startInclusive, stop, stopInclusive) {
		g.end = complete
		return
	}
	g.opts.Reverse = m.Reverse
	if m.Reverse {
		// In total order: a limit that is reached at the first record of the hash key is seen as "more" when any smaller
		// key is in the partition.
		g.far, g.farInclusive = start, startInclusive
		g.opts.Upper = upperBound(stop, stopInclusive)
		return
	}
	g.far, g.farInclusive = stop, stopInclusive
	g.opts.Lower = lowerBound(start, startInclusive)
	g.opts.Upper = engine.AppendNextHashKey(nil, m.HashKey)
}

func emptyRange(start []byte, startInclusive bool, stop []byte, stopInclusive bool) bool {
	c := bytes.Compare(start, stop)
	return c > 0 || c == 0 && !(startInclusive && stopInclusive)
}

// lowerBound and upperBound turn a bound of a request into one of an iterator, whose lower one is inclusive and whose
// upper one is not. The smallest key greater than k is k and a zero byte.
func lowerBound(k []byte, inclusive bool) []byte {
	if inclusive {
		return k
	}
	return append(bytes.Clone(k), 0)
}

func upperBound(k []byte, inclusive bool) []byte { return lowerBound(k, !inclusive) }

// AppendReply appends the result struct.
func (g *multiGet) AppendReply(dst []byte) []byte {
	reply := proto.MultiGetResponse{GPID: g.env.GPID, Server: g.env.Server}
	switch {
	case g.invalid:
		reply.Error = proto.StorageInvalidArgument
	case g.end == failed:
		reply.Error = storageStatus(g.err)
	default:
		reply.KVs = g.results()
		if g.end == limited || g.end == timedOut {
			reply.Error = proto.StorageIncomplete
		}
	}
	return reply.AppendResult(dst)
}

// sortkeyCount is a SORTKEY_COUNT.
type sortkeyCount struct {
	rangeRead
	invalid bool
}

func newSortkeyCount(store engine.Store, env *Env, args []byte) (Read, error) {
	hashKey, err := proto.DecodeBlobArg(args)
	if err != nil {
		return nil, err
	}
	c := &sortkeyCount{invalid: !validHashKey(hashKey)}
	c.init(store, env)
	c.countOnly = true
	if c.invalid {
		c.end = complete
		return c, nil
	}
	c.opts.Lower = engine.AppendKey(nil, hashKey, nil)
	c.opts.Upper = engine.AppendNextHashKey(nil, hashKey)
	return c, nil
}

// AppendReply appends the result struct. A count that took too long is answered as -1 without an error.
func (c *sortkeyCount) AppendReply(dst []byte) []byte {
	reply := proto.CountResponse{GPID: c.env.GPID, Server: c.env.Server}
	switch {
	case c.invalid:
		reply.Error = proto.StorageInvalidArgument
	case c.end == failed:
		reply.Error = storageStatus(c.err)
	case c.end == timedOut:
		reply.Count = -1
	default:
		reply.Count = int64(c.count)
	}
	return reply.AppendResult(dst)
}
