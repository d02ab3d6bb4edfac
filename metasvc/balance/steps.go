package balance

import (
	"cmp"
	"slices"
)

// The steps of planning. Each returns false when enough moves are planned.

// spreadZones moves copies out of crowded zones: secondaries first, for that costs one step less.
func (w *work) spreadZones() bool {
	if w.o.OnlyHandOvers {
		return true
	}
	for t := range w.tables {
		for i := range w.tables[t].Partitions {
			if !w.free(t, i) {
				continue
			}
			for w.crowd(w.members(t, i)) > 0 {
				m, ok := w.zoneMove(t, i)
				if !ok {
					break
				}
				if !w.do(m) {
					return false
				}
			}
		}
	}
	return true
}

func (w *work) zoneMove(t, i int) (best Move, ok bool) {
	p := &w.tables[t].Partitions[i]
	gain := 0
	try := func(k Kind, from int) {
		if !w.c.Nodes[from].Gives {
			return
		}
		for to := range w.c.Nodes {
			if !w.c.Nodes[to].Takes || p.has(to) {
				continue
			}
			change := w.crowding(p, from, to)
			if change < gain || change == gain && ok && k == best.Kind && w.lighter(t, to, best.To) {
				gain, best, ok = change, Move{k, t, i, from, to}, true
			}
		}
	}
	for _, s := range p.Secondaries {
		try(CopySecondary, s)
	}
	if !ok {
		try(CopyPrimary, p.Primary)
	}
	return best, ok && gain < 0
}

// lighter tells whether node a is the better place for a replica of a table than b.
func (w *work) lighter(t, a, b int) bool {
	return cmp.Or(cmp.Compare(w.repl[t][a], w.repl[t][b]), cmp.Compare(w.repls[a], w.repls[b]),
		cmp.Compare(float64(w.bytes[a])/w.caps[a], float64(w.bytes[b])/w.caps[b])) < 0
}

// handOver evens out primaries by roles alone: a chain of partitions from a node with too many to one with too few, each
// handing over to the next. Chains even out tables first, then the whole where tables do not mind.
func (w *work) handOver() bool {
	for t := range w.tables {
		for {
			path := w.chain(t)
			if path == nil {
				break
			}
			for _, m := range path {
				w.do(m)
			}
			if w.enough() {
				return false
			}
		}
	}
	return true
}

// chain finds the shortest chain of a table that makes something better.
func (w *work) chain(t int) []Move {
	n := len(w.c.Nodes)
	if w.tables[t].Fixed || w.o.Table != 0 && w.tables[t].ID != w.o.Table || w.turn >= 0 && w.turn != t || w.even(t) {
		return nil
	}
	// edge[x*n+y] is one more than a partition that x may hand over to y.
	edge := make([]int32, n*n)
	for i := range w.tables[t].Partitions {
		p := &w.tables[t].Partitions[i]
		if !w.free(t, i) || !w.c.Nodes[p.Primary].Gives {
			continue
		}
		for _, s := range p.Secondaries {
			if w.counts(s) && w.c.Nodes[s].Takes && edge[p.Primary*n+s] == 0 {
				edge[p.Primary*n+s] = int32(i) + 1
			}
		}
	}
	sources := make([]int, 0, n)
	for a := range n {
		if w.c.Nodes[a].Gives && w.prim[t][a] > 0 {
			sources = append(sources, a)
		}
	}
	slices.SortStableFunc(sources, func(a, b int) int {
		return cmp.Or(cmp.Compare(w.prim[t][b], w.prim[t][a]), cmp.Compare(w.prims[b], w.prims[a]))
	})
	from := make([]int, n)
	for _, a := range sources {
		for i := range from {
			from[i] = -1
		}
		from[a] = a
		queue, best := []int{a}, -1
		for len(queue) > 0 {
			x := queue[0]
			queue = queue[1:]
			for y := range n {
				if edge[x*n+y] == 0 || from[y] >= 0 {
					continue
				}
				from[y] = x
				queue = append(queue, y)
				if w.gains(t, a, y) && (best < 0 || cmp.Or(cmp.Compare(w.prim[t][y], w.prim[t][best]),
					cmp.Compare(w.prims[y], w.prims[best])) < 0) {
					best = y
				}
			}
		}
		if best >= 0 {
			var path []Move
			for y := best; y != a; y = from[y] {
				x := from[y]
				path = append(path, Move{HandOver, t, int(edge[x*n+y]) - 1, x, y})
			}
			slices.Reverse(path)
			return path
		}
	}
	return nil
}

// even tells quickly that no chain of a table can gain.
func (w *work) even(t int) bool {
	low, high := -1, -1
	least, most := -1, -1 // of all primaries
	for n := range w.c.Nodes {
		if w.c.Nodes[n].Takes && (low < 0 || w.prim[t][n] < w.prim[t][low]) {
			low = n
		}
		if w.c.Nodes[n].Gives && (high < 0 || w.prim[t][n] > w.prim[t][high]) {
			high = n
		}
		if w.c.Nodes[n].Takes && (least < 0 || w.prims[n] < w.prims[least]) {
			least = n
		}
		if w.c.Nodes[n].Gives && w.prim[t][n] > 0 && (most < 0 || w.prims[n] > w.prims[most]) {
			most = n
		}
	}
	if low < 0 || high < 0 || most < 0 {
		return true
	}
	return w.prim[t][high]-w.prim[t][low] < 2 && w.prims[most]-w.prims[least] < 2
}

// gains tells whether one primary of a table less on a and one more on b makes something better.
func (w *work) gains(t, a, b int) bool {
	d := w.prim[t][a] - w.prim[t][b]
	return d >= 2 || d == 1 && w.prims[a]-w.prims[b] >= 2
}

// copySecondaries evens out replicas, tables first, then the whole.
func (w *work) copySecondaries() bool {
	if w.o.OnlyPrimaries || w.o.OnlyHandOvers {
		return true
	}
	for t := range w.tables {
		for {
			m, ok := w.tableCopy(t)
			if !ok {
				break
			}
			if !w.do(m) {
				return false
			}
		}
	}
	for {
		m, ok := w.clusterCopy()
		if !ok {
			return true
		}
		if !w.do(m) {
			return false
		}
	}
}

// pairs lists the pairs of a node that has at least min more than one that takes, by falling difference.
func (w *work) pairs(count []int, min int) (out [][2]int) {
	for a := range w.c.Nodes {
		if !w.c.Nodes[a].Gives {
			continue
		}
		for b := range w.c.Nodes {
			if w.c.Nodes[b].Takes && count[a]-count[b] >= min {
				out = append(out, [2]int{a, b})
			}
		}
	}
	slices.SortStableFunc(out, func(x, y [2]int) int {
		return cmp.Or(cmp.Compare(count[y[0]]-count[y[1]], count[x[0]]-count[x[1]]),
			cmp.Compare(w.repls[y[0]]-w.repls[y[1]], w.repls[x[0]]-w.repls[x[1]]))
	})
	return out
}

func (w *work) tableCopy(t int) (Move, bool) {
	for _, ab := range w.pairs(w.repl[t], 2) {
		if i := w.secondaryFor(t, ab[0], ab[1]); i >= 0 {
			return Move{CopySecondary, t, i, ab[0], ab[1]}, true
		}
	}
	return Move{}, false
}

func (w *work) clusterCopy() (Move, bool) {
	for _, ab := range w.pairs(w.repls, 2) {
		a, b := ab[0], ab[1]
		for t := range w.tables {
			if w.repl[t][a]-w.repl[t][b] != 1 {
				continue
			}
			if i := w.secondaryFor(t, a, b); i >= 0 {
				return Move{CopySecondary, t, i, a, b}, true
			}
		}
	}
	return Move{}, false
}

// secondaryFor finds the secondary on a that goes to b best, or -1: the bytes that even out the two nodes most.
func (w *work) secondaryFor(t, a, b int) int {
	best, bestGain := -1, 0.0
	for i := range w.tables[t].Partitions {
		p := &w.tables[t].Partitions[i]
		if !slices.Contains(p.Secondaries, a) || !w.free(t, i) || p.has(b) || w.crowding(p, a, b) > 0 {
			continue
		}
		x := float64(w.bytes[a]-p.Bytes) / w.caps[a]
		y := float64(w.bytes[b]+p.Bytes) / w.caps[b]
		if gain := -(x*x + y*y); best < 0 || gain > bestGain {
			best, bestGain = i, gain
		}
	}
	return best
}

// copyPrimaries evens out primaries where no chain of hand-overs leads: the primary's copy moves.
func (w *work) copyPrimaries() bool {
	if w.o.OnlyHandOvers {
		return true
	}
	for t := range w.tables {
		for {
			m, ok := w.primaryCopy(t)
			if !ok {
				break
			}
			if !w.do(m) {
				return false
			}
		}
	}
	return true
}

func (w *work) primaryCopy(t int) (Move, bool) {
	for _, ab := range w.pairs(w.prim[t], 2) {
		a, b := ab[0], ab[1]
		for i := range w.tables[t].Partitions {
			p := &w.tables[t].Partitions[i]
			if p.Primary == a && w.free(t, i) && !p.has(b) && w.crowding(p, a, b) <= 0 {
				return Move{CopyPrimary, t, i, a, b}, true
			}
		}
	}
	return Move{}, false
}
