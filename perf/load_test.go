package perf

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// pausing is a store that answers at once, except that it stands still from one moment to another.
type pausing struct {
	from, to time.Duration
	begin    atomic.Pointer[time.Time]
	started  atomic.Int64
}

func (d *pausing) Name() string                            { return "pausing" }
func (d *pausing) Supports(Kind) bool                      { return true }
func (d *pausing) Servers(context.Context) []Server        { return nil }
func (d *pausing) Dial(context.Context, int) (Conn, error) { return d, nil }
func (d *pausing) Slot() Slot                              { return d }
func (d *pausing) Close()                                  {}
func (d *pausing) Blocks() bool                            { return false }
func (d *pausing) Start(op *Op) {
	d.started.Add(1)
	now := time.Now()
	d.begin.CompareAndSwap(nil, &now)
	since := now.Sub(*d.begin.Load())
	if since < d.from || since >= d.to {
		op.Done(false, nil)
		return
	}
	time.AfterFunc(d.to-since, func() { op.Done(false, nil) })
}

// A store that stands still for a quarter of the time: everything that was due meanwhile waited, however few were in flight, so
// the 90th percentile is of the size of the pause. A closed load sees as many slow operations as it has lanes.
func TestOpenLoadSeesPauses(t *testing.T) {
	const pause = 100 * time.Millisecond
	run := func(rate float64) *Report {
		d := &pausing{from: 50 * time.Millisecond, to: 50*time.Millisecond + pause}
		c := Config{Driver: d, Conns: 1, Depth: 4, Work: small(1), Rate: rate, Duration: 400 * time.Millisecond}
		if rate > 0 {
			c.Ops, c.Duration = int64(rate*c.Duration.Seconds()), 0
		}
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed != 0 {
			t.Fatalf("failures: %v", r.Errors)
		}
		return r
	}
	open, closed := run(2000), run(0)
	if open.All.P90 < pause/4 {
		t.Errorf("open load: p90 %v does not show the pause", open.All.P90)
	}
	if closed.All.P90 > pause/4 {
		t.Errorf("closed load: p90 %v", closed.All.P90)
	}
	if open.Ops != 800 || open.Elapsed < 399*time.Millisecond {
		t.Errorf("%d operations at 2000 a second took %v", open.Ops, open.Elapsed)
	}
}

// A rate that the store cannot do shows as failures, and the run ends in time.
func TestOverload(t *testing.T) {
	d := &pausing{from: 0, to: time.Hour}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.to = 300 * time.Millisecond
	r, err := Run(ctx, Config{Driver: d, Conns: 2, Depth: 1, Work: small(1), Rate: 10000, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops != 2 || r.Errors[errOverload.Error()] < 500 {
		t.Errorf("%d ops, %v", r.Ops, r.Errors)
	}
}

func TestPresets(t *testing.T) {
	for _, name := range PresetNames() {
		w := Workload{Records: 1000, KeySize: 16, ValueSize: 10, Distribution: Uniform}
		if err := w.Preset(name); err != nil {
			t.Fatal(err)
		}
		if err := w.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(Workload).Preset("ycsb-z"); err == nil {
		t.Error("a workload that does not exist")
	}
}

// The shares of a mix are what is drawn, inserts get new records, and batches stay within a hash key.
func TestDraw(t *testing.T) {
	w := Workload{
		Records: 1000, KeySize: 16, ValueSize: 10, Distribution: Latest, SortKeys: 20, Batch: 7,
		Mix: Mix{Get: 5, Insert: 1, MultiPut: 2, Scan: 2},
	}
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	src := newSource(&w, 1)
	r := rand.New(rand.NewPCG(1, 2))
	const draws = 20000
	seen := map[Kind]float64{}
	var op Op
	for range draws {
		before := src.added.next.Load()
		src.draw(&op, r)
		seen[op.Kind]++
		switch op.Kind {
		case Insert:
			var hash, sort uint64
			if _, err := fmt.Sscanf(string(op.HashKey)+" "+string(op.SortKey), "%d %d", &hash, &sort); err != nil || hash*20+sort != before {
				t.Fatalf("inserted %s %s, want record %d", op.HashKey, op.SortKey, before)
			}
		case MultiPut, Scan:
			if op.First+uint64(op.N) > 20 || op.N < 1 || op.N > 7 {
				t.Fatalf("%v of %d records from %d on", op.Kind, op.N, op.First)
			}
			for i := range op.N {
				if len(op.Value(i)) != 10 {
					t.Fatal("a value of another size")
				}
			}
		}
	}
	for k, share := range w.Mix {
		if got := seen[k] / draws * 10; math.Abs(got-share) > 0.3 {
			t.Errorf("%v has share %.2f of 10, want %v", k, got, share)
		}
	}
}

// Records are there when their insert and all before it have ended.
func TestInserts(t *testing.T) {
	var s inserts
	s.reset(10)
	for want := uint64(10); want < 14; want++ {
		if got := s.begin(); got != want {
			t.Fatalf("record %d, want %d", got, want)
		}
	}
	for _, step := range []struct{ ended, there uint64 }{{11, 10}, {13, 10}, {10, 12}, {12, 14}} {
		if s.end(step.ended); s.there.Load() != step.there {
			t.Errorf("%d records are there when %d has ended, want %d", s.there.Load(), step.ended, step.there)
		}
	}
	if len(s.ended) != 0 {
		t.Errorf("%d are kept", len(s.ended))
	}
}

// The newest record is asked for most.
func TestLatest(t *testing.T) {
	var total atomic.Uint64
	total.Store(500)
	c := newChooser(&Workload{Records: 100, Distribution: Latest}, &total)
	r := rand.New(rand.NewPCG(1, 2))
	newest := 0
	for range 1000 {
		n := c.next(r)
		if n >= 500 || n < 400 {
			t.Fatalf("record %d of 500, the window is 100", n)
		}
		if n == 499 {
			newest++
		}
	}
	if newest < 100 {
		t.Errorf("the newest record came %d times of 1000", newest)
	}
}

func TestValidateMix(t *testing.T) {
	for _, w := range []Workload{
		{Mix: Mix{Get: -1}}, {Mix: Mix{Get: 0}}, {Mix: Mix{Scan: 1}, Batch: 5}, {Mix: Mix{kinds: 1}}, {Mix: Mix{Get: math.NaN()}},
		{SortKeys: 1000}, {Batch: maxBatch + 1}, {Mix: Mix{Incr: 1}, KeySize: minKeySize},
	} {
		w.Records, w.ValueSize, w.Distribution = 100, 1, Uniform
		w.KeySize = max(w.KeySize, minKeySize)
		if err := w.Validate(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
}
