package admin

import "context"

// MetaMember is a member of the meta group: where it serves, and where it takes part in Raft.
type MetaMember struct {
	Address string `json:"address"`
	Raft    string `json:"raft"`
	Leader  bool   `json:"leader"`
}

// MetaMembers returns the members of the meta group.
func (a Admin) MetaMembers(ctx context.Context) ([]MetaMember, error) {
	answer, err := a.leaderCommand(ctx, "meta.members")
	if err != nil {
		return nil, err
	}
	return answer.Members, nil
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
