package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pegasus/clientlib"
)

// Config describes one measurement.
type Config struct {
	Metas []string
	Table string
	// Conns is the number of connections to every server, Depth the number of requests in flight on all connections of
	// one client, that is, one per server.
	Conns int
	Depth int
	Work  Workload
	// Preload writes every record once before anything is measured.
	Preload bool
	Warmup  time.Duration
	// Duration bounds the measured phase by time, Ops by operations, Until by being closed. Exactly one of them is set.
	Duration time.Duration
	Ops      int64
	Until    <-chan struct{}
	// Processes are watched for the time that they use.
	Processes []Process
	Seed      uint64
	// Progress gets a line per phase.
	Progress io.Writer
}

const (
	maxConns = 1024
	maxDepth = 1 << 15
)

// Validate says what is wrong with the configuration, or nil.
func (c *Config) Validate() error {
	switch {
	case c.Conns < 1 || c.Conns > maxConns:
		return fmt.Errorf("%d connections: want 1 to %d", c.Conns, maxConns)
	case c.Depth < 1 || c.Depth > maxDepth:
		return fmt.Errorf("depth %d: want 1 to %d", c.Depth, maxDepth)
	case c.Ops < 0 || c.Duration < 0 || c.bounds() != 1:
		return errors.New("want either a duration or a number of operations")
	}
	return c.Work.Validate()
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

// Run measures once.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	src := newSource(&c.Work, c.Seed)
	var wg sync.WaitGroup
	var lanes []*lane
	var meters []*meter
	var servers []string
	for i := range c.Conns {
		client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas, Pipeline: max(c.Depth, 64)})
		if err != nil {
			return nil, err
		}
		defer client.Close()
		table, err := client.Open(ctx, c.Table)
		if err != nil {
			return nil, fmt.Errorf("opening table %s: %w", c.Table, err)
		}
		if i == 0 {
			if servers, err = primaries(ctx, client, c.Table); err != nil {
				return nil, err
			}
		}
		m := newMeter()
		meters = append(meters, m)
		for j := range c.Depth {
			lanes = append(lanes, newLane(table, src, m, c.Seed+uint64(i*c.Depth+j), wg.Done))
		}
	}
	report := &Report{
		Started: time.Now().UTC().Truncate(time.Second), Table: c.Table, Conns: c.Conns, Depth: c.Depth, Work: c.Work,
		Machine: thisMachine(), Servers: profiles(ctx, servers),
	}
	if c.Preload {
		_, _ = fmt.Fprintf(c.Progress, "writing %d records\n", c.Work.Records)
		src.load = true
		if err := phase(ctx, lanes, &wg, src, 0, nil); err != nil {
			return nil, err
		}
		src.load = false
		if errs := allErrors(meters); len(errs) > 0 {
			return nil, fmt.Errorf("writing the records: %v", errs)
		}
	}
	if c.Warmup > 0 {
		_, _ = fmt.Fprintf(c.Progress, "warming up for %v\n", c.Warmup)
		if err := phase(ctx, lanes, &wg, src, c.Warmup, nil); err != nil {
			return nil, err
		}
	}
	for _, m := range meters {
		m.reset()
	}
	src.limited = c.Ops > 0
	src.left.Store(c.Ops)
	_, _ = fmt.Fprintln(c.Progress, "measuring")
	if err := report.measure(c.Processes, func() error { return phase(ctx, lanes, &wg, src, c.Duration, c.Until) }); err != nil {
		return nil, err
	}
	report.gather(meters)
	return report, nil
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
		r.Processes = append(r.Processes, ProcessReport{Name: p.Name, PID: p.PID, CPU: end[i].Sub(servers[i])})
	}
	return nil
}

// gather merges what the connections measured.
func (r *Report) gather(meters []*meter) {
	reads := hdrhistogram.New(lowest, highest, digits)
	writes := hdrhistogram.New(lowest, highest, digits)
	for _, m := range meters {
		m.mu.Lock()
		reads.Merge(m.reads)
		writes.Merge(m.writes)
		r.Misses += m.misses
		m.mu.Unlock()
	}
	r.Errors = allErrors(meters)
	for _, n := range r.Errors {
		r.Failed += n
	}
	r.Reads, r.Writes = latencies(reads), latencies(writes)
	r.Ops = r.Reads.Count + r.Writes.Count
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

// primaries returns the addresses of the servers that a table is on.
func primaries(ctx context.Context, client *clientlib.Client, table string) ([]string, error) {
	cfg, err := client.QueryConfig(ctx, table)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range cfg.Partitions {
		if a := cfg.Partitions[i].Primary; a.IsValid() {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// profiles asks every server what it is: build and configuration profile belong to any number that is quoted.
func profiles(ctx context.Context, servers []string) []Server {
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	var out []Server
	for _, address := range servers {
		out = append(out, Server{Address: address, Version: version(ctx, &client, address)})
	}
	return out
}

// maxVersion bounds what is kept of a server's answer, in bytes.
const maxVersion = 1024

func version(ctx context.Context, client *http.Client, address string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/version", nil)
	if err != nil {
		return "unknown: " + err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return "unknown: " + err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxVersion))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "unknown: " + resp.Status
	}
	return strings.TrimSpace(string(text))
}
