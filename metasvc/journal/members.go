package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// Who belongs to the group. The members of the configuration file only begin a group; from the first change on the journal
// itself knows them, and the file is no longer asked.

// changeTimeout bounds the wait for a change of the members to be stored.
const changeTimeout = 15 * time.Second

// ErrNotLeader means that only the leader can do it.
var ErrNotLeader = errors.New("journal: not the leader")

// Members returns the group as this member knows it.
func (j *Journal) Members() []Member {
	f := j.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return membersOf(f.Configuration())
}

func membersOf(c raft.Configuration) (out []Member) {
	for _, s := range c.Servers {
		out = append(out, Member{string(s.ID), string(s.Address)})
	}
	return out
}

// Add takes a member in, or changes the address of one. It waits until the change is stored by a majority of the new group;
// so the new member had better run already.
func (j *Journal) Add(m Member) error {
	return j.change(j.raft.AddVoter(raft.ServerID(m.ID), raft.ServerAddress(m.Address), 0, changeTimeout))
}

// Remove excludes a member. A leader that excludes itself stops when that is stored.
func (j *Journal) Remove(id string) error {
	if members := j.Members(); len(members) == 1 && members[0].ID == id {
		return errors.New("journal: the last member cannot be removed")
	}
	return j.change(j.raft.RemoveServer(raft.ServerID(id), 0, changeTimeout))
}

func (j *Journal) change(f raft.IndexFuture) error {
	err := f.Error()
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
		return ErrNotLeader
	}
	return err
}

// sameGroup compares the members on disk with those asked for. The former win in Raft, so as long as they are those that
// the group began with, a difference would be a silent surprise. Once they were changed they are right and the file is old.
func (j *Journal) sameGroup(cfg *Config, changed bool) error {
	f := j.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	have := membersOf(f.Configuration())
	same := len(have) == len(cfg.Members)
	for _, m := range have {
		same = same && slices.Contains(cfg.Members, m)
	}
	switch {
	case same, cfg.Join && len(have) == 0:
		return nil
	case changed:
		j.log.Info("members have changed since the configuration file was written", zap.Any("members", have))
		return nil
	}
	return fmt.Errorf("journal: the data was written by the group %v, the configuration says %v", have, cfg.Members)
}

// firstIndex is where a new group stores its members.
const firstIndex = 1

// regrouped tells whether the members were ever changed: whether they stand anywhere but at the beginning.
func regrouped(store raft.LogStore, snapshots raft.SnapshotStore) (bool, error) {
	if list, err := snapshots.List(); err != nil {
		return false, fmt.Errorf("journal: %w", err)
	} else if len(list) > 0 && list[0].ConfigurationIndex > firstIndex {
		return true, nil
	}
	first, err := store.FirstIndex()
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	last, err := store.LastIndex()
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	var l raft.Log
	for i := max(first, firstIndex+1); i <= last; i++ {
		if err := store.GetLog(i, &l); err != nil {
			return false, fmt.Errorf("journal: entry %d: %w", i, err)
		}
		if l.Type == raft.LogConfiguration {
			return true, nil
		}
	}
	return false, nil
}

// Restore makes the directory of a member as if it had applied a snapshot. The directory must be empty. All members of the
// group must be made from the same snapshot and with the same members.
func Restore(cfg Config, snapshot []byte) error {
	store, snapshots, err := openStores(&cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	known, err := raft.HasExistingState(store, store, snapshots)
	if err != nil {
		return fmt.Errorf("journal: %s: %w", cfg.Dir, err)
	}
	if known {
		return fmt.Errorf("journal: %s holds a journal already: restore into an empty directory", cfg.Dir)
	}
	if err := store.SetUint64([]byte("CurrentTerm"), firstIndex); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	// The version is that of Raft's snapshots, not of ours. Nobody is asked for an address, so there is no transport.
	_, transport := raft.NewInmemTransport("")
	sink, err := snapshots.Create(raft.SnapshotVersionMax, firstIndex, firstIndex, group(cfg.Members), firstIndex, transport)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return encoded(snapshot).Persist(sink)
}
