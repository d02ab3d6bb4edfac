package shard

import (
	"time"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// What the node tells meta of its disks and of what every replica costs: every few seconds, and at once when the state of a disk or
// of a compaction changes. Shard 0 asks the shards and sends what they answer.

// traffic is what a replica has served since it was opened, see meter.
type traffic struct {
	reads, writes         uint64
	readBytes, writeBytes uint64
}

// trafficTold is the load at the last status, to make rates from.
type trafficTold struct {
	traffic
	at    int64 // loop time, nanoseconds; 0 = never
	bytes int64 // of the store on disk, at the last survey of sizes
}

const (
	// defaultStatusInterval is how often the status is sent when nothing changes.
	defaultStatusInterval = 3 * time.Second
	// statusPause is the least time between two of them.
	statusPause = 200 * time.Millisecond
	// sizesEvery is how many statuses share one survey of the sizes of stores, which asks every store.
	sizesEvery = 5
)

// statusSender belongs to the link of the node to meta, hence to shard 0.
type statusSender struct {
	awaiting int // shards whose answers are missing
	dirty    bool
	paused   bool
	rounds   int
	report   proto.NodeStatusReport
}

// statusChanged has the status sent soon. It may be called from any goroutine.
func (n *Node) statusChanged() {
	if n.complete.Load() {
		n.shards[0].deliverLater(&statusDue{})
	}
}

type statusDue struct{}

func (*statusDue) deliver(sh *Shard) { sh.node.link.status.due(sh.node.link) }

// tick sends the status and comes back.
func (s *statusSender) tick(m *metaLink) {
	if m.stopped {
		return
	}
	s.due(m)
	m.sh.loop.AtMultiple(m.sh.opts.StatusInterval, func() { s.tick(m) })
}

// due sends the status, unless one was sent just now: then after a pause.
func (s *statusSender) due(m *metaLink) {
	if s.awaiting > 0 || s.paused {
		s.dirty = true
		return
	}
	s.gather(m)
}

func (s *statusSender) gather(m *metaLink) {
	if !m.up || s.awaiting > 0 {
		return
	}
	s.dirty, s.awaiting = false, len(m.sh.node.shards)
	s.report = proto.NodeStatusReport{Node: m.sh.node.id, Disks: m.sh.node.diskStatus()}
	sizes := s.rounds%sizesEvery == 0
	s.rounds++
	for _, sh := range m.sh.node.shards {
		sh.deliverLater(&gatherLoads{sizes: sizes})
	}
}

func (n *Node) diskStatus() []proto.DiskStatus {
	var list []proto.DiskStatus
	for _, r := range n.disks.all() {
		list = append(list, proto.DiskStatus{
			Tag: r.tag, Dir: r.path, CapacityMB: r.capacity.Load() >> 20, AvailableMB: r.available.Load() >> 20, Status: int32(r.status()),
		})
	}
	return list
}

type gatherLoads struct{ sizes bool }

func (g *gatherLoads) deliver(sh *Shard) {
	answer := &loads{}
	now := sh.loop.Now()
	for _, p := range sh.partitions {
		answer.replicas = append(answer.replicas, p.tellLoad(now))
	}
	for _, r := range sh.node.disks.all() {
		for _, gpid := range sh.node.disks.held(r) {
			if sh.node.owner(gpid) == sh && sh.partitions[gpid] == nil && !sh.leaving[gpid] {
				answer.closed = append(answer.closed, gpid)
			}
		}
	}
	if g.sizes {
		sh.surveySizes()
	}
	sh.node.shards[0].deliverLater(answer)
}

// tellLoad describes the replica's load since the last time.
func (p *partition) tellLoad(now int64) proto.ReplicaLoad {
	l := proto.ReplicaLoad{GPID: p.gpid, DiskTag: p.dir.tag, Bytes: p.told.bytes,
		ManualCompact: int32(p.compactStatus()), ManualCompactEnded: p.compact.ended}
	served := p.meter.traffic()
	if since := now - p.told.at; p.told.at > 0 && since > 0 {
		rate := func(is, was uint64) int64 { return int64(float64(is-was) * 1e9 / float64(since)) }
		l.ReadsPerSec, l.WritesPerSec = rate(served.reads, p.told.reads), rate(served.writes, p.told.writes)
		l.ReadBytesPerS, l.WriteBytesPerS = rate(served.readBytes, p.told.readBytes), rate(served.writeBytes, p.told.writeBytes)
	}
	if recent := p.recentLoad(); recent != nil {
		l.ReadP50, l.ReadP99, l.WriteP50, l.WriteP99 = recent.readP50/1e3, recent.readP99/1e3, recent.writeP50/1e3, recent.writeP99/1e3
		l.HotKeys = recent.hot
	}
	p.told.traffic, p.told.at = served, now
	return l
}

// recentLoad is what the collector last found out about the replica, or nil.
func (p *partition) recentLoad() *recentLoad {
	if c := p.shard.node.collector; c != nil {
		if all := c.recent.Load(); all != nil {
			return (*all)[p.gpid]
		}
	}
	return nil
}

type loads struct {
	replicas []proto.ReplicaLoad
	closed   []proto.GPID
}

func (l *loads) deliver(sh *Shard) {
	m := sh.node.link
	s := &m.status
	s.report.Replicas = append(s.report.Replicas, l.replicas...)
	s.report.Closed = append(s.report.Closed, l.closed...)
	if s.awaiting--; s.awaiting > 0 {
		return
	}
	if m.up {
		m.send(proto.PeerStatus, &s.report)
	}
	s.report = proto.NodeStatusReport{}
	s.paused = true
	sh.loop.After(statusPause, func() {
		s.paused = false
		if s.dirty {
			s.gather(m)
		}
	})
}

// sizeSurvey asks the stores, in the background, how large they are.
type sizeSurvey struct {
	partitions []*partition
	stores     []engine.Store
	bytes      []int64
}

func (sh *Shard) surveySizes() {
	if sh.sizing {
		return
	}
	s := &sizeSurvey{}
	for _, p := range sh.partitions {
		if p.state == replicaOpen {
			p.refs++
			s.partitions = append(s.partitions, p)
			s.stores = append(s.stores, p.store)
		}
	}
	if len(s.partitions) == 0 {
		return
	}
	sh.sizing = true
	sh.background(func() message {
		for _, store := range s.stores {
			s.bytes = append(s.bytes, int64(store.DiskBytes()))
		}
		return s
	})
}

func (s *sizeSurvey) deliver(sh *Shard) {
	sh.sizing = false
	for i, p := range s.partitions {
		p.refs--
		p.told.bytes = s.bytes[i]
		p.closeIfIdle()
	}
}
