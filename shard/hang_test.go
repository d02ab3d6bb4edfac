package shard

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestPulse(t *testing.T) {
	p := pulse{answered: true}
	for round, tc := range []struct {
		answers bool
		missed  int
		hangs   bool
	}{
		{true, 0, false}, {false, 0, false}, {false, 1, false}, {true, 2, false}, {false, 0, false}, {false, 1, false}, {false, 2, false},
		{false, 3, false}, {false, 4, false}, {false, 5, true}, {false, 6, false}, {true, 7, false}, {true, 0, false},
	} {
		if hangs := p.feel(); hangs != tc.hangs || p.missed != tc.missed || p.silence() != time.Duration(tc.missed)*time.Second {
			t.Fatalf("round %d: %d missed, hangs %v, want %+v", round, p.missed, hangs, tc)
		}
		p.answered = tc.answers
	}
}

// standstill holds a loop up from held until hold is closed.
type standstill struct{ held, hold chan struct{} }

func (s *standstill) deliver(*Shard) {
	close(s.held)
	<-s.hold
}

// A loop that hangs shows in the metrics and in the log, also when it answers again. The other loop has nothing to do with it.
func TestHungLoopIsNoticed(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	c := newCluster(t, 2, func(o *Options) { o.Logger = zap.New(core) })
	col := newCollector(c.node)
	defer col.export.Close()
	round := uint64(0)
	next := func(answers int) {
		round++
		col.feelPulses()
		col.ask(round)
		for range answers {
			col.absorb(<-col.arrived)
		}
		col.series.update()
	}
	shows := func(sample string) bool {
		text, err := col.export.Text(nil)
		return err == nil && bytes.Contains(text, []byte("\n"+sample+"\n"))
	}
	hold, held := make(chan struct{}), make(chan struct{})
	next(2)
	next(2)
	if err := c.node.shards[1].loop.PostMust(&standstill{held, hold}); err != nil {
		t.Fatal(err)
	}
	<-held
	for range hungRounds + 1 {
		next(1) // shard 0 answers
	}
	eventually(t, "the silence of shard 1 shows", func() bool {
		return shows(`pegasus_loop_unanswered_seconds{shard="1"} 5`) && shows(`pegasus_loop_unanswered_seconds{shard="0"} 0`)
	})
	if l := logs.FilterMessage("event loop does not answer").All(); len(l) == 0 || l[0].ContextMap()["shard"] != int64(1) {
		t.Errorf("log %v", l)
	}
	close(hold)
	col.absorb(<-col.arrived)
	next(1)
	eventually(t, "it shows that shard 1 answers", func() bool { return shows(`pegasus_loop_unanswered_seconds{shard="1"} 0`) })
	if l := logs.FilterMessage("event loop answers again").All(); len(l) == 0 || l[0].ContextMap()["after"] != hungRounds*time.Second {
		t.Errorf("log %v", l)
	}
}
