package proto

// ErrCode is an error of the RPC level or of a meta answer. Only the name travels on the wire with thrift clients; the
// number is the native client's and equals the order of Apache Pegasus (spec wire 5).
type ErrCode uint8

// The error codes in the order of Apache Pegasus. Names equal the wire names without the underscores.
const (
	ErrOK ErrCode = iota
	ErrUnknown
	ErrServiceNotFound
	ErrServiceAlreadyRunning
	ErrIOPending
	ErrTimeout
	ErrServiceNotActive
	ErrBusy
	ErrNetworkInitFailed
	ErrForwardToOthers
	ErrObjectNotFound
	ErrHandlerNotFound
	ErrLearnFileFailed
	ErrGetLearnStateFailed
	ErrInvalidVersion
	ErrInvalidParameters
	ErrCapacityExceeded
	ErrInvalidState
	ErrInactiveState
	ErrNotEnoughMember
	ErrFileOperationFailed
	ErrHandleEOF
	ErrWrongChecksum
	ErrInvalidData
	ErrInvalidHandle
	ErrIncompleteData
	ErrVersionOutdated
	ErrPathNotFound
	ErrPathAlreadyExist
	ErrAddressAlreadyUsed
	ErrStateFreezed
	ErrLocalAppFailure
	ErrBindIOCPFailed
	ErrNetworkStartFailed
	ErrNotImplemented
	ErrCheckpointFailed
	ErrWrongTiming
	ErrNoNeedOperate
	ErrCorruption
	ErrTryAgain
	ErrClusterNotFound
	ErrClusterAlreadyExist
	ErrServiceAlreadyExist
	ErrInjected
	ErrReplicationFailure
	ErrAppExist
	ErrAppNotExist
	ErrBusyCreating
	ErrBusyDropping
	ErrNetworkFailure
	ErrUnderRecovery
	ErrLearnerNotFound
	ErrOperationDisabled
	ErrExpired
	ErrLockAlreadyExist
	ErrHoldByOthers
	ErrRecursiveLock
	ErrNoOwner
	ErrNodeAlreadyExist
	ErrInconsistentState
	ErrArrayIndexOutOfRange
	ErrDirNotEmpty
	ErrFSInternal
	ErrIgnoreBadData
	ErrAppDropped
	ErrMockInternal
	ErrZookeeperOperation
	ErrChildRegistered
	ErrIngestionFailed
	ErrUnauthenticated
	ErrKRB5Internal
	ErrSASLInternal
	ErrSASLIncomplete
	ErrACLDeny
	ErrSplitting
	ErrParentPartitionMisused
	ErrChildNotReady
	ErrDiskInsufficient
	ErrRetryExhausted
	ErrSyncRangerPoliciesFailed
	ErrRangerParseACL
	ErrRangerPoliciesNoNeedUpdate
	ErrRDBCorruption
	ErrDiskIOError
	ErrCurlFailed
	ErrDupExist
	ErrHTTPError
	ErrNotMatched

	errCodeCount
)

var errNames = [errCodeCount]string{
	ErrOK:                         "ERR_OK",
	ErrUnknown:                    "ERR_UNKNOWN",
	ErrServiceNotFound:            "ERR_SERVICE_NOT_FOUND",
	ErrServiceAlreadyRunning:      "ERR_SERVICE_ALREADY_RUNNING",
	ErrIOPending:                  "ERR_IO_PENDING",
	ErrTimeout:                    "ERR_TIMEOUT",
	ErrServiceNotActive:           "ERR_SERVICE_NOT_ACTIVE",
	ErrBusy:                       "ERR_BUSY",
	ErrNetworkInitFailed:          "ERR_NETWORK_INIT_FAILED",
	ErrForwardToOthers:            "ERR_FORWARD_TO_OTHERS",
	ErrObjectNotFound:             "ERR_OBJECT_NOT_FOUND",
	ErrHandlerNotFound:            "ERR_HANDLER_NOT_FOUND",
	ErrLearnFileFailed:            "ERR_LEARN_FILE_FAILED",
	ErrGetLearnStateFailed:        "ERR_GET_LEARN_STATE_FAILED",
	ErrInvalidVersion:             "ERR_INVALID_VERSION",
	ErrInvalidParameters:          "ERR_INVALID_PARAMETERS",
	ErrCapacityExceeded:           "ERR_CAPACITY_EXCEEDED",
	ErrInvalidState:               "ERR_INVALID_STATE",
	ErrInactiveState:              "ERR_INACTIVE_STATE",
	ErrNotEnoughMember:            "ERR_NOT_ENOUGH_MEMBER",
	ErrFileOperationFailed:        "ERR_FILE_OPERATION_FAILED",
	ErrHandleEOF:                  "ERR_HANDLE_EOF",
	ErrWrongChecksum:              "ERR_WRONG_CHECKSUM",
	ErrInvalidData:                "ERR_INVALID_DATA",
	ErrInvalidHandle:              "ERR_INVALID_HANDLE",
	ErrIncompleteData:             "ERR_INCOMPLETE_DATA",
	ErrVersionOutdated:            "ERR_VERSION_OUTDATED",
	ErrPathNotFound:               "ERR_PATH_NOT_FOUND",
	ErrPathAlreadyExist:           "ERR_PATH_ALREADY_EXIST",
	ErrAddressAlreadyUsed:         "ERR_ADDRESS_ALREADY_USED",
	ErrStateFreezed:               "ERR_STATE_FREEZED",
	ErrLocalAppFailure:            "ERR_LOCAL_APP_FAILURE",
	ErrBindIOCPFailed:             "ERR_BIND_IOCP_FAILED",
	ErrNetworkStartFailed:         "ERR_NETWORK_START_FAILED",
	ErrNotImplemented:             "ERR_NOT_IMPLEMENTED",
	ErrCheckpointFailed:           "ERR_CHECKPOINT_FAILED",
	ErrWrongTiming:                "ERR_WRONG_TIMING",
	ErrNoNeedOperate:              "ERR_NO_NEED_OPERATE",
	ErrCorruption:                 "ERR_CORRUPTION",
	ErrTryAgain:                   "ERR_TRY_AGAIN",
	ErrClusterNotFound:            "ERR_CLUSTER_NOT_FOUND",
	ErrClusterAlreadyExist:        "ERR_CLUSTER_ALREADY_EXIST",
	ErrServiceAlreadyExist:        "ERR_SERVICE_ALREADY_EXIST",
	ErrInjected:                   "ERR_INJECTED",
	ErrReplicationFailure:         "ERR_REPLICATION_FAILURE",
	ErrAppExist:                   "ERR_APP_EXIST",
	ErrAppNotExist:                "ERR_APP_NOT_EXIST",
	ErrBusyCreating:               "ERR_BUSY_CREATING",
	ErrBusyDropping:               "ERR_BUSY_DROPPING",
	ErrNetworkFailure:             "ERR_NETWORK_FAILURE",
	ErrUnderRecovery:              "ERR_UNDER_RECOVERY",
	ErrLearnerNotFound:            "ERR_LEARNER_NOT_FOUND",
	ErrOperationDisabled:          "ERR_OPERATION_DISABLED",
	ErrExpired:                    "ERR_EXPIRED",
	ErrLockAlreadyExist:           "ERR_LOCK_ALREADY_EXIST",
	ErrHoldByOthers:               "ERR_HOLD_BY_OTHERS",
	ErrRecursiveLock:              "ERR_RECURSIVE_LOCK",
	ErrNoOwner:                    "ERR_NO_OWNER",
	ErrNodeAlreadyExist:           "ERR_NODE_ALREADY_EXIST",
	ErrInconsistentState:          "ERR_INCONSISTENT_STATE",
	ErrArrayIndexOutOfRange:       "ERR_ARRAY_INDEX_OUT_OF_RANGE",
	ErrDirNotEmpty:                "ERR_DIR_NOT_EMPTY",
	ErrFSInternal:                 "ERR_FS_INTERNAL",
	ErrIgnoreBadData:              "ERR_IGNORE_BAD_DATA",
	ErrAppDropped:                 "ERR_APP_DROPPED",
	ErrMockInternal:               "ERR_MOCK_INTERNAL",
	ErrZookeeperOperation:         "ERR_ZOOKEEPER_OPERATION",
	ErrChildRegistered:            "ERR_CHILD_REGISTERED",
	ErrIngestionFailed:            "ERR_INGESTION_FAILED",
	ErrUnauthenticated:            "ERR_UNAUTHENTICATED",
	ErrKRB5Internal:               "ERR_KRB5_INTERNAL",
	ErrSASLInternal:               "ERR_SASL_INTERNAL",
	ErrSASLIncomplete:             "ERR_SASL_INCOMPLETE",
	ErrACLDeny:                    "ERR_ACL_DENY",
	ErrSplitting:                  "ERR_SPLITTING",
	ErrParentPartitionMisused:     "ERR_PARENT_PARTITION_MISUSED",
	ErrChildNotReady:              "ERR_CHILD_NOT_READY",
	ErrDiskInsufficient:           "ERR_DISK_INSUFFICIENT",
	ErrRetryExhausted:             "ERR_RETRY_EXHAUSTED",
	ErrSyncRangerPoliciesFailed:   "ERR_SYNC_RANGER_POLICIES_FAILED",
	ErrRangerParseACL:             "ERR_RANGER_PARSE_ACL",
	ErrRangerPoliciesNoNeedUpdate: "ERR_RANGER_POLICIES_NO_NEED_UPDATE",
	ErrRDBCorruption:              "ERR_RDB_CORRUPTION",
	ErrDiskIOError:                "ERR_DISK_IO_ERROR",
	ErrCurlFailed:                 "ERR_CURL_FAILED",
	ErrDupExist:                   "ERR_DUP_EXIST",
	ErrHTTPError:                  "ERR_HTTP_ERROR",
	ErrNotMatched:                 "ERR_NOT_MATCHED",
}

// String returns the wire name, for example ERR_OK.
func (e ErrCode) String() string {
	if e < errCodeCount {
		return errNames[e]
	}
	return errNames[ErrUnknown]
}

// Error makes an ErrCode usable as a Go error. ErrOK is an ErrCode too: never return it as an error.
func (e ErrCode) Error() string { return e.String() }

var errByName = func() map[string]ErrCode {
	m := make(map[string]ErrCode, errCodeCount)
	for i, n := range errNames {
		m[n] = ErrCode(i)
	}
	return m
}()

// ParseErrCode returns the code of a wire name; ok is false for a name that Apache Pegasus does not have.
func ParseErrCode(name string) (e ErrCode, ok bool) {
	e, ok = errByName[name]
	return e, ok
}

// wireSafe holds replacements for the codes that the Go and Java clients do not know (spec wire 5). The Go client ends
// its session over an unknown name. Each stands for the nearest cause with the same reaction in the clients.
var wireSafe = map[ErrCode]ErrCode{
	ErrLearnerNotFound:            ErrObjectNotFound,
	ErrDirNotEmpty:                ErrFileOperationFailed,
	ErrFSInternal:                 ErrFileOperationFailed,
	ErrIgnoreBadData:              ErrCorruption,
	ErrMockInternal:               ErrUnknown,
	ErrRetryExhausted:             ErrUnknown,
	ErrSyncRangerPoliciesFailed:   ErrUnknown,
	ErrRangerParseACL:             ErrUnknown,
	ErrRangerPoliciesNoNeedUpdate: ErrUnknown,
	ErrRDBCorruption:              ErrCorruption,
	ErrDiskIOError:                ErrFileOperationFailed,
	ErrCurlFailed:                 ErrUnknown,
	ErrDupExist:                   ErrUnknown,
	ErrHTTPError:                  ErrUnknown,
	ErrNotMatched:                 ErrUnknown,
}

// WireSafe returns e, or what to say instead in the header of a reply to a THFT client when e is not known to all of
// them. Inside of bodies error names are free text, and e may be sent as it is.
func (e ErrCode) WireSafe() ErrCode {
	if e < ErrLearnerNotFound {
		return e
	}
	if s, ok := wireSafe[e]; ok {
		return s
	}
	return e
}
