package journal

import (
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// stream is Raft's way to the other members: an open listener, so that whoever made it knows the port, and plain dialing.
type stream struct{ net.Listener }

// Dial implements raft.StreamLayer.
func (stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}
