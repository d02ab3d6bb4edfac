package proto

// The messages of the replica server's admin plane, and those by which Apache replica servers talk with their meta
// server, which foreigners may send too.

// ReplicaInfo is one replica on a node.
type ReplicaInfo struct {
	PID                 GPID                    `thrift:"1"`
	Ballot              Ballot                  `thrift:"2"`
	Status              PartitionStatus         `thrift:"3"`
	LastCommittedDecree Decree                  `thrift:"4"`
	LastPreparedDecree  Decree                  `thrift:"5"`
	LastDurableDecree   Decree                  `thrift:"6"`
	AppType             string                  `thrift:"7"`
	DiskTag             string                  `thrift:"8"`
	ManualCompactStatus *ManualCompactionStatus `thrift:"9,opt"`
}

// QueryReplicaDecreeRequest is the argument of RPC_QUERY_PN_DECREE.
type QueryReplicaDecreeRequest struct {
	PID     GPID       `thrift:"1"`
	Node1   RPCAddress `thrift:"2"`
	HPNode1 HostPort   `thrift:"3,opt"`
}

// QueryReplicaDecreeResponse answers RPC_QUERY_PN_DECREE.
type QueryReplicaDecreeResponse struct {
	Err        ErrCode `thrift:"1"`
	LastDecree Decree  `thrift:"2"`
}

// QueryReplicaInfoRequest is the argument of RPC_QUERY_REPLICA_INFO.
type QueryReplicaInfoRequest struct {
	Node1   RPCAddress `thrift:"1"`
	HPNode1 HostPort   `thrift:"2,opt"`
}

// QueryReplicaInfoResponse answers RPC_QUERY_REPLICA_INFO.
type QueryReplicaInfoResponse struct {
	Err      ErrCode       `thrift:"1"`
	Replicas []ReplicaInfo `thrift:"2"`
}

// QueryAppInfoRequest is the argument of RPC_QUERY_APP_INFO.
type QueryAppInfoRequest struct {
	MetaServer   RPCAddress `thrift:"1"`
	HPMetaServer HostPort   `thrift:"2,opt"`
}

// QueryAppInfoResponse answers RPC_QUERY_APP_INFO.
type QueryAppInfoResponse struct {
	Err  ErrCode   `thrift:"1"`
	Apps []AppInfo `thrift:"2"`
}

// DiskInfo is one data directory; the maps go from app id to the replicas held.
type DiskInfo struct {
	Tag                      string                      `thrift:"1"`
	FullDir                  string                      `thrift:"2"`
	DiskCapacityMB           int64                       `thrift:"3"`
	DiskAvailableMB          int64                       `thrift:"4"`
	HoldingPrimaryReplicas   map[int32]map[GPID]struct{} `thrift:"5"`
	HoldingSecondaryReplicas map[int32]map[GPID]struct{} `thrift:"6"`
}

// QueryDiskInfoRequest is the argument of RPC_QUERY_DISK_INFO. An empty name means all tables.
type QueryDiskInfoRequest struct {
	Node1   RPCAddress `thrift:"1"`
	AppName string     `thrift:"2"`
	HPNode1 HostPort   `thrift:"3,opt"`
}

// QueryDiskInfoResponse answers RPC_QUERY_DISK_INFO.
type QueryDiskInfoResponse struct {
	Err              ErrCode    `thrift:"1"`
	TotalCapacityMB  int64      `thrift:"2"`
	TotalAvailableMB int64      `thrift:"3"`
	DiskInfos        []DiskInfo `thrift:"4"`
}

// ReplicaDiskMigrateRequest is the argument of RPC_REPLICA_DISK_MIGRATE; disks are named by tag.
type ReplicaDiskMigrateRequest struct {
	PID        GPID   `thrift:"1"`
	OriginDisk string `thrift:"2"`
	TargetDisk string `thrift:"3"`
}

// ReplicaDiskMigrateResponse answers RPC_REPLICA_DISK_MIGRATE.
type ReplicaDiskMigrateResponse struct {
	Err  ErrCode `thrift:"1"`
	Hint *string `thrift:"2,opt"`
}

// DetectHotkeyRequest is the argument of RPC_DETECT_HOTKEY.
type DetectHotkeyRequest struct {
	Type   HotkeyType   `thrift:"1"`
	Action DetectAction `thrift:"2"`
	PID    GPID         `thrift:"3"`
}

// DetectHotkeyResponse answers RPC_DETECT_HOTKEY.
type DetectHotkeyResponse struct {
	Err          ErrCode `thrift:"1"`
	ErrHint      *string `thrift:"2,opt"`
	HotkeyResult *string `thrift:"3,opt"`
}

// AddNewDiskRequest is the argument of RPC_ADD_NEW_DISK: "tag:dir,tag:dir".
type AddNewDiskRequest struct {
	DiskStr string `thrift:"1"`
}

// AddNewDiskResponse answers RPC_ADD_NEW_DISK.
type AddNewDiskResponse struct {
	Err     ErrCode `thrift:"1"`
	ErrHint *string `thrift:"2,opt"`
}

// ReplicaConfiguration is a partition configuration as one member sees it.
type ReplicaConfiguration struct {
	PID              GPID            `thrift:"1"`
	Ballot           Ballot          `thrift:"2"`
	Primary          RPCAddress      `thrift:"3"`
	Status           PartitionStatus `thrift:"4"` // default PS_INVALID
	LearnerSignature int64           `thrift:"5"`
	PopAll           *bool           `thrift:"6,opt"`
	SplitSyncToChild *bool           `thrift:"7,opt"`
	HPPrimary        HostPort        `thrift:"8,opt"`
}

// UpdateConfigurationRequest is the argument of RPC_CM_UPDATE_PARTITION_CONFIGURATION.
type UpdateConfigurationRequest struct {
	Info            AppInfo                `thrift:"1"`
	Config          PartitionConfiguration `thrift:"2"`
	Type            ConfigType             `thrift:"3"` // default CT_INVALID
	Node            RPCAddress             `thrift:"4"`
	HostNode        RPCAddress             `thrift:"5"`
	MetaSplitStatus *SplitStatus           `thrift:"6,opt"`
	HPNode          HostPort               `thrift:"7,opt"`
}

// UpdateConfigurationResponse answers RPC_CM_UPDATE_PARTITION_CONFIGURATION.
type UpdateConfigurationResponse struct {
	Err    ErrCode                `thrift:"1"`
	Config PartitionConfiguration `thrift:"2"`
}

// ReplicaServerInfo describes a replica server in ConfigSyncRequest.
type ReplicaServerInfo struct {
	GeoTags         map[string]string `thrift:"1"`
	TotalCapacityMB int64             `thrift:"2"`
}

// ConfigSyncRequest is the argument of RPC_CM_CONFIG_SYNC.
type ConfigSyncRequest struct {
	Node           RPCAddress         `thrift:"1"`
	StoredReplicas []ReplicaInfo      `thrift:"2,opt"`
	Info           *ReplicaServerInfo `thrift:"3,opt"`
	HPNode         HostPort           `thrift:"4,opt"`
}

// ConfigSyncResponse answers RPC_CM_CONFIG_SYNC.
type ConfigSyncResponse struct {
	Err        ErrCode                      `thrift:"1"`
	Partitions []UpdateConfigurationRequest `thrift:"2"`
	GcReplicas []ReplicaInfo                `thrift:"3,opt"`
}
