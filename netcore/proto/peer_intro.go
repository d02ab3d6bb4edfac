package proto

// PeerIntro is the first frame of a connection between two replica servers: who is calling. Its body is a NodeIntro.
const PeerIntro PeerKind = 12

// NodeIntro names the node that opened a connection; everything that follows on it is from that node.
type NodeIntro struct {
	Node        NodeID `thrift:"1"`
	Incarnation int64  `thrift:"2"` // differs at every start of the process
}
