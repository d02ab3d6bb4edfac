package proto

// The messages of duplication between clusters.

// DuplicationAddRequest is the argument of RPC_CM_ADD_DUPLICATION. IsDuplicatingCheckpoint unset means true.
type DuplicationAddRequest struct {
	AppName                 string  `thrift:"1"`
	RemoteClusterName       string  `thrift:"2"`
	IsDuplicatingCheckpoint *bool   `thrift:"3,opt"` // default true
	RemoteAppName           *string `thrift:"4,opt"`
	RemoteReplicaCount      *int32  `thrift:"5,opt"`
}

// DuplicationAddResponse answers RPC_CM_ADD_DUPLICATION.
type DuplicationAddResponse struct {
	Err                ErrCode `thrift:"1"`
	AppID              int32   `thrift:"2"`
	DupID              int32   `thrift:"3"`
	Hint               *string `thrift:"4,opt"`
	RemoteAppName      *string `thrift:"5,opt"`
	RemoteReplicaCount *int32  `thrift:"6,opt"`
}

// DuplicationModifyRequest is the argument of RPC_CM_MODIFY_DUPLICATION.
type DuplicationModifyRequest struct {
	AppName  string               `thrift:"1"`
	DupID    int32                `thrift:"2"`
	Status   *DuplicationStatus   `thrift:"3,opt"`
	FailMode *DuplicationFailMode `thrift:"4,opt"`
}

// DuplicationModifyResponse answers RPC_CM_MODIFY_DUPLICATION.
type DuplicationModifyResponse struct {
	Err   ErrCode `thrift:"1"`
	AppID int32   `thrift:"2"`
}

// DuplicationPartitionState is the progress of one partition.
type DuplicationPartitionState struct {
	ConfirmedDecree     Decree `thrift:"1"`
	LastCommittedDecree Decree `thrift:"2"`
}

// DuplicationEntry is one duplication of a table. The IDL has no field 6.
type DuplicationEntry struct {
	DupID              int32                               `thrift:"1"`
	Status             DuplicationStatus                   `thrift:"2"`
	Remote             string                              `thrift:"3"`
	CreateTS           int64                               `thrift:"4"`
	Progress           map[int32]int64                     `thrift:"5,opt"`
	FailMode           *DuplicationFailMode                `thrift:"7,opt"`
	RemoteAppName      *string                             `thrift:"8,opt"`
	RemoteReplicaCount *int32                              `thrift:"9,opt"`
	Mode               *DuplicationMode                    `thrift:"10,opt"`
	PartitionStates    map[int32]DuplicationPartitionState `thrift:"11,opt"`
}

// DuplicationAppState lists the duplications of one table by dupid.
type DuplicationAppState struct {
	AppID          int32                      `thrift:"1"`
	Duplications   map[int32]DuplicationEntry `thrift:"2"`
	AppName        string                     `thrift:"3"`
	PartitionCount int32                      `thrift:"4"`
}

// DuplicationQueryRequest is the argument of RPC_CM_QUERY_DUPLICATION.
type DuplicationQueryRequest struct {
	AppName string `thrift:"1"`
}

// DuplicationQueryResponse answers RPC_CM_QUERY_DUPLICATION. The IDL has no field 2.
type DuplicationQueryResponse struct {
	Err       ErrCode            `thrift:"1"`
	AppID     int32              `thrift:"3"`
	EntryList []DuplicationEntry `thrift:"4"`
}

// DuplicationConfirmEntry is what a primary says of one duplication.
type DuplicationConfirmEntry struct {
	DupID               int32   `thrift:"1"`
	ConfirmedDecree     Decree  `thrift:"2"`
	CheckpointPrepared  *bool   `thrift:"3,opt"`
	LastCommittedDecree *Decree `thrift:"4,opt"`
}

// DuplicationSyncRequest is the argument of RPC_CM_DUPLICATION_SYNC.
type DuplicationSyncRequest struct {
	Node        RPCAddress                         `thrift:"1"`
	ConfirmList map[GPID][]DuplicationConfirmEntry `thrift:"2"`
	HPNode      HostPort                           `thrift:"3"`
}

// DuplicationSyncResponse answers RPC_CM_DUPLICATION_SYNC: duplications by app id and dupid.
type DuplicationSyncResponse struct {
	Err    ErrCode                              `thrift:"1"`
	DupMap map[int32]map[int32]DuplicationEntry `thrift:"2"`
}

// DuplicationListRequest is the argument of RPC_CM_LIST_DUPLICATION.
type DuplicationListRequest struct {
	AppNamePattern string           `thrift:"1"`
	MatchType      PatternMatchType `thrift:"2"`
}

// DuplicationListResponse answers RPC_CM_LIST_DUPLICATION by table name.
type DuplicationListResponse struct {
	Err         ErrCode                        `thrift:"1"`
	HintMessage string                         `thrift:"2"`
	AppStates   map[string]DuplicationAppState `thrift:"3"`
}
