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
	for _, args := range [][]string{{"--learn", "--groups"}, {"--learn", "--size", "0"}, {"--size", "x"}} {
		var out bytes.Buffer
		if err := run(context.Background(), args, &out, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// Every workload runs against real servers without a failure and finds what it asks for, the report is written, and a scan sees
// the whole table.
func TestSuiteScenario(t *testing.T) {
	suiteDepths, suiteLoads = []int{1, 8}, []float64{0.5}
	dir := t.TempDir()
	runScenario(t, "--suite", dir, "--records", "500", "--conns", "1", "--duration", "40ms")
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s perf.Suite
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if want := 2*3 + len(suiteMixes); len(s.Reports) != want {
		t.Errorf("%d reports, want %d", len(s.Reports), want)
	}
	for _, r := range s.Reports {
		if r.Ops == 0 || r.Failed != 0 || r.Misses != 0 && r.Name != "mix:ycsb-d" && r.Name != "mix:ycsb-e" {
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
	if n := len(regexp.MustCompile(`(?m)^ *open( +[0-9.]+){12}`).FindAllString(out, -1)); n != tailRounds {
		t.Errorf("%d rounds, want %d", n, tailRounds)
	}
	m := regexp.MustCompile(`(?m)^ *open( +[0-9.]+){8} +([1-9]\d*) `).FindString(out)
	if m == "" || !strings.Contains(out, "p99.9 is ") {
		t.Errorf("nothing was flushed, or no conclusion")
	}
	if !regexp.MustCompile(`(?m)^an echo server alone, .* is [0-9.]+ times p50$`).MatchString(out) {
		t.Error("client and machine alone were not measured")
	}
}

func TestScaleScenario(t *testing.T) {
	out := runScenario(t, "--scale", "4,16", "--records", "500")
	if n := strings.Count(out, "\n"); n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
}
