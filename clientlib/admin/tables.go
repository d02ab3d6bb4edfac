package admin

import (
	"context"
	"maps"
	"slices"

	"pegasus/netcore/proto"
)

// ListTables returns the tables of a status (AppInvalid: all of them) whose names match. PMTInvalid matches all.
func (a Admin) ListTables(ctx context.Context, status proto.AppStatus, pattern string, match proto.PatternMatchType) ([]proto.AppInfo, error) {
	req := proto.ListAppsRequest{Status: status}
	if match != proto.PMTInvalid {
		req.AppNamePattern, req.MatchType = &pattern, &match
	}
	resp, err := meta[proto.ListAppsResponse](ctx, a, proto.CodeCMListApps, &req, repeats)
	return resp.Infos, err
}

// DropTable removes a table. Its data is kept for reserveSeconds, 0 for what the cluster is configured to.
func (a Admin) DropTable(ctx context.Context, name string, reserveSeconds int64) error {
	req := proto.DropAppRequest{AppName: name}
	if reserveSeconds > 0 {
		req.Options.ReserveSeconds = &reserveSeconds
	}
	_, err := meta[proto.DropAppResponse](ctx, a, proto.CodeCMDropApp, &req, once)
	return err
}

// RecallTable brings a dropped table back, under its last name when newName is empty.
func (a Admin) RecallTable(ctx context.Context, id int32, newName string) (proto.AppInfo, error) {
	req := proto.RecallAppRequest{AppID: id, NewAppName: newName}
	resp, err := meta[proto.RecallAppResponse](ctx, a, proto.CodeCMRecallApp, &req, once)
	return resp.Info, err
}

// RenameTable gives a table another name.
func (a Admin) RenameTable(ctx context.Context, old, name string) error {
	req := proto.RenameAppRequest{OldAppName: old, NewAppName: name}
	_, err := meta[proto.RenameAppResponse](ctx, a, proto.CodeCMRenameApp, &req, once)
	return err
}

// SetEnvs sets environment variables of a table.
func (a Admin) SetEnvs(ctx context.Context, table string, envs map[string]string) error {
	req := proto.UpdateAppEnvRequest{AppName: table, Op: proto.AppEnvOpSet, Keys: slices.Sorted(maps.Keys(envs))}
	for _, k := range req.Keys {
		req.Values = append(req.Values, envs[k])
	}
	return a.updateEnvs(ctx, &req)
}

// DelEnvs removes environment variables of a table.
func (a Admin) DelEnvs(ctx context.Context, table string, keys ...string) error {
	return a.updateEnvs(ctx, &proto.UpdateAppEnvRequest{AppName: table, Op: proto.AppEnvOpDel, Keys: keys})
}

// ClearEnvs removes the environment variables of a table that begin with prefix; an empty prefix removes all.
func (a Admin) ClearEnvs(ctx context.Context, table, prefix string) error {
	return a.updateEnvs(ctx, &proto.UpdateAppEnvRequest{AppName: table, Op: proto.AppEnvOpClear, ClearPrefix: &prefix})
}

func (a Admin) updateEnvs(ctx context.Context, req *proto.UpdateAppEnvRequest) error {
	_, err := meta[proto.UpdateAppEnvResponse](ctx, a, proto.CodeCMUpdateAppEnv, req, repeats)
	return err
}

// ReplicaCount returns how many members each partition of a table shall have.
func (a Admin) ReplicaCount(ctx context.Context, table string) (int32, error) {
	req := proto.GetMaxReplicaCountRequest{AppName: table}
	resp, err := meta[proto.GetMaxReplicaCountResponse](ctx, a, proto.CodeCMGetMaxReplicaCount, &req, repeats)
	return resp.MaxReplicaCount, err
}

// SetReplicaCount changes ReplicaCount and returns what it was.
func (a Admin) SetReplicaCount(ctx context.Context, table string, n int32) (old int32, err error) {
	req := proto.SetMaxReplicaCountRequest{AppName: table, MaxReplicaCount: n}
	resp, err := meta[proto.SetMaxReplicaCountResponse](ctx, a, proto.CodeCMSetMaxReplicaCount, &req, repeats)
	return resp.OldMaxReplicaCount, err
}

// AtomicIdempotent tells whether a table's atomic writes are made idempotent before they are replicated.
func (a Admin) AtomicIdempotent(ctx context.Context, table string) (bool, error) {
	req := proto.GetAtomicIdempotentRequest{AppName: table}
	resp, err := meta[proto.GetAtomicIdempotentResponse](ctx, a, proto.CodeCMGetAtomicIdempotent, &req, repeats)
	return resp.AtomicIdempotent, err
}

// SetAtomicIdempotent changes AtomicIdempotent and returns what it was.
func (a Admin) SetAtomicIdempotent(ctx context.Context, table string, on bool) (old bool, err error) {
	req := proto.SetAtomicIdempotentRequest{AppName: table, AtomicIdempotent: on}
	resp, err := meta[proto.SetAtomicIdempotentResponse](ctx, a, proto.CodeCMSetAtomicIdempotent, &req, repeats)
	return resp.OldAtomicIdempotent, err
}

// CompactSpec says how a manual compaction goes. Zero values leave the choice to the servers.
type CompactSpec struct {
	TargetLevel *int32 // -1: the servers choose
	Bottommost  bool   // rewrite the last level too
	MaxRunning  int32  // replicas compacting at a time on one node
}

// StartManualCompact has all replicas of a table compacted.
func (a Admin) StartManualCompact(ctx context.Context, table string, spec CompactSpec) error {
	req := proto.StartAppManualCompactRequest{AppName: table, TargetLevel: spec.TargetLevel}
	if spec.Bottommost {
		req.Bottommost = &spec.Bottommost
	}
	if spec.MaxRunning > 0 {
		req.MaxRunningCount = &spec.MaxRunning
	}
	_, err := meta[proto.StartAppManualCompactResponse](ctx, a, proto.CodeCMStartManualCompact, &req, repeats)
	return err
}

// ManualCompactProgress returns which share of a table's replicas has finished, in percent.
func (a Admin) ManualCompactProgress(ctx context.Context, table string) (int32, error) {
	req := proto.QueryAppManualCompactRequest{AppName: table}
	resp, err := meta[proto.QueryAppManualCompactResponse](ctx, a, proto.CodeCMQueryManualCompactStatus, &req, repeats)
	if resp.Progress == nil {
		return 0, err
	}
	return *resp.Progress, err
}
