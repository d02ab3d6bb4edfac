package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A replica lives in <data dir>/reps/<app>.<partition>.pegasus: replica.json says what it is, rdb/ is its store. The shape
// of the name is Apache Pegasus' (spec replication 8), so that its operators find their way.
const (
	replicasDir   = "reps"
	replicaSuffix = ".pegasus"
	replicaFile   = "replica.json"
	storeDir      = "rdb"
	identityFile  = "node.json"
	shardLogsDir  = "slog" // beside reps, one folder for each shard in it
	formatVersion = 1      // of replica.json and node.json; a reader accepts this version and older ones
)

// replicaDir is where a replica's files are.
type replicaDir struct {
	path string
	tag  string // of the data directory, as meta and operators see it
}

func (d replicaDir) store() string { return filepath.Join(d.path, storeDir) }

// tidy brings the directory back in order after a crash: checkpoints of a former life are offered to nobody any more, and a store
// that was moved away for another that has not arrived comes back. It is merely older then; it was a learner's.
func (d replicaDir) tidy() error {
	if err := os.RemoveAll(filepath.Join(d.path, checkpointsDir)); err != nil {
		return err
	}
	old := filepath.Join(d.path, replacedDir)
	if _, err := os.Stat(d.store()); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(old, d.store()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(old)
}

// replicaRecord is the content of replica.json. Ballot is written before the replica acts on a configuration.
type replicaRecord struct {
	Format         int               `json:"format"`
	AppID          int32             `json:"app_id"`
	Partition      int32             `json:"partition"`
	Ballot         proto.Ballot      `json:"ballot"`
	AppName        string            `json:"app_name"`
	AppType        string            `json:"app_type"`
	PartitionCount int32             `json:"partition_count"`
	MaxReplicas    int32             `json:"max_replica_count"`
	Envs           map[string]string `json:"envs,omitempty"`

	InitPartitions   int32 `json:"init_partition_count,omitempty"`
	CreateSecond     int64 `json:"create_second,omitempty"`
	AtomicIdempotent bool  `json:"atomic_idempotent,omitempty"`
	// Moved is how often the replica moved to another data directory: of two directories of one ballot the higher counts.
	Moved int `json:"moved,omitempty"`
	// Described is when meta said so, unix milliseconds; of the records of one table the newest counts.
	Described int64 `json:"described_ms,omitempty"`
}

func (p *partition) record(ballot proto.Ballot) replicaRecord {
	return replicaRecord{
		Format: formatVersion, AppID: p.gpid.App, Partition: p.gpid.Part, Ballot: ballot,
		AppName: p.app.AppName, AppType: p.app.AppType, PartitionCount: p.app.PartitionCount,
		MaxReplicas: p.app.MaxReplicaCount, Envs: p.app.Envs, InitPartitions: p.app.InitPartitionCount,
		CreateSecond: p.app.CreateSecond, AtomicIdempotent: p.app.AtomicIdempotent != nil && *p.app.AtomicIdempotent,
		Described: p.described, Moved: p.recorded.Moved,
	}
}

// describes tells whether the record says of the table what r says.
func (r *replicaRecord) describes(other *replicaRecord) bool {
	return r.AppName == other.AppName && r.AppType == other.AppType && r.PartitionCount == other.PartitionCount &&
		r.MaxReplicas == other.MaxReplicas && r.InitPartitions == other.InitPartitions && r.CreateSecond == other.CreateSecond &&
		r.AtomicIdempotent == other.AtomicIdempotent && maps.Equal(r.Envs, other.Envs)
}

// app is what the record remembers of the table; meta's word replaces it once the node is connected.
func (r *replicaRecord) app() proto.AppInfo {
	a := proto.AppInfo{
		Status: proto.AppAvailable, AppID: r.AppID, AppName: r.AppName, AppType: r.AppType,
		PartitionCount: r.PartitionCount, MaxReplicaCount: r.MaxReplicas, Envs: r.Envs, IsStateful: true,
		InitPartitionCount: r.InitPartitions, CreateSecond: r.CreateSecond,
	}
	if r.AtomicIdempotent {
		a.AtomicIdempotent = &r.AtomicIdempotent
	}
	return a
}

func writeRecord(d replicaDir, r replicaRecord) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(disk.OS(), filepath.Join(d.path, replicaFile), append(b, '\n'))
}

func readRecord(d replicaDir) (r replicaRecord, err error) {
	name := filepath.Join(d.path, replicaFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	if r.Format < 1 || r.Format > formatVersion {
		return r, fmt.Errorf("%s: format %d, this version reads up to %d", name, r.Format, formatVersion)
	}
	return r, nil
}

// parseReplicaName reads "<app>.<partition>.pegasus".
func parseReplicaName(name string) (proto.GPID, bool) {
	base, ok := strings.CutSuffix(name, replicaSuffix)
	if !ok {
		return proto.GPID{}, false
	}
	app, part, ok := strings.Cut(base, ".")
	if !ok {
		return proto.GPID{}, false
	}
	a, err1 := strconv.ParseInt(app, 10, 32)
	i, err2 := strconv.ParseInt(part, 10, 32)
	if err1 != nil || err2 != nil || a < 1 || i < 0 {
		return proto.GPID{}, false
	}
	return proto.GPID{App: int32(a), Part: int32(i)}, true
}

// identity is the content of node.json: who this node is, whatever its address.
type identity struct {
	Format int    `json:"format"`
	Node   string `json:"node_id"`
}

// loadIdentity reads the node's id from the data directories, or draws one with fresh. Every directory keeps it, so that the loss
// of one does not make another node of this one; directories of two nodes are refused.
func loadIdentity(dirs []string, fresh func() proto.NodeID) (proto.NodeID, error) {
	var id proto.NodeID
	from := ""
	var without []string
	for _, dir := range dirs {
		switch found, err := readIdentity(filepath.Join(dir, identityFile)); {
		case errors.Is(err, fs.ErrNotExist):
			without = append(without, dir)
		case err != nil:
			return proto.NodeID{}, err
		case from == "":
			id, from = found, dir
		case found != id:
			return proto.NodeID{}, fmt.Errorf("%s is of node %v, %s of node %v", from, id, dir, found)
		}
	}
	if from == "" {
		id = fresh()
	}
	for _, dir := range without {
		if err := writeIdentity(dir, id); err != nil {
			return proto.NodeID{}, err
		}
	}
	return id, nil
}

func writeIdentity(dir string, id proto.NodeID) error {
	b, err := json.Marshal(identity{Format: formatVersion, Node: id.String()})
	if err != nil {
		return err
	}
	return disk.WriteFile(disk.OS(), filepath.Join(dir, identityFile), append(b, '\n'))
}

func readIdentity(name string) (proto.NodeID, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return proto.NodeID{}, err
	}
	var who identity
	if err := json.Unmarshal(b, &who); err != nil {
		return proto.NodeID{}, fmt.Errorf("%s: %w", name, err)
	}
	if who.Format < 1 || who.Format > formatVersion {
		return proto.NodeID{}, fmt.Errorf("%s: format %d, this version reads up to %d", name, who.Format, formatVersion)
	}
	id, err := proto.ParseNodeID(who.Node)
	if err != nil {
		return proto.NodeID{}, fmt.Errorf("%s: %w", name, err)
	}
	return id, nil
}
