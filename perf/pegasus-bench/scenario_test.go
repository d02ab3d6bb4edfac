package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/conf/onebox"
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
