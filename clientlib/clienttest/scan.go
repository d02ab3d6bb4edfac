package clienttest

import (
	"slices"
	"time"

	"pegasus/netcore/proto"
)

// now is the time in seconds since 2016, as expiries count.
func now() int32 { return int32(time.Now().Unix() - 1451606400) }

// scanner is an iterator that a client has open: the keys that it has still to return, as they were when it was opened.
type scanner struct {
	keys []string
	req  proto.GetScannerRequest
}

// LoseScanners makes the servers forget all iterators.
func (c *Cluster) LoseScanners() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.scanners)
}

// Scanners returns how many iterators are open.
func (c *Cluster) Scanners() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.scanners)
}

func (c *Cluster) scan(req *proto.Request) result {
	if req.Code == proto.CodeScan {
		context, err := proto.DecodeScanArgs(req.Args)
		if err != nil {
			return nil
		}
		s := c.scanners[context]
		if s == nil {
			return (&proto.ScanResponse{Error: proto.StorageNotFound, GPID: req.GPID}).AppendResult
		}
		return c.batch(req.GPID, context, s)
	}
	s := &scanner{}
	if s.req.DecodeArgs(slices.Clone(req.Args)) != nil {
		return nil
	}
	r := &s.req
	for k := range c.data {
		if hashOf(k)%uint64(len(c.primary)) != uint64(req.GPID.Part) || !inRange(k, r.Start, r.Stop, r.StartInclusive, r.StopInclusive) {
			continue
		}
		n := 2 + int(k[0])<<8 + int(k[1])
		if matches(k[2:n], r.HashFilterType, r.HashFilter) && matches(k[n:], r.SortFilterType, r.SortFilter) {
			s.keys = append(s.keys, k)
		}
	}
	slices.Sort(s.keys)
	c.lastScanner++
	c.scanners[c.lastScanner] = s
	return c.batch(req.GPID, c.lastScanner, s)
}

func (c *Cluster) batch(g proto.GPID, context int64, s *scanner) result {
	resp := &proto.ScanResponse{GPID: g, Context: context}
	n := min(max(int(s.req.BatchSize), 1), len(s.keys))
	for _, k := range s.keys[:n] {
		r := c.data[k]
		kv := proto.KeyValue{Key: []byte(k), Value: r.value}
		if s.req.NoValue {
			kv.Value = nil
		}
		if s.req.ReturnExpire == proto.BoolTrue {
			kv.Expire, kv.HasExpire = r.expire, true
		}
		resp.KVs.AddKeyValue(kv)
	}
	if s.keys = s.keys[n:]; len(s.keys) == 0 {
		resp.Context = proto.ScanCompleted
		delete(c.scanners, context)
	}
	return resp.AppendResult
}
