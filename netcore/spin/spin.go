// Package spin has a lock and a gate for threads of the data path, which never wait by way of Go's scheduler. It knows nothing of
// what they guard.
//
// A goroutine that finds a sync.Mutex taken parks, and is woken into the queue of the one that unlocks. A loop or a lane worker is
// tied to its thread, so it takes another thread to find it there and hand it over; with the timer slack of a server (see
// timerslack) that can be 10 ms for a section of 20 ns: p99 of puts at depth 16 went from 2.5 to 7 ms. Such sections are contended
// for long only when the kernel took the processor from whoever is inside, so the one that waits offers its own.
package spin

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// tries is how often a waiter looks before it offers its processor. It then does so after every look.
const tries = 64

// yield lets other threads have the processor. It is a call, whose entry is where the runtime can stop a goroutine: a waiter is nearly
// always in the system call, where a signal that asks it to stop finds it and leaves it alone. While the collector stopped the world with
// the lock taken, whoever waited for the lock kept the world from being stopped, for 20 s beside busy programs.
//
//go:noinline
func yield() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// Lock guards sections of some ten nanoseconds that make no system call. The zero value is unlocked.
type Lock struct{ mu sync.Mutex }

// Lock waits until the lock is free, and takes it.
func (l *Lock) Lock() {
	for i := 0; !l.mu.TryLock(); i++ {
		if i >= tries {
			yield()
		}
	}
}

// Unlock gives the lock back.
func (l *Lock) Unlock() { l.mu.Unlock() }

// Gate lets any number of users at a resource until it is shut, and tells when the last one has left. The zero value is shut.
type Gate struct {
	open  atomic.Bool
	users atomic.Int32
}

// Open lets users in.
func (g *Gate) Open() { g.open.Store(true) }

// Enter tells whether the gate is open; then Leave must follow.
func (g *Gate) Enter() bool {
	g.users.Add(1)
	if g.open.Load() {
		return true
	}
	g.users.Add(-1)
	return false
}

// Leave ends what a successful Enter began.
func (g *Gate) Leave() { g.users.Add(-1) }

// Shut keeps users out from now on and waits until none is inside. It must not be called by one.
func (g *Gate) Shut() {
	g.open.Store(false)
	for i := 0; g.users.Load() != 0; i++ {
		if i >= tries {
			yield()
		}
	}
}
