package pacsim

import (
	"fmt"

	"pegasus/consensus"
	"pegasus/netcore/proto"
)

// unhealthy says why a partition is not at rest, "" when it is: all replicas that the table wants, in their roles, under the ballot
// of the register, the primary able to read, everything committed everywhere.
func (s *Sim) unhealthy(part int) string {
	c := s.registers.parts[part].now
	if got := len(members(c)); got != s.o.Replicas {
		return fmt.Sprintf("%d members of %d", got, s.o.Replicas)
	}
	p := s.holder(part, c.Primary)
	if p == nil {
		return "its primary does not run"
	}
	st := p.machine.State()
	switch {
	case st.Config.Ballot != c.Ballot || st.Role != consensus.Primary:
		return fmt.Sprintf("node %d should be primary of ballot %d and has role %v of ballot %d", p.n.id, c.Ballot, st.Role, st.Config.Ballot)
	case !p.machine.MayRead(p.n.clock()):
		return fmt.Sprintf("primary %d may not read", p.n.id)
	case s.quiet && st.Committed != st.Prepared:
		return fmt.Sprintf("primary %d has committed %d of %d", p.n.id, st.Committed, st.Prepared)
	}
	for _, m := range c.Secondaries {
		q := s.holder(part, m)
		if q == nil {
			return fmt.Sprintf("secondary %d does not run", s.slot(m))
		}
		if qs := q.machine.State(); qs.Role != consensus.Secondary || qs.Config.Ballot != c.Ballot || s.quiet && qs.Committed != st.Committed {
			return fmt.Sprintf("secondary %d has role %v of ballot %d and committed %d, its primary has ballot %d and committed %d",
				q.n.id, qs.Role, qs.Config.Ballot, qs.Committed, c.Ballot, st.Committed)
		}
	}
	return ""
}

// holder is the working replica of a partition on a node, nil when there is none.
func (s *Sim) holder(part int, name proto.NodeID) *replica {
	n := s.nodes[s.slot(name)]
	if !n.up || n.name != name || n.parts[part] == nil || n.parts[part].failed {
		return nil
	}
	return n.parts[part]
}

// settle runs until every partition is at rest, at most for limit; "" when that was reached.
func (s *Sim) settle(limit int64) string {
	until := s.q.now + limit
	for {
		why := ""
		for part := range s.o.Partitions {
			if w := s.unhealthy(part); w != "" {
				why = fmt.Sprintf("partition %d: %s", part, w)
				s.sick = part
				break
			}
		}
		if why == "" || s.q.now >= until || s.failure != nil {
			return why
		}
		s.runFor(100 * millisecond)
	}
}
