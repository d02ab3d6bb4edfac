package pacsim

import (
	"time"

	"pegasus/clientlib/route"
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// client issues one operation after the other, as an application does through clientlib: package route decides where each
// attempt goes, what its end means, and when meta is asked. Here is the driver that clientlib is in real time.
type client struct {
	s     *Sim
	id    int
	table route.Table
	metas route.Metas
	rnd   route.Rand

	part     int
	op       *op
	attempts route.Attempts
	deadline int64
	busy     bool   // an operation is under way
	version  uint64 // of the map that the attempt was routed by
	turn     uint64 // of attempts: an answer to an older one finds nobody
	parked   bool   // waits for a pause to end, or for news from meta

	asking   uint64 // counts questions: an answer to an older one finds nobody
	alarmed  bool   // asks when the distance between questions is over
	question route.Question
}

const (
	clientTimeout = second
	clientBackOff = 50 * millisecond
	hotKeys       = 3 // per partition
)

// repeatsLostWrites is a bug that can be planted into all clients: a write whose answer was lost is sent again.
var repeatsLostWrites bool

func (s *Sim) clientEndpoint() int { return s.o.Nodes + s.o.Metas }

func newClient(s *Sim, id int) *client {
	c := &client{s: s, id: id, rnd: route.Rand(s.rng.Uint64())}
	c.table.Rand, c.metas.Rand = route.Rand(s.rng.Uint64()), route.Rand(s.rng.Uint64())
	var metas []string
	for i := range s.metas.metas {
		metas = append(metas, metaAddress(i).String())
	}
	c.metas.Set(metas)
	return c
}

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

// perform begins an operation; the client goes on when it has ended.
func (c *client) perform(part int, o *op) {
	c.part, c.op, c.attempts, c.deadline, c.busy = part, o, route.Attempts{}, c.s.q.now+clientTimeout, true
	c.try()
}

// try makes one attempt. What came before was certainly not executed, so the operation counts from here.
func (c *client) try() {
	s, o := c.s, c.op
	c.turn++
	c.parked = false
	turn := c.turn
	m := c.table.Map()
	if m == nil || m.Entries[c.part].Primary == "" {
		c.version = 0
		if m != nil {
			c.version = m.Version
		}
		c.judge(route.Unsent, proto.ErrOK, cell{})
		return
	}
	c.version = m.Version
	o.called = s.q.now
	address, _ := proto.ParseHostPort(m.Entries[c.part].Primary)
	to := int(address.Port - nodeAddress(0).Port)
	n, part := s.nodes[to], c.part
	if !s.net.reliable(s.clientEndpoint(), to, func() {
		n.run(n.life, func() {
			life := n.life
			n.handle(part, &request{op: o, answer: func(err proto.ErrCode, result cell) {
				if n.life == life && !s.net.reliable(to, s.clientEndpoint(), func() { c.ended(turn, route.Replied, err, result) }) {
					c.later(turn, s.rng.Int64N(second), route.Lost)
				}
			}})
		})
	}) {
		c.later(turn, s.rng.Int64N(second), route.Lost)
	}
	c.later(turn, c.deadline-s.q.now, route.Late)
	s.q.after(int64(route.SuspectAfter), func() {
		if c.turn == turn {
			c.suspect()
		}
	})
}

// later ends the attempt after d unless it has ended before.
func (c *client) later(turn uint64, d int64, how route.Outcome) {
	c.s.q.after(d, func() { c.ended(turn, how, proto.ErrOK, cell{}) })
}

func (c *client) ended(turn uint64, how route.Outcome, err proto.ErrCode, result cell) {
	if c.turn == turn {
		c.judge(how, err, result)
	}
}

// suspect has meta asked about the partition, and tells whether there is news already.
func (c *client) suspect() (newer bool) {
	newer = c.table.Suspect(int32(c.part), c.version)
	c.ask()
	return newer
}

// judge decides what becomes of the operation after an attempt.
func (c *client) judge(how route.Outcome, err proto.ErrCode, result cell) {
	s, o := c.s, c.op
	c.turn++
	turn := c.turn
	v := c.attempts.Judge(o.kind != opGet, how, err, time.Duration(c.deadline-s.q.now), &c.rnd)
	if v.Suspect && c.suspect() {
		v.Pause = 0
	}
	if repeatsLostWrites && how == route.Lost && c.deadline > s.q.now {
		v.Step = route.Again
	}
	switch v.Step {
	case route.Again:
		c.parked = v.Suspect
		s.q.after(int64(v.Pause), func() {
			if c.turn == turn {
				c.try()
			}
		})
		return
	case route.Done:
		o.done, o.returned, o.result = true, s.q.now, result
		s.answered++
		s.lastSuccess[c.part] = s.q.now
		if o.kind == opGet || o.kind == opIncr || o.kind == opCAS {
			s.lastSeen[o.key] = result
		}
		s.seen.add(*o)
		s.trace.hash = mix(s.trace.hash, uint64(result.value)+uint64(o.called))
		c.next(s.rng.Int64N(2 * s.o.Think))
	case route.Doubtful:
		s.unanswered++
		s.seen.add(*o)
		c.next(clientBackOff)
	default:
		s.refused++
		c.next(clientBackOff + s.rng.Int64N(clientBackOff))
	}
	c.busy = false
}

// ask carries the next question about the table to a meta, if one is due.
func (c *client) ask() {
	s := c.s
	q, wait, ok := c.table.Next(time.Duration(s.q.now))
	switch {
	case ok:
		c.question = q
		c.carry()
	case wait >= 0 && !c.alarmed:
		c.alarmed = true
		s.q.after(int64(wait), func() {
			c.alarmed = false
			c.ask()
		})
	}
}

// carry sends the question to the meta that is to be asked now.
func (c *client) carry() {
	s := c.s
	c.asking++
	asking := c.asking
	from := c.metas.Pick()
	address, _ := proto.ParseHostPort(from)
	m := s.metas.metas[int(address.Port-metaAddress(0).Port)]
	failed := func() {
		if c.asking == asking {
			c.carryOn(c.metas.Failed(from))
		}
	}
	req := &proto.QueryCfgRequest{AppName: tableName, PartitionIndices: c.question.Partitions}
	if !s.net.reliable(s.clientEndpoint(), m.endpoint(), func() {
		life := m.life
		if !m.up {
			s.net.reliable(m.endpoint(), s.clientEndpoint(), failed) // refuses the connection
			return
		}
		m.ask(req, func(r core.Reply) {
			if m.life == life {
				s.net.reliable(m.endpoint(), s.clientEndpoint(), func() {
					if c.asking == asking {
						c.told(from, r.Body.(*proto.QueryCfgResponse))
					}
				})
			}
		})
	}) {
		s.q.after(s.rng.Int64N(second), failed)
	}
	s.q.after(int64(route.MetaPatience), failed)
}

// carryOn asks again after a pause.
func (c *client) carryOn(pause time.Duration) {
	c.asking++
	asking := c.asking
	c.s.q.after(int64(pause), func() {
		if c.asking == asking {
			c.carry()
		}
	})
}

// told takes the answer of a meta.
func (c *client) told(from string, resp *proto.QueryCfgResponse) {
	leader := ""
	if resp.Err == proto.ErrForwardToOthers && len(resp.Partitions) == 1 {
		leader = resp.Partitions[0].HPPrimary.String()
	}
	if again, pause := c.metas.Answered(from, resp.Err, leader); again {
		c.carryOn(pause)
		return
	}
	c.asking++
	changed, err := c.table.Answer(time.Duration(c.s.q.now), resp)
	if err != nil {
		c.s.fail("client", c.part, "%v", err)
		return
	}
	if changed && c.parked {
		c.try()
	}
	c.ask()
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
	c := newClient(s, s.o.Clients)
	for key, part := range s.keyPart {
		o := &op{kind: opGet, key: key, client: c.id}
		for until := s.q.now + restPatience; !o.done; {
			if s.q.now >= until {
				s.fail("live", part, "key %d is not read within %d s although nothing else goes on", key, restPatience/second)
			}
			if s.failure != nil {
				return
			}
			c.perform(part, o)
			for c.busy && s.failure == nil {
				s.runFor(5 * millisecond)
			}
		}
	}
}
