package pacsim

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// TestMain trades memory for speed: runs are short and make much garbage.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestLinearChecker feeds histories whose verdict is known.
func TestLinearChecker(t *testing.T) {
	ms := millisecond
	set := func(v, called, returned int64) op {
		return op{kind: opSet, arg: v, called: called, returned: returned, done: true}
	}
	get := func(v, called, returned int64) op {
		return op{kind: opGet, result: cell{v != 0, v}, called: called, returned: returned, done: true}
	}
	const a, b = 1 * valueStep, 2 * valueStep
	lost := set(b, 3*ms, 0)
	lost.done = false
	sum := op{kind: opIncr, arg: 5, called: 6 * ms, returned: 7 * ms, done: true, result: cell{true, b + 5}}
	miss := op{kind: opCAS, expect: cell{true, a}, arg: 3 * valueStep, called: 8 * ms, returned: 9 * ms, done: true, result: cell{true, b + 5}}
	for _, c := range []struct {
		name string
		ops  []op
		ok   bool
	}{
		{"reads what was written", []op{set(a, 1*ms, 2*ms), get(a, 3*ms, 4*ms)}, true},
		{"stale read", []op{set(a, 1*ms, 2*ms), set(b, 3*ms, 4*ms), get(a, 5*ms, 6*ms)}, false},
		{"write lost", []op{set(a, 1*ms, 2*ms), get(0, 3*ms, 4*ms)}, false},
		{"concurrent, either order", []op{set(a, 1*ms, 5*ms), set(b, 2*ms, 4*ms), get(a, 6*ms, 7*ms)}, true},
		{"back in time", []op{set(a, 1*ms, 2*ms), set(b, 3*ms, 9*ms), get(b, 4*ms, 5*ms), get(a, 6*ms, 7*ms)}, false},
		{"unanswered write took effect", []op{set(a, 1*ms, 2*ms), lost, get(b, 4*ms, 5*ms)}, true},
		{"unanswered write took no effect", []op{set(a, 1*ms, 2*ms), lost, get(a, 4*ms, 5*ms)}, true},
		{"unanswered write came and went", []op{set(a, 1*ms, 2*ms), lost, get(b, 4*ms, 5*ms), get(a, 6*ms, 7*ms)}, false},
		{"sum over an unanswered write", []op{set(a, 1*ms, 2*ms), lost, sum, miss}, true},
		{"increment applied twice", []op{set(b, 1*ms, 2*ms), sum, get(b+10, 8*ms, 9*ms)}, false},
		{"failed check lies", []op{set(a, 1*ms, 2*ms), miss}, false},
	} {
		var h history
		for _, o := range c.ops {
			h.add(o)
		}
		if bad, _ := h.check(); (bad < 0) != c.ok {
			t.Errorf("%s: linearizable %v, want %v", c.name, bad < 0, c.ok)
		}
	}
}

// TestOrderCheckers feeds breaks that the cores cannot be brought to make.
func TestOrderCheckers(t *testing.T) {
	one, two, three := proto.NodeID{0: 1, 1: 1}, proto.NodeID{0: 2, 1: 1}, proto.NodeID{0: 3, 1: 1}
	partition := func(b proto.Ballot, primary proto.NodeID, secondaries ...proto.NodeID) *core.Partition {
		return &core.Partition{Ballot: b, Primary: primary, Secondaries: secondaries}
	}
	for _, c := range []struct {
		name, kind string
		do         func(*Sim)
	}{
		{"decrees in order", "", func(s *Sim) {
			s.history.commit(s.nodes[0], 0, 0, 1, 7)
			s.history.commit(s.nodes[0], 0, 1, 2, 8)
			s.history.commit(s.nodes[1], 0, 0, 1, 7)
		}},
		{"a decree is left out", "gap", func(s *Sim) { s.history.commit(s.nodes[0], 0, 1, 3, 7) }},
		{"another mutation", "history", func(s *Sim) {
			s.history.commit(s.nodes[0], 0, 0, 1, 7)
			s.history.commit(s.nodes[1], 0, 0, 1, 8)
		}},
		{"ballots in order", "", func(s *Sim) {
			s.registers.change(0, partition(1, one, two))
			s.registers.change(0, partition(2, two, three))
		}},
		{"a ballot is left out", "register", func(s *Sim) {
			s.registers.change(0, partition(1, one, two))
			s.registers.change(0, partition(3, two))
		}},
		{"a member twice", "register", func(s *Sim) { s.registers.change(0, partition(1, one, two, one)) }},
		{"the primary of the register", "", func(s *Sim) {
			s.registers.change(0, partition(1, one))
			s.serving.role(&replica{n: s.nodes[0]}, consensus.Primary, 1)
		}},
		{"a primary by its own grace", "primary", func(s *Sim) {
			s.registers.change(0, partition(1, one, two))
			s.serving.role(&replica{n: s.nodes[1]}, consensus.Primary, 1)
		}},
	} {
		o := Draw(6)
		o.Nodes = 3
		s := newSim(o, nil)
		for i := range o.Nodes {
			s.nodes = append(s.nodes, newNode(s, i))
		}
		c.do(s)
		kind := ""
		if s.failure != nil {
			kind = s.failure.Kind
		}
		if kind != c.kind {
			t.Errorf("%s: checker %q fired, want %q", c.name, kind, c.kind)
		}
	}
}

func TestFaultNames(t *testing.T) {
	o := Draw(6)
	if on, err := ParseFaults(o.Names()); err != nil || on != o.On {
		t.Errorf("%q is read as %v, %v", o.Names(), on, err)
	}
	if _, err := ParseFaults("loss,lost"); err == nil || !strings.Contains(err.Error(), `"lost"`) {
		t.Errorf("error %v", err)
	}
}

// TestShrink: what a failure does not need is turned off. The failure is a limit that nothing can keep.
func TestShrink(t *testing.T) {
	o := Draw(6)
	o.Replicas = o.Nodes + 1
	r := Run(o, nil)
	if r.Failure == nil || r.Failure.Kind != "live" {
		t.Fatalf("a table with more replicas than nodes came to rest: %v", r.Failure)
	}
	if s := Shrink(r, time.Minute); s.Failure == nil || s.Options.Names() != "" {
		t.Errorf("shrunk to %q, %v", s.Options.Names(), s.Failure)
	}
}
