package consensus

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pegasus/netcore/proto"
)

func primary(t testing.TB, limits Limits) *Replica {
	t.Helper()
	r := NewReplica(proto.GPID{App: 1}, me, limits, Restored{})
	var out Effects
	r.Step(&Event{Kind: EventConfigure, Config: Config{Ballot: 1, Primary: me}}, &out)
	if r.Role() != Primary {
		t.Fatal("not primary")
	}
	return r
}

// pipeline proposes depth mutations and then reports them synced, over and over.
type pipeline struct {
	r      *Replica
	out    Effects
	ev     Event
	tokens []uint64
	depth  int
	clock  int64
	acked  int
}

func (p *pipeline) round() {
	for range p.depth {
		p.clock++
		p.ev = Event{Kind: EventPropose, Timestamp: p.clock, Batch: p.ev.Batch, Tokens: p.tokens}
		p.r.Step(&p.ev, &p.out)
		p.out.Reset()
	}
	p.ev = Event{Kind: EventLogSynced, Decree: p.r.Prepared(), Batch: p.ev.Batch}
	p.r.Step(&p.ev, &p.out)
	for i := range p.out.Commit {
		p.acked += len(p.out.Commit[i].Tokens)
	}
	p.out.Reset()
}

func newPipeline(t testing.TB, depth int) *pipeline {
	return &pipeline{r: primary(t, Limits{}), tokens: []uint64{1, 2, 3, 4}, depth: depth, ev: Event{Batch: make([]byte, 400)}}
}

func TestProposeAndCommitAllocateNothing(t *testing.T) {
	p := newPipeline(t, 16)
	for range 16 {
		p.round()
	}
	if n := testing.AllocsPerRun(1000, p.round); n != 0 {
		t.Fatalf("%v allocations per round", n)
	}
}

func BenchmarkStep(b *testing.B) {
	for _, depth := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			p := newPipeline(b, depth)
			b.ReportAllocs()
			for b.Loop() {
				p.round()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/mutation")
		})
	}
}

// TestEveryTokenIsAnsweredOnce drives random events and compares with a plain model: each token ends in exactly one commit or
// reject, commits are gap free and in order, and a mutation commits only after its sync.
func TestEveryTokenIsAnsweredOnce(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := primary(t, Limits{Mutations: 1 + rng.IntN(40), Bytes: 1000})
		answered := map[uint64]string{}
		var out Effects
		var token uint64
		var clock int64
		var committed, synced proto.Decree
		ballot := proto.Ballot(1)
		step := func(ev *Event) {
			r.Step(ev, &out)
			answer := func(how string, ts []uint64) {
				for _, tok := range ts {
					if was, ok := answered[tok]; ok {
						t.Fatalf("seed %d: token %d answered as %s and %s", seed, tok, was, how)
					}
					answered[tok] = how
				}
			}
			for _, m := range out.Commit {
				if m.Decree != committed+1 || m.Decree > synced {
					t.Fatalf("seed %d: commit %d after %d, synced %d", seed, m.Decree, committed, synced)
				}
				committed = m.Decree
				answer("commit", m.Tokens)
			}
			for _, x := range out.Rejects {
				answer(x.Err.String(), x.Tokens)
			}
			out.Reset()
		}
		for range 400 {
			switch k := rng.IntN(100); {
			case k < 60:
				var ts []uint64
				for range rng.IntN(4) {
					token++
					ts = append(ts, token)
				}
				clock++
				step(&Event{Kind: EventPropose, Timestamp: clock, Batch: make([]byte, rng.IntN(100)), Tokens: ts})
			case k < 90:
				if d := r.Prepared(); d > synced && !r.State().LogFailed {
					synced += 1 + proto.Decree(rng.Int64N(int64(d-synced)))
					step(&Event{Kind: EventLogSynced, Decree: synced})
				}
			case k < 98:
				ballot++
				p := me
				if rng.IntN(3) == 0 {
					p = other
				}
				step(&Event{Kind: EventConfigure, Config: Config{Ballot: ballot, Primary: p}})
			case k == 98 && rng.IntN(5) == 0:
				step(&Event{Kind: EventLogFailed})
			}
		}
		step(&Event{Kind: EventLogFailed})
		if len(answered) != int(token) {
			t.Fatalf("seed %d: %d of %d tokens answered", seed, len(answered), token)
		}
	}
}
