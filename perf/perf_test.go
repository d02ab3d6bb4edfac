package perf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func small(read float64) Workload {
	return Workload{Records: 200, KeySize: 16, ValueSize: 50, ReadShare: read, Distribution: Uniform}
}

func TestRun(t *testing.T) {
	c := clienttest.New(t, 2, 2, 4)
	self, err := ProcessOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(context.Background(), Config{
		Metas: c.Metas(), Table: c.Table, Conns: 2, Depth: 8, Work: small(0.75), Preload: true,
		Ops: 5000, Seed: 1, Processes: []Process{self},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops != 5000 || r.Failed != 0 || r.Misses != 0 {
		t.Errorf("%d ops, %d failed, %d misses: %v", r.Ops, r.Failed, r.Misses, r.Errors)
	}
	if r.Reads.Count < 3500 || r.Reads.Count > 4000 || r.Reads.Count+r.Writes.Count != r.Ops {
		t.Errorf("%d reads, %d writes", r.Reads.Count, r.Writes.Count)
	}
	if l := r.Reads; !(l.P50 > 0 && l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max) {
		t.Errorf("latencies are not ordered: %+v", l)
	}
	if n := c.Requests()[proto.CodePut]; n != 200+int(r.Writes.Count) {
		t.Errorf("the servers saw %d writes, want 200 and %d", n, r.Writes.Count)
	}
	if len(r.Servers) != 2 || !strings.HasPrefix(r.Servers[0].Version, "unknown") {
		t.Errorf("servers: %+v", r.Servers)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ops/s", "reads", "writes", "cpu servers", "cpu client", "2 connections per server, depth 8"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, &text)
		}
	}
	text.Reset()
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || back.Ops != r.Ops || back.Reads != r.Reads {
		t.Errorf("JSON does not read back: %v", err)
	}
}

func TestRunByTime(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	r, err := Run(context.Background(), Config{
		Metas: c.Metas(), Table: c.Table, Conns: 1, Depth: 4, Work: small(1), Duration: 50 * time.Millisecond,
		Warmup: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops == 0 || r.Misses != r.Ops || r.Elapsed < 50*time.Millisecond {
		t.Errorf("%d ops, %d misses in %v", r.Ops, r.Misses, r.Elapsed)
	}
}

// Failures are counted, by text, and do not end the run.
func TestRunWithErrors(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	n := 0
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		if n++; n%10 == 0 {
			return clienttest.Serve, proto.ErrACLDeny
		}
		return clienttest.Serve, proto.ErrOK
	})
	r, err := Run(context.Background(), Config{
		Metas: c.Metas(), Table: c.Table, Conns: 1, Depth: 4, Work: small(0.5), Ops: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops != 900 || r.Failed != 100 || len(r.Errors) != 2 { // one text for reads, one for writes
		t.Errorf("%d ops, %d failed: %v", r.Ops, r.Failed, r.Errors)
	}
}

func TestRunIsStopped(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for c.Requests()[proto.CodePut] == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err := Run(ctx, Config{Metas: c.Metas(), Table: c.Table, Conns: 1, Depth: 2, Work: small(0), Duration: time.Hour})
	if !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Conns: 1, Depth: 1, Ops: 1, Work: small(1)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Conns = 0 },
		func(c *Config) { c.Depth = 1 << 20 },
		func(c *Config) { c.Ops = 0 },
		func(c *Config) { c.Duration = 1 },
		func(c *Config) { c.Work.Records = 0 },
		func(c *Config) { c.Work.KeySize = 9 },
		func(c *Config) { c.Work.ValueSize = -1 },
		func(c *Config) { c.Work.ReadShare = 1.1 },
		func(c *Config) { c.Work.Distribution = "normal" },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tc := range []struct {
		record uint64
		want   string
	}{{0, "x000000000000"}, {42, "x000000000042"}, {maxRecords, "x009999999999"}} {
		if got := string(appendKey([]byte("x"), tc.record, 12)); got != tc.want {
			t.Errorf("key %d is %q", tc.record, got)
		}
	}
}

// Every record may come, none outside, and uniform draws differ little from each other.
func TestUniform(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, draws = 50, 50000
	var seen [n]int
	c := newChooser(&Workload{Records: n, Distribution: Uniform}, &atomic.Uint64{})
	for range draws {
		seen[c.next(r)]++
	}
	for i, k := range seen {
		if k < draws/n/2 || k > draws/n*2 {
			t.Errorf("record %d came %d times", i, k)
		}
	}
}

// The frequency of the first ranks is what the distribution says: rank k has share 1/(k+1)^theta / zeta(n).
func TestZipfian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, draws = 1000, 400000
	z := newZipf(n)
	var seen [n]float64
	for range draws {
		seen[z.rank(r)]++
	}
	for rank, share := range []float64{1 / z.zetaN, math.Pow(0.5, zipfTheta) / z.zetaN} {
		if got := seen[rank] / draws; got < share*0.9 || got > share*1.1 {
			t.Errorf("rank %d has share %.4f, want %.4f", rank, got, share)
		}
	}
	half := 0.0
	for _, k := range seen[:n/2] {
		half += k
	}
	if share := half / draws; share < 0.88 || share > 0.96 {
		t.Errorf("the first half has share %.3f", share)
	}
	for _, records := range []uint64{1, 2, 3, 1 << 22} {
		z := newZipf(records)
		for range 1000 {
			if got := z.next(r); got >= records {
				t.Fatalf("record %d of %d", got, records)
			}
		}
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 100")
	if err != nil || got.User != 1500*time.Millisecond || got.Sys != 250*time.Millisecond {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "42 (a)", "42 (a) S 1 2 3 4 5 6 7 8 9 10 x 25 0"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestProcessesOf(t *testing.T) {
	dir := t.TempDir()
	if _, err := ProcessesOf(dir); err == nil {
		t.Error("an empty folder is accepted")
	}
	for name, pid := range map[string]int{"meta1": os.Getpid(), "replica1": 1 << 30} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "pid"), fmt.Appendln(nil, pid), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "meta1", "meta.toml"), []byte("[debug]\nlisten = \"127.0.0.1:9\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ProcessesOf(dir)
	if err != nil || len(got) != 1 || got[0] != (Process{PID: os.Getpid(), Name: "meta1", Debug: "127.0.0.1:9"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMedian(t *testing.T) {
	var rs []*Report
	for _, v := range []float64{5, 1, 9, 3} {
		rs = append(rs, &Report{PerSec: v})
	}
	if got := Median(rs[:3]).PerSec; got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := Median(rs).PerSec; got != 3 {
		t.Errorf("median of four: %v", got)
	}
}

// What a process uses, and what its debug port tells, is what happened between two readings.
func TestProcessReport(t *testing.T) {
	p := Process{PID: os.Getpid(), Name: "self"}
	from, err := readUsage(p)
	if err != nil {
		t.Fatal(err)
	}
	from.counters = map[string]uint64{"log_syncs": 10, "go_heap_bytes": 50}
	to, err := readUsage(p)
	if err != nil {
		t.Fatal(err)
	}
	to.cpu, to.written = from.cpu, from.written+4096
	to.cpu.User += time.Second
	to.counters = map[string]uint64{"log_syncs": 15, "go_heap_bytes": 20, "go_gc_cpu_ns": uint64(100 * time.Millisecond)}
	r := processReport(p, from, to)
	if r.RSS == 0 || r.Written != 4096 || r.Counters["log_syncs"] != 5 || r.Counters["go_heap_bytes"] != 0 || from.switches.Voluntary == 0 {
		t.Errorf("%+v", r)
	}
	report := Report{Ops: 10, Elapsed: time.Second, UserBytes: 1024, Processes: []ProcessReport{r}}
	report.derive()
	if report.SyncsPerOp != 0.5 || report.WrittenPerByte != 4 || report.ServerUSPerOp != 1e5 || report.GCShare != 0.1 {
		t.Errorf("%+v", report)
	}
}
