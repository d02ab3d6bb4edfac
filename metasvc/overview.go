package metasvc

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// The data of the console, made on the loop from the core's state and from what nodes told of their loads.

const (
	concernsShown = 200
	hotShown      = 30
	jobsShown     = 100
)

func (w *watcher) now() core.Now {
	return core.Now{Mono: w.s.loop.Now(), Unix: w.s.loop.WallMicros() / 1e6}
}

func levelWord(l proto.MetaFunctionLevel) string { return strings.TrimPrefix(l.String(), "fl_") }

// news are the events behind a number.
func (w *watcher) news(after int64) *console.News {
	notes, last := w.s.core.State().Notes(after)
	n := &console.News{Events: make([]console.Event, len(notes)), LastEvent: last}
	for i := range notes {
		n.Events[i] = console.Event(notes[i])
	}
	return n
}

func (w *watcher) look() *console.Overview {
	c, st := w.s.core, w.s.core.State()
	v := &console.Overview{
		Cluster: w.s.opt.ClusterName, Version: w.s.opt.Version, Leader: w.s.opt.Advertise,
		Level: levelWord(c.Level()), WantedLevel: levelWord(c.WantedLevel()), Changes: w.s.opt.Changes, Revision: st.Revision(),
		Nodes: w.lookNodes(), Tables: []console.Table{}, Concerns: []console.Concern{}, Jobs: []core.JobView{}, Hot: []console.Hot{},
	}
	for _, m := range w.s.members {
		v.Metas = append(v.Metas, m.ID)
	}
	loads := w.loads()
	for _, a := range st.Tables() {
		v.Tables = append(v.Tables, w.table(a, loads, func(i int32, h core.Health) {
			if len(v.Concerns) >= concernsShown {
				v.MoreConcerns++
				return
			}
			g := proto.GPID{App: a.Info.AppID, Part: i}
			v.Concerns = append(v.Concerns, console.Concern{
				GPID: g.String(), Table: a.Info.AppName, Health: h.String(), Doing: c.Doing(w.now(), a, i),
			})
		}))
	}
	for _, j := range slices.Backward(st.Jobs()) {
		if len(v.Jobs) == jobsShown {
			break
		}
		if job, ok := c.ViewJob(j.ID); ok {
			v.Jobs = append(v.Jobs, job)
		}
	}
	for node, s := range w.status {
		for i := range s.Replicas {
			v.Hot = append(v.Hot, w.hotOf(node, &s.Replicas[i])...)
		}
	}
	slices.SortFunc(v.Hot, func(a, b console.Hot) int {
		return cmp.Or(cmp.Compare(b.PerSec, a.PerSec), cmp.Compare(a.HashKey, b.HashKey))
	})
	v.Hot = v.Hot[:min(len(v.Hot), hotShown)]
	return v
}

// primaryLoad is what the primary of a partition told of it, if it did.
type primaryLoad map[proto.GPID]*proto.ReplicaLoad

func (w *watcher) loads() primaryLoad {
	st, out := w.s.core.State(), primaryLoad{}
	for node, s := range w.status {
		for i := range s.Replicas {
			l := &s.Replicas[i]
			if p := st.Partition(l.GPID); p != nil && p.Primary == node {
				out[l.GPID] = l
			}
		}
	}
	return out
}

func trafficOf(l *proto.ReplicaLoad) console.Traffic {
	return console.Traffic{Reads: l.ReadsPerSec, Writes: l.WritesPerSec, ReadBytes: l.ReadBytesPerS, WriteBytes: l.WriteBytesPerS}
}

func latencyOf(l *proto.ReplicaLoad) console.Latency {
	return console.Latency{ReadP50: l.ReadP50, ReadP99: l.ReadP99, WriteP50: l.WriteP50, WriteP99: l.WriteP99}
}

// mean makes one latency of many.
type mean struct {
	reads, writes float64 // requests per second
	r50, w50      float64
	worst         console.Latency
}

func (m *mean) add(l *proto.ReplicaLoad) {
	m.reads += float64(l.ReadsPerSec)
	m.writes += float64(l.WritesPerSec)
	m.r50 += float64(l.ReadsPerSec * l.ReadP50)
	m.w50 += float64(l.WritesPerSec * l.WriteP50)
	m.worst.ReadP99 = max(m.worst.ReadP99, l.ReadP99)
	m.worst.WriteP99 = max(m.worst.WriteP99, l.WriteP99)
}

func (m *mean) latency() console.Latency {
	l := m.worst
	if m.reads > 0 {
		l.ReadP50 = int64(m.r50 / m.reads)
	}
	if m.writes > 0 {
		l.WriteP50 = int64(m.w50 / m.writes)
	}
	return l
}

func (w *watcher) lookNodes() []console.Node {
	list := []console.Node{}
	for _, n := range w.s.core.LookAtNodes(w.now()) {
		list = append(list, w.node(&n))
	}
	return list
}

func (w *watcher) node(n *core.NodeLook) console.Node {
	out := console.Node{
		ID: n.ID.String(), Address: n.Address.String(), Alive: n.Alive, Connected: n.Connected, SilentMS: silence(n.Silent),
		Shards: n.Shards, Primaries: n.Primaries, Replicas: n.Replicas, Learning: n.Learning, Failed: n.Failed, Disks: []console.Disk{},
		Mode: n.Mode.String(), Zone: n.Zone,
	}
	s := w.status[n.ID]
	if s == nil {
		return out
	}
	disks := map[string]int{}
	for i := range s.Disks {
		d := &s.Disks[i]
		disks[d.Tag] = len(out.Disks)
		out.Disks = append(out.Disks, console.Disk{
			Tag: d.Tag, Dir: d.Dir, CapacityMB: d.CapacityMB, AvailableMB: d.AvailableMB, Status: diskStatus(d.Status),
		})
	}
	var m mean
	for i := range s.Replicas {
		l := &s.Replicas[i]
		m.add(l)
		out.Traffic.Add(trafficOf(l))
		out.Bytes += l.Bytes
		if at, ok := disks[l.DiskTag]; ok {
			out.Disks[at].Replicas++
			out.Disks[at].Bytes += l.Bytes
		}
	}
	out.Latency = m.latency()
	return out
}

// silence is in milliseconds, and coarse: signs of life come every second, and an answer that says so would never be the same.
func silence(d time.Duration) int64 {
	if d < 2*time.Second {
		return 0
	}
	return d.Truncate(time.Second).Milliseconds()
}

func diskStatus(s int32) string {
	switch s {
	case 0:
		return "normal"
	case 1:
		return "full"
	}
	return "failed"
}

// table shows a table and calls ill for every partition that is not healthy.
func (w *watcher) table(a *core.App, loads primaryLoad, ill func(i int32, h core.Health)) console.Table {
	t := console.Table{
		ID: a.Info.AppID, Name: a.Info.AppName, Status: "available", Partitions: a.Info.PartitionCount, Want: a.Info.MaxReplicaCount,
		MinWrite: w.s.core.MinReplicas(a), Health: map[string]int{}, Envs: maps.Clone(a.Info.Envs), Created: a.Info.CreateSecond,
	}
	if a.Info.Status != proto.AppAvailable {
		t.Status, t.Expires = "dropped", a.Info.ExpireSecond
		return t
	}
	var m mean
	for i := range a.Partitions {
		h := w.s.core.Health(a, int32(i))
		t.Health[h.String()]++
		if h != core.Healthy {
			ill(int32(i), h)
		}
		if l := loads[proto.GPID{App: a.Info.AppID, Part: int32(i)}]; l != nil {
			m.add(l)
			t.Traffic.Add(trafficOf(l))
			t.Bytes += l.Bytes
		}
	}
	t.Latency = m.latency()
	return t
}

func (w *watcher) hotOf(node proto.NodeID, l *proto.ReplicaLoad) (list []console.Hot) {
	st := w.s.core.State()
	for _, k := range l.HotKeys {
		h := console.Hot{GPID: l.GPID.String(), Node: st.NodeName(node), HashKey: literal(k.HashKey), Write: k.Write, PerSec: k.PerSec, Percent: k.Percent}
		if a := st.App(l.GPID.App); a != nil {
			h.Table = a.Info.AppName
		}
		list = append(list, h)
	}
	return list
}

// literal makes bytes that may be anything fit for people and for JSON.
func literal(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// partitions shows a table by partition; ok is false when there is no such table.
func (w *watcher) partitions(name string) (p *console.Partitions, ok bool) {
	c, st := w.s.core, w.s.core.State()
	a := st.AppByName(name)
	if a == nil {
		return nil, false
	}
	loads := w.loads()
	p = &console.Partitions{Table: w.table(a, loads, func(int32, core.Health) {}), Partitions: make([]console.Partition, 0, len(a.Partitions))}
	now := w.now()
	for i := range a.Partitions {
		reg := &a.Partitions[i]
		g := proto.GPID{App: a.Info.AppID, Part: int32(i)}
		row := console.Partition{
			Index: int32(i), Ballot: int64(reg.Ballot), Primary: st.NodeName(reg.Primary), Secondaries: []string{}, Learners: []string{},
			Health: c.Health(a, int32(i)).String(), Doing: c.Doing(now, a, int32(i)), Hot: []console.Hot{},
		}
		if reg.Primary.IsZero() {
			row.Primary = ""
		}
		for _, n := range reg.Secondaries {
			row.Secondaries = append(row.Secondaries, st.NodeName(n))
		}
		r := c.LookAtReplica(reg.Primary, g)
		for _, n := range r.Learners {
			if n != reg.Primary && !slices.Contains(reg.Secondaries, n) {
				row.Learners = append(row.Learners, st.NodeName(n))
			}
		}
		if l := loads[g]; l != nil {
			row.Bytes, row.Traffic, row.Latency = l.Bytes, trafficOf(l), latencyOf(l)
			row.Hot = append(row.Hot, w.hotOf(reg.Primary, l)...)
		}
		p.Partitions = append(p.Partitions, row)
	}
	return p, true
}

// replicas shows a node by replica; ok is false when there is no such node.
func (w *watcher) replicas(address string) (n *console.NodeReplicas, ok bool) {
	st := w.s.core.State()
	for _, l := range w.s.core.LookAtNodes(w.now()) {
		if l.Address.String() != address {
			continue
		}
		loads := map[proto.GPID]*proto.ReplicaLoad{}
		if s := w.status[l.ID]; s != nil {
			for i := range s.Replicas {
				loads[s.Replicas[i].GPID] = &s.Replicas[i]
			}
		}
		n = &console.NodeReplicas{Node: w.node(&l), Replicas: []console.Replica{}}
		for _, r := range w.s.core.LookAtReplicas(l.ID) {
			row := console.Replica{
				GPID: r.GPID.String(), Role: roleOf(st.Partition(r.GPID), l.ID, r.Role), Ballot: int64(r.Ballot), Disk: r.DiskTag,
				Failure: r.Failure,
			}
			if a := st.App(r.GPID.App); a != nil {
				row.Table = a.Info.AppName
			}
			if load := loads[r.GPID]; load != nil {
				row.Bytes, row.Traffic, row.Latency = load.Bytes, trafficOf(load), latencyOf(load)
			}
			n.Replicas = append(n.Replicas, row)
		}
		return n, true
	}
	return nil, false
}

// roleOf names the role that the register gives a node, else the one that the node reported.
func roleOf(p *core.Partition, id proto.NodeID, reported int32) string {
	const learner = 3 // consensus.Learner, as it stands in reports
	switch {
	case p != nil && p.Primary == id:
		return "primary"
	case p != nil && slices.Contains(p.Secondaries, id):
		return "secondary"
	case reported == learner:
		return "learner"
	}
	return "inactive"
}
