package pacsim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// traceDepth is how many events are remembered per partition and for the cluster as a whole.
const traceDepth = 160

// line is one event of a trace, in words only when somebody wants to read it: format, with node, peer and numbers.
type line struct {
	at     int64
	seq    uint64
	node   int // -1: none
	format string
	args   [5]int64
	n      int
}

// trace remembers the latest events and hashes all of them.
type trace struct {
	hash    uint64
	count   uint64
	rings   [][]line // per partition, the last one for the cluster
	heads   []int
	verbose func(string)
}

func newTrace(partitions int) *trace {
	return &trace{hash: 14695981039346656037, rings: make([][]line, partitions+1), heads: make([]int, partitions+1)}
}

func mix(h, v uint64) uint64 {
	h ^= v
	h *= 0x9fb21c651e98df25
	return h ^ h>>29
}

// add enters an event of partition part (cluster: the last ring). The args are formatted by format, node is put in front.
func (t *trace) add(at int64, part, node int, format string, args ...int64) {
	t.count++
	l := line{at: at, seq: t.count, node: node, format: format, n: len(args)}
	copy(l.args[:], args)
	t.hash = mix(mix(mix(t.hash, uint64(at)), uint64(node+1)<<32|uint64(part+1)), uint64(len(format)))
	for _, a := range args {
		t.hash = mix(t.hash, uint64(a))
	}
	ring := t.rings[part]
	if len(ring) < traceDepth {
		t.rings[part] = append(ring, l)
	} else {
		ring[t.heads[part]] = l
		t.heads[part] = (t.heads[part] + 1) % traceDepth
	}
	if t.verbose != nil {
		t.verbose(fmt.Sprintf("p%d %s", part, l.String()))
	}
}

// String tells the event.
func (l line) String() string {
	args := make([]any, l.n)
	for i := range l.n {
		args[i] = l.args[i]
	}
	who := "        "
	if l.node >= 0 {
		who = fmt.Sprintf("node %-3d", l.node)
	}
	return fmt.Sprintf("%10.6fs %s %s", float64(l.at)/float64(second), who, fmt.Sprintf(l.format, args...))
}

// words tells the last n events of a partition together with those of the cluster, in order.
func (t *trace) words(part, n int) string {
	var all []line
	rings := []int{len(t.rings) - 1}
	if part >= 0 && part < len(t.rings)-1 {
		rings = append(rings, part)
	}
	for _, r := range rings {
		ring := t.rings[r]
		for i := range ring {
			all = append(all, ring[(t.heads[r]+i)%len(ring)])
		}
	}
	sortLines(all)
	if len(all) > n {
		all = all[len(all)-n:]
	}
	var b strings.Builder
	for _, l := range all {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func sortLines(all []line) {
	slices.SortFunc(all, func(a, b line) int { return cmp.Compare(a.seq, b.seq) })
}
