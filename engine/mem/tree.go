package mem

import "bytes"

// node is a node of a persistent treap: nothing that can be reached from a root ever changes, so that a root is a
// snapshot, for nothing. A sorted slice was rejected because every apply beside a snapshot would copy all of it.
// Priorities are a hash of the key: the shape depends on the content alone, so runs repeat exactly.
type node struct {
	key, value  []byte
	prio        uint64
	left, right *node
}

// priority is FNV-1a with a final mix, because FNV alone leaves the high bits of short keys alike.
func priority(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9fb21c651e98df25
	return h ^ h>>32
}

func (n *node) get(key []byte) (value []byte, ok bool) {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return nil, false
}

func (n *node) with(left, right *node) *node {
	return &node{key: n.key, value: n.value, prio: n.prio, left: left, right: right}
}

// split divides into the keys below key and those above; the key itself is left out.
func (n *node) split(key []byte) (below, above *node) {
	if n == nil {
		return nil, nil
	}
	switch c := bytes.Compare(n.key, key); {
	case c < 0:
		b, a := n.right.split(key)
		return n.with(n.left, b), a
	case c > 0:
		b, a := n.left.split(key)
		return b, n.with(a, n.right)
	}
	return n.left, n.right
}

// merge joins two treaps; all keys of n are below all keys of o.
func (n *node) merge(o *node) *node {
	switch {
	case n == nil:
		return o
	case o == nil:
		return n
	case n.prio > o.prio:
		return n.with(n.left, n.right.merge(o))
	}
	return o.with(n.merge(o.left), o.right)
}

// put returns the treap with key set. Both slices are kept.
func (n *node) put(key, value []byte) *node {
	below, above := n.split(key)
	return below.merge(&node{key: key, value: value, prio: priority(key)}).merge(above)
}

func (n *node) remove(key []byte) *node {
	if _, ok := n.get(key); !ok {
		return n
	}
	below, above := n.split(key)
	return below.merge(above)
}

// walk calls f in key order until it returns false.
func (n *node) walk(f func(*node) bool) bool {
	return n == nil || n.left.walk(f) && f(n) && n.right.walk(f)
}

// cursor walks a treap from a bound; the stack holds the nodes still to be visited, the next one last.
type cursor struct {
	stack   []*node
	reverse bool
}

// seek starts at the first key >= bound, or, in reverse, at the last key < bound. An empty bound means the very end.
func (c *cursor) seek(n *node, bound []byte) {
	for n != nil {
		inside := len(bound) == 0 || (bytes.Compare(n.key, bound) >= 0) != c.reverse
		if inside {
			c.stack = append(c.stack, n)
		}
		if inside != c.reverse {
			n = n.left
		} else {
			n = n.right
		}
	}
}

// peek is the next node, or nil at the end.
func (c *cursor) peek() *node {
	if len(c.stack) == 0 {
		return nil
	}
	return c.stack[len(c.stack)-1]
}

func (c *cursor) advance() {
	n := c.peek()
	c.stack = c.stack[:len(c.stack)-1]
	if c.reverse {
		n = n.left
	} else {
		n = n.right
	}
	for n != nil {
		c.stack = append(c.stack, n)
		if c.reverse {
			n = n.right
		} else {
			n = n.left
		}
	}
}
