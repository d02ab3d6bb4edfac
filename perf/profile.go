package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// profileKinds are the views of a process that Profile leaves, by the end of the file's name, and the value of each that its
// text is sorted by.
var profileKinds = []struct{ name, path, top string }{
	{"cpu", "/debug/pprof/profile", "cpu"},
	{"allocs", "/debug/pprof/allocs", "alloc_objects"},
	{"block", "/debug/block", "delay"},
	{"wall", "/debug/wall", "time"}, // on- and off-CPU
}

// The off-CPU view is that part of the wall profile in which goroutines were parked, slept or were in a system call (waiting says how
// that shows), told of the functions that they waited in: frames of libraries that everything goes through are left out.
const (
	waiting   = `^runtime\.(gopark|notetsleepg|notesleep)$|^(internal/runtime/)?syscall\.(Raw)?Syscall6?$`
	waitPaths = `^(runtime|internal|syscall|golang\.org/x/sys|net|bufio|io|sync|time|context)[./]`
)

// Profile collects profiles of all processes that have a debug port, over the time given (whole seconds, at least one), and leaves
// them in dir as NAME.KIND.pb.gz. All kinds are sampled at once, which costs a few per cent: figures of a measurement during
// which this ran are not to be quoted.
func Profile(ctx context.Context, ps []Process, d time.Duration, dir string) error {
	seconds := max(1, int(d.Seconds()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	found := false
	for _, p := range ps {
		if p.Debug == "" {
			continue
		}
		found = true
		for _, k := range profileKinds {
			wg.Go(func() {
				file := filepath.Join(dir, p.Name+"."+k.name+profileSuffix)
				err := fetchProfile(ctx, fmt.Sprintf("http://%s%s?seconds=%d", p.Debug, k.path, seconds), file)
				if err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s of %s: %w", k.name, p.Name, err))
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if !found {
		return errors.New("no process has a debug port: start the cluster with `pegasus-onebox --debug`, or set debug.listen")
	}
	return errors.Join(errs...)
}

const profileSuffix = ".pb.gz"

func fetchProfile(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return os.WriteFile(file, body, 0o644)
}

// ProfileTexts writes NAME.KIND.txt beside each profile of dir: what `go tool pprof -top` makes of it; and NAME.offcpu.txt, where the
// time went that the process was not running. Without a go command it does nothing; the profiles can be read elsewhere.
func ProfileTexts(ctx context.Context, dir string) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil
	}
	text := func(profile, into string, flags ...string) error {
		args := append([]string{"tool", "pprof", "-top", "-nodecount=80"}, flags...)
		out, err := exec.CommandContext(ctx, tool, append(args, profile)...).Output()
		if err != nil {
			return fmt.Errorf("go tool pprof %s: %w", profile, err)
		}
		return os.WriteFile(into, out, 0o644)
	}
	for _, k := range profileKinds {
		files, err := filepath.Glob(filepath.Join(dir, "*."+k.name+profileSuffix))
		if err != nil {
			return err
		}
		for _, f := range files {
			index := "-sample_index=" + k.top
			if err := text(f, strings.TrimSuffix(f, profileSuffix)+".txt", index); err != nil {
				return err
			}
			if k.name != "wall" {
				continue
			}
			offCPU := strings.TrimSuffix(f, ".wall"+profileSuffix) + ".offcpu.txt"
			if err := text(f, offCPU, index, "-focus="+waiting, "-hide="+waitPaths); err != nil {
				return err
			}
		}
	}
	return nil
}
