package pacsim

import (
	"pegasus/netcore/proto"
)

// committed is the one history of a partition: the mutation that was committed first under each decree, by whichever replica,
// must be the one that all replicas commit there, for ever. An acknowledged write is in it by then, so a difference later is the
// loss of an acknowledged write or of one that somebody may have read.
type committed struct {
	s     *Sim
	parts []chain
}

type chain struct {
	prints []uint64 // of decree i+1
	acked  proto.Decree
	// content holds the hash of a store's content by decree, see check_content.go.
	content map[proto.Decree]uint64
}

func newCommitted(s *Sim, partitions int) *committed {
	c := &committed{s: s, parts: make([]chain, partitions)}
	for i := range c.parts {
		c.parts[i].content = map[proto.Decree]uint64{}
	}
	return c
}

// fingerprint identifies a mutation by what must not change when it is prepared again under a higher ballot.
func fingerprint(timestamp int64, batch []byte) uint64 {
	h := mix(14695981039346656037, uint64(timestamp))
	for _, b := range batch {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return mix(h, uint64(len(batch)))
}

// commit checks a commit on a node: last is the decree that the node committed before.
func (c *committed) commit(n *node, part int, last, d proto.Decree, print uint64) {
	if d != last+1 {
		c.s.fail("gap", part, "node %d commits decree %d after %d", n.id, d, last)
		return
	}
	c.match(n, part, d, print)
}

// match checks what is known to be committed: also what a restarted node finds in its log.
func (c *committed) match(n *node, part int, d proto.Decree, print uint64) {
	ch := &c.parts[part]
	switch at := int(d) - 1; {
	case at < len(ch.prints):
		if ch.prints[at] != print {
			c.s.fail("history", part, "node %d commits another mutation under decree %d than was committed before", n.id, d)
		}
	case at == len(ch.prints):
		ch.prints = append(ch.prints, print)
		c.s.prefix.look(part)
	default:
		c.s.fail("history", part, "node %d commits decree %d, the history ends at %d", n.id, d, len(ch.prints))
	}
}

// ack notes that a client was told of the outcome of decree d.
func (c *committed) ack(part int, d proto.Decree) {
	ch := &c.parts[part]
	ch.acked = max(ch.acked, d)
}

// serves checks a primary that answers a read: it must have applied everything that was acknowledged when the read began.
func (c *committed) serves(n *node, part int, applied, acked proto.Decree) {
	if applied < acked {
		c.s.fail("acked", part, "node %d serves at decree %d, decree %d was acknowledged", n.id, applied, acked)
	}
}
