package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/conf/onebox"
)

// Two clusters of the same build are started, measured in turn and stopped; the verdict says nothing at this length.
func TestGateMeasuresBothSides(t *testing.T) {
	daemons, err := onebox.Build()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"pegasus-meta", "pegasus-replica"} {
		if err := os.Symlink(filepath.Join(daemons, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", bin+"/", "pegasus/conf/pegasus-onebox").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	var sides [2]*served
	for i, name := range []string{"base", "head"} {
		if sides[i], err = serve(ctx, name, bin, &stderr); err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		defer func() {
			if err := sides[i].close(); err != nil {
				t.Errorf("%v\n%s", err, &stderr)
			}
		}()
	}
	o := options{gateRuns: 2, gateRecords: 500}
	o.config.Duration = 50 * time.Millisecond
	figures, err := measureCase(ctx, &o, &gateCase{"set", "put", 8, 100}, sides)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if len(f.base) != 2 || len(f.head) != 2 {
			t.Errorf("%s: %v and %v", f.name, f.base, f.head)
		}
		for _, v := range append(f.base, f.head...) {
			if v <= 0 {
				t.Errorf("%s: %v", f.name, v)
			}
		}
	}
}

// Processor time that is 8 % worse in every pair fails the gate, however busy the machine was from pair to pair; time that is 8 % worse
// does not, nor does processor time that is worse by what pairs differ.
func TestGateJudges(t *testing.T) {
	busy := []float64{1, 1.3, 2, 1.1, 1.6, 1, 1.2}
	side := func(factor float64, noise ...float64) (out []float64) {
		for i, b := range busy {
			v := 10 * b * factor
			if len(noise) > 0 {
				v *= noise[i%len(noise)]
			}
			out = append(out, v)
		}
		return out
	}
	for _, c := range []struct {
		name       string
		threshold  float64
		base, head []float64
		slower     bool
	}{
		{"cpu, the same", cpuThreshold, side(1), side(1), false},
		{"cpu, worse", cpuThreshold, side(1), side(1.08), true},
		{"cpu, better", cpuThreshold, side(1), side(0.9), false},
		{"cpu, noise", cpuThreshold, side(1), side(1.06, 0.7, 1.4, 1, 1.3), false},
		{"wall, little worse", wallThreshold, side(1), side(1.08), false},
		{"wall, worse", wallThreshold, side(1), side(1.2), true},
	} {
		var out bytes.Buffer
		rows := newTable(&out)
		slower, err := judge(rows, "get", []figure{{name: c.name, threshold: c.threshold, base: c.base, head: c.head}})
		if err := errors.Join(err, rows.w.Flush()); err != nil {
			t.Fatal(err)
		}
		if slower != c.slower || strings.Contains(out.String(), "SLOWER") != c.slower {
			t.Errorf("%s: slower %v, want %v: %s", c.name, slower, c.slower, &out)
		}
	}
	if _, err := judge(newTable(io.Discard), "get", []figure{{name: "few runs", base: busy[:3], head: busy[:3]}}); err == nil {
		t.Error("a verdict from three runs")
	}
}

func TestGateArguments(t *testing.T) {
	for _, args := range []string{"--gate-base .", "--gate-base /nonexistent --gate-head /nonexistent", "--gate-base . --gate-head . --scans",
		"--gate-base . --gate-head . --gate-runs 6", "--gate-head ."} {
		var out bytes.Buffer
		if err := run(context.Background(), strings.Fields(args), &out, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
