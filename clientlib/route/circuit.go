package route

import "time"

// A server that cannot be reached is left alone for a time that doubles from the first to the most.
const (
	openFirst = 50 * time.Millisecond
	openMost  = 2 * time.Second
)

// Circuit remembers whether a server is worth a connection. The zero value has no doubts. While it is open, requests for
// the server count as Unsent, which makes the client ask meta for another; the first attempt after that is the probe.
type Circuit struct {
	failures  int
	openUntil time.Duration
}

// Allow tells whether a connection may be attempted.
func (c *Circuit) Allow(now time.Duration) bool { return c.failures == 0 || now >= c.openUntil }

// Doubtful tells whether the server failed last: it must then answer something before it is sent requests, for the kernel
// of a machine accepts connections for a process that stands still.
func (c *Circuit) Doubtful() bool { return c.failures > 0 }

// Failed reports that the server could not be connected to, or fell silent.
func (c *Circuit) Failed(now time.Duration, rnd *Rand) {
	c.openUntil = now + rnd.Spread(doubled(openFirst, openMost, c.failures))
	c.failures++
}

// Succeeded reports an answer of the server.
func (c *Circuit) Succeeded() { *c = Circuit{} }

// How long a connection with requests in flight may be silent. After SuspectAfter the routes of its requests are in doubt;
// after pingAfter the server is asked for a sign of life, since a request may just be slow; without one the connection is
// given up after silentMost.
const (
	pingAfter  = time.Second
	silentMost = 4 * time.Second
)

// Silence watches one connection for a server that has stopped answering, or a path that has stopped carrying. The zero
// value is that of a new connection.
type Silence struct {
	seen    uint64        // replies when last looked
	since   time.Duration // of the first look at this silence, 0: none
	stage   Alarm
	watched bool
}

// Alarm is what a silence asks for, once each.
type Alarm uint8

// The alarms, in their order.
const (
	NoAlarm   Alarm = iota
	SuspectIt       // the routes of the requests in flight are in doubt
	PingIt          // send something that is answered at once
	DropIt          // give the connection up; the server's Circuit has failed
)

// Look is called a few times per SuspectAfter. replies grows with everything that arrives.
func (s *Silence) Look(now time.Duration, replies uint64, inFlight bool) Alarm {
	if !inFlight || !s.watched || replies != s.seen {
		*s = Silence{seen: replies, since: now, watched: inFlight}
		return NoAlarm
	}
	next := NoAlarm
	switch silent := now - s.since; {
	case silent >= silentMost:
		next = DropIt
	case silent >= pingAfter:
		next = PingIt
	case silent >= SuspectAfter:
		next = SuspectIt
	}
	if next <= s.stage {
		return NoAlarm
	}
	s.stage = next
	return next
}
