package perf

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of one measurement. Durations are in nanoseconds in JSON.
type Report struct {
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Servers []Server  `json:"servers"`
	Name    string    `json:"name,omitempty"` // within a suite
	Store   string    `json:"store"`
	Table   string    `json:"table"`
	// Partitions of the table, where a suite compares their numbers.
	Partitions int      `json:"partitions,omitempty"`
	Conns      int      `json:"conns"`
	Depth      int      `json:"depth"`
	Rate       float64  `json:"rate,omitempty"` // of an open load, operations per second; 0: the load is closed
	Work       Workload `json:"workload"`

	Elapsed time.Duration    `json:"elapsed_ns"`
	Ops     int64            `json:"ops"` // that succeeded
	Failed  int64            `json:"failed"`
	Misses  int64            `json:"misses"` // reads that found nothing; they count as successes
	PerSec  float64          `json:"ops_per_second"`
	Reads   Latencies        `json:"reads"`
	Writes  Latencies        `json:"writes"`
	All     Latencies        `json:"all"`
	Kinds   []KindReport     `json:"kinds"`
	Errors  map[string]int64 `json:"errors,omitempty"`

	Client    ClientReport    `json:"client"`
	Processes []ProcessReport `json:"processes,omitempty"`
	// ServerUSPerOp is the time of all watched processes together per operation, in microseconds; ServerUserUS and ServerSysUS are
	// its parts in user mode and in the kernel.
	ServerUSPerOp float64 `json:"server_cpu_us_per_op,omitempty"`
	ServerUserUS  float64 `json:"server_user_us_per_op,omitempty"`
	ServerSysUS   float64 `json:"server_sys_us_per_op,omitempty"`
	// UserBytes are the keys and values that were written. The rest is what the watched processes did per operation, and per
	// user byte; 0 where it is not known, as syncs, allocations and garbage collection are without debug ports.
	UserBytes      int64   `json:"user_bytes"`
	WrittenPerByte float64 `json:"written_per_user_byte,omitempty"`
	SyncsPerOp     float64 `json:"fdatasyncs_per_op,omitempty"`
	SwitchesPerOp  float64 `json:"context_switches_per_op,omitempty"`
	AllocsPerOp    float64 `json:"server_allocs_per_op,omitempty"`
	GCShare        float64 `json:"server_gc_share_of_cpu,omitempty"`
	RSS            uint64  `json:"server_rss_bytes,omitempty"`
}

// KindReport is the latency of one kind of operation.
type KindReport struct {
	Kind Kind `json:"kind"`
	Latencies
}

// Machine says where the load was made.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Server is a server that held primaries of the table, and what it says of itself.
type Server struct {
	Address string `json:"address"`
	Version string `json:"version"`
}

// Latencies summarises the latencies of one kind of operation.
type Latencies struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
}

// ClientReport is what the load cost the process that made it.
type ClientReport struct {
	CPU         CPU     `json:"cpu"`
	USPerOp     float64 `json:"cpu_us_per_op"`
	Allocs      uint64  `json:"allocs"`
	AllocBytes  uint64  `json:"alloc_bytes"`
	AllocsPerOp float64 `json:"allocs_per_op"`
}

// ProcessReport is what the load cost one server process.
type ProcessReport struct {
	Name    string  `json:"name"`
	PID     int     `json:"pid"`
	CPU     CPU     `json:"cpu"`
	USPerOp float64 `json:"cpu_us_per_op"`
	// Written are bytes to disks, RSS the resident memory at the end.
	Switches Switches          `json:"context_switches"`
	Written  uint64            `json:"written_bytes"`
	RSS      uint64            `json:"rss_bytes"`
	Counters map[string]uint64 `json:"counters,omitempty"` // of its debug port, as far as they grew
}

func thisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Kernel: "unknown"}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(raw))
	}
	return m
}

func latencies(h *hdrhistogram.Histogram) Latencies {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Latencies{
		Count: h.TotalCount(), Mean: time.Duration(h.Mean()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max()),
	}
}

// derive fills what follows from the rest.
func (r *Report) derive() {
	r.ServerUSPerOp, r.ServerUserUS, r.ServerSysUS = 0, 0, 0
	if r.Ops == 0 || r.Elapsed <= 0 {
		return
	}
	ops := float64(r.Ops)
	perOp := func(c CPU) float64 { return float64(c.Total()) / float64(time.Microsecond) / ops }
	r.PerSec = ops / r.Elapsed.Seconds()
	r.Client.USPerOp = perOp(r.Client.CPU)
	r.Client.AllocsPerOp = float64(r.Client.Allocs) / ops
	r.RSS = 0
	var cpu time.Duration
	var written, syncs, switches, allocs, gc uint64
	for i := range r.Processes {
		p := &r.Processes[i]
		p.USPerOp = perOp(p.CPU)
		r.ServerUSPerOp += p.USPerOp
		r.ServerUserUS += perOp(CPU{User: p.CPU.User})
		r.ServerSysUS += perOp(CPU{Sys: p.CPU.Sys})
		r.RSS += p.RSS
		cpu += p.CPU.Total()
		written += p.Written
		switches += p.Switches.Voluntary + p.Switches.Involuntary
		syncs += p.Counters["log_syncs"]
		allocs += p.Counters["go_allocs"]
		gc += p.Counters["go_gc_cpu_ns"]
	}
	r.SwitchesPerOp, r.SyncsPerOp, r.AllocsPerOp = float64(switches)/ops, float64(syncs)/ops, float64(allocs)/ops
	if r.UserBytes > 0 {
		r.WrittenPerByte = float64(written) / float64(r.UserBytes)
	}
	if cpu > 0 {
		r.GCShare = float64(gc) / float64(cpu)
	}
}

// counted tells whether a watched process has a debug port, without which syncs, allocations and garbage collection are not known.
func (r *Report) counted() bool {
	return slices.ContainsFunc(r.Processes, func(p ProcessReport) bool { return p.Counters != nil })
}

// known formats a figure, or a dash for one that is not known.
func known(is bool, format string, v float64) string {
	if !is {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// Median returns the report with the median throughput; of an even number, the lower of the two in the middle.
func Median(reports []*Report) *Report {
	sorted := slices.SortedFunc(slices.Values(reports), func(a, b *Report) int {
		switch {
		case a.PerSec < b.PerSec:
			return -1
		case a.PerSec > b.PerSec:
			return 1
		}
		return 0
	})
	return sorted[(len(sorted)-1)/2]
}

// WriteJSON writes the report as one indented JSON object.
func (r *Report) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

// WriteJSON writes all reports of the suite as one indented JSON object.
func (s *Suite) WriteJSON(w io.Writer) error { return writeJSON(w, s) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) } // Flush has the error
	line("machine\t%d cpus, kernel %s, %s", r.Machine.CPUs, r.Machine.Kernel, r.Machine.Go)
	for _, s := range r.Servers {
		line("server\t%s  %s", s.Address, s.Version)
	}
	load := "closed"
	if r.Rate > 0 {
		load = fmt.Sprintf("open, %.0f ops/s", r.Rate)
	}
	line("load\t%s table %s, %d connections per server, depth %d, %s", r.Store, r.Table, r.Conns, r.Depth, load)
	line("records\t%d, %s, keys %d B, values %d B, %d per hash key; %s",
		r.Work.Records, r.Work.Distribution, r.Work.KeySize, r.Work.ValueSize, r.Work.SortKeys, &r.Work)
	line("throughput\t%.0f ops/s\t(%d ops in %v, %d failed, %d misses)",
		r.PerSec, r.Ops, r.Elapsed.Round(time.Millisecond), r.Failed, r.Misses)
	latency := func(name string, l Latencies) {
		if l.Count > 0 {
			line("%s\t%d\tmean %v  p50 %v  p90 %v  p99 %v  p99.9 %v  max %v", name, l.Count, l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max)
		}
	}
	latency("reads", r.Reads)
	latency("writes", r.Writes)
	if len(r.Kinds) > 1 {
		for _, k := range r.Kinds {
			latency("  "+k.Kind.String(), k.Latencies)
		}
	}
	for _, p := range r.Processes {
		line("cpu %s\t%.2f us/op\tuser %v  sys %v  switches %d+%d  written %.1f MB  rss %.0f MB  (pid %d)", p.Name, p.USPerOp, p.CPU.User,
			p.CPU.Sys, p.Switches.Voluntary, p.Switches.Involuntary, float64(p.Written)/1e6, float64(p.RSS)/1e6, p.PID)
	}
	if len(r.Processes) > 0 {
		counted := r.counted()
		line("cpu servers\t%.2f us/op\tuser %.2f  sys %.2f  %.2f switches/op  %s fdatasyncs/op  %s bytes written per user byte", r.ServerUSPerOp,
			r.ServerUserUS, r.ServerSysUS, r.SwitchesPerOp, known(counted, "%.3f", r.SyncsPerOp), known(r.UserBytes > 0, "%.2f", r.WrittenPerByte))
		line("go servers\t%s allocs/op\tGC %s%% of cpu  rss %.0f MB", known(counted, "%.2f", r.AllocsPerOp),
			known(counted, "%.1f", r.GCShare*100), float64(r.RSS)/1e6)
		if !counted {
			line("\t\t- is not known: it needs debug ports, as pegasus-onebox --debug gives them")
		}
	}
	line("cpu client\t%.2f us/op\tuser %v  sys %v  %.2f allocs/op", r.Client.USPerOp,
		r.Client.CPU.User.Round(time.Millisecond), r.Client.CPU.Sys.Round(time.Millisecond), r.Client.AllocsPerOp)
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		line("error\t%d\t%s", r.Errors[text], text)
	}
	return t.Flush()
}
