package clienttest

import (
	"encoding/binary"
	"slices"
	"strconv"

	"pegasus/netcore/proto"
)

// serve executes a data request on the map. It returns how to write the result, nil for what it does not serve.
// REQUIRES: the cluster's lock is held.
func (c *Cluster) serve(req *proto.Request) func([]byte) []byte {
	g := req.GPID
	switch req.Code {
	case proto.CodeGet, proto.CodeTTL, proto.CodeRemove:
		key, err := proto.DecodeBlobArg(req.Args)
		if err != nil {
			return nil
		}
		value, ok := c.data[string(key)]
		status := proto.StorageOK
		if !ok {
			status = proto.StorageNotFound
		}
		switch req.Code {
		case proto.CodeGet:
			return (&proto.ReadResponse{Error: status, Value: value, GPID: g}).AppendResult
		case proto.CodeTTL:
			return (&proto.TTLResponse{Error: status, Seconds: -1, GPID: g}).AppendResult
		}
		delete(c.data, string(key))
		return (&proto.UpdateResponse{GPID: g}).AppendResult
	case proto.CodePut:
		var put proto.PutRequest
		if put.DecodeArgs(req.Args) != nil {
			return nil
		}
		c.data[string(put.Key)] = slices.Clone(put.Value)
		return (&proto.UpdateResponse{GPID: g}).AppendResult
	case proto.CodeIncr:
		return c.incr(req)
	case proto.CodeMultiGet, proto.CodeMultiPut, proto.CodeMultiRemove, proto.CodeSortkeyCount:
		return c.multi(req)
	}
	return nil
}

func (c *Cluster) incr(req *proto.Request) func([]byte) []byte {
	var m proto.IncrRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	resp := &proto.IncrResponse{GPID: req.GPID}
	old := int64(0)
	if v, ok := c.data[string(m.Key)]; ok {
		var err error
		if old, err = strconv.ParseInt(string(v), 10, 64); err != nil {
			resp.Error = proto.StorageInvalidArgument
			return resp.AppendResult
		}
	}
	resp.NewValue = old + m.Increment
	c.data[string(m.Key)] = strconv.AppendInt(nil, resp.NewValue, 10)
	return resp.AppendResult
}

// prefix is the encoded beginning of all keys of a hash key.
func prefix(hashKey []byte) string {
	return string(append(binary.BigEndian.AppendUint16(nil, uint16(len(hashKey))), hashKey...))
}

func (c *Cluster) multi(req *proto.Request) func([]byte) []byte {
	switch req.Code {
	case proto.CodeMultiPut:
		var m proto.MultiPutRequest
		if m.DecodeArgs(req.Args) != nil {
			return nil
		}
		list := m.KVs.Reader()
		for range m.KVs.N {
			kv := list.KeyValue()
			c.data[prefix(m.HashKey)+string(kv.Key)] = slices.Clone(kv.Value)
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
	case proto.CodeSortkeyCount:
		key, err := proto.DecodeBlobArg(req.Args)
		if err != nil {
			return nil
		}
		return (&proto.CountResponse{Count: int64(len(c.sortKeys(key))), GPID: req.GPID}).AppendResult
	}
	var m proto.MultiGetRequest
	if m.DecodeArgs(req.Args) != nil {
		return nil
	}
	keys := c.sortKeys(m.HashKey)
	if m.SortKeys.N > 0 {
		keys = nil
		list := m.SortKeys.Reader()
		for range m.SortKeys.N {
			keys = append(keys, string(list.Blob()))
		}
	}
	resp := &proto.MultiGetResponse{GPID: req.GPID}
	for _, k := range keys {
		if v, ok := c.data[prefix(m.HashKey)+k]; ok {
			resp.KVs.AddKeyValue(proto.KeyValue{Key: []byte(k), Value: v})
		}
	}
	return resp.AppendResult
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
