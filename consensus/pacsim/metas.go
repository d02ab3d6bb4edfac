package pacsim

import (
	"fmt"
	"time"

	"pegasus/metasvc/core"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// metaGroup is the meta servers around one journal. The journal stands for Raft: entries are committed in one order, only by
// the leader of the newest term, and what a deposed leader proposed is either in the journal before the next term or never. A
// deposed leader does not know it at once and answers from what it has.
type metaGroup struct {
	s       *Sim
	metas   []*meta
	journal [][]byte
	leader  int // -1: none
	term    int
	token   uint64
	waiting map[uint64]func(core.Reply)
	slow    int64 // extra time that a commit takes
	outage  bool
}

type meta struct {
	group    *metaGroup
	id       int
	core     *core.Core
	up       bool
	life     int // grows with every start
	applied  int // entries of the journal
	term     int // in which it leads, by its own belief; 0: follows
	inflight []core.Proposed
	conns    map[uint64]*conn

	lastRound int64 // true time at which the newest of inflight is committed
}

// Times of the meta group.
const (
	metaTick       = 200 * millisecond
	metaGrace      = 5 * second
	electionTime   = 300 * millisecond
	deposedUnaware = 500 * millisecond
)

const (
	clusterName = "pacsim"
	tableName   = "t"
	tableID     = 1
)

func metaAddress(id int) proto.HostPort { return proto.NewHostPort("127.0.1.1", uint16(34601+id)) }

func newMetaGroup(s *Sim, n int) *metaGroup {
	g := &metaGroup{s: s, leader: -1, waiting: map[uint64]func(core.Reply){}}
	for i := range n {
		m := &meta{group: g, id: i}
		g.metas = append(g.metas, m)
		m.start()
	}
	return g
}

func (m *meta) endpoint() int { return m.group.s.o.Nodes + m.id }

// start begins a life with nothing but the journal.
func (m *meta) start() {
	s := m.group.s
	m.up, m.life, m.term, m.applied = true, m.life+1, 0, 0
	m.conns = map[uint64]*conn{}
	m.inflight = nil
	m.core = core.New(metaOptions(m.id, m.life, s.o))
	m.catchUp()
	m.step(core.Leadership{Role: core.Following})
	m.tick(m.life)
}

func metaOptions(id, life int, o Options) core.Options {
	opt := core.Options{
		Self: metaAddress(id), Origin: uint64(id)<<32 | uint64(life), ClusterName: clusterName, Level: proto.LevelSteady,
		MinLiveNodes: 1, LivePercentage: 0, MinReplicas: 1, MaxReplicas: 5, HoldSeconds: 100, Grace: time.Duration(metaGrace),
	}
	for i := range o.Metas {
		opt.Metas = append(opt.Metas, metaAddress(i).String())
		opt.Coordinators = append(opt.Coordinators, metaAddress(i).String())
	}
	return opt
}

// catchUp applies what the journal has and this meta has not.
func (m *meta) catchUp() {
	for m.up && m.applied < len(m.group.journal) {
		m.applied++
		m.step(core.Committed{Data: m.group.journal[m.applied-1]})
	}
}

func (m *meta) tick(life int) {
	m.group.s.q.after(metaTick, func() {
		if m.up && m.life == life {
			if m.term == 0 {
				m.catchUp()
			}
			m.step(core.Tick{})
			m.tick(life)
		}
	})
}

func (m *meta) now() core.Now {
	t := m.group.s.q.now
	return core.Now{Mono: t + int64(m.id)*second, Unix: t / second}
}

func (m *meta) step(ev core.Event) {
	var out core.Effects
	if err := m.core.Step(m.now(), ev, &out); err != nil {
		invariant.Assertf(false, "meta %d: %v", m.id, err)
	}
	for _, p := range out.Propose {
		m.propose(p)
	}
	for _, send := range out.Send {
		if c := m.conns[send.Link]; c != nil {
			c.toNode(send.Kind, send.Seq, proto.Marshal(nil, send.Msg))
		}
	}
	for _, r := range out.Reply {
		if f := m.group.waiting[r.Token]; f != nil {
			delete(m.group.waiting, r.Token)
			f(r)
		}
	}
}

// propose brings an entry to the journal after the time of a round among metas. Entries keep their order, as Raft's do.
func (m *meta) propose(p core.Proposed) {
	g, s := m.group, m.group.s
	m.inflight = append(m.inflight, p)
	term, life := m.term, m.life
	m.lastRound = max(m.lastRound+1, s.q.now+millisecond+s.rng.Int64N(5*millisecond)+g.slow)
	s.q.after(m.lastRound-s.q.now, func() {
		if !m.up || m.life != life {
			return
		}
		i := m.proposed(p.Seq)
		if i < 0 {
			return
		}
		m.inflight = append(m.inflight[:i], m.inflight[i+1:]...)
		if term != g.term || g.leader != m.id {
			m.step(core.Refused{Seq: p.Seq})
			return
		}
		g.append(p.Data)
		m.catchUp()
	})
}

func (m *meta) proposed(seq uint64) int {
	for i := range m.inflight {
		if m.inflight[i].Seq == seq {
			return i
		}
	}
	return -1
}

// append commits an entry. The checkers look at every change of a register.
func (g *metaGroup) append(data []byte) {
	g.journal = append(g.journal, data)
	g.s.trace.hash = mix(g.s.trace.hash, fingerprint(int64(len(g.journal)), data))
	g.s.registers.apply(data)
}

// depose ends the leadership: what its leader had proposed is committed, in order up to a random point, or never.
func (g *metaGroup) depose() {
	if g.leader < 0 {
		return
	}
	s, m := g.s, g.metas[g.leader]
	for _, p := range m.inflight[:s.rng.IntN(len(m.inflight)+1)] {
		g.append(p.Data)
	}
	m.inflight, m.lastRound = nil, 0
	g.leader = -1
	g.term++
	s.note("meta %d leads no more", int64(m.id))
	if life := m.life; m.up {
		s.q.after(s.rng.Int64N(deposedUnaware), func() {
			if m.up && m.life == life && g.leader != m.id {
				m.follow()
			}
		})
	}
}

func (m *meta) follow() {
	m.term = 0
	e := core.Leadership{Role: core.Following}
	if l := m.group.leader; l >= 0 {
		e.Address = metaAddress(l)
	}
	m.step(e)
	m.catchUp()
}

// elect makes some running meta the leader after a while, if there still is none and a majority runs.
func (g *metaGroup) elect() {
	s := g.s
	s.q.after(electionTime/2+s.rng.Int64N(electionTime), func() {
		if g.leader >= 0 || g.outage {
			return
		}
		var up []*meta
		for _, m := range g.metas {
			if m.up {
				up = append(up, m)
			}
		}
		if 2*len(up) <= len(g.metas) {
			return
		}
		m := up[s.rng.IntN(len(up))]
		g.leader = m.id
		g.term++
		m.term = g.term
		s.note("meta %d leads", int64(m.id))
		m.step(core.Leadership{Role: core.Electing})
		m.catchUp()
		m.step(core.Leadership{Role: core.Leading, Address: metaAddress(m.id)})
		for _, other := range up {
			if other != m && other.term == 0 {
				other.follow()
			}
		}
	})
}

// crash ends a meta's life; its connections break.
func (m *meta) crash() {
	if !m.up {
		return
	}
	m.group.s.note("meta %d crashes", int64(m.id))
	if m.group.leader == m.id {
		m.group.depose()
	}
	m.up = false
	for _, link := range sortedLinks(m.conns) {
		m.conns[link].broken()
	}
	m.group.elect()
}

func (m *meta) restart() {
	if !m.up {
		m.group.s.note("meta %d starts", int64(m.id))
		m.start()
		m.group.elect()
	}
}

// ask hands a client's request to the leader; answer runs when and if it answers.
func (g *metaGroup) ask(args any, answer func(core.Reply)) bool {
	if g.leader < 0 {
		return false
	}
	g.metas[g.leader].ask(args, answer)
	return true
}

// ask hands a client's request to this meta, leader or not.
func (m *meta) ask(args any, answer func(core.Reply)) {
	g := m.group
	g.token++
	g.waiting[g.token] = answer
	m.step(core.Request{Token: g.token, Args: args})
}

// String names a meta in reports.
func (m *meta) String() string { return fmt.Sprintf("meta %d", m.id) }
