package shard

import (
	"testing"

	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// While a log write is under way the writes of several turns become one mutation; where log writes take long, each turn has its own.
func TestWritesShareAMutationWhileTheLogWrites(t *testing.T) {
	for name, c := range map[string]struct {
		usual int64
		want  uint64
	}{"short": {0, 2}, "long": {maxHold, 4}} {
		t.Run(name, func(t *testing.T) {
			s := newSolo(t, disk.NewMem(1), "/log")
			g := proto.GPID{App: 1}
			p := s.open(g, mem.New(mem.Options{}))
			var seqs []int32
			put := func(key string) {
				s.turn(func() { seqs = append(seqs, s.request(proto.CodePut, g, putArgs(key, "", "v"))) })
			}
			put("before")
			s.finish() // the log has a segment now
			s.do(func() { s.sh.logJob.usual = c.usual })
			before := s.sh.stats.Mutations
			put("a")
			if s.sh.logJob.write == nil || s.sh.stats.Mutations != before+1 {
				t.Fatal("nothing is held when no log write is under way")
			}
			put("b")
			put("c")
			put("b")
			s.finish()
			if n := s.sh.stats.Mutations - before; n != c.want {
				t.Errorf("%d mutations, want %d", n, c.want)
			}
			for _, seq := range seqs {
				if r, ok := s.replies[seq]; !ok || r.Code() != proto.ErrOK {
					t.Errorf("request %d: %v, %v", seq, ok, r.Code())
				}
			}
			if p.current != nil || len(s.sh.held) > 0 {
				t.Errorf("held at the end: %v", s.sh.held)
			}
		})
	}
}
