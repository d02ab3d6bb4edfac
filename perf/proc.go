package perf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU is processor time.
type CPU struct {
	User time.Duration `json:"user_ns"`
	Sys  time.Duration `json:"sys_ns"`
}

// Total is user and system time together.
func (c CPU) Total() time.Duration { return c.User + c.Sys }

// Sub is the time from o to c.
func (c CPU) Sub(o CPU) CPU { return CPU{User: c.User - o.User, Sys: c.Sys - o.Sys} }

// Process is a server process that is watched.
type Process struct {
	PID   int
	Name  string // of the node's folder, or of the program
	Debug string // address of its debug port, or ""

	member *member // of a FloorGroup, which has its counters
}

// ProcessesOf returns the processes of a onebox folder: DIR/NODE/pid holds the process id of a node that runs.
func ProcessesOf(dir string) ([]Process, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "pid"))
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		words := strings.Fields(string(raw))
		if len(words) == 0 {
			return nil, fmt.Errorf("%s is empty", f)
		}
		pid, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if _, err := readCPU(pid); errors.Is(err, os.ErrNotExist) {
			continue // a node that was killed leaves its file
		}
		debug, err := debugPort(filepath.Dir(f))
		if err != nil {
			return nil, err
		}
		out = append(out, Process{PID: pid, Name: filepath.Base(filepath.Dir(f)), Debug: debug})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no process of a onebox runs", dir)
	}
	return out, nil
}

// NamedProcesses are those of a onebox in dir and those of the process ids in pids, by commas; either may be empty.
func NamedProcesses(dir, pids string) ([]Process, error) {
	var out []Process
	if dir != "" {
		var err error
		if out, err = ProcessesOf(filepath.Clean(dir)); err != nil {
			return nil, err
		}
	}
	for _, text := range strings.FieldsFunc(pids, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("process id %q: %w", text, err)
		}
		p, err := ProcessOf(pid)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// debugPort returns the address in the configuration file of a node's folder, "" when there is none.
func debugPort(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	for _, f := range files {
		var c struct{ Debug struct{ Listen string } }
		if _, err := toml.DecodeFile(f, &c); err != nil {
			return "", fmt.Errorf("%s: %w", f, err)
		}
		if c.Debug.Listen != "" {
			return c.Debug.Listen, nil
		}
	}
	return "", err
}

// ProcessOf names a process by the program that it runs.
func ProcessOf(pid int) (Process, error) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, Name: strings.TrimSpace(string(name))}, nil
}

// readCPU returns the time that all threads of a process have used so far.
func readCPU(pid int) (CPU, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return CPU{}, err
	}
	return parseStat(string(raw))
}

// parseStat reads utime and stime, fields 14 and 15. The second field, the program's name in parentheses, may hold
// spaces and parentheses itself.
func parseStat(text string) (CPU, error) {
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if end < 0 || len(fields) < 13 {
		return CPU{}, fmt.Errorf("bad process statistics %q", text)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return CPU{}, err
	}
	sys, err := strconv.ParseInt(fields[12], 10, 64)
	return CPU{User: time.Duration(user) * tick, Sys: time.Duration(sys) * tick}, err
}
