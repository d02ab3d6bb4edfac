package shard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// actor is a member of a group of three that changes roles, whose disk is full now and then, and that is asked for records all the
// time; it knows what each record must be. The others do what a group allows: they lose what they have not acknowledged, and nothing
// else.
type actor struct {
	*hotMember
	rng    *rand.Rand
	store  *fullStore
	ballot proto.Ballot
	first  proto.Decree // the first that writes records
	writes [][]written  // of decree first+i
	held   []written    // by this primary, until its log write is over, in holder
	holder *mutationOps
	least  proto.Decree // as primary: what is committed up to here has been answered by somebody
	checks [2]int       // reads that were answered, as secondary and as primary

	shared int // mutations that were held for more writes than one
}

type written struct{ key, value string }

const actorKeys = 6

func newActor(t *testing.T, seed uint64) *actor {
	a := &actor{hotMember: newHotMember(t, false, 1), rng: rand.New(rand.NewPCG(seed, 1)), ballot: 1}
	a.do(func() {
		a.batch = putBatch("before", "", "all")
		a.prepare(1)
		a.synced()
		a.p.settle()
		a.store = &fullStore{Store: mem.New(mem.Options{})}
		if err := a.store.Apply(a.p.replica.Committed()); err != nil {
			t.Error(err)
		}
		a.p.store = a.store
		a.p.replica.Attach(leased{}, consensus.DefaultTiming())
		a.unsent()
		a.first = a.p.replica.Prepared() + 1
	})
	return a
}

func (a *actor) role() consensus.Role { return a.p.replica.Role() }

// at is what a key is when everything up to a decree is applied; "-" for nothing.
func (a *actor) at(key string, d proto.Decree) string {
	for i := min(int(d-a.first), len(a.writes)-1); i >= 0; i-- {
		for _, w := range slices.Backward(a.writes[i]) {
			if w.key == key {
				return w.value
			}
		}
	}
	return "-"
}

// wrote remembers a mutation, which takes the place of what was lost.
func (a *actor) wrote(d proto.Decree, list ...written) {
	a.writes = append(a.writes[:d-a.first], list)
}

func (a *actor) newWrite() written {
	return written{fmt.Sprint("k", a.rng.IntN(actorKeys)), fmt.Sprint("v", a.rng.Uint32())}
}

// send takes one message of another member.
func (a *actor) send(from proto.NodeID, m *proto.ReplMessage) {
	m.GPID, m.Ballot = a.p.gpid, a.ballot
	if err := a.sh.takeReplFrame(from, proto.AppendReplMessage([]byte{proto.ReplVersion}, m)); err != nil {
		a.t.Error(err)
	}
}

// prepared is the primary's next prepare, of what is here already or of something new, with all before it committed.
func (a *actor) prepared() {
	s := a.p.replica.State()
	d := s.Verified + 1
	list := []written{a.newWrite()}
	if keep := d <= s.Prepared && d < a.first+proto.Decree(len(a.writes)); keep && a.rng.IntN(3) > 0 {
		list = a.writes[d-a.first]
	}
	var b engine.BatchBuilder
	for _, w := range list {
		b.Put(rawKey(w.key, ""), 0, 0, []byte(w.value))
	}
	a.send(a.others[0], &proto.ReplMessage{
		Type: proto.ReplPrepare, Decree: d, Committed: s.Verified, Timestamp: 1<<60 + int64(a.rng.Uint32()), Batch: b.Bytes(),
	})
	if a.p.replica.State().Verified == d {
		a.wrote(d, list...)
	}
}

// put is a client's write to this primary.
func (a *actor) put() {
	w, before := a.newWrite(), a.p.replica.Prepared()
	a.turn(func() { a.request(proto.CodePut, a.p.gpid, putArgs(w.key, "", w.value)) })
	m, inFlight := a.p.current, a.p.inFlight
	if d := a.p.replica.Prepared(); d > before {
		m = inFlight[len(inFlight)-1]
	}
	if m != nil && len(m.ops) > len(a.held) { // otherwise it was refused
		a.held, a.holder = append(a.held, w), m
	}
	a.released()
}

// released looks for the mutation that was held: it may have become the newest in flight, or have been refused.
func (a *actor) released() {
	if len(a.held) == 0 || a.p.current == a.holder {
		return
	}
	if n := len(a.p.inFlight); n > 0 && a.p.inFlight[n-1] == a.holder {
		a.wrote(a.holder.decree, a.held...)
		if len(a.held) > 1 {
			a.shared++
		}
	}
	a.held, a.holder = nil, nil
}

// acknowledged has both others acknowledge what is durable here.
func (a *actor) acknowledged() {
	d := a.p.replica.State().Logged
	for _, from := range a.others {
		a.send(from, &proto.ReplMessage{Type: proto.ReplPrepareAck, Decree: d})
	}
}

// become changes the configuration.
func (a *actor) become(c consensus.Config) {
	a.ballot++
	c.Ballot = a.ballot
	a.p.ballot, a.p.wanted, a.p.wants = a.ballot, c, true
	a.p.adoptConfig()
	a.least = a.p.replica.Prepared()
}

// ask reads so many times within the present turn; the numbers of the requests and the keys are returned.
func (a *actor) ask(n int) (seqs []int32, keys []string) {
	a.sh.gets.limit = a.rng.IntN(2) * maxGets // sometimes few, as after large values: then some are answered before the turn ends
	for range n {
		a.seq++
		key := fmt.Sprint("k", a.rng.IntN(actorKeys))
		frame, mark := proto.AppendBackupRequest(nil, proto.CodeGet, a.p.gpid, a.seq, 1000, 0)
		frame = proto.FinishBackupRequest(keyArgs(key, "")(frame), mark)
		var req proto.Request
		if n, _, err := proto.ParseTHFT(frame, len(frame), &req); err != nil || n != len(frame) {
			a.t.Errorf("own frame: %d, %v", n, err)
		}
		req.Backup = a.role() == consensus.Secondary
		a.sh.serve(dest{ref: loop.Ref{Slot: 1, Gen: 1}, shard: 1, at: a.sh.turnStart()}, &req)
		seqs, keys = append(seqs, a.seq), append(keys, key)
	}
	return seqs, keys
}

// check compares answers of the turn that has just ended with what they may be: a state between least and most.
func (a *actor) check(step int, seqs []int32, keys []string, least, most proto.Decree, who int) {
	for i, seq := range seqs {
		reply, ok := a.replies[seq]
		delete(a.replies, seq)
		if !ok {
			a.t.Fatalf("step %d: no answer", step)
		}
		if reply.Code() != proto.ErrOK {
			continue
		}
		var r proto.ReadResponse
		if err := r.DecodeResult(reply.Body); err != nil {
			a.t.Fatal(err)
		}
		got, may := "-", false
		if r.Error == 0 {
			got = string(r.Value)
		}
		for d := least; d <= most && !may; d++ {
			may = a.at(keys[i], d) == got
		}
		if !may {
			a.t.Fatalf("step %d, %s: %s is %q in none of the states %d to %d; %s", step, a.role(), keys[i], got, least, most, describe(a.p))
		}
		a.checks[who]++
	}
}

// step does one thing, in a turn in which reads come as well.
func (a *actor) step(step int) {
	var seqs []int32
	var keys []string
	who := 0
	var least proto.Decree
	reads := a.rng.IntN(2) * a.rng.IntN(4*minGets)
	turn := func(fn func()) {
		a.turn(func() {
			fn()
			if a.role() == consensus.Primary {
				who, least = 1, a.least
			} else {
				least = a.store.AppliedDecree()
			}
			if a.role() == consensus.Secondary && a.p.parked == 0 && a.store.err == nil {
				least = a.p.replica.Committed() // reads come before what is gathered
			}
			seqs, keys = a.ask(reads)
		})
	}
	primary := a.role() == consensus.Primary
	switch n := a.rng.IntN(20); {
	case n == 0:
		a.store.err = engine.ErrNoSpace
		turn(func() {})
	case n <= 2:
		a.store.err = nil
		a.do(a.node.space.check)
		turn(a.sh.retry)
	case n == 3 && primary:
		turn(func() {
			a.become(consensus.Config{Primary: a.others[0], Secondaries: []proto.NodeID{a.node.id, a.others[1]}})
		})
	case n == 3:
		turn(func() { a.become(consensus.Config{Primary: a.node.id, Secondaries: a.others}) })
	case n <= 6:
		a.sync()
		a.released()
		turn(func() {})
	case n == 7:
		turn(func() { a.p.step(&consensus.Event{Kind: consensus.EventTick}) })
	case n == 8:
		envs := []map[string]string{nil, {"default_ttl": "1000000"}}[a.rng.IntN(2)]
		turn(func() {
			a.p.configureTable(&proto.AppInfo{Status: proto.AppAvailable, AppID: 1, PartitionCount: 8, MaxReplicaCount: 3, Envs: envs})
		})
	case primary && n <= 13:
		a.put()
		turn(func() {})
	case primary:
		turn(a.acknowledged)
	case n <= 16:
		turn(a.prepared)
	default:
		turn(func() {
			a.send(a.others[0], &proto.ReplMessage{Type: proto.ReplCommitPoint, Committed: a.p.replica.State().Verified})
		})
	}
	a.released()
	most := a.p.replica.Committed()
	a.check(step, seqs, keys, min(least, most), most, who)
	a.do(func() {
		if a.role() == consensus.Primary && a.p.parked == 0 && len(a.p.committed) == 0 {
			a.least = max(a.least, a.store.AppliedDecree()) // its clients have been answered
		}
		if d := a.p.replica.Committed() - a.store.AppliedDecree(); d != proto.Decree(len(a.p.committed)) {
			a.t.Errorf("step %d: %d commits are not applied, %d are kept", step, d, len(a.p.committed))
		}
		a.unsent()
	})
	for a.deliverOne() {
	}
}

// Whatever role a member has and however full its disk is: what it reads is neither older than what somebody was answered, nor
// anything that was not written, and in the end its store is what was committed.
func TestReadsAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		a := newActor(t, seed)
		for step := range 2000 {
			a.step(step)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		if a.checks[0] < 500 || a.checks[1] < 500 {
			t.Errorf("seed %d: only %v reads were answered", seed, a.checks)
		}
		if a.shared < 5 {
			t.Errorf("seed %d: %d mutations were held for another write", seed, a.shared)
		}
		if hits := a.rowHits(); hits < 500 {
			t.Errorf("seed %d: the row cache answered %d gets", seed, hits)
		}
	}
}
