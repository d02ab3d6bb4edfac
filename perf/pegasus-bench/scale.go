package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// maxScale is the largest number of partitions of the scale scenario.
const maxScale = 1 << 14

// scaleKinds are the operations that it measures.
var scaleKinds = []perf.Kind{perf.Get, perf.Put}

// parseScale reads numbers of partitions, by commas.
func parseScale(text string) (out []int32, err error) {
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil || n < 1 || n > maxScale {
			return nil, fmt.Errorf("%q partitions: want numbers from 1 to %d, by commas", word, maxScale)
		}
		out = append(out, int32(n))
	}
	return out, nil
}

// runScale prints gets and puts on tables of the numbers of partitions asked for, and what the last costs more than the first.
func runScale(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	t := stream{w: stdout}
	if err := t.row("partitions", "op", "ops/s", "servers us/op", "p50 us", "p99 us", "rss MB"); err != nil {
		return err
	}
	cost := map[perf.Kind][]float64{}
	err := measureScale(ctx, o, cluster, o.scale, func(r *perf.Report, kind perf.Kind) error {
		cost[kind] = append(cost[kind], r.ServerUSPerOp)
		return t.row(r.Partitions, kind, fmt.Sprintf("%.0f", r.PerSec), fmt.Sprintf("%.2f", r.ServerUSPerOp), us(r.All.P50), us(r.All.P99),
			fmt.Sprintf("%.0f", float64(r.RSS)/1e6))
	})
	if err != nil {
		return err
	}
	if last := len(o.scale) - 1; last > 0 {
		for _, kind := range scaleKinds {
			_, err = fmt.Fprintf(stdout, "server CPU per %v at %d partitions against %d: %+.0f %%\n", kind, o.scale[last], o.scale[0],
				100*(cost[kind][last]/cost[kind][0]-1))
		}
	}
	return err
}

// measureScale measures gets and puts on a new table for each number of partitions.
func measureScale(ctx context.Context, o *options, cluster *onebox.Cluster, counts []int32, done func(*perf.Report, perf.Kind) error) error {
	client, err := cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	processes, err := perf.ProcessesOf(cluster.Dir)
	if err != nil {
		return err
	}
	for _, n := range counts {
		name := fmt.Sprintf("scale%d", n)
		if _, err := client.CreateTable(ctx, clientlib.TableSpec{Name: name, Partitions: n, Replicas: 3}); err != nil {
			return err
		}
		if err := whole(ctx, cluster, name, 3); err != nil {
			return err
		}
		for i, kind := range scaleKinds {
			c := o.config
			c.Metas, c.Table, c.Processes, c.Preload = cluster.Metas(), name, processes, i == 0
			c.Work.Mix = perf.Mix{kind: 1}
			r, err := perf.Run(ctx, c)
			if err != nil {
				return err
			}
			if r.Ops == 0 {
				return errors.Join(errNothing, fmt.Errorf("%v", r.Errors))
			}
			r.Partitions = int(n)
			if err := done(r, kind); err != nil {
				return err
			}
		}
	}
	return nil
}
