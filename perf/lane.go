package perf

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// The load is closed: a connection has depth lanes, each with one request in flight, and a lane starts its next request
// when the last one has ended, on the goroutine that received the reply. So a connection costs no goroutine per request,
// and replies that came in one segment are followed by requests that leave in one write.

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
	reads  *hdrhistogram.Histogram
	writes *hdrhistogram.Histogram
	misses int64
	errs   map[string]int64
}

func newMeter() *meter {
	return &meter{
		reads:  hdrhistogram.New(lowest, highest, digits),
		writes: hdrhistogram.New(lowest, highest, digits),
		errs:   map[string]int64{},
	}
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads.Reset()
	m.writes.Reset()
	m.misses = 0
	clear(m.errs)
}

func (m *meter) ok(read, miss bool, took time.Duration) {
	v := max(lowest, min(int64(took), highest))
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.writes
	if read {
		h = m.reads
	}
	_ = h.RecordValue(v) // v is within the bounds
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
	work *Workload
	pick chooser
	// left is how many operations may still be started; it is not used when the phase ends by time.
	limited bool
	left    atomic.Int64
	stop    atomic.Bool
	// load writes every record once, in order, instead of drawing.
	load   bool
	loaded atomic.Uint64
	value  []byte
}

// valueBytes is the pool that values are cut from: incompressible, and different from one write to the next.
const valueBytes = 4 << 20

func newSource(w *Workload, seed uint64) *source {
	s := &source{work: w, pick: newChooser(w), value: make([]byte, valueBytes)}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range s.value {
		s.value[i] = byte(r.Uint32())
	}
	return s
}

// take returns the next record number, or false when the phase is over.
func (s *source) take(r *rand.Rand) (record uint64, ok bool) {
	if s.stop.Load() {
		return 0, false
	}
	if s.load {
		n := s.loaded.Add(1) - 1
		return n, n < s.work.Records
	}
	if s.limited && s.left.Add(-1) < 0 {
		return 0, false
	}
	return s.pick.next(r), true
}

// lane keeps one request in flight. It is its call's owner; its fields are touched by one goroutine at a time.
type lane struct {
	call  clientlib.Call
	table *clientlib.Table
	src   *source
	m     *meter
	rng   *rand.Rand
	key   []byte
	begun time.Time
	ended func()
}

func newLane(table *clientlib.Table, src *source, m *meter, seed uint64, ended func()) *lane {
	l := &lane{table: table, src: src, m: m, rng: rand.New(rand.NewPCG(seed, 2)), ended: ended}
	l.call.OnDone = func(*clientlib.Call) { l.finish() }
	return l
}

// next starts the next request, or ends the lane when the phase is over.
func (l *lane) next() {
	record, ok := l.src.take(l.rng)
	if !ok {
		l.ended()
		return
	}
	l.encode(record)
	l.begun = time.Now()
	l.table.Do(&l.call)
}

func (l *lane) encode(record uint64) {
	w := l.src.work
	l.key = append(l.key[:0], byte(w.KeySize>>8), byte(w.KeySize))
	l.key = appendKey(l.key, record, w.KeySize)
	l.call.Hash = proto.RawKeyHash(l.key)
	if !l.src.load && l.rng.Float64() < w.ReadShare {
		l.call.Code = proto.CodeGet
		l.call.Args = proto.AppendBlobArg(l.call.Args[:0], l.key)
		return
	}
	at := l.rng.IntN(valueBytes - w.ValueSize)
	put := proto.PutRequest{Key: l.key, Value: l.src.value[at : at+w.ValueSize]}
	l.call.Code = proto.CodePut
	l.call.Args = put.AppendArgs(l.call.Args[:0])
}

func (l *lane) finish() {
	took := time.Since(l.begun)
	read := l.call.Code == proto.CodeGet
	miss, err := false, l.call.Err
	if err == nil {
		miss, err = check(read, l.call.Result)
	}
	if err != nil {
		l.m.failed(err)
		go l.next() // the call may have ended inside Do: a run of failures must not recurse
		return
	}
	l.m.ok(read, miss, took)
	l.next()
}

// check reads the storage status of a result.
func check(read bool, result []byte) (miss bool, err error) {
	var status proto.StorageStatus
	if read {
		var r proto.ReadResponse
		err = r.DecodeResult(result)
		status = r.Error
	} else {
		var r proto.UpdateResponse
		err = r.DecodeResult(result)
		status = r.Error
	}
	switch {
	case err != nil:
		return false, err
	case read && status == proto.StorageNotFound:
		return true, nil
	case status != proto.StorageOK:
		return false, &clientlib.ServerError{Status: status}
	}
	return false, nil
}

// errStopped ends a phase whose context ended.
var errStopped = errors.New("perf: stopped")

// phase runs all lanes until the source is dry, for a time if that is not 0, or until a channel that is not nil is closed.
func phase(ctx context.Context, lanes []*lane, wg *sync.WaitGroup, src *source, d time.Duration, until <-chan struct{}) error {
	wg.Add(len(lanes))
	for _, l := range lanes {
		go l.next() // the first request of a lane; the others start where replies arrive
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
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
	src.stop.Store(true)
	<-over
	src.stop.Store(false)
	return err
}
