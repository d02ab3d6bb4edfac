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
	// Learners are the nodes that a primary feeds at present, so that meta proposes nobody twice.
	Learners []NodeID `thrift:"9,opt"`
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
	// Transfer is where the node hands out checkpoints to learners.
	Transfer HostPort `thrift:"8,opt"`
	// Zone is the rack or zone that the operator gave the node, empty if none: copies are spread over zones.
	Zone string `thrift:"9,opt"`
	// Apps describes the table of every replica in Replicas as the node remembers it: what a meta group that lost
	// everything recovers the tables from.
	Apps []AppInfo `thrift:"10,opt"`
}

// PeerNode is a registered node as the others reach it. An invalid Address is that of a node whose address another one
// has taken over: nothing is to be dialled.
type PeerNode struct {
	Node      NodeID   `thrift:"1"`
	Address   HostPort `thrift:"2"`
	Shards    int32    `thrift:"3"`
	ShardPort int32    `thrift:"4"` // as in NodeHello
	Transfer  HostPort `thrift:"5"`
	Alive     bool     `thrift:"6"` // by meta's failure detector; members judge by their own leases
}

// TableSettings is what a node must know of a table beyond AppInfo, whose fields belong to the Apache protocol.
type TableSettings struct {
	AppID int32 `thrift:"1"`
	// MinReplicas is how many members a partition must have to take writes (mutation_2pc_min_replica_count), at least 1.
	MinReplicas int32 `thrift:"2"`
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
	Nodes       []PeerNode        `thrift:"7,opt"` // every registered node, the receiver too
	Settings    []TableSettings   `thrift:"8,opt"` // one for each of Apps
	// Metas are the addresses (host:port) of the meta group, to be tried besides those of the node's configuration.
	Metas []string `thrift:"9,opt"`
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
// AppAvailable is to be closed on the node; its data stays. A table may be listed without a partition: the node is about
// to be invited as a learner.
type Assignments struct {
	Revision   int64             `thrift:"1"`
	Apps       []AppInfo         `thrift:"2"`
	Partitions []PartitionConfig `thrift:"3"`
	Nodes      []PeerNode        `thrift:"4,opt"` // those that changed
	Settings   []TableSettings   `thrift:"5,opt"` // one for each of Apps
	Metas      []string          `thrift:"6,opt"` // as in NodeHelloAck, when the group changed
}

// Proposal asks a node to bring about a change of configuration: members act, meta only proposes. It may be lost, doubled
// or late; Config tells what it was based on.
//
//	CTAssignPrimary    to Node itself: become the first primary
//	CTAddSecondary     to the primary: take Node as a learner, and as a secondary when it has caught up
//	CTRemove           to the primary: have Node, a secondary, removed
//	CTUpgradeToPrimary to the primary: hand over to Node, a secondary
//	CTUpgradeToPrimary to Node itself, a secondary, when the primary is dead: take over
type Proposal struct {
	App      AppInfo         `thrift:"1"`
	Config   PartitionConfig `thrift:"2"` // the current configuration the proposal is based on
	Type     ConfigType      `thrift:"3"`
	Node     NodeID          `thrift:"4"` // the node that the change is about
	Settings TableSettings   `thrift:"5"`
}

// UpdateConfig asks meta to change the configuration with ballot Config.Ballot-1. Type and Node are what is asked; meta
// computes the new configuration from them and the one that stands, and gives it Config.Ballot. The members in Config
// only serve to recognise a repetition.
//
//	CTAssignPrimary            From = Node, no member: Node becomes the first primary
//	CTPrimaryForceUpdateBallot From = Node, the primary: the same members under a new ballot
//	CTAddSecondary, CTUpgradeToSecondary     From the primary, Node no member: becomes a secondary
//	CTRemove, CTDowngradeToInactive          From the primary, Node a secondary: is no member any more
//	CTUpgradeToPrimary         From the primary, Node a secondary: the two change places
//	CTUpgradeToPrimary         From = Node, a secondary: takes the place of the primary, which is no member any more
type UpdateConfig struct {
	Config PartitionConfig `thrift:"1"`
	Type   ConfigType      `thrift:"2"`
	Node   NodeID          `thrift:"3"`
	From   NodeID          `thrift:"4,opt"` // who asks; zero: Node
}

// UpdateConfigAck answers UpdateConfig. Config is the register as it stands, with InvalidBallot where it is not known.
// ErrOK: it is as asked. ErrInvalidVersion: somebody else was first. ErrBusy: another change is under way, ask again.
// ErrInvalidParameters: the register does not allow it. All others: ask again later, at the leader.
type UpdateConfigAck struct {
	Err    ErrCode         `thrift:"1"`
	Config PartitionConfig `thrift:"2"`
}

// NodeReport carries replicas whose state changed since the last report.
type NodeReport struct {
	Node     NodeID          `thrift:"1"`
	Replicas []ReplicaReport `thrift:"2"`
}
