package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/netcore/proto"
)

// Recovery from replica servers, for a meta group that lost everything: a group without any state that is configured to wait
// (Options.Recovering) takes nobody in, but remembers what nodes said in Hello. RPC_CM_START_RECOVERY builds tables and
// registers from that. Nodes go on serving meanwhile as they did; nothing of theirs changes before meta knows it all.
//
// Of every partition one replica becomes the only member, with a ballot above all known ones (see chooseReplica); the others
// return as learners within moments, with what they have. Tables that had been dropped cannot be told from others and come
// back; where two would have one name, the younger keeps it.

// Recover is the whole state as it was put together. It is void unless nothing was there before.
type Recover struct {
	Nodes []Node `thrift:"1"`
	Apps  []App  `thrift:"2"`
}

// rescue is what nodes said to a meta group without a memory.
type rescue struct {
	hellos map[proto.NodeID]*rescued
}

type rescued struct {
	msg *proto.NodeHello
	at  int64 // monotonic
}

// maxRescued bounds the nodes that are remembered.
const maxRescued = 10_000

// recovering tells whether meta waits for a recovery. It ends with the first entry of the journal.
func (c *Core) recovering() bool { return c.opt.Recovering && c.st.revision == 0 }

func (c *Core) remember(now Now, msg *proto.NodeHello) {
	if c.rescue.hellos == nil {
		c.rescue.hellos = make(map[proto.NodeID]*rescued)
	}
	if msg.Node.IsZero() || len(c.rescue.hellos) >= maxRescued && c.rescue.hellos[msg.Node] == nil {
		return
	}
	resolveIP(msg)
	c.rescue.hellos[msg.Node] = &rescued{msg, now.Mono}
}

// startRecovery judges what is known and proposes the state that follows from it.
func (c *Core) startRecovery(now Now, r *proto.RecoveryRequest, w waiter, out *Effects) {
	fail := func(err proto.ErrCode, hint string) { c.answerResult(w, Result{Err: err, Hint: hint}, out) }
	// Nodes that are turned away come back twice a second or so; whoever did not is not there.
	fresh := max(5*int64(c.opt.Grace), 15e9)
	var nodes []*proto.NodeHello
	for _, id := range slices.SortedFunc(maps.Keys(c.rescue.hellos), compareIDs) {
		if h := c.rescue.hellos[id]; now.Mono-h.at <= fresh {
			nodes = append(nodes, h.msg)
		}
	}
	var missing []string
	for i, ip := range r.RecoveryNodes {
		var host proto.HostPort
		if i < len(r.HPRecoveryNodes) {
			host = r.HPRecoveryNodes[i]
		}
		if !slices.ContainsFunc(nodes, func(h *proto.NodeHello) bool {
			return ip.IsValid() && h.IP == ip || host.IsValid() && h.Address == host
		}) {
			missing = append(missing, ip.String())
		}
	}
	switch {
	case len(nodes) == 0:
		fail(proto.ErrTryAgain, "no replica server has spoken yet")
		return
	case len(missing) > 0 && !r.SkipBadNodes:
		fail(proto.ErrTryAgain, "no word from "+strings.Join(missing, ", "))
		return
	}
	cmd, hint, lost := rebuild(nodes)
	if lost > 0 && !r.SkipLostPartitions {
		fail(proto.ErrTryAgain, hint)
		return
	}
	c.propose(CommandRecover, cmd, waiter{token: w.token, args: &recovery{hint}}, out)
}

// recovery waits for the recovered state to be stored.
type recovery struct{ hint string }

// rebuild makes tables and registers from what nodes hold. The hint tells people what they should know; lost counts the
// partitions that nobody has.
func rebuild(nodes []*proto.NodeHello) (cmd *Recover, hint string, lost int) {
	cmd = &Recover{}
	tables := make(map[int32]*App)
	held := make(map[proto.GPID][]candidate)
	for _, h := range nodes {
		n := nodeOf(h)
		cmd.Nodes = append(cmd.Nodes, n)
		for _, r := range h.Replicas {
			if r.Failure == "" && r.Ballot > 0 {
				held[r.GPID] = append(held[r.GPID], candidate{h.Node, r})
			}
		}
		for _, info := range h.Apps {
			if a := tables[info.AppID]; info.AppID > 0 && info.PartitionCount > 0 && info.PartitionCount <= maxAppPartitions &&
				(a == nil || a.Info.PartitionCount < info.PartitionCount) {
				tables[info.AppID] = &App{Info: info}
			}
		}
	}
	var hints []string
	for g := range held {
		if tables[g.App] == nil {
			hints = append(hints, fmt.Sprintf("replicas of table %d, whose description nobody has, are left alone", g.App))
		}
	}
	names := make(map[string]bool)
	for _, id := range slices.Backward(sortedKeys(tables)) {
		a := tables[id]
		tidyInfo(&a.Info)
		if names[a.Info.AppName] {
			name := fmt.Sprintf("%s__%d", a.Info.AppName, id)
			hints = append(hints, fmt.Sprintf("table %d is now %s: a younger one has its name", id, name))
			a.Info.AppName = name
		}
		names[a.Info.AppName] = true
		a.Partitions = make([]Partition, a.Info.PartitionCount)
		for i := range a.Partitions {
			list := held[proto.GPID{App: id, Part: int32(i)}]
			best, highest := chooseReplica(list)
			if best.IsZero() {
				lost++
				hints = append(hints, fmt.Sprintf("partition %d.%d of table %s is lost", id, i, a.Info.AppName))
				continue
			}
			p := &a.Partitions[i]
			p.Ballot, p.Primary, p.Rupture = highest+1, best, highest+1
			for _, o := range list {
				if o.node != best {
					p.dropMember(o.node)
				} else {
					p.Kept = o.report.Committed
				}
			}
		}
		cmd.Apps = append(cmd.Apps, *a)
	}
	slices.SortFunc(cmd.Apps, func(a, b App) int { return cmp.Compare(a.Info.AppID, b.Info.AppID) })
	slices.Sort(hints)
	hints = slices.Compact(hints)
	const shown = 50
	if len(hints) > shown {
		hints = append(hints[:shown], fmt.Sprintf("and %d more", len(hints)-shown))
	}
	return cmd, strings.Join(hints, "\n"), lost
}

// tidyInfo fills in what a node does not remember.
func tidyInfo(info *proto.AppInfo) {
	info.Status = proto.AppAvailable
	info.DropSecond, info.ExpireSecond = 0, 0
	for _, f := range []**bool{&info.Duplicating, &info.IsBulkLoading, &info.AtomicIdempotent} {
		if *f == nil {
			*f = new(bool)
		}
	}
	if info.Envs == nil {
		info.Envs = make(map[string]string)
	}
	if info.InitPartitionCount <= 0 {
		info.InitPartitionCount = info.PartitionCount
	}
	info.MaxReplicaCount = max(1, info.MaxReplicaCount)
}

func (s *State) recoverFrom(c *Recover, d *Delta) Result {
	if s.revision != 0 {
		return Result{Err: proto.ErrServiceAlreadyRunning}
	}
	s.revision = 1
	for i := range c.Nodes {
		n := c.Nodes[i]
		s.nodes[n.ID] = &n
		d.Nodes = append(d.Nodes, n.ID)
	}
	for i := range c.Apps {
		a := c.Apps[i]
		a.Revision = s.revision
		if a.Info.Envs == nil {
			a.Info.Envs = make(map[string]string)
		}
		s.apps = append(s.apps, &a)
		s.names[a.Info.AppName] = &a
		s.partitions += len(a.Partitions)
		s.nextApp = max(s.nextApp, a.Info.AppID+1)
		d.Apps = append(d.Apps, a.Info.AppID)
		for j := range a.Partitions {
			a.Partitions[j].Revision = s.revision
			d.Parts = append(d.Parts, PartitionChange{GPID: proto.GPID{App: a.Info.AppID, Part: int32(j)}})
		}
	}
	return Result{}
}
