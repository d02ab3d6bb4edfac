package core

import (
	"fmt"

	"pegasus/netcore/proto"
)

// A snapshot is a version byte and the struct below in the schema codec, so a later version may add fields without a
// new number; the number changes when an old reader must not read it.
const snapshotVersion = 1

type snapshot struct {
	Revision int64  `thrift:"1"`
	NextApp  int32  `thrift:"2"`
	Apps     []App  `thrift:"3"`
	Nodes    []Node `thrift:"4"`
	// Not written by programs of before jobs.
	Jobs      []Job              `thrift:"5,opt"`
	LastJob   int64              `thrift:"6,opt"`
	Options   map[string]string  `thrift:"7,opt"`
	Forgotten map[int32]struct{} `thrift:"8,opt"`
	Restored  bool               `thrift:"9,opt"`
	Notes     []Note             `thrift:"10,opt"`
}

// AppendSnapshot appends the whole state. Equal states give equal bytes.
func (s *State) AppendSnapshot(dst []byte) []byte {
	snap := snapshot{Revision: s.revision, NextApp: s.nextApp, Apps: make([]App, len(s.apps))}
	for i, a := range s.apps {
		snap.Apps[i] = *a
	}
	for _, n := range s.Nodes() {
		snap.Nodes = append(snap.Nodes, *n)
	}
	for _, j := range s.jobs {
		snap.Jobs = append(snap.Jobs, *j)
	}
	snap.LastJob, snap.Restored, snap.Notes = s.lastJob, s.restored, s.allNotes()
	if len(s.options) > 0 {
		snap.Options = s.options
	}
	if len(s.forgotten) > 0 {
		snap.Forgotten = s.forgotten
	}
	return proto.Marshal(append(dst, snapshotVersion), &snap)
}

// ReadSnapshot builds the state that AppendSnapshot wrote. It keeps no reference to b.
func ReadSnapshot(b []byte) (*State, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("core: empty snapshot")
	}
	if b[0] != snapshotVersion {
		return nil, fmt.Errorf("core: snapshot version %d, this program knows %d", b[0], snapshotVersion)
	}
	var snap snapshot
	if err := proto.Unmarshal(b[1:], &snap); err != nil {
		return nil, fmt.Errorf("core: snapshot: %w", err)
	}
	s := NewState()
	s.revision, s.nextApp = snap.Revision, snap.NextApp
	for i := range snap.Apps {
		a := &snap.Apps[i]
		if i > 0 && snap.Apps[i-1].Info.AppID >= a.Info.AppID || a.Info.AppID >= s.nextApp {
			return nil, fmt.Errorf("core: snapshot: table id %d out of order", a.Info.AppID)
		}
		if int(a.Info.PartitionCount) != len(a.Partitions) {
			return nil, fmt.Errorf("core: snapshot: table %d has %d partitions, says %d", a.Info.AppID, len(a.Partitions),
				a.Info.PartitionCount)
		}
		if a.Info.Envs == nil {
			a.Info.Envs = make(map[string]string)
		}
		s.apps = append(s.apps, a)
		s.partitions += len(a.Partitions)
		if a.Info.Status != proto.AppDropped {
			if s.names[a.Info.AppName] != nil {
				return nil, fmt.Errorf("core: snapshot: two tables named %q", a.Info.AppName)
			}
			s.names[a.Info.AppName] = a
		}
	}
	for i := range snap.Nodes {
		n := &snap.Nodes[i]
		s.nodes[n.ID] = n
	}
	for i := range snap.Jobs {
		j := &snap.Jobs[i]
		if i > 0 && snap.Jobs[i-1].ID >= j.ID || j.ID > snap.LastJob {
			return nil, fmt.Errorf("core: snapshot: job %d out of order", j.ID)
		}
		s.jobs = append(s.jobs, j)
	}
	s.lastJob, s.restored = snap.LastJob, snap.Restored
	if snap.Options != nil {
		s.options = snap.Options
	}
	if snap.Forgotten != nil {
		s.forgotten = snap.Forgotten
	}
	if err := s.setNotes(snap.Notes); err != nil {
		return nil, err
	}
	return s, nil
}

// skippedIDs is how many table ids a restored state leaves out: those of tables that were made after the backup, of which
// nodes still have replicas.
const skippedIDs = 4096

// MarkRestored notes that a state comes from the past: it gives no id to a table that may have been given since, and a leader
// hears what nodes have before it calls a partition new.
func (s *State) MarkRestored() {
	s.nextApp += skippedIDs
	s.restored = true
}

// Summary is a line for people.
func (s *State) Summary() string {
	return fmt.Sprintf("%d tables, %d partitions, %d nodes, revision %d", len(s.apps), s.partitions, len(s.nodes), s.revision)
}
