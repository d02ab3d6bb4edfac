package journal

import (
	"io"

	"github.com/hashicorp/raft"
)

// fsm shows a Machine to Raft. Results of entries do not travel back through Raft: the machine knows its own proposals.
type fsm struct{ m Machine }

// ApplyBatch implements raft.BatchingFSM.
func (f fsm) ApplyBatch(logs []*raft.Log) []any {
	entries := make([]Entry, 0, len(logs))
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			entries = append(entries, Entry{Data: l.Data, At: l.AppendedAt.UnixMilli()})
		}
	}
	err := f.m.Apply(entries)
	results := make([]any, len(logs))
	for i := range results {
		results[i] = err
	}
	return results
}

// Apply implements raft.FSM.
func (f fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot implements raft.FSM.
func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	b, err := f.m.Snapshot()
	return encoded(b), err
}

// Restore implements raft.FSM.
func (f fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return f.m.Restore(b)
}

// encoded is a finished snapshot.
type encoded []byte

// Persist implements raft.FSMSnapshot.
func (e encoded) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(e); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (e encoded) Release() {}
