package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/perf"
)

// The scenario of scans asks what a full scan of a table does to the latency of gets beside it. Three phases take turns: gets
// alone; gets beside a scan; gets beside a process that only uses the processor as the client of that scan does, for on a
// machine that has clients and servers some of the harm is the client's. The clients are processes of their own: within this
// one they would get in the way of its measuring.

// A round during which other processes used more than quietShare percent of the processors does not count, and another one is
// made, up to maxScanRounds in all: tail latencies show everything that a machine does besides.
var quietShare = 5.0

const (
	scanRounds    = 7
	maxScanRounds = 40
	// scanPeakShare is where the search for the rate of gets begins, as a share of the throughput without a rate. It is halved until
	// gets leave scanFree of the processors, for what is measured is how gets and scan share a server, not what happens
	// beyond the limits of a machine.
	scanPeakShare = 0.2
	scanFree      = 0.5
	minScanRate   = 500.0
)

// runScans measures and prints every phase, then medians.
func runScans(ctx context.Context, o *options, cluster *onebox.Cluster, stdout io.Writer) error {
	c, err := o.onThree(ctx, cluster)
	if err != nil {
		return err
	}
	c.Preload = true
	c.Work.Mix = perf.Mix{perf.Get: 1}
	if err := chooseRate(ctx, &c); err != nil {
		return err
	}
	t := newTable(stdout)
	t.row("gets", "ops/s", "p50 us", "p99 us", "p99.9 us", "processors %", "others %", "servers us/op", "rows scanned/s", "scan's client %")
	idle, err := scanProcess(ctx, &c, c.Duration)
	if err != nil {
		return err
	}
	t.row("none", 0, "", "", "", "", "", "", fmt.Sprintf("%.0f", idle.perSecond()), fmt.Sprintf("%.1f", idle.load()))
	p99 := make([][]float64, len(scanPhases))
	var scan scanReport
	for round := 0; round < maxScanRounds && len(p99[0]) < scanRounds; round++ {
		var tails [len(scanPhases)]float64
		quiet := true
		for i, phase := range scanPhases {
			m := startMeter()
			r, err := beside(ctx, &c, i, &scan)
			if err != nil {
				return err
			}
			ours, others := m.shares(r)
			quiet = quiet && others <= quietShare
			row := []any{phase, fmt.Sprintf("%.0f", r.PerSec), us(r.All.P50), us(r.All.P99), us(r.All.P999),
				fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f", others), fmt.Sprintf("%.1f", r.ServerUSPerOp)}
			if i == 1 {
				row = append(row, fmt.Sprintf("%.0f", scan.perSecond()), fmt.Sprintf("%.1f", scan.load()))
			}
			t.row(row...)
			tails[i] = float64(r.All.P99)
		}
		if quiet {
			for i := range tails {
				p99[i] = append(p99[i], tails[i])
			}
		}
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	if len(p99[0]) < scanRounds {
		_, err := fmt.Fprintf(stdout, "no conclusion: only %d of %d rounds were quiet\n", len(p99[0]), maxScanRounds)
		return err
	}
	for i, phase := range scanPhases[1:] {
		v, err := perf.Judge(p99[0], p99[i+1], 0.25)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(stdout, "p99 %s: %.0f us, alone: %.0f us; the median of the pairs' ratios is %.2f, +-%.2f\n",
			phase, v.Head/1e3, v.Base/1e3, v.Ratio, v.Error)
	}
	return nil
}

var scanPhases = [...]string{"alone", "beside a scan", "beside its client"}

// beside measures gets in one of the phases. The other process begins before and ends afterwards: starting a program disturbs
// more than anything that is measured here. A scan leaves what it did in scan, which its successor of the next phase imitates.
func beside(ctx context.Context, c *perf.Config, phase int, scan *scanReport) (*perf.Report, error) {
	if phase == 0 {
		return perf.Run(ctx, *c)
	}
	other, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func() {
		if phase == 1 {
			var err error
			*scan, err = scanProcess(other, c, 0)
			ended <- err
			return
		}
		ended <- child(other, io.Discard, "--burn", scan.bursts().String(), "--duration", "1h")
	}()
	// The warm-up of the run is for the other process too. Should it fail, the run is over when that is noticed.
	r, err := perf.Run(ctx, *c)
	end()
	return r, errors.Join(err, <-ended)
}

func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }

// machineMeter tells who used the processors during a phase.
type machineMeter struct {
	began    time.Time
	busy     time.Duration // of all processors since the machine started
	children time.Duration // of processes that this one waited for
}

func startMeter() machineMeter {
	return machineMeter{began: time.Now(), busy: machineBusy(), children: usedBy(unix.RUSAGE_CHILDREN)}
}

// shares are what this program, its servers and its children used, and what others did, in percent of all processors. The
// servers' part is of the measured time only, so that of the others is a little too large.
func (m machineMeter) shares(r *perf.Report) (ours, others float64) {
	all := time.Since(m.began).Seconds() * float64(runtime.NumCPU()) / 100
	own := (usedBy(unix.RUSAGE_CHILDREN) - m.children).Seconds()
	used := r.Client.CPU.Total()
	for i := range r.Processes {
		used += r.Processes[i].CPU.Total()
	}
	// What is used while a phase warms up is like what is used while it is measured.
	own += used.Seconds() / r.Elapsed.Seconds() * time.Since(m.began).Seconds()
	return own / all, max(0, (machineBusy()-m.busy).Seconds()-own) / all
}

// userHZ is the unit of /proc/stat on every Linux that Go runs on.
const userHZ = 100

// machineBusy is what all processors have worked since the machine started; 0 where that cannot be told.
func machineBusy() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, iowait, irq, softirq int64
	if _, err := fmt.Sscanf(string(raw), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * time.Second / userHZ
}

// busy is the share of this machine's processors, in percent, that servers and the client that measures used.
func busy(r *perf.Report) float64 {
	total := r.Client.CPU.Total()
	for i := range r.Processes {
		total += r.Processes[i].CPU.Total()
	}
	return 100 * total.Seconds() / r.Elapsed.Seconds() / float64(runtime.NumCPU())
}

// chooseRate loads the records and finds the rate of gets, unless it is given.
func chooseRate(ctx context.Context, c *perf.Config) error {
	given := c.Rate
	c.Rate = 0
	peak, err := perf.Run(ctx, *c)
	if err != nil {
		return err
	}
	c.Preload, c.Warmup = false, min(c.Warmup, time.Second)
	if c.Rate = given; given > 0 {
		return nil
	}
	for c.Rate = scanPeakShare * peak.PerSec; c.Rate > minScanRate; c.Rate /= 2 {
		r, err := perf.Run(ctx, *c)
		if err != nil {
			return err
		}
		if busy(r) <= 100*(1-scanFree) {
			break
		}
	}
	return nil
}

// scanReport is what the process of a scan prints.
type scanReport struct {
	Rows    int64         `json:"rows"`
	Batches int64         `json:"batches"`
	Took    time.Duration `json:"took_ns"`
	CPU     time.Duration `json:"cpu_ns"` // of the client
}

func (r scanReport) perSecond() float64 { return float64(r.Rows) / r.Took.Seconds() }

// load is the client's share of a processor in percent.
func (r scanReport) load() float64 { return 100 * r.CPU.Seconds() / r.Took.Seconds() }

// bursts uses as much of a processor as the client did: one burst per batch.
func (r scanReport) bursts() *bursts {
	return &bursts{
		perSecond: max(1, int(float64(r.Batches)/r.Took.Seconds())),
		each:      time.Duration(max(1, r.CPU.Microseconds()/max(1, r.Batches))) * time.Microsecond,
	}
}

// scanProcess scans the table in a process of its own, for some time or until ctx ends.
func scanProcess(ctx context.Context, c *perf.Config, d time.Duration) (r scanReport, err error) {
	if d == 0 {
		d = time.Hour
	}
	var out bytes.Buffer
	if err := child(ctx, &out, "--full-scan", "--metas", strings.Join(c.Metas, ","), "--table", c.Table, "--duration", d.String()); err != nil {
		return r, err
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// child runs this program once more, until ctx ends at the latest.
func child(ctx context.Context, stdout io.Writer, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var failure bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = stdout, &failure
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	ended := false
	cmd.Cancel = func() error { ended = true; return cmd.Process.Signal(syscall.SIGTERM) }
	// The parent of a process is a thread, as far as the signal at its death is concerned.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil && !(ended && errors.Is(err, context.Canceled)) {
		return fmt.Errorf("%s %s: %w: %s", self, strings.Join(args, " "), err, &failure)
	}
	return nil
}

// scanForDuration is what the process of a scan does.
func scanForDuration(ctx context.Context, o *options, stdout io.Writer) error {
	client, err := clientlib.Dial(clientlib.Options{Metas: o.config.Metas})
	if err != nil {
		return err
	}
	defer client.Close()
	t, err := client.OpenTable(ctx, o.config.Table)
	if err != nil {
		return err
	}
	var r scanReport
	before, begin := usedBy(unix.RUSAGE_SELF), time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.config.Duration)
	defer cancel()
	for ctx.Err() == nil {
		rows, batches, err := perf.FullScan(ctx, t)
		r.Rows, r.Batches = r.Rows+rows, r.Batches+batches
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	r.Took, r.CPU = time.Since(begin), usedBy(unix.RUSAGE_SELF)-before
	return json.NewEncoder(stdout).Encode(r)
}

// usedBy is the processor time of this process or of its children.
func usedBy(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bursts are uses of a processor at regular times.
type bursts struct {
	perSecond int
	each      time.Duration
}

// String implements flag.Value.
func (b *bursts) String() string { return fmt.Sprintf("%dx%d", b.perSecond, b.each.Microseconds()) }

// Set implements flag.Value.
func (b *bursts) Set(text string) error {
	var n, micros int
	if k, err := fmt.Sscanf(text, "%dx%d", &n, &micros); k != 2 || err != nil || n < 1 || micros < 1 || float64(n)*float64(micros) > 1e6 {
		return errors.New("want BURSTSxMICROSECONDS, both at least 1, and not more than a second together")
	}
	*b = bursts{perSecond: n, each: time.Duration(micros) * time.Microsecond}
	return nil
}

// run makes the bursts for so long, or until ctx ends.
func (b *bursts) run(ctx context.Context, d time.Duration) {
	// Timers of the runtime are late by up to a millisecond; a thread that sleeps in the kernel is not.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	period := time.Second / time.Duration(b.perSecond)
	begin := time.Now()
	for n := 1; ctx.Err() == nil && time.Since(begin) < d; n++ {
		for start := time.Now(); time.Since(start) < b.each; {
		}
		if wait := time.Until(begin.Add(time.Duration(n) * period)); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil) // a signal makes it shorter
		}
	}
}
