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
	return s, nil
}
