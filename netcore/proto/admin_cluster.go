package proto

// The messages about the cluster: nodes, the meta server itself, balancing, diagnosis and recovery, remote commands and
// authentication.

// NodeInfo is a replica server in ListNodesResponse.
type NodeInfo struct {
	Status NodeStatus `thrift:"1"` // default NS_INVALID
	Node   RPCAddress `thrift:"2"`
	HPNode HostPort   `thrift:"3,opt"`
}

// ListNodesRequest is the argument of RPC_CM_LIST_NODES. NodeInvalid means all.
type ListNodesRequest struct {
	Status NodeStatus `thrift:"1"` // default NS_INVALID
}

// ListNodesResponse answers RPC_CM_LIST_NODES.
type ListNodesResponse struct {
	Err   ErrCode    `thrift:"1"`
	Infos []NodeInfo `thrift:"2"`
}

// ClusterInfoRequest is the argument of RPC_CM_CLUSTER_INFO.
type ClusterInfoRequest struct{}

// ClusterInfoResponse answers RPC_CM_CLUSTER_INFO; Keys and Values have equal length.
type ClusterInfoResponse struct {
	Err    ErrCode  `thrift:"1"`
	Keys   []string `thrift:"2"`
	Values []string `thrift:"3"`
}

// MetaControlRequest is the argument of RPC_CM_CONTROL_META. LevelInvalid only asks.
type MetaControlRequest struct {
	Level MetaFunctionLevel `thrift:"1"`
}

// MetaControlResponse answers RPC_CM_CONTROL_META with the configured level that stood before.
type MetaControlResponse struct {
	Err      ErrCode           `thrift:"1"`
	OldLevel MetaFunctionLevel `thrift:"2"`
}

// ProposalAction is one step of a balancer request. The IDL has no field 4.
type ProposalAction struct {
	Target   RPCAddress `thrift:"1"`
	Node     RPCAddress `thrift:"2"`
	Type     ConfigType `thrift:"3"`
	HPTarget HostPort   `thrift:"5,opt"`
	HPNode   HostPort   `thrift:"6,opt"`
}

// BalancerRequest is the argument of RPC_CM_PROPOSE_BALANCER.
type BalancerRequest struct {
	GPID        GPID                 `thrift:"1"`
	ActionList  []ProposalAction     `thrift:"2"`
	Force       *bool                `thrift:"3,opt"`
	BalanceType *BalancerRequestType `thrift:"4,opt"`
}

// BalancerResponse answers RPC_CM_PROPOSE_BALANCER.
type BalancerResponse struct {
	Err ErrCode `thrift:"1"`
}

// DDDDiagnoseRequest is the argument of RPC_CM_DDD_DIAGNOSE; -1 in the PID is a wildcard.
type DDDDiagnoseRequest struct {
	PID GPID `thrift:"1"`
}

// DDDNodeInfo is what is known of a node that lost a dead partition.
type DDDNodeInfo struct {
	Node                RPCAddress `thrift:"1"`
	DropTimeMS          int64      `thrift:"2"`
	IsAlive             bool       `thrift:"3"`
	IsCollected         bool       `thrift:"4"`
	Ballot              Ballot     `thrift:"5"`
	LastCommittedDecree Decree     `thrift:"6"`
	LastPreparedDecree  Decree     `thrift:"7"`
	HPNode              HostPort   `thrift:"8,opt"`
}

// DDDPartitionInfo is a partition without a living member.
type DDDPartitionInfo struct {
	Config  PartitionConfiguration `thrift:"1"`
	Dropped []DDDNodeInfo          `thrift:"2"`
	Reason  string                 `thrift:"3"`
}

// DDDDiagnoseResponse answers RPC_CM_DDD_DIAGNOSE.
type DDDDiagnoseResponse struct {
	Err        ErrCode            `thrift:"1"`
	Partitions []DDDPartitionInfo `thrift:"2"`
}

// RecoveryRequest is the argument of RPC_CM_START_RECOVERY.
type RecoveryRequest struct {
	RecoveryNodes      []RPCAddress `thrift:"1"`
	SkipBadNodes       bool         `thrift:"2"`
	SkipLostPartitions bool         `thrift:"3"`
	HPRecoveryNodes    []HostPort   `thrift:"4,opt"`
}

// RecoveryResponse answers RPC_CM_START_RECOVERY.
type RecoveryResponse struct {
	Err         ErrCode `thrift:"1"`
	HintMessage string  `thrift:"2"`
}

// Command is the argument of RPC_CLI_CLI_CALL, which answers a bare string.
type Command struct {
	Cmd       string   `thrift:"1"`
	Arguments []string `thrift:"2"`
}

// NegotiationRequest is the argument of RPC_NEGOTIATION.
type NegotiationRequest struct {
	Status NegotiationStatus `thrift:"1"`
	Msg    []byte            `thrift:"2"`
}

// NegotiationResponse answers RPC_NEGOTIATION.
type NegotiationResponse struct {
	Status NegotiationStatus `thrift:"1"`
	Msg    []byte            `thrift:"2"`
}
