package spin

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	var l Lock
	var wg sync.WaitGroup
	n := 0
	for range 8 {
		wg.Go(func() {
			for range 20_000 {
				l.Lock()
				n++
				l.Unlock()
			}
		})
	}
	wg.Wait()
	if n != 160_000 {
		t.Fatalf("counted %d of 160000", n)
	}
}

// Whoever waits can be stopped for the collector, which waits for whoever has the lock. Signals do not count: they come in the system
// call, nearly always, and are turned off here, so that without the call of yield the child never ends.
func TestWaitersCanBeStopped(t *testing.T) {
	const child = "PEGASUS_SPIN_CHILD"
	if os.Getenv(child) == "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWaitersCanBeStopped$")
		cmd.Env = append(os.Environ(), child+"=1", "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=4")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v, %v\n%s", err, ctx.Err(), out)
		}
		return
	}
	var l Lock
	var g Gate
	g.Open()
	g.Enter()
	l.Lock()
	var wg sync.WaitGroup
	var waiting atomic.Int32
	for _, wait := range []func(){l.Lock, g.Shut} {
		wg.Go(func() {
			waiting.Add(1)
			wait()
		})
	}
	for waiting.Load() < 2 {
		runtime.Gosched()
	}
	for range 100 {
		runtime.GC()
	}
	l.Unlock()
	g.Leave()
	wg.Wait()
}

// Once Shut has returned nobody is inside, and nobody comes in.
func TestGate(t *testing.T) {
	var g Gate
	if g.Enter() {
		t.Fatal("entered a gate that was never opened")
	}
	g.Open()
	var gone atomic.Bool
	var wg sync.WaitGroup
	entered := make(chan struct{}, 8)
	for range 8 {
		wg.Go(func() {
			for first := true; g.Enter(); first = false {
				if gone.Load() {
					t.Error("inside after the gate was shut")
				}
				g.Leave()
				if first {
					entered <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-entered
	}
	g.Shut()
	gone.Store(true)
	wg.Wait()
}

func BenchmarkLock(b *testing.B) {
	var l Lock
	for b.Loop() {
		l.Lock()
		l.Unlock()
	}
}

func BenchmarkGate(b *testing.B) {
	var g Gate
	g.Open()
	for b.Loop() {
		g.Enter()
		g.Leave()
	}
}
