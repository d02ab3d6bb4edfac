package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pegasus/perf"
)

// system is what is measured: a cluster, or the floor.
type system struct {
	name    string
	driver  *driver
	watched []perf.Process
}

// startFloor starts the C programs; stop ends them.
func startFloor(ctx context.Context, c *perf.Config) (s system, stop func(), err error) {
	dir, err := os.MkdirTemp("", "pegasus-floor-")
	if err != nil {
		return s, nil, err
	}
	group, err := perf.StartFloorGroup(ctx, perf.FloorGroupOptions{Dir: dir, ValueSize: c.Work.ValueSize})
	if err != nil {
		_ = os.RemoveAll(dir)
		return s, nil, err
	}
	stop = func() {
		_ = group.Close() // its figures are there
		_ = os.RemoveAll(dir)
	}
	return system{"floor", &driver{"floor", group.Metas(), c.Table}, group.Processes()}, stop, nil
}

// row is an operation by a number of callers.
type row struct {
	kind    perf.Kind
	callers int
}

func parseRows(ops, callers string) (out []row, err error) {
	for _, op := range strings.Split(ops, ",") {
		var r row
		if err := r.kind.UnmarshalText([]byte(op)); err != nil {
			return nil, err
		}
		for _, text := range strings.Split(callers, ",") {
			if r.callers, err = strconv.Atoi(text); err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// figures are the measurements of all rows and systems, system by system within a row: what is compared is measured side by side.
type figures struct {
	base    perf.Config
	systems []system
	rows    []row
	rounds  int
	reports [][][]*perf.Report // by row, by system, by round
}

func (f *figures) measure(ctx context.Context, asJSON bool, stdout, stderr io.Writer) error {
	if !asJSON {
		_, err := fmt.Fprintf(stdout, "%-8s%4s%9s%9s%15s%9s%9s%14s%9s%9s%10s%10s%8s\n", "",
			"op", "callers", "ops/s", "servers us/op", "user", "sys", "client us/op", "p50 us", "p99 us", "p99.9 us", "syncs/op", "failed")
		if err != nil {
			return err
		}
	}
	f.reports = make([][][]*perf.Report, len(f.rows))
	for i := range f.rows {
		f.reports[i] = make([][]*perf.Report, len(f.systems))
	}
	for range f.rounds {
		for i, row := range f.rows {
			for j, s := range f.systems {
				r, err := f.one(ctx, row, s)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				f.reports[i][j] = append(f.reports[i][j], r)
				if err := show(r, row, s, asJSON, stdout, stderr); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (f *figures) one(ctx context.Context, row row, s system) (*perf.Report, error) {
	c := f.base
	c.Driver, c.Processes, c.Depth = s.driver, s.watched, row.callers
	c.Work.Mix = perf.Mix{row.kind: 1}
	return perf.Run(ctx, c)
}

func show(r *perf.Report, row row, s system, asJSON bool, stdout, stderr io.Writer) error {
	for text, n := range r.Errors {
		if _, err := fmt.Fprintf(stderr, "%s, %d times: %s\n", s.name, n, text); err != nil {
			return err
		}
	}
	if asJSON {
		r.Name = s.name
		return json.NewEncoder(stdout).Encode(r)
	}
	_, err := fmt.Fprintf(stdout, "%-8s%4v%9d%9.0f%15.1f%9.1f%9.1f%14.1f%9.0f%9.0f%10.0f%10.3f%8d\n", s.name, row.kind, row.callers, r.PerSec,
		r.ServerUSPerOp, r.ServerUserUS, r.ServerSysUS, r.Client.USPerOp, us(r.All.P50), us(r.All.P99), us(r.All.P999), r.SyncsPerOp, r.Failed)
	return err
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// writeMedians prints the medians of several rounds, and with two systems the medians of the ratios of each round.
func (f *figures) writeMedians(stdout io.Writer) error {
	if f.rounds == 1 && len(f.systems) == 1 {
		return nil
	}
	columns := []struct {
		name, format string
		of           func(r *perf.Report) float64
		compared     bool
	}{
		{"servers us/op", "%.1f", func(r *perf.Report) float64 { return r.ServerUSPerOp }, true},
		{"p50 us", "%.0f", func(r *perf.Report) float64 { return us(r.All.P50) }, true},
		{"syncs/op", "%.3f", func(r *perf.Report) float64 { return r.SyncsPerOp }, false},
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	cell := func(format string, v any) { _, _ = fmt.Fprintf(t, format+"\t", v) } // Flush has the error
	cell("%s", "op")
	cell("%s", "callers")
	for _, c := range columns {
		for _, s := range f.systems {
			cell("%s", s.name+" "+c.name)
		}
		if c.compared && len(f.systems) == 2 {
			cell("%s", "ratio")
		}
	}
	for i, row := range f.rows {
		_, _ = fmt.Fprintln(t)
		cell("%v", row.kind)
		cell("%d", row.callers)
		for _, c := range columns {
			values := make([][]float64, len(f.systems))
			for j := range f.systems {
				for _, r := range f.reports[i][j] {
					values[j] = append(values[j], c.of(r))
				}
				cell(c.format, perf.MedianOf(values[j]))
			}
			if c.compared && len(f.systems) == 2 {
				var ratios []float64
				for k := range f.rounds {
					ratios = append(ratios, values[0][k]/values[1][k])
				}
				cell("%.2f", perf.MedianOf(ratios))
			}
		}
	}
	_, _ = fmt.Fprintf(t, "\n")
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "medians of %d rounds\n", f.rounds)
	return err
}
