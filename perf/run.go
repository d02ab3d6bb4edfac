package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Config describes one measurement.
type Config struct {
	// Driver of the store; nil: Pegasus with Metas and Table.
	Driver Driver
	Metas  []string
	Table  string
	// Conns is the number of connections to every server, Depth the number of operations in flight on all connections of
	// one client, that is, one per server.
	Conns int
	Depth int
	Work  Workload
	// Preload writes every record once before anything is measured, with at least fillDepth in flight: a load of one at a time
	// should not have to wait for that.
	Preload bool
	Warmup  time.Duration
	// Rate, if not 0, makes the load an open one of so many operations per second; else it is closed.
	// An open load raises GOMAXPROCS of the process to at least 8, for good; see startOpen.
	Rate float64
	// Duration bounds the measured phase by time, Ops by operations, Until by being closed. Exactly one of them is set.
	Duration time.Duration
	Ops      int64
	Until    <-chan struct{}
	// Processes are watched for what they use.
	Processes []Process
	// During runs beside the measured phase; Run waits for its end. Its error fails the run.
	During func(ctx context.Context) error
	Seed   uint64
	// Progress gets a line per phase.
	Progress io.Writer
}

const (
	maxConns = 1024
	// MaxDepth is the largest Config.Depth.
	MaxDepth = 1 << 15
	// fillDepth is how many records at least each client has in flight while it writes them before a measurement.
	fillDepth = 64
	maxRate   = 1e8
)

// Validate says what is wrong with the configuration, or nil.
func (c *Config) Validate() error {
	switch {
	case c.Conns < 1 || c.Conns > maxConns:
		return fmt.Errorf("%d connections: want 1 to %d", c.Conns, maxConns)
	case c.Depth < 1 || c.Depth > MaxDepth:
		return fmt.Errorf("depth %d: want 1 to %d", c.Depth, MaxDepth)
	case c.Ops < 0 || c.Duration < 0 || c.bounds() != 1:
		return errors.New("want either a duration or a number of operations")
	case !(c.Rate >= 0 && c.Rate <= maxRate):
		return fmt.Errorf("rate %v: want 0 to %v", c.Rate, float64(maxRate))
	}
	if err := c.Work.Validate(); err != nil {
		return err
	}
	if c.Driver == nil {
		return nil
	}
	last := 0.0
	for k, share := range c.Work.shares() {
		if share > last && !(Kind(k) == Modify || c.Driver.Supports(Kind(k))) {
			return fmt.Errorf("%s has no operation %v", c.Driver.Name(), Kind(k))
		}
		last = share
	}
	return nil
}

// bounds is how many ends of the measured phase are named.
func (c *Config) bounds() (n int) {
	for _, set := range []bool{c.Ops != 0, c.Duration != 0, c.Until != nil} {
		if set {
			n++
		}
	}
	return n
}

// bench is a measurement under way.
type bench struct {
	config *Config
	src    *source
	conns  []Conn
	lanes  []*lane // those of a connection together
	meters []*meter
	wg     sync.WaitGroup
}

// Run measures once.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if c.Driver == nil {
		c.Driver = &Pegasus{Metas: c.Metas, Table: c.Table}
	}
	if c.Preload {
		if err := fill(ctx, c); err != nil {
			return nil, err
		}
	}
	b, err := dial(ctx, &c)
	if err != nil {
		return nil, err
	}
	defer b.close()
	report := &Report{
		Started: time.Now().UTC().Truncate(time.Second), Store: c.Driver.Name(), Table: c.Table, Conns: c.Conns, Depth: c.Depth,
		Rate: c.Rate, Work: c.Work, Machine: thisMachine(), Servers: c.Driver.Servers(ctx),
	}
	if err := b.warmUp(ctx); err != nil {
		return nil, err
	}
	b.src.limited = c.Ops > 0
	b.src.left.Store(c.Ops)
	_, _ = fmt.Fprintln(c.Progress, "measuring")
	if err := report.measure(c.Processes, func() error { return b.measured(ctx) }); err != nil {
		return nil, err
	}
	report.gather(b.meters)
	return report, nil
}

// dial makes the connections of a measurement and their lanes.
func dial(ctx context.Context, c *Config) (*bench, error) {
	b := &bench{config: c, src: newSource(&c.Work, c.Seed)}
	for i := range c.Conns {
		conn, err := c.Driver.Dial(ctx, c.Depth)
		if err != nil {
			b.close()
			return nil, err
		}
		b.conns = append(b.conns, conn)
		m := newMeter(&c.Work)
		b.meters = append(b.meters, m)
		for j := range c.Depth {
			b.lanes = append(b.lanes, newLane(conn.Slot(), b.src, m, c.Seed+uint64(i*c.Depth+j), b.wg.Done))
		}
	}
	return b, nil
}

func (b *bench) close() {
	for _, c := range b.conns {
		c.Close()
	}
}

// fill writes every record, over connections of its own.
func fill(ctx context.Context, c Config) error {
	_, _ = fmt.Fprintf(c.Progress, "writing %d records\n", c.Work.Records)
	c.Depth = max(c.Depth, fillDepth)
	b, err := dial(ctx, &c)
	if err != nil {
		return err
	}
	defer b.close()
	b.src.load = true
	if err := b.phase(ctx, 0, 0, nil); err != nil {
		return err
	}
	if errs := allErrors(b.meters); len(errs) > 0 {
		return fmt.Errorf("writing the records: %v", errs)
	}
	return nil
}

// warmUp puts load on the store that is not measured, if the configuration wants it.
func (b *bench) warmUp(ctx context.Context) error {
	c := b.config
	if c.Warmup > 0 {
		_, _ = fmt.Fprintf(c.Progress, "warming up for %v\n", c.Warmup)
		if err := b.phase(ctx, c.Rate, c.Warmup, nil); err != nil {
			return err
		}
	}
	for _, m := range b.meters {
		m.reset()
	}
	return nil
}

// measured is the phase that counts, with what runs beside it.
func (b *bench) measured(ctx context.Context) error {
	c := b.config
	if c.During == nil {
		return b.phase(ctx, c.Rate, c.Duration, c.Until)
	}
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- c.During(beside) }()
	err := b.phase(ctx, c.Rate, c.Duration, c.Until)
	cancel()
	if other := <-failed; err == nil && !errors.Is(other, context.Canceled) {
		err = other
	}
	return err
}

// measure runs f between two readings of every clock and counter.
func (r *Report) measure(ps []Process, f func() error) error {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	servers, err := sample(ps)
	if err != nil {
		return err
	}
	self := ownCPU()
	begin := time.Now()
	if err := f(); err != nil {
		return err
	}
	r.Elapsed = time.Since(begin)
	r.Client.CPU = ownCPU().Sub(self)
	end, err := sample(ps)
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	r.Client.Allocs = after.Mallocs - before.Mallocs
	r.Client.AllocBytes = after.TotalAlloc - before.TotalAlloc
	for i, p := range ps {
		r.Processes = append(r.Processes, processReport(p, servers[i], end[i]))
	}
	return nil
}

// gather merges what the connections measured.
func (r *Report) gather(meters []*meter) {
	var hists [kinds]*hdrhistogram.Histogram
	reads := hdrhistogram.New(lowest, highest, digits)
	writes := hdrhistogram.New(lowest, highest, digits)
	for _, m := range meters {
		m.mu.Lock()
		for k, h := range m.hists {
			if h == nil {
				continue
			}
			if hists[k] == nil {
				hists[k] = hdrhistogram.New(lowest, highest, digits)
			}
			hists[k].Merge(h)
		}
		r.Misses += m.misses
		r.UserBytes += m.bytes
		m.mu.Unlock()
	}
	r.Errors = allErrors(meters)
	for _, n := range r.Errors {
		r.Failed += n
	}
	for k, h := range hists {
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		r.Kinds = append(r.Kinds, KindReport{Kind: Kind(k), Latencies: latencies(h)})
		if Kind(k).read() {
			reads.Merge(h)
		} else {
			writes.Merge(h)
		}
	}
	r.Reads, r.Writes = latencies(reads), latencies(writes)
	r.Ops = r.Reads.Count + r.Writes.Count
	reads.Merge(writes)
	r.All = latencies(reads)
	r.derive()
}

func allErrors(meters []*meter) map[string]int64 {
	out := map[string]int64{}
	for _, m := range meters {
		m.mu.Lock()
		for text, n := range m.errs {
			out[text] += n
		}
		m.mu.Unlock()
	}
	return out
}

func ownCPU() CPU {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return CPU{}
	}
	return CPU{User: time.Duration(u.Utime.Nano()), Sys: time.Duration(u.Stime.Nano())}
}
