package loop

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A connection may be accepted before the loop has its own handle, that is before Start can return. What it asks for
// then must not be lost: a lost wake-up would be the last one.
func TestConnectionsDuringStart(t *testing.T) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()

		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if c, err := net.Dial("tcp", address); err == nil {
						c.Write([]byte{0, 0, 0, 1, 'x'})
						defer c.Close()
						<-stop
						return
					}
				}
			})
		}
		e := &echo{maxFrame: 1 << 10}
		arrived := make(chan struct{}, 1)
		e.onMsg = func(*msg) { arrived <- struct{}{} }
		loop, err := Start[msg](Config{Name: "test", Addrs: []string{address}}, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := loop.Post(msg{}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-arrived:
		case <-time.After(patience):
			t.Fatal("the loop does not hear of a message")
		}
		close(stop)
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := loop.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
