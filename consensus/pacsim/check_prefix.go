package pacsim

import (
	"slices"

	"pegasus/netcore/proto"
)

// prefix checks committed(q) ⊆ committed(p) ⊆ prepared(q), in its strongest form: whatever anybody has committed is durable in the
// log, or in the store, of every member that the register names, with the same content. That is what makes any member fit to
// become primary. Members that lost their media are left out until they have been removed.
type prefix struct {
	s    *Sim
	lost []map[proto.NodeID]bool // per partition
}

func newPrefix(s *Sim, partitions int) *prefix {
	p := &prefix{s: s, lost: make([]map[proto.NodeID]bool, partitions)}
	for i := range p.lost {
		p.lost[i] = map[proto.NodeID]bool{}
	}
	return p
}

// lose notes that a node no longer has what it had of a partition. A node that is no member owes nothing.
func (s *Sim) lose(part int, n *node) {
	if slices.Contains(members(s.registers.parts[part].now), n.name) {
		s.prefix.lost[part][n.name] = true
	}
}

// left ends the exception for a node that is no member any more.
func (p *prefix) left(part int, name proto.NodeID, now []proto.NodeID) {
	if !slices.Contains(now, name) {
		delete(p.lost[part], name)
	}
}

// look compares every running member with the history.
func (p *prefix) look(part int) {
	end := proto.Decree(len(p.s.history.parts[part].prints))
	for _, m := range members(p.s.registers.parts[part].now) {
		n := p.s.nodes[p.s.slot(m)]
		if !n.up || n.name != m || n.parts[part] == nil || p.lost[part][m] {
			continue
		}
		r := n.parts[part]
		st := r.machine.State()
		if r.failed || st.LogFailed || r.installing() {
			continue
		}
		if r.onDisk < end {
			p.s.fail("prefix", part, "decree %d is committed; member %d has only %d on its disk", end, n.id, r.onDisk)
			return
		}
		for d := st.Committed + 1; d <= end; d++ {
			if print, ok := r.prints[d]; !ok || print != p.s.history.parts[part].prints[d-1] {
				p.s.fail("prefix", part, "member %d holds another decree %d than the one that is committed", n.id, d)
				return
			}
		}
	}
}
