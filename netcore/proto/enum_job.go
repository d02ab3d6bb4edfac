package proto

// The enumerations of the long operations: split, bulk load, duplication.

// SplitStatus is the state of the split of one parent partition.
type SplitStatus int32

// The values of split_status.
const (
	SplitNotSplit  SplitStatus = 0
	SplitSplitting SplitStatus = 1
	SplitPausing   SplitStatus = 2
	SplitPaused    SplitStatus = 3
	SplitCanceling SplitStatus = 4
)

var splitStatusNames = map[SplitStatus]string{
	SplitNotSplit:  "NOT_SPLIT",
	SplitSplitting: "SPLITTING",
	SplitPausing:   "PAUSING",
	SplitPaused:    "PAUSED",
	SplitCanceling: "CANCELING",
}

// String returns the IDL name.
func (v SplitStatus) String() string { return enumName(splitStatusNames, v, "split_status") }

// SplitControlType is what RPC_CM_CONTROL_PARTITION_SPLIT asks for.
type SplitControlType int32

// The values of split_control_type.
const (
	SplitControlPause   SplitControlType = 0
	SplitControlRestart SplitControlType = 1
	SplitControlCancel  SplitControlType = 2
)

var splitControlTypeNames = map[SplitControlType]string{
	SplitControlPause:   "PAUSE",
	SplitControlRestart: "RESTART",
	SplitControlCancel:  "CANCEL",
}

// String returns the IDL name.
func (v SplitControlType) String() string {
	return enumName(splitControlTypeNames, v, "split_control_type")
}

// BulkLoadStatus is the state of a bulk load of a table or a partition.
type BulkLoadStatus int32

// The values of bulk_load_status.
const (
	BulkLoadInvalid     BulkLoadStatus = 0
	BulkLoadDownloading BulkLoadStatus = 1
	BulkLoadDownloaded  BulkLoadStatus = 2
	BulkLoadIngesting   BulkLoadStatus = 3
	BulkLoadSucceed     BulkLoadStatus = 4
	BulkLoadFailed      BulkLoadStatus = 5
	BulkLoadPausing     BulkLoadStatus = 6
	BulkLoadPaused      BulkLoadStatus = 7
	BulkLoadCanceled    BulkLoadStatus = 8
)

var bulkLoadStatusNames = map[BulkLoadStatus]string{
	BulkLoadInvalid:     "BLS_INVALID",
	BulkLoadDownloading: "BLS_DOWNLOADING",
	BulkLoadDownloaded:  "BLS_DOWNLOADED",
	BulkLoadIngesting:   "BLS_INGESTING",
	BulkLoadSucceed:     "BLS_SUCCEED",
	BulkLoadFailed:      "BLS_FAILED",
	BulkLoadPausing:     "BLS_PAUSING",
	BulkLoadPaused:      "BLS_PAUSED",
	BulkLoadCanceled:    "BLS_CANCELED",
}

// String returns the IDL name.
func (v BulkLoadStatus) String() string { return enumName(bulkLoadStatusNames, v, "bulk_load_status") }

// IngestionStatus is the state of the ingestion step of a bulk load.
type IngestionStatus int32

// The values of ingestion_status.
const (
	IngestionInvalid IngestionStatus = 0
	IngestionRunning IngestionStatus = 1
	IngestionSucceed IngestionStatus = 2
	IngestionFailed  IngestionStatus = 3
)

var ingestionStatusNames = map[IngestionStatus]string{
	IngestionInvalid: "IS_INVALID",
	IngestionRunning: "IS_RUNNING",
	IngestionSucceed: "IS_SUCCEED",
	IngestionFailed:  "IS_FAILED",
}

// String returns the IDL name.
func (v IngestionStatus) String() string {
	return enumName(ingestionStatusNames, v, "ingestion_status")
}

// BulkLoadControlType is what RPC_CM_CONTROL_BULK_LOAD asks for.
type BulkLoadControlType int32

// The values of bulk_load_control_type.
const (
	BulkLoadControlPause       BulkLoadControlType = 0
	BulkLoadControlRestart     BulkLoadControlType = 1
	BulkLoadControlCancel      BulkLoadControlType = 2
	BulkLoadControlForceCancel BulkLoadControlType = 3
)

var bulkLoadControlTypeNames = map[BulkLoadControlType]string{
	BulkLoadControlPause:       "BLC_PAUSE",
	BulkLoadControlRestart:     "BLC_RESTART",
	BulkLoadControlCancel:      "BLC_CANCEL",
	BulkLoadControlForceCancel: "BLC_FORCE_CANCEL",
}

// String returns the IDL name.
func (v BulkLoadControlType) String() string {
	return enumName(bulkLoadControlTypeNames, v, "bulk_load_control_type")
}

// DuplicationStatus is the state of a duplication.
type DuplicationStatus int32

// The values of duplication_status.
const (
	DupInit    DuplicationStatus = 0
	DupPrepare DuplicationStatus = 1
	DupApp     DuplicationStatus = 2
	DupLog     DuplicationStatus = 3
	DupPause   DuplicationStatus = 4
	DupRemoved DuplicationStatus = 5
)

var duplicationStatusNames = map[DuplicationStatus]string{
	DupInit:    "DS_INIT",
	DupPrepare: "DS_PREPARE",
	DupApp:     "DS_APP",
	DupLog:     "DS_LOG",
	DupPause:   "DS_PAUSE",
	DupRemoved: "DS_REMOVED",
}

// String returns the IDL name.
func (v DuplicationStatus) String() string {
	return enumName(duplicationStatusNames, v, "duplication_status")
}

// DuplicationFailMode says what a duplication does with a mutation that the remote cluster refuses.
type DuplicationFailMode int32

// The values of duplication_fail_mode.
const (
	DupFailSlow DuplicationFailMode = 0
	DupFailSkip DuplicationFailMode = 1
	DupFailFast DuplicationFailMode = 2
)

var duplicationFailModeNames = map[DuplicationFailMode]string{
	DupFailSlow: "FAIL_SLOW",
	DupFailSkip: "FAIL_SKIP",
	DupFailFast: "FAIL_FAST",
}

// String returns the IDL name.
func (v DuplicationFailMode) String() string {
	return enumName(duplicationFailModeNames, v, "duplication_fail_mode")
}

// DuplicationMode is the mode of a duplication.
type DuplicationMode int32

// The values of duplication_mode.
const (
	DupModeFull        DuplicationMode = 0
	DupModeIncremental DuplicationMode = 1
)

var duplicationModeNames = map[DuplicationMode]string{
	DupModeFull:        "FULL",
	DupModeIncremental: "INCREMENTAL",
}

// String returns the IDL name.
func (v DuplicationMode) String() string {
	return enumName(duplicationModeNames, v, "duplication_mode")
}
