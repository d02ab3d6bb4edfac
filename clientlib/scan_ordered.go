package clientlib

import (
	"bytes"
	"container/heap"
	"context"
	"iter"

	"pegasus/netcore/proto"
)

// mergedRecords bounds what an ordered scan keeps of all partitions together, in records: twice this, for the next batches
// are on their way while one is consumed.
const mergedRecords = 32 << 10

// GetOrderedScanner returns a scanner of the whole table in the order of its keys: by length of the hash key, then hash key,
// then sort key. It reads all partitions at once and merges them.
func (t *Table) GetOrderedScanner(ctx context.Context, o *ScannerOptions) (Scanner, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.orderedFrom(o.orDefaults(), firstKey, true), nil
}

func (t *Table) orderedFrom(o *ScannerOptions, start []byte, inclusive bool) *orderedScanner {
	s := &orderedScanner{t: t, count: int32(t.Partitions()), last: start, included: inclusive}
	batch := max(min(o.BatchSize, mergedRecords/int(s.count)), 8)
	for part := range s.count {
		p := t.wholePartition(part, start, inclusive, o, batch)
		p.begin()
		s.waiting = append(s.waiting, p)
	}
	return s
}

// orderedScanner merges scans of all partitions. A partition is either in ready, with a batch, or in waiting.
type orderedScanner struct {
	t        *Table
	count    int32
	ready    byFirst
	waiting  []*partScan
	last     []byte // raw key of the last record that was returned, or where the scan begins
	included bool   // last is yet to come, if there is such a record
	checked  bool   // that the table was not split
	closed   bool
}

// byFirst is a heap by the first record of each batch.
type byFirst []*partScan

func (h byFirst) Len() int           { return len(h) }
func (h byFirst) Less(i, j int) bool { return bytes.Compare(h[i].raws[0], h[j].raws[0]) < 0 }
func (h byFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byFirst) Push(x any)        { *h = append(*h, x.(*partScan)) }
func (h *byFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// NextRecord implements Scanner.
func (s *orderedScanner) NextRecord(ctx context.Context) (*Record, error) {
	if s.closed {
		return nil, s.t.refused(proto.CodeScan, ErrScannerClosed)
	}
	for len(s.waiting) > 0 {
		p := s.waiting[len(s.waiting)-1]
		if err := p.fill(ctx); err != nil {
			return nil, err
		}
		s.waiting = s.waiting[:len(s.waiting)-1]
		if len(p.batch) > 0 {
			heap.Push(&s.ready, p)
		}
	}
	if len(s.ready) == 0 {
		if !s.checked {
			if err := s.t.unsplit(ctx, s.count, true); err != nil {
				return nil, err
			}
			s.checked = true
		}
		return nil, nil
	}
	p := s.ready[0]
	r, raw := p.next()
	s.last, s.included = raw, false
	if len(p.batch) > 0 {
		heap.Fix(&s.ready, 0)
	} else {
		heap.Pop(&s.ready)
		if !p.over {
			s.waiting = append(s.waiting, p)
		}
	}
	return &r, nil
}

// Next implements Scanner.
func (s *orderedScanner) Next(ctx context.Context) (completed bool, hashKey, sortKey, value []byte, err error) {
	return plainNext(s.NextRecord(ctx))
}

// All implements Scanner.
func (s *orderedScanner) All(ctx context.Context) iter.Seq2[*Record, error] { return allOf(ctx, s) }

// Close implements Scanner.
func (s *orderedScanner) Close() error {
	if !s.closed {
		for _, p := range append(s.waiting, s.ready...) {
			p.close()
		}
	}
	s.closed, s.waiting, s.ready = true, nil, nil
	return nil
}
