package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/proto"
)

// Metamorphic runs steps random operations, drawn from seed, on the store that open gives and on the model, and fails
// when they show different things. What may differ is known: when a store flushes by itself (after a reopening the model
// is put to the decree the store came back with) and when expired records go (they are not compared).
//
// An operation depends on its own seed and on the state it finds, so any subset of a run is a run: a failure is retried
// with operations left out, and what still fails is printed with the seed.
func Metamorphic(t *testing.T, seed uint64, steps int, open func(dir string) (engine.Store, error)) {
	t.Helper()
	ops := make([]op, steps)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range ops {
		ops[i] = op{kind: pickKind(r), seed: r.Uint64()}
	}
	attempt := func(ops []op) (trace []string, err error) {
		dir, err := os.MkdirTemp(t.TempDir(), "run")
		if err != nil {
			t.Fatal(err)
		}
		m := &run{open: open, root: dir}
		return m.do(ops)
	}
	if _, err := attempt(ops); err != nil {
		small := shrink(ops, func(ops []op) bool { _, err := attempt(ops); return err != nil })
		trace, last := attempt(small)
		t.Fatalf("seed %d: %v\nleft after shrinking, %d operations: %v\n%s", seed, err, len(small), last, strings.Join(trace, "\n"))
	}
}

type op struct {
	kind kind
	seed uint64
}

type kind int

const (
	opApply kind = iota
	opGet
	opScan
	opIterOpen
	opIterNext
	opIterClose
	opFlush
	opCompact
	opCheckpoint
	opReopen
	kinds
)

// weights say how often an operation is drawn.
var weights = [kinds]int{opApply: 50, opGet: 30, opScan: 15, opIterOpen: 4, opIterNext: 12, opIterClose: 3, opFlush: 4, opCompact: 1, opCheckpoint: 1, opReopen: 2}

func pickKind(r *rand.Rand) kind {
	total := 0
	for _, w := range weights {
		total += w
	}
	n := r.IntN(total)
	for k, w := range weights {
		if n -= w; n < 0 {
			return kind(k)
		}
	}
	return opApply
}

// shrink leaves out halves, quarters and so on as long as the rest still fails, within a bounded number of attempts.
func shrink(ops []op, fails func([]op) bool) []op {
	attempts := 60
	for chunk := len(ops) / 2; chunk > 0 && attempts > 0; chunk /= 2 {
		for at := 0; at+chunk <= len(ops) && attempts > 0; attempts-- {
			rest := append(append([]op(nil), ops[:at]...), ops[at+chunk:]...)
			if fails(rest) {
				ops = rest
			} else {
				at += chunk
			}
		}
	}
	return ops
}

// run is one execution.
type run struct {
	open  func(string) (engine.Store, error)
	root  string
	store engine.Store
	model *mem.Store
	log   []logged // what was applied, as the shard log would hold it
	iters []*parked
	names int
	trace []string
}

type logged struct {
	decree  proto.Decree
	batches [][]byte
}

// parked is an open iterator with what the model says it must return.
type parked struct {
	it   engine.Iterator
	want []string
	at   int
}

const maxParked = 4

func (m *run) do(ops []op) (trace []string, err error) {
	m.model = mem.New(mem.Options{})
	if m.store, err = m.open(filepath.Join(m.root, "store")); err != nil {
		return nil, err
	}
	for _, o := range ops {
		if err = m.step(o.kind, rand.New(rand.NewPCG(o.seed, 2))); err != nil {
			break
		}
	}
	if err == nil {
		err = m.same(m.store, m.model, engine.IterOptions{Tier: engine.TierAll})
	}
	m.closeIters()
	return m.trace, errors.Join(err, m.store.Close())
}

func (m *run) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *run) step(k kind, r *rand.Rand) error {
	switch k {
	case opApply:
		return m.apply(r)
	case opGet:
		return m.get(r)
	case opScan:
		o := randomRange(r)
		m.note("scan %q..%q reverse %v", o.Lower, o.Upper, o.Reverse)
		return m.same(m.store, m.model, o)
	case opIterOpen:
		return m.iterOpen(r)
	case opIterNext:
		return m.iterNext(r)
	case opIterClose:
		if len(m.iters) > 0 {
			m.iters[0].it.Close()
			m.iters = m.iters[1:]
		}
	case opFlush:
		m.note("flush at %d", m.model.AppliedDecree())
		d, err := m.store.Flush()
		if err != nil || d != m.model.AppliedDecree() || m.store.FlushedDecree() != d {
			return fmt.Errorf("flush: decree %d then %d, %v; want %d", d, m.store.FlushedDecree(), err, m.model.AppliedDecree())
		}
	case opCompact:
		m.note("compact")
		return m.store.Compact(engine.CompactOptions{})
	case opCheckpoint:
		return m.checkpoint(r.IntN(2) == 0)
	case opReopen:
		return m.reopen(r.IntN(2) == 0)
	}
	return nil
}

// randomKey draws from few keys, so that operations meet; some are no regular raw keys.
func randomKey(r *rand.Rand) []byte {
	if r.IntN(40) == 0 {
		return [][]byte{{}, {0}, {0, 9, 'x'}, {0xff, 0xff, 0xff}}[r.IntN(4)]
	}
	hash := []string{"", "a", "b", "ab", "\xff", "\xff\xff", "long hash key"}[r.IntN(7)]
	return engine.AppendKey(nil, []byte(hash), fmt.Appendf(nil, "%02d", r.IntN(30))[:r.IntN(3)])
}

func randomBatch(r *rand.Rand) []byte {
	var b engine.BatchBuilder
	for range r.IntN(6) {
		if r.IntN(4) == 0 {
			b.Delete(randomKey(r))
			continue
		}
		expire := []uint32{0, 0, 1, farAway, 1 << 31}[r.IntN(5)]
		b.Put(randomKey(r), expire, r.Uint64(), bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(3000)))
	}
	return b.Bytes()
}

func (m *run) apply(r *rand.Rand) error {
	l := logged{decree: m.model.AppliedDecree() + 1 + proto.Decree(r.IntN(3))}
	for range r.IntN(4) {
		l.batches = append(l.batches, randomBatch(r))
	}
	m.note("apply %d: %d batches", l.decree, len(l.batches))
	m.log = append(m.log, l)
	if err := m.store.Apply(l.decree, l.batches...); err != nil {
		return err
	}
	if err := m.model.Apply(l.decree, l.batches...); err != nil {
		return err
	}
	if m.store.AppliedDecree() != l.decree || m.store.FlushedDecree() > l.decree {
		return fmt.Errorf("after decree %d: applied %d, flushed %d", l.decree, m.store.AppliedDecree(), m.store.FlushedDecree())
	}
	return nil
}

func (m *run) get(r *rand.Rand) error {
	var got, want engine.GetBatch
	for range 1 + r.IntN(70) {
		k := randomKey(r)
		got.Add(k)
		want.Add(k)
	}
	tier := engine.Tier(r.IntN(2))
	m.note("get %d keys, tier %d", got.Len(), tier)
	m.store.MultiGet(&got, tier)
	m.model.MultiGet(&want, engine.TierAll)
	for i := range got.Len() {
		if got.Outcome(i) == engine.WouldBlock && tier == engine.TierCache {
			continue
		}
		g, w := show(got.Key(i), got.Value(i), got.Outcome(i)), show(want.Key(i), want.Value(i), want.Outcome(i))
		if g != w {
			return fmt.Errorf("get of %q: outcome %d, %s (%v); want %s", got.Key(i), got.Outcome(i), g, got.Err(i), w)
		}
	}
	return nil
}

// show renders a record for comparison; an expired one is as good as none.
func show(key, value []byte, o engine.Outcome) string {
	if o == engine.NotFound {
		return "none"
	}
	v, err := engine.ParseValue(engine.DataV1, value)
	if err != nil {
		return err.Error()
	}
	if len(key) >= 2 && v.Expire == 1 {
		return "none"
	}
	return fmt.Sprintf("%q=%d,%d,%d bytes of %.1q", key, v.Expire, v.Timetag, len(v.User), v.User)
}

func randomRange(r *rand.Rand) engine.IterOptions {
	o := engine.IterOptions{Tier: engine.TierAll, Reverse: r.IntN(2) == 0, NoFillCache: r.IntN(4) == 0}
	switch r.IntN(3) {
	case 0: // within one hash key
		o.Lower = randomKey(r)
		if hash, _, ok := engine.SplitKey(o.Lower); ok && len(hash) <= engine.MaxHashKeyLen {
			o.Upper = engine.AppendNextHashKey(nil, hash)
		}
	case 1:
		o.Lower, o.Upper = randomKey(r), randomKey(r)
	case 2:
		if r.IntN(2) == 0 {
			o.Lower = randomKey(r)
		}
	}
	return o
}

// collect drains an iterator from random-sized slices.
func collect(s engine.Store, o engine.IterOptions) ([]string, error) {
	it, err := s.NewIterator(o)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var out []string
	for more := true; more; {
		if out, more, err = advance(it, out, engine.SliceLimit{MaxRows: 7, MaxBytes: 5000}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func advance(it engine.Iterator, out []string, l engine.SliceLimit) ([]string, bool, error) {
	var rows engine.Rows
	more, o, err := it.Next(&rows, l)
	if o != engine.Found {
		return nil, false, fmt.Errorf("scan: outcome %d, %w", o, err)
	}
	rows.Each(func(k, v []byte) bool {
		if s := show(k, v, engine.Found); s != "none" {
			out = append(out, s)
		}
		return true
	})
	return out, more, nil
}

func (m *run) same(store, model engine.Store, o engine.IterOptions) error {
	got, err := collect(store, o)
	if err != nil {
		return err
	}
	want, err := collect(model, o)
	if err != nil {
		return err
	}
	return differ(got, want)
}

func differ(got, want []string) error {
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Errorf("row %d of %d is %s, want %s", i, len(want), g, w)
		}
	}
	return nil
}

func (m *run) iterOpen(r *rand.Rand) error {
	if len(m.iters) == maxParked {
		return nil
	}
	o := randomRange(r)
	want, err := collect(m.model, o)
	if err != nil {
		return err
	}
	it, err := m.store.NewIterator(o)
	if err != nil {
		return err
	}
	m.note("park a scan of %q..%q reverse %v: %d rows", o.Lower, o.Upper, o.Reverse, len(want))
	m.iters = append(m.iters, &parked{it: it, want: want})
	return nil
}

func (m *run) iterNext(r *rand.Rand) error {
	if len(m.iters) == 0 {
		return nil
	}
	at := r.IntN(len(m.iters))
	p := m.iters[at]
	got, more, err := advance(p.it, nil, engine.SliceLimit{MaxRows: 1 + r.IntN(10)})
	if err != nil {
		return err
	}
	m.note("parked scan %d gives %d rows, more %v", at, len(got), more)
	end := min(p.at+len(got), len(p.want))
	if !more {
		end = len(p.want)
	}
	if err := differ(got, p.want[p.at:end]); err != nil {
		return fmt.Errorf("parked scan after %d rows: %w", p.at, err)
	}
	p.at = end
	if !more {
		p.it.Close()
		m.iters = append(m.iters[:at], m.iters[at+1:]...)
	}
	return nil
}

func (m *run) closeIters() {
	for _, p := range m.iters {
		p.it.Close()
	}
	m.iters = nil
}

// rewind makes a model of the log up to and including decree.
func (m *run) rewind(decree proto.Decree) (*mem.Store, error) {
	model := mem.New(mem.Options{})
	for _, l := range m.log {
		if l.decree > decree {
			break
		}
		if err := model.Apply(l.decree, l.batches...); err != nil {
			return nil, err
		}
	}
	if model.AppliedDecree() != decree {
		return nil, fmt.Errorf("decree %d was never applied", decree)
	}
	return model, nil
}

func (m *run) checkpoint(flush bool) error {
	m.names++
	dir := filepath.Join(m.root, fmt.Sprint("checkpoint", m.names))
	before := m.store.FlushedDecree()
	d, err := m.store.Checkpoint(dir, flush)
	m.note("checkpoint, flush %v: decree %d, %v", flush, d, err)
	if err != nil {
		return err
	}
	if d < before || flush && d != m.model.AppliedDecree() {
		return fmt.Errorf("checkpoint of decree %d; flushed was %d, applied %d", d, before, m.model.AppliedDecree())
	}
	model, err := m.rewind(d)
	if err != nil {
		return err
	}
	c, err := m.open(dir)
	if err != nil {
		return err
	}
	err = m.same(c, model, engine.IterOptions{Tier: engine.TierAll})
	return errors.Join(err, c.Close(), os.RemoveAll(dir))
}

// reopen closes without a flush, which is a crash as far as the data go, and either replays what was lost or forgets it.
func (m *run) reopen(replay bool) error {
	m.closeIters()
	flushed, applied := m.store.FlushedDecree(), m.store.AppliedDecree()
	if err := m.store.Close(); err != nil {
		return err
	}
	s, err := m.open(filepath.Join(m.root, "store"))
	if err != nil {
		return err
	}
	m.store = s
	d := s.AppliedDecree()
	m.note("reopen at %d of %d, replay %v", d, applied, replay)
	if d < flushed || d > applied || s.FlushedDecree() != d {
		return fmt.Errorf("came back with decree %d, flushed %d; flushed was %d, applied %d", d, s.FlushedDecree(), flushed, applied)
	}
	model, err := m.rewind(d)
	if err != nil {
		return err
	}
	if err := m.same(s, model, engine.IterOptions{Tier: engine.TierAll}); err != nil {
		return fmt.Errorf("came back with decree %d: %w", d, err)
	}
	m.model = model
	rest := m.log
	for i, l := range m.log {
		if l.decree > d {
			m.log, rest = m.log[:i:i], m.log[i:]
			break
		}
		rest = m.log[i+1:]
	}
	if !replay {
		return nil
	}
	for _, l := range rest {
		m.log = append(m.log, l)
		if err := errors.Join(s.Apply(l.decree, l.batches...), model.Apply(l.decree, l.batches...)); err != nil {
			return err
		}
	}
	return nil
}
