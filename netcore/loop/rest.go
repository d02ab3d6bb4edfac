package loop

import (
	"bufio"
	"context"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"pegasus/netcore/invariant"
)

// How a loop waits. Left to itself the library asks for events without waiting, finds none, yields to the scheduler, which
// wakes a second thread to look for work, and waits then. On a server that has one request at a time that second thread is a
// large part of what a request costs. So the loop waits here, inside the library's last call of a batch, on the library's own epoll
// instance, and reads what sockets have to say by itself: one wait and one read are all that a request asks of the system
// before its answer is written. The list that the wait returns is the batch: when it has been gone through the turn is over.
//
// What is not plain data is the library's: listeners, ends and failures of connections, output that can go on. The sockets are
// level-triggered, so the library finds again what is left to it, and the loop goes back to it as soon as the list has such an
// event and its turn has ended: busy sockets keep the library from nothing. It reads them itself then, as far as they are ready too,
// and comes back here with the first. A socket is read once per list, a buffer full at most; what it has beyond that comes with the
// next list, behind the sockets that are ready besides. Input that a session cannot take now is read all the same, and kept.
//
// Other goroutines ring a bell, the eventfd by which the library hears of tasks; what the mailbox brings is worked off right here. The
// clock is a timerfd that is added to the epoll instance under the number of the bell, so that the library, should it get the event,
// looks for a task and finds none. Both are edge-triggered, what they count is never read, and whoever waits takes the edge. So
// nobody waits here while the library has tasks, which are our own turn ends and adoptions (it is silent about what is queued while
// one runs, besides); a bell that rang here rings again when the loop goes back, for it may have been for such a task; and the clock
// is set anew after the loop has been in the library.
//
// Rejected: an epoll loop of our own (the library would be replaced, and with it what it knows of sockets); the library's
// descriptor by reflection (the kernel tells it, see findPoll); an epoll instance on top of the library's that tells when to
// go back to it (it was so here once: three waits for a request, and a task for requests that came together); the sockets in an instance
// of our own as well (every packet would be told to both); ppoll (3 to 8 % more processor time per request at depth 1, for it enters
// every wait queue and leaves it each time); a timeout of the wait instead of the clock (one get at a time: 35 us of processor time and
// not 32); sched_yield before the wait, for more requests at once (none came, and it cost 3 %); spinning before the wait (two
// processors are shared by clients, servers and disks here: what spins takes its time from the others).
//
// Measured: the README has the figures of whole clusters, BenchmarkEcho those of a loop. Against the instance on top of
// the library's, three replica servers on two processors, official client, medians of five rounds of server CPU: gets 8 to 14 % less,
// puts 10 to 16 % less.
// What it costs: one get at a time over an otherwise idle machine takes 48 us and not 39, for no thread of ours spins any more when it
// comes, and 22 us of processor time and not 30.

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
	pollFD     int          // the library's epoll instance; -1: unknown, then the library waits
	bell       int          // its eventfd, which is the library's too; valid with pollFD
	clock      int          // timerfd for the earliest timer; a timeout of the wait itself would be set and cleared for every request
	clockAt    int64        // when it fires, on the loop's clock; 0: not set
	rung       bool         // the bell's edge was taken here since the library was gone back to
	byFD       []*Session   // by descriptor; no longer than the process has descriptors
	buf        []byte       // what was read from one socket
	events     [128]unix.EpollEvent
}

// ofClock tells an event of the clock from one of the bell, whose number it bears. The library does not look at the rest of an
// event's data.
const ofClock = 1

func (r *rester) init() (err error) {
	r.pollFD, r.bell = -1, -1
	r.clock, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return os.NewSyscallError("timerfd_create", err)
}

// close gives back what init has taken.
func (r *rester) close() { unix.Close(r.clock) }

// restOn has the loop wait for the sockets of the library, whose epoll instance watches fd.
func (c *core) restOn(fd int) {
	poll, bell := findPoll(fd)
	if bell < 0 {
		return
	}
	on := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(bell), Pad: ofClock}
	if unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, c.clock, &on) != nil {
		return
	}
	c.pollFD, c.bell = poll, bell
	c.buf = make([]byte, 1<<bits.Len(uint(c.cfg.ReadBufferCap-1)))
}

// findPoll looks which epoll instance of this process watches a descriptor, and for the one eventfd that it watches besides.
// -1 is no answer, without which the loop works all the same.
func findPoll(fd int) (poll, bell int) {
	const dir = "/proc/self/fdinfo/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return -1, -1
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if all := watched(dir + e.Name()); slices.Contains(all, fd) {
			return n, eventFD(all)
		}
	}
	return -1, -1
}

// watched returns the descriptors that an epoll instance watches, which its file of fdinfo has as "tfd: <fd> ...".
func watched(path string) (fds []int) {
	f, err := os.Open(path)
	if err != nil {
		return nil // closed meanwhile
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "tfd:"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				if fd, err := strconv.Atoi(f[0]); err == nil {
					fds = append(fds, fd)
				}
			}
		}
	}
	return fds
}

// eventFD returns the only eventfd among fds, -1 if there is none or another.
func eventFD(fds []int) int {
	found := -1
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && to == "anon_inode:[eventfd]" {
			if found >= 0 {
				return -1
			}
			found = fd
		}
	}
	return found
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
	if c.reachable.Enter() {
		c.strike()
		c.reachable.Leave()
	}
}

// strike makes an edge of the bell. The counter cannot become full: that takes 2^64 of them.
func (c *core) strike() {
	one := [8]byte{1}
	_, _ = unix.Write(c.bell, one[:])
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
	c.clockAt = 0 // the library may take its edge
	if c.rung {   // it may have been for a task of the library
		c.rung = false
		c.strike()
	}
	queued := c.wakeQueued.Load()
	if queued && (!byTask || c.pollFD < 0) {
		c.execute()
		queued = false
	}
	c.setAlarm(queued)
}

// rest ends a call of the library that may be the last of its batch: what its other sockets have is taken into the turn, which ends
// then, and the loop waits. byTask: see finish.
func (c *core) rest(byTask bool) {
	library := false // has something to do
	if c.inTurn && c.mayRest(byTask) {
		library = c.take(c.poll(0))
	}
	for {
		if (c.inTurn || c.wakeQueued.Load()) && c.mayRest(byTask) {
			c.wakeQueued.Store(false)
			c.begin()
			c.stats.Inlined++
			c.finish(byTask)
			if c.stopping || c.final { // the rest of that is done by a task, which comes now and not by alarm: nobody rests any more
				c.wakeQueued.Store(true)
				byTask = false
			}
		}
		if library || !c.mayRest(byTask) {
			break
		}
		c.setClock()
		c.where.Store(waiting)
		patience := -1
		if c.wakeQueued.Load() {
			patience = 0
		} else {
			c.stats.BatchNanos += uint64(c.policy.rest(c.now))
		}
		n := c.poll(patience)
		c.where.Store(awake)
		library = c.take(n)
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

// poll waits for the library's sockets, the bell and the clock, for ever with patience -1, not at all with 0. It returns the number
// of events.
func (c *core) poll(patience int) int {
	c.stats.Waits++
	n, err := unix.EpollWait(c.pollFD, c.events[:], patience)
	if err != nil {
		if err != unix.EINTR { // tested here: the arguments of Assertf would be allocated
			invariant.Assertf(false, "loop %s: epoll_wait: %v", c.cfg.Name, err)
		}
		return -1
	}
	return n
}

// take reads the sockets of the first n events, once each, and delivers what they have. It tells whether there is anything that is
// the library's: every event that is not plain data.
func (c *core) take(n int) (library bool) {
	for i := range max(n, 0) {
		e := &c.events[i]
		fd := int(e.Fd)
		if fd == c.bell {
			if e.Pad == ofClock {
				c.clockAt = 0
				c.wakeQueued.Store(true)
			} else {
				c.rung = true
			}
			continue
		}
		if fd >= len(c.byFD) || c.byFD[fd] == nil || e.Events != unix.EPOLLIN {
			library = true
			continue
		}
		s := c.byFD[fd]
		n, err := unix.Read(fd, c.buf)
		switch {
		case n > 0:
			c.traffic(s, c.buf[:n])
		case err == nil:
			library = true
		case err != unix.EAGAIN && err != unix.EINTR:
			s.broken = os.NewSyscallError("read", err) // the system does not tell it twice
			library = true
		}
	}
	return library
}

// know has take find the session of a descriptor; nil: there is none any more.
func (c *core) know(fd int, s *Session) {
	for fd >= len(c.byFD) {
		c.byFD = append(c.byFD, nil)
	}
	c.byFD[fd] = s
}
