package core

import (
	"pegasus/metasvc/balance"
	"pegasus/netcore/proto"
)

// Balance as a job: package balance plans, plans are carried out a few at a time, and when they are done it is planned anew
// from what is there then. At level lively the leader begins such a job by itself when the cluster is at rest and uneven.

// Limits of what a balance has under way: hand-overs, copies in all, copies to one node, and moves that are counted ahead.
const (
	maxBalanceHandOvers = 16
	maxBalanceCopies    = 10
	maxBalanceCopiesTo  = 2
	countedMoves        = 256
	maxMoveTries        = 2 // times that a partition's move is given up before the job leaves it alone
	// surveyAgain is after how long a cluster is looked at again in which no register changed: loads may have.
	surveyAgain = 60e9
)

// operations are the moves that would make the cluster even, as last counted.
type operations struct {
	movePrimary, copyPrimary, copySecondary int
	revision, at                            int64 // of the state that was looked at, and when
}

// draw makes the picture that package balance plans from, and the nodes that its indices mean.
func (c *Core) draw(r *jobRun) (*balance.Cluster, []*member) {
	var nodes []*member
	index := make(map[proto.NodeID]int, len(c.members))
	pic := &balance.Cluster{}
	for _, m := range c.members {
		index[m.id] = len(nodes)
		nodes = append(nodes, m)
		n := balance.Node{Zone: c.st.Node(m.id).Zone}
		if m.usable() && c.st.Node(m.id).Mode == NodeInService {
			n.Gives, n.Takes = true, !m.full() && !c.blackListed(m.id)
		}
		for i := range m.disks {
			n.Capacity += m.disks[i].CapacityMB
		}
		pic.Nodes = append(pic.Nodes, n)
	}
	ignored := c.st.ids(OptIgnoredApps)
	for _, a := range c.st.apps {
		if !a.available() {
			continue
		}
		t := balance.Table{ID: a.Info.AppID, Partitions: make([]balance.Partition, len(a.Partitions))}
		for _, id := range ignored {
			t.Fixed = t.Fixed || id == a.Info.AppID
		}
		secondaries := make([]int, 0, len(a.Partitions)*max(0, int(a.Info.MaxReplicaCount)-1))
		for i := range a.Partitions {
			p, g := &a.Partitions[i], proto.GPID{App: a.Info.AppID, Part: int32(i)}
			q := balance.Partition{Primary: -1}
			if at, ok := index[p.Primary]; ok {
				q.Primary = at
				l := nodes[at].loads[g]
				q.Bytes, q.Reads, q.Writes = l.Bytes, l.ReadsPerSec, l.WritesPerSec
			}
			from := len(secondaries)
			for _, n := range p.Secondaries {
				if at, ok := index[n]; ok {
					secondaries = append(secondaries, at)
				}
			}
			q.Secondaries = secondaries[from:len(secondaries):len(secondaries)]
			q.Fixed = q.Primary < 0 || !c.sound(a, g) || c.asks[g] != nil || c.moving(g) || r != nil && r.tries[g] >= maxMoveTries
			t.Partitions[i] = q
		}
		pic.Tables = append(pic.Tables, t)
	}
	return pic, nodes
}

func (c *Core) balanceOptions(app int32, limit int) balance.Options {
	return balance.Options{
		MaxMoves: limit, Table: app, InTurn: c.st.flag(OptInTurn), OnlyPrimaries: c.st.flag(OptOnlyPrimaries),
		OnlyHandOvers: c.st.flag(OptOnlyMovePrimary),
	}
}

// atRest tells whether nothing is being cured, filled or emptied; else why not.
func (c *Core) atRest() (bool, string) {
	for _, j := range c.st.jobs {
		if j.Status == JobRunning && (j.Kind == JobDrain || j.Kind == JobDecommission) {
			return false, "a node is being emptied"
		}
	}
	if len(c.fresh)+len(c.ill[0])+len(c.ill[1]) > 0 {
		return false, "partitions are being cured"
	}
	for _, as := range c.asks {
		if as.to != nil {
			return false, "changes that were proposed before are under way"
		}
	}
	return true, ""
}

// balanceMoves is the only step of a balance.
func (c *Core) balanceMoves(_ Now, j *Job, _ *Effects) (st stepState) {
	r := c.runs[j.ID]
	if a := c.st.App(j.App); j.App != 0 && (a == nil || !a.available()) {
		return stepState{failed: "the table was dropped"}
	}
	for g, steps := range r.planned {
		if len(c.plans[g].steps) == 0 {
			if !c.arrived(g, steps) {
				r.tries[g]++
			}
			delete(r.planned, g)
		}
	}
	if busy := len(r.planned); busy > 0 {
		return stepState{left: max(r.left-r.ended(busy), int64(busy))}
	}
	if rest, why := c.atRest(); !rest {
		return stepState{left: max(r.left, 1), waiting: why}
	}
	pic, nodes := c.draw(r)
	moves := balance.Plan(pic, c.balanceOptions(j.App, countedMoves))
	st.left = int64(len(moves))
	r.planned = make(map[proto.GPID][]planStep)
	handOvers, copies, to := 0, 0, make(map[int]int)
	for _, m := range moves {
		g := proto.GPID{App: pic.Tables[m.Table].ID, Part: int32(m.Part)}
		if _, twice := r.planned[g]; twice {
			continue // it builds on one that is not done yet
		}
		switch {
		case m.Kind == balance.HandOver && handOvers < maxBalanceHandOvers:
			handOvers++
		case m.Kind != balance.HandOver && copies < maxBalanceCopies && to[m.To] < maxBalanceCopiesTo:
			copies++
			to[m.To]++
		default:
			continue
		}
		steps := planOfMove(m, nodes)
		r.planned[g] = steps
		c.setPlan(g, steps, j.ID)
	}
	r.busy = len(r.planned)
	return st
}

// ended counts the moves that ended since the last look.
func (r *jobRun) ended(busy int) int64 {
	n := r.busy - busy
	r.busy = busy
	return int64(n)
}

func planOfMove(m balance.Move, nodes []*member) []planStep {
	from, to := nodes[m.From].id, nodes[m.To].id
	switch m.Kind {
	case balance.HandOver:
		return []planStep{{proto.CTUpgradeToPrimary, to}}
	case balance.CopyPrimary:
		return []planStep{{proto.CTAddSecondary, to}, {proto.CTUpgradeToPrimary, to}, {proto.CTRemove, from}}
	}
	return []planStep{{proto.CTAddSecondary, to}, {proto.CTRemove, from}}
}

// arrived tells whether the register shows what a plan wanted.
func (c *Core) arrived(g proto.GPID, steps []planStep) bool {
	p := c.st.Partition(g)
	if p == nil {
		return false
	}
	for _, s := range steps {
		switch s.typ {
		case proto.CTAddSecondary:
			if !p.isMember(s.node) {
				return false
			}
		case proto.CTRemove:
			if p.isMember(s.node) {
				return false
			}
		case proto.CTUpgradeToPrimary:
			if p.Primary != s.node {
				return false
			}
		}
	}
	return true
}

// autoBalance looks from time to time whether the cluster is uneven, and at level lively begins to even it out.
func (c *Core) autoBalance(now Now, out *Effects) {
	if now.Mono < c.balanceAt {
		return
	}
	c.balanceAt = now.Mono + int64(c.opt.BalancePeriod)
	if c.effectiveLevel() < proto.LevelSteady {
		return
	}
	for _, j := range c.st.jobs {
		if j.active() && j.Kind == JobBalance {
			return
		}
	}
	rest, _ := c.atRest()
	alive, all := c.census()
	if !rest || alive < all || c.counted.revision == c.st.revision && now.Mono-c.counted.at < surveyAgain {
		return
	}
	c.survey(now)
	if n := c.counted; c.effectiveLevel() >= proto.LevelLively && n.movePrimary+n.copyPrimary+n.copySecondary > 0 {
		c.propose(CommandStartJob, &StartJob{Job: Job{Kind: JobBalance, Auto: true, Started: now.Unix, Changed: now.Unix}},
			waiter{}, out)
	}
}

// survey plans without doing.
func (c *Core) survey(now Now) {
	pic, _ := c.draw(nil)
	n := operations{revision: c.st.revision, at: now.Mono}
	for _, m := range balance.Plan(pic, c.balanceOptions(0, countedMoves)) {
		switch m.Kind {
		case balance.HandOver:
			n.movePrimary++
		case balance.CopyPrimary:
			n.copyPrimary++
		case balance.CopySecondary:
			n.copySecondary++
		}
	}
	c.counted = n
}

// operationCount is what RPC_CM_CLUSTER_INFO shows: the moves that a balance would have to make, as last counted.
func (c *Core) operationCount() operations { return c.counted }

// Operations returns the same for the remote command; known is false before anything was counted.
func (c *Core) Operations() (movePrimary, copyPrimary, copySecondary int, known bool) {
	return c.counted.movePrimary, c.counted.copyPrimary, c.counted.copySecondary, c.counted.at != 0
}
