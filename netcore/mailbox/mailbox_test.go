package mailbox

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waker is the smallest owner: it sleeps until it is woken.
type waker chan struct{}

func (w waker) wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

func TestLimitAndClasses(t *testing.T) {
	wakes := 0
	b := New[int](2, func() { wakes++ })
	for i := range 2 {
		if err := b.Post(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Post(9); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := b.PostMust(2); err != nil {
		t.Fatal(err)
	}
	var got []int
	take := func(m *int) { got = append(got, *m) }
	if n, more := b.Drain(take); n != 3 || more {
		t.Fatalf("drained %d, more %v", n, more)
	}
	for i, v := range got {
		if i != v {
			t.Fatalf("got %v", got)
		}
	}
	// A reserved message takes no room from ordinary ones.
	for _, err := range []error{b.PostMust(0), b.Post(1), b.Post(2)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Stats(); s.Posted != 6 || s.Full != 1 || s.Depth != 3 || s.Peak != 3 || s.Wakes != 2 || wakes != 2 {
		t.Fatalf("stats %+v, %d wakes", s, wakes)
	}
	b.Close()
	for _, err := range []error{b.Post(1), b.PostMust(1)} {
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v, want ErrClosed", err)
		}
	}
	if n, _ := b.Drain(take); n != 3 {
		t.Fatalf("%d messages left after Close, want 3", n)
	}
}

func TestWakeRule(t *testing.T) {
	wakes := 0
	b := New[int](100, func() { wakes++ })
	post := func() {
		if err := b.Post(1); err != nil {
			t.Fatal(err)
		}
	}
	post()
	post()
	if wakes != 1 {
		t.Fatalf("%d wakes for two posts to a sleeping owner", wakes)
	}
	// A message posted from within the drain is reported, not woken for.
	first := true
	if n, more := b.Drain(func(*int) {
		if first {
			first = false
			post()
		}
	}); n != 2 || !more || wakes != 1 {
		t.Fatalf("n %d, more %v, wakes %d", n, more, wakes)
	}
	if n, more := b.Drain(func(*int) {}); n != 1 || more {
		t.Fatalf("n %d, more %v", n, more)
	}
	// An armed box does not wake; an empty drain disarms it.
	b.Arm()
	post()
	if wakes != 1 {
		t.Fatal("woken although the owner said it is awake")
	}
	b.Drain(func(*int) {})
	b.Arm()
	b.Drain(func(*int) {})
	post()
	if wakes != 2 {
		t.Fatalf("%d wakes, want 2: the post after an empty drain must wake", wakes)
	}
}

// Three million messages from several producers: each producer's arrive in order, none is lost, none waits for ever.
func TestFIFOUnderFlood(t *testing.T) {
	const producers, each = 4, 750_000
	type m struct{ from, n int32 }
	w := make(waker, 1)
	b := New[m](1<<14, w.wake)
	var wg sync.WaitGroup
	var busy atomic.Int64
	for p := range int32(producers) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range int32(each) {
				post := b.Post
				if i%7 == 0 {
					post = b.PostMust
				}
				for {
					err := post(m{p, i})
					if err == nil {
						break
					}
					if !errors.Is(err, ErrFull) {
						t.Errorf("post: %v", err)
						return
					}
					busy.Add(1)
					runtime.Gosched()
				}
			}
		}()
	}
	var next [producers]int32
	total := 0
	deadline := time.After(60 * time.Second)
	for total < producers*each {
		select {
		case <-w:
		case <-deadline:
			t.Fatalf("stuck after %d messages: %+v", total, b.Stats())
		}
		for more := true; more; {
			var n int
			n, more = b.Drain(func(x *m) {
				if x.n != next[x.from] {
					t.Fatalf("producer %d: %d came when %d was due", x.from, x.n, next[x.from])
				}
				next[x.from]++
			})
			total += n
		}
	}
	wg.Wait()
	t.Logf("%d wakes for %d messages, %d times full", b.Stats().Wakes, total, busy.Load())
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	type m struct {
		p *int
		a [4]int64
	}
	b := New[m](1024, func() {})
	take := func(*m) {}
	round := func() {
		for range 100 {
			if b.Post(m{}) != nil {
				t.Fatal("full")
			}
		}
		b.Drain(take)
	}
	round()
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations per round", n)
	}
}

func BenchmarkPostDrain(b *testing.B) {
	b.ReportAllocs()
	box := New[[6]int64](1<<16, func() {})
	take := func(*[6]int64) {}
	i := 0
	for b.Loop() {
		if box.PostMust([6]int64{}) != nil {
			b.Fatal("closed")
		}
		if i++; i&63 == 0 {
			box.Drain(take)
		}
	}
}

func BenchmarkPostContended(b *testing.B) {
	b.ReportAllocs()
	w := make(waker, 1)
	box := New[[6]int64](1<<16, w.wake)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-w:
			case <-stop:
				return
			}
			for more := true; more; {
				_, more = box.Drain(func(*[6]int64) {})
			}
		}
	}()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for box.Post([6]int64{}) != nil {
				runtime.Gosched()
			}
		}
	})
	close(stop)
	<-done
}
