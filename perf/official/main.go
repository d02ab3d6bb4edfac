// Command official measures a cluster with the Go client of Apache Pegasus, as its users do: each caller is a goroutine that
// waits for its answer before it asks again. It is a module of its own, because that client brings old dependencies.
//
//	official --metas HOST:PORT,... --table temp --onebox-dir DIR --callers 1,16,64
//	official --floor --metas ""
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegalog"
	"github.com/XiaoMi/pegasus-go-client/pegasus"

	"pegasus/perf"
)

// driver is the official client as a store that can be put under load.
type driver struct {
	store string // "pegasus", "floor"
	metas []string
	table string
}

func (d *driver) Name() string { return d.store + ", official Go client" }

func (d *driver) Supports(k perf.Kind) bool {
	return k == perf.Get || k == perf.Put || k == perf.Incr && d.store != "floor"
}

func (d *driver) Servers(ctx context.Context) []perf.Server {
	return (&perf.Pegasus{Metas: d.metas, Table: d.table}).Servers(ctx)
}

type conn struct {
	client pegasus.Client
	table  pegasus.TableConnector
}

func (d *driver) Dial(ctx context.Context, _ int) (perf.Conn, error) {
	client := pegasus.NewClient(pegasus.Config{MetaServers: d.metas})
	table, err := client.OpenTable(ctx, d.table)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &conn{client: client, table: table}, nil
}

func (c *conn) Slot() perf.Slot { return &caller{table: c.table} }

// Close waits for the client's connections, of which one that is being read has nothing to tell any more.
func (c *conn) Close() { _ = errors.Join(c.table.Close(), c.client.Close()) }

type caller struct{ table pegasus.TableConnector }

func (c *caller) Blocks() bool { return true }

// timeout bounds one operation; the client has none of its own.
const timeout = 10 * time.Second

func (c *caller) Start(op *perf.Op) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	sortKey := op.SortKey
	if sortKey == nil {
		sortKey = []byte{} // the client refuses nil
	}
	switch op.Kind {
	case perf.Get:
		value, err := c.table.Get(ctx, op.HashKey, sortKey)
		op.Done(err == nil && value == nil, err)
	case perf.Put:
		op.Done(false, c.table.Set(ctx, op.HashKey, sortKey, op.Value(0)))
	case perf.Incr:
		_, err := c.table.Incr(ctx, op.HashKey, sortKey, 1)
		op.Done(false, err)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "official:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	// The client's own logger writes a file into the working directory.
	pegalog.SetLogger(log.New(io.Discard, "", 0))
	f := flag.NewFlagSet("official", flag.ContinueOnError)
	f.SetOutput(stderr)
	metas := f.String("metas", "127.0.0.1:34601", "addresses of the meta servers, by commas; empty: there is no cluster, see --floor")
	table := f.String("table", "temp", "table to use")
	dir := f.String("onebox-dir", "", "folder of a onebox whose processes are reported")
	pids := f.String("pids", "", "other server processes to report, by commas")
	ops := f.String("ops", "get,put", "what is measured: get, put, incr")
	callers := f.String("callers", "1,16,64", "numbers of callers to measure with")
	duration := f.Duration("duration", 5*time.Second, "of each measurement")
	records := f.Uint64("records", 1_000_000, "number of records")
	load := f.Bool("preload", true, "write every record once, with this project's client")
	floor := f.Bool("floor", false, "measure in turn three C programs that only carry, log, sync and acknowledge: what this machine costs")
	rounds := f.Int("rounds", 1, "how often everything is measured; of more than one, medians are printed")
	redis := f.Bool("redis", true, "at the end, compare gets by one caller with redis-benchmark -c 1 GET, if Redis is installed")
	asJSON := f.Bool("json", false, "print one JSON object per measurement, and nothing else")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *metas == "" && !*floor || *rounds < 1 {
		return errors.New("want a cluster or --floor, and at least one round")
	}
	base := perf.Config{
		Table: *table, Conns: 1, Warmup: time.Second, Duration: *duration,
		Work: perf.Workload{Records: *records, KeySize: 32, ValueSize: 100, Distribution: perf.Uniform, Mix: perf.Mix{perf.Put: 1}},
	}
	var systems []system
	servers := strings.Split(*metas, ",")
	if *metas != "" {
		watched, err := perf.NamedProcesses(*dir, *pids)
		if err != nil {
			return err
		}
		systems = append(systems, system{"cluster", &driver{"pegasus", servers, *table}, watched})
		if *load {
			c := base
			c.Metas, c.Depth, c.Preload, c.Warmup, c.Duration, c.Ops = servers, 256, true, 0, 0, 1
			if _, err := perf.Run(ctx, c); err != nil {
				return err
			}
		}
	}
	if *floor {
		s, stop, err := startFloor(ctx, &base)
		if err != nil {
			return err
		}
		defer stop()
		systems = append(systems, s)
	}
	rows, err := parseRows(*ops, *callers)
	if err != nil {
		return err
	}
	all := figures{base: base, systems: systems, rows: rows, rounds: *rounds}
	if err := all.measure(ctx, *asJSON, stdout, stderr); err != nil {
		return err
	}
	if *asJSON {
		return nil
	}
	if err := all.writeMedians(stdout); err != nil {
		return err
	}
	if !*redis || *metas == "" {
		return nil
	}
	base.Driver, base.Duration = systems[0].driver, *duration/2
	return compareRedis(ctx, base, stdout)
}
