package proto

import "strconv"

// The enumerations of the IDL. They travel as i32; a number that a newer peer sends and that has no name here is kept.

func enumName[E ~int32](names map[E]string, v E, typ string) string {
	if n, ok := names[v]; ok {
		return n
	}
	return typ + "(" + strconv.Itoa(int(v)) + ")"
}

// AppStatus is the state of a table.
type AppStatus int32

// The values of app_status.
const (
	AppInvalid      AppStatus = 0
	AppAvailable    AppStatus = 1
	AppCreating     AppStatus = 2
	AppCreateFailed AppStatus = 3
	AppDropping     AppStatus = 4
	AppDropFailed   AppStatus = 5
	AppDropped      AppStatus = 6
	AppRecalling    AppStatus = 7
)

var appStatusNames = map[AppStatus]string{
	AppInvalid:      "AS_INVALID",
	AppAvailable:    "AS_AVAILABLE",
	AppCreating:     "AS_CREATING",
	AppCreateFailed: "AS_CREATE_FAILED",
	AppDropping:     "AS_DROPPING",
	AppDropFailed:   "AS_DROP_FAILED",
	AppDropped:      "AS_DROPPED",
	AppRecalling:    "AS_RECALLING",
}

// String returns the IDL name.
func (v AppStatus) String() string { return enumName(appStatusNames, v, "app_status") }

// ConfigType is the kind of a change of a partition configuration.
type ConfigType int32

// The values of config_type.
const (
	CTInvalid                  ConfigType = 0
	CTAssignPrimary            ConfigType = 1
	CTUpgradeToPrimary         ConfigType = 2
	CTAddSecondary             ConfigType = 3
	CTUpgradeToSecondary       ConfigType = 4
	CTDowngradeToSecondary     ConfigType = 5
	CTDowngradeToInactive      ConfigType = 6
	CTRemove                   ConfigType = 7
	CTAddSecondaryForLB        ConfigType = 8
	CTPrimaryForceUpdateBallot ConfigType = 9
	CTDropPartition            ConfigType = 10
	CTRegisterChild            ConfigType = 11
)

var configTypeNames = map[ConfigType]string{
	CTInvalid:                  "CT_INVALID",
	CTAssignPrimary:            "CT_ASSIGN_PRIMARY",
	CTUpgradeToPrimary:         "CT_UPGRADE_TO_PRIMARY",
	CTAddSecondary:             "CT_ADD_SECONDARY",
	CTUpgradeToSecondary:       "CT_UPGRADE_TO_SECONDARY",
	CTDowngradeToSecondary:     "CT_DOWNGRADE_TO_SECONDARY",
	CTDowngradeToInactive:      "CT_DOWNGRADE_TO_INACTIVE",
	CTRemove:                   "CT_REMOVE",
	CTAddSecondaryForLB:        "CT_ADD_SECONDARY_FOR_LB",
	CTPrimaryForceUpdateBallot: "CT_PRIMARY_FORCE_UPDATE_BALLOT",
	CTDropPartition:            "CT_DROP_PARTITION",
	CTRegisterChild:            "CT_REGISTER_CHILD",
}

// String returns the IDL name.
func (v ConfigType) String() string { return enumName(configTypeNames, v, "config_type") }

// PartitionStatus is the role of a replica as the admin plane shows it.
type PartitionStatus int32

// The values of partition_status.
const (
	PSInvalid            PartitionStatus = 0
	PSInactive           PartitionStatus = 1
	PSError              PartitionStatus = 2
	PSPrimary            PartitionStatus = 3
	PSSecondary          PartitionStatus = 4
	PSPotentialSecondary PartitionStatus = 5
	PSPartitionSplit     PartitionStatus = 6
)

var partitionStatusNames = map[PartitionStatus]string{
	PSInvalid:            "PS_INVALID",
	PSInactive:           "PS_INACTIVE",
	PSError:              "PS_ERROR",
	PSPrimary:            "PS_PRIMARY",
	PSSecondary:          "PS_SECONDARY",
	PSPotentialSecondary: "PS_POTENTIAL_SECONDARY",
	PSPartitionSplit:     "PS_PARTITION_SPLIT",
}

// String returns the IDL name.
func (v PartitionStatus) String() string {
	return enumName(partitionStatusNames, v, "partition_status")
}

// NodeStatus is the state of a replica server.
type NodeStatus int32

// The values of node_status.
const (
	NodeInvalid NodeStatus = 0
	NodeAlive   NodeStatus = 1
	NodeUnalive NodeStatus = 2
)

var nodeStatusNames = map[NodeStatus]string{
	NodeInvalid: "NS_INVALID",
	NodeAlive:   "NS_ALIVE",
	NodeUnalive: "NS_UNALIVE",
}

// String returns the IDL name.
func (v NodeStatus) String() string { return enumName(nodeStatusNames, v, "node_status") }

// MetaFunctionLevel says how much the meta server may do by itself; higher levels include the lower ones.
type MetaFunctionLevel int32

// The values of meta_function_level.
const (
	LevelStopped MetaFunctionLevel = 100
	LevelBlind   MetaFunctionLevel = 200
	LevelFreezed MetaFunctionLevel = 300
	LevelSteady  MetaFunctionLevel = 400
	LevelLively  MetaFunctionLevel = 500
	LevelInvalid MetaFunctionLevel = 10000
)

var metaFunctionLevelNames = map[MetaFunctionLevel]string{
	LevelStopped: "fl_stopped",
	LevelBlind:   "fl_blind",
	LevelFreezed: "fl_freezed",
	LevelSteady:  "fl_steady",
	LevelLively:  "fl_lively",
	LevelInvalid: "fl_invalid",
}

// String returns the IDL name.
func (v MetaFunctionLevel) String() string {
	return enumName(metaFunctionLevelNames, v, "meta_function_level")
}

// AppEnvOperation is what RPC_CM_UPDATE_APP_ENV does with the environments of a table.
type AppEnvOperation int32

// The values of app_env_operation.
const (
	AppEnvOpInvalid AppEnvOperation = 0
	AppEnvOpSet     AppEnvOperation = 1
	AppEnvOpDel     AppEnvOperation = 2
	AppEnvOpClear   AppEnvOperation = 3
)

var appEnvOperationNames = map[AppEnvOperation]string{
	AppEnvOpInvalid: "APP_ENV_OP_INVALID",
	AppEnvOpSet:     "APP_ENV_OP_SET",
	AppEnvOpDel:     "APP_ENV_OP_DEL",
	AppEnvOpClear:   "APP_ENV_OP_CLEAR",
}

// String returns the IDL name.
func (v AppEnvOperation) String() string {
	return enumName(appEnvOperationNames, v, "app_env_operation")
}

// PatternMatchType says how a name pattern is matched.
type PatternMatchType int32

// The values of pattern_match_type.
const (
	PMTInvalid       PatternMatchType = 0
	PMTMatchAll      PatternMatchType = 1
	PMTMatchExact    PatternMatchType = 2
	PMTMatchAnywhere PatternMatchType = 3
	PMTMatchPrefix   PatternMatchType = 4
	PMTMatchPostfix  PatternMatchType = 5
	PMTMatchRegex    PatternMatchType = 6
)

var patternMatchTypeNames = map[PatternMatchType]string{
	PMTInvalid:       "PMT_INVALID",
	PMTMatchAll:      "PMT_MATCH_ALL",
	PMTMatchExact:    "PMT_MATCH_EXACT",
	PMTMatchAnywhere: "PMT_MATCH_ANYWHERE",
	PMTMatchPrefix:   "PMT_MATCH_PREFIX",
	PMTMatchPostfix:  "PMT_MATCH_POSTFIX",
	PMTMatchRegex:    "PMT_MATCH_REGEX",
}

// String returns the IDL name.
func (v PatternMatchType) String() string {
	return enumName(patternMatchTypeNames, v, "pattern_match_type")
}

// BalancerRequestType is the kind of a balancer move.
type BalancerRequestType int32

// The values of balancer_request_type.
const (
	BalanceMovePrimary   BalancerRequestType = 0
	BalanceCopyPrimary   BalancerRequestType = 1
	BalanceCopySecondary BalancerRequestType = 2
)

var balancerRequestTypeNames = map[BalancerRequestType]string{
	BalanceMovePrimary:   "move_primary",
	BalanceCopyPrimary:   "copy_primary",
	BalanceCopySecondary: "copy_secondary",
}

// String returns the IDL name.
func (v BalancerRequestType) String() string {
	return enumName(balancerRequestTypeNames, v, "balancer_request_type")
}

// HotkeyType says which traffic a hotkey detection watches.
type HotkeyType int32

// The values of hotkey_type.
const (
	HotkeyRead  HotkeyType = 0
	HotkeyWrite HotkeyType = 1
)

var hotkeyTypeNames = map[HotkeyType]string{
	HotkeyRead:  "READ",
	HotkeyWrite: "WRITE",
}

// String returns the IDL name.
func (v HotkeyType) String() string { return enumName(hotkeyTypeNames, v, "hotkey_type") }

// DetectAction is what RPC_DETECT_HOTKEY asks for.
type DetectAction int32

// The values of detect_action.
const (
	DetectStart DetectAction = 0
	DetectStop  DetectAction = 1
	DetectQuery DetectAction = 2
)

var detectActionNames = map[DetectAction]string{
	DetectStart: "START",
	DetectStop:  "STOP",
	DetectQuery: "QUERY",
}

// String returns the IDL name.
func (v DetectAction) String() string { return enumName(detectActionNames, v, "detect_action") }

// ManualCompactionStatus is the state of a manual compaction on one replica.
type ManualCompactionStatus int32

// The values of manual_compaction_status.
const (
	CompactionIdle     ManualCompactionStatus = 0
	CompactionQueuing  ManualCompactionStatus = 1
	CompactionRunning  ManualCompactionStatus = 2
	CompactionFinished ManualCompactionStatus = 3
)

var manualCompactionStatusNames = map[ManualCompactionStatus]string{
	CompactionIdle:     "IDLE",
	CompactionQueuing:  "QUEUING",
	CompactionRunning:  "RUNNING",
	CompactionFinished: "FINISHED",
}

// String returns the IDL name.
func (v ManualCompactionStatus) String() string {
	return enumName(manualCompactionStatusNames, v, "manual_compaction_status")
}

// NegotiationStatus is a step of the authentication negotiation.
type NegotiationStatus int32

// The values of negotiation_status.
const (
	SASLInvalid              NegotiationStatus = 0
	SASLListMechanisms       NegotiationStatus = 1
	SASLListMechanismsResp   NegotiationStatus = 2
	SASLSelectMechanisms     NegotiationStatus = 3
	SASLSelectMechanismsResp NegotiationStatus = 4
	SASLInitiate             NegotiationStatus = 5
	SASLChallenge            NegotiationStatus = 6
	SASLChallengeResp        NegotiationStatus = 7
	SASLSucc                 NegotiationStatus = 8
	SASLAuthDisable          NegotiationStatus = 9
	SASLAuthFail             NegotiationStatus = 10
)

var negotiationStatusNames = map[NegotiationStatus]string{
	SASLInvalid:              "INVALID",
	SASLListMechanisms:       "SASL_LIST_MECHANISMS",
	SASLListMechanismsResp:   "SASL_LIST_MECHANISMS_RESP",
	SASLSelectMechanisms:     "SASL_SELECT_MECHANISMS",
	SASLSelectMechanismsResp: "SASL_SELECT_MECHANISMS_RESP",
	SASLInitiate:             "SASL_INITIATE",
	SASLChallenge:            "SASL_CHALLENGE",
	SASLChallengeResp:        "SASL_CHALLENGE_RESP",
	SASLSucc:                 "SASL_SUCC",
	SASLAuthDisable:          "SASL_AUTH_DISABLE",
	SASLAuthFail:             "SASL_AUTH_FAIL",
}

// String returns the IDL name.
func (v NegotiationStatus) String() string {
	return enumName(negotiationStatusNames, v, "negotiation_status")
}
