package loop

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// How a loop competes for its processor. A loop that wakes takes the processor from whatever runs there. That is right when what runs
// has nothing to do with it, and wrong when it is a client that is just writing its requests, or a server that is just answering: the
// loop serves the one request that is there, and is woken again for the next. Where clients share processors with servers, as in
// containers, on small machines and in tests, each of many requests in flight is served by itself like that. So while a loop waits very
// often (enterRate) its thread is of SCHED_BATCH, which does not take the processor but waits until whoever runs comes to an end, or to
// the end of its time. On an idle processor it makes no difference.
//
// What runs may be anything, though, and keep the processor for milliseconds: a compaction, the collector, a stranger. The kernel
// counts for how long the thread was ready to run and did not, and how often it came to run (Linux, Documentation/scheduler/sched-stats).
// When that is too long (maxDelay) the loop goes back to the ordinary policy, and tries again after a second, after two, and so on up to
// a minute.
//
// Measured, official Go client with 16 and 64 callers, three replica servers on two processors, three rounds in turn: 12.7 and 11.3 us of
// server CPU per get with the ordinary policy, 9.3 and 7.2 with this; median 221 and 898 us, and 206 and 754. The price is in the tail, where a loop waits for
// the time of others to end: the slowest of a thousand gets by 64 callers took up to 30 % longer, those of --tails, at 70 % of what is
// possible, 10 to 20 % less.
//
// Rejected: a short sleep before each wait (as good with 64 in flight, but half as much latency again with 16, when the processors have
// nothing else to do meanwhile); sched_yield before the wait (the client has lost the processor by then); SCHED_BATCH for ever (one put
// at a time beside two busy programs: median 8 ms and not 0.4); shorter or longer time slices (no difference).

const (
	millisecond = int64(1_000_000)

	enterWindow = 100 * millisecond
	stayWindow  = 500 * millisecond // shorter ones take a pause of the client for a stranger: their delays are twice and half the mean
	enterRate   = 10_000            // waits per second; one request at a time stays below
	leaveRate   = 6_000             // fewer waits bring enough each, and with few in flight all of them wait for the loop: multi_gets by 16 cost 12 % more
	maxDelay    = 120_000           // nanoseconds per run, mean of a window; 20 to 80 among clients and servers, 100 to 1,000 beside busy programs
	firstRetry  = 1_000 * millisecond
	lastRetry   = 64 * firstRetry
	proven      = 10 // windows after which the next retry is after firstRetry again
)

// policy chooses the scheduling policy of a loop's thread. Its methods are called on that thread.
type policy struct {
	counts    int   // descriptor of the thread's schedstat; -1: the policy is left as it is
	enterRate int64 // the constant, but for tests
	batch     bool
	rests     int64 // since from
	from      int64
	delayed   int64 // nanoseconds ready and not running, as counted by the kernel at from
	runs      int64
	good      int // windows as SCHED_BATCH in a row
	retryAt   int64
	retry     int64
	line      [96]byte
}

func (p *policy) init() { p.counts, p.enterRate, p.retry = -1, enterRate, firstRetry }

// open has the policy of the calling thread chosen from now on. It stays what it is where the kernel does not count, and where somebody
// has chosen another one for the process.
func (p *policy) open() {
	if now, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0); errno != 0 || now != unix.SCHED_NORMAL {
		return
	}
	if fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		p.counts = fd
	}
}

// end leaves the thread, which the runtime uses for something else then, as it was.
func (p *policy) end() {
	if p.batch {
		p.set(false)
	}
	p.close()
}

// close gives the descriptor back. It is the only method for other threads, when the loop's has ended.
func (p *policy) close() {
	if p.counts >= 0 {
		unix.Close(p.counts)
		p.counts = -1
	}
}

// rest notes that the loop is about to wait. It returns the nanoseconds as SCHED_BATCH that have not been returned before.
func (p *policy) rest(now int64) (batch int64) {
	p.rests++
	window := enterWindow
	if p.batch {
		window = stayWindow
	}
	passed := now - p.from
	if passed < window || p.counts < 0 {
		return 0
	}
	if p.batch {
		batch = passed
	}
	rate := p.rests * 1000 * millisecond / passed
	p.rests, p.from = 0, now
	if p.batch || rate >= p.enterRate && now >= p.retryAt {
		p.judge(now, rate)
	}
	return batch
}

// judge changes the policy, or not, at the end of a window.
func (p *policy) judge(now, rate int64) {
	delayed, runs, ok := p.read()
	delay := (delayed - p.delayed) / max(runs-p.runs, 1)
	p.delayed, p.runs = delayed, runs
	switch {
	case !ok:
		p.end()
	case !p.batch:
		p.good = 0
		p.set(true)
	case delay > maxDelay:
		p.set(false)
		if p.good >= proven {
			p.retry = firstRetry
		}
		p.retryAt, p.retry = now+p.retry, min(2*p.retry, lastRetry)
	case rate < leaveRate:
		p.set(false)
	default:
		p.good++
	}
}

// read takes the counts of the kernel, three numbers: nanoseconds run, nanoseconds ready and not running, times run.
func (p *policy) read() (delayed, runs int64, ok bool) {
	n, err := unix.Pread(p.counts, p.line[:], 0)
	if err != nil {
		return 0, 0, false
	}
	var numbers [3]int64
	i := 0
	for _, b := range p.line[:n] {
		switch {
		case b >= '0' && b <= '9' && i < len(numbers):
			numbers[i] = numbers[i]*10 + int64(b-'0')
		default:
			i++
		}
	}
	return numbers[1], numbers[2], i >= len(numbers)
}

// set changes the policy of the thread; its nice value stays. sched_setattr does not do: told to keep what else there is, it keeps the
// policy as well.
func (p *policy) set(batch bool) {
	to, param := uintptr(unix.SCHED_NORMAL), [1]int32{}
	if batch {
		to = unix.SCHED_BATCH
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, to, uintptr(unsafe.Pointer(&param))); errno != 0 {
		p.close() // forbidden here
		return
	}
	p.batch = batch
}
