package rocks

import (
	"sync"
	"testing"
)

func TestGate(t *testing.T) {
	for range 200 {
		g := newGate()
		var inside, wg sync.WaitGroup
		entered := make(chan bool, 8)
		release := make(chan struct{})
		inside.Add(4)
		for range 4 {
			wg.Go(func() {
				entered <- g.enter()
				inside.Done()
				<-release
				g.leave()
			})
		}
		inside.Wait()
		stopped, done := make(chan struct{}), make(chan bool)
		go func() { done <- g.shut(func() { close(stopped) }) }()
		<-stopped
		for range 100 {
			if g.enter() {
				t.Fatal("entered a closed gate")
			}
		}
		select {
		case <-done:
			t.Fatal("shut returned with calls inside")
		default:
		}
		close(release)
		if !<-done {
			t.Fatal("shut did not do it")
		}
		wg.Wait()
		for range 4 {
			if !<-entered {
				t.Fatal("refused at an open gate")
			}
		}
		if g.shut(func() { t.Error("stopped twice") }) {
			t.Fatal("shut twice")
		}
	}
}
