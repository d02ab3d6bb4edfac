package main

import (
	"context"
	"fmt"
	"io"

	"pegasus/conf/onebox"
	"pegasus/perf"
)

// The scenario of peaks asks how much gets, puts and incrs a cluster does when many are in flight, what an incr costs beside a put,
// which has no need to read first, and what a second event loop per server brings. A cluster for each number of loops serves all the
// time, and all are measured in turn: ratios are those of one round.

// peakLoops are event loops per server.
var peakLoops = []int{1, 2}

var peakKinds = []perf.Kind{perf.Get, perf.Put, perf.Incr}

const peakRounds = 5

// runPeak starts the clusters, one within the other, and measures when all serve.
func runPeak(ctx context.Context, o *options, start starter, stdout io.Writer) error {
	var clusters []*onebox.Cluster
	var next func() error
	next = func() error {
		if len(clusters) == len(peakLoops) {
			return measurePeak(ctx, o, clusters, stdout)
		}
		loops := peakLoops[len(clusters)]
		return start.with(ctx, func(c *onebox.Options) { c.Shards = loops }, func(cluster *onebox.Cluster) error {
			clusters = append(clusters, cluster)
			return next()
		})
	}
	return next()
}

func measurePeak(ctx context.Context, o *options, clusters []*onebox.Cluster, stdout io.Writer) error {
	runs := make([]map[perf.Kind][]*perf.Report, len(clusters))
	for round := range peakRounds {
		for i, cluster := range clusters {
			c, err := o.onThree(ctx, cluster)
			if err != nil {
				return err
			}
			if runs[i] == nil {
				runs[i] = map[perf.Kind][]*perf.Report{}
			}
			for k, kind := range peakKinds {
				c.Work.Mix, c.Preload = perf.Mix{kind: 1}, round == 0 && k == 0
				r, err := perf.Run(ctx, c)
				if err != nil {
					return err
				}
				if r.Ops == 0 {
					return fmt.Errorf("%v: %w: %v", kind, errNothing, r.Errors)
				}
				runs[i][kind] = append(runs[i][kind], r)
			}
		}
	}
	_, _ = fmt.Fprintf(stdout, "%d connections x depth %d, medians of %d rounds\n", o.config.Conns, o.config.Depth, peakRounds)
	t := newTable(stdout)
	t.row("loops per server", "op", "ops/s", "servers us/op", "p50 us", "p99 us", "servers' processors", "client's processors", "failed")
	for i := range clusters {
		for _, kind := range peakKinds {
			r := perf.Median(runs[i][kind])
			busy := func(usPerOp float64) string { return fmt.Sprintf("%.2f", usPerOp*r.PerSec/1e6) }
			t.row(peakLoops[i], kind, fmt.Sprintf("%.0f", r.PerSec), fmt.Sprintf("%.2f", r.ServerUSPerOp), us(r.All.P50), us(r.All.P99),
				busy(r.ServerUSPerOp), busy(r.Client.USPerOp), r.Failed)
		}
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	throughput := func(r *perf.Report) float64 { return r.PerSec }
	for i := range clusters {
		_, _ = fmt.Fprintf(stdout, "%d loops: a put comes to %.2f times the throughput of an incr, an incr to %.2f times the server CPU of a put\n", peakLoops[i],
			ratio(runs[i][perf.Put], runs[i][perf.Incr], throughput),
			ratio(runs[i][perf.Incr], runs[i][perf.Put], func(r *perf.Report) float64 { return r.ServerUSPerOp }))
	}
	last := len(clusters) - 1
	for _, kind := range peakKinds {
		_, _ = fmt.Fprintf(stdout, "%v: %d loops come to %.2f times the throughput of %d\n", kind, peakLoops[last],
			ratio(runs[last][kind], runs[0][kind], throughput), peakLoops[0])
	}
	return nil
}

// ratio is the median of a figure of one list through that of the other, round by round.
func ratio(a, b []*perf.Report, of func(*perf.Report) float64) float64 {
	var list []float64
	for i := range a {
		list = append(list, of(a[i])/of(b[i]))
	}
	return perf.MedianOf(list)
}
