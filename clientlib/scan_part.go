package clientlib

import (
	"context"
	"errors"
	"time"

	"pegasus/netcore/proto"
)

// Record is a record as a scanner finds it. Its slices belong to the caller.
type Record struct {
	HashKey, SortKey, Value []byte
	// TTL is the time to live in seconds, NoTTL if the record does not expire. Set when ScannerOptions.ReturnTTL is.
	TTL int
}

// partScan reads one partition, or a range of it, batch by batch; the next batch is asked for while the last is consumed.
// The server keeps an iterator between batches. When that is lost (its server died, it was idle for too long, an answer got
// lost, after which nobody knows where it stands), a new one is opened behind the last record, so that nothing is missed or
// seen twice.
type partScan struct {
	t      *Table
	hash   uint64 // routes the requests
	opt    *ScannerOptions
	full   bool   // of the whole partition
	start  []byte // raw key
	stop   []byte // raw key
	begins bool   // start is included
	ends   bool   // stop is included
	size   int32  // records in a batch

	context int64 // of the server's iterator, noContext when there is none
	asked   *pending
	batch   []Record
	raws    [][]byte // of batch, in step
	over    bool     // nothing comes after batch
}

const noContext = proto.ScanNone

// begin asks for the next batch, if there is one and it has not been asked for.
func (s *partScan) begin() {
	if s.asked != nil || s.over {
		return
	}
	p := newPending(proto.CodeScan)
	p.Hash = s.hash
	if s.context != noContext {
		p.Args = proto.AppendScanArgs(p.Args[:0], s.context)
	} else {
		p.Code = proto.CodeGetScanner
		o := s.opt
		req := proto.GetScannerRequest{
			Start: s.start, Stop: s.stop, StartInclusive: s.begins, StopInclusive: s.ends, BatchSize: s.size, NoValue: o.NoValue,
			HashFilterType: o.HashKeyFilter.Type.wire(), HashFilter: o.HashKeyFilter.Pattern,
			SortFilterType: o.SortKeyFilter.Type.wire(), SortFilter: o.SortKeyFilter.Pattern,
		}
		if o.ReturnTTL {
			req.ReturnExpire = proto.BoolTrue
		}
		if s.full {
			req.FullScan = proto.BoolTrue
		}
		p.Args = req.AppendArgs(p.Args[:0])
	}
	s.asked = p
	s.t.Do(&p.Call)
}

// fill waits for the next batch. It returns without one only at the end or with an error; after an error the scan may go on.
func (s *partScan) fill(ctx context.Context) error {
	for len(s.batch) == 0 && !s.over {
		if err := ctx.Err(); err != nil {
			return &OpError{Op: "SCAN", Table: s.t.name, Partition: -1, Class: ErrRetriable, Cause: err}
		}
		s.begin()
		p := s.asked
		p.wait(ctx, s.t.client)
		s.asked = nil
		err := p.Err
		if err == nil {
			err = s.take(p)
		}
		lost := err != nil && p.Code == proto.CodeScan && ctx.Err() == nil && !errors.Is(err, ErrRefused)
		full := err != nil && p.full()
		if full {
			p.conn.Load().waitRoom(ctx)
		}
		if err != nil {
			s.context = noContext
		}
		p.release()
		if err != nil && !lost && !full {
			return err
		}
	}
	return nil
}

// errIterator is the loss of the server's iterator.
var errIterator = errors.New("the server has forgotten the iterator")

// take reads the answer of p.
func (s *partScan) take(p *pending) error {
	var r proto.ScanResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return p.unreadable(err)
	}
	switch {
	case r.Error == proto.StorageNotFound && p.Code == proto.CodeScan:
		return p.failure(ErrRetriable, errIterator)
	case r.Error != proto.StorageOK:
		return statusError(&p.Call, r.Error)
	}
	list := proto.NewReader(append([]byte(nil), r.KVs.Raw...))
	now := time.Now().Unix() - expireEpoch
	for range r.KVs.N {
		kv := list.KeyValue()
		if list.Err() != nil {
			return p.unreadable(list.Err())
		}
		hashKey, sortKey, err := SplitKey(kv.Key)
		if err != nil {
			return p.unreadable(err)
		}
		rec := Record{HashKey: hashKey, SortKey: sortKey, Value: kv.Value}
		if s.opt.ReturnTTL {
			if rec.TTL = NoTTL; kv.HasExpire && kv.Expire != 0 {
				rec.TTL = int(max(int64(uint32(kv.Expire))-now, 0))
			}
		}
		if c := s.t.client.opt.Compressor; c != nil && !s.opt.NoValue {
			if rec.Value, err = original(c, kv.Value); err != nil {
				return p.unreadable(err)
			}
		}
		s.batch, s.raws = append(s.batch, rec), append(s.raws, kv.Key)
	}
	if n := len(s.raws); n > 0 {
		s.start, s.begins = s.raws[n-1], false
	}
	s.context = r.Context
	if r.Context == proto.ScanCompleted || r.Context == noContext {
		s.context, s.over = noContext, true
	}
	s.begin()
	return nil
}

// next takes a record off the batch, which must not be empty.
func (s *partScan) next() (Record, []byte) {
	r, raw := s.batch[0], s.raws[0]
	s.batch, s.raws = s.batch[1:], s.raws[1:]
	if len(s.batch) == 0 {
		s.batch, s.raws = nil, nil
	}
	return r, raw
}

// close gives the server's iterator back.
func (s *partScan) close() {
	if p := s.asked; p != nil {
		p.cancel(s.t.client, context.Canceled)
		<-p.ended
		s.asked = nil
		if p.Err == nil {
			s.batch, s.raws = nil, nil
			s.over = true // take must not ask for more
			_ = s.take(p)
		}
		p.release()
	}
	if s.context != noContext {
		s.t.post(proto.CodeClearScanner, s.hash, proto.AppendClearScannerArgs(nil, s.context))
		s.context = noContext
	}
	s.over, s.batch, s.raws = true, nil, nil
}

// post sends a request that has no answer, if the server is connected.
func (t *Table) post(code proto.Code, hash uint64, args []byte) {
	r := t.routing.Load()
	if r.m == nil {
		return
	}
	part := r.m.Partition(hash)
	if n := r.nodes[part]; n != nil {
		if cn := n.conn.Load(); cn != nil {
			cn.post(code, proto.GPID{App: r.m.App, Part: part}, hash, args)
		}
	}
}
