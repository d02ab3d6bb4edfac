package balance

import "slices"

// work is a cluster that is being changed in thought, with its books.
type work struct {
	c      *Cluster
	o      Options
	tables []Table // copies
	prim   [][]int // [table][node] primaries
	repl   [][]int // [table][node] replicas
	prims  []int   // [node] of all tables
	repls  []int
	bytes  []int64 // [node]
	load   []int64
	caps   []float64 // [node] relative to the average
	// meanBytes and meanLoad are what a node that takes part carries on average; no move changes them.
	meanBytes, meanLoad float64
	moves               []Move
	turn                int // index of the only table that is worked on; -1: all
}

func newWork(c *Cluster, o Options) *work {
	n := len(c.Nodes)
	w := &work{
		c: c, o: o, turn: -1, prims: make([]int, n), repls: make([]int, n), bytes: make([]int64, n), load: make([]int64, n),
		caps: make([]float64, n), tables: make([]Table, len(c.Tables)), prim: make([][]int, len(c.Tables)), repl: make([][]int, len(c.Tables)),
	}
	books := make([]int, 2*n*len(c.Tables))
	for t := range c.Tables {
		w.prim[t], books = books[:n:n], books[n:]
		w.repl[t], books = books[:n:n], books[n:]
		w.tables[t] = c.Tables[t]
		w.tables[t].Partitions = slices.Clone(c.Tables[t].Partitions)
		members := 0
		for i := range w.tables[t].Partitions {
			members += len(w.tables[t].Partitions[i].Secondaries)
		}
		all := make([]int, 0, members)
		for i := range w.tables[t].Partitions {
			p := &w.tables[t].Partitions[i]
			from := len(all)
			all = append(all, p.Secondaries...)
			p.Secondaries = all[from:len(all):len(all)]
			w.book(t, p, p.Primary, 1, 1)
			for _, s := range p.Secondaries {
				w.book(t, p, s, 0, 1)
			}
		}
	}
	known, sum := 0, int64(0)
	for i := range c.Nodes {
		if c.Nodes[i].Capacity > 0 {
			known, sum = known+1, sum+c.Nodes[i].Capacity
		}
	}
	for i := range c.Nodes {
		w.caps[i] = 1
		if c.Nodes[i].Capacity > 0 {
			w.caps[i] = float64(c.Nodes[i].Capacity) * float64(known) / float64(sum)
		}
	}
	nodes := 0
	for i := range c.Nodes {
		if w.counts(i) {
			nodes++
			w.meanBytes += float64(w.bytes[i])
			w.meanLoad += float64(w.load[i])
		}
	}
	if nodes > 0 {
		w.meanBytes, w.meanLoad = w.meanBytes/float64(nodes), w.meanLoad/float64(nodes)
	}
	return w
}

// book adds a replica to a node's books, or takes one off with negative counts.
func (w *work) book(t int, p *Partition, n, primaries, replicas int) {
	if n < 0 {
		return
	}
	w.prim[t][n] += primaries
	w.prims[n] += primaries
	w.repl[t][n] += replicas
	w.repls[n] += replicas
	w.bytes[n] += int64(replicas) * p.Bytes
	w.load[n] += int64(replicas)*p.Writes + int64(primaries)*p.Reads
}

// counts tells whether a node takes part in the balance.
func (w *work) counts(n int) bool { return w.c.Nodes[n].Takes || w.c.Nodes[n].Gives }

func (w *work) members(t, i int) []int {
	p := &w.tables[t].Partitions[i]
	return append([]int{p.Primary}, p.Secondaries...)
}

func (p *Partition) has(n int) bool { return p.Primary == n || slices.Contains(p.Secondaries, n) }

// free tells whether a partition may be touched.
func (w *work) free(t, i int) bool {
	p := &w.tables[t].Partitions[i]
	return !p.Fixed && !w.tables[t].Fixed && p.Primary >= 0 && (w.o.Table == 0 || w.tables[t].ID == w.o.Table) &&
		(w.turn < 0 || w.turn == t)
}

// crowd counts the pairs of members that share a zone.
func (w *work) crowd(members []int) (pairs int) {
	for i, a := range members {
		zone := w.c.Nodes[a].Zone
		if zone == "" {
			continue
		}
		for _, b := range members[:i] {
			if w.c.Nodes[b].Zone == zone {
				pairs++
			}
		}
	}
	return pairs
}

// crowding is how the crowd changes when the copy on from goes to to.
func (w *work) crowding(p *Partition, from, to int) (change int) {
	count := func(n, sign int) {
		zone := w.c.Nodes[n].Zone
		if zone == "" {
			return
		}
		if p.Primary != from && w.c.Nodes[p.Primary].Zone == zone {
			change += sign
		}
		for _, s := range p.Secondaries {
			if s != from && w.c.Nodes[s].Zone == zone {
				change += sign
			}
		}
	}
	count(from, -1)
	count(to, 1)
	return change
}

// do applies a move and notes it; false when no more are wanted.
func (w *work) do(m Move) bool {
	w.apply(m)
	w.moves = append(w.moves, m)
	if w.o.InTurn {
		w.turn = m.Table
	}
	return !w.enough()
}

func (w *work) enough() bool { return w.o.MaxMoves > 0 && len(w.moves) >= w.o.MaxMoves }

func (w *work) apply(m Move) {
	p := &w.tables[m.Table].Partitions[m.Part]
	switch m.Kind {
	case HandOver:
		w.book(m.Table, p, m.From, -1, 0)
		w.book(m.Table, p, m.To, 1, 0)
		p.Secondaries[slices.Index(p.Secondaries, m.To)] = m.From
		p.Primary = m.To
	case CopySecondary:
		w.book(m.Table, p, m.From, 0, -1)
		w.book(m.Table, p, m.To, 0, 1)
		p.Secondaries[slices.Index(p.Secondaries, m.From)] = m.To
	case CopyPrimary:
		w.book(m.Table, p, m.From, -1, -1)
		w.book(m.Table, p, m.To, 1, 1)
		p.Primary = m.To
	}
}

// weight is how much a node would carry with these bytes and this load, as a multiple of the average; 0 when nothing is known.
func (w *work) weight(n int, bytes, load int64) float64 {
	sum := 0.0
	if w.meanBytes > 0 {
		sum += float64(bytes) / w.meanBytes / w.caps[n]
	}
	if w.meanLoad > 0 {
		sum += float64(load) / w.meanLoad
	}
	return sum
}
