package balance

import (
	"cmp"
	"slices"
)

// Bytes and load: where a node carries far more than its share although the counts are even, heavy replicas are exchanged
// for light ones of the same table, so that the counts stay as they are.

// weigh plans one exchange after the other while one gains enough.
func (w *work) weigh() bool {
	for range 4 * len(w.c.Nodes) {
		a := w.heaviest()
		if a < 0 {
			return true
		}
		moves := w.exchange(a)
		if moves == nil {
			return true
		}
		for _, m := range moves {
			w.do(m)
		}
		if w.enough() {
			return false
		}
	}
	return true
}

// heaviest returns the node that is too far above the average, or -1.
func (w *work) heaviest() int {
	worst, most := -1, 0.0
	for n := range w.c.Nodes {
		if !w.c.Nodes[n].Gives {
			continue
		}
		fair := w.meanBytes * w.caps[n]
		moreBytes, moreLoad := float64(w.bytes[n])-fair, float64(w.load[n])-w.meanLoad
		if !(moreBytes > float64(w.o.MinBytes) && moreBytes > tolerance*fair ||
			moreLoad > float64(w.o.MinLoad) && moreLoad > tolerance*w.meanLoad) {
			continue
		}
		if v := w.weight(n, w.bytes[n], w.load[n]); v > most {
			worst, most = n, v
		}
	}
	return worst
}

// Limits of what is looked at per table: pairs of its heaviest and its lightest replicas gain most.
const (
	heavies = 32
	lights  = 128
)

// trade is an exchange with another node: what leaves the heavy node, and what it gets.
type trade struct {
	with              int
	bytesOut, bytesIn int64
	loadOut, loadIn   int64
	moves             [2]Move
}

// exchange finds what makes the heaviest node lighter at best: two primaries that change places, or two copies.
func (w *work) exchange(a int) (best []Move) {
	least := 0.02 // of an average node's weight; less is not worth it
	mine := w.weight(a, w.bytes[a], w.load[a])
	consider := func(x trade) {
		b := x.with
		before := max(mine, w.weight(b, w.bytes[b], w.load[b]))
		after := max(w.weight(a, w.bytes[a]-x.bytesOut+x.bytesIn, w.load[a]-x.loadOut+x.loadIn),
			w.weight(b, w.bytes[b]+x.bytesOut-x.bytesIn, w.load[b]+x.loadOut-x.loadIn))
		if gain := before - after; gain > least {
			least, best = gain, x.moves[:]
		}
	}
	for t := range w.tables {
		heavy, light := w.ranked(t, a)
		for _, i := range heavy {
			for _, k := range light {
				w.trades(t, i, k, a, consider)
			}
		}
	}
	return best
}

// ranked lists partitions of a table with a copy on a, the heaviest first, and all partitions, the lightest first.
func (w *work) ranked(t, a int) (heavy, light []int) {
	parts := w.tables[t].Partitions
	for i := range parts {
		if w.free(t, i) {
			light = append(light, i)
			if parts[i].has(a) {
				heavy = append(heavy, i)
			}
		}
	}
	rank := func(i int) float64 {
		p := &parts[i]
		return w.weight(a, p.Bytes, p.Reads+p.Writes)
	}
	slices.SortStableFunc(heavy, func(x, y int) int { return cmp.Compare(rank(y), rank(x)) })
	slices.SortStableFunc(light, func(x, y int) int { return cmp.Compare(rank(x), rank(y)) })
	return heavy[:min(len(heavy), heavies)], light[:min(len(light), lights)]
}

// trades calls f for every exchange of partition i, of which a has a copy, for partition k.
func (w *work) trades(t, i, k, a int, f func(trade)) {
	x, y := &w.tables[t].Partitions[i], &w.tables[t].Partitions[k]
	b := y.Primary
	switch {
	case i == k:
	case x.Primary == a && slices.Contains(y.Secondaries, a) && slices.Contains(x.Secondaries, b):
		if w.swaps(a, b) { // the roles alone change places
			f(trade{with: b, loadOut: x.Reads, loadIn: y.Reads, moves: [2]Move{{HandOver, t, i, a, b}, {HandOver, t, k, b, a}}})
		}
	case x.Primary == a || y.has(a) || w.o.OnlyPrimaries || w.o.OnlyHandOvers:
	default:
		for _, b := range y.Secondaries {
			if !x.has(b) && w.swaps(a, b) && w.crowding(x, a, b) <= 0 && w.crowding(y, b, a) <= 0 {
				f(trade{
					with: b, bytesOut: x.Bytes, bytesIn: y.Bytes, loadOut: x.Writes, loadIn: y.Writes,
					moves: [2]Move{{CopySecondary, t, i, a, b}, {CopySecondary, t, k, b, a}},
				})
			}
		}
	}
}

// swaps tells whether two nodes may exchange replicas.
func (w *work) swaps(a, b int) bool {
	x, y := &w.c.Nodes[a], &w.c.Nodes[b]
	return x.Gives && x.Takes && y.Gives && y.Takes
}
