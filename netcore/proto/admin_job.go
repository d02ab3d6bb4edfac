package proto

// The messages of partition split and bulk load.

// StartPartitionSplitRequest is the argument of RPC_CM_START_PARTITION_SPLIT.
type StartPartitionSplitRequest struct {
	AppName           string `thrift:"1"`
	NewPartitionCount int32  `thrift:"2"`
}

// StartPartitionSplitResponse answers RPC_CM_START_PARTITION_SPLIT.
type StartPartitionSplitResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg string  `thrift:"2"`
}

// ControlSplitRequest is the argument of RPC_CM_CONTROL_PARTITION_SPLIT. ParentPidx -1 means all.
type ControlSplitRequest struct {
	AppName           string           `thrift:"1"`
	ControlType       SplitControlType `thrift:"2"`
	ParentPidx        int32            `thrift:"3"`
	OldPartitionCount *int32           `thrift:"4,opt"`
}

// ControlSplitResponse answers RPC_CM_CONTROL_PARTITION_SPLIT.
type ControlSplitResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg *string `thrift:"2,opt"`
}

// QuerySplitRequest is the argument of RPC_CM_QUERY_PARTITION_SPLIT.
type QuerySplitRequest struct {
	AppName string `thrift:"1"`
}

// QuerySplitResponse answers RPC_CM_QUERY_PARTITION_SPLIT with the parents that are not done.
type QuerySplitResponse struct {
	Err               ErrCode               `thrift:"1"`
	NewPartitionCount int32                 `thrift:"2"`
	Status            map[int32]SplitStatus `thrift:"3"`
	HintMsg           *string               `thrift:"4,opt"`
}

// FileMeta is one file of a bulk load or checkpoint.
type FileMeta struct {
	Name string `thrift:"1"`
	Size int64  `thrift:"2"`
	MD5  string `thrift:"3"`
}

// BulkLoadMetadata lists the files of one partition of a bulk load.
type BulkLoadMetadata struct {
	Files         []FileMeta `thrift:"1"`
	FileTotalSize int64      `thrift:"2"`
}

// StartBulkLoadRequest is the argument of RPC_CM_START_BULK_LOAD.
type StartBulkLoadRequest struct {
	AppName          string `thrift:"1"`
	ClusterName      string `thrift:"2"`
	FileProviderType string `thrift:"3"`
	RemoteRootPath   string `thrift:"4"`
	IngestBehind     bool   `thrift:"5"`
}

// StartBulkLoadResponse answers RPC_CM_START_BULK_LOAD.
type StartBulkLoadResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg string  `thrift:"2"`
}

// PartitionBulkLoadState is the state of one replica in a bulk load.
type PartitionBulkLoadState struct {
	DownloadProgress *int32           `thrift:"1,opt"` // default 0
	DownloadStatus   *ErrCode         `thrift:"2,opt"`
	IngestStatus     *IngestionStatus `thrift:"3,opt"` // default IS_INVALID
	IsCleanedUp      *bool            `thrift:"4,opt"`
	IsPaused         *bool            `thrift:"5,opt"`
}

// IngestionRequest is the argument of RPC_RRDB_RRDB_BULK_LOAD.
type IngestionRequest struct {
	AppName            string           `thrift:"1"`
	Metadata           BulkLoadMetadata `thrift:"2"`
	IngestBehind       bool             `thrift:"3"`
	Ballot             Ballot           `thrift:"4"`
	VerifyBeforeIngest bool             `thrift:"5"`
}

// IngestionResponse answers RPC_RRDB_RRDB_BULK_LOAD.
type IngestionResponse struct {
	Err          ErrCode `thrift:"1"`
	RocksdbError int32   `thrift:"2"`
}

// ControlBulkLoadRequest is the argument of RPC_CM_CONTROL_BULK_LOAD.
type ControlBulkLoadRequest struct {
	AppName string              `thrift:"1"`
	Type    BulkLoadControlType `thrift:"2"`
}

// ControlBulkLoadResponse answers RPC_CM_CONTROL_BULK_LOAD.
type ControlBulkLoadResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg *string `thrift:"2,opt"`
}

// QueryBulkLoadRequest is the argument of RPC_CM_QUERY_BULK_LOAD_STATUS.
type QueryBulkLoadRequest struct {
	AppName string `thrift:"1"`
}

// QueryBulkLoadResponse answers RPC_CM_QUERY_BULK_LOAD_STATUS.
type QueryBulkLoadResponse struct {
	Err              ErrCode                                 `thrift:"1"`
	AppName          string                                  `thrift:"2"`
	AppStatus        BulkLoadStatus                          `thrift:"3"`
	PartitionsStatus []BulkLoadStatus                        `thrift:"4"`
	MaxReplicaCount  int32                                   `thrift:"5"`
	BulkLoadStates   []map[RPCAddress]PartitionBulkLoadState `thrift:"6"`
	HintMsg          *string                                 `thrift:"7,opt"`
	IsBulkLoading    *bool                                   `thrift:"8,opt"`
	HPBulkLoadStates []map[HostPort]PartitionBulkLoadState   `thrift:"9,opt"`
}

// ClearBulkLoadStateRequest is the argument of RPC_CM_CLEAR_BULK_LOAD.
type ClearBulkLoadStateRequest struct {
	AppName string `thrift:"1"`
}

// ClearBulkLoadStateResponse answers RPC_CM_CLEAR_BULK_LOAD.
type ClearBulkLoadStateResponse struct {
	Err     ErrCode `thrift:"1"`
	HintMsg string  `thrift:"2"`
}
