// Command pegasus-bench puts load on a table of a running cluster and prints what came out.
//
//	pegasus-bench --metas 127.0.0.1:34601 --table temp --conns 1 --depth 64 --read 1.0 --value-size 100 --preload
//
// Scenarios start a cluster of their own from the daemons beside the program, and print a table:
//
//	pegasus-bench --groups              puts at several depths, to groups of one and of three
//	pegasus-bench --learn --size 1024   a node loses its disks; what clients notice while it learns everything again
//	pegasus-bench --limit               what gets and sets cost, beside what their parts cost in C and C++
//	pegasus-bench --suite DIR           every workload, rising depths and rates, with a report as HTML and JSON
//	pegasus-bench --scans               what a full scan does to gets beside it, and how much of that is its client's doing
//	pegasus-bench --tails               how late the latest gets are beside flushes and compactions
//	pegasus-bench --scale 8,1024        what more partitions cost
//	pegasus-bench --peak                gets, puts and incrs with many in flight, with one and with two loops per server
//
// and the gate compares two builds: pegasus-bench --gate-base BIN --gate-head BIN (see .ci/perf).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"pegasus/perf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "pegasus-bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stdout, stderr)
	if err != nil {
		return err
	}
	if o.gateBase != "" {
		return runGate(ctx, o, stdout, stderr)
	}
	if o.fullScan {
		return scanForDuration(ctx, o, stdout)
	}
	if o.burn.perSecond > 0 {
		o.burn.run(ctx, o.config.Duration)
		return nil
	}
	if o.scenario() {
		return scenario(ctx, o, stdout, stderr)
	}
	var reports []*perf.Report
	for i := range o.repeat {
		r, err := perf.Run(ctx, o.config)
		if err != nil {
			return err
		}
		o.config.Preload = false
		reports = append(reports, r)
		if o.repeat > 1 {
			_, _ = fmt.Fprintf(stderr, "run %d: %.0f ops/s, servers %.2f us/op\n", i+1, r.PerSec, r.ServerUSPerOp)
		}
	}
	if o.profile != "" {
		if err := perf.ProfileTexts(ctx, o.profile); err != nil {
			return err
		}
	}
	r := perf.Median(reports)
	write := r.WriteText
	if o.json {
		write = r.WriteJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	if r.Ops == 0 {
		return errNothing
	}
	return nil
}

// errNothing fails a measurement that measured nothing but failures.
var errNothing = errors.New("no operation succeeded")
