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
	"strconv"
	"strings"
	"syscall"
	"time"

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

// options are the parsed command line.
type options struct {
	config perf.Config
	json   bool
	repeat int

	profile            string // folder for profiles
	gateBase, gateHead string // folders of the programs of two builds
	gateRuns           int
	gateRecords        uint64

	suite string // folder for the report of the suite
	scale string // numbers of partitions of the scale scenario

	fullScan bool   // of the table, nothing else
	burn     bursts // of processor time, nothing else

	groups, learn, limit, scans, tails bool

	blockCache        string // of the tails scenario
	shards            int
	floorCXX, floorLD string // flags of the compiler and linker that find RocksDB for the floor
	bin               string // folder of the daemons
	replicaExtra      string // configuration of the replica servers
	size              int64  // bytes of values that the learn scenario fills in
}

func parse(args []string, stderr io.Writer) (*options, error) {
	var o options
	c := &o.config
	var metas, pids, dir, dist, preset, store, address string
	f := flag.NewFlagSet("pegasus-bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&metas, "metas", "127.0.0.1:34601,127.0.0.1:34602,127.0.0.1:34603", "addresses of the meta servers, by commas")
	f.StringVar(&c.Table, "table", "temp", "table to use")
	f.IntVar(&c.Conns, "conns", 1, "connections to every server")
	f.IntVar(&c.Depth, "depth", 64, "requests in flight per connection set")
	f.Uint64Var(&c.Work.Records, "records", 100000, "number of records")
	f.IntVar(&c.Work.KeySize, "key-size", 16, "bytes of a key")
	f.IntVar(&c.Work.ValueSize, "value-size", 100, "bytes of a value")
	f.Float64Var(&c.Work.ReadShare, "read", 1, "share of reads, 0 to 1; the rest are writes")
	f.StringVar(&dist, "distribution", "", "which records: uniform, zipfian, latest, hot or sequential (default uniform, or the workload's)")
	f.StringVar(&preset, "workload", "", "a named workload in place of --read: "+strings.Join(perf.PresetNames(), ", "))
	f.IntVar(&c.Work.SortKeys, "sort-keys", 1, "records per hash key")
	f.IntVar(&c.Work.Batch, "batch", 1, "records of a multi_get, multi_put or scan")
	f.Float64Var(&c.Rate, "rate", 0, "an open load of so many operations per second, latency counted from when each was due; 0: a closed load")
	f.StringVar(&store, "store", "pegasus", "what is driven: pegasus, redis or etcd")
	f.StringVar(&address, "address", "", "address of the redis or etcd server")
	f.BoolVar(&c.Preload, "preload", false, "write every record once before measuring")
	f.DurationVar(&c.Warmup, "warmup", 2*time.Second, "load that is not measured; 0 for none")
	f.DurationVar(&c.Duration, "duration", 0, "measure for so long (default 10s, unless --ops is given)")
	f.Int64Var(&c.Ops, "ops", 0, "measure so many operations")
	f.Uint64Var(&c.Seed, "seed", 1, "seed of keys and values")
	f.StringVar(&pids, "pids", "", "server processes whose CPU time is reported, by commas")
	f.StringVar(&dir, "onebox-dir", "", "folder of a onebox whose processes are reported")
	f.IntVar(&o.repeat, "repeat", 1, "measure so often and report the median by throughput")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.profile, "profile", "", "folder that takes CPU, allocation, block and wall (off-CPU) profiles of every daemon with a debug port")
	f.BoolVar(&o.groups, "groups", false, "scenario: puts at depths 1, 16, 64, 256 to groups of one and of three")
	f.BoolVar(&o.learn, "learn", false, "scenario: a node is wiped and learns again under load")
	f.BoolVar(&o.limit, "limit", false, "scenario: what gets and sets cost, beside what their parts cost in C and C++ (needs gcc and g++)")
	f.StringVar(&o.floorCXX, "floor-cxxflags", "", "flags that find the headers of RocksDB for --limit")
	f.StringVar(&o.floorLD, "floor-ldflags", "", "flags that link RocksDB for --limit (default -lrocksdb)")
	f.StringVar(&o.gateBase, "gate-base", "", "gate: folder of the programs of the base, compared with those of --gate-head")
	f.StringVar(&o.gateHead, "gate-head", "", "gate: folder of the programs that must not be slower")
	f.IntVar(&o.gateRuns, "gate-runs", 7, "gate: runs of each load on each side, at least 7")
	f.StringVar(&o.suite, "suite", "", "scenario: every workload, rising depths and rates; report.html and report.json go to this folder")
	f.StringVar(&o.scale, "scale", "", "scenario: gets and puts on tables with these numbers of partitions, by commas, such as 8,64,1024")
	f.BoolVar(&o.scans, "scans", false, "scenario: gets at --rate (default: one that leaves half of the processors free), alone and beside full scans of the table")
	f.BoolVar(&o.tails, "tails", false, "scenario: gets at 70 % of what is possible, beside puts that make stores flush and compact; best with --value-size 1000")
	f.StringVar(&o.blockCache, "block-cache", "256MiB", "block cache of each server of --tails; smaller than the data makes most gets touch storage")
	f.BoolVar(&o.fullScan, "full-scan", false, "read the whole table again and again for --duration and print JSON of how much that was")
	f.Var(&o.burn, "burn", "use processor time for --duration: BURSTS per second of so many MICROSECONDS, as BURSTSxMICROSECONDS")
	f.IntVar(&o.shards, "shards", 1, "event loops per server of the scenarios' cluster")
	f.StringVar(&o.bin, "bin", "", "folder of the daemons that scenarios start; default: that of this program")
	f.StringVar(&o.replicaExtra, "replica-extra", "", "TOML text that is added to the configuration of the scenarios' replica servers")
	f.Func("size", "MiB of values that --learn fills in (default 1024)", func(text string) error {
		n, err := strconv.ParseInt(text, 10, 32)
		o.size = n << 20
		if err == nil && n < 1 {
			err = errors.New("want at least 1")
		}
		return err
	})
	err := f.Parse(args)
	if err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.repeat < 1 || o.repeat > 1000 {
		return nil, fmt.Errorf("repeat %d: want 1 to 1000", o.repeat)
	}
	c.Metas = strings.Split(metas, ",")
	c.Work.Distribution = perf.Uniform
	if preset != "" {
		if err := c.Work.Preset(preset); err != nil {
			return nil, err
		}
	}
	if dist != "" {
		c.Work.Distribution = perf.Distribution(dist)
	}
	if c.Driver, err = driver(store, address); err != nil {
		return nil, err
	}
	if c.Ops == 0 && c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	c.Progress = stderr
	o.gateRecords = gateRecords
	if err := o.checkGate(); err != nil {
		return nil, err
	}
	if o.scenarios() > 1 {
		return nil, errors.New("only one scenario at a time")
	}
	if o.size == 0 {
		o.size = 1 << 30
	}
	if c.Processes, err = processes(pids, dir); err != nil {
		return nil, err
	}
	if o.profile != "" {
		c.During = func(ctx context.Context) error {
			return perf.Profile(ctx, c.Processes, c.Duration-time.Second, o.profile)
		}
	}
	return &o, c.Validate()
}

// scenarios is how many scenarios are asked for.
func (o *options) scenarios() (n int) {
	for _, asked := range []bool{o.groups, o.learn, o.limit, o.gateBase != "", o.suite != "", o.scale != "", o.scans, o.tails} {
		if asked {
			n++
		}
	}
	return n
}

// driver is nil for a cluster, whose addresses are in the configuration.
func driver(store, address string) (perf.Driver, error) {
	switch {
	case store == "pegasus":
		return nil, nil
	case store != "redis" && store != "etcd":
		return nil, fmt.Errorf("store %q: want pegasus, redis or etcd", store)
	case address == "":
		return nil, fmt.Errorf("--store %s needs an --address", store)
	case store == "redis":
		return &perf.Redis{Address: address}, nil
	}
	return &perf.Etcd{Address: address}, nil
}

func processes(pids, dir string) ([]perf.Process, error) {
	var out []perf.Process
	if dir != "" {
		var err error
		if out, err = perf.ProcessesOf(dir); err != nil {
			return nil, err
		}
	}
	if pids == "" {
		return out, nil
	}
	for _, text := range strings.Split(pids, ",") {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("process id %q: %w", text, err)
		}
		p, err := perf.ProcessOf(pid)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
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
	if o.scenarios() > 0 {
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
	if o.json {
		return r.WriteJSON(stdout)
	}
	return r.WriteText(stdout)
}
