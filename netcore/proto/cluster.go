package proto

// The messages between a replica server and the meta group. They travel in peer frames (see PeerHeader) over one
// connection that the node dials; meta pushes on the same connection. All structs use the schema codec, so fields may be
// added with new ids and a reader skips what it does not know.

// PeerKind says what the body of a peer frame is.
type PeerKind uint8

// The kinds of the control plane. Numbers are fixed for ever; new kinds are appended.
const (
	PeerHello           PeerKind = 1 // node to meta, first frame of a connection: NodeHello
	PeerHelloAck        PeerKind = 2 // meta to node: NodeHelloAck
	PeerBeacon          PeerKind = 3 // node to meta, periodic: NodeBeacon
	PeerBeaconAck       PeerKind = 4 // meta to node: NodeBeaconAck
	PeerAssign          PeerKind = 5 // meta to node, pushed when something changed: Assignments
	PeerProposal        PeerKind = 6 // meta to node, pushed: Proposal
	PeerUpdateConfig    PeerKind = 7 // member to meta: UpdateConfig
	PeerUpdateConfigAck PeerKind = 8 // meta to member: UpdateConfigAck
	PeerReport          PeerKind = 9 // node to meta, when replicas changed: NodeReport
)

// ReplicaReport is what a node says of one replica that it holds.
type ReplicaReport struct {
	GPID      GPID   `thrift:"1"`
	Ballot    Ballot `thrift:"2"`
	Role      int32  `thrift:"3"` // consensus.Role
	Prepared  Decree `thrift:"4"`
	Committed Decree `thrift:"5"`
	Durable   Decree `thrift:"6"` // flushed into the store
	DiskTag   string `thrift:"7"`
	// Failure is why the replica cannot serve (quarantined, open failed); empty when it is well.
	Failure string `thrift:"8"`
}

// PartitionConfig is a configuration of a partition as meta's register holds it.
type PartitionConfig struct {
	GPID        GPID     `thrift:"1"`
	Ballot      Ballot   `thrift:"2"`
	Primary     NodeID   `thrift:"3"`
	Secondaries []NodeID `thrift:"4"`
}

// NodeHello opens a node's connection to a meta. Replicas lists everything found on its disks.
type NodeHello struct {
	Node        NodeID          `thrift:"1"`
	Address     HostPort        `thrift:"2"` // advertised, where clients and peers dial
	Shards      int32           `thrift:"3"`
	ShardPort   int32           `thrift:"4"` // port of shard 0; shard i listens on ShardPort+i
	Incarnation int64           `thrift:"5"` // differs at every start of the process
	Replicas    []ReplicaReport `thrift:"6"`
	// IP is the advertised address as Apache clients need it.
	IP RPCAddress `thrift:"7"`
}

// NodeHelloAck answers NodeHello. On ErrForwardToOthers Leader says where to go, if known; otherwise the lists are complete:
// what they do not name, the node does not serve.
type NodeHelloAck struct {
	Err         ErrCode           `thrift:"1"`
	Leader      HostPort          `thrift:"2"`
	ClusterName string            `thrift:"3"`
	Revision    int64             `thrift:"4"` // of the cluster state that the lists show
	Apps        []AppInfo         `thrift:"5"`
	Partitions  []PartitionConfig `thrift:"6"`
}

// NodeBeacon says that the node lives. SentAt is the node's own monotonic clock in nanoseconds, echoed unread.
type NodeBeacon struct {
	Node        NodeID `thrift:"1"`
	Incarnation int64  `thrift:"2"`
	SentAt      int64  `thrift:"3"`
	Revision    int64  `thrift:"4"` // newest revision applied; meta pushes again what lies behind
}

// NodeBeaconAck answers NodeBeacon. Any Err but ErrOK tells the node to say Hello again, at Leader if that is valid.
type NodeBeaconAck struct {
	Err      ErrCode  `thrift:"1"`
	Leader   HostPort `thrift:"2"`
	SentAt   int64    `thrift:"3"`
	Revision int64    `thrift:"4"`
}

// Assignments is a push of changed tables and configurations that concern the node. An app with a status other than
// AppAvailable is to be closed on the node; its data stays.
type Assignments struct {
	Revision   int64             `thrift:"1"`
	Apps       []AppInfo         `thrift:"2"`
	Partitions []PartitionConfig `thrift:"3"`
}

// Proposal asks a node to ask for a change of configuration: members act, meta only proposes.
type Proposal struct {
	App    AppInfo         `thrift:"1"`
	Config PartitionConfig `thrift:"2"` // the current configuration the proposal is based on
	Type   ConfigType      `thrift:"3"`
	Node   NodeID          `thrift:"4"` // the node that the change is about
}

// UpdateConfig asks meta to replace the configuration with ballot Config.Ballot-1 by Config.
type UpdateConfig struct {
	Config PartitionConfig `thrift:"1"`
	Type   ConfigType      `thrift:"2"`
	Node   NodeID          `thrift:"3"`
}

// UpdateConfigAck answers UpdateConfig: ErrOK, or ErrInvalidVersion with the configuration that stands.
type UpdateConfigAck struct {
	Err    ErrCode         `thrift:"1"`
	Config PartitionConfig `thrift:"2"`
}

// NodeReport carries replicas whose state changed since the last report.
type NodeReport struct {
	Node     NodeID          `thrift:"1"`
	Replicas []ReplicaReport `thrift:"2"`
}
