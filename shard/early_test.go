package shard

import (
	"fmt"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// answered puts a record and tells whether it was answered without being applied.
func (s *solo) answered(p *partition, key, value string) (early bool) {
	s.t.Helper()
	seq := s.put(key, value)
	s.sync()
	s.want(seq, proto.ErrOK)
	s.do(func() { early = len(p.committed) > 0 && p.store.AppliedDecree() < p.replica.Committed() })
	return early
}

// A primary answers what is committed and applies it with more, but whatever looks at the store sees it.
func TestAnsweredBeforeApplied(t *testing.T) {
	for name, look := range map[string]func(s *solo) string{
		"get": func(s *solo) string { return s.read("n") },
		"multi_get": func(s *solo) string {
			var r proto.MultiGetResponse
			if err := r.DecodeResult(s.ask(proto.CodeMultiGet, (&proto.MultiGetRequest{HashKey: []byte("n"), StartInclusive: true}).AppendArgs)); err != nil {
				return err.Error()
			}
			in := r.KVs.Reader()
			return string(in.KeyValue().Value)
		},
		"incr": func(s *solo) string {
			var r proto.IncrResponse
			if err := r.DecodeResult(s.ask(proto.CodeIncr, incrArgs("n", "", 0))); err != nil {
				return err.Error()
			}
			return fmt.Sprint(r.NewValue)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, disk.NewMem(1), "/log")
			p := s.open(solo1, mem.New(mem.Options{}))
			for i := range 5 {
				if !s.answered(p, "n", fmt.Sprint(i)) {
					t.Fatalf("put %d was applied", i)
				}
				if got := look(s); got != fmt.Sprint(i) {
					t.Fatalf("put %d, then found %s", i, got)
				}
			}
		})
	}
}

// ask makes a request of a turn of its own, with the log writes that it takes, and returns the body of the answer.
func (s *solo) ask(code proto.Code, args func([]byte) []byte) []byte {
	s.t.Helper()
	var seq int32
	s.turn(func() { seq = s.request(code, solo1, args) })
	s.finish()
	s.want(seq, proto.ErrOK)
	return s.replies[seq].Body
}

// What was answered and finds no space in the store is missed by no read: they are refused until it has been applied.
func TestAnsweredWithoutSpace(t *testing.T) {
	full := false
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(solo1, mem.New(mem.Options{Fail: func(op mem.Op) error {
		if full && op == mem.OpApply {
			return engine.ErrNoSpace
		}
		return nil
	}}))
	if !s.answered(p, "a", "1") {
		t.Fatal("the put was applied")
	}
	full = true
	get := func() (seq int32) {
		s.turn(func() { seq = s.request(proto.CodeGet, solo1, keyArgs("a", "")) })
		return seq
	}
	for range 2 {
		s.want(get(), proto.ErrInvalidState)
	}
	s.want(s.put("b", "2"), proto.ErrDiskInsufficient)
	full = false
	s.do(s.node.space.check)
	s.turn(s.sh.retry)
	if got := s.read("a"); got != "1" || p.state != replicaOpen {
		t.Fatalf("found %s, %s", got, p.failure)
	}
	if s.answered(p, "a", "2"); s.read("a") != "2" {
		t.Fatal("a put after it is lost")
	}
}

// While there is trouble with space a put is answered when it has been applied, as it may not be.
func TestNothingIsAnsweredEarlyWhileSpaceIsScarce(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(solo1, mem.New(mem.Options{}))
	seq := s.put("a", "1")
	s.do(s.node.space.hit)
	s.sync()
	s.want(seq, proto.ErrOK)
	if p.store.AppliedDecree() < p.replica.Committed() {
		t.Fatal("answered before it was applied")
	}
}
