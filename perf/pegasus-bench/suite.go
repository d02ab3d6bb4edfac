package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pegasus/conf"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// What the suite goes through: depths, loads (shares of the throughput at suiteDepth), value sizes in bytes, numbers of partitions and
// workloads by name.
var (
	suiteDepths     = []int{1, 4, 16, 64, 256}
	suiteLoads      = []float64{0.1, 0.3, 0.5, 0.7, 0.8, 0.9}
	suiteSizes      = []int{16, 128, 1 << 10, 8 << 10, 64 << 10}
	suitePartitions = []int32{8, 64, 1024}
	suiteMixes      = []string{
		"get", "put", "mixed", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f", "multi-get", "multi-put", "scan", "full-scan", "incr", "cas",
		"bulk", "hot-get", "hot-put", "published-0-1", "published-1-3", "published-1-1", "published-3-1", "published-1-0",
	}
)

const (
	suiteDepth = 64
	// suiteSizeBytes is how much the values of one size may come to; large ones have fewer records.
	suiteSizeBytes = 64 << 20
	// Gets on data larger than the block cache: suiteColdValue bytes per value, and a cache of suiteColdCache unless the options say.
	suiteColdValue = 1000
	suiteColdCache = 4 * conf.MiB
)

// suiteRun collects the measurements of a suite.
type suiteRun struct {
	o      *options
	report perf.Suite
	t      stream
}

// runSuite measures everything once and leaves report.json and report.html in a folder.
func runSuite(ctx context.Context, o *options, start starter, stdout io.Writer) error {
	if err := os.MkdirAll(o.suite, 0o755); err != nil {
		return err
	}
	if o.blockCache == 0 {
		o.blockCache = suiteColdCache
	}
	s := &suiteRun{o: o, t: stream{w: stdout}}
	s.report.Title = "pegasus-bench, 3 members, 8 partitions, every write synced by every member"
	s.report.Notes = []string{
		"Client, three replica servers and three metas share the machine. CPU is that of all servers together.",
		fmt.Sprintf("Workload cold-get: %d records of %d bytes, %.0f MB in each server, whose block cache has %v.", o.config.Work.Records, suiteColdValue,
			float64(o.config.Work.Records)*float64(suiteColdValue+o.config.Work.KeySize)/1e6, o.blockCache),
		fmt.Sprintf("An operation of multi-get and multi-put has 10 records, of scan and ycsb-e 1 to 100, of bulk and full-scan %d.", 100),
	}
	if err := s.t.row(anys(perf.Header())...); err != nil {
		return err
	}
	for _, part := range []struct {
		change  func(*onebox.Options)
		measure func(context.Context, *onebox.Cluster) error
	}{{nil, s.warm}, {o.tailStore, s.cold}, {scaleStore, s.partitions}} {
		err := start.with(ctx, part.change, func(cluster *onebox.Cluster) error { return part.measure(ctx, cluster) })
		// Should a later part fail, or somebody interrupt it, what was measured is there.
		if err := errors.Join(err, s.write()); err != nil {
			return err
		}
	}
	return nil
}

// write leaves what was measured so far.
func (s *suiteRun) write() error {
	return errors.Join(writeFile(filepath.Join(s.o.suite, "report.html"), s.report.WriteHTML),
		writeFile(filepath.Join(s.o.suite, "report.json"), s.report.WriteJSON))
}

// one measures a workload, which change alters, and books it as part of a group.
func (s *suiteRun) one(ctx context.Context, c perf.Config, group, preset string, change func(c *perf.Config)) (*perf.Report, error) {
	if err := c.Work.Preset(preset); err != nil {
		return nil, err
	}
	c.Preload, c.Depth = true, suiteDepth
	change(&c)
	r, err := perf.Run(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", group, preset, err)
	}
	return r, s.book(r, group+":"+preset)
}

func (s *suiteRun) book(r *perf.Report, name string) error {
	r.Name = name
	s.report.Reports = append(s.report.Reports, r)
	return s.t.row(anys(r.Row())...)
}

// warm is what is measured on data that the caches hold.
func (s *suiteRun) warm(ctx context.Context, cluster *onebox.Cluster) error {
	base, err := s.o.onThree(ctx, cluster)
	if err != nil {
		return err
	}
	for _, preset := range []string{"get", "put"} {
		peak := 0.0
		for i, depth := range suiteDepths {
			r, err := s.one(ctx, base, perf.GroupDepth, preset, func(c *perf.Config) { c.Depth, c.Preload = depth, i == 0 })
			if err != nil {
				return err
			}
			if depth == suiteDepth {
				peak = r.PerSec
			}
		}
		for _, share := range suiteLoads {
			if _, err := s.one(ctx, base, perf.GroupRate, preset, func(c *perf.Config) {
				c.Rate, c.Depth, c.Preload = share*peak, 4*suiteDepth, false
			}); err != nil {
				return err
			}
		}
	}
	for _, size := range suiteSizes {
		for i, preset := range []string{"get", "put", "mixed"} {
			if _, err := s.one(ctx, base, perf.GroupSize, preset, func(c *perf.Config) {
				c.Work.ValueSize, c.Work.Records, c.Preload = size, max(1, min(c.Work.Records, uint64(suiteSizeBytes/size))), i == 0
			}); err != nil {
				return err
			}
		}
	}
	for _, preset := range suiteMixes {
		if _, err := s.one(ctx, base, perf.GroupMix, preset, func(*perf.Config) {}); err != nil {
			return err
		}
	}
	return nil
}

// cold is what is measured on data that no cache of the servers holds.
func (s *suiteRun) cold(ctx context.Context, cluster *onebox.Cluster) error {
	c, err := s.o.onThree(ctx, cluster)
	if err != nil {
		return err
	}
	c.Work.Mix, c.Work.ValueSize, c.Preload, c.Depth = perf.Mix{perf.Get: 1}, suiteColdValue, true, suiteDepth
	r, err := perf.Run(ctx, c)
	if err != nil {
		return err
	}
	return s.book(r, perf.GroupMix+":cold-get")
}

// partitions compares tables of rising numbers of partitions.
func (s *suiteRun) partitions(ctx context.Context, cluster *onebox.Cluster) error {
	o := *s.o
	o.config.Depth = suiteDepth
	return measureScale(ctx, &o, cluster, suitePartitions, func(r *perf.Report, kind perf.Kind) error {
		return s.book(r, perf.GroupPartitions+":"+kind.String())
	})
}

// onThree waits until the table of three members is whole and returns the load of the options, aimed at it and measuring the cluster.
func (o *options) onThree(ctx context.Context, cluster *onebox.Cluster) (perf.Config, error) {
	c := o.config
	if err := whole(ctx, cluster, "three", 3); err != nil {
		return c, err
	}
	processes, err := perf.ProcessesOf(cluster.Dir)
	c.Metas, c.Table, c.Processes = cluster.Metas(), "three", processes
	return c, err
}

func anys(list []string) (out []any) {
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
