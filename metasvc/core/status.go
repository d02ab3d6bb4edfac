package core

import (
	"math"

	"pegasus/netcore/proto"
)

// What nodes tell of themselves from time to time: disks, loads, and replicas that lie there unused. Placement and balance
// weigh it; nothing of it decides who is a member.

// Status is a node's report of that kind.
type Status struct {
	Link uint64
	Msg  *proto.NodeStatusReport
}

func (Status) event() {}

// idle is a closed replica of a node, as far as this leader followed it.
type idle struct {
	since int64 // monotonic time since which nobody needs it; 0: somebody might
	seen  int   // reports that listed it since then
	told  int64 // when the node was told to discard it
}

// Discarding: a replica must have been without use for StaleDelay and been listed this often; then the node is told, again
// after a while if it is listed still. One report is never enough.
const (
	discardReports = 3
	discardAgain   = 60e9
)

func (c *Core) status(now Now, e Status, out *Effects) {
	m := c.byLink[e.Link]
	if m == nil || m.id != e.Msg.Node {
		return
	}
	m.disks = e.Msg.Disks
	m.statusAt = now.Mono
	loads := make(map[proto.GPID]proto.ReplicaLoad, len(e.Msg.Replicas))
	for _, l := range e.Msg.Replicas {
		loads[l.GPID] = l
	}
	m.loads = loads
	closed := make(map[proto.GPID]idle, len(e.Msg.Closed))
	for _, g := range e.Msg.Closed {
		closed[g] = c.discard(now, m, g, m.closed[g], out)
		if p := c.st.Partition(g); p != nil && p.orphan() {
			c.watch(g)
		}
	}
	m.closed = closed
	// What is listed nowhere is not there any more. Members are left out: a replica may have been made this moment.
	for g := range m.reports {
		_, isOpen := loads[g]
		_, isClosed := closed[g]
		if p := c.st.Partition(g); !isOpen && !isClosed && (p == nil || !p.isMember(m.id)) {
			delete(m.reports, g)
			if p != nil && p.Rupture > 0 {
				c.watch(g)
			}
		}
	}
}

// discard tells a node to throw a closed replica aside, once it is certain that nobody needs it.
func (c *Core) discard(now Now, m *member, g proto.GPID, was idle, out *Effects) idle {
	ballot, useless := c.useless(m, g)
	if !useless || c.effectiveLevel() < proto.LevelSteady {
		return idle{}
	}
	if was.since == 0 {
		was.since = now.Mono
	}
	was.seen++
	delay := c.st.number(OptStaleDelay, c.opt.StaleDelay.Milliseconds()) * 1e6
	if was.seen < discardReports || now.Mono-was.since < delay || was.told != 0 && now.Mono-was.told < discardAgain {
		return was
	}
	was.told = now.Mono
	out.Send = append(out.Send, Send{Link: m.link, Kind: proto.PeerDiscard, Msg: &proto.Discard{GPID: g, Ballot: ballot}})
	return was
}

// useless tells whether a closed replica serves no purpose any more: its table was forgotten after its time, or its
// partition has all the members that it wants, all alive and well, and this node is none of them. Tables that meta does not
// know are left alone: it may be meta that lost its memory.
func (c *Core) useless(m *member, g proto.GPID) (proto.Ballot, bool) {
	a := c.st.App(g.App)
	if a == nil {
		_, expired := c.st.forgotten[g.App]
		return math.MaxInt64, expired
	}
	p := c.st.Partition(g)
	if !a.available() || p == nil || p.isMember(m.id) || !c.sound(a, g) || c.moving(g) || c.asks[g] != nil {
		return 0, false
	}
	if r, ok := m.reports[g]; ok && r.Ballot > p.Ballot {
		return 0, false
	}
	return p.Ballot, p.Ballot > 0
}

// full tells whether a node has no disk left with room for another replica, by its own word.
func (m *member) full() bool {
	for i := range m.disks {
		if m.disks[i].Status == 0 {
			return false
		}
	}
	return len(m.disks) > 0
}

// freeMB is the room on the node's good disks; -1 when it has not said.
func (m *member) freeMB() int64 {
	free := int64(-1)
	for i := range m.disks {
		if d := &m.disks[i]; d.Status == 0 {
			free = max(free, 0) + d.AvailableMB
		}
	}
	return free
}
