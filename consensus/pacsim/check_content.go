package pacsim

import (
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/invariant"
)

// content compares stores: at an equal decree all of them hold the same. Hashing a store visits all of it, so only some decrees
// are looked at.
type content struct{ s *Sim }

// contentStride: decrees that are multiples of it are looked at on every node.
const contentStride = 16

func (c *content) look(n *node, part int, store *mem.Store) {
	d := store.AppliedDecree()
	if d%contentStride != 0 || d == 0 {
		return
	}
	h := contentHash(store)
	seen := c.s.history.parts[part].content
	if old, ok := seen[d]; !ok {
		seen[d] = h
	} else if old != h {
		c.s.fail("content", part, "node %d holds other data at decree %d than another replica held", n.id, d)
	}
}

// eachRow walks a whole store.
func eachRow(store *mem.Store, visit func(key, value []byte)) {
	it, err := store.NewIterator(engine.IterOptions{Tier: engine.TierAll})
	if err != nil {
		invariant.Assertf(false, "iterator: %v", err)
	}
	defer it.Close()
	var rows engine.Rows
	for more := true; more; {
		var o engine.Outcome
		more, o, err = it.Next(&rows, engine.SliceLimit{MaxRows: 256})
		if o == engine.Failed {
			invariant.Assertf(false, "scan: %v", err)
		}
		rows.Each(func(key, value []byte) bool {
			visit(key, value)
			return true
		})
	}
}

func contentHash(store *mem.Store) uint64 {
	h := uint64(1)
	eachRow(store, func(key, value []byte) {
		h = mix(h, fingerprint(int64(len(key)), key))
		h = mix(h, fingerprint(int64(len(value)), value))
	})
	return h
}
