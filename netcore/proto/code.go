package proto

// Code is an RPC of the Pegasus wire. The zero value is a name that is not registered.
type Code uint8

// The data RPCs (spec rrdb 2). Writes come first, so that a range check tells them apart.
const (
	CodeUnknown Code = iota

	CodePut
	CodeMultiPut
	CodeRemove
	CodeMultiRemove
	CodeIncr
	CodeCheckAndSet
	CodeCheckAndMutate
	CodeDuplicate
	CodeBulkLoad
	CodeGet
	CodeTTL
	CodeMultiGet
	CodeBatchGet
	CodeSortkeyCount
	CodeGetScanner
	CodeScan
	CodeClearScanner

	// The RPCs of the meta server and of the replica server's admin plane (spec admin 1), and the internal ones of
	// Apache Pegasus, which foreigners may name and which must therefore be known.
	CodeAddNewDisk
	CodeReplicaBulkLoad
	CodeCallRawMessage
	CodeCallRawSessionDisconnect
	CodeClearColdBackup
	CodeCLICall
	CodeCMAddBackupPolicy
	CodeCMAddDuplication
	CodeCMClearBulkLoad
	CodeCMClusterInfo
	CodeCMConfigSync
	CodeCMControlBulkLoad
	CodeCMControlMeta
	CodeCMControlPartitionSplit
	CodeCMCreateApp
	CodeCMDDDDiagnose
	CodeCMDropApp
	CodeCMDuplicationSync
	CodeCMGetAtomicIdempotent
	CodeCMGetMaxReplicaCount
	CodeCMListApps
	CodeCMListDuplication
	CodeCMListNodes
	CodeCMModifyBackupPolicy
	CodeCMModifyDuplication
	CodeCMNotifyStopSplit
	CodeCMProposeBalancer
	CodeCMQueryBackupPolicy
	CodeCMQueryBackupStatus
	CodeCMQueryBulkLoadStatus
	CodeCMQueryChildState
	CodeCMQueryDuplication
	CodeCMQueryManualCompactStatus
	CodeCMQueryPartitionConfigByIndex
	CodeCMQueryPartitionSplit
	CodeCMQueryRestoreStatus
	CodeCMRecallApp
	CodeCMRegisterChildReplica
	CodeCMRenameApp
	CodeCMReportRestoreStatus
	CodeCMSetAtomicIdempotent
	CodeCMSetMaxReplicaCount
	CodeCMStartBackupApp
	CodeCMStartBulkLoad
	CodeCMStartManualCompact
	CodeCMStartPartitionSplit
	CodeCMStartRecovery
	CodeCMStartRestore
	CodeCMUpdateAppEnv
	CodeCMUpdatePartitionConfiguration
	CodeColdBackup
	CodeConfigProposal
	CodeDetectHotkey
	CodeFDFailureDetectorPing
	CodeGroupBulkLoad
	CodeGroupCheck
	CodeHTTPService
	CodeLearn
	CodeLearnAddLearner
	CodeLearnCompletionNotify
	CodeMasterConfig
	CodeNegotiation
	CodeNFSCopy
	CodeNFSGetFileSize
	CodePrepare
	CodeQueryAppInfo
	CodeQueryDiskInfo
	CodeQueryLastCheckpointInfo
	CodeQueryPNDecree
	CodeQueryReplicaInfo
	CodeRemoveReplica
	CodeReplicaDiskMigrate
	CodeSplitNotifyCatchUp
	CodeSplitUpdateChildPartitionCount

	codeCount
)

var codeNames = [codeCount]string{
	CodePut:                            "RPC_RRDB_RRDB_PUT",
	CodeMultiPut:                       "RPC_RRDB_RRDB_MULTI_PUT",
	CodeRemove:                         "RPC_RRDB_RRDB_REMOVE",
	CodeMultiRemove:                    "RPC_RRDB_RRDB_MULTI_REMOVE",
	CodeIncr:                           "RPC_RRDB_RRDB_INCR",
	CodeCheckAndSet:                    "RPC_RRDB_RRDB_CHECK_AND_SET",
	CodeCheckAndMutate:                 "RPC_RRDB_RRDB_CHECK_AND_MUTATE",
	CodeDuplicate:                      "RPC_RRDB_RRDB_DUPLICATE",
	CodeBulkLoad:                       "RPC_RRDB_RRDB_BULK_LOAD",
	CodeGet:                            "RPC_RRDB_RRDB_GET",
	CodeTTL:                            "RPC_RRDB_RRDB_TTL",
	CodeMultiGet:                       "RPC_RRDB_RRDB_MULTI_GET",
	CodeBatchGet:                       "RPC_RRDB_RRDB_BATCH_GET",
	CodeSortkeyCount:                   "RPC_RRDB_RRDB_SORTKEY_COUNT",
	CodeGetScanner:                     "RPC_RRDB_RRDB_GET_SCANNER",
	CodeScan:                           "RPC_RRDB_RRDB_SCAN",
	CodeClearScanner:                   "RPC_RRDB_RRDB_CLEAR_SCANNER",
	CodeAddNewDisk:                     "RPC_ADD_NEW_DISK",
	CodeReplicaBulkLoad:                "RPC_BULK_LOAD",
	CodeCallRawMessage:                 "RPC_CALL_RAW_MESSAGE",
	CodeCallRawSessionDisconnect:       "RPC_CALL_RAW_SESSION_DISCONNECT",
	CodeClearColdBackup:                "RPC_CLEAR_COLD_BACKUP",
	CodeCLICall:                        "RPC_CLI_CLI_CALL",
	CodeCMAddBackupPolicy:              "RPC_CM_ADD_BACKUP_POLICY",
	CodeCMAddDuplication:               "RPC_CM_ADD_DUPLICATION",
	CodeCMClearBulkLoad:                "RPC_CM_CLEAR_BULK_LOAD",
	CodeCMClusterInfo:                  "RPC_CM_CLUSTER_INFO",
	CodeCMConfigSync:                   "RPC_CM_CONFIG_SYNC",
	CodeCMControlBulkLoad:              "RPC_CM_CONTROL_BULK_LOAD",
	CodeCMControlMeta:                  "RPC_CM_CONTROL_META",
	CodeCMControlPartitionSplit:        "RPC_CM_CONTROL_PARTITION_SPLIT",
	CodeCMCreateApp:                    "RPC_CM_CREATE_APP",
	CodeCMDDDDiagnose:                  "RPC_CM_DDD_DIAGNOSE",
	CodeCMDropApp:                      "RPC_CM_DROP_APP",
	CodeCMDuplicationSync:              "RPC_CM_DUPLICATION_SYNC",
	CodeCMGetAtomicIdempotent:          "RPC_CM_GET_ATOMIC_IDEMPOTENT",
	CodeCMGetMaxReplicaCount:           "RPC_CM_GET_MAX_REPLICA_COUNT",
	CodeCMListApps:                     "RPC_CM_LIST_APPS",
	CodeCMListDuplication:              "RPC_CM_LIST_DUPLICATION",
	CodeCMListNodes:                    "RPC_CM_LIST_NODES",
	CodeCMModifyBackupPolicy:           "RPC_CM_MODIFY_BACKUP_POLICY",
	CodeCMModifyDuplication:            "RPC_CM_MODIFY_DUPLICATION",
	CodeCMNotifyStopSplit:              "RPC_CM_NOTIFY_STOP_SPLIT",
	CodeCMProposeBalancer:              "RPC_CM_PROPOSE_BALANCER",
	CodeCMQueryBackupPolicy:            "RPC_CM_QUERY_BACKUP_POLICY",
	CodeCMQueryBackupStatus:            "RPC_CM_QUERY_BACKUP_STATUS",
	CodeCMQueryBulkLoadStatus:          "RPC_CM_QUERY_BULK_LOAD_STATUS",
	CodeCMQueryChildState:              "RPC_CM_QUERY_CHILD_STATE",
	CodeCMQueryDuplication:             "RPC_CM_QUERY_DUPLICATION",
	CodeCMQueryManualCompactStatus:     "RPC_CM_QUERY_MANUAL_COMPACT_STATUS",
	CodeCMQueryPartitionConfigByIndex:  "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX",
	CodeCMQueryPartitionSplit:          "RPC_CM_QUERY_PARTITION_SPLIT",
	CodeCMQueryRestoreStatus:           "RPC_CM_QUERY_RESTORE_STATUS",
	CodeCMRecallApp:                    "RPC_CM_RECALL_APP",
	CodeCMRegisterChildReplica:         "RPC_CM_REGISTER_CHILD_REPLICA",
	CodeCMRenameApp:                    "RPC_CM_RENAME_APP",
	CodeCMReportRestoreStatus:          "RPC_CM_REPORT_RESTORE_STATUS",
	CodeCMSetAtomicIdempotent:          "RPC_CM_SET_ATOMIC_IDEMPOTENT",
	CodeCMSetMaxReplicaCount:           "RPC_CM_SET_MAX_REPLICA_COUNT",
	CodeCMStartBackupApp:               "RPC_CM_START_BACKUP_APP",
	CodeCMStartBulkLoad:                "RPC_CM_START_BULK_LOAD",
	CodeCMStartManualCompact:           "RPC_CM_START_MANUAL_COMPACT",
	CodeCMStartPartitionSplit:          "RPC_CM_START_PARTITION_SPLIT",
	CodeCMStartRecovery:                "RPC_CM_START_RECOVERY",
	CodeCMStartRestore:                 "RPC_CM_START_RESTORE",
	CodeCMUpdateAppEnv:                 "RPC_CM_UPDATE_APP_ENV",
	CodeCMUpdatePartitionConfiguration: "RPC_CM_UPDATE_PARTITION_CONFIGURATION",
	CodeColdBackup:                     "RPC_COLD_BACKUP",
	CodeConfigProposal:                 "RPC_CONFIG_PROPOSAL",
	CodeDetectHotkey:                   "RPC_DETECT_HOTKEY",
	CodeFDFailureDetectorPing:          "RPC_FD_FAILURE_DETECTOR_PING",
	CodeGroupBulkLoad:                  "RPC_GROUP_BULK_LOAD",
	CodeGroupCheck:                     "RPC_GROUP_CHECK",
	CodeHTTPService:                    "RPC_HTTP_SERVICE",
	CodeLearn:                          "RPC_LEARN",
	CodeLearnAddLearner:                "RPC_LEARN_ADD_LEARNER",
	CodeLearnCompletionNotify:          "RPC_LEARN_COMPLETION_NOTIFY",
	CodeMasterConfig:                   "RPC_MASTER_CONFIG",
	CodeNegotiation:                    "RPC_NEGOTIATION",
	CodeNFSCopy:                        "RPC_NFS_COPY",
	CodeNFSGetFileSize:                 "RPC_NFS_GET_FILE_SIZE",
	CodePrepare:                        "RPC_PREPARE",
	CodeQueryAppInfo:                   "RPC_QUERY_APP_INFO",
	CodeQueryDiskInfo:                  "RPC_QUERY_DISK_INFO",
	CodeQueryLastCheckpointInfo:        "RPC_QUERY_LAST_CHECKPOINT_INFO",
	CodeQueryPNDecree:                  "RPC_QUERY_PN_DECREE",
	CodeQueryReplicaInfo:               "RPC_QUERY_REPLICA_INFO",
	CodeRemoveReplica:                  "RPC_REMOVE_REPLICA",
	CodeReplicaDiskMigrate:             "RPC_REPLICA_DISK_MIGRATE",
	CodeSplitNotifyCatchUp:             "RPC_SPLIT_NOTIFY_CATCH_UP",
	CodeSplitUpdateChildPartitionCount: "RPC_SPLIT_UPDATE_CHILD_PARTITION_COUNT",
}

// String returns the registered name, or "" for CodeUnknown.
func (c Code) String() string {
	if c < codeCount {
		return codeNames[c]
	}
	return ""
}

// IsData tells whether c is one of the data RPCs.
func (c Code) IsData() bool { return c >= CodePut && c <= CodeClearScanner }

// IsWrite tells whether c is a data RPC that goes through replication.
func (c Code) IsWrite() bool { return c >= CodePut && c <= CodeBulkLoad }

// IsRead tells whether c is a data RPC that a replica answers from its store.
func (c Code) IsRead() bool { return c >= CodeGet && c <= CodeClearScanner }

// IsAtomic tells whether c reads the record that it then changes.
func (c Code) IsAtomic() bool {
	return c == CodeIncr || c == CodeCheckAndSet || c == CodeCheckAndMutate
}

var codeByName = func() map[string]Code {
	m := make(map[string]Code, codeCount)
	for i, n := range codeNames {
		if n != "" {
			m[n] = Code(i)
		}
	}
	return m
}()

// ParseCode returns the code of a registered request name, or CodeUnknown. It does not allocate.
func ParseCode(name []byte) Code { return codeByName[string(name)] }

// localTaskNames are the registered task codes of Apache Pegasus that are not RPCs. A request that names one is
// answered under the name TASK_CODE_INVALID (recorded, spec wire 2).
var localTaskNames = map[string]struct{}{
	"DLOCK_CALLBACK":                         {},
	"LPC_AIO_BATCH_WRITE":                    {},
	"LPC_AIO_IMMEDIATE_CALLBACK":             {},
	"LPC_ANALYZE_HOTKEY":                     {},
	"LPC_BACKGROUND_BULK_LOAD":               {},
	"LPC_BACKGROUND_COLD_BACKUP":             {},
	"LPC_BEACON_CHECK":                       {},
	"LPC_BEACON_SEND":                        {},
	"LPC_BULK_LOAD_INGESTION":                {},
	"LPC_CATCHUP_WITH_PRIVATE_LOGS":          {},
	"LPC_CHECKPOINT_REPLICA":                 {},
	"LPC_CHECKPOINT_REPLICA_COMPLETED":       {},
	"LPC_CLOSE_REPLICA":                      {},
	"LPC_CM_DISCONNECTED_SCATTER":            {},
	"LPC_CONTROL_SERVICE_APP":                {},
	"LPC_CREATE_CHILD":                       {},
	"LPC_DEFAULT_CALLBACK":                   {},
	"LPC_DEFAUT_TASK":                        {},
	"LPC_DELAY_LEARN":                        {},
	"LPC_DELAY_PREPARE":                      {},
	"LPC_DELAY_RPC_REQUEST_RATE":             {},
	"LPC_DELAY_UPDATE_CONFIG":                {},
	"LPC_DETECT_AVAILABLE":                   {},
	"LPC_DISK_STAT":                          {},
	"LPC_DIST_LOCK_SVC_RANDOM_EXPIRE":        {},
	"LPC_DUPLICATE_CHECKPOINT":               {},
	"LPC_DUPLICATE_CHECKPOINT_COMPLETED":     {},
	"LPC_DUPLICATION_SYNC_TIMER":             {},
	"LPC_EXEC_COMMAND_ON_REPLICA":            {},
	"LPC_GARBAGE_COLLECT_LOGS_AND_REPLICAS":  {},
	"LPC_GET_METRICS":                        {},
	"LPC_GROUP_CHECK":                        {},
	"LPC_HDFS_SERVICE_CALL":                  {},
	"LPC_INGESTION":                          {},
	"LPC_LATENCY_TRACE":                      {},
	"LPC_LEARN_REMOTE_DELTA_FILES":           {},
	"LPC_LEARN_REMOTE_DELTA_FILES_COMPLETED": {},
	"LPC_LOCAL_SERVICE_CALL":                 {},
	"LPC_MANUAL_COMPACT":                     {},
	"LPC_MEM_RELEASE":                        {},
	"LPC_META_CALLBACK":                      {},
	"LPC_META_SERVER_LEADER_LOCK_CALLBACK":   {},
	"LPC_META_STATE_HIGH":                    {},
	"LPC_META_STATE_NORMAL":                  {},
	"LPC_META_STATE_SERVICE_SIMPLE_INTERNAL": {},
	"LPC_MUTATION_LOG_PENDING_TIMER":         {},
	"LPC_NFS_COPY_FILE":                      {},
	"LPC_NFS_FILE_CLOSE_TIMER":               {},
	"LPC_NFS_READ":                           {},
	"LPC_NFS_REQUEST_TIMER":                  {},
	"LPC_NFS_WRITE":                          {},
	"LPC_OPEN_REPLICA":                       {},
	"LPC_PARTITION_SPLIT":                    {},
	"LPC_PARTITION_SPLIT_ASYNC_LEARN":        {},
	"LPC_PARTITION_SPLIT_ERROR":              {},
	"LPC_PEGASUS_APP_STAT_TIMER":             {},
	"LPC_PEGASUS_CAPACITY_UNIT_STAT_TIMER":   {},
	"LPC_PEGASUS_SERVER_DELAY":               {},
	"LPC_PEGASUS_STORAGE_SIZE_STAT_TIMER":    {},
	"LPC_PER_REPLICA_CHECKPOINT_TIMER":       {},
	"LPC_PER_REPLICA_COLLECT_INFO_TIMER":     {},
	"LPC_QUERY_CONFIGURATION_ALL":            {},
	"LPC_QUERY_NODE_CONFIGURATION_SCATTER":   {},
	"LPC_QUERY_NODE_CONFIGURATION_SCATTER2":  {},
	"LPC_QUERY_PN_DECREE":                    {},
	"LPC_REPLICAS_STAT":                      {},
	"LPC_REPLICATION_CLIENT_REQUEST_TIMEOUT": {},
	"LPC_REPLICATION_COLD_BACKUP":            {},
	"LPC_REPLICATION_COMMON":                 {},
	"LPC_REPLICATION_COPY_REMOTE_FILES":      {},
	"LPC_REPLICATION_DELAY_QUERY_CONFIG":     {},
	"LPC_REPLICATION_ERROR":                  {},
	"LPC_REPLICATION_HIGH":                   {},
	"LPC_REPLICATION_INIT_LOAD":              {},
	"LPC_REPLICATION_LONG_COMMON":            {},
	"LPC_REPLICATION_LONG_HIGH":              {},
	"LPC_REPLICATION_LONG_LOW":               {},
	"LPC_REPLICATION_LOW":                    {},
	"LPC_REPLICA_SERVER_DELAY_START":         {},
	"LPC_REPLICA_STATE_CHANGE_NOTIFICATION":  {},
	"LPC_RESTORE_BACKGROUND":                 {},
	"LPC_RPC_DELAY_CALL":                     {},
	"LPC_RPC_TIMEOUT":                        {},
	"LPC_SCAN_DATA":                          {},
	"LPC_USE_RANGER_ACCESS_CONTROL":          {},
	"LPC_WRITE":                              {},
	"LPC_WRITE_REPLICATION_LOG":              {},
	"LPC_WRITE_REPLICATION_LOG_COMMON":       {},
	"LPC_WRITE_REPLICATION_LOG_PRIVATE":      {},
	"LPC_WRITE_RESULT":                       {},
	"LPC_read_THROTTLING_DELAY":              {},
	"LPC_write_THROTTLING_DELAY":             {},
	"RPC_REPLICATION_WRITE_EMPTY":            {},
	"TASK_CODE_DLOCK":                        {},
	"TASK_CODE_EXEC_INLINED":                 {},
	"TASK_CODE_INVALID":                      {},
}
