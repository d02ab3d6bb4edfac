package shard

import "time"

// Point requests are short and many; a scan of a table is long and takes all the time that it is given. Beside each other on the
// same processors the scan makes point requests wait: for a processor, and for the loop while that copies and sends batches.
// So while short requests come, long reads get a share of the time only: what a slice has cost is a debt that shrinks with
// the clock, and the next one starts when it is paid. Slices are short then, because a request that meets one waits for its end.
// While nothing else comes there is no limit: who scans at night scans at full speed.
//
// The share is also what scans get at least, whatever the load; and no pause is longer than maxScanPause, because the time of a
// slice may have been spent waiting for a disk, which is in nobody's way.
//
// A low priority of the threads that scan (see longReadNice) helps besides and is not enough: a kernel that ticks every 4 ms lets a
// thread finish its time before one that woke up, and the client that scans has the priority it likes. Measured with
// pegasus-bench --scans, two processors, clients included, 8,000 gets/s, release build: beside a scan p99 of the gets is 1.85 times
// what it is alone without a limit (785,000 records/s), 1.27 times with a share of 10 % (135,000 records/s), 1.12 with the priority
// besides, 1.0 with a share of 5 % (65,000 records/s); the errors are 0.1 to 0.16. Beside processes that only burn what the
// clients of these scans use it is 1.50, 1.27, 1.09 and 1.0.

const (
	// shortMemory is for how long after a short request long reads keep to their share.
	shortMemory = 20 * time.Millisecond
	// sharedSlice and freeSlice bound a slice with and without other requests.
	sharedSlice  = 300 * time.Microsecond
	freeSlice    = 2 * time.Millisecond
	maxScanPause = 5 * time.Millisecond
	// timerLag is how much later than asked a timer of a loop may fire.
	timerLag = time.Millisecond
)

// What a slice costs besides its time in the lane: the wake-ups and messages there and back, and copying and sending the reply.
const (
	sliceCost   = 30 * time.Microsecond
	replyPerKiB = time.Microsecond
)

// scanBudget is the account of a shard's long reads. It reads no clock. Times are nanoseconds on a monotonic one.
type scanBudget struct {
	percent int64 // of the time, 1 to 100; 100 = no limit

	short   uint64 // short requests so far
	shortAt int64  // when their number was last seen to have grown
	known   bool   // short is valid
	credit  int64  // nanoseconds of work that may be done; negative = debt
	asOf    int64
}

// maxCredit is what long reads may save up: a slice, so that the batch of a client that comes now and then goes at once, and what
// a timer that is late would lose.
func (b *scanBudget) maxCredit() int64 { return int64(sharedSlice) + int64(timerLag)*b.percent/100 }

// look tells the budget how many short requests there have been so far.
func (b *scanBudget) look(short uint64, now int64) {
	if b.known && short != b.short {
		b.shortAt = now
	}
	if !b.known {
		b.known, b.shortAt, b.asOf, b.credit = true, now-int64(shortMemory), now, b.maxCredit()
	}
	b.short = short
}

// free tells whether long reads have the shard to themselves.
func (b *scanBudget) free(now int64) bool {
	return b.percent >= 100 || now-b.shortAt >= int64(shortMemory)
}

// slice is how long the next slice may take.
func (b *scanBudget) slice(now int64) time.Duration {
	if b.free(now) {
		return freeSlice
	}
	return sharedSlice
}

// pause is how long the next slice has to wait; 0 = it may start.
func (b *scanBudget) pause(now int64) time.Duration {
	b.settle(now)
	if b.free(now) || b.credit >= 0 {
		return 0
	}
	return min(time.Duration(-b.credit*100/b.percent), maxScanPause)
}

// spent books a slice, or the reply of a read.
func (b *scanBudget) spent(cost time.Duration, now int64) {
	b.settle(now)
	// A debt is bounded by what the longest pause pays.
	b.credit = max(b.credit-int64(cost), -int64(maxScanPause)*b.percent/100)
}

// settle adds what the time since the last call has brought.
func (b *scanBudget) settle(now int64) {
	b.credit = min(b.credit+(now-b.asOf)*b.percent/100, b.maxCredit())
	b.asOf = now
}
