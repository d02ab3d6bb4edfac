package lane

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bothKinds runs a test with workers that wait for the queue, and with workers that have threads of their own.
func bothKinds(t *testing.T, test func(t *testing.T, opts ...Option)) {
	t.Run("goroutines", func(t *testing.T) { test(t) })
	t.Run("threads", func(t *testing.T) { test(t, Threads()) })
}

func TestOneWorkerIsFIFO(t *testing.T) { bothKinds(t, oneWorkerIsFIFO) }

func oneWorkerIsFIFO(t *testing.T, opts ...Option) {
	l := New("log", 1, 1000, opts...)
	var got []int
	for i := range 1000 {
		if err := l.Submit(func() { got = append(got, i) }); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if len(got) != 1000 {
		t.Fatalf("%d jobs ran", len(got))
	}
	for i, v := range got {
		if i != v {
			t.Fatalf("job %d ran as number %d", v, i)
		}
	}
}

func TestFullAndClosed(t *testing.T) {
	l := New("read", 2, 3, Threads())
	release, started := make(chan struct{}), make(chan struct{}, 2)
	block := func() { started <- struct{}{}; <-release }
	for range 2 {
		if err := l.Submit(block); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	<-started
	var ran atomic.Int32
	for range 3 {
		if err := l.Submit(func() { ran.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Submit(func() {}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if s := l.Stats(); s.Depth != 3 || s.Running != 2 || s.Full != 1 || s.Workers != 2 || s.Limit != 3 {
		t.Fatalf("stats %+v", s)
	}
	close(release)
	l.Close()
	l.Close()
	if ran.Load() != 3 {
		t.Fatalf("%d of 3 accepted jobs ran", ran.Load())
	}
	if s := l.Stats(); s.Depth != 0 || s.Running != 0 || s.Done != 5 || s.Busy <= 0 {
		t.Fatalf("stats %+v", s)
	}
	if err := l.Submit(func() {}); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
}

func TestNice(t *testing.T) {
	of := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Error(err)
		}
		return 20 - n // the system call returns it so, lest it look like an error
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := of()
	want := min(before+3, 19)
	l := New("batch", 1, 1, Nice(want))
	got := make(chan int, 1)
	if err := l.Submit(func() { got <- of() }); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != want {
		t.Errorf("a worker of priority %d, want %d", n, want)
	}
	l.Close()
	if n := of(); n != before {
		t.Errorf("the caller's priority went from %d to %d", before, n)
	}
}

// Close beside many Submits: what was accepted runs, nothing else does.
func TestCloseUnderLoad(t *testing.T) { bothKinds(t, closeUnderLoad) }

func closeUnderLoad(t *testing.T, opts ...Option) {
	l := New("storm", 3, 16, opts...)
	var accepted, ran atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				switch err := l.Submit(func() { ran.Add(1) }); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, ErrClosed):
					return
				default:
					runtime.Gosched()
				}
			}
		}()
	}
	for ran.Load() < 1000 {
		runtime.Gosched()
	}
	l.Close()
	wg.Wait()
	if accepted.Load() != ran.Load() {
		t.Fatalf("accepted %d, ran %d", accepted.Load(), ran.Load())
	}
}

func BenchmarkSubmit(b *testing.B) {
	b.ReportAllocs()
	l := New("bench", 1, 1024)
	job := func() {}
	for b.Loop() {
		for l.Submit(job) != nil {
			runtime.Gosched()
		}
	}
	l.Close()
}
