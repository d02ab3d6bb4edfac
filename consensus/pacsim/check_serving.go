package pacsim

import (
	"slices"

	"pegasus/consensus"
	"pegasus/metasvc/core"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// registers is the truth about configurations: what the journal says, known at once.
type registers struct {
	s     *Sim
	state *core.State
	parts []register
}

type register struct {
	now    consensus.Config
	since  int64 // true time of the last change
	past   map[proto.Ballot]consensus.Config
	askers map[takeOver]int // life of the process that asked last
	// acted is the highest ballot under which a primary committed or answered a read.
	acted proto.Ballot
}

// takeOver is the ask of a secondary to become primary under a ballot.
type takeOver struct {
	ballot proto.Ballot
	by     proto.NodeID
}

func newRegisters(s *Sim, partitions int) *registers {
	g := &registers{s: s, state: core.NewState(), parts: make([]register, partitions)}
	for i := range g.parts {
		g.parts[i].past = map[proto.Ballot]consensus.Config{}
		g.parts[i].askers = map[takeOver]int{}
	}
	return g
}

// apply takes a committed entry of the journal.
func (g *registers) apply(data []byte) {
	cmd, err := core.ParseCommand(data)
	if err != nil {
		invariant.Assertf(false, "journal: %v", err)
	}
	var delta core.Delta
	g.state.Apply(&cmd, &delta)
	for _, ch := range delta.Parts {
		g.change(int(ch.GPID.Part), g.state.Partition(ch.GPID))
	}
}

func (g *registers) change(part int, p *core.Partition) {
	r := &g.parts[part]
	old := r.now
	r.now = consensus.Config{Ballot: p.Ballot, Primary: p.Primary, Secondaries: slices.Clone(p.Secondaries)}
	r.past[p.Ballot], r.since = r.now, g.s.q.now
	g.s.notePart(part, nil, "REGISTER: ballot %d, primary %d, secondaries %d %d %d",
		int64(p.Ballot), int64(g.s.slot(p.Primary)), g.s.slotAt(p.Secondaries, 0), g.s.slotAt(p.Secondaries, 1), g.s.slotAt(p.Secondaries, 2))
	if old.Ballot > 0 && p.Ballot != old.Ballot+1 {
		g.s.fail("register", part, "ballot %d follows ballot %d", p.Ballot, old.Ballot)
	}
	members := members(r.now)
	for i, m := range members {
		if slices.Contains(members[:i], m) {
			g.s.fail("register", part, "ballot %d names node %d twice", p.Ballot, g.s.slot(m))
		}
	}
	for _, m := range old.Secondaries {
		g.s.prefix.left(part, m, members)
	}
	g.s.prefix.left(part, old.Primary, members)
	g.s.prefix.look(part)
}

func members(c consensus.Config) []proto.NodeID {
	if c.Primary.IsZero() {
		return nil
	}
	return append([]proto.NodeID{c.Primary}, c.Secondaries...)
}

// serving checks who acts as primary and who answers reads, against true time and the true register.
type serving struct {
	s     *Sim
	reads uint64
}

// role is told of every change of a replica's role or ballot.
func (v *serving) role(r *replica, role consensus.Role, b proto.Ballot) {
	if role != consensus.Primary {
		return
	}
	if c, ok := v.s.registers.parts[r.part].past[b]; !ok || c.Primary != r.n.name {
		v.s.fail("primary", r.part, "node %d acts as primary of ballot %d, which the register never gave it", r.n.id, b)
	}
}

// acts is told that a replica does what only a primary may: commit what it decided on, or answer a read.
func (v *serving) acts(r *replica) {
	if r.machine.Role() == consensus.Primary {
		g := &v.s.registers.parts[r.part]
		g.acted = max(g.acted, r.machine.Ballot())
	}
}

// read checks a read, or a failed check of an atomic operation, at the moment of its answer.
//
// As a rule nobody reads whom the register has replaced: leases have ended before anybody asks for that. A process may ask, die,
// and confirm the old primary after its restart, because it does not know what it asked for; if the ask arrives then, the new
// primary must not act before the old one has stopped.
func (v *serving) read(r *replica, applied, acked proto.Decree) {
	v.reads++
	s, n := v.s, r.n
	s.history.serves(n, r.part, applied, acked)
	c := r.machine.State().Config
	g := &s.registers.parts[r.part]
	if g.now.Ballot > c.Ballot && g.now.Primary != n.name {
		b := c.Ballot + 1
		for g.past[b].Primary == n.name {
			b++
		}
		to := g.past[b].Primary
		life, asked := g.askers[takeOver{b, to}]
		forgotten := asked && life != s.nodes[s.slot(to)].life
		if !forgotten || g.acted > c.Ballot {
			s.fail("stale-read", r.part, "node %d answers a read as primary of ballot %d; ballot %d has replaced it", n.id, c.Ballot, g.now.Ballot)
		}
	}
	v.acts(r)
	for _, m := range c.Secondaries {
		// A granter that calls the lease over while its holder reads has counted otherwise than the holder.
		if o := s.nodes[s.slot(m)]; o.up && o.name == m && o.leases.Expired(n.name, o.clock()) {
			s.fail("lease", r.part, "node %d answers a read; the grace that secondary %d gave it is over", n.id, o.id)
		}
	}
}
