// Package debugport serves what a developer looks into a running daemon with: profiles and counters, over HTTP on a loopback
// address. It knows nothing of what the daemon does; counters of its own are handed in as a function. A daemon without a
// debug port pays nothing for it.
//
//	/debug/pprof/profile?seconds=N    CPU (package net/http/pprof, as for heap, allocs, goroutine, trace)
//	/debug/block?seconds=N            where goroutines waited for channels and locks, and for which
//	/debug/mutex?seconds=N            who held the locks that others waited for
//	/debug/wall?seconds=N             on- and off-CPU time of all goroutines, by samples (github.com/felixge/fgprof)
//	/debug/counters                   one JSON object of numbers that only grow, but for those that say otherwise
package debugport

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"runtime/metrics"
	rtpprof "runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/felixge/fgprof"
)

// Counters are numbers of the daemon by name.
type Counters func() map[string]uint64

// Server is a debug port that is open.
type Server struct {
	http http.Server
	ln   net.Listener
	done chan struct{}
}

// ErrNotLoopback refuses an address that others could reach: a debug port tells everything and stops the world on request.
var ErrNotLoopback = errors.New("debugport: the address is not a loopback address")

// Start opens the port. counters may be nil; it is called on goroutines of the port.
func Start(address string, counters Counters) (*Server, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("debugport: %w", err)
	}
	if !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("%w: %s", ErrNotLoopback, address)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("debugport: %w", err)
	}
	s := &Server{ln: ln, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/block", block)
	mux.HandleFunc("/debug/mutex", mutex)
	mux.Handle("/debug/wall", fgprof.Handler())
	mux.HandleFunc("/debug/counters", func(w http.ResponseWriter, _ *http.Request) { writeCounters(w, counters) })
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(ln) // it ends with Close
	}()
	return s, nil
}

// Addr is the address with its real port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Close ends the port and what is being served.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// sampling serves one profile at a time of those that slow the process down while they are on.
var sampling sync.Mutex

// maxSeconds bounds a profile.
const maxSeconds = 300

// block samples blocking events of 10 µs and more on average: all of them would cost too much.
func block(w http.ResponseWriter, r *http.Request) {
	const rate = 10_000 // nanoseconds
	sample(w, r, "block", func() { runtime.SetBlockProfileRate(rate) }, func() { runtime.SetBlockProfileRate(0) })
}

func mutex(w http.ResponseWriter, r *http.Request) {
	const fraction = 10
	sample(w, r, "mutex", func() { runtime.SetMutexProfileFraction(fraction) }, func() { runtime.SetMutexProfileFraction(0) })
}

// sample turns a profile on for the seconds asked for and writes it. What an earlier call left is in it too; the rates are off
// in between, so that is what earlier calls asked for.
func sample(w http.ResponseWriter, r *http.Request, name string, on, off func()) {
	seconds, err := strconv.Atoi(r.FormValue("seconds"))
	if err != nil || seconds < 1 || seconds > maxSeconds {
		http.Error(w, fmt.Sprintf("seconds: want 1 to %d", maxSeconds), http.StatusBadRequest)
		return
	}
	sampling.Lock()
	defer sampling.Unlock()
	on()
	defer off() // after the profile is written: that of mutexes is scaled by the rate
	t := time.NewTimer(time.Duration(seconds) * time.Second)
	select {
	case <-t.C:
	case <-r.Context().Done():
		t.Stop()
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = rtpprof.Lookup(name).WriteTo(w, 0) // the client sees a short answer
}

// runtimeCounters are what the Go runtime tells without stopping the world.
var runtimeCounters = map[string]string{
	"go_allocs":      "/gc/heap/allocs:objects",
	"go_alloc_bytes": "/gc/heap/allocs:bytes",
	"go_gc_cycles":   "/gc/cycles/total:gc-cycles",
	"go_gc_cpu_ns":   "/cpu/classes/gc/total:cpu-seconds",
	"go_heap_bytes":  "/memory/classes/heap/objects:bytes", // now
	"go_goroutines":  "/sched/goroutines:goroutines",       // now
}

func writeCounters(w http.ResponseWriter, own Counters) {
	out := map[string]uint64{}
	if own != nil {
		out = own()
	}
	for name, metric := range runtimeCounters {
		s := []metrics.Sample{{Name: metric}}
		metrics.Read(s)
		switch s[0].Value.Kind() {
		case metrics.KindUint64:
			out[name] = s[0].Value.Uint64()
		case metrics.KindFloat64: // seconds
			out[name] = uint64(s[0].Value.Float64() * float64(time.Second))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the client sees a short answer
}
