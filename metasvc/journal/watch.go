package journal

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// watchPeriod is how often leadership and members are looked at without being told. Raft tells of the leadership, first setting what it
// tells of: when it drops a notice, since as many wait as there is room for, the look for one of those sees the same. Of the members it
// tells the leader only, and nothing tells that a barrier may be tried again.
const watchPeriod = time.Second

// watch reports the members and the leadership. Notices only say when to look; what is reported is read from Raft, with the term, so
// that leadership lost and won again between two looks is seen as two.
func (j *Journal) watch() {
	defer j.workers.Done()
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var last Status
	report := func(s Status) {
		if s != last {
			last = s
			j.log.Info("leadership", zap.Bool("leading", s.Leading), zap.Bool("ready", s.Ready),
				zap.String("leader", s.LeaderID), zap.Uint64("term", s.Term))
			j.machine.Lead(s)
		}
	}
	var members []Member
	for {
		if m := j.Members(); !slices.Equal(m, members) {
			members = m
			j.machine.Group(m)
		}
		now := j.look()
		switch {
		case !now.Leading:
			report(now)
		case last.Ready && last.Term == now.Term:
		default:
			report(now)
			// Everything of former terms is applied when the barrier is.
			if err := j.raft.Barrier(0).Error(); err != nil {
				j.log.Info("leader not ready", zap.Error(err))
				break
			}
			if again := j.look(); again.Leading && again.Term == now.Term {
				again.Ready = true
				report(again)
			}
		}
		select {
		case <-j.raft.LeaderCh():
		case <-j.changed:
		case <-tick.C:
		case <-j.stop:
			return
		}
	}
}

func (j *Journal) look() Status {
	_, id := j.raft.LeaderWithID()
	return Status{
		Leading:  j.raft.State() == raft.Leader,
		LeaderID: string(id),
		Term:     j.raft.CurrentTerm(),
	}
}
