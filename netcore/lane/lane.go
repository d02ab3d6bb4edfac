// Package lane runs jobs that may block on a few goroutines of their own, first in first out, so that nobody who must
// not block has to. It knows nothing of what a job does: a job posts its result to a mailbox itself.
package lane

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/netcore/invariant"
)

// Errors of Submit.
var (
	// ErrFull: as many jobs wait as may. The caller answers "busy".
	ErrFull = errors.New("lane: full")
	// ErrClosed: Close was called; the job was not taken.
	ErrClosed = errors.New("lane: closed")
)

// Lane is a bounded queue of jobs and its workers. Create it with New, end it with Close. All methods may be called
// from any goroutine.
type Lane struct {
	name    string
	workers int
	lock    bool
	nice    int
	jobs    chan func()
	wg      sync.WaitGroup

	mu     sync.Mutex // guards closed against a send on a closed channel
	closed bool

	running atomic.Int64
	done    atomic.Uint64
	full    atomic.Uint64
	busy    atomic.Int64 // nanoseconds in finished jobs
}

// Option changes a lane at its creation.
type Option func(*Lane)

// LockOSThread gives every worker a thread of its own, for jobs that sit in system calls or cgo for long.
func LockOSThread() Option { return func(l *Lane) { l.lock = true } }

// Nice makes the workers give way to everything else: their threads, which are theirs alone, get the priority n (1 to 19, see
// nice(1)). For work that takes much time of a processor and that nobody waits for by the microsecond.
func Nice(n int) Option { return func(l *Lane) { l.lock, l.nice = true, n } }

// New starts workers (> 0) goroutines. At most limit (> 0) jobs wait besides those that run. With one worker jobs run
// in the order of Submit, with more they start in that order.
func New(name string, workers, limit int, opts ...Option) *Lane {
	invariant.Assertf(workers > 0 && limit > 0, "lane %s: %d workers, limit %d", name, workers, limit)
	l := &Lane{name: name, workers: workers, jobs: make(chan func(), limit)}
	for _, o := range opts {
		o(l)
	}
	l.wg.Add(workers)
	for range workers {
		go l.work()
	}
	return l
}

// Submit queues a job, or returns ErrFull or ErrClosed. It never blocks. A panic in a job is not recovered.
func (l *Lane) Submit(job func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("%w: %s", ErrClosed, l.name)
	}
	select {
	case l.jobs <- job:
		return nil
	default:
		l.full.Add(1)
		return ErrFull
	}
}

func (l *Lane) work() {
	defer l.wg.Done()
	if l.lock {
		runtime.LockOSThread()
		if l.nice == 0 {
			defer runtime.UnlockOSThread()
		} else {
			// On Linux a priority is a thread's. Nothing that the workers do needs it, so a refusal is none of theirs. The thread
			// ends with the goroutine.
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, l.nice)
		}
	}
	for job := range l.jobs {
		l.running.Add(1)
		start := time.Now()
		job()
		l.busy.Add(int64(time.Since(start)))
		l.running.Add(-1)
		l.done.Add(1)
	}
}

// Close refuses further jobs, waits until all that were accepted have run and the workers are gone. A job must not
// call it.
func (l *Lane) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.jobs)
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// Stats of a lane.
type Stats struct {
	Name    string
	Workers int
	Limit   int
	Depth   int           // jobs that wait now
	Running int           // jobs that run now
	Done    uint64        // jobs finished
	Full    uint64        // jobs refused with ErrFull
	Busy    time.Duration // time spent in finished jobs, all workers together
}

// Stats returns the counters, which are not read at one instant.
func (l *Lane) Stats() Stats {
	return Stats{Name: l.name, Workers: l.workers, Limit: cap(l.jobs), Depth: len(l.jobs),
		Running: int(l.running.Load()), Done: l.done.Load(), Full: l.full.Load(), Busy: time.Duration(l.busy.Load())}
}
