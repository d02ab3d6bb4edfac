package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"pegasus/clientlib/clienttest"
	"pegasus/perf"
)

// TestMain lets this program stand in for pegasus-bench when a scenario starts it once more.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "--full-scan" || os.Args[1] == "--burn") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	c := clienttest.New(t, 1, 1, 2)
	args := []string{"--metas", c.Metas()[0], "--records", "50", "--preload", "--ops", "500", "--warmup", "0", "--depth", "4"}
	var out bytes.Buffer
	if err := run(context.Background(), append(args, "--json", "--repeat", "3"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r perf.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Reads.Count != 500 || r.Misses != 0 {
		t.Errorf("%v: %s", err, &out)
	}
	out.Reset()
	if err := run(context.Background(), args, &out, io.Discard); err != nil || !strings.Contains(out.String(), "throughput") {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, args := range []string{
		"--read 2", "--conns 0", "--ops 5 --duration 1s", "extra", "--nosuchflag", "--pids x", "--pids 1073741824",
		"--onebox-dir /nonexistent", "--repeat 0", "--distribution normal", "--burn 5", "--burn 0x5", "--burn 1000x1001",
	} {
		if err := run(context.Background(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
