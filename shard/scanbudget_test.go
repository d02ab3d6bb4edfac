package shard

import (
	"testing"
	"time"
)

// work lets long reads that always want more run against the budget for d, each slice costing cost, with short requests that come
// every interval (0: none). It returns how long slices ran.
func work(b *scanBudget, d, cost, interval time.Duration) (worked time.Duration) {
	now, end := int64(time.Hour), int64(time.Hour+d)
	for short := uint64(0); now < end; {
		if interval > 0 {
			short = uint64(now / int64(interval))
		}
		b.look(short, now)
		if pause := b.pause(now); pause > 0 {
			// Timers of loops are late by up to a millisecond.
			now += int64((pause + time.Millisecond).Truncate(time.Millisecond))
			continue
		}
		now += int64(cost)
		worked += cost
		b.spent(cost, now)
	}
	return worked
}

func TestScanBudgetKeepsToItsShare(t *testing.T) {
	for _, percent := range []int64{1, 10, 50} {
		for _, cost := range []time.Duration{30 * time.Microsecond, 100 * time.Microsecond, 300 * time.Microsecond} {
			const total = 10 * time.Second
			b := &scanBudget{percent: percent}
			worked := work(b, total, cost, time.Millisecond)
			want := total * time.Duration(percent) / 100
			slack := time.Duration(b.maxCredit()) + 2*cost + time.Millisecond // the last one is before the first short request
			// Pauses have a limit, so an expensive slice costs a small share less than it should.
			if floor := total * time.Duration(cost) / time.Duration(int64(cost)+int64(maxScanPause)); want < floor {
				slack += floor
			}
			if worked > want+slack || worked < want*8/10 {
				t.Errorf("%d %%, slices of %v: worked %v of %v, want %v", percent, cost, worked, total, want)
			}
		}
	}
}

func TestScanBudgetIsFreeWithoutOthers(t *testing.T) {
	b := &scanBudget{percent: 10}
	if worked := work(b, time.Second, time.Millisecond, 0); worked != time.Second {
		t.Errorf("worked %v of a second", worked)
	}
	now := int64(2 * time.Hour)
	b.look(0, now)
	if b.slice(now) != freeSlice {
		t.Errorf("a slice of %v", b.slice(now))
	}
	b.look(1, now)
	if b.slice(now) != sharedSlice || b.free(now) {
		t.Errorf("beside a short request: a slice of %v", b.slice(now))
	}
	now += int64(shortMemory)
	b.look(1, now)
	if b.slice(now) != freeSlice || b.pause(now) != 0 {
		t.Errorf("when it is gone: a slice of %v, a pause of %v", b.slice(now), b.pause(now))
	}
}

func TestScanBudgetWithoutLimit(t *testing.T) {
	if worked := work(&scanBudget{percent: 100}, time.Second, time.Millisecond, time.Millisecond); worked != time.Second {
		t.Errorf("worked %v of a second", worked)
	}
}

// A slice that took long, on a slow disk or a busy machine, does not stop a scan: the next one is never far.
func TestScanBudgetBoundsPauses(t *testing.T) {
	b := &scanBudget{percent: 1}
	now := int64(time.Hour)
	b.look(0, now)
	for short := uint64(1); short < 100; short++ {
		b.look(short, now)
		b.spent(time.Second, now)
		if p := b.pause(now); p <= 0 || p > maxScanPause {
			t.Fatalf("a pause of %v", p)
		}
		now += int64(maxScanPause)
		if p := b.pause(now); p != 0 {
			t.Fatalf("another pause of %v", p)
		}
	}
}

// What a client that scans in small steps has saved up lets its next step start at once, and no more than that.
func TestScanBudgetBoundsCredit(t *testing.T) {
	b := &scanBudget{percent: 10}
	b.look(0, int64(time.Hour))
	now := int64(2 * time.Hour)
	b.look(1, now)
	if b.pause(now) != 0 {
		t.Fatal("the first slice waits")
	}
	b.spent(time.Duration(b.maxCredit())+time.Microsecond, now)
	if b.pause(now) <= 0 {
		t.Fatal("an hour was saved up")
	}
}
