package core

import (
	"cmp"
	"slices"

	"pegasus/netcore/proto"
)

// State is the replicated state of the cluster: what the journal's commands built. It is the same on every meta that
// applied the same commands, so nothing in it may depend on a clock, a random number or the order of a map.
//
// Not safe for concurrent use. Values that it returns by pointer belong to it and are read only.
type State struct {
	// revision counts the commands that changed something. Every table and partition remembers the revision of its last
	// change; nodes are brought up to date by comparing.
	revision int64
	// nextApp is the id of the next table. Ids are never used twice, also not after a table is forgotten.
	nextApp int32
	// Invariant: apps is sorted by id and holds every table, the dropped ones until they expire.
	apps []*App
	// Invariant: names holds exactly the tables that are not dropped; a dropped table's name is free.
	names map[string]*App
	nodes map[proto.NodeID]*Node
	// Invariant: jobs is sorted by id and holds at most maxActiveJobs + maxEndedJobs.
	jobs    []*Job
	lastJob int64
	options map[string]string
	// forgotten are the tables that expired: what nodes still have of them may go. At most maxForgotten, the newest.
	forgotten map[int32]struct{}
	// restored: the state came from a backup, so nodes may know more than it does.
	restored bool
	// notes is a ring: note Seq is at (Seq-1) % notesKept. Invariant: it holds the newest min(lastNote, notesKept).
	notes    []Note
	lastNote int64
	// partitions is the number of partitions of all tables in apps.
	partitions int
}

// App is a table.
type App struct {
	Info       proto.AppInfo `thrift:"1"`
	Partitions []Partition   `thrift:"2"`
	Revision   int64         `thrift:"3"` // of the last change of Info
}

// Partition is the configuration register of one partition and its history.
type Partition struct {
	Ballot      proto.Ballot   `thrift:"1"`
	Primary     proto.NodeID   `thrift:"2"`
	Secondaries []proto.NodeID `thrift:"3"`
	LastDrops   []proto.NodeID `thrift:"4"` // nodes that were members, the newest last; at most maxLastDrops
	Flags       int32          `thrift:"5"`
	Revision    int64          `thrift:"6"` // of the last change
	// Rupture is the ballot under which a node was appointed that may lack what others had, 0: never. A replica of an older
	// ballot that committed more than Kept, which is what the appointed one surely shares with all others, does not fit.
	Rupture proto.Ballot `thrift:"7,opt"`
	Kept    proto.Decree `thrift:"8,opt"`
}

// Node is a replica server that has ever registered.
type Node struct {
	ID          proto.NodeID     `thrift:"1"`
	Address     proto.HostPort   `thrift:"2"` // zero when another node has taken the address over
	IP          proto.RPCAddress `thrift:"3"`
	Incarnation int64            `thrift:"4"`
	Shards      int32            `thrift:"5"`
	ShardPort   int32            `thrift:"6"`
	Transfer    string           `thrift:"7,opt"` // host:port of the checkpoint listener; a string, which old readers can skip
	Zone        string           `thrift:"8,opt"`
	Mode        NodeMode         `thrift:"9,opt"` // what operators decided; not the node's word
}

const (
	// flagDropped is bit 0 of partition_flags (spec wire 7).
	flagDropped = 1
	// maxLastDrops bounds the memory of a partition for former members.
	maxLastDrops = 6
	// maxForgotten bounds the memory for tables that expired.
	maxForgotten = 1 << 16
)

// NewState returns the state of a cluster that was never used.
func NewState() *State {
	return &State{
		nextApp: 1, names: make(map[string]*App), nodes: make(map[proto.NodeID]*Node), options: make(map[string]string),
		forgotten: make(map[int32]struct{}),
	}
}

// Revision returns the number of the last change.
func (s *State) Revision() int64 { return s.revision }

// App returns a table by id, also a dropped one, or nil.
func (s *State) App(id int32) *App {
	if i, ok := s.find(id); ok {
		return s.apps[i]
	}
	return nil
}

func (s *State) find(id int32) (int, bool) {
	return slices.BinarySearchFunc(s.apps, id, func(a *App, id int32) int { return cmp.Compare(a.Info.AppID, id) })
}

// AppByName returns the table that has the name now, or nil.
func (s *State) AppByName(name string) *App { return s.names[name] }

// Node returns a registered node, or nil.
func (s *State) Node(id proto.NodeID) *Node { return s.nodes[id] }

// Partition returns the register of a partition, or nil.
func (s *State) Partition(g proto.GPID) *Partition {
	a := s.App(g.App)
	if a == nil || g.Part < 0 || int(g.Part) >= len(a.Partitions) {
		return nil
	}
	return &a.Partitions[g.Part]
}

// Nodes returns all registered nodes ordered by id.
func (s *State) Nodes() []*Node {
	out := make([]*Node, 0, len(s.nodes))
	for _, n := range s.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *Node) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return out
}

// Config returns the configuration of partition i in the words of the node protocol.
func (a *App) Config(i int32) proto.PartitionConfig {
	p := &a.Partitions[i]
	return proto.PartitionConfig{
		GPID:        proto.GPID{App: a.Info.AppID, Part: i},
		Ballot:      p.Ballot,
		Primary:     p.Primary,
		Secondaries: slices.Clone(p.Secondaries),
	}
}

func (a *App) available() bool { return a.Info.Status == proto.AppAvailable }

func (p *Partition) isMember(n proto.NodeID) bool {
	return p.Primary == n || slices.Contains(p.Secondaries, n)
}

// members counts the primary and the secondaries.
func (p *Partition) members() int {
	if p.Primary.IsZero() {
		return 0
	}
	return 1 + len(p.Secondaries)
}

// concerns tells whether the node is or recently was a member.
func (p *Partition) concerns(n proto.NodeID) bool {
	return p.isMember(n) || slices.Contains(p.LastDrops, n)
}

// dropMember remembers that n is a member no more.
func (p *Partition) dropMember(n proto.NodeID) {
	if i := slices.Index(p.LastDrops, n); i >= 0 {
		p.LastDrops = slices.Delete(p.LastDrops, i, i+1)
	}
	p.LastDrops = append(p.LastDrops, n)
	if len(p.LastDrops) > maxLastDrops {
		p.LastDrops = slices.Delete(p.LastDrops, 0, len(p.LastDrops)-maxLastDrops)
	}
}
