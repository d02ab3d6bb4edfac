package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"pegasus/conf"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// scenario runs one of the scenarios, on clusters of its own, which are gone afterwards.
func scenario(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	s := starter{o: o, stderr: stderr}
	on := func(change func(*onebox.Options), run func(context.Context, *options, *onebox.Cluster, io.Writer) error) error {
		return s.with(ctx, change, func(c *onebox.Cluster) error { return run(ctx, o, c, stdout) })
	}
	switch {
	case o.suite != "":
		return runSuite(ctx, o, s, stdout)
	case o.peak:
		return runPeak(ctx, o, s, stdout)
	case o.learn:
		return on(nil, runLearn)
	case o.limit:
		return on(nil, runLimit)
	case o.scans:
		return on(nil, runScans)
	case o.tails:
		if o.blockCache == 0 {
			o.blockCache = tailCache
		}
		return on(o.tailStore, runTails)
	case len(o.scale) > 0:
		return on(scaleStore, runScale)
	}
	return on(func(c *onebox.Options) {
		c.Tables = append(c.Tables, onebox.Table{Name: "one", Partitions: 8, Replicas: 1})
	}, runGroups)
}

// starter makes the clusters of scenarios.
type starter struct {
	o      *options
	stderr io.Writer
}

// with runs f on a cluster with the table "three", of three members and eight partitions. change, unless nil, alters how it is made.
func (s starter) with(ctx context.Context, change func(*onebox.Options), f func(*onebox.Cluster) error) error {
	bin := s.o.bin
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		bin = filepath.Dir(self)
	}
	dir, err := os.MkdirTemp("", "pegasus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	options := onebox.Options{
		Dir: dir, Bin: bin, FreePorts: true, DieWithParent: true, Debug: true, Shards: s.o.shards, Progress: s.stderr,
		Tables: []onebox.Table{{Name: "three", Partitions: 8, Replicas: 3}},
		// The defaults of a server that has a disk to itself are larger than what a test machine may have left.
		ReplicaExtra: "[limits]\nmin_free_disk = \"64MiB\"\n" + s.o.replicaExtra,
	}
	if change != nil {
		change(&options)
	}
	cluster, err := onebox.Up(ctx, options)
	if err != nil {
		return err
	}
	defer cluster.Release()
	return errors.Join(f(cluster), cluster.Stop())
}

// tailStore makes memtables small and caches as the options say; the row cache is a quarter of the block cache, as by default.
func (o *options) tailStore(c *onebox.Options) {
	c.ReplicaExtra += fmt.Sprintf("\n[store]\nwrite_buffer = %q\nwrite_buffer_total = \"128MiB\"\nmax_background_jobs = 2\n", tailMemtable) +
		caches(o.blockCache)
}

// caches is the part of [store] that makes a block cache of so many bytes, and a row cache of a quarter of it, as by default.
func caches(block conf.Size) string {
	return fmt.Sprintf("block_cache = \"%v\"\nrow_cache = \"%v\"\n", block, block/4)
}

// scaleStore has room for many partitions. With the memtables of a small machine 1,024 partitions are near the limit of their total,
// and puts make one flush in 200; those of eight partitions make none.
func scaleStore(c *onebox.Options) {
	c.ReplicaExtra += "\n[store]\nwrite_buffer = \"16MiB\"\nwrite_buffer_total = \"1GiB\"\nblock_cache = \"256MiB\"\nmax_background_jobs = 2\n"
}

// table writes aligned columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
}

func (t table) row(cells ...any) {
	for _, c := range cells {
		_, _ = fmt.Fprintf(t.w, "%v\t", c) // Flush has the error
	}
	_, _ = fmt.Fprintln(t.w)
}

// stream writes rows as they come, in columns as wide as their heads, the first as wide as names are.
type stream struct {
	w      io.Writer
	widths []int
}

const streamName, streamCell = 22, 6 // letters at least

func (s *stream) row(cells ...any) error {
	var line strings.Builder
	for i, c := range cells {
		text := fmt.Sprint(c)
		if len(s.widths) == i {
			s.widths = append(s.widths, max(len(text), streamCell))
			if i == 0 {
				s.widths[0] = max(len(text), streamName)
			}
		}
		fmt.Fprintf(&line, "%*s  ", s.widths[i], text)
	}
	_, err := fmt.Fprintln(s.w, strings.TrimRight(line.String(), " "))
	return err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

// runGroups measures what a put costs the servers, in groups of one and of three.
func runGroups(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	processes, err := perf.ProcessesOf(cluster.Dir)
	if err != nil {
		return err
	}
	t := newTable(stdout)
	t.row("members", "depth", "puts/s", "servers us/put", "client us/put", "p50 ms", "p99 ms", "max ms", "failed")
	for _, group := range []struct {
		table   string
		members int
	}{{"one", 1}, {"three", 3}} {
		if err := whole(ctx, cluster, group.table, group.members); err != nil {
			return err
		}
		for _, depth := range []int{1, 16, 64, 256} {
			c := o.config
			c.Metas, c.Table, c.Depth, c.Processes = cluster.Metas(), group.table, depth, processes
			c.Work.ReadShare = 0
			r, err := perf.Run(ctx, c)
			if err != nil {
				return err
			}
			t.row(group.members, depth, fmt.Sprintf("%.0f", r.PerSec), fmt.Sprintf("%.1f", r.ServerUSPerOp),
				fmt.Sprintf("%.1f", r.Client.USPerOp), ms(r.Writes.P50), ms(r.Writes.P99), ms(r.Writes.Max), r.Failed)
		}
	}
	return t.w.Flush()
}

// whole waits until every partition of a table has all its members.
func whole(ctx context.Context, cluster *onebox.Cluster, table string, members int) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	return client.WaitHealthy(ctx, table, members)
}

// learnTimeout bounds the copy of a node's data.
const learnTimeout = 30 * time.Minute

// runLearn fills a table, takes one node's disks away and measures what clients notice while it learns everything again.
func runLearn(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	const name, victim = "three", "replica3"
	if err := whole(ctx, cluster, name, 3); err != nil {
		return err
	}
	base := o.config
	base.Metas, base.Table = cluster.Metas(), name
	base.Work.Records = max(1, uint64(o.size)/uint64(max(1, base.Work.ValueSize)))
	base.Work.ReadShare = 0.5

	fill := base
	fill.Preload, fill.Ops, fill.Duration, fill.Warmup, fill.Depth = true, 1, 0, 0, 64
	if _, err := perf.Run(ctx, fill); err != nil {
		return err
	}
	t := newTable(stdout)
	t.row("phase", "seconds", "ops/s", "get p50 ms", "get p99 ms", "put p50 ms", "put p99 ms", "failed")
	measure := func(phase string, until <-chan struct{}) error {
		c := base
		c.Preload = false
		if until != nil {
			c.Ops, c.Duration, c.Warmup, c.Until = 0, 0, 0, until
		}
		r, err := perf.Run(ctx, c)
		if err == nil {
			t.row(phase, fmt.Sprintf("%.1f", r.Elapsed.Seconds()), fmt.Sprintf("%.0f", r.PerSec),
				ms(r.Reads.P50), ms(r.Reads.P99), ms(r.Writes.P50), ms(r.Writes.P99), r.Failed)
		}
		return err
	}
	if err := measure("before", nil); err != nil {
		return err
	}
	node, err := cluster.Node(victim)
	if err != nil {
		return err
	}
	if err := errors.Join(cluster.Kill(victim), cluster.WipeData(victim)); err != nil {
		return err
	}
	if err := measure("without the node", nil); err != nil {
		return err
	}
	if err := cluster.Start(victim); err != nil {
		return err
	}
	var took time.Duration
	var failure error
	learned := make(chan struct{})
	go func() {
		defer close(learned)
		begin := time.Now()
		failure = whole(ctx, cluster, name, 3)
		took = time.Since(begin)
	}()
	if err := errors.Join(measure("while it learns", learned), wait(learned), failure); err != nil {
		return err
	}
	copied, err := bytesIn(filepath.Join(node.Dir, "data", "reps"))
	if err != nil {
		return err
	}
	if err := measure("after", nil); err != nil {
		return err
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	mb := float64(copied) / 1e6
	_, err = fmt.Fprintf(stdout, "learned %.0f MB in %.1f s: %.1f MB/s\n", mb, took.Seconds(), mb/took.Seconds())
	return err
}

func wait(c <-chan struct{}) error {
	<-c
	return nil
}

// bytesIn sums the files below dir. Files that go meanwhile do not count.
func bytesIn(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}
