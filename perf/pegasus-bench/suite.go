package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// suiteDepths, suiteLoads (shares of the throughput at suiteDepth) and suiteMixes are what the suite goes through.
var (
	suiteDepths = []int{1, 4, 16, 64, 256}
	suiteLoads  = []float64{0.1, 0.3, 0.5, 0.7, 0.8, 0.9}
	suiteMixes  = []string{
		"get", "put", "mixed", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f", "multi-get", "multi-put", "scan", "incr", "cas",
		"bulk", "hot-get", "hot-put", "published-0-1", "published-1-3", "published-1-1", "published-3-1", "published-1-0",
	}
)

const suiteDepth = 64

// runSuite measures everything once and leaves report.json and report.html in a folder.
func runSuite(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	if err := os.MkdirAll(o.suite, 0o755); err != nil {
		return err
	}
	base, err := o.onThree(ctx, cluster)
	if err != nil {
		return err
	}
	suite := perf.Suite{Title: "pegasus-bench, 3 members, 8 partitions, every write synced by every member"}
	t := newTable(stdout)
	t.row(anys(perf.Header())...)
	run := func(name, preset string, change func(c *perf.Config)) (*perf.Report, error) {
		c := base
		if err := c.Work.Preset(preset); err != nil {
			return nil, err
		}
		c.Preload = true
		change(&c)
		r, err := perf.Run(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.Name = name
		suite.Reports = append(suite.Reports, r)
		t.row(anys(r.Row())...)
		return r, t.w.Flush()
	}
	for _, preset := range []string{"get", "put"} {
		peak := 0.0
		for i, depth := range suiteDepths {
			r, err := run(perf.GroupDepth+":"+preset, preset, func(c *perf.Config) { c.Depth, c.Preload = depth, i == 0 })
			if err != nil {
				return err
			}
			if depth == suiteDepth {
				peak = r.PerSec
			}
		}
		for _, share := range suiteLoads {
			if _, err := run(perf.GroupRate+":"+preset, preset, func(c *perf.Config) {
				c.Rate, c.Depth, c.Preload = share*peak, 4*suiteDepth, false
			}); err != nil {
				return err
			}
		}
	}
	for _, preset := range suiteMixes {
		if _, err := run(perf.GroupMix+":"+preset, preset, func(c *perf.Config) { c.Depth = suiteDepth }); err != nil {
			return err
		}
	}
	return errors.Join(writeFile(filepath.Join(o.suite, "report.html"), suite.WriteHTML), writeFile(filepath.Join(o.suite, "report.json"), suite.WriteJSON))
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

// create makes a table with three members per partition.
func create(ctx context.Context, client *clientlib.Client, name string, partitions int32) error {
	_, err := client.CreateTable(ctx, clientlib.TableSpec{Name: name, Partitions: partitions, Replicas: 3})
	return err
}

// runScale measures gets and puts on tables of rising numbers of partitions.
func runScale(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	processes, err := perf.ProcessesOf(cluster.Dir)
	if err != nil {
		return err
	}
	t := newTable(stdout)
	t.row("partitions", "op", "ops/s", "servers us/op", "p50 us", "p99 us", "rss MB")
	for _, text := range strings.Split(o.scale, ",") {
		var n int32
		if _, err := fmt.Sscan(text, &n); err != nil || n < 1 || n > 1<<14 {
			return fmt.Errorf("%q partitions: want 1 to %d", text, 1<<14)
		}
		name := fmt.Sprintf("scale%d", n)
		if err := create(ctx, client, name, n); err != nil {
			return err
		}
		if err := whole(ctx, cluster, name, 3); err != nil {
			return err
		}
		for i, kind := range []perf.Kind{perf.Get, perf.Put} {
			c := o.config
			c.Metas, c.Table, c.Processes, c.Preload = cluster.Metas(), name, processes, i == 0
			c.Work.Mix = perf.Mix{kind: 1}
			r, err := perf.Run(ctx, c)
			if err != nil {
				return err
			}
			t.row(n, kind, fmt.Sprintf("%.0f", r.PerSec), fmt.Sprintf("%.2f", r.ServerUSPerOp), fmt.Sprintf("%.0f", float64(r.All.P50)/1e3),
				fmt.Sprintf("%.0f", float64(r.All.P99)/1e3), fmt.Sprintf("%.0f", float64(r.RSS)/1e6))
			if err := t.w.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
