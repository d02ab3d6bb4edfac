package spin

import (
	"sync"
	"sync/atomic"
	"testing"
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
