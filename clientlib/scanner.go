package clientlib

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"

	"pegasus/netcore/proto"
)

// ScannerOptions are the options of scanners. nil means those of NewScanOptions.
type ScannerOptions struct {
	BatchSize      int // records that are asked for at once; servers have a limit of their own
	StartInclusive bool
	StopInclusive  bool
	HashKeyFilter  Filter
	SortKeyFilter  Filter
	NoValue        bool // leave the values out
	ReturnTTL      bool // fill in Record.TTL
}

// NewScanOptions returns the defaults, those of the official client.
func NewScanOptions() *ScannerOptions { return &ScannerOptions{BatchSize: 1000, StartInclusive: true} }

// Scanner goes through records. It is for one goroutine at a time.
type Scanner interface {
	// Next returns the next record, or completed. After an error, also that of ctx, it may be called again and goes on
	// where it was.
	Next(ctx context.Context) (completed bool, hashKey, sortKey, value []byte, err error)
	// NextRecord is Next with everything that is known of the record; nil is the end.
	NextRecord(ctx context.Context) (*Record, error)
	// All goes through the rest. It stops after the first error.
	All(ctx context.Context) iter.Seq2[*Record, error]
	// Token says where the scanner is, behind the last record that it returned, for Table.ResumeScanner. It is good for
	// days and for other processes.
	Token() []byte
	// Close gives up what the servers keep for it. It is always nil.
	Close() error
}

// ErrPartitionsChanged is returned by scanners of a whole table when the number of its partitions has changed since they
// began, for records have moved between partitions. It is of class ErrRetriable: begin anew.
var ErrPartitionsChanged = errors.New("the table was split during the scan")

// ErrScannerClosed is returned by a scanner after Close.
var ErrScannerClosed = errors.New("scanner is closed")

// ErrToken is returned for a token that no scanner of this table has made.
var ErrToken = errors.New("bad scanner token")

// The range of a whole partition. Raw keys of two bytes and more lie in it; a hash key of 65535 bytes does not exist.
var (
	firstKey = []byte{0x00, 0x00}
	lastKey  = []byte{0xff, 0xff}
)

// orDefaults copies the options, since the scanner outlives the call.
func (o *ScannerOptions) orDefaults() *ScannerOptions {
	if o == nil {
		return NewScanOptions()
	}
	own := *o
	own.HashKeyFilter.Pattern = bytes.Clone(o.HashKeyFilter.Pattern)
	own.SortKeyFilter.Pattern = bytes.Clone(o.SortKeyFilter.Pattern)
	if own.BatchSize <= 0 {
		own.BatchSize = 1000
	}
	return &own
}

// GetScanner returns a scanner of the records of a hash key from one sort key to another, in ascending order. An empty stop
// means the end of the hash key.
func (t *Table) GetScanner(_ context.Context, hashKey, startSortKey, stopSortKey []byte, o *ScannerOptions) (Scanner, error) {
	if len(hashKey) == 0 || len(hashKey) > maxHashKey {
		return nil, t.refused(proto.CodeGetScanner, ErrKey)
	}
	o = o.orDefaults()
	start, _ := RawKey(nil, hashKey, startSortKey)
	s := &scanner{t: t, opt: o, kind: scanHashKey}
	s.cur = &partScan{
		t: t, hash: proto.KeyHash(hashKey), opt: o, start: start, begins: o.StartInclusive || len(startSortKey) == 0,
		ends: o.StopInclusive, size: int32(o.BatchSize),
	}
	if len(stopSortKey) > 0 {
		s.cur.stop, _ = RawKey(nil, hashKey, stopSortKey)
	} else {
		raw, _ := RawKey(nil, hashKey, nil)
		s.cur.stop, s.cur.ends = successor(raw), false
	}
	s.first, s.startIncluded = s.cur.start, s.cur.begins
	if bytes.Compare(s.cur.start, s.cur.stop) > 0 {
		s.cur.over = true
	}
	s.cur.begin()
	return s, nil
}

// successor is the first key behind all that begin with prefix (spec rrdb 3).
func successor(prefix []byte) []byte {
	next := bytes.TrimRight(prefix, "\xff")
	next = slices.Clone(next)
	if len(next) > 0 {
		next[len(next)-1]++
	}
	return next
}

// GetUnorderedScanners returns at most maxSplitCount scanners that together go through the whole table, in no order. They
// may be used concurrently, one goroutine each.
func (t *Table) GetUnorderedScanners(ctx context.Context, maxSplitCount int, o *ScannerOptions) ([]Scanner, error) {
	if maxSplitCount <= 0 {
		return nil, t.refused(proto.CodeGetScanner, ErrArgument)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := t.routing.Load().m
	count := len(m.Entries)
	out := make([]Scanner, 0, min(count, maxSplitCount))
	for i := range min(count, maxSplitCount) {
		s := &scanner{t: t, opt: o.orDefaults(), kind: scanUnordered, app: m.App, count: int32(count)}
		for part := i; part < count; part += min(count, maxSplitCount) {
			s.rest = append(s.rest, int32(part))
		}
		out = append(out, s)
	}
	return out, nil
}

// The kinds of scanners, as in tokens.
const (
	scanHashKey byte = iota
	scanUnordered
	scanOrdered
)

// scanner is a Scanner of one hash key or of some partitions, one after the other.
type scanner struct {
	t      *Table
	opt    *ScannerOptions
	kind   byte
	app    int32 // of the table, not of a hash key
	count  int32 // partitions of the table
	rest   []int32
	part   int32 // that cur reads
	cur    *partScan
	first  []byte // where cur began
	last   []byte // raw key of the last record of cur that was returned, nil for none
	closed bool

	startIncluded bool // first is
}

// NextRecord implements Scanner.
func (s *scanner) NextRecord(ctx context.Context) (*Record, error) {
	if s.closed {
		return nil, s.t.refused(proto.CodeScan, ErrScannerClosed)
	}
	for {
		if s.cur == nil {
			if len(s.rest) == 0 {
				return nil, nil
			}
			s.open(s.rest[0], firstKey, true)
			s.rest = s.rest[1:]
		}
		if err := s.cur.fill(ctx); err != nil {
			return nil, err
		}
		if len(s.cur.batch) > 0 {
			r, raw := s.cur.next()
			s.last = raw
			return &r, nil
		}
		if s.kind == scanHashKey {
			return nil, nil
		}
		// A partition that was split meanwhile has handed records to its child, and nobody else would notice.
		if err := s.t.unsplit(ctx, s.count, len(s.rest) == 0); err != nil {
			return nil, err
		}
		s.cur, s.last = nil, nil
	}
}

// open begins with a partition.
func (s *scanner) open(part int32, start []byte, inclusive bool) {
	s.part, s.first, s.startIncluded = part, start, inclusive
	s.cur = s.t.wholePartition(part, start, inclusive, s.opt, s.opt.BatchSize)
	s.cur.begin()
}

func (t *Table) wholePartition(part int32, start []byte, inclusive bool, o *ScannerOptions, batch int) *partScan {
	return &partScan{t: t, hash: uint64(part), opt: o, full: true, start: start, begins: inclusive, stop: lastKey, size: int32(batch)}
}

// unsplit fails when the table has another number of partitions than it had; at the end of a scan it asks meta.
func (t *Table) unsplit(ctx context.Context, count int32, atEnd bool) error {
	if atEnd {
		ctx, cancel := t.client.bounded(ctx)
		defer cancel()
		if err := t.ask(ctx); err != nil {
			return &OpError{Op: "SCAN", Table: t.name, Partition: -1, Class: ErrRetriable, Cause: err}
		}
	}
	if t.Partitions() != int(count) {
		return &OpError{Op: "SCAN", Table: t.name, Partition: -1, Class: ErrRetriable, Cause: ErrPartitionsChanged}
	}
	return nil
}

// Next implements Scanner.
func (s *scanner) Next(ctx context.Context) (completed bool, hashKey, sortKey, value []byte, err error) {
	return plainNext(s.NextRecord(ctx))
}

func plainNext(r *Record, err error) (bool, []byte, []byte, []byte, error) {
	if r == nil {
		return err == nil, nil, nil, nil, err
	}
	return false, r.HashKey, r.SortKey, r.Value, nil
}

// All implements Scanner.
func (s *scanner) All(ctx context.Context) iter.Seq2[*Record, error] { return allOf(ctx, s) }

func allOf(ctx context.Context, s Scanner) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			r, err := s.NextRecord(ctx)
			if err == nil && r == nil || !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Close implements Scanner.
func (s *scanner) Close() error {
	if !s.closed && s.cur != nil {
		s.cur.close()
	}
	s.closed = true
	return nil
}
