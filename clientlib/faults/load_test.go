package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

const (
	workers   = 3 // per partition, on its registers and counters
	pace      = 8 * time.Millisecond
	opTimeout = time.Second

	// A key is given up for a new one before its history becomes hard to check.
	opsPerKey    = 300
	maybesPerKey = 5
)

var sortKey = []byte("s")

// load works on a table until end, and remembers what it was told. Each partition has workers of its own, so that one
// that does not answer keeps nobody from the others.
type load struct {
	t     *testing.T
	table *clientlib.Table
	rec   *recorder
	acks  *ackLog
	parts []*partLoad

	unique atomic.Int64 // source of values
	quit   chan struct{}
	wg     sync.WaitGroup

	mu     sync.Mutex
	errors map[string]int // operations without success, by reason
}

// partLoad is the share of one partition.
type partLoad struct {
	registers, counters *slot
	writes, reads       atomic.Int64 // answered
}

// slot names the key that is in use at present for one purpose.
type slot struct {
	stem        string
	part, parts int

	mu          sync.Mutex
	key         string
	generation  int
	ops, maybes int
	last        content // as seen by somebody lately
}

// current returns the key and what it held lately.
func (s *slot) current() (string, content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == "" || s.ops >= opsPerKey || s.maybes >= maybesPerKey {
		s.generation++
		s.key = keyIn(fmt.Sprintf("%s%d.%d", s.stem, s.part, s.generation), s.part, s.parts)
		s.ops, s.maybes, s.last = 0, 0, content{}
	}
	s.ops++
	return s.key, s.last
}

func (s *slot) note(key string, o *op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case key != s.key:
	case o.maybe:
		s.maybes++
	case o.verb == opSet || o.verb == opCAS && o.applied:
		s.last = content{true, o.value}
	case o.verb == opDel:
		s.last = content{}
	default:
		s.last = o.seen
	}
}

// keyIn extends a stem so that the key falls into a partition.
func keyIn(stem string, part, parts int) string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s-%d", stem, i)
		if int(proto.KeyHash([]byte(key))%uint64(parts)) == part {
			return key
		}
	}
}

// startLoad puts a table under load. name keeps its keys apart from those of other loads.
func startLoad(t *testing.T, client *clientlib.Client, table, name string, seed uint64) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tb, err := client.OpenTable(ctx, table)
	if err != nil {
		t.Fatal(err)
	}
	n := tb.Partitions()
	l := &load{t: t, table: tb, rec: newRecorder(), acks: newAckLog(tb, name), quit: make(chan struct{}), errors: map[string]int{}}
	for p := range n {
		l.parts = append(l.parts, &partLoad{
			registers: &slot{stem: name + "/register", part: p, parts: n},
			counters:  &slot{stem: name + "/counter", part: p, parts: n},
		})
	}
	for p := range n {
		for w := range workers {
			id := p*workers + w
			l.run(func() { l.work(id, p, rand.New(rand.NewPCG(seed, uint64(id)))) })
		}
		l.run(func() { l.acks.work(l, p) })
	}
	return l
}

func (l *load) run(f func()) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		f()
	}()
}

// end stops the load and waits for the last answers.
func (l *load) end() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	l.wg.Wait()
}

// paced calls f at the pace of a worker until the end of the load.
func (l *load) paced(f func()) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-tick.C:
			f()
		}
	}
}

func (l *load) work(id, part int, random *rand.Rand) {
	p := l.parts[part]
	l.paced(func() {
		s, o := p.counters, &op{worker: id, by: 1 + random.Int64N(9)}
		if random.IntN(2) == 0 {
			s = p.registers
			o.value = strconv.FormatInt(l.unique.Add(1), 10)
			o.verb = []verb{opGet, opGet, opSet, opSet, opCAS, opCAS, opCAS, opDel}[random.IntN(8)]
		} else {
			o.verb = []verb{opGet, opIncr, opIncr, opIncr}[random.IntN(4)]
		}
		var key string
		key, o.expect = s.current()
		if !l.do(key, o) {
			return
		}
		s.note(key, o)
		if !o.maybe {
			p.count(o.verb != opGet)
		}
	})
}

func (p *partLoad) count(write bool) {
	if write {
		p.writes.Add(1)
	} else {
		p.reads.Add(1)
	}
}

// do carries out an operation and records it, unless it certainly had no effect and tells nothing.
func (l *load) do(key string, o *op) (recorded bool) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	o.from = l.rec.now()
	err := perform(ctx, l.table, key, o)
	switch {
	case err == nil:
	case errors.Is(err, clientlib.ErrUnknownOutcome):
		o.maybe = true
		l.failed(o.verb, err)
	default:
		l.failed(o.verb, err)
		return false
	}
	l.rec.add(key, o)
	return true
}

// perform fills in the answer of o. An error other than ErrUnknownOutcome promises that nothing was written.
func perform(ctx context.Context, tb *clientlib.Table, key string, o *op) (err error) {
	hash := []byte(key)
	switch o.verb {
	case opGet:
		var value []byte
		value, err = tb.Get(ctx, hash, sortKey)
		if err == nil && value == nil {
			return nil
		}
		o.seen = content{true, string(value)}
	case opSet:
		err = tb.Set(ctx, hash, sortKey, []byte(o.value))
	case opDel:
		err = tb.Del(ctx, hash, sortKey)
	case opIncr:
		var sum int64
		sum, err = tb.Incr(ctx, hash, sortKey, o.by)
		o.seen = content{true, strconv.FormatInt(sum, 10)}
	case opCAS:
		err = checkAndSet(ctx, tb, hash, o)
	}
	if err != nil {
		o.seen = content{}
	}
	return err
}

func checkAndSet(ctx context.Context, tb *clientlib.Table, hash []byte, o *op) error {
	check, operand := clientlib.CheckTypeValueNotExist, []byte(nil)
	if o.expect.there {
		check, operand = clientlib.CheckTypeBytesEqual, []byte(o.expect.value)
	}
	r, err := tb.CheckAndSet(ctx, hash, sortKey, check, operand, sortKey, []byte(o.value),
		&clientlib.CheckAndSetOptions{ReturnCheckValue: true})
	if err != nil {
		return err
	}
	o.seen, o.applied = content{r.CheckValueExist, string(r.CheckValue)}, r.SetSucceed
	return nil
}

func (l *load) failed(v verb, err error) {
	what := v.String() + ": " + err.Error()
	if i := strings.Index(what, "dial tcp"); i >= 0 {
		what = what[:i] + "cannot connect"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[what]++
}

// failures returns how many operations had no success so far.
func (l *load) failures() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.errors {
		n += k
	}
	return n
}

// progress returns when operations that began after the call were answered on all the partitions, reads and writes.
func (l *load) progress(parts ...int) error {
	const fresh = workers + 2 // more than may have been under way at the call
	marks := make([][2]int64, len(parts))
	for i, p := range parts {
		marks[i] = [2]int64{l.parts[p].writes.Load(), l.parts[p].reads.Load()}
	}
	return eventually(patience, func() error {
		for i, p := range parts {
			w, r := l.parts[p].writes.Load()-marks[i][0], l.parts[p].reads.Load()-marks[i][1]
			if w < fresh || r < fresh {
				return fmt.Errorf("partition %d: %d writes and %d reads were answered", p, w, r)
			}
		}
		return nil
	})
}

// check ends the load, reads everything once more and judges what was recorded.
func (l *load) check() {
	l.t.Helper()
	l.end()
	l.rec.mu.Lock()
	keys := slices.Sorted(maps.Keys(l.rec.keys))
	l.rec.mu.Unlock()
	for _, key := range keys {
		if err := eventually(patience, func() error {
			o := &op{worker: -1, verb: opGet, from: l.rec.now()}
			ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
			defer cancel()
			err := perform(ctx, l.table, key, o)
			if err == nil {
				l.rec.add(key, o)
			}
			return err
		}); err != nil {
			l.t.Errorf("key %s cannot be read at the end: %v", key, err)
		}
	}
	bad, total := l.rec.check()
	for _, b := range bad {
		l.t.Error(b)
	}
	acked, maybe, lost := l.acks.check()
	for _, e := range lost {
		l.t.Error(e)
	}
	l.t.Logf("checked %d operations on %d keys; %d acknowledged unique keys (and %d without an answer)", total, len(keys), acked, maybe)
	if total == 0 || acked == 0 {
		l.t.Error("there was no load")
	}
}

// tell prints what went wrong for clients, which in these tests is no fault by itself.
func (l *load) tell() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(l.errors)) {
		l.t.Logf("  %6d x %s", l.errors[what], what)
	}
}
