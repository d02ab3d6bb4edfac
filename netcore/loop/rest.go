package loop

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"pegasus/netcore/invariant"
)

// How a loop waits. Left to itself the library asks for events without waiting, finds none, yields to the scheduler, which
// wakes a second thread to look for work, and waits then. On a server that has one request at a time that second thread is a
// large part of what a request costs. So the loop waits here, inside the library's last call of a batch, on an epoll instance
// of its own for three descriptors: the library's epoll instance, which is readable as soon as one of the library's sockets is, a
// bell that other goroutines ring, and a clock. It goes back to the library when a socket is ready; what the mailbox brings is
// worked off right here. Bell and clock are edge-triggered: what they count is never read.
//
// The same look tells where a batch ends: sockets are level-triggered, so when the epoll instance is not readable, no socket
// of the batch is left, and the turn is over.
//
// The library's sockets may always be waited for in this way. Its tasks may not: it forgets that it was told of one before it
// has run it. The tasks are our own turn ends, which come by the bell meanwhile, and adoptions, while which nobody waits here.
//
// Rejected: an epoll loop of our own (the library would be replaced, and with it what it knows of sockets); the library's
// descriptor by reflection (the kernel tells it, see findPoll); ppoll on the three (3 to 8 % more processor time per request at depth 1, for it
// enters three wait queues and leaves them each time); sched_yield before the wait, for more requests at once (none came, and it
// cost 3 %); spinning before the wait (two processors are shared by clients,
// servers and disks here: what spins takes its time from the others).
//
// Measured: the README has the figures of whole clusters, BenchmarkEcho those of a loop. What it costs: one get at a time over an otherwise
// idle machine takes 48 us and not 39, for no thread of ours spins any more when it comes, and 22 us of processor time and not 30.

// Where the loop's goroutine is, as far as it concerns whoever has something for it.
const (
	inLibrary int32 = iota // in the library, or on its way there: a task reaches it
	awake                  // in a call of ours: it looks for what is queued before it leaves or waits
	waiting                // in rest: the bell reaches it
)

// rester is the part of a core that waits.
type rester struct {
	where      atomic.Int32
	taskQueued atomic.Bool  // the library has a turn end of ours that it has not run
	guests     atomic.Int32 // adoptions under way
	bell       int          // eventfd; valid once init has succeeded
	pollFD     int          // the library's epoll instance; -1: unknown, then the library waits
	outer      int          // the epoll instance that watches the library's, bell and clock; valid once init has succeeded
	clock      int          // timerfd for the earliest timer; a timeout of the wait itself would be set and cleared for every request
	clockAt    int64        // when it fires, on the loop's clock; 0: not set
	events     [3]unix.EpollEvent
}

func (r *rester) init() (err error) {
	r.pollFD, r.outer, r.bell, r.clock = -1, -1, -1, -1
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.outer, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if r.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if r.clock, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	return errors.Join(r.watch(r.bell, unix.EPOLLET), r.watch(r.clock, unix.EPOLLET))
}

func (r *rester) watch(fd int, mode uint32) error {
	err := unix.EpollCtl(r.outer, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | mode, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

// close gives the descriptors back. Nobody may ring any more.
func (r *rester) close() {
	for _, fd := range [...]int{r.outer, r.bell, r.clock} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// restOn has the loop wait for the sockets of the library, whose epoll instance watches fd.
func (r *rester) restOn(fd int) {
	if inner := findPoll(fd); inner >= 0 && r.watch(inner, 0) == nil {
		r.pollFD = inner
	}
}

// findPoll looks which epoll instance of this process watches a descriptor. Without an answer the loop works all the same.
func findPoll(fd int) int {
	const dir = "/proc/self/fdinfo/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return -1
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && watches(dir+e.Name(), fd) {
			return n
		}
	}
	return -1
}

// watches tells whether a file of fdinfo is that of an epoll instance with a line "tfd: <fd> ...".
func watches(path string, fd int) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // closed meanwhile
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "tfd:"); ok {
			if f := strings.Fields(rest); len(f) > 0 && f[0] == strconv.Itoa(fd) {
				return true
			}
		}
	}
	return false
}

// wake makes the loop run a turn end soon. Any goroutine.
func (c *core) wake() {
	if !c.wakeQueued.Swap(true) {
		c.call()
	}
}

// call makes the loop look at what is queued.
func (c *core) call() {
	switch c.where.Load() {
	case awake:
	case waiting:
		c.ring()
	default:
		c.execute()
	}
}

// ring ends the wait of rest. It may come too late: then the next wait ends at once.
func (c *core) ring() {
	if !c.reachable.Enter() {
		return
	}
	one := [8]byte{1}
	// The counter cannot become full: that takes 2^64 rings.
	_, _ = unix.Write(c.bell, one[:])
	c.reachable.Leave()
}

// execute asks the library for a turn end.
func (c *core) execute() {
	if c.taskQueued.Swap(true) {
		return
	}
	if !c.reachable.Enter() {
		c.taskQueued.Store(false)
		return
	}
	// The only error is that the engine goes down, which ends everything that waits for this wake-up too.
	_ = c.el.Execute(context.Background(), (*wakeTask)(c))
	c.reachable.Leave()
}

// enter begins a call of the library. It tells false when it is one within another, whose end counts.
func (c *core) enter() bool {
	if c.where.Load() == awake {
		return false
	}
	c.where.Store(awake)
	return true
}

// leave goes back to the library, which will run a turn end if there is anything left for one. A task that asked for the next one
// would keep the library from its sockets, which are why rest leaves: what is queued goes with their turn, or by alarm.
func (c *core) leave(byTask bool) {
	if c.inTurn {
		c.wakeQueued.Store(true)
	}
	c.where.Store(inLibrary)
	queued := c.wakeQueued.Load()
	if queued && (!byTask || c.pollFD < 0) {
		c.execute()
		queued = false
	}
	c.setAlarm(queued)
}

// rest ends a call of the library that may be the last of its batch: it ends the turn, unless more sockets are ready that
// belong to it, and waits. byTask: see finish.
func (c *core) rest(byTask bool) {
	for over := !c.mayRest(byTask) || c.poll(0); !over; {
		if c.inTurn || c.wakeQueued.Load() {
			c.wakeQueued.Store(false)
			c.begin()
			c.finish(byTask)
			if c.stopping || c.final {
				c.wakeQueued.Store(true) // the rest of that is done by task
			}
			if !c.mayRest(byTask) {
				break
			}
		}
		c.setClock()
		c.where.Store(waiting)
		patience := -1
		if c.wakeQueued.Load() {
			patience = 0
		}
		over = c.poll(patience)
		c.where.Store(awake)
		over = over || !c.mayRest(byTask)
	}
	c.leave(byTask)
}

// setClock has the wait end for the earliest timer. The clock is set anew only for one that is earlier than what it is set to.
func (c *core) setClock() {
	at, ok := c.timers.Next()
	if !ok {
		return
	}
	at = wholeMilli(at)
	if c.clockAt != 0 && c.clockAt <= at {
		return
	}
	c.clockAt = at
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(at-c.ReadClock(), 1))}
	if err := unix.TimerfdSettime(c.clock, 0, &spec, nil); err != nil { // tested here: the arguments of Assertf would be allocated
		invariant.Assertf(false, "loop %s: timerfd_settime: %v", c.cfg.Name, err)
	}
}

// mayRest tells whether nothing needs the library.
func (c *core) mayRest(byTask bool) bool {
	return c.pollFD >= 0 && !c.taskQueued.Load() && c.guests.Load() == 0 && !c.stopping && !c.final && (byTask || len(c.closers) == 0)
}

// poll waits for the library's sockets, the bell and the clock, for ever with patience -1, not at all with 0. It asks for a turn
// when the clock fired, and tells whether there are sockets.
func (c *core) poll(patience int) (sockets bool) {
	n, err := unix.EpollWait(c.outer, c.events[:], patience)
	if err != nil && err != unix.EINTR { // as in setClock
		invariant.Assertf(false, "loop %s: epoll_wait: %v", c.cfg.Name, err)
	}
	for i := range max(n, 0) {
		switch int(c.events[i].Fd) {
		case c.pollFD:
			sockets = true
		case c.clock:
			c.clockAt = 0
			c.wakeQueued.Store(true)
		}
	}
	return sockets
}
