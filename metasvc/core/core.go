package core

import (
	"time"

	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Options are the settings of a meta server. They never influence how a committed command is applied.
type Options struct {
	Self   proto.HostPort   // advertised address, where clients and nodes reach this meta
	SelfIP proto.RPCAddress // the same as clients of Apache Pegasus need it
	// Origin names the proposals of this process; it must differ between processes and between starts of one.
	Origin       uint64
	ClusterName  string
	Metas        []string // advertised addresses of the group, for RPC_CM_CLUSTER_INFO
	Coordinators []string // addresses of the journal's members, likewise

	// Level is the configured function level. The effective one is lower while too few nodes live, see effectiveLevel.
	Level          proto.MetaFunctionLevel
	MinLiveNodes   int
	LivePercentage int
	// A table may have MinReplicas to MaxReplicas replicas, and never more than there are live nodes.
	MinReplicas int32
	MaxReplicas int32
	// HoldSeconds is how long a dropped table is remembered when the request does not say.
	HoldSeconds int64
	// Grace is how long a node may be silent before it counts as dead. It must be longer than the leases that nodes give
	// each other.
	Grace time.Duration
	// MinWriteReplicas is how many members a partition must have to take writes; 0: a majority of what its table wants.
	MinWriteReplicas int32
	// AssignDelay is how long the guardian waits for a lost member to come back before it has another node copy
	// everything, as long as enough members remain.
	AssignDelay time.Duration
	// AddsPerNode is how many secondaries are added to a node at a time. Default 10.
	AddsPerNode int
	// StaleDelay is how long a replica on a node must have been without use before it is discarded.
	StaleDelay time.Duration
	// BalancePeriod is how often the leader looks whether the cluster is uneven, at level lively. Default 10 s.
	BalancePeriod time.Duration
	// Recovering has a group without any state wait for RPC_CM_START_RECOVERY: no node is taken in, nothing is served.
	Recovering bool
}

// Limits of the cluster and of the work in flight.
const (
	maxNameLen         = 1024
	maxEnvBytes        = 1 << 20 // of one request, keys and values together
	maxAppPartitions   = 1 << 16
	maxPartitions      = 1 << 20
	maxWaiting         = 4096
	maxAssignsPerNode  = 32
	maxAddsPerNode     = 10   // secondaries being added to a node, unless configured otherwise
	freeAddsPerNode    = 1000 // the same when an operator lifted the limit
	looksPerEvent      = 64   // partitions in need that are looked at when something happened
	looksPerTick       = 4096 // and when time passes
	assignTimeout      = 5 * time.Second
	maxAssignTimeout   = 40 * time.Second
	shunTime           = 30 * time.Second
	resendAfter        = time.Second
	housekeepingPeriod = time.Second
)

// Role is the place of this meta in its group.
type Role uint8

// The roles. Only Leading answers; Electing has been elected and still has to catch up with the journal.
const (
	Following Role = iota
	Electing
	Leading
)

// Core is the meta server. Not safe for concurrent use.
type Core struct {
	opt    Options
	st     *State
	role   Role
	leader Leadership
	delta  Delta

	// What follows is volatile: rebuilt when this meta becomes the leader, dropped when it is no more.

	// waiting holds what to answer when a proposal of ours is committed. Invariant: at most maxWaiting.
	waiting map[uint64]waiter
	seq     uint64
	// members is sorted by id and mirrors State.nodes.
	members []*member
	byID    map[proto.NodeID]*member
	byLink  map[uint64]*member

	guardian
	news         []proto.NodeID // nodes that the others must be told of
	expiring     bool           // an ExpireApps is proposed and not committed
	runs         map[int64]*jobRun
	jobsAt       int64 // monotonic time of the next look at jobs
	balanceAt    int64 // and at whether the cluster is uneven
	leadingSince int64
	rescue       rescue
	counted      operations
	housekeeping int64 // monotonic time of the next housekeeping
}

// waiter is whoever waits for a command: a client by token, or a node by link.
type waiter struct {
	token uint64
	args  any
	link  uint64
	seq   uint64
}

// New returns a meta server that follows, with the state of an unused cluster.
func New(opt Options) *Core {
	if opt.AddsPerNode == 0 {
		opt.AddsPerNode = maxAddsPerNode
	}
	if opt.BalancePeriod == 0 {
		opt.BalancePeriod = 10 * time.Second
	}
	return &Core{opt: opt, st: NewState()}
}

// State returns the replicated state, for reading.
func (c *Core) State() *State { return c.st }

// Role returns the place in the group.
func (c *Core) Role() Role { return c.role }

// Step works off one event and appends to out what follows from it. An error is fatal: the process must end.
func (c *Core) Step(now Now, ev Event, out *Effects) error {
	switch e := ev.(type) {
	case Committed:
		return c.committed(now, e, out)
	case Restored:
		invariant.Assertf(c.role != Leading, "state replaced by a snapshot on the leader")
		c.st = e.State
	case Leadership:
		c.lead(now, e, out)
	case Refused:
		c.refused(e, out)
	case Tick:
		c.tick(now, out)
	case Request:
		c.request(now, e, out)
	case Hello:
		c.hello(now, e, out)
	case Beacon:
		c.beacon(now, e, out)
	case Report:
		c.report(e)
	case Status:
		c.status(now, e, out)
	case Group:
		c.regroup(now, e, out)
	case Update:
		c.update(e, out)
	case LinkClosed:
		c.linkClosed(now, e.Link, out)
	case Observed:
		c.observed(e, out)
	default:
		invariant.Assertf(false, "event %T", ev)
	}
	c.spread(now, out)
	return nil
}

// lead enters a role. A new leader trusts nobody's word of before: every node counts as alive for one grace, within which
// it must be heard, and gets proposals only once it said Hello.
func (c *Core) lead(now Now, e Leadership, out *Effects) {
	was := c.role
	c.role, c.leader = e.Role, e
	if was == Leading {
		for _, seq := range sortedKeys(c.waiting) {
			c.lost(c.waiting[seq], out)
		}
		c.waiting, c.members, c.byID, c.byLink = nil, nil, nil, nil
		c.guardian, c.news, c.runs = guardian{}, nil, nil
		c.rescue = rescue{}
	}
	if c.role != Leading {
		return
	}
	c.waiting = make(map[uint64]waiter)
	c.byID = make(map[proto.NodeID]*member)
	c.byLink = make(map[uint64]*member)
	c.runs = make(map[int64]*jobRun)
	c.expiring = false
	c.housekeeping, c.jobsAt, c.leadingSince = now.Mono, now.Mono, now.Mono
	c.balanceAt = now.Mono + int64(c.opt.BalancePeriod)
	c.guardian.init()
	for _, n := range c.st.Nodes() {
		c.addMember(n.ID, now)
	}
	for _, a := range c.st.apps {
		if !a.available() {
			continue
		}
		for i := range a.Partitions {
			g := proto.GPID{App: a.Info.AppID, Part: int32(i)}
			c.countAll(g.App, a.Partitions[i].Primary, a.Partitions[i].Secondaries, 1)
			c.watch(g)
		}
	}
}

func (c *Core) committed(now Now, e Committed, out *Effects) error {
	cmd, err := ParseCommand(e.Data)
	if err != nil {
		return err
	}
	res := c.st.applyNoted(e.At, &cmd, &c.delta)
	if c.role != Leading {
		return nil
	}
	if b, ok := cmd.Body.(*ExpireApps); ok && b.Now > 0 {
		c.expiring = false
	}
	c.index(now)
	c.spread(now, out) // before anything that speaks of a new node
	if cmd.Origin == c.opt.Origin {
		if w, ok := c.waiting[cmd.Seq]; ok {
			delete(c.waiting, cmd.Seq)
			c.answer(now, w, res, out)
		}
		if cmd.Kind == CommandMoveJob {
			c.jobMoved(cmd.Seq)
		}
		if g, ok := changes(cmd.Body); ok && c.changing[g] == cmd.Seq {
			delete(c.changing, g)
			if cmd.Kind == CommandAppoint && res.Err == proto.ErrOK {
				c.appointed[g] = now.Mono
			}
			c.watch(g)
		}
	}
	c.push(now, out)
	c.guard(now, looksPerEvent, out)
	return nil
}

// changes tells which partition a command changes, if it is one that waits in guardian.changing.
func changes(body any) (g proto.GPID, ok bool) {
	switch b := body.(type) {
	case *Reconfigure:
		return b.Update.Config.GPID, true
	case *Appoint:
		return b.GPID, true
	}
	return g, false
}

// index brings the volatile books up to date with c.delta.
func (c *Core) index(now Now) {
	for _, id := range c.delta.Nodes {
		switch m := c.byID[id]; {
		case c.st.Node(id) == nil && m != nil:
			c.removeMember(m)
		case c.st.Node(id) != nil && m == nil:
			c.addMember(id, now)
		}
		c.news = append(c.news, id)
	}
	for _, ch := range c.delta.Parts {
		c.settled(ch.GPID)
		p := c.st.Partition(ch.GPID)
		c.countAll(ch.GPID.App, ch.OldPrimary, ch.OldSecondaries, -1)
		c.countAll(ch.GPID.App, p.Primary, p.Secondaries, 1)
		if len(ch.OldSecondaries)+1 > p.members() && !ch.OldPrimary.IsZero() {
			c.dropped[ch.GPID] = now.Mono
		}
		if !c.st.App(ch.GPID.App).available() {
			delete(c.plans, ch.GPID)
			delete(c.dropped, ch.GPID)
			delete(c.ahead, ch.GPID)
			delete(c.appointed, ch.GPID)
		}
		c.watch(ch.GPID)
	}
	for _, id := range c.delta.Jobs {
		c.jobChanged(id)
	}
	for _, id := range c.delta.Apps {
		if a := c.st.App(id); a != nil {
			for i := range a.Partitions {
				if !a.Partitions[i].Primary.IsZero() { // those that have none are waiting already
					c.watch(proto.GPID{App: id, Part: int32(i)})
				}
			}
		}
	}
}

// propose hands a command to the journal. Nothing waits for it when w is the zero waiter. It returns the number of the
// proposal, 0 when there are too many.
func (c *Core) propose(kind CommandKind, body any, w waiter, out *Effects) uint64 {
	if w != (waiter{}) && len(c.waiting) >= maxWaiting {
		c.answerErr(w, proto.ErrBusy, out)
		return 0
	}
	c.seq++
	if w != (waiter{}) {
		c.waiting[c.seq] = w
	}
	cmd := Command{Kind: kind, Origin: c.opt.Origin, Seq: c.seq, Body: body}
	out.Propose = append(out.Propose, Proposed{Seq: c.seq, Data: AppendCommand(nil, &cmd)})
	return c.seq
}

// refused ends a proposal that the journal did not take.
func (c *Core) refused(e Refused, out *Effects) {
	c.jobMoved(e.Seq)
	for g, seq := range c.changing {
		if seq == e.Seq {
			delete(c.changing, g)
			c.watch(g)
			break
		}
	}
	w, ok := c.waiting[e.Seq]
	if !ok {
		c.expiring = false
		return
	}
	delete(c.waiting, e.Seq)
	c.answerErr(w, proto.ErrBusy, out)
}

// lost answers a waiter whose command may or may not be carried out by the next leader: ERR_TIMEOUT is the honest
// answer.
func (c *Core) lost(w waiter, out *Effects) {
	if w.link == 0 {
		out.Reply = append(out.Reply, Reply{Token: w.token, Err: proto.ErrTimeout})
		return
	}
	c.answerErr(w, proto.ErrTimeout, out)
}

func (c *Core) tick(now Now, out *Effects) {
	if c.role != Leading {
		return
	}
	for _, m := range c.members {
		if m.alive && now.Mono-m.heard > int64(c.opt.Grace) {
			c.setAlive(m, false)
			c.abandon(m)
			c.watchNode(m)
		}
	}
	c.expireAsks(now)
	if now.Mono >= c.housekeeping {
		c.housekeeping = now.Mono + int64(housekeepingPeriod)
		c.expire(now, out)
	}
	c.runJobs(now, out)
	c.autoBalance(now, out)
	c.guard(now, looksPerTick, out)
}

func (c *Core) expire(now Now, out *Effects) {
	if c.expiring {
		return
	}
	for _, a := range c.st.apps {
		if a.Info.Status == proto.AppDropped && a.Info.ExpireSecond <= now.Unix {
			c.expiring = true
			c.propose(CommandExpireApps, &ExpireApps{Now: now.Unix}, waiter{}, out)
			return
		}
	}
}
