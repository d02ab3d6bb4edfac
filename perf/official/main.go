// Command official measures a cluster with the Go client of Apache Pegasus, as its users do: each caller is a goroutine that
// waits for its answer before it asks again. It is a module of its own, because that client brings old dependencies.
//
//	official --metas HOST:PORT,... --table temp --onebox-dir DIR --callers 1,16,64
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegalog"
	"github.com/XiaoMi/pegasus-go-client/pegasus"

	"pegasus/perf"
)

// driver is the official client as a store that can be put under load.
type driver struct {
	metas []string
	table string
}

func (d *driver) Name() string { return "pegasus, official Go client" }

func (d *driver) Supports(k perf.Kind) bool { return k == perf.Get || k == perf.Put || k == perf.Incr }

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
	metas := f.String("metas", "127.0.0.1:34601", "addresses of the meta servers, by commas")
	table := f.String("table", "temp", "table to use")
	dir := f.String("onebox-dir", "", "folder of a onebox whose processes are reported")
	pids := f.String("pids", "", "other server processes to report, by commas")
	ops := f.String("ops", "get,put", "what is measured: get, put, incr")
	callers := f.String("callers", "1,16,64", "numbers of callers to measure with")
	duration := f.Duration("duration", 5*time.Second, "of each measurement")
	records := f.Uint64("records", 1_000_000, "number of records")
	load := f.Bool("preload", true, "write every record once, with this project's client")
	redis := f.Bool("redis", true, "at the end, compare gets by one caller with redis-benchmark -c 1 GET, if Redis is installed")
	asJSON := f.Bool("json", false, "print one JSON object per measurement")
	if err := f.Parse(args); err != nil {
		return err
	}
	watched, err := perf.NamedProcesses(*dir, *pids)
	if err != nil {
		return err
	}
	work := perf.Workload{Records: *records, KeySize: 32, ValueSize: 100, Distribution: perf.Uniform, Mix: perf.Mix{perf.Put: 1}}
	servers := strings.Split(*metas, ",")
	if *load {
		c := perf.Config{Metas: servers, Table: *table, Conns: 1, Depth: 256, Work: work, Preload: true, Ops: 1}
		if _, err := perf.Run(ctx, c); err != nil {
			return err
		}
	}
	if !*asJSON {
		_, err := fmt.Fprintf(stdout, "%4s%9s%9s%15s%9s%9s%14s%9s%9s%10s%10s%8s\n",
			"op", "callers", "ops/s", "servers us/op", "user", "sys", "client us/op", "p50 us", "p99 us", "p99.9 us", "syncs/op", "failed")
		if err != nil {
			return err
		}
	}
	for _, op := range strings.Split(*ops, ",") {
		var kind perf.Kind
		if err := kind.UnmarshalText([]byte(op)); err != nil {
			return err
		}
		for _, text := range strings.Split(*callers, ",") {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			work.Mix = perf.Mix{kind: 1}
			r, err := perf.Run(ctx, perf.Config{
				Driver: &driver{servers, *table}, Table: *table, Conns: 1, Depth: n, Work: work, Warmup: time.Second, Duration: *duration, Processes: watched,
			})
			if err != nil {
				return err
			}
			for text, n := range r.Errors {
				fmt.Fprintf(stderr, "%d times: %s\n", n, text)
			}
			if *asJSON {
				if err := json.NewEncoder(stdout).Encode(r); err != nil {
					return err
				}
				continue
			}
			us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
			if _, err := fmt.Fprintf(stdout, "%4s%9d%9.0f%15.1f%9.1f%9.1f%14.1f%9.0f%9.0f%10.0f%10.3f%8d\n", op, n, r.PerSec, r.ServerUSPerOp,
				r.ServerUserUS, r.ServerSysUS, r.Client.USPerOp, us(r.All.P50), us(r.All.P99), us(r.All.P999), r.SyncsPerOp, r.Failed); err != nil {
				return err
			}
		}
	}
	if !*redis || *asJSON {
		return nil
	}
	return compareRedis(ctx, perf.Config{
		Driver: &driver{servers, *table}, Table: *table, Conns: 1, Work: work, Warmup: time.Second, Duration: *duration / 2,
	}, stdout)
}
