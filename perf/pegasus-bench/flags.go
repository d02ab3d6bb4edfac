package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/conf"
	"pegasus/perf"
)

// options are the parsed command line.
type options struct {
	config perf.Config
	json   bool
	repeat int

	profile            string // folder for profiles
	gateBase, gateHead string // folders of the programs of two builds
	gateRuns           int
	gateRecords        uint64

	suite string  // folder for the report of the suite
	scale []int32 // numbers of partitions of the scale scenario

	fullScan bool   // of the table, nothing else
	burn     bursts // of processor time, nothing else

	groups, learn, limit, scans, tails, peak bool

	blockCache        conf.Size // of each server, for data that is larger; 0: the default of the scenario
	shards            int
	floorCXX, floorLD string // flags of the compiler and linker that find RocksDB for the floor
	bin               string // folder of the daemons
	replicaExtra      string // configuration of the replica servers
	size              int64  // bytes of values that the learn scenario fills in
}

// usage stands above the list of flags.
const usage = `pegasus-bench [flags] puts load on a store that runs and prints what came out:

  pegasus-bench --metas HOST:PORT,... --table temp --preload --workload ycsb-a --conns 4 --depth 16
  pegasus-bench --metas HOST:PORT,... --rate 20000 --workload get     an open load
  pegasus-bench --store redis --address HOST:PORT --pids PID          Redis, or etcd, for comparison

or starts clusters of its own from the daemons beside it, for one of the scenarios:
  --suite DIR, --peak, --scans, --tails, --scale N,..., --groups, --learn, --limit

or compares two builds: --gate-base DIR --gate-head DIR (make perf does both builds).

flags:
`

func parse(args []string, stdout, stderr io.Writer) (*options, error) {
	var o options
	c := &o.config
	var metas, pids, dir, dist, preset, store, address string
	f := flag.NewFlagSet("pegasus-bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // a mistake needs no list of all flags
	const defaultMetas = "127.0.0.1:34601,127.0.0.1:34602,127.0.0.1:34603"
	f.StringVar(&metas, "metas", defaultMetas, "addresses of the meta servers, by commas")
	f.StringVar(&metas, "meta", defaultMetas, "the same as --metas")
	f.StringVar(&c.Table, "table", "temp", "table to use")
	f.IntVar(&c.Conns, "conns", 1, "clients, each with one connection to every server")
	f.IntVar(&c.Depth, "depth", 64, "requests that each client has in flight")
	f.Uint64Var(&c.Work.Records, "records", 100000, "number of records")
	f.IntVar(&c.Work.KeySize, "key-size", 16, "bytes of a key")
	f.IntVar(&c.Work.ValueSize, "value-size", 100, "bytes of a value")
	f.Float64Var(&c.Work.ReadShare, "read", 1, "share of reads, 0 to 1; the rest are writes")
	f.StringVar(&dist, "distribution", "", "which records: uniform, zipfian, latest, hot or sequential (default uniform, or the workload's)")
	f.StringVar(&preset, "workload", "", "a named workload in place of --read: "+strings.Join(perf.PresetNames(), ", "))
	f.IntVar(&c.Work.SortKeys, "sort-keys", 1, "records per hash key")
	f.IntVar(&c.Work.Batch, "batch", 1, "records of a multi_get, multi_put, scan or request of a full scan")
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
	f.Func("scale", "scenario: gets and puts on tables with these numbers of partitions, by commas, such as 8,64,1024", func(text string) (err error) {
		o.scale, err = parseScale(text)
		return err
	})
	f.BoolVar(&o.peak, "peak", false, "scenario: gets, puts and incrs in turn, on clusters with one and with two event loops per server; best with --conns 16 --depth 32")
	f.BoolVar(&o.scans, "scans", false, "scenario: gets at --rate (default: one that leaves half of the processors free), alone and beside full scans of the table")
	f.BoolVar(&o.tails, "tails", false, "scenario: gets at 70 % of what is possible, beside puts that make stores flush and compact; best with --value-size 1000")
	f.Func("block-cache", "block cache of each server of --tails (default 256MiB) and of cold-get in --suite (default 4MiB), such as 8MiB; the row cache has a "+
		"quarter of it; smaller than the data makes most gets touch storage", func(text string) (err error) {
		if o.blockCache, err = conf.ParseSize(text); err == nil && o.blockCache < conf.MiB {
			err = errors.New("want at least 1MiB")
		}
		return err
	})
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
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, usage)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return nil, err
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case err == nil:
		err = o.fits(f)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (pegasus-bench -h explains all flags)", err)
	}
	if o.repeat < 1 || o.repeat > maxRepeat {
		return nil, fmt.Errorf("repeat %d: want 1 to %d", o.repeat, maxRepeat)
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
	if o.size == 0 {
		o.size = 1 << 30
	}
	if c.Processes, err = perf.NamedProcesses(dir, pids); err != nil {
		return nil, err
	}
	if o.profile != "" {
		if c.Ops > 0 || c.Duration < minProfile {
			return nil, fmt.Errorf("--profile needs a --duration of at least %v", minProfile)
		}
		if !slices.ContainsFunc(c.Processes, func(p perf.Process) bool { return p.Debug != "" }) {
			return nil, errors.New("--profile needs daemons with debug ports: the --onebox-dir of a cluster that was started by pegasus-onebox --debug")
		}
		c.During = func(ctx context.Context) error {
			return perf.Profile(ctx, c.Processes, c.Duration-time.Second, o.profile)
		}
	}
	return &o, c.Validate()
}

const maxRepeat = 1000

// minProfile is the shortest measurement that has room for profiles.
const minProfile = 2 * time.Second

// fits says which of the flags that were given would do nothing beside the others, or nil.
func (o *options) fits(f *flag.FlagSet) error {
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var chosen []string
	for _, name := range []string{"groups", "learn", "limit", "suite", "scale", "scans", "tails", "peak", "gate-base", "gate-head", "full-scan", "burn"} {
		if given[name] && !(name == "gate-head" && given["gate-base"]) {
			chosen = append(chosen, name)
		}
	}
	if len(chosen) > 1 {
		return fmt.Errorf("--%s and --%s: one at a time", chosen[0], chosen[1])
	}
	for _, rule := range []struct {
		name  string
		needs []string // one of them
	}{
		{"size", []string{"learn"}}, {"block-cache", []string{"tails", "suite"}}, {"floor-cxxflags", []string{"limit"}},
		{"floor-ldflags", []string{"limit"}}, {"gate-runs", []string{"gate-base"}}, {"gate-head", []string{"gate-base"}}, {"address", []string{"store"}},
		{"bin", scenarioNames}, {"replica-extra", scenarioNames}, {"shards", scenarioNames},
	} {
		if given[rule.name] && !slices.ContainsFunc(rule.needs, func(n string) bool { return given[n] }) {
			return fmt.Errorf("--%s does nothing without --%s", rule.name, strings.Join(rule.needs, " or --"))
		}
	}
	for _, rule := range []struct {
		name    string
		clashes []string
	}{
		{"json", chosen}, {"repeat", chosen}, {"profile", chosen}, {"store", chosen}, {"workload", chosen}, {"read", append(chosen, "workload")},
		{"pids", chosen}, {"onebox-dir", chosen}, {"preload", chosen}, {"shards", []string{"peak"}},
		{"rate", []string{"suite", "tails", "peak", "scale", "learn", "groups", "limit"}},
	} {
		for _, other := range rule.clashes {
			if given[rule.name] && given[other] {
				return fmt.Errorf("--%s does nothing beside --%s", rule.name, other)
			}
		}
	}
	return nil
}

// scenarioNames are the flags of scenarios.
var scenarioNames = []string{"groups", "learn", "limit", "suite", "scale", "scans", "tails", "peak"}

// scenario tells whether one is asked for.
func (o *options) scenario() bool {
	return o.groups || o.learn || o.limit || o.suite != "" || len(o.scale) > 0 || o.scans || o.tails || o.peak
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
