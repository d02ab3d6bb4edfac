package perf

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A lane has one operation in flight. With a closed load it starts its next operation when the last one has ended, on the
// goroutine that received the reply: so a connection costs no goroutine per request, and replies that came in one segment
// are followed by requests that leave in one write. With an open load a pacer says when to start; see open.go.

// histogram bounds, in nanoseconds; latencies outside are counted as the bound.
const (
	lowest  = int64(time.Microsecond)
	highest = int64(time.Minute)
	digits  = 3
)

// meter collects what the lanes of one connection measure. A connection to several servers has a reader goroutine for
// each, hence the lock.
type meter struct {
	mu     sync.Mutex
	hists  [kinds]*hdrhistogram.Histogram
	misses int64
	bytes  int64 // of keys and values written
	errs   map[string]int64
}

func newMeter(w *Workload) *meter {
	m := &meter{errs: map[string]int64{}}
	last := 0.0
	for k, share := range w.shares() {
		if share > last {
			m.hists[k] = hdrhistogram.New(lowest, highest, digits)
		}
		last = share
	}
	return m
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.hists {
		if h != nil {
			h.Reset()
		}
	}
	m.misses, m.bytes = 0, 0
	clear(m.errs)
}

// ok books an operation. Loading the records uses a kind that the workload need not have.
func (m *meter) ok(k Kind, miss bool, written int, took time.Duration) {
	v := max(lowest, min(int64(took), highest))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hists[k] == nil {
		m.hists[k] = hdrhistogram.New(lowest, highest, digits)
	}
	_ = m.hists[k].RecordValue(v) // v is within the bounds
	m.bytes += int64(written)
	if miss {
		m.misses++
	}
}

func (m *meter) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs[err.Error()]++
}

// source hands out operations to the lanes of a phase.
type source struct {
	work   *Workload
	shares [kinds]float64
	pick   chooser
	added  inserts
	// left is how many operations may still be started; it is not used when the phase ends by time.
	limited bool
	left    atomic.Int64
	stop    atomic.Bool
	// load writes every record once, in order, instead of drawing.
	load   bool
	loaded atomic.Uint64
	values []byte
}

// valueBytes is the pool that values are cut from: incompressible, and different from one write to the next.
const valueBytes = 4 << 20

func newSource(w *Workload, seed uint64) *source {
	s := &source{work: w, shares: w.shares(), values: make([]byte, max(valueBytes, w.ValueSize))}
	s.added.reset(w.Records)
	s.pick = newChooser(w, &s.added.there)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range s.values {
		s.values[i] = byte(r.Uint32())
	}
	return s
}

// more counts one operation more, or returns false when the phase is over.
func (s *source) more() bool {
	return !s.stop.Load() && !(s.limited && s.left.Add(-1) < 0)
}

// take makes op the next operation, or returns false when the phase is over.
func (s *source) take(op *Op, r *rand.Rand) bool {
	if s.load {
		n := s.loaded.Add(1) - 1
		if n >= s.work.Records || s.stop.Load() {
			return false
		}
		s.work.place(op, Put, n, r, s.values)
		return true
	}
	if !s.more() {
		return false
	}
	s.draw(op, r)
	return true
}

// draw makes op an operation of the mix.
func (s *source) draw(op *Op, r *rand.Rand) {
	at := r.Float64()
	kind := Kind(0)
	for at >= s.shares[kind] && kind < kinds-1 {
		kind++
	}
	record := uint64(0)
	if kind == Insert {
		record = s.added.begin()
	} else {
		record = s.pick.next(r)
	}
	op.record = record
	s.work.place(op, kind, record, r, s.values)
}

// lane keeps one operation in flight. Its fields are touched by one goroutine at a time.
type lane struct {
	slot  Slot
	src   *source
	m     *meter
	rng   *rand.Rand
	op    Op
	kind  Kind // of the operation as reported; a Modify is carried out as two others
	begun time.Time
	ended func()
	open  *openConn // nil: the load is closed
}

func newLane(slot Slot, src *source, m *meter, seed uint64, ended func()) *lane {
	l := &lane{slot: slot, src: src, m: m, rng: rand.New(rand.NewPCG(seed, 2)), ended: ended}
	l.op.Done = l.done
	return l
}

// next starts the next operation of a closed load, or ends the lane when the phase is over.
func (l *lane) next() {
	if l.slot.Blocks() {
		for l.src.take(&l.op, l.rng) {
			l.start(time.Now())
		}
		l.ended()
		return
	}
	if !l.src.take(&l.op, l.rng) {
		l.ended()
		return
	}
	l.start(time.Now())
}

// start sends the operation that take has made. begun is what its latency is counted from.
func (l *lane) start(begun time.Time) {
	l.kind, l.begun = l.op.Kind, begun
	if l.kind == Modify {
		l.op.Kind = Get
	}
	l.slot.Start(&l.op)
}

func (l *lane) done(miss bool, err error) {
	if err == nil && l.kind == Modify && l.op.Kind == Get {
		l.op.Kind = Put
		l.slot.Start(&l.op)
		return
	}
	took := time.Since(l.begun)
	if l.kind == Insert {
		l.src.added.end(l.op.record)
	}
	if err == nil {
		written := 0
		if !l.kind.read() {
			written = l.op.N * (len(l.op.HashKey) + len(l.op.SortKey) + l.op.ValueSize)
		}
		l.m.ok(l.kind, miss, written, took)
	} else {
		l.m.failed(err)
	}
	switch { // an operation may fail inside Start: a run of failures must not recurse
	case l.open != nil && err != nil:
		go l.open.idle(l)
	case l.open != nil:
		l.open.idle(l)
	case l.slot.Blocks(): // next goes on
	case err != nil:
		go l.next()
	default:
		l.next()
	}
}

// errStopped ends a phase whose context ended.
var errStopped = errors.New("perf: stopped")

// phase runs all lanes until the source is dry, for a time if that is not 0, or until a channel that is not nil is closed.
// rate, if not 0, is that of an open load in operations per second.
func (b *bench) phase(ctx context.Context, rate float64, d time.Duration, until <-chan struct{}) error {
	b.wg.Add(len(b.lanes))
	over := make(chan struct{})
	if rate > 0 {
		b.startOpen(rate)
	} else {
		for _, l := range b.lanes {
			l.open = nil
			go l.next() // the first operation of a lane; the others start where replies arrive
		}
	}
	go func() { b.wg.Wait(); close(over) }()
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	}
	var err error
	select {
	case <-over:
	case <-timeout:
	case <-until:
	case <-ctx.Done():
		err = errStopped
	}
	b.src.stop.Store(true)
	<-over
	b.src.stop.Store(false)
	return err
}
