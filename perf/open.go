package perf

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An open load starts operations at the times of a schedule, whether or not earlier ones have ended: as users do, who do not
// know of each other. Latency is counted from the scheduled time. A server that pauses therefore shows in the latency of
// everything that was due meanwhile, and not only of what was in flight ("coordinated omission", G. Tene).
//
// A connection has a fixed number of lanes. What is due while all of them are taken waits in the connection's queue, with its
// time; when the queue is full the operation fails as overload, which says that the rate is beyond what the store can do.

// errOverload ends operations that found the queue full.
var errOverload = errors.New("perf: overload, the store does not keep up with the rate")

// maxQueue bounds what is due and not started, per connection.
const maxQueue = 1 << 18

// minPace bounds how often the pacer wakes up: what is due sooner starts together. It costs at most so much latency.
const minPace = 50 * time.Microsecond

// openProcs is how many threads at least may run Go in a process that makes an open load: an echo server in C has a p99.9 of 3 to 5 ms
// at 40,000 to 80,000 requests per second then, of 5 to 9 with two.
const openProcs = 8

// openConn is the open load of one connection.
type openConn struct {
	mu    sync.Mutex
	free  []*lane
	due   []time.Time // ring
	head  int
	count int
	over  bool
}

// idle takes a lane whose operation has ended, and gives it the next one that waits.
func (o *openConn) idle(l *lane) {
	o.mu.Lock()
	if o.count == 0 {
		if o.over {
			o.mu.Unlock()
			l.ended()
			return
		}
		o.free = append(o.free, l)
		o.mu.Unlock()
		return
	}
	at := o.due[o.head]
	o.head = (o.head + 1) % len(o.due)
	o.count--
	o.mu.Unlock()
	l.begin(at)
}

// begin starts an operation that was due at a time.
func (l *lane) begin(at time.Time) {
	l.src.draw(&l.op, l.rng)
	if l.slot.Blocks() {
		go l.start(at)
		return
	}
	l.start(at)
}

// schedule starts an operation, or lets it wait. It returns false when there is no room to wait.
func (o *openConn) schedule(at time.Time) bool {
	o.mu.Lock()
	if n := len(o.free); n > 0 {
		l := o.free[n-1]
		o.free = o.free[:n-1]
		o.mu.Unlock()
		l.begin(at)
		return true
	}
	defer o.mu.Unlock()
	if o.count == maxQueue {
		return false
	}
	if o.count == len(o.due) {
		ring := make([]time.Time, max(1024, 2*len(o.due)))
		for i := range o.count {
			ring[i] = o.due[(o.head+i)%len(o.due)]
		}
		o.due, o.head = ring, 0
	}
	o.due[(o.head+o.count)%len(o.due)] = at
	o.count++
	return true
}

// end ends the lanes that are idle; the others end when they become so. It returns how many operations were due and not started.
func (o *openConn) end() (waiting int) {
	o.mu.Lock()
	free := o.free
	waiting = o.count
	o.free, o.over, o.count = nil, true, 0
	o.mu.Unlock()
	for _, l := range free {
		l.ended()
	}
	return waiting
}

// startOpen starts the pacer. It ends the lanes when the source is told to stop or is dry.
func (b *bench) startOpen(rate float64) {
	conns := make([]*openConn, len(b.meters))
	for i := range conns {
		conns[i] = &openConn{}
	}
	for i, l := range b.lanes {
		l.open = conns[i/b.config.Depth]
		l.open.free = append(l.open.free, l)
	}
	// The pacer's thread wants back into Go after every sleep. With no more processors of the runtime than the machine has it may
	// wait for one until the runtime takes it from somebody else, after 10 ms.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), openProcs))
	go func() {
		// Timers of the runtime are late by up to a millisecond; a thread that sleeps in the kernel is not.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		begin := time.Now()
		for n := int64(0); b.src.more(); n++ {
			at := begin.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			if wait := time.Until(at); wait > 0 {
				ts := unix.NsecToTimespec(int64(max(wait, minPace)))
				_ = unix.Nanosleep(&ts, nil) // a signal makes it shorter, which the next round mends
			}
			if i := int(n % int64(len(conns))); !conns[i].schedule(at) {
				b.meters[i].failed(errOverload)
			}
		}
		for i, c := range conns {
			for range c.end() {
				b.meters[i].failed(errOverload)
			}
		}
	}()
}
