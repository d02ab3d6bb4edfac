package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
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
		"--workload nosuch", "--store mysql", "--store redis", "--store redis --address 127.0.0.1:1 --workload full-scan", "--rate -1",
		"--profile x --duration 1s", "--profile x --ops 5", "--profile x --duration 3s", "--workload get --read 0.5", "--address 127.0.0.1:1",
	} {
		if err := run(context.Background(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// A mistake gets one line that names it, not a page; help gets the page.
func TestUsage(t *testing.T) {
	var out, progress bytes.Buffer
	err := run(context.Background(), []string{"--nosuchflag"}, &out, &progress)
	if err == nil || !strings.Contains(err.Error(), "nosuchflag") || !strings.Contains(err.Error(), "pegasus-bench -h") || out.Len()+progress.Len() > 0 {
		t.Errorf("%v, %s%s", err, &out, &progress)
	}
	err = run(context.Background(), []string{"-h"}, &out, &progress)
	if !errors.Is(err, flag.ErrHelp) || progress.Len() > 0 {
		t.Errorf("%v, %s", err, &progress)
	}
	for _, want := range []string{"--suite DIR", "flags:", "-workload", "ycsb-f"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the help", want)
		}
	}
}

// A run in which nothing succeeds fails.
func TestNothingSucceeded(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		return clienttest.Serve, proto.ErrACLDeny
	})
	var out bytes.Buffer
	err := run(context.Background(), []string{"--meta", c.Metas()[0], "--table", c.Table, "--ops", "5", "--warmup", "0"}, &out, io.Discard)
	if !errors.Is(err, errNothing) || !strings.Contains(out.String(), "ACL") {
		t.Errorf("%v: %s", err, &out)
	}
}

// The records of a table come out of its full scan, batch by batch.
func TestFullScanWorkload(t *testing.T) {
	c := clienttest.New(t, 2, 2, 4)
	args := []string{"--metas", c.Metas()[0], "--table", c.Table, "--records", "200", "--preload", "--workload", "full-scan", "--batch", "7", "--ops", "300", "--warmup", "0", "--depth", "3"}
	var out bytes.Buffer
	if err := run(context.Background(), append(args, "--json"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r perf.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Ops != 300 || r.Misses != 0 || r.Failed != 0 || len(r.Kinds) != 1 || r.Kinds[0].Kind != perf.TableScan {
		t.Errorf("%v: %s", err, &out)
	}
	if n := c.Requests(); n[proto.CodeGetScanner] == 0 || n[proto.CodeScan] < n[proto.CodeGetScanner] {
		t.Errorf("requests %v", n)
	}
}
