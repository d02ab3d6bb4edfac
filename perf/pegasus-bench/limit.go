package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"pegasus/conf/onebox"
	"pegasus/perf"
)

// limitRounds is how often server and floor are measured in turn; medians are printed.
const limitRounds = 3

// runLimit compares what gets and replicated sets cost the servers with what their parts cost in C and C++ in the same run.
func runLimit(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	const members, partitions = 3, 8
	processes, err := perf.ProcessesOf(cluster.Dir)
	if err != nil {
		return err
	}
	if err := whole(ctx, cluster, "three", members); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pegasus-floor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	base := o.config
	base.Metas, base.Table, base.Processes = cluster.Metas(), "three", processes
	base.Work.Mix = perf.Mix{perf.Get: 1}
	inFlight := base.Conns * base.Depth
	floor := perf.FloorOptions{
		Dir: dir, CXXFlags: strings.Fields(o.floorCXX), LDFlags: strings.Fields(o.floorLD), Conns: base.Conns, Depth: base.Depth,
		Duration: base.Duration, Work: base.Work, Partitions: partitions, Batch: max(1, inFlight/partitions), CacheMiB: 64,
	}
	var gets, sets, getLimits, setLimits []float64
	for round := range limitRounds {
		f, err := perf.MeasureFloor(ctx, floor)
		if err != nil {
			return err
		}
		get := base
		get.Preload = round == 0
		g, err := perf.Run(ctx, get)
		if err != nil {
			return err
		}
		set := base
		set.Work.Mix = perf.Mix{perf.Put: 1}
		s, err := perf.Run(ctx, set)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "round %d: get %.2f us of servers, floor %.2f (echo %.2f, RocksDB %.2f); set %.2f, floor %.2f (3 x echo %.2f, 3 x RocksDB %.2f, %.3f syncs x %.1f)\n",
			round+1, g.ServerUSPerOp, f.GetLimit(), f.GetEcho, f.Get, s.ServerUSPerOp, f.SetLimit(members, s.SyncsPerOp), f.SetEcho, f.Put, s.SyncsPerOp, f.Log)
		gets, sets = append(gets, g.ServerUSPerOp), append(sets, s.ServerUSPerOp)
		getLimits, setLimits = append(getLimits, f.GetLimit()), append(setLimits, f.SetLimit(members, s.SyncsPerOp))
	}
	t := newTable(stdout)
	t.row("op", "servers us/op", "floor us/op", "ratio")
	for _, r := range []struct {
		name          string
		server, floor []float64
	}{{"get", gets, getLimits}, {"set", sets, setLimits}} {
		server, floor := median(r.server), median(r.floor)
		t.row(r.name, fmt.Sprintf("%.2f", server), fmt.Sprintf("%.2f", floor), fmt.Sprintf("%.2f", server/floor))
	}
	return t.w.Flush()
}

// median of at least one number; of an even count, the lower of the two in the middle.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)/2]
}
