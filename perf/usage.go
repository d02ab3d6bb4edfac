package perf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far, as /proc and its debug port tell. What cannot be learned is 0: /proc/PID/io needs the
// right to trace the process, counters need a debug port.
type usage struct {
	cpu      CPU
	switches Switches
	written  uint64 // bytes that it made the kernel write to disks
	rss      uint64 // bytes, now
	counters map[string]uint64
}

// Switches are context switches of all threads of a process that live at both readings.
type Switches struct {
	Voluntary   uint64 `json:"voluntary"`   // it waited
	Involuntary uint64 `json:"involuntary"` // it was made to
}

// debugTimeout bounds a question to a debug port.
const debugTimeout = 5 * time.Second

func readUsage(p Process) (u usage, err error) {
	if u.cpu, err = readCPU(p.PID); err != nil {
		return u, err
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.PID))
	if err != nil {
		return u, err
	}
	for _, name := range tasks {
		fields, err := readFields(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended
		}
		if err != nil {
			return u, err
		}
		u.switches.Voluntary += fields["voluntary_ctxt_switches"]
		u.switches.Involuntary += fields["nonvoluntary_ctxt_switches"]
		u.rss = fields["VmRSS"] << 10 // in KiB, the same for all threads
	}
	if fields, err := readFields(fmt.Sprintf("/proc/%d/io", p.PID)); err == nil {
		u.written = fields["write_bytes"]
	}
	if p.member != nil {
		if u.counters, err = p.member.counters(); err != nil {
			return u, fmt.Errorf("counters of %s: %w", p.Name, err)
		}
	}
	if p.Debug != "" {
		if u.counters, err = readCounters(p.Debug); err != nil {
			return u, fmt.Errorf("debug port of %s: %w", p.Name, err)
		}
	}
	return u, nil
}

// readFields reads the numbers of a file of lines "name: number ...".
func readFields(name string) (map[string]uint64, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(raw)) {
		key, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			if n, err := strconv.ParseUint(words[0], 10, 64); err == nil {
				out[key] = n
			}
		}
	}
	return out, nil
}

func readCounters(address string) (map[string]uint64, error) {
	client := http.Client{Timeout: debugTimeout}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + address + "/debug/counters")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	out := map[string]uint64{}
	return out, json.NewDecoder(resp.Body).Decode(&out)
}

// sample reads all processes.
func sample(ps []Process) ([]usage, error) {
	out := make([]usage, len(ps))
	for i, p := range ps {
		var err error
		if out[i], err = readUsage(p); err != nil {
			return nil, fmt.Errorf("process %s (%d): %w", p.Name, p.PID, err)
		}
	}
	return out, nil
}

// processReport is what a process used between two readings.
func processReport(p Process, from, to usage) ProcessReport {
	// Threads that ended take their switches with them.
	less := func(a, b uint64) uint64 { return max(a, b) - b }
	r := ProcessReport{
		Name: p.Name, PID: p.PID, CPU: to.cpu.Sub(from.cpu), RSS: to.rss, Written: less(to.written, from.written),
		Switches: Switches{less(to.switches.Voluntary, from.switches.Voluntary), less(to.switches.Involuntary, from.switches.Involuntary)},
	}
	if to.counters != nil {
		r.Counters = map[string]uint64{}
		for name, n := range to.counters {
			r.Counters[name] = less(n, from.counters[name])
		}
	}
	return r
}
