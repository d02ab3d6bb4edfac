package proto

// The messages of backup and restore.

// StartBackupAppRequest is the argument of RPC_CM_START_BACKUP_APP.
type StartBackupAppRequest struct {
	BackupProviderType string  `thrift:"1"`
	AppID              int32   `thrift:"2"`
	BackupPath         *string `thrift:"3,opt"`
}

// StartBackupAppResponse answers RPC_CM_START_BACKUP_APP.
type StartBackupAppResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
	BackupID    *int64  `thrift:"3,opt"`
}

// BackupItem is one one-time backup.
type BackupItem struct {
	BackupID           int64  `thrift:"1"`
	AppName            string `thrift:"2"`
	BackupProviderType string `thrift:"3"`
	BackupPath         string `thrift:"4"`
	StartTimeMS        int64  `thrift:"5"`
	EndTimeMS          int64  `thrift:"6"`
	IsBackupFailed     bool   `thrift:"7"`
}

// QueryBackupStatusRequest is the argument of RPC_CM_QUERY_BACKUP_STATUS.
type QueryBackupStatusRequest struct {
	AppID    int32  `thrift:"1"`
	BackupID *int64 `thrift:"2,opt"`
}

// QueryBackupStatusResponse answers RPC_CM_QUERY_BACKUP_STATUS.
type QueryBackupStatusResponse struct {
	Err         ErrCode      `thrift:"1"`
	HintMessage string       `thrift:"2"`
	BackupItems []BackupItem `thrift:"3,opt"`
}

// AddBackupPolicyRequest is the argument of RPC_CM_ADD_BACKUP_POLICY.
type AddBackupPolicyRequest struct {
	BackupProviderType       string  `thrift:"1"`
	PolicyName               string  `thrift:"2"`
	AppIDs                   []int32 `thrift:"3"`
	BackupIntervalSeconds    int64   `thrift:"4"`
	BackupHistoryCountToKeep int32   `thrift:"5"`
	StartTime                string  `thrift:"6"`
}

// AddBackupPolicyResponse answers RPC_CM_ADD_BACKUP_POLICY.
type AddBackupPolicyResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
}

// ModifyBackupPolicyRequest is the argument of RPC_CM_MODIFY_BACKUP_POLICY.
type ModifyBackupPolicyRequest struct {
	PolicyName               string  `thrift:"1"`
	AddAppIDs                []int32 `thrift:"2,opt"`
	RemovalAppIDs            []int32 `thrift:"3,opt"`
	NewBackupIntervalSec     *int64  `thrift:"4,opt"`
	BackupHistoryCountToKeep *int32  `thrift:"5,opt"`
	IsDisable                *bool   `thrift:"6,opt"`
	StartTime                *string `thrift:"7,opt"`
	ForceDisable             *bool   `thrift:"8,opt"`
}

// ModifyBackupPolicyResponse answers RPC_CM_MODIFY_BACKUP_POLICY.
type ModifyBackupPolicyResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
}

// PolicyEntry is a backup policy.
type PolicyEntry struct {
	PolicyName               string             `thrift:"1"`
	BackupProviderType       string             `thrift:"2"`
	BackupIntervalSeconds    string             `thrift:"3"`
	AppIDs                   map[int32]struct{} `thrift:"4"`
	BackupHistoryCountToKeep int32              `thrift:"5"`
	StartTime                string             `thrift:"6"`
	IsDisable                bool               `thrift:"7"`
}

// BackupEntry is one run of a backup policy.
type BackupEntry struct {
	BackupID    int64              `thrift:"1"`
	StartTimeMS int64              `thrift:"2"`
	EndTimeMS   int64              `thrift:"3"`
	AppIDs      map[int32]struct{} `thrift:"4"`
}

// QueryBackupPolicyRequest is the argument of RPC_CM_QUERY_BACKUP_POLICY.
type QueryBackupPolicyRequest struct {
	PolicyNames     []string `thrift:"1"`
	BackupInfoCount int32    `thrift:"2"`
}

// QueryBackupPolicyResponse answers RPC_CM_QUERY_BACKUP_POLICY.
type QueryBackupPolicyResponse struct {
	Err         ErrCode         `thrift:"1"`
	Policys     []PolicyEntry   `thrift:"2"`
	BackupInfos [][]BackupEntry `thrift:"3"`
	HintMsg     *string         `thrift:"4,opt"`
}

// RestoreRequest is the argument of RPC_CM_START_RESTORE.
type RestoreRequest struct {
	ClusterName        string  `thrift:"1"`
	PolicyName         string  `thrift:"2"`
	TimeStamp          int64   `thrift:"3"`
	AppName            string  `thrift:"4"`
	AppID              int32   `thrift:"5"`
	NewAppName         string  `thrift:"6"`
	BackupProviderName string  `thrift:"7"`
	SkipBadPartition   bool    `thrift:"8"`
	RestorePath        *string `thrift:"9,opt"`
}

// QueryRestoreRequest is the argument of RPC_CM_QUERY_RESTORE_STATUS.
type QueryRestoreRequest struct {
	RestoreAppID int32 `thrift:"1"`
}

// QueryRestoreResponse answers RPC_CM_QUERY_RESTORE_STATUS; progress runs from 0 to 1000 per partition.
type QueryRestoreResponse struct {
	Err             ErrCode   `thrift:"1"`
	RestoreStatus   []ErrCode `thrift:"2"`
	RestoreProgress []int32   `thrift:"3"`
}
