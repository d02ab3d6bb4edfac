// Command versus puts the same load on the same cluster with this project's Go client and with the official one of Apache
// Pegasus, in turns, and reports throughput, p99 and the CPU time that the client's process took per operation. It is a
// module of its own, because that client brings old dependencies. `make bench-clients` runs it.
//
// Each caller is a goroutine that waits for its answer before it asks again, as users of both clients write it. Each
// measurement is a process of its own, so that neither pays for the other's garbage; rounds alternate, and the median of the
// rounds is reported.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegalog"
	"github.com/XiaoMi/pegasus-go-client/pegasus"

	"pegasus/clientlib"
)

// table is what both clients offer.
type table interface {
	Get(ctx context.Context, hashKey, sortKey []byte) ([]byte, error)
	Set(ctx context.Context, hashKey, sortKey, value []byte) error
}

type job struct {
	Client, Op string
	Callers    int
	Metas      []string
	Table      string
	Records    int
	Warmup     time.Duration
	Duration   time.Duration
	Profile    string // file name; "" for none
}

// result of one measurement.
type result struct {
	Ops     int64
	Elapsed time.Duration
	CPU     time.Duration // of the client's process
	P50     time.Duration
	P99     time.Duration
	Failed  int64
}

const (
	ours     = "clientlib"
	official = "official"

	valueSize = 100
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("versus", flag.ContinueOnError)
	metas := f.String("metas", os.Getenv("PEGASUS_METAS"), "addresses of the meta servers, by commas")
	name := f.String("table", "temp", "table to use")
	callers := f.String("callers", "1,64,1024", "numbers of callers")
	ops := f.String("ops", "get,set", "what is measured")
	rounds := f.Int("rounds", 3, "of each measurement")
	duration := f.Duration("duration", 3*time.Second, "of each measurement")
	records := f.Int("records", 20000, "number of records")
	profile := f.String("profile", "", "write CPU profiles of the clients to this file name plus client, operation and callers")
	one := f.String("measure", "", "run one measurement, for the program's own use")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *one != "" {
		var j job
		if err := json.Unmarshal([]byte(*one), &j); err != nil {
			return err
		}
		r, err := measure(j)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(r)
	}
	j := job{Metas: strings.Split(*metas, ","), Table: *name, Records: *records, Warmup: *duration / 4, Duration: *duration}
	profiles := *profile
	if err := preload(j); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "op\tcallers\tclient\tops/s\tp50\tp99\tclient CPU/op\t")
	for _, op := range strings.Split(*ops, ",") {
		for _, n := range strings.Split(*callers, ",") {
			var err error
			if j.Callers, err = strconv.Atoi(n); err != nil {
				return err
			}
			j.Op = op
			if profiles != "" {
				j.Profile = fmt.Sprintf("%s-%s-%d", profiles, op, j.Callers)
			}
			if err := compare(w, j, *rounds); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// compare measures both clients in turns and prints a line for each, and one of ratios.
func compare(w io.Writer, j job, rounds int) error {
	all := map[string][]result{}
	for range rounds {
		for _, c := range []string{official, ours} {
			j.Client = c
			r, err := apart(j)
			if err != nil {
				return fmt.Errorf("%s, %s with %d callers: %w", c, j.Op, j.Callers, err)
			}
			all[c] = append(all[c], r)
		}
	}
	rate := func(r result) float64 { return float64(r.Ops) / r.Elapsed.Seconds() }
	cpu := func(r result) float64 { return float64(r.CPU) / float64(r.Ops) }
	p50 := func(r result) float64 { return float64(r.P50) }
	p99 := func(r result) float64 { return float64(r.P99) }
	for _, c := range []string{official, ours} {
		var failed int64
		for _, r := range all[c] {
			failed += r.Failed
		}
		if failed > 0 {
			return fmt.Errorf("%s: %d operations failed", c, failed)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%.0f\t%v\t%v\t%.2f µs\t\n", j.Op, j.Callers, c, median(all[c], rate),
			time.Duration(median(all[c], p50)).Round(time.Microsecond), time.Duration(median(all[c], p99)).Round(time.Microsecond),
			median(all[c], cpu)/1000)
	}
	times := func(of func(result) float64) float64 { return median(all[ours], of) / median(all[official], of) }
	fmt.Fprintf(w, "\t\tratio\t%.2f\t%.2f\t%.2f\t1/%.1f\t\n", times(rate), times(p50), times(p99), 1/times(cpu))
	return nil
}

func median(of []result, what func(result) float64) float64 {
	var v []float64
	for _, r := range of {
		v = append(v, what(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// apart measures in a process of its own.
func apart(j job) (r result, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "--measure", string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return r, err
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

func open(j job) (t table, end func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if j.Client == official {
		pegalog.SetLogger(log.New(io.Discard, "", 0)) // its own writes a file into the working directory
		c := pegasus.NewClient(pegasus.Config{MetaServers: j.Metas})
		t, err := c.OpenTable(ctx, j.Table)
		// The process ends with the measurement; its Close may wait for connections that have nothing to tell.
		return t, func() {}, err
	}
	c, err := clientlib.Dial(clientlib.Options{Metas: j.Metas})
	if err != nil {
		return nil, nil, err
	}
	t, err = c.OpenTable(ctx, j.Table)
	return t, func() { _ = c.Close() }, err
}

func key(i int) []byte { return fmt.Appendf(nil, "versus%08d", i) }

func preload(j job) error {
	j.Client = ours
	t, end, err := open(j)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	errs := make(chan error, 64)
	for w := range cap(errs) {
		go func() {
			for i := w; i < j.Records; i += cap(errs) {
				if err := t.Set(ctx, key(i), []byte("s"), make([]byte, valueSize)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return err
}

// measure puts the load on.
func measure(j job) (*result, error) {
	t, end, err := open(j)
	if err != nil {
		return nil, err
	}
	defer end()
	if j.Profile != "" {
		f, err := os.Create(j.Profile + "-" + j.Client)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
		defer func() { pprof.StopCPUProfile(); _ = f.Close() }()
	}
	begin, stop := time.Now().Add(j.Warmup), time.Now().Add(j.Warmup+j.Duration)
	var wg sync.WaitGroup
	took := make([][]int32, j.Callers) // microseconds
	failed := make([]int64, j.Callers)
	for c := range j.Callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 7))
			keys, sortKey, value := make([]byte, 0, 16), []byte("s"), make([]byte, valueSize)
			for {
				keys = append(keys[:0], "versus"...)
				n := r.IntN(j.Records)
				for d := 10000000; d > 0; d /= 10 {
					keys = append(keys, byte('0'+n/d%10))
				}
				// Both clients are used as their users do: every operation has a deadline.
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				from := time.Now()
				var err error
				if j.Op == "get" {
					_, err = t.Get(ctx, keys, sortKey)
				} else {
					binary.BigEndian.PutUint64(value, r.Uint64())
					err = t.Set(ctx, keys, sortKey, value)
				}
				now := time.Now()
				cancel()
				switch {
				case now.After(stop):
					return
				case from.Before(begin):
				case err != nil:
					failed[c]++
				default:
					took[c] = append(took[c], int32(now.Sub(from).Microseconds()))
				}
			}
		})
	}
	time.Sleep(time.Until(begin))
	cpu := used()
	time.Sleep(time.Until(stop))
	res := &result{CPU: used() - cpu, Elapsed: j.Duration}
	wg.Wait()
	var all []int32
	for c := range j.Callers {
		all = append(all, took[c]...)
		res.Failed += failed[c]
	}
	if len(all) == 0 {
		return nil, errors.New("no operation ended")
	}
	slices.Sort(all)
	res.Ops = int64(len(all))
	res.P50 = time.Duration(all[len(all)/2]) * time.Microsecond
	res.P99 = time.Duration(all[len(all)*99/100]) * time.Microsecond
	return res, nil
}

// used is the CPU time of this process.
func used() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
