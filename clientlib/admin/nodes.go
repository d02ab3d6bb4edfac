package admin

import (
	"context"

	"pegasus/netcore/proto"
)

// ReplicaInfo returns the replicas that a replica server holds.
func (a Admin) ReplicaInfo(ctx context.Context, address string) ([]proto.ReplicaInfo, error) {
	resp, err := node[proto.QueryReplicaInfoResponse](ctx, a, address, proto.CodeQueryReplicaInfo, proto.GPID{},
		&proto.QueryReplicaInfoRequest{})
	return resp.Replicas, err
}

// DiskInfo returns the data directories of a replica server and the replicas of a table on them, of all tables when the
// name is empty.
func (a Admin) DiskInfo(ctx context.Context, address, table string) (*proto.QueryDiskInfoResponse, error) {
	return node[proto.QueryDiskInfoResponse](ctx, a, address, proto.CodeQueryDiskInfo, proto.GPID{},
		&proto.QueryDiskInfoRequest{AppName: table})
}

// MigrateDisk moves a secondary from one data directory of a server to another; disks are named by tag.
func (a Admin) MigrateDisk(ctx context.Context, address string, gpid proto.GPID, from, to string) error {
	_, err := node[proto.ReplicaDiskMigrateResponse](ctx, a, address, proto.CodeReplicaDiskMigrate, proto.GPID{},
		&proto.ReplicaDiskMigrateRequest{PID: gpid, OriginDisk: from, TargetDisk: to})
	return err
}

// AddDisks gives a replica server more data directories: "tag:dir,tag:dir".
func (a Admin) AddDisks(ctx context.Context, address, disks string) error {
	_, err := node[proto.AddNewDiskResponse](ctx, a, address, proto.CodeAddNewDisk, proto.GPID{}, &proto.AddNewDiskRequest{DiskStr: disks})
	return err
}

// DetectHotkey starts, stops or asks for the search for the key that draws most of a partition's traffic on a server.
// The answer to a query is the key, C-escaped; until it is found the error is ErrBusy with the state as its hint. What
// the server says to a start is in hint.
func (a Admin) DetectHotkey(ctx context.Context, address string, gpid proto.GPID,
	kind proto.HotkeyType, action proto.DetectAction) (key, hint string, err error) {
	resp, err := node[proto.DetectHotkeyResponse](ctx, a, address, proto.CodeDetectHotkey, proto.GPID{},
		&proto.DetectHotkeyRequest{Type: kind, Action: action, PID: gpid})
	if resp.HotkeyResult != nil {
		key = *resp.HotkeyResult
	}
	if resp.ErrHint != nil {
		hint = *resp.ErrHint
	}
	return key, hint, err
}
