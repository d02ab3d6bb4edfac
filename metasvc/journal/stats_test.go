package journal

import (
	"testing"
	"time"
)

// What members tell of their Raft while one of them is away and comes back by a snapshot.
func TestStats(t *testing.T) {
	begin := time.Now().Truncate(time.Millisecond)
	g := newMembers(t, 3, 16)
	g.write(t, "first")
	away := g[0]
	away.close(t)
	g.write(t, series("x", 60)...)
	for _, m := range g[1:] {
		var s Stats
		eventually(t, m.cfg.Self+" has a snapshot and everything", func() bool {
			s = m.j.Stats()
			return s.Snapshot.Index > 0 && s.Applied == s.Last && s.Pending == 0 && s.Leader != ""
		})
		leads := g.leader(t) == m
		switch {
		case s.Members != 3 || s.Term == 0 || s.Last < 61 || s.Commit != s.Last || s.Snapshot.Index > s.Last:
			t.Errorf("%s: %+v", m.cfg.Self, s)
		case s.Snapshot.Bytes < int64(len("first")) || s.Snapshot.Taken.Before(begin) || s.Snapshot.Taken.After(time.Now()):
			t.Errorf("%s: snapshot %+v, the test began at %v", m.cfg.Self, s.Snapshot, begin)
		case leads && (s.State != "leader" || s.Leader != m.cfg.Self || s.Contact != 0):
			t.Errorf("the leader: %+v", s)
		case !leads && (s.State != "follower" || s.Contact <= 0 || s.Contact > time.Since(begin)):
			t.Errorf("a follower: %+v", s)
		}
	}
	away.start(t)
	if s := away.j.Stats(); s.State == "leader" || s.Members != 3 {
		t.Errorf("after its return: %+v", s)
	}
	eventually(t, "the absent member catches up", func() bool {
		s := away.j.Stats()
		return s.Applied == g.leader(t).j.Stats().Applied && s.Contact >= 0
	})
	// Alone it hears nobody.
	for _, m := range g[1:] {
		m.close(t)
	}
	before := away.j.Stats()
	eventually(t, "it notices that it is alone", func() bool {
		s := away.j.Stats()
		return s.State == "candidate" && s.Leader == "" && s.Contact > before.Contact
	})
}

func TestSnapshotTime(t *testing.T) {
	for id, want := range map[string]int64{"2-17-1700000000123": 1700000000123, "1-2-": 0, "": 0, "x": 0} {
		got := taken(id)
		if want == 0 && !got.IsZero() || want != 0 && got.UnixMilli() != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}
