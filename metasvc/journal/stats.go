package journal

import (
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Stats are what a member tells of its Raft. Indexes and terms are Raft's own.
type Stats struct {
	State   string // follower, candidate, leader or shutdown
	Leader  string // ID of the leader that this member knows; empty for none
	Members int    // of the group, as this member knows it
	Term    uint64
	Last    uint64 // entry in the log
	Commit  uint64 // entry known to be committed
	Applied uint64 // entry handed to the Machine
	// Pending is how many batches of committed entries wait for the Machine.
	Pending int
	// Contact is how long ago the leader was heard: 0 on the leader, negative when there has not been one.
	Contact  time.Duration
	Snapshot SnapshotStats
}

// SnapshotStats describe the newest snapshot on disk; zero when there is none.
type SnapshotStats struct {
	Index uint64
	Bytes int64
	Taken time.Time
}

// Stats reads them, the snapshot from disk: it is nothing for a loop. Snapshots that cannot be listed count as none, as they do
// when Raft looks for one.
func (j *Journal) Stats() Stats {
	r := j.raft
	_, leader := r.LeaderWithID()
	s := Stats{
		State: strings.ToLower(r.State().String()), Leader: string(leader), Members: len(j.Members()), Term: r.CurrentTerm(),
		Last: r.LastIndex(), Commit: r.CommitIndex(), Applied: r.AppliedIndex(), Contact: -1,
	}
	// Raft shows the length of this queue nowhere else.
	if n, err := strconv.Atoi(r.Stats()["fsm_pending"]); err == nil {
		s.Pending = n
	}
	switch at := r.LastContact(); {
	case r.State() == raft.Leader:
		s.Contact = 0
	case !at.IsZero():
		s.Contact = time.Since(at)
	}
	if list, err := j.snapshots.List(); err == nil && len(list) > 0 {
		s.Snapshot = SnapshotStats{Index: list[0].Index, Bytes: list[0].Size, Taken: taken(list[0].ID)}
	}
	return s
}

// taken reads the time out of the name of a snapshot, TERM-INDEX-MILLISECONDS (raft, snapshotName in file_snapshot.go); zero when
// there is none in it.
func taken(id string) time.Time {
	ms, err := strconv.ParseInt(id[strings.LastIndexByte(id, '-')+1:], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
