package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pegasus/perf"
)

// The gate compares two builds: that of a base commit and that of the working tree. Both serve at the same time, each in a
// cluster of its own, and are put under the same load in turn. The load is made by this program for both; the daemons, and the
// onebox that writes configurations which they understand, are each build's own.

// gateCase is one load of the fixed set.
type gateCase struct {
	name     string
	preset   string
	depth    int
	valueLen int
}

// gateCases cover what users do most: one request at a time, where waking up costs; many, where work does; reads, writes, both,
// and the operations that read before they write.
var gateCases = []gateCase{
	{"get, 1 in flight", "get", 1, 100},
	{"get, 64 in flight", "get", 64, 100},
	{"set, 1 in flight", "put", 1, 100},
	{"set, 64 in flight", "put", 64, 100},
	{"incr, 64 in flight", "incr", 64, 100},
	{"zipfian 1 KiB, 1:1, 64 in flight", "published-1-1", 64, 1024},
	{"multi_get of 10, 16 in flight", "multi-get", 16, 100},
	{"scan of 1 to 100, 16 in flight", "scan", 16, 100},
}

const (
	gateRecords = 100_000 // of every load
	// cpuThreshold and wallThreshold are the slow-downs that fail the gate when noise does not explain them. Processor time per
	// operation is steady; throughput depends on what else the machine does.
	cpuThreshold  = 0.05
	wallThreshold = 0.15
	maxGateRuns   = 1000
	// gateStart bounds the start of a cluster.
	gateStart = 90 * time.Second
)

// errSlower is the verdict that fails the gate.
var errSlower = errors.New("the working tree is slower than the base")

// served is a cluster that a pegasus-onebox runs for the gate.
type served struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	metas []string
	watch []perf.Process
}

// serve starts a cluster by the programs in a folder. It lives until close, or until this process ends.
func serve(ctx context.Context, name, bin string, stderr io.Writer) (*served, error) {
	const hold = `echo "$PEGASUS_METAS $PEGASUS_ONEBOX_DIR"; exec cat >/dev/null`
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pegasus-onebox"), "--bin", bin, "run", "--", "sh", "-c", hold)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &served{name: name, cmd: cmd, stdin: stdin}
	timeout := time.AfterFunc(gateStart, func() { _ = cmd.Cancel() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	timeout.Stop()
	metas, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("the cluster of the %s did not start: %q", name, line), s.close())
	}
	s.metas = strings.Split(metas, ",")
	if s.watch, err = perf.ProcessesOf(dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *served) close() error { return errors.Join(s.stdin.Close(), s.cmd.Wait()) }

// runGate measures both builds and fails when that of the working tree is slower.
func runGate(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	var sides [2]*served
	for i, side := range []struct{ name, bin string }{{"base", o.gateBase}, {"working tree", o.gateHead}} {
		if sides[i], err = serve(ctx, side.name, side.bin, stderr); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sides[i].close()) }()
	}
	slower := false
	t := newTable(stdout)
	t.row("load", "figure", "base", "working tree", "ratio", "+-", "")
	for _, c := range gateCases {
		fmt.Fprintln(stderr, "measuring", c.name)
		figures, err := measureCase(ctx, o, &c, sides)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		worse, err := judge(t, c.name, figures)
		if err != nil {
			return err
		}
		slower = slower || worse
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	if slower {
		return errSlower
	}
	return nil
}

// judge adds a row per figure of a load, and says whether any is slower.
func judge(t table, load string, figures []figure) (slower bool, err error) {
	for _, f := range figures {
		v, err := perf.Judge(f.base, f.head, f.threshold)
		if err != nil {
			return false, fmt.Errorf("%s, %s: %w", load, f.name, err)
		}
		word := ""
		if v.Slower {
			word, slower = "SLOWER", true
		}
		t.row(load, f.name, fmt.Sprintf("%.2f", v.Base), fmt.Sprintf("%.2f", v.Head), fmt.Sprintf("%.3f", v.Ratio), fmt.Sprintf("%.3f", v.Error), word)
	}
	return slower, nil
}

// figure is one measure of both sides, less being better, run by run.
type figure struct {
	name       string
	threshold  float64
	base, head []float64
}

func measureCase(ctx context.Context, o *options, c *gateCase, sides [2]*served) ([]figure, error) {
	figures := []figure{{name: "server cpu us/op", threshold: cpuThreshold}, {name: "wall us/op", threshold: wallThreshold}}
	for run := range o.gateRuns {
		for i, s := range sides {
			w := perf.Workload{Records: o.gateRecords, KeySize: 32, ValueSize: c.valueLen, Distribution: perf.Uniform}
			if err := w.Preset(c.preset); err != nil {
				return nil, err
			}
			r, err := perf.Run(ctx, perf.Config{
				Metas: s.metas, Table: "temp", Conns: 1, Depth: c.depth, Work: w, Preload: run == 0, Warmup: o.config.Duration / 4,
				Duration: o.config.Duration, Processes: s.watch, Seed: uint64(run),
			})
			if err != nil {
				return nil, err
			}
			if r.Failed > 0 {
				return nil, fmt.Errorf("operations failed on the %s: %v", s.name, r.Errors)
			}
			for k, value := range []float64{r.ServerUSPerOp, 1e6 / r.PerSec} {
				into := &figures[k].base
				if i == 1 {
					into = &figures[k].head
				}
				*into = append(*into, value)
			}
		}
	}
	return figures, nil
}

// checkGate says what is wrong with the options of the gate.
func (o *options) checkGate() error {
	if o.gateBase != "" && (o.gateRuns < perf.MinRuns || o.gateRuns > maxGateRuns) {
		return fmt.Errorf("%d runs: want %d to %d", o.gateRuns, perf.MinRuns, maxGateRuns)
	}
	if (o.gateBase == "") != (o.gateHead == "") {
		return errors.New("--gate-base and --gate-head belong together")
	}
	for _, bin := range []string{o.gateBase, o.gateHead} {
		if bin == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(bin, "pegasus-onebox")); err != nil {
			return err
		}
	}
	return nil
}
