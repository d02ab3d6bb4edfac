package proto

// The messages about tables: where partitions are, creating, dropping, recalling, renaming and listing tables, and
// their environments. Field numbers and names are those of the IDL (spec wire 9, admin 2).

// QueryCfgRequest is the argument of RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX. An empty index list asks for all partitions.
type QueryCfgRequest struct {
	AppName          string  `thrift:"1"`
	PartitionIndices []int32 `thrift:"2"`
	// WantShards asks for Shards in the answer. It is this project's own: Apache Pegasus passes over the field.
	WantShards *bool `thrift:"100,opt"`
}

// PartitionConfiguration is a partition as clients see it. The address fields and the host_port fields mirror each other.
type PartitionConfiguration struct {
	PID                 GPID         `thrift:"1"`
	Ballot              Ballot       `thrift:"2"`
	MaxReplicaCount     int32        `thrift:"3"`
	Primary             RPCAddress   `thrift:"4"`
	Secondaries         []RPCAddress `thrift:"5"`
	LastDrops           []RPCAddress `thrift:"6"`
	LastCommittedDecree Decree       `thrift:"7"`
	PartitionFlags      int32        `thrift:"8"`
	HPPrimary           HostPort     `thrift:"9,opt"`
	HPSecondaries       []HostPort   `thrift:"10,opt"`
	HPLastDrops         []HostPort   `thrift:"11,opt"`
}

// QueryCfgResponse answers QueryCfgRequest. With ErrForwardToOthers Partitions has one entry whose primary is the leader, if known.
type QueryCfgResponse struct {
	Err            ErrCode                  `thrift:"1"`
	AppID          int32                    `thrift:"2"`
	PartitionCount int32                    `thrift:"3"`
	IsStateful     bool                     `thrift:"4"`
	Partitions     []PartitionConfiguration `thrift:"5"`
	// Shards are the servers of Partitions that have a port for each shard. Only sent to those who ask for it.
	Shards []ServerShards `thrift:"100,opt"`
}

// ServerShards tells the ports of a server's shards: shard i listens on First+i, beside the port that all share. Placement
// tells which shard owns a partition.
type ServerShards struct {
	Server   RPCAddress `thrift:"1"`
	HPServer HostPort   `thrift:"2"`
	Count    int32      `thrift:"3"`
	First    int32      `thrift:"4"`
}

// AppInfo describes a table.
type AppInfo struct {
	Status             AppStatus         `thrift:"1"` // default AS_INVALID
	AppType            string            `thrift:"2"`
	AppName            string            `thrift:"3"`
	AppID              int32             `thrift:"4"`
	PartitionCount     int32             `thrift:"5"`
	Envs               map[string]string `thrift:"6"`
	IsStateful         bool              `thrift:"7"`
	MaxReplicaCount    int32             `thrift:"8"`
	ExpireSecond       int64             `thrift:"9"`
	CreateSecond       int64             `thrift:"10"`
	DropSecond         int64             `thrift:"11"`
	Duplicating        *bool             `thrift:"12,opt"`
	InitPartitionCount int32             `thrift:"13"` // default -1
	IsBulkLoading      *bool             `thrift:"14,opt"`
	AtomicIdempotent   *bool             `thrift:"15,opt"`
}

// CreateAppOptions are the settings of a new table.
type CreateAppOptions struct {
	PartitionCount   int32             `thrift:"1"`
	ReplicaCount     int32             `thrift:"2"`
	SuccessIfExist   bool              `thrift:"3"`
	AppType          string            `thrift:"4"`
	IsStateful       bool              `thrift:"5"`
	Envs             map[string]string `thrift:"6"`
	AtomicIdempotent *bool             `thrift:"7,opt"`
}

// CreateAppRequest is the argument of RPC_CM_CREATE_APP.
type CreateAppRequest struct {
	AppName string           `thrift:"1"`
	Options CreateAppOptions `thrift:"2"`
}

// CreateAppResponse answers RPC_CM_CREATE_APP and RPC_CM_START_RESTORE.
type CreateAppResponse struct {
	Err   ErrCode `thrift:"1"`
	AppID int32   `thrift:"2"`
}

// DropAppOptions are the settings of a drop. ReserveSeconds unset or 0 means the default of the cluster.
type DropAppOptions struct {
	SuccessIfNotExist bool   `thrift:"1"`
	ReserveSeconds    *int64 `thrift:"2,opt"`
}

// DropAppRequest is the argument of RPC_CM_DROP_APP.
type DropAppRequest struct {
	AppName string         `thrift:"1"`
	Options DropAppOptions `thrift:"2"`
}

// DropAppResponse answers RPC_CM_DROP_APP.
type DropAppResponse struct {
	Err ErrCode `thrift:"1"`
}

// RenameAppRequest is the argument of RPC_CM_RENAME_APP.
type RenameAppRequest struct {
	OldAppName string `thrift:"1"`
	NewAppName string `thrift:"2"`
}

// RenameAppResponse answers RPC_CM_RENAME_APP.
type RenameAppResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
}

// RecallAppRequest is the argument of RPC_CM_RECALL_APP. An empty name means the last one.
type RecallAppRequest struct {
	AppID      int32  `thrift:"1"`
	NewAppName string `thrift:"2"`
}

// RecallAppResponse answers RPC_CM_RECALL_APP.
type RecallAppResponse struct {
	Err  ErrCode `thrift:"1"`
	Info AppInfo `thrift:"2"`
}

// ListAppsRequest is the argument of RPC_CM_LIST_APPS. AppInvalid means all; pattern and match type work only together.
type ListAppsRequest struct {
	Status         AppStatus         `thrift:"1"` // default AS_INVALID
	AppNamePattern *string           `thrift:"2,opt"`
	MatchType      *PatternMatchType `thrift:"3,opt"`
}

// ListAppsResponse answers RPC_CM_LIST_APPS.
type ListAppsResponse struct {
	Err         ErrCode   `thrift:"1"`
	Infos       []AppInfo `thrift:"2"`
	HintMessage *string   `thrift:"3,opt"`
}

// UpdateAppEnvRequest is the argument of RPC_CM_UPDATE_APP_ENV.
type UpdateAppEnvRequest struct {
	AppName     string          `thrift:"1"`
	Op          AppEnvOperation `thrift:"2"` // default APP_ENV_OP_INVALID
	Keys        []string        `thrift:"3,opt"`
	Values      []string        `thrift:"4,opt"`
	ClearPrefix *string         `thrift:"5,opt"`
}

// UpdateAppEnvResponse answers RPC_CM_UPDATE_APP_ENV.
type UpdateAppEnvResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
}

// GetMaxReplicaCountRequest is the argument of RPC_CM_GET_MAX_REPLICA_COUNT.
type GetMaxReplicaCountRequest struct {
	AppName string `thrift:"1"`
}

// GetMaxReplicaCountResponse answers RPC_CM_GET_MAX_REPLICA_COUNT.
type GetMaxReplicaCountResponse struct {
	Err             ErrCode `thrift:"1"`
	MaxReplicaCount int32   `thrift:"2"`
	HintMessage     string  `thrift:"3"`
}

// SetMaxReplicaCountRequest is the argument of RPC_CM_SET_MAX_REPLICA_COUNT.
type SetMaxReplicaCountRequest struct {
	AppName         string `thrift:"1"`
	MaxReplicaCount int32  `thrift:"2"`
}

// SetMaxReplicaCountResponse answers RPC_CM_SET_MAX_REPLICA_COUNT.
type SetMaxReplicaCountResponse struct {
	Err                ErrCode `thrift:"1"`
	OldMaxReplicaCount int32   `thrift:"2"`
	HintMessage        string  `thrift:"3"`
}

// GetAtomicIdempotentRequest is the argument of RPC_CM_GET_ATOMIC_IDEMPOTENT.
type GetAtomicIdempotentRequest struct {
	AppName string `thrift:"1"`
}

// GetAtomicIdempotentResponse answers RPC_CM_GET_ATOMIC_IDEMPOTENT.
type GetAtomicIdempotentResponse struct {
	Err              ErrCode `thrift:"1"`
	AtomicIdempotent bool    `thrift:"2"`
	HintMessage      string  `thrift:"3"`
}

// SetAtomicIdempotentRequest is the argument of RPC_CM_SET_ATOMIC_IDEMPOTENT.
type SetAtomicIdempotentRequest struct {
	AppName          string `thrift:"1"`
	AtomicIdempotent bool   `thrift:"2"`
}

// SetAtomicIdempotentResponse answers RPC_CM_SET_ATOMIC_IDEMPOTENT.
type SetAtomicIdempotentResponse struct {
	Err                 ErrCode `thrift:"1"`
	OldAtomicIdempotent bool    `thrift:"2"`
	HintMessage         string  `thrift:"3"`
}

// StartAppManualCompactRequest is the argument of RPC_CM_START_MANUAL_COMPACT.
type StartAppManualCompactRequest struct {
	AppName         string `thrift:"1"`
	TriggerTime     *int64 `thrift:"2,opt"`
	TargetLevel     *int32 `thrift:"3,opt"`
	Bottommost      *bool  `thrift:"4,opt"`
	MaxRunningCount *int32 `thrift:"5,opt"`
}

// StartAppManualCompactResponse answers RPC_CM_START_MANUAL_COMPACT.
type StartAppManualCompactResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg string  `thrift:"2"`
}

// QueryAppManualCompactRequest is the argument of RPC_CM_QUERY_MANUAL_COMPACT_STATUS.
type QueryAppManualCompactRequest struct {
	AppName string `thrift:"1"`
}

// QueryAppManualCompactResponse answers RPC_CM_QUERY_MANUAL_COMPACT_STATUS. Progress runs from 0 to 100.
type QueryAppManualCompactResponse struct {
	Err      ErrCode `thrift:"1"`
	HintMsg  string  `thrift:"2"`
	Progress *int32  `thrift:"3,opt"`
}
