package loop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// schedPolicy is that of the calling thread, by the kernel.
func schedPolicy(t testing.TB) int {
	t.Helper()
	policy, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return int(policy)
}

// policyBench drives the policy of a thread of its own with counts of its own.
type policyBench struct {
	policy
	t             *testing.T
	file          *os.File
	now           int64
	delayed, runs int64
}

func newPolicyBench(t *testing.T) *policyBench {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	f, err := os.Create(filepath.Join(t.TempDir(), "schedstat"))
	if err != nil {
		t.Fatal(err)
	}
	b := &policyBench{t: t, file: f}
	b.policy.init()
	if b.counts, err = unix.Open(f.Name(), unix.O_RDONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(); f.Close() })
	return b
}

// pass lets d pass with so many waits per second, each of which had the thread delayed so long, and checks the policy after it.
func (b *policyBench) pass(d time.Duration, rate int64, delay time.Duration, want int) {
	b.t.Helper()
	n := int64(d) * rate / int64(time.Second)
	b.delayed, b.runs = b.delayed+n*int64(delay), b.runs+n
	if _, err := b.file.WriteAt(fmt.Appendf(nil, "%d %d %d\n", b.now, b.delayed, b.runs), 0); err != nil {
		b.t.Fatal(err)
	}
	from := b.now
	for i := range n {
		b.now = from + int64(d)*(i+1)/n
		b.rest(b.now)
	}
	if got := schedPolicy(b.t); got != want {
		b.t.Fatalf("at %v policy %d, not %d", time.Duration(b.now), got, want)
	}
}

const quick, slow = 119 * time.Microsecond, 200 * time.Microsecond // on both sides of maxDelay

func TestPolicyFollowsTheRate(t *testing.T) {
	b := newPolicyBench(t)
	b.pass(time.Second, enterRate-100, quick, unix.SCHED_NORMAL)
	b.pass(100*time.Millisecond, enterRate+100, quick, unix.SCHED_BATCH)
	b.pass(5*time.Second, leaveRate+100, quick, unix.SCHED_BATCH)
	b.pass(500*time.Millisecond, leaveRate-100, quick, unix.SCHED_NORMAL)
	b.pass(100*time.Millisecond, enterRate+100, slow, unix.SCHED_BATCH)
}

func TestPolicyEndsWithDelays(t *testing.T) {
	b := newPolicyBench(t)
	b.pass(100*time.Millisecond, enterRate, quick, unix.SCHED_BATCH)
	for _, retry := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 64} {
		b.pass(500*time.Millisecond, 2*enterRate, slow, unix.SCHED_NORMAL)
		b.pass(retry*time.Second-100*time.Millisecond, enterRate+100, quick, unix.SCHED_NORMAL)
		b.pass(100*time.Millisecond, enterRate+100, quick, unix.SCHED_BATCH)
	}
	b.pass(proven*time.Second, enterRate, quick, unix.SCHED_BATCH)
	b.pass(500*time.Millisecond, enterRate, slow, unix.SCHED_NORMAL)
	b.pass(1000*time.Millisecond, enterRate+100, quick, unix.SCHED_BATCH)
}

func TestPolicyWithoutCounts(t *testing.T) {
	b := newPolicyBench(t)
	b.pass(100*time.Millisecond, enterRate, quick, unix.SCHED_BATCH)
	if err := b.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		b.now += int64(time.Millisecond)
		b.rest(b.now)
	}
	if got := schedPolicy(t); got != unix.SCHED_NORMAL || b.counts >= 0 {
		t.Fatalf("policy %d, counts %d", got, b.counts)
	}
}

func TestPolicyKeepsTheNiceValue(t *testing.T) {
	b := newPolicyBench(t)
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 5); err != nil {
		t.Fatal(err)
	}
	for _, batch := range []bool{true, false} {
		b.set(batch)
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err != nil || n != 20-5 { // as the system call has it
			t.Errorf("batch %v: nice %d, %v", batch, 20-n, err)
		}
	}
}

func TestPolicyEndsWithTheLoop(t *testing.T) {
	b := newPolicyBench(t)
	b.set(true)
	if b.end(); schedPolicy(t) != unix.SCHED_NORMAL || b.counts >= 0 {
		t.Fatalf("policy %d, counts %d", schedPolicy(t), b.counts)
	}
}

// Who runs the whole process with a policy has a reason for it.
func TestPolicyOfOthersStays(t *testing.T) {
	b := newPolicyBench(t)
	b.set(true)
	var p policy
	p.init()
	if p.open(); p.counts >= 0 {
		t.Error("a policy that others have chosen would be changed")
	}
	b.set(false)
	if p.open(); p.counts < 0 {
		t.Error("the ordinary policy would not be changed")
	}
	p.close()
}

// The kernel's counts are of this thread, and grow.
func TestPolicyReadsTheKernel(t *testing.T) {
	runtime.LockOSThread()
	var p policy
	p.init()
	p.open()
	defer p.close()
	_, before, ok := p.read()
	for range 10 {
		unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil)
	}
	if _, runs, ok2 := p.read(); !ok || !ok2 || runs < before+10 {
		t.Errorf("ran %d and %d times, %v %v", before, runs, ok, ok2)
	}
	if n := testing.AllocsPerRun(100, func() { p.read() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// loopPolicy is that of the loop's thread.
func loopPolicy(t testing.TB, l *Loop[msg]) (policy int) {
	t.Helper()
	onLoop(t, l, func() { policy = schedPolicy(t) })
	return policy
}

func TestBusyLoopLetsOthersFinish(t *testing.T) {
	l := startLoop(t, Config{}, newEcho())
	onLoop(t, l, func() { l.policy.enterRate = 100 })
	c := dial(t, l)
	ping := func() {
		send(t, c, frame([]byte("x")))
		expect(t, c, frame([]byte("x")))
	}
	eventually(t, "SCHED_BATCH", func() bool {
		for range 100 {
			ping()
		}
		return loopPolicy(t, l) == unix.SCHED_BATCH
	})
	eventually(t, "the ordinary policy", func() bool {
		ping()
		return loopPolicy(t, l) == unix.SCHED_NORMAL
	})
	eventually(t, "the time in the statistics", func() bool { return l.Snapshot().BatchNanos > 0 })
}

func TestNormalPolicy(t *testing.T) {
	l := startLoop(t, Config{NormalPolicy: true}, newEcho())
	onLoop(t, l, func() {
		if l.policy.counts >= 0 {
			t.Error("the policy would be changed")
		}
	})
}
