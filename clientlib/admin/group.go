package admin

import (
	"context"
	"errors"
)

// MetaMember is a member of the meta group: where it serves, and where it takes part in Raft.
type MetaMember struct {
	Address string `json:"address"`
	Raft    string `json:"raft"`
	Leader  bool   `json:"leader"`
}

// maxMetasAsked bounds a search for the leader, whom every meta may name another way.
const maxMetasAsked = 16

// MetaMembers returns the members of the meta group as the leader knows them: a meta server that has been removed, or is yet to join,
// answers with a view of its own. When nobody leads it is the first view that somebody has.
func (a Admin) MetaMembers(ctx context.Context) ([]MetaMember, error) {
	var view []MetaMember
	last := errNoLeader
	asked := map[string]bool{}
	for next := a.client.Metas(); len(next) > 0 && len(asked) < maxMetasAsked; {
		address := next[0]
		if next = next[1:]; asked[address] {
			continue
		}
		asked[address] = true
		answer, err := a.metaCommand(ctx, address, "meta.members")
		switch {
		case err != nil:
			last = err
			continue
		case answer.Error != "ok":
			last = errors.New(answer.Error)
			continue
		}
		for _, m := range answer.Members {
			switch {
			case m.Leader && m.Address == address:
				return answer.Members, nil
			case m.Leader:
				next = append([]string{m.Address}, next...)
			}
		}
		if view == nil {
			view = answer.Members
		}
	}
	if len(view) > 0 {
		return view, nil
	}
	return nil, last
}

// AddMeta takes a meta server into the group, which must have been started to join it, or gives a member another Raft
// address.
func (a Admin) AddMeta(ctx context.Context, address, raft string) error {
	_, err := a.leaderCommand(ctx, "meta.add", address, raft)
	return err
}

// RemoveMeta excludes a member from the meta group.
func (a Admin) RemoveMeta(ctx context.Context, address string) error {
	_, err := a.leaderCommand(ctx, "meta.remove", address)
	return err
}

// BackupMeta has the leader write the state of the cluster into one file of its data directory, and returns the path there.
func (a Admin) BackupMeta(ctx context.Context, name string) (path string, err error) {
	var args []string
	if name != "" {
		args = append(args, name)
	}
	answer, err := a.leaderCommand(ctx, "meta.backup", args...)
	if err != nil {
		return "", err
	}
	return answer.File, nil
}
