package shard

import (
	"slices"
	"testing"
	"time"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// sliceJob is a long read of so many slices.
type sliceJob struct {
	name    string
	left    int
	ended   *[]string // what became of jobs, in order
	dropped bool
	limits  []time.Duration
}

func (j *sliceJob) run(limit time.Duration) bool {
	j.limits = append(j.limits, limit)
	j.left--
	return j.left == 0
}

func (j *sliceJob) finish(*Shard) int { *j.ended = append(*j.ended, j.name); return 0 }
func (j *sliceJob) refuse(_ *Shard, code proto.ErrCode) {
	*j.ended = append(*j.ended, j.name+" "+code.String())
}
func (j *sliceJob) drop() { j.dropped = true }

// Long reads take turns: a short one is not kept waiting by a very long one that came first. Beside short requests one slice runs
// at a time.
func TestLongReadsTakeTurns(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(proto.GPID{App: 1}, newColdStore(nil, false))
	var ended []string
	jobs := []*sliceJob{{name: "longest", left: 5, ended: &ended}, {name: "long", left: 3, ended: &ended}, {name: "short", left: 1, ended: &ended}}
	s.do(func() {
		s.sh.long.budget.look(0, s.sh.clock())
		s.sh.stats.Gets++
		for _, j := range jobs {
			s.sh.submitLong(p, j)
		}
	})
	for slice := range 5 + 3 + 1 {
		m := next[*laneRead](s)
		s.do(func() {
			if s.sh.long.running != 1 {
				t.Errorf("slice %d: %d run", slice, s.sh.long.running)
			}
			s.sh.stats.Gets++
			m.deliver(s.sh)
		})
	}
	if want := []string{"short", "long", "longest"}; !slices.Equal(ended, want) {
		t.Errorf("ended in the order %q, want %q", ended, want)
	}
	s.do(func() {
		if p.refs != 0 || s.sh.long.running != 0 || len(s.sh.long.queue) != 0 {
			t.Errorf("%d uses of the store, %d running, %d waiting", p.refs, s.sh.long.running, len(s.sh.long.queue))
		}
	})
	for _, limit := range jobs[0].limits {
		if limit != sharedSlice {
			t.Errorf("a slice of up to %v beside short requests", limit)
		}
	}
}

// Without short requests all workers run long reads.
func TestLongReadsUseAllWorkers(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log")
	p := s.open(proto.GPID{App: 1}, newColdStore(nil, false))
	var ended []string
	workers := s.sh.opts.Limits.ReadWorkers
	s.do(func() {
		for range workers + 2 {
			s.sh.submitLong(p, &sliceJob{name: "x", left: 1, ended: &ended})
		}
		if s.sh.long.running != workers || len(s.sh.long.queue) != 2 {
			t.Errorf("%d run, %d wait", s.sh.long.running, len(s.sh.long.queue))
		}
	})
	for range workers + 2 {
		m := next[*laneRead](s)
		s.do(func() { m.deliver(s.sh) })
	}
	if len(ended) != workers+2 {
		t.Errorf("%d ended", len(ended))
	}
}

func TestLongReadsAreBounded(t *testing.T) {
	s := newSolo(t, disk.NewMem(1), "/log", func(o *Options) { o.Limits.ReadQueue = 2 })
	p := s.open(proto.GPID{App: 1}, newColdStore(nil, false))
	var ended []string
	var jobs []*sliceJob
	s.do(func() {
		s.sh.long.paused = true
		for _, name := range []string{"a", "b", "c"} {
			jobs = append(jobs, &sliceJob{name: name, left: 1, ended: &ended})
			s.sh.submitLong(p, jobs[len(jobs)-1])
		}
	})
	if want := []string{"c ERR_BUSY"}; !slices.Equal(ended, want) {
		t.Errorf("%q, want %q", ended, want)
	}
	s.do(func() {
		if p.refs != 2 {
			t.Errorf("%d uses of the store", p.refs)
		}
		s.sh.long.drop()
	})
	if !jobs[0].dropped || !jobs[1].dropped || jobs[2].dropped {
		t.Error("what waits when the loop ends is not let go")
	}
}
