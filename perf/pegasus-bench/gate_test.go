package main

import (
	"bytes"
	"context"
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

func TestGateArguments(t *testing.T) {
	for _, args := range []string{"--gate-base .", "--gate-base /nonexistent --gate-head /nonexistent", "--gate-base . --gate-head . --scans"} {
		var out bytes.Buffer
		if err := run(context.Background(), strings.Fields(args), &out, &out); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
