package clientlib

import (
	"time"

	"pegasus/netcore/proto"
)

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events, with the fields that count.
const (
	// EventEnded: an operation has ended. Table, Op, Took (with all attempts), Err.
	EventEnded EventKind = iota + 1
	// EventRetry: an attempt was in vain and there will be another. Table, Op, Err.
	EventRetry
	// EventHedged: a read got a second attempt. Table, Op, Node.
	EventHedged
	// EventConnected: a connection to a server stands. Node.
	EventConnected
	// EventAsked: a meta server was asked something. Node, Op.
	EventAsked
	// EventRouted: a question about where a table is has ended. Table, Err.
	EventRouted
)

// Event is what an Observer is told.
type Event struct {
	Kind  EventKind
	Table string
	Op    proto.Code
	Node  string
	Took  time.Duration
	Err   error
}

// Observer is the hook for metrics. Observe is called on the goroutines that do the work, concurrently: it must be quick,
// must not block and must not call the client.
type Observer interface{ Observe(Event) }

func (c *Client) observe(e Event) {
	if c.opt.Observer != nil {
		c.opt.Observer.Observe(e)
	}
}
