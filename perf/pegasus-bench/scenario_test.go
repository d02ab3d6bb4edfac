package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/conf/onebox"
	"pegasus/perf"
)

func runScenario(t *testing.T, args ...string) string {
	t.Helper()
	bin, err := onebox.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, progress bytes.Buffer
	args = append(args, "--bin", bin, "--duration", "300ms", "--warmup", "0")
	if err := run(ctx, args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	t.Log("\n" + out.String())
	return out.String()
}

// The scenario is small, but what it measures happens: a node is wiped and gets everything again, and no operation fails once it
// is there.
func TestLearnScenario(t *testing.T) {
	out := runScenario(t, "--learn", "--size", "4", "--value-size", "4096", "--depth", "4")
	for _, phase := range []string{"before", "without the node", "while it learns", "after"} {
		if !strings.Contains(out, phase) {
			t.Errorf("no phase %q", phase)
		}
	}
	m := regexp.MustCompile(`learned (\d+) MB in ([0-9.]+) s`).FindStringSubmatch(out)
	if m == nil || m[1] == "0" {
		t.Errorf("what was learned: %q", m)
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 2 && (f[0] == "before" || f[0] == "after") && f[len(f)-1] != "0" {
			t.Errorf("failures: %s", line)
		}
	}
}

func TestGroupsScenario(t *testing.T) {
	out := strings.TrimSpace(runScenario(t, "--groups"))
	if n := strings.Count(out, "\n"); n != 8 {
		t.Errorf("%d rows, want 8", n)
	}
}

func TestScenarioArguments(t *testing.T) {
	for _, args := range [][]string{
		{"--learn", "--groups"}, {"--learn", "--size", "0"}, {"--size", "x"}, {"--size", "5"}, {"--scale", "8,x"}, {"--scale", "0"}, {"--scans", "--json"},
		{"--tails", "--profile", "x"}, {"--tails", "--block-cache", "1KiB"}, {"--tails", "--block-cache", "8"}, {"--block-cache", "8MiB"}, {"--peak", "--shards", "2"},
		{"--shards", "2"}, {"--suite", "x", "--workload", "get"}, {"--suite", "x", "--rate", "5"}, {"--gate-runs", "7"}, {"--peak", "--store", "redis"},
	} {
		var out bytes.Buffer
		if err := run(context.Background(), args, &out, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// Every workload runs against real servers without a failure and finds what it asks for, the report is written, and a scan sees
// the whole table.
func TestSuiteScenario(t *testing.T) {
	suiteDepths, suiteLoads, suiteSizes, suitePartitions = []int{1, 8}, []float64{0.5}, []int{16, 65536}, []int32{2, 4}
	dir := t.TempDir()
	runScenario(t, "--suite", dir, "--records", "500", "--conns", "1", "--duration", "40ms", "--block-cache", "1MiB")
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s perf.Suite
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if want := 2*3 + 2*3 + len(suiteMixes) + 1 + 2*2; len(s.Reports) != want {
		t.Errorf("%d reports, want %d", len(s.Reports), want)
	}
	for _, r := range s.Reports {
		if r.Ops == 0 || r.Failed != 0 || r.Misses != 0 {
			t.Errorf("%s: %d operations, %d misses, failures %v", r.Name, r.Ops, r.Misses, r.Errors)
		}
		if r.AllocsPerOp == 0 || r.RSS == 0 || r.SwitchesPerOp == 0 {
			t.Errorf("%s: figures of the servers are missing", r.Name)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || !bytes.Contains(page, []byte("<svg")) {
		t.Errorf("report.html: %v", err)
	}
}

func TestScansScenario(t *testing.T) {
	quietShare = 100 // a machine that runs tests is not quiet
	out := runScenario(t, "--scans", "--records", "2000", "--rate", "1000", "--duration", "200ms")
	rows := regexp.MustCompile(`beside a scan .* ([1-9]\d*) +[0-9.]+\s*\n`).FindAllString(out, -1)
	if len(rows) != scanRounds {
		t.Errorf("rows were scanned in %d rounds, want %d", len(rows), scanRounds)
	}
	if n := len(regexp.MustCompile(`p99 beside .* is [0-9.]+, `).FindAllString(out, -1)); n != 2 {
		t.Errorf("%d conclusions", n)
	}
}

// The puts do make stores flush, and with a small cache gets go to storage and find everything.
func TestTailsScenario(t *testing.T) {
	defer func(rate float64) { tailPuts = rate }(tailPuts)
	tailPuts = 500 // what a machine that runs other tests besides has room for
	out := runScenario(t, "--tails", "--records", "3000", "--value-size", "5000", "--block-cache", "1MiB", "--depth", "8", "--duration", "1s")
	if n := len(regexp.MustCompile(`(?m)^ *open( +[0-9.]+){13}$`).FindAllString(out, -1)); n != tailRounds {
		t.Errorf("%d rounds, want %d", n, tailRounds)
	}
	m := regexp.MustCompile(`(?m)^ *open( +[0-9.]+){8} +([1-9]\d*) `).FindString(out)
	if m == "" || !strings.Contains(out, "p99.9 is ") {
		t.Errorf("nothing was flushed, or no conclusion")
	}
	if !regexp.MustCompile(`(?m)^ *open( +[0-9.]+){11} +([1-9][0-9.]*) +\d+$`).MatchString(out) {
		t.Error("no get went to storage")
	}
	if !regexp.MustCompile(`(?m)^an echo server alone, .* is [0-9.]+ times p50$`).MatchString(out) {
		t.Error("client and machine alone were not measured")
	}
}

func TestScaleScenario(t *testing.T) {
	out := runScenario(t, "--scale", "4,16", "--records", "500")
	if n := strings.Count(out, "\n"); n != 7 {
		t.Errorf("%d lines, want 7", n)
	}
	if n := len(regexp.MustCompile(`(?m)^server CPU per (get|put) at 16 partitions against 4: [+-]\d+ %$`).FindAllString(out, -1)); n != 2 {
		t.Errorf("%d conclusions, want 2", n)
	}
}

func TestPeakScenario(t *testing.T) {
	out := runScenario(t, "--peak", "--records", "500", "--depth", "8")
	if n := len(regexp.MustCompile(`(?m)^ *[12] +(get|put|incr) +[1-9].* 0$`).FindAllString(out, -1)); n != 2*len(peakKinds) {
		t.Errorf("%d rows, want %d", n, 2*len(peakKinds))
	}
	if n := len(regexp.MustCompile(`(?m)^(\d loops: a put|get: 2 loops|put: 2 loops|incr: 2 loops) .*\d\.\d\d times`).FindAllString(out, -1)); n != 5 {
		t.Errorf("%d conclusions, want 5", n)
	}
}

// Every daemon leaves every view, as a profile and as text.
func TestProfile(t *testing.T) {
	bin, err := onebox.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := onebox.Up(ctx, onebox.Options{Dir: t.TempDir(), Bin: bin, FreePorts: true, DieWithParent: true, Debug: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
		cluster.Release()
	}()
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run(ctx, []string{
		"--metas", strings.Join(cluster.Metas(), ","), "--onebox-dir", cluster.Dir, "--workload", "mixed", "--depth", "4", "--warmup", "0", "--duration", "2s",
		"--profile", dir,
	}, &out, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, node := range cluster.Nodes {
		for _, view := range []string{"cpu.pb.gz", "allocs.pb.gz", "block.pb.gz", "wall.pb.gz", "cpu.txt", "allocs.txt", "block.txt", "wall.txt", "offcpu.txt"} {
			if info, err := os.Stat(filepath.Join(dir, node.Name+"."+view)); err != nil || info.Size() == 0 {
				t.Errorf("%s of %s: %v", view, node.Name, err)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "replica1.offcpu.txt"))
	if err != nil || !bytes.Contains(text, []byte("pegasus/netcore/")) || bytes.Contains(text, []byte("runtime.gopark\n")) {
		t.Errorf("%v:\n%s", err, text)
	}
}
