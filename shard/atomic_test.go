package shard

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// model is what one operation after the other does to one hash key.
type model map[string]string

// modelOp is a request with what the model says of it.
type modelOp struct {
	name string
	code proto.Code
	args func([]byte) []byte
	run  func(m model) string // the expected outcome, in the words of outcome
}

func opPut(k, v string) modelOp {
	return modelOp{"put " + k, proto.CodePut, putArgs("h", k, v), func(m model) string { m[k] = v; return "OK" }}
}

func opRemove(k string) modelOp {
	return modelOp{"remove " + k, proto.CodeRemove, keyArgs("h", k), func(m model) string { delete(m, k); return "OK" }}
}

func opIncr(k string) modelOp {
	return modelOp{"incr " + k, proto.CodeIncr, incrArgs("h", k, 1), func(m model) string {
		n, err := strconv.Atoi(m[k])
		if err != nil && m[k] != "" {
			return fmt.Sprint(proto.StorageInvalidArgument, " 0")
		}
		m[k] = strconv.Itoa(n + 1)
		return "OK " + m[k]
	}}
}

func opCAS(k, want, v string) modelOp {
	return modelOp{"cas " + k, proto.CodeCheckAndSet, casArgs("h", k, want, v), func(m model) string {
		return checked(m, k, want, func() { m[k] = v })
	}}
}

// opCAM checks one record and changes two others.
func opCAM(k, want, put, v, remove string) modelOp {
	req := proto.CheckAndMutateRequest{HashKey: []byte("h"), CheckSortKey: []byte(k), CheckType: proto.CheckBytesEqual,
		CheckOperand: []byte(want), ReturnCheckValue: true}
	req.Mutations.AddMutation(proto.Mutation{Op: proto.MutatePut, SortKey: []byte(put), Value: []byte(v)})
	req.Mutations.AddMutation(proto.Mutation{Op: proto.MutateDelete, SortKey: []byte(remove)})
	return modelOp{"cam " + k, proto.CodeCheckAndMutate, req.AppendArgs, func(m model) string {
		return checked(m, k, want, func() { m[put] = v; delete(m, remove) })
	}}
}

func checked(m model, k, want string, effect func()) string {
	old, exist := m[k]
	status := proto.StorageTryAgain
	if exist && old == want {
		status = proto.StorageOK
		effect()
	}
	return fmt.Sprintf("%v %v %q", status, exist, old)
}

// outcome words a reply as the model does.
func outcome(t testing.TB, code proto.Code, r proto.Reply) string {
	t.Helper()
	if r.Code() != proto.ErrOK {
		return string(r.Err)
	}
	var err error
	var out string
	switch code {
	case proto.CodeIncr:
		var m proto.IncrResponse
		err = m.DecodeResult(r.Body)
		out = fmt.Sprintf("%v %d", m.Error, m.NewValue)
		if m.Error == proto.StorageOK {
			out = fmt.Sprintf("OK %d", m.NewValue)
		}
	case proto.CodeCheckAndSet, proto.CodeCheckAndMutate:
		var m proto.CheckResponse
		err = m.DecodeResult(r.Body)
		out = fmt.Sprintf("%v %v %q", m.Error, m.ValueExist, m.Value)
	default:
		var m proto.UpdateResponse
		if err = m.DecodeResult(r.Body); m.Error == proto.StorageOK {
			out = "OK"
		} else {
			out = fmt.Sprint(m.Error)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// play submits ops in order along a schedule and compares every reply and the final records with the model. The schedule is
// a word: o submits the next operation and ends the turn, O submits it without ending the turn, l completes a log write, r
// lets the read in the lane read, d delivers it. What is left is done at the end.
func play(t testing.TB, s *solo, g proto.GPID, cold func([]byte) bool, ops []modelOp, schedule string) {
	t.Helper()
	store := newColdStore(cold, true)
	p := s.open(g, store)
	m := model{}
	want := map[int32]string{}
	code := map[int32]proto.Code{}
	at := 0
	submit := func() {
		if at < len(ops) {
			op := ops[at]
			seq := s.request(op.code, g, op.args)
			want[seq], code[seq] = op.run(m), op.code
			at++
		}
	}
	granted := false // the read in the lane may go on
	var back message // it came back and waits to be delivered
	reading := func() (yes bool) {
		s.do(func() { yes = p.reading })
		return yes
	}
	for _, c := range schedule {
		switch c {
		case 'o':
			s.turn(submit)
		case 'O':
			s.do(submit)
		case 'l':
			s.sync()
		case 'r':
			if !granted && reading() {
				store.reads <- struct{}{}
				granted, back = true, next[*laneRead](s)
			}
		case 'd':
			if back != nil {
				m := back
				s.turn(func() { m.deliver(s.sh) })
				granted, back = false, nil
			}
		}
	}
	if back != nil {
		s.turn(func() { back.deliver(s.sh) })
	}
	s.turn(func() {
		for at < len(ops) {
			submit()
		}
	})
	close(store.reads)
	s.finish()
	for seq, w := range want {
		if got := outcome(t, code[seq], s.replies[seq]); got != w {
			t.Errorf("schedule %q: request %d answered %q, want %q", schedule, seq, got, w)
		}
		delete(s.replies, seq)
	}
	s.do(func() {
		for _, k := range []string{"a", "b", "c"} {
			var b engine.GetBatch
			b.Add(rawKey("h", k))
			store.Store.MultiGet(&b, engine.TierAll)
			v, ok := m[k]
			switch {
			case (b.Outcome(0) == engine.Found) != ok:
				t.Errorf("schedule %q: record %s: %v, want %v", schedule, k, b.Outcome(0), ok)
			case ok:
				if got, err := engine.ParseValue(engine.DataV1, b.Value(0)); err != nil || string(got.User) != v {
					t.Errorf("schedule %q: record %s: %q, %v, want %q", schedule, k, got.User, err, v)
				}
			}
		}
		delete(s.sh.partitions, g)
		s.sh.log.Forget(g)
	})
}

var scripts = map[string][]modelOp{
	"counter":   {opIncr("a"), opIncr("a"), opIncr("a"), opIncr("a")},
	"mutex":     {opPut("a", "free"), opCAS("a", "free", "me"), opCAS("a", "free", "you"), opCAS("a", "me", "free")},
	"mixed":     {opPut("a", "1"), opIncr("a"), opRemove("a"), opIncr("a")},
	"two keys":  {opIncr("a"), opPut("b", "7"), opIncr("b"), opCAS("a", "1", "x")},
	"mutations": {opPut("a", "go"), opPut("c", "z"), opCAM("a", "go", "b", "1", "c"), opIncr("b")},
	"fail then": {opCAS("a", "no", "x"), opPut("a", "5"), opIncr("a"), opCAS("a", "6", "done")},
}

// schedules are all words with the four operations of a script and up to extra other steps between and behind them.
func schedules(ops, extra int, word string, yield func(string)) {
	if ops == 0 {
		yield(word)
		return
	}
	schedules(ops-1, extra, word+"o", yield)
	if extra > 0 {
		for _, c := range "lrd" {
			if word == "" || c == 'd' && word[len(word)-1] != 'r' && word[len(word)-1] != 'o' {
				continue // a read has not begun, or there is nothing to deliver
			}
			schedules(ops, extra-1, word+string(c), yield)
		}
	}
}

// Every order in which log writes and storage reads may come back between four operations gives the sequential outcome.
func TestAtomicOperationsInEveryOrder(t *testing.T) {
	colds := map[string]func([]byte) bool{
		"all cold": always,
		"a cold":   func(k []byte) bool { return k[len(k)-1] == 'a' },
		"warm":     nil,
	}
	extra := 3
	if testing.Short() || raceEnabled {
		extra = 2
	}
	s := newSolo(t, disk.NewMem(1), "/log")
	part := int32(0)
	for name, ops := range scripts {
		for how, cold := range colds {
			n := 0
			schedules(len(ops), extra, "", func(word string) {
				part++
				n++
				play(t, s, proto.GPID{App: 1, Part: part % 200}, cold, ops, word)
			})
			if t.Failed() {
				t.Fatalf("script %s, %s", name, how)
			}
			if n < 20 {
				t.Fatalf("only %d schedules", n)
			}
		}
	}
}

// Longer random scripts and schedules, and records that are cold now and warm later.
func TestAtomicOperationsRandomly(t *testing.T) {
	rounds := 120
	if testing.Short() || raceEnabled {
		rounds = 30
	}
	s := newSolo(t, disk.NewMem(1), "/log", func(o *Options) { o.Limits.MaxMutation = 300 })
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 7))
		keys := []string{"a", "b", "c"}
		key := func() string { return keys[rng.IntN(len(keys))] }
		var ops []modelOp
		for range 20 + rng.IntN(40) {
			switch rng.IntN(6) {
			case 0:
				ops = append(ops, opPut(key(), strconv.Itoa(rng.IntN(5))))
			case 1:
				ops = append(ops, opRemove(key()))
			case 2:
				ops = append(ops, opCAS(key(), strconv.Itoa(rng.IntN(5)), strconv.Itoa(rng.IntN(5))))
			case 3:
				ops = append(ops, opCAM("a", strconv.Itoa(rng.IntN(5)), "b", strconv.Itoa(rng.IntN(5)), "c"))
			default:
				ops = append(ops, opIncr(key()))
			}
		}
		word := make([]byte, 4*len(ops))
		for i := range word {
			word[i] = "ooOOOlrd"[rng.IntN(8)]
		}
		flips := rand.New(rand.NewPCG(uint64(round), 8)) // asked on the loop only
		cold := func([]byte) bool { return flips.IntN(3) > 0 }
		play(t, s, proto.GPID{App: 1, Part: int32(round)}, cold, ops, string(word))
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// A lane that is full refuses what waits for it, and nothing that was evaluated before.
func TestFullReadLaneRefusesTheQueueOnce(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log", func(o *Options) { o.Limits.ReadWorkers, o.Limits.ReadQueue = 1, 1 })
	g := proto.GPID{App: 1}
	store := newColdStore(func(k []byte) bool { return k[len(k)-1] == 'z' }, true)
	p := s.open(g, store)
	// One get runs in the lane, one waits; both stand before the gate.
	s.turn(func() { s.request(proto.CodeGet, g, keyArgs("h", "z")) })
	eventually(t, "the worker is busy", func() bool { return s.sh.readLane.Stats().Running == 1 })
	s.turn(func() { s.request(proto.CodeGet, g, keyArgs("h", "z")) })
	var seqs []int32
	s.turn(func() {
		for _, k := range []string{"a", "b", "z", "a"} {
			seqs = append(seqs, s.request(proto.CodeIncr, g, incrArgs("h", k, 1)))
		}
	})
	s.sync()
	for i, want := range []string{"OK 1", "OK 1", "ERR_BUSY", "ERR_BUSY"} {
		if got := outcome(t, proto.CodeIncr, s.replies[seqs[i]]); got != want {
			t.Errorf("incr %d: %q, want %q", i, got, want)
		}
	}
	s.do(func() {
		if len(p.queue) != 0 || p.reading {
			t.Errorf("%d queued, reading %v", len(p.queue), p.reading)
		}
	})
	close(store.reads)
	for range 2 {
		m := next[*laneRead](s)
		s.turn(func() { m.deliver(s.sh) })
	}
	s.finish()
}

// A queue that is never empty gives back the arguments of what has left it.
func TestQueueArgumentsStayBounded(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	g := proto.GPID{App: 1}
	store := newColdStore(always, true)
	p := s.open(g, store)
	value := string(make([]byte, 4096))
	most := 0
	s.turn(func() { s.request(proto.CodeCheckAndSet, g, casArgs("h", "a", "no", value)) })
	for i := range 300 {
		s.turn(func() { s.request(proto.CodeCheckAndSet, g, casArgs("h", "k"+seqName(i), "no", value)) })
		store.reads <- struct{}{}
		m := next[*laneRead](s)
		s.turn(func() {
			m.deliver(s.sh)
			s.sh.Turn()
			if len(p.queue) == 0 {
				t.Fatal("the queue ran empty")
			}
			most = max(most, len(p.queueArgs))
		})
		s.sync()
	}
	if most > 10*len(value) {
		t.Errorf("up to %d bytes of arguments for two writes", most)
	}
	close(store.reads)
	s.finish()
}

// A get that finds its replica failed, in any step of the turn, leaves nobody without an answer.
func TestFailureWithinATurnAnswersEverybody(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail string // which operation of the store fails
	}{{"get", "get"}, {"apply", "apply"}} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSolo(t, disk.NewMem(1), "/log")
			g := proto.GPID{App: 1}
			store := &failingStore{coldStore: newColdStore(nil, false)}
			p := s.open(g, store)
			put := func(k string) { s.request(proto.CodePut, g, putArgs("h", k, "v")) }
			s.turn(func() { put("a") })
			s.sync()
			s.turn(func() { put("b") }) // its log write is under way
			s.turn(func() { put("c") }) // waits for the next one
			store.fail = tc.fail
			if tc.fail == "apply" {
				s.sync()
			} else {
				s.turn(func() { put("d"); s.request(proto.CodeGet, g, keyArgs("h", "a")) })
			}
			s.finish()
			s.do(func() {
				if p.state != replicaFailed || p.failure == "" {
					t.Errorf("state %d, failure %q", p.state, p.failure)
				}
				delete(s.sh.partitions, g)
			})
		})
	}
}

type failingStore struct {
	*coldStore
	fail string
}

func (s *failingStore) MultiGet(b *engine.GetBatch, tier engine.Tier) {
	if s.fail != "get" {
		s.coldStore.MultiGet(b, tier)
		return
	}
	for i := range b.Len() {
		b.SetOutcome(i, engine.Failed, engine.ErrCorruption)
	}
}

func (s *failingStore) Apply(d proto.Decree, batches ...[]byte) error {
	if s.fail == "apply" {
		return engine.ErrIO
	}
	return s.coldStore.Apply(d, batches...)
}

// A configuration that takes the role away in the same turn in which writes commit: the committed ones are answered with
// their result, the others learn that their outcome is unknown.
func TestResignInTheTurnOfACommit(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	g := proto.GPID{App: 1}
	store := newColdStore(nil, false)
	p := s.open(g, store)
	var seqs []int32
	put := func() { seqs = append(seqs, s.request(proto.CodePut, g, putArgs("h", "k", "v"))) }
	s.turn(put)
	s.sync() // the log has its segment now, and one write is answered
	s.turn(put)
	s.do(func() { put(); p.propose(); put(); p.propose() })
	s.turn(func() {
		w := s.sh.logJob.write
		if err := w.Do(); err != nil {
			t.Error(err)
		}
		s.sh.logJob.deliver(s.sh)
		p.ballot = 2
		p.wanted, p.wants = consensus.Config{Ballot: 2, Primary: proto.NodeID{9}}, true
		p.adoptConfig()
	})
	for i, want := range []string{"OK", "OK", "ERR_TIMEOUT", "ERR_TIMEOUT"} {
		if got := outcome(t, proto.CodePut, s.replies[seqs[i]]); got != want {
			t.Errorf("put %d: %q, want %q", i, got, want)
		}
	}
	s.finish()
}

// Tokens of what is committed must survive proposals of the same turn, also when the window's ring is full.
func TestProposalsInTheTurnOfACommit(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log", func(o *Options) { o.Limits.MaxMutation = 10 })
	g := proto.GPID{App: 1}
	store := newColdStore(nil, false)
	s.open(g, store)
	put := func() { s.request(proto.CodePut, g, putArgs("h", "k", "v")) }
	s.turn(put)
	s.sync()
	for range 5 {
		s.turn(func() {
			for range 16 { // the ring of the window starts with 16 slots
				put()
			}
		})
		s.turn(func() {
			if err := s.sh.logJob.write.Do(); err != nil {
				t.Error(err)
			}
			s.sh.logJob.deliver(s.sh)
			for range 16 {
				put()
			}
		})
		s.sync()
	}
	s.finish()
	for seq, r := range s.replies {
		if got := outcome(t, proto.CodePut, r); got != "OK" {
			t.Errorf("put %d: %s", seq, got)
		}
	}
}
