package pacsim

import (
	"fmt"
	"slices"
	"strings"

	"pegasus/metasvc/core"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// storm strikes with one of the faults that are on, again and again.
func (s *Sim) storm() {
	var on []Fault
	for f, is := range s.o.On {
		if is && strikes[f] != nil {
			on = append(on, Fault(f))
		}
	}
	if len(on) == 0 {
		return
	}
	var strike func()
	strike = func() {
		if !s.storming {
			return
		}
		strikes[on[s.rng.IntN(len(on))]](s)
		s.q.after(s.o.Gap/2+s.rng.Int64N(s.o.Gap), strike)
	}
	s.q.after(s.rng.Int64N(s.o.Gap), strike)
}

// strikes holds what each kind does when it strikes. Kinds without an entry are conditions that hold all the time: see network.send,
// newNode and Sim.begin.
var strikes = [faultCount]func(*Sim){
	FaultDelay:       (*Sim).slowLink,
	FaultReconnect:   (*Sim).breakConnection,
	FaultPartition:   (*Sim).partition,
	FaultOneWay:      (*Sim).oneWay,
	FaultFlap:        (*Sim).flap,
	FaultMetaSplit:   (*Sim).cutFromMeta,
	FaultCrash:       func(s *Sim) { s.kill(s.anyNode(), false) },
	FaultPower:       func(s *Sim) { s.kill(s.anyNode(), true) },
	FaultPowerAll:    (*Sim).powerAll,
	FaultRestartLoop: (*Sim).restartLoop,
	FaultStepCrash:   func(s *Sim) { s.anyNode().steps = 1 + s.rng.IntN(200) },
	FaultPause:       func(s *Sim) { s.anyNode().pause(s.duration(100*millisecond, 6*second)) },
	FaultSlowDisk:    (*Sim).slowDisk,
	FaultSyncError:   func(s *Sim) { s.anyNode().disk.Inject(disk.Fault{Op: disk.OpSync}) },
	FaultNoSpace:     (*Sim).fillDisk,
	FaultRot:         (*Sim).rot,
	FaultWipe:        (*Sim).wipe,
	FaultMetaLeader:  (*Sim).changeLeader,
	FaultMetaCrash:   (*Sim).crashMeta,
	FaultMetaOutage:  (*Sim).metaOutage,
	FaultMetaSlow:    (*Sim).slowMeta,
	FaultHandOver:    (*Sim).movePrimary,
	FaultDrain:       (*Sim).emptyNode,
	FaultBalance:     (*Sim).evenOut,
}

func (s *Sim) anyNode() *node { return s.nodes[s.rng.IntN(len(s.nodes))] }

// duration draws between lo and hi, short ones more often.
func (s *Sim) duration(lo, hi int64) int64 {
	f := s.rng.Float64()
	return lo + int64(f*f*float64(hi-lo))
}

// later undoes a fault, unless the storm's end already did.
func (s *Sim) later(d int64, undo func()) {
	s.q.after(d, func() {
		if s.storming {
			undo()
		}
	})
}

func (s *Sim) endpoints() int { return s.net.n }

func (s *Sim) slowLink() {
	from, to := s.rng.IntN(s.endpoints()), s.rng.IntN(s.endpoints())
	l, by := s.net.link(from, to), s.duration(5*millisecond, 3*second)
	s.note("link %d -> %d is slow by %d ms", int64(from), int64(to), by/millisecond)
	l.slow = by
	s.later(s.duration(second, 8*second), func() { l.slow = 0 })
}

func (s *Sim) breakConnection() {
	from, to := s.rng.IntN(s.o.Nodes), s.rng.IntN(s.o.Nodes)
	s.note("connection %d -> %d starts anew", int64(from), int64(to))
	s.net.reconnect(from, to)
}

// partition splits all endpoints, metas and clients too, in two.
func (s *Sim) partition() {
	side := s.rng.Uint64()
	s.note("partition: %b cannot talk to the rest", int64(side&(1<<s.endpoints()-1)))
	s.block(s.duration(500*millisecond, 10*second), func(from, to int) bool { return side>>from&1 != side>>to&1 })
}

func (s *Sim) block(d int64, is func(from, to int) bool) {
	var links []*link
	for from := range s.endpoints() {
		for to := range s.endpoints() {
			if l := s.net.link(from, to); from != to && is(from, to) && !l.blocked {
				l.blocked = true
				links = append(links, l)
			}
		}
	}
	s.later(d, func() {
		for _, l := range links {
			l.blocked = false
		}
		s.note("%d links are whole again", int64(len(links)))
	})
}

// oneWay kills one direction of a link. Sometimes the other one has been ailing before: then what was granted last arrives late.
func (s *Sim) oneWay() {
	from, to := s.rng.IntN(s.endpoints()), s.rng.IntN(s.endpoints())
	ailing := int64(0)
	if s.rng.IntN(3) == 0 {
		ailing = s.duration(second, 4*second)
		l, by := s.net.link(to, from), 500*millisecond+s.rng.Int64N(2500*millisecond)
		s.note("link %d -> %d is slow by %d ms", int64(to), int64(from), by/millisecond)
		l.slow = by
		s.later(ailing+5*second, func() { l.slow = 0 })
	}
	s.later(ailing, func() {
		s.note("link %d -> %d is dead", int64(from), int64(to))
		s.block(s.duration(500*millisecond, 10*second), func(f, t int) bool { return f == from && t == to })
	})
}

func (s *Sim) flap() {
	from, to := s.rng.IntN(s.o.Nodes), s.rng.IntN(s.o.Nodes)
	if from == to {
		return
	}
	s.note("link %d -> %d flaps", int64(from), int64(to))
	for at := int64(0); at < 5*second; at += s.duration(50*millisecond, 2*second) {
		s.later(at, func() {
			s.block(s.duration(20*millisecond, 900*millisecond), func(f, t int) bool { return f == from && t == to || f == to && t == from })
		})
	}
}

func (s *Sim) cutFromMeta() {
	n := s.rng.IntN(s.o.Nodes)
	s.note("node %d cannot talk to meta", int64(n))
	s.block(s.duration(second, 15*second), func(f, t int) bool {
		meta := func(e int) bool { return e >= s.o.Nodes && e < s.clientEndpoint() }
		return f == n && meta(t) || t == n && meta(f)
	})
}

// kill ends a process and starts it again after a while.
func (s *Sim) kill(n *node, power bool) {
	if n.up {
		n.crash(power)
		s.restartLater(n)
	}
}

func (s *Sim) restartLater(n *node) {
	s.q.after(s.duration(50*millisecond, 6*second), n.startIfDown)
}

func (s *Sim) powerAll() {
	s.note("all machines lose power")
	for _, n := range s.nodes {
		s.kill(n, true)
	}
}

func (s *Sim) restartLoop() {
	n := s.anyNode()
	for at := int64(0); at < 6*second; at += s.duration(200*millisecond, 4*second) {
		s.later(at, func() {
			if n.up {
				n.crash(s.rng.IntN(2) == 0)
				s.q.after(100*millisecond, n.startIfDown)
			}
		})
	}
}

func (s *Sim) slowDisk() {
	n := s.anyNode()
	n.slow = s.duration(5*millisecond, 2*second)
	s.noteNode(n, "has a slow disk: %d ms", n.slow/millisecond)
	s.later(s.duration(second, 12*second), func() { n.slow = 0 })
}

func (s *Sim) fillDisk() {
	n := s.anyNode()
	s.noteNode(n, "has a full disk")
	n.bytes = 1
	n.armDisk()
	s.later(s.duration(500*millisecond, 8*second), func() {
		n.bytes = 0
		n.armDisk()
	})
}

// settled is how long a register must have stood before one of two members may lose its media: whatever was asked for before has
// arrived by then. An ask under way could remove the other one.
const settled = 12 * second

// expendable tells whether a machine may lose its media. PacificA promises that data outlives all members but one, so what is taken
// is never the last copy, whatever becomes of asks that are under way: with two other whole members any moment will do, in the
// middle of a change of members too, because one ask can be accepted under the ballot that stands, it removes one of them at
// most, and the one that is left asks next. With one other, the register must have come to rest. A learner may go at any time.
func (s *Sim) expendable(n *node) bool {
	for part := range s.o.Partitions {
		c := s.registers.parts[part]
		m := members(c.now)
		if len(m) == 0 {
			return false
		}
		if !slices.Contains(m, n.name) {
			continue
		}
		whole := 0
		for _, name := range m {
			if name != n.name && s.holder(part, name) != nil && !s.prefix.lost[part][name] && !s.holder(part, name).installing() {
				whole++
			}
		}
		rests := s.q.now-c.since >= settled && s.unhealthy(part) == ""
		if len(s.prefix.lost[part]) > 0 || whole < 1 || whole < 2 && !rests {
			return false
		}
	}
	return true
}

// wipe takes the disk out of a machine. What starts there again is a node that nobody knows.
func (s *Sim) wipe() {
	n := s.anyNode()
	if !n.up || !s.expendable(n) {
		return
	}
	s.noteNode(n, "loses its disk")
	for part := range s.o.Partitions {
		if s.q.now-s.registers.parts[part].since < settled {
			s.lostInChange++
		}
		s.lose(part, n)
	}
	n.crash(false)
	n.format()
	s.restartLater(n)
}

// rot flips a bit of a log segment that is no longer written to, and restarts the node so that it is found.
func (s *Sim) rot() {
	n := s.anyNode()
	if !n.up || !s.expendable(n) {
		return
	}
	names, err := n.disk.List("log")
	if err != nil || len(names) < 3 {
		return
	}
	var segments []string
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			segments = append(segments, name)
		}
	}
	// The spare and the active segment are the newest ones.
	segments = segments[:max(0, len(segments)-2)]
	if len(segments) == 0 {
		return
	}
	name := "log/" + segments[s.rng.IntN(len(segments))]
	info, err := n.disk.Stat(name)
	if err != nil || info.Size == 0 {
		return
	}
	bit := s.rng.Int64N(8 * min(info.Size, 32<<10))
	if err := n.disk.FlipBit(name, bit); err != nil {
		return
	}
	s.noteNode(n, "has a rotten bit %d", bit)
	n.crash(false)
	s.restartLater(n)
}

func (s *Sim) changeLeader() {
	s.metas.depose()
	s.metas.elect()
}

func (s *Sim) crashMeta() {
	m := s.metas.metas[s.rng.IntN(len(s.metas.metas))]
	m.crash()
	s.q.after(s.duration(100*millisecond, 5*second), m.restart)
}

func (s *Sim) metaOutage() {
	if s.metas.outage {
		return
	}
	s.note("meta outage")
	s.metas.outage = true
	s.metas.depose()
	s.q.after(s.duration(2*second, 25*second), func() { s.metas.recover() })
}

func (g *metaGroup) recover() {
	if g.outage {
		g.s.note("meta outage is over")
		g.outage = false
		g.elect()
	}
}

func (s *Sim) slowMeta() {
	s.metas.slow = s.duration(10*millisecond, 4*second)
	s.note("meta takes %d ms longer", s.metas.slow/millisecond)
	s.later(s.duration(second, 10*second), func() { s.metas.slow = 0 })
}

// movePrimary has an operator ask for another primary.
func (s *Sim) movePrimary() {
	part := s.rng.IntN(s.o.Partitions)
	c := s.registers.parts[part].now
	if len(c.Secondaries) == 0 {
		return
	}
	to := c.Secondaries[s.rng.IntN(len(c.Secondaries))]
	n := s.nodes[s.slot(c.Primary)]
	if !n.up || n.name != c.Primary {
		return
	}
	s.notePart(part, nil, "an operator wants node %d to be primary", int64(s.slot(to)))
	n.run(n.life, func() {
		p := &proto.Proposal{Type: proto.CTUpgradeToPrimary, Node: to}
		p.Config.GPID = gpid(part)
		n.link.propose(p)
	})
}

// heal ends all faults: links and disks work, everybody runs, clocks keep their speed.
func (s *Sim) heal() {
	s.storming = false
	s.note("everything heals")
	s.net.heal()
	s.metas.slow = 0
	s.metas.recover()
	for _, m := range s.metas.metas {
		m.restart()
	}
	if s.metas.leader < 0 {
		s.metas.elect()
	}
	s.returnAll(0)
	for _, n := range s.nodes {
		n.slow, n.bytes, n.steps = 0, 0, 0
		n.disk.ClearFaults()
		n.armDisk()
		if n.up && n.broken() {
			// An operator restarts what has quarantined a replica and found nobody to replace it.
			n.crash(false)
		}
		if !n.up {
			s.q.after(s.rng.Int64N(2*second), n.startIfDown)
		}
	}
}

func (n *node) broken() bool {
	for _, r := range n.parts {
		if r != nil && r.failed {
			return true
		}
	}
	return false
}

// createTable asks meta for the table until it has it.
func (s *Sim) createTable() {
	req := &proto.CreateAppRequest{AppName: tableName, Options: proto.CreateAppOptions{
		PartitionCount: int32(s.o.Partitions), ReplicaCount: int32(s.o.Replicas), AppType: "pegasus", IsStateful: true, SuccessIfExist: true,
		Envs: map[string]string{},
	}}
	s.metas.ask(req, func(r core.Reply) {
		resp, ok := r.Body.(*proto.CreateAppResponse)
		s.tableMade = ok && resp.Err == proto.ErrOK
		if ok && !s.tableMade {
			s.note(fmt.Sprintf("table refused: %v", resp.Err))
		}
	})
}
