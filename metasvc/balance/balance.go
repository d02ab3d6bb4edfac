// Package balance decides which replicas should move so that the nodes of a cluster carry equal shares. It is a pure function
// from a drawing of the cluster to a list of moves, and knows nothing of how they are carried out.
//
// # What is better
//
// Two clusters are compared by these costs, the first that differs decides (see Score):
//
//  1. copies of one partition in one zone,
//  2. primaries, table by table: the sum over nodes of their squares,
//  3. primaries in all, likewise,
//  4. replicas, table by table,
//  5. replicas in all,
//  6. bytes and load, when a node carries far more than its share.
//
// Every move that is planned makes the cluster better in that order, but for the two halves of an exchange, which do so together.
// As there are finitely many clusters, planning ends, and a cluster for which nothing is planned stays as it is: balance stops
// by itself.
//
// # Few moves
//
// Handing a primary over costs nothing, so that is tried first, along chains of partitions where need be. Copying a secondary
// comes next; it opens new ways to hand over. A primary is copied only when both do not help. Copies prefer partitions whose
// bytes even out what nodes store.
package balance

import "cmp"

// Node is a server. Indices into Cluster.Nodes name nodes everywhere.
type Node struct {
	Zone string // "" is a zone of its own
	// Takes: it may get replicas. Gives: replicas may leave it. A node with neither is left out altogether; what it has is
	// somebody else's business.
	Takes, Gives bool
	// Capacity is the size of its disks in any unit; 0: not known, an average one.
	Capacity int64
}

// Partition is one partition of a table. Secondaries is not changed.
type Partition struct {
	Primary     int
	Secondaries []int
	Fixed       bool  // not to be touched
	Bytes       int64 // of one replica
	Reads       int64 // per second, served by the primary
	Writes      int64 // per second, carried by every member
}

// Table is a list of partitions.
type Table struct {
	ID         int32
	Fixed      bool // not to be touched
	Partitions []Partition
}

// Cluster is the drawing.
type Cluster struct {
	Nodes  []Node
	Tables []Table
}

// Options of a plan.
type Options struct {
	MaxMoves      int   // 0: as many as it takes
	Table         int32 // only this one; 0: all
	InTurn        bool  // only the first table that needs something
	OnlyPrimaries bool  // no copies of secondaries
	OnlyHandOvers bool  // no copies at all
	// MinBytes and MinLoad are how far above the average a node must be before bytes, or reads and writes per second, count.
	// 0: DefaultMinBytes and DefaultMinLoad.
	MinBytes, MinLoad int64
}

// Below these differences the weights of replicas are not worth a move.
const (
	DefaultMinBytes = 1 << 30
	DefaultMinLoad  = 1000
	// tolerance is the share above the average that is left alone.
	tolerance = 0.2
)

// Kind is what a move does.
type Kind int

// The kinds of moves.
const (
	HandOver      Kind = iota + 1 // To, a secondary, becomes primary instead of From
	CopySecondary                 // To gets the copy that From, a secondary, has
	CopyPrimary                   // To gets the copy that From has, and becomes primary
)

var kindNames = map[Kind]string{HandOver: "move_primary", CopySecondary: "copy_secondary", CopyPrimary: "copy_primary"}

// String is the name that Apache Pegasus has for it.
func (k Kind) String() string { return kindNames[k] }

// Move is one change. Moves are to be carried out in order, as far as they concern the same partition.
type Move struct {
	Kind     Kind
	Table    int // index
	Part     int
	From, To int
}

// Plan lists the moves that make the cluster better, and ends at one that it cannot improve or after MaxMoves; an exchange
// that begins within that limit is complete.
func Plan(c *Cluster, o Options) []Move {
	o.MinBytes, o.MinLoad = cmp.Or(o.MinBytes, DefaultMinBytes), cmp.Or(o.MinLoad, DefaultMinLoad)
	w := newWork(c, o)
	steps := []func() bool{w.spreadZones, w.handOver, w.copySecondaries, w.handOver, w.copyPrimaries, w.handOver, w.weigh}
	for {
		before := len(w.moves)
		for _, step := range steps {
			if !step() {
				return w.moves
			}
		}
		if len(w.moves) == before {
			return w.moves
		}
	}
}

// Score is the cost of a cluster in the order in which costs count.
type Score [5]int64

// Cost computes the score, without weights.
func Cost(c *Cluster) (s Score) {
	w := newWork(c, Options{})
	for t := range w.tables {
		for i := range w.tables[t].Partitions {
			s[0] += int64(w.crowd(w.members(t, i)))
		}
		for n := range w.c.Nodes {
			if w.counts(n) {
				s[1] += int64(w.prim[t][n] * w.prim[t][n])
				s[3] += int64(w.repl[t][n] * w.repl[t][n])
			}
		}
	}
	for n := range w.c.Nodes {
		if w.counts(n) {
			s[2] += int64(w.prims[n] * w.prims[n])
			s[4] += int64(w.repls[n] * w.repls[n])
		}
	}
	return s
}

// Less compares scores.
func (s Score) Less(o Score) bool {
	for i := range s {
		if s[i] != o[i] {
			return s[i] < o[i]
		}
	}
	return false
}

// Apply returns the cluster after the moves. Weights stay with their partitions.
func Apply(c *Cluster, moves []Move) *Cluster {
	w := newWork(c, Options{})
	for _, m := range moves {
		w.apply(m)
	}
	return &Cluster{Nodes: c.Nodes, Tables: w.tables}
}
