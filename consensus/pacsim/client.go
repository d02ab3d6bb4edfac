package pacsim

import (
	"slices"

	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// client issues one operation after the other, as a caller of clientlib sees it: the route is asked from meta and kept until an
// error; a refusal is tried again as a new operation; no answer means that the operation may have happened, and it is not
// repeated.
type client struct {
	s     *Sim
	id    int
	route []int // machine per partition, -1: unknown
	turn  uint64
}

const (
	clientTimeout = second
	clientBackOff = 50 * millisecond
	hotKeys       = 3 // per partition
)

func (s *Sim) clientEndpoint() int { return s.o.Nodes + s.o.Metas }

func (c *client) next(d int64) {
	c.s.q.after(d, func() {
		if !c.s.quiet {
			c.issue()
		}
	})
}

// issue starts an operation on a random key.
func (c *client) issue() {
	s := c.s
	part := s.rng.IntN(s.o.Partitions)
	o := &op{kind: opKind(s.rng.IntN(int(opKinds))), key: s.hotKey(part, s.rng.IntN(hotKeys)), client: c.id}
	switch o.kind {
	case opSet:
		s.values += valueStep
		o.arg = s.values
	case opIncr:
		o.arg = 1 + s.rng.Int64N(9)
	case opCAS:
		s.values += valueStep
		o.arg, o.expect = s.values, s.lastSeen[o.key]
	case opGet:
	case opDel:
		if s.rng.IntN(2) == 0 {
			o.kind = opGet
		}
	}
	c.perform(part, o)
}

// perform sends o; the client goes on when it is answered or given up.
func (c *client) perform(part int, o *op) {
	s := c.s
	to := c.route[part]
	if to < 0 {
		c.refresh(part)
		c.next(clientBackOff)
		return
	}
	c.turn++
	turn := c.turn
	o.called = s.q.now
	s.net.reliable(s.clientEndpoint(), to, func() {
		n := s.nodes[to]
		n.run(n.life, func() {
			life := n.life
			n.handle(part, &request{op: o, answer: func(err proto.ErrCode, result cell) {
				if n.life != life {
					return
				}
				s.net.reliable(to, s.clientEndpoint(), func() {
					if c.turn == turn {
						c.answered(part, o, err, result)
					}
				})
			}})
		})
	})
	s.q.after(clientTimeout, func() {
		if c.turn == turn {
			c.answered(part, o, proto.ErrTimeout, cell{})
		}
	})
}

func (c *client) answered(part int, o *op, err proto.ErrCode, result cell) {
	s := c.s
	c.turn++
	switch err {
	case proto.ErrOK:
		o.done, o.returned, o.result = true, s.q.now, result
		s.answered++
		s.lastSuccess[part] = s.q.now
		if o.kind == opGet || o.kind == opIncr || o.kind == opCAS {
			s.lastSeen[o.key] = result
		}
		s.seen.add(*o)
		s.trace.hash = mix(s.trace.hash, uint64(result.value)+uint64(o.called))
		c.next(s.rng.Int64N(2 * s.o.Think))
	case proto.ErrTimeout:
		s.unanswered++
		c.route[part] = -1
		if o.kind != opGet {
			s.seen.add(*o)
		}
		c.next(clientBackOff)
	default:
		s.refused++
		c.route[part] = -1
		c.next(clientBackOff + s.rng.Int64N(clientBackOff))
	}
}

// refresh asks the meta leader for the route.
func (c *client) refresh(part int) {
	s := c.s
	leader := s.metas.leader
	if leader < 0 {
		return
	}
	m := s.metas.metas[leader]
	s.net.reliable(s.clientEndpoint(), m.endpoint(), func() {
		if !m.up || s.metas.leader != leader {
			return
		}
		s.metas.ask(&proto.QueryCfgRequest{AppName: tableName, PartitionIndices: []int32{int32(part)}}, func(r core.Reply) {
			resp, ok := r.Body.(*proto.QueryCfgResponse)
			if !ok || resp.Err != proto.ErrOK {
				return
			}
			to := -1
			if p := resp.Partitions[0].HPPrimary; p.IsValid() {
				to = int(p.Port - nodeAddress(0).Port)
			}
			s.net.reliable(m.endpoint(), s.clientEndpoint(), func() { c.route[part] = to })
		})
	})
}

// hotKey is one of the keys in use of a partition. A key that has seen enough gives way to a new one.
func (s *Sim) hotKey(part, i int) int {
	if s.seen.full(s.hot[part][i]) {
		s.hot[part][i] = s.newKey(part)
	}
	return s.hot[part][i]
}

func (s *Sim) newKey(part int) int {
	s.keyPart = append(s.keyPart, part)
	s.lastSeen = append(s.lastSeen, cell{})
	return len(s.keyPart) - 1
}

// restPatience is how long one read may take at rest. It is far more than a replica needs to be replaced: a read may be
// what finds a rotten block.
const restPatience = 60 * second

// readAll reads every key once when the cluster is at rest, so that the histories end with what is left.
func (s *Sim) readAll() {
	c := &client{s: s, id: s.o.Clients, route: slices.Repeat([]int{-1}, s.o.Partitions)}
	for part := range c.route {
		c.route[part] = s.slot(s.registers.parts[part].now.Primary)
	}
	for key, part := range s.keyPart {
		o := &op{kind: opGet, key: key, client: c.id}
		for until := s.q.now + restPatience; !o.done; {
			if s.q.now >= until {
				s.fail("live", part, "key %d is not read within %d s although nothing else goes on", key, restPatience/second)
			}
			if s.failure != nil {
				return
			}
			routed := c.route[part] >= 0
			c.perform(part, o)
			if !routed {
				s.runFor(clientBackOff) // perform has only asked for the route
				continue
			}
			for turn := c.turn; c.turn == turn && s.failure == nil; {
				s.runFor(5 * millisecond)
			}
		}
	}
}
