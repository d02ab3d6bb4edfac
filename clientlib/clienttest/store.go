package clienttest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"pegasus/netcore/proto"
)

// cell is a record of the store. Expiries are kept and shown, nothing ever expires.
type cell struct {
	value  []byte
	expire int32
}

// result is how to write the result of a request; nil when the request is not served.
type result func([]byte) []byte

// serve executes a data request on the map. REQUIRES: the cluster's lock is held.
func (c *Cluster) serve(req *proto.Request) result {
	g := req.GPID
	switch req.Code {
	case proto.CodeGet, proto.CodeTTL, proto.CodeRemove:
		key, err := proto.DecodeBlobArg(req.Args)
		if err != nil {
			return nil
		}
		r, ok := c.data[string(key)]
		status := proto.StorageOK
		if !ok {
			status = proto.StorageNotFound
		}
		switch req.Code {
		case proto.CodeGet:
			return (&proto.ReadResponse{Error: status, Value: r.value, GPID: g}).AppendResult
		case proto.CodeTTL:
			seconds := int32(-1)
			if r.expire != 0 {
				seconds = r.expire - now()
			}
			return (&proto.TTLResponse{Error: status, Seconds: seconds, GPID: g}).AppendResult
		}
		delete(c.data, string(key))
		return (&proto.UpdateResponse{GPID: g}).AppendResult
	case proto.CodePut:
		var put proto.PutRequest
		if put.DecodeArgs(req.Args) != nil {
			return nil
		}
		c.data[string(put.Key)] = cell{slices.Clone(put.Value), put.Expire}
		return (&proto.UpdateResponse{GPID: g}).AppendResult
	case proto.CodeIncr:
		return c.incr(req)
	case proto.CodeMultiGet:
		return c.multiGet(req)
	case proto.CodeMultiPut, proto.CodeMultiRemove, proto.CodeSortkeyCount:
		return c.multi(req)
	case proto.CodeCheckAndSet:
		return c.checkAndSet(req)
	case proto.CodeCheckAndMutate:
		return c.checkAndMutate(req)
	case proto.CodeGetScanner, proto.CodeScan:
		return c.scan(req)
	}
	return nil
}

func (c *Cluster) incr(req *proto.Request) result {
	var m proto.IncrRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	resp := &proto.IncrResponse{GPID: req.GPID}
	old := int64(0)
	r, ok := c.data[string(m.Key)]
	if ok {
		var err error
		if old, err = strconv.ParseInt(string(r.value), 10, 64); err != nil {
			resp.Error = proto.StorageInvalidArgument
			return resp.AppendResult
		}
	}
	switch {
	case m.Expire > 0:
		r.expire = m.Expire
	case m.Expire < 0:
		r.expire = 0
	}
	resp.NewValue = old + m.Increment
	c.data[string(m.Key)] = cell{strconv.AppendInt(nil, resp.NewValue, 10), r.expire}
	return resp.AppendResult
}

// prefix is the encoded beginning of all keys of a hash key.
func prefix(hashKey []byte) string {
	return string(append(binary.BigEndian.AppendUint16(nil, uint16(len(hashKey))), hashKey...))
}

// hashOf is the partition hash of a raw key.
func hashOf(raw string) uint64 { return proto.RawKeyHash([]byte(raw)) }

func (c *Cluster) multi(req *proto.Request) result {
	switch req.Code {
	case proto.CodeMultiPut:
		var m proto.MultiPutRequest
		if m.DecodeArgs(req.Args) != nil {
			return nil
		}
		list := m.KVs.Reader()
		for range m.KVs.N {
			kv := list.KeyValue()
			c.data[prefix(m.HashKey)+string(kv.Key)] = cell{slices.Clone(kv.Value), m.Expire}
		}
		return (&proto.UpdateResponse{GPID: req.GPID}).AppendResult
	case proto.CodeMultiRemove:
		var m proto.MultiRemoveRequest
		if m.DecodeArgs(req.Args) != nil {
			return nil
		}
		list := m.SortKeys.Reader()
		for range m.SortKeys.N {
			delete(c.data, prefix(m.HashKey)+string(list.Blob()))
		}
		return (&proto.MultiRemoveResponse{Count: int64(m.SortKeys.N), GPID: req.GPID}).AppendResult
	}
	key, err := proto.DecodeBlobArg(req.Args)
	if err != nil {
		return nil
	}
	return (&proto.CountResponse{Count: int64(len(c.sortKeys(key))), GPID: req.GPID}).AppendResult
}

func (c *Cluster) multiGet(req *proto.Request) result {
	var m proto.MultiGetRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	resp := &proto.MultiGetResponse{GPID: req.GPID}
	var keys []string
	if m.SortKeys.N > 0 {
		list := m.SortKeys.Reader()
		for range m.SortKeys.N {
			keys = append(keys, string(list.Blob()))
		}
	} else {
		for _, k := range c.sortKeys(m.HashKey) {
			if inRange(k, m.Start, m.Stop, m.StartInclusive, m.StopInclusive) && matches(k, m.FilterType, m.FilterPattern) {
				keys = append(keys, k)
			}
		}
		if n := int(m.MaxCount); n > 0 && len(keys) > n {
			resp.Error = proto.StorageIncomplete
			if m.Reverse {
				keys = keys[len(keys)-n:]
			} else {
				keys = keys[:n]
			}
		}
	}
	for _, k := range keys {
		if r, ok := c.data[prefix(m.HashKey)+k]; ok {
			if m.NoValue {
				r.value = nil
			}
			resp.KVs.AddKeyValue(proto.KeyValue{Key: []byte(k), Value: r.value})
		}
	}
	return resp.AppendResult
}

func inRange(k string, start, stop []byte, startIn, stopIn bool) bool {
	if s := strings.Compare(k, string(start)); s < 0 || s == 0 && !startIn && len(start) > 0 {
		return false
	}
	s := strings.Compare(k, string(stop))
	return len(stop) == 0 || s < 0 || s == 0 && stopIn
}

func matches(k string, t proto.FilterType, pattern []byte) bool {
	switch t {
	case proto.FilterAnywhere:
		return strings.Contains(k, string(pattern))
	case proto.FilterPrefix:
		return strings.HasPrefix(k, string(pattern))
	case proto.FilterPostfix:
		return strings.HasSuffix(k, string(pattern))
	}
	return true
}

func (c *Cluster) sortKeys(hashKey []byte) []string {
	var out []string
	p := prefix(hashKey)
	for k := range c.data {
		if len(k) >= len(p) && k[:len(p)] == p {
			out = append(out, k[len(p):])
		}
	}
	slices.Sort(out)
	return out
}

// check knows the conditions that tests use.
func check(t proto.CheckType, operand []byte, there bool, value []byte) bool {
	switch t {
	case proto.CheckNone:
		return true
	case proto.CheckNotExist:
		return !there
	case proto.CheckExist:
		return there
	case proto.CheckBytesEqual:
		return there && bytes.Equal(value, operand)
	}
	return false
}

// checked fills in what a check found, and returns whether it passed.
func (c *Cluster) checked(resp *proto.CheckResponse, hashKey, sortKey []byte, t proto.CheckType, operand []byte, show bool) bool {
	r, ok := c.data[prefix(hashKey)+string(sortKey)]
	if show {
		resp.ValueReturned, resp.ValueExist, resp.Value = true, ok, r.value
	}
	if !check(t, operand, ok, r.value) {
		resp.Error = proto.StorageTryAgain
		return false
	}
	return true
}

func (c *Cluster) checkAndSet(req *proto.Request) result {
	var m proto.CheckAndSetRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	resp := &proto.CheckResponse{GPID: req.GPID}
	if c.checked(resp, m.HashKey, m.CheckSortKey, m.CheckType, m.CheckOperand, m.ReturnCheckValue) {
		key := m.CheckSortKey
		if m.SetDiffSortKey {
			key = m.SetSortKey
		}
		c.data[prefix(m.HashKey)+string(key)] = cell{slices.Clone(m.SetValue), m.SetExpire}
	}
	return resp.AppendResult
}

func (c *Cluster) checkAndMutate(req *proto.Request) result {
	var m proto.CheckAndMutateRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	resp := &proto.CheckResponse{GPID: req.GPID}
	if c.checked(resp, m.HashKey, m.CheckSortKey, m.CheckType, m.CheckOperand, m.ReturnCheckValue) {
		list := m.Mutations.Reader()
		for range m.Mutations.N {
			u := list.Mutation()
			key := prefix(m.HashKey) + string(u.SortKey)
			if u.Op == proto.MutateDelete {
				delete(c.data, key)
			} else {
				c.data[key] = cell{slices.Clone(u.Value), u.Expire}
			}
		}
	}
	return resp.AppendResult
}
