package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pegasus/conf"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// The scenario of tails asks how late the latest gets are on a server that is well used and works in the background: an open
// load of gets at a share of what a closed one reaches, beside puts whose memtables are flushed and whose files are compacted
// all the time. Memtables are small, so that this happens within seconds. With a block cache that is smaller than the data
// most gets go through the read lane besides.
//
// Client and machine have tails of their own: last, the same open load is put on a server in C that only echoes, with nothing beside
// it. What it shows there is not the servers'.

const (
	tailShare    = 0.7 // of saturation
	tailRounds   = 5
	tailDepth    = 8
	tailMemtable = "1MiB"
	tailCache    = 256 * conf.MiB // unless the options say
)

// tailPuts is the rate of the puts, operations per second; with values of 1,000 bytes each replica of eight partitions flushes a
// memtable of tailMemtable every four seconds.
var tailPuts = 2000.0

// runTails measures and prints every round, then the median of the ratios.
func runTails(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	c, err := o.onThree(ctx, cluster)
	if err != nil {
		return err
	}
	c.Preload, c.Rate = true, 0
	c.Work.Mix = perf.Mix{perf.Get: 1}
	puts := c
	puts.Preload, puts.Warmup, puts.Rate, puts.Ops, puts.Duration, puts.Processes = false, 0, tailPuts, 0, 0, nil
	puts.Work.Mix, puts.Depth = perf.Mix{perf.Put: 1}, min(tailDepth*c.Depth, perf.MaxDepth)
	c.During = func(beside context.Context) error {
		p := puts
		p.Until = beside.Done()
		r, err := perf.Run(ctx, p)
		if err == nil && r.Failed > r.Ops/10 { // some were due and not started at the end
			err = fmt.Errorf("puts beside gets failed: %v", r.Errors)
		}
		return err
	}
	_, _ = fmt.Fprintf(stdout, "%d records of %d bytes, %.0f MB in each server, block cache %v\n", c.Work.Records, c.Work.ValueSize,
		float64(c.Work.Records)*float64(c.Work.ValueSize+c.Work.KeySize)/1e6, o.blockCache)
	peak, err := perf.Run(ctx, c)
	if err != nil {
		return err
	}
	t := newTable(stdout)
	t.row("gets", "ops/s", "p50 us", "p99 us", "p99.9 us", "max us", "p99.9/p50", "processors %", "others %", "flushes", "compactions", "GC %", "storage %", "failed")
	// An open load needs more lanes than a closed one of the same throughput: it does not wait when a server does.
	c.Preload, c.Rate, c.Depth = false, tailShare*peak.PerSec, min(tailDepth*c.Depth, perf.MaxDepth)
	t.row("closed", fmt.Sprintf("%.0f", peak.PerSec), us(peak.All.P50), us(peak.All.P99), us(peak.All.P999), us(peak.All.Max))
	var ratios []float64
	for range tailRounds {
		before, err := backgroundWork(cluster.Dir)
		if err != nil {
			return err
		}
		m := startMeter()
		r, err := perf.Run(ctx, c)
		if err != nil {
			return err
		}
		ours, others := m.shares(r)
		after, err := backgroundWork(cluster.Dir)
		if err != nil {
			return err
		}
		ratio := float64(r.All.P999) / float64(max(1, r.All.P50))
		ratios = append(ratios, ratio)
		t.row("open", fmt.Sprintf("%.0f", r.PerSec), us(r.All.P50), us(r.All.P99), us(r.All.P999), us(r.All.Max), fmt.Sprintf("%.1f", ratio),
			fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f", others), after.flushes-before.flushes, after.compactions-before.compactions, fmt.Sprintf("%.1f", 100*r.GCShare),
			fmt.Sprintf("%.1f", 100*coldShare(r)), r.Failed)
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "p99.9 is %.1f times p50, the median of %d rounds\n", perf.MedianOf(ratios), tailRounds)
	return errors.Join(err, tailFloor(ctx, c, stdout))
}

// coldShare is the share of the gets that no cache of the servers answered.
func coldShare(r *perf.Report) float64 {
	var cold uint64
	for i := range r.Processes {
		cold += r.Processes[i].Counters["cold_reads"]
	}
	return float64(cold) / float64(max(1, r.Ops))
}

// tailFloor measures the load of c on an echo server, over as many connections in all as gets have to three servers.
func tailFloor(ctx context.Context, c perf.Config, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "pegasus-floor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c.During, c.Conns = nil, 3*c.Conns
	r, err := perf.EchoLoad(ctx, dir, c)
	if errors.Is(err, exec.ErrNotFound) {
		_, err = fmt.Fprintln(stdout, "without gcc it is not known what client and machine alone would come to")
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "an echo server alone, at the same rate: p50 %s us, p99 %s, p99.9 %s, which is %.1f times p50\n",
		us(r.All.P50), us(r.All.P99), us(r.All.P999), float64(r.All.P999)/float64(max(1, r.All.P50)))
	return err
}

// storeWork counts what stores did in the background since they were opened.
type storeWork struct{ flushes, compactions int }

// backgroundWork reads the logs that RocksDB leaves beside the data of each replica below dir.
func backgroundWork(dir string) (w storeWork, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went meanwhile
		case err != nil:
			return err
		case e.IsDir() || e.Name() != "LOG" && !strings.HasPrefix(e.Name(), "LOG.old."):
			return nil
		}
		text, err := os.ReadFile(path)
		w.flushes += bytes.Count(text, []byte(`"event": "flush_finished"`))
		w.compactions += bytes.Count(text, []byte(`"event": "compaction_finished"`))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return w, err
}
