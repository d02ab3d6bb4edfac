package core

import (
	"fmt"
	"slices"
	"time"

	"pegasus/netcore/proto"
)

// What people are shown beyond the register: how partitions fare, and what the guardian is about to do for them, or waits for.
// Only the leader knows. Everything here reads and changes nothing.

// Health is how a partition fares, from best to worst; the words are those of Apache Pegasus' metrics of tables.
type Health uint8

// The states of health.
const (
	Healthy     Health = iota // as many members as the table wants, all of them well
	WritableIll               // fewer, but enough to take writes
	Unwritable                // a primary that is well, and not enough members to take writes
	Unreadable                // no primary that is well, but a secondary that is
	Dead                      // nobody
	HealthKinds
)

var healthNames = [HealthKinds]string{"healthy", "ill", "unwritable", "unreadable", "dead"}

func (h Health) String() string { return healthNames[h] }

// Health judges a partition by the members that are alive and have not failed.
func (c *Core) Health(a *App, i int32) Health {
	p, g := &a.Partitions[i], proto.GPID{App: a.Info.AppID, Part: i}
	well := 0
	for _, n := range p.Secondaries {
		if c.well(n, g) {
			well++
		}
	}
	switch {
	case !c.well(p.Primary, g) && well == 0:
		return Dead
	case !c.well(p.Primary, g):
		return Unreadable
	case 1+well < int(c.minReplicas(a)):
		return Unwritable
	case 1+well < int(a.Info.MaxReplicaCount):
		return WritableIll
	}
	return Healthy
}

func (c *Core) well(n proto.NodeID, g proto.GPID) bool {
	m := c.byID[n]
	return m != nil && m.alive && m.reports[g].Failure == ""
}

// NodeLook is what the leader knows of a node.
type NodeLook struct {
	Node
	Alive     bool
	Connected bool // it has said Hello to this leader
	Silent    time.Duration
	Primaries int
	Replicas  int
	Learning  int // secondaries that were asked for and are not added yet
	Failed    int // replicas that it reported as failed
}

// LookAtNodes lists the registered nodes that have an address, in the order of the addresses.
func (c *Core) LookAtNodes(now Now) []NodeLook {
	if c.role != Leading {
		return nil
	}
	var list []NodeLook
	for _, m := range c.listed() {
		l := NodeLook{
			Node: *c.st.Node(m.id), Alive: m.alive, Connected: m.link != 0, Silent: time.Duration(now.Mono - m.heard),
			Primaries: m.primaries, Replicas: m.replicas, Learning: m.learning,
		}
		for g, r := range m.reports {
			if p := c.st.Partition(g); r.Failure != "" && p != nil && p.isMember(m.id) {
				l.Failed++
			}
		}
		list = append(list, l)
	}
	return list
}

// LookAtReplicas lists what a node last reported of its replicas, by partition.
func (c *Core) LookAtReplicas(id proto.NodeID) []proto.ReplicaReport {
	m := c.byID[id]
	if m == nil {
		return nil
	}
	list := make([]proto.ReplicaReport, 0, len(m.reports))
	for _, r := range m.reports {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b proto.ReplicaReport) int { return a.GPID.Compare(b.GPID) })
	return list
}

// Tables lists all tables by id, the dropped ones too. Read only.
func (s *State) Tables() []*App { return s.apps }

// Level returns the function level that is in force.
func (c *Core) Level() proto.MetaFunctionLevel { return c.effectiveLevel() }

// WantedLevel returns the function level that is set, by an operator or else by the file.
func (c *Core) WantedLevel() proto.MetaFunctionLevel { return c.level() }

// MinReplicas is how many members a partition of the table must have to take writes.
func (c *Core) MinReplicas(a *App) int32 { return c.minReplicas(a) }

// Doing says what is being done for a partition, or why nothing is; "" when there is nothing to do.
func (c *Core) Doing(now Now, a *App, i int32) string {
	g := proto.GPID{App: a.Info.AppID, Part: i}
	p := &a.Partitions[i]
	if c.changing[g] != 0 {
		return "a change of the configuration is being stored"
	}
	if as := c.asks[g]; as != nil && as.to != nil {
		return c.explain(as.action) + tries(as.tries)
	}
	switch h := c.Health(a, i); {
	case h == Healthy && p.members() <= int(a.Info.MaxReplicaCount):
		return ""
	case c.effectiveLevel() <= proto.LevelFreezed:
		return "nothing is done at function level freezed: too few nodes live"
	case h == Dead && p.Primary.IsZero():
		return "no node has ever had it: a node is being chosen"
	case h == Dead:
		return "waits for one of its members, which alone have the data: " + c.names(append([]proto.NodeID{p.Primary}, p.Secondaries...))
	case h == Unreadable:
		return "the secondaries take over when their grace for " + c.name(p.Primary) + " is over"
	}
	if since, ok := c.dropped[g]; ok && p.members() >= int(c.minReplicas(a)) && len(p.LastDrops) > 0 {
		if left := time.Duration(since + c.assignDelay() - now.Mono); left > 0 {
			return fmt.Sprintf("waits %v for %s to come back before another node copies everything", left.Round(time.Second),
				c.name(p.LastDrops[len(p.LastDrops)-1]))
		}
	}
	if m := c.byID[p.Primary]; m != nil && len(m.reports[g].Learners) > 0 {
		return "learning: " + c.names(m.reports[g].Learners)
	}
	if c.queued[g] {
		return "waits for a node that can take another copy"
	}
	return ""
}

func tries(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (attempt %d)", n)
}

func (c *Core) explain(a action) string { return c.Explain(a.to.id, a.typ, a.node) }

// Explain says what a proposal wants of whom.
func (c *Core) Explain(to proto.NodeID, typ proto.ConfigType, node proto.NodeID) string {
	switch typ {
	case proto.CTAssignPrimary:
		return c.name(node) + " is asked to become the first primary"
	case proto.CTAddSecondary, proto.CTAddSecondaryForLB:
		return c.name(to) + " is asked to add " + c.name(node)
	case proto.CTRemove, proto.CTDowngradeToInactive:
		return c.name(to) + " is asked to remove " + c.name(node)
	case proto.CTUpgradeToPrimary:
		if to == node {
			return c.name(node) + " is asked to take over"
		}
		return c.name(to) + " is asked to hand over to " + c.name(node)
	}
	return fmt.Sprintf("%s is asked for %v of %s", c.name(to), typ, c.name(node))
}

// name is how people know a node: its address.
func (c *Core) name(id proto.NodeID) string { return c.st.NodeName(id) }

func (c *Core) names(ids []proto.NodeID) string {
	out := ""
	for i, id := range ids {
		if i > 0 {
			out += ", "
		}
		out += c.name(id)
	}
	return out
}

// NodeName is how people know a node: its address, or its id when it has none.
func (s *State) NodeName(id proto.NodeID) string {
	switch n := s.Node(id); {
	case id.IsZero():
		return "nobody"
	case n == nil || !n.Address.IsValid():
		return id.String()
	default:
		return n.Address.String()
	}
}

// NodeOn tells which node said Hello on a link.
func (c *Core) NodeOn(link uint64) (id proto.NodeID, ok bool) {
	m := c.byLink[link]
	if m == nil {
		return id, false
	}
	return m.id, true
}

// EachAlive calls f for every node, by id, with whether it counts as alive.
func (c *Core) EachAlive(f func(id proto.NodeID, alive bool)) {
	for _, m := range c.members {
		f(m.id, m.alive)
	}
}

// LookAtReplica returns what a node last reported of a replica; zero when it did not.
func (c *Core) LookAtReplica(id proto.NodeID, g proto.GPID) proto.ReplicaReport {
	if m := c.byID[id]; m != nil {
		return m.reports[g]
	}
	return proto.ReplicaReport{}
}
