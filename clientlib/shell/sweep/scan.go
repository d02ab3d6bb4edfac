// Package sweep reads tables from end to end: the partitions in parallel, each with a scanner of the client. It knows
// filters and counting, and leaves to its callers what becomes of the records.
package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"pegasus/clientlib"
)

// Match says how a pattern is compared.
type Match int

// The ways of comparing. Exact is not known to servers: they are asked for the prefix, the rest is checked here.
const (
	Any Match = iota
	Anywhere
	Prefix
	Postfix
	Exact
)

// Filter keeps what matches; the zero value keeps everything.
type Filter struct {
	Match   Match
	Pattern []byte
}

// Keeps tells whether b passes.
func (f Filter) Keeps(b []byte) bool {
	switch f.Match {
	case Anywhere:
		return bytes.Contains(b, f.Pattern)
	case Prefix:
		return bytes.HasPrefix(b, f.Pattern)
	case Postfix:
		return bytes.HasSuffix(b, f.Pattern)
	case Exact:
		return bytes.Equal(b, f.Pattern)
	}
	return true
}

// Server is the part of the filter that servers can check.
func (f Filter) Server() clientlib.Filter {
	switch f.Match {
	case Anywhere:
		return clientlib.Filter{Type: clientlib.FilterTypeMatchAnywhere, Pattern: f.Pattern}
	case Prefix, Exact:
		return clientlib.Filter{Type: clientlib.FilterTypeMatchPrefix, Pattern: f.Pattern}
	case Postfix:
		return clientlib.Filter{Type: clientlib.FilterTypeMatchPostfix, Pattern: f.Pattern}
	}
	return clientlib.Filter{}
}

// Filters are the conditions on a record; all must hold. Those on keys are checked by the servers.
type Filters struct{ HashKey, SortKey, Value Filter }

// Unfiltered tells whether every record passes.
func (f *Filters) Unfiltered() bool {
	return f.HashKey.Match == Any && f.SortKey.Match == Any && f.Value.Match == Any
}

func (f *Filters) keeps(r *clientlib.Record) bool {
	return f.HashKey.Keeps(r.HashKey) && f.SortKey.Keeps(r.SortKey) && f.Value.Keeps(r.Value)
}

// Request says what is scanned.
type Request struct {
	Filters
	Batch   int // records per exchange, and at most in a callback
	NoValue bool
	WithTTL bool // fill in Record.TTL
}

// Options are the request as the client's scanners take it.
func (r *Request) Options() *clientlib.ScannerOptions {
	o := clientlib.NewScanOptions()
	if r.Batch > 0 {
		o.BatchSize = r.Batch
	}
	o.HashKeyFilter, o.SortKeyFilter = r.HashKey.Server(), r.SortKey.Server()
	o.NoValue, o.ReturnTTL = r.NoValue && r.Value.Match == Any, r.WithTTL
	return o
}

// ErrStop ends a scan early, without an error.
var ErrStop = errors.New("sweep: enough")

// Scan calls f with the records of a scanner that pass the filters, in order, batch by batch, until the end, ErrStop, or
// an error. It closes the scanner. The records belong to f.
func Scan(ctx context.Context, s clientlib.Scanner, r *Request, f func(rows []*clientlib.Record) error) error {
	defer s.Close()
	var rows []*clientlib.Record
	most := r.Options().BatchSize
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		batch := rows
		rows = nil
		return f(batch)
	}
	for {
		rec, err := s.NextRecord(ctx)
		if err == nil && rec != nil {
			if r.keeps(rec) {
				rows = append(rows, rec)
			}
			if len(rows) >= most {
				err = flush()
			}
		}
		if err == nil && rec == nil {
			if err = flush(); err == nil {
				return nil
			}
		}
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Parallel is how many partitions are read at a time when nobody says otherwise.
const Parallel = 8

// Table scans whole partitions, parts or all of them, parallel at a time. f is called with the index of a partition: at
// once for different ones, in order for each. The first error ends all; done is called with each partition that was read
// to its end.
func Table(ctx context.Context, t *clientlib.Table, r Request, parts []int, parallel int,
	f func(part int, rows []*clientlib.Record) error, done func(part int)) error {
	// As many scanners as partitions: the i-th is that of partition i.
	scanners, err := t.GetUnorderedScanners(ctx, t.Partitions(), r.Options())
	if err != nil {
		return err
	}
	return eachPart(ctx, parts, parallel, func(ctx context.Context, p int) error {
		return Scan(ctx, scanners[p], &r, func(rows []*clientlib.Record) error { return f(p, rows) })
	}, done)
}

// All lists the partitions of a table.
func All(t *clientlib.Table) []int {
	parts := make([]int, t.Partitions())
	for i := range parts {
		parts[i] = i
	}
	return parts
}

// eachPart runs one for every partition, parallel at a time, until the first error.
func eachPart(ctx context.Context, parts []int, parallel int, one func(ctx context.Context, part int) error, done func(part int)) error {
	if parallel <= 0 {
		parallel = Parallel
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan int, len(parts))
	for _, p := range parts {
		work <- p
	}
	close(work)
	var wg sync.WaitGroup
	for range min(parallel, len(parts)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for p := range work {
				if ctx.Err() != nil {
					return
				}
				if err := one(ctx, p); err != nil {
					cancel(fmt.Errorf("partition %d: %w", p, err))
					return
				}
				done(p)
			}
		}()
	}
	wg.Wait()
	return context.Cause(ctx)
}
