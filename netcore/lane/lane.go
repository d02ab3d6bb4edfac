// Package lane runs jobs that may block on a few goroutines of their own, first in first out, so that nobody who must
// not block has to. It knows nothing of what a job does: a job posts its result to a mailbox itself.
package lane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/netcore/invariant"
	"pegasus/netcore/spin"
)

// Errors of Submit.
var (
	// ErrFull: as many jobs wait as may. The caller answers "busy".
	ErrFull = errors.New("lane: full")
	// ErrClosed: Close was called; the job was not taken.
	ErrClosed = errors.New("lane: closed")
)

// Waking a worker. A goroutine that waits on a channel is woken through Go's scheduler: one more thread looks for work, finds the
// goroutine, runs it there, and when the goroutine blocks again a thread looks for work once more. For a loop that hands out a log
// write per turn this costs more than the write. Workers of a lane with threads of its own wait in a system call instead, and the
// kernel wakes the one thread that is meant: at one replicated write at a time, 3 members, 41 or 28 context switches per write
// became 21, together with what netcore/loop does about its own wait.
//
// Rejected for log writes: io_uring (with O_DIRECT and RWF_DSYNC 30 % less processor time on a quiet machine, but a disk without FUA is
// flushed by a kernel worker then, 1 to 4 ms late when the processors are busy; every other way costs more than this); a thread bound
// to the processor of the loop while writes come one by one (9 % less processor time per replicated put at depth 1, 6 % more at
// depth 2). Where nobody reads meanwhile, a loop writes its log itself and needs no lane: see shard/logwrite.go.

// Lane is a bounded queue of jobs and its workers. Create it with New, end it with Close. All methods may be called
// from any goroutine.
type Lane struct {
	name    string
	workers int
	nice    int
	jobs    chan func()
	bell    int // eventfd that counts the jobs in the queue, for workers with threads of their own; -1: none
	wg      sync.WaitGroup

	open      spin.Gate // a send on a closed channel would panic
	closeOnce sync.Once

	running atomic.Int64
	done    atomic.Uint64
	full    atomic.Uint64
	busy    atomic.Int64 // nanoseconds in finished jobs
}

// Option changes a lane at its creation.
type Option func(*Lane)

// Threads gives every worker a thread of its own, which the kernel wakes: for jobs that a loop hands out often, and for those that
// sit in system calls or cgo for long.
func Threads() Option {
	return func(l *Lane) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_SEMAPHORE)
		if err != nil {
			return // out of descriptors: the lane works without, only dearer
		}
		l.bell = fd
	}
}

// Nice makes the workers give way to everything else: their threads, which are theirs alone, get the priority n (1 to 19, see
// nice(1)). For work that takes much time of a processor and that nobody waits for by the microsecond.
func Nice(n int) Option { return func(l *Lane) { l.nice = n } }

// New starts workers (> 0) goroutines. At most limit (> 0) jobs wait besides those that run; a job waits until a worker takes it. With
// one worker jobs run in the order of Submit, with more they start in that order.
func New(name string, workers, limit int, opts ...Option) *Lane {
	invariant.Assertf(workers > 0 && limit > 0, "lane %s: %d workers, limit %d", name, workers, limit)
	l := &Lane{name: name, workers: workers, jobs: make(chan func(), limit), bell: -1}
	for _, o := range opts {
		o(l)
	}
	l.open.Open()
	l.wg.Add(workers)
	for range workers {
		go l.work()
	}
	return l
}

// Submit queues a job, or returns ErrFull or ErrClosed. It never blocks. A panic in a job is not recovered.
func (l *Lane) Submit(job func()) error {
	if !l.open.Enter() {
		return fmt.Errorf("%w: %s", ErrClosed, l.name)
	}
	defer l.open.Leave()
	select {
	case l.jobs <- job:
		l.ring(1)
		return nil
	default:
		l.full.Add(1)
		return ErrFull
	}
}

func (l *Lane) work() {
	defer l.wg.Done()
	if l.bell >= 0 || l.nice != 0 {
		runtime.LockOSThread()
		if l.nice == 0 {
			defer runtime.UnlockOSThread()
		} else {
			// On Linux a priority is a thread's. Nothing that the workers do needs it, so a refusal is none of theirs. The thread
			// ends with the goroutine.
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, l.nice)
		}
	}
	for {
		l.wait()
		job, open := <-l.jobs
		if !open {
			return
		}
		l.running.Add(1)
		start := time.Now()
		job()
		l.busy.Add(int64(time.Since(start)))
		l.running.Add(-1)
		l.done.Add(1)
	}
}

// ring tells n workers with threads of their own to look into the queue.
func (l *Lane) ring(n uint64) {
	if l.bell < 0 {
		return
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	if _, err := unix.Write(l.bell, b[:]); err != nil {
		invariant.Assertf(false, "lane %s: ring: %v", l.name, err)
	}
}

// wait returns when there is a job for this worker, or the lane is closed. Without a bell the queue itself is waited for.
func (l *Lane) wait() {
	var b [8]byte
	for l.bell >= 0 {
		switch _, err := unix.Read(l.bell, b[:]); err {
		case nil:
			return
		case unix.EINTR:
		default:
			invariant.Assertf(false, "lane %s: wait: %v", l.name, err)
		}
	}
}

// Close refuses further jobs, waits until all that were accepted have run and the workers are gone. A job must not
// call it.
func (l *Lane) Close() {
	l.closeOnce.Do(func() {
		l.open.Shut()
		close(l.jobs)
		l.ring(uint64(l.workers)) // each job has been rung for already
		l.wg.Wait()
		if l.bell >= 0 {
			unix.Close(l.bell)
		}
	})
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
