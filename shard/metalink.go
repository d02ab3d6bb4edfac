package shard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// metaLink is the node's one connection to the meta group, owned by shard 0. It says Hello with everything that lies on the
// node's disks, beacons, hands what meta pushes to the shards that it concerns, and carries what the shards ask.
//
// The link goes to the leader: a meta that is not it names the leader, or else the next one on the list is tried. What a
// shard asked and meta has not answered is asked again on the next connection; meta's register is changed by
// compare-and-swap, so asking twice is harmless.
type metaLink struct {
	sh       *Shard
	logger   *zap.Logger
	metas    []string
	next     int    // index in metas of the one to try next
	leader   string // named by a meta that is not it; tried first
	ref      loop.Ref
	up       bool // Hello was accepted
	dialing  bool
	stopped  bool
	hello    []proto.ReplicaReport // gathered for the Hello that is being prepared
	tables   map[int32]describedTable
	awaiting int // shards whose reports are still missing
	epoch    int // of the connection, so that late gatherings are told apart
	seq      uint64
	revision int64
	lastAck  int64 // loop time, nanoseconds
	asked    map[proto.GPID]proto.UpdateConfig
	status   statusSender
}

var (
	errMetaSilent = errors.New("meta is silent")
	errNotLeader  = errors.New("meta is not the leader")
	errStopping   = errors.New("node is stopping")
)

func newMetaLink(sh *Shard) *metaLink {
	return &metaLink{
		sh: sh, logger: sh.logger.Named("metalink"), metas: sh.opts.Metas, asked: map[proto.GPID]proto.UpdateConfig{},
	}
}

// connect dials the leader if it is known, else the next meta. It runs on the loop; the dial itself does not.
func (m *metaLink) connect() {
	if m.dialing || m.stopped || !m.ref.IsZero() {
		return
	}
	address := m.leader
	m.leader = ""
	if address == "" {
		address = m.metas[m.next]
		m.next = (m.next + 1) % len(m.metas)
	}
	m.dialing = true
	m.sh.node.dial(address, m)
}

// retry connects again after a pause, so that a meta group without a leader is not stormed.
func (m *metaLink) retry() {
	m.sh.loop.After(m.sh.opts.BeaconInterval/2, m.connect)
}

// dialFailed is told by the dialer.
type dialFailed struct {
	link *metaLink
	err  error
}

func (f *dialFailed) deliver(*Shard) {
	f.link.dialing = false
	f.link.logger.Debug("cannot reach a meta", zap.Error(f.err))
	f.link.retry()
}

// Opened is called when the connection is there: gather what all shards hold, then say Hello.
func (m *metaLink) Opened(s *loop.Session) error {
	if m.stopped {
		return errStopping
	}
	m.dialing, m.up = false, false
	m.ref = s.Ref()
	m.epoch++
	m.lastAck = m.sh.loop.Now()
	m.hello, m.tables = nil, nil
	m.awaiting = len(m.sh.node.shards)
	m.beat(m.epoch)
	for _, sh := range m.sh.node.shards {
		sh.deliverLater(&gather{epoch: m.epoch})
	}
	return nil
}

// Closed is called when the connection is gone.
func (m *metaLink) Closed(_ *loop.Session, cause error) {
	m.ref, m.up = loop.Ref{}, false
	if !m.stopped {
		m.logger.Info("connection to meta ended", zap.Error(cause))
		m.retry()
	}
}

// gather asks a shard for the reports of all its replicas; gathered brings them to the link.
type gather struct{ epoch int }

func (g *gather) deliver(sh *Shard) {
	answer := &gathered{epoch: g.epoch}
	for _, p := range sh.partitions {
		answer.replicas = append(answer.replicas, p.report())
		if p.app.AppID != 0 {
			answer.apps = keepNewest(answer.apps, describedTable{app: p.app, at: p.described})
		}
	}
	sh.node.shards[0].deliverLater(answer)
}

type gathered struct {
	epoch    int
	replicas []proto.ReplicaReport
	apps     map[int32]describedTable
}

// describedTable is what a replica remembers of its table, and when meta said so (unix milliseconds).
type describedTable struct {
	app proto.AppInfo
	at  int64
}

// newestTables are the tables of all parts, each as it was described last, by id.
func newestTables(parts []map[int32]describedTable) []proto.AppInfo {
	var all map[int32]describedTable
	for _, part := range parts {
		for _, t := range part {
			all = keepNewest(all, t)
		}
	}
	var apps []proto.AppInfo
	for _, id := range slices.Sorted(maps.Keys(all)) {
		apps = append(apps, all[id].app)
	}
	return apps
}

// keepNewest puts t into the map unless that has a newer description of the table.
func keepNewest(tables map[int32]describedTable, t describedTable) map[int32]describedTable {
	if tables == nil {
		tables = map[int32]describedTable{}
	}
	if have, ok := tables[t.app.AppID]; !ok || t.at > have.at {
		tables[t.app.AppID] = t
	}
	return tables
}

func (g *gathered) deliver(sh *Shard) {
	m := sh.node.link
	if g.epoch != m.epoch || m.ref.IsZero() {
		return
	}
	m.hello = append(m.hello, g.replicas...)
	for _, t := range g.apps {
		m.tables = keepNewest(m.tables, t)
	}
	if m.awaiting--; m.awaiting > 0 {
		return
	}
	n := m.sh.node
	hello := &proto.NodeHello{
		Node: n.id, Address: n.advertised, IP: n.address, Shards: int32(len(n.shards)), ShardPort: int32(n.opts.ShardPort),
		Incarnation: n.incarnation, Replicas: m.hello, Transfer: n.transferAddress, Zone: n.opts.Zone,
	}
	hello.Apps = newestTables([]map[int32]describedTable{m.tables})
	m.send(proto.PeerHello, hello)
	m.hello, m.tables = nil, nil
}

func (m *metaLink) send(kind proto.PeerKind, body any) {
	s := m.sh.loop.Session(m.ref)
	if s == nil {
		return
	}
	m.seq++
	buf, mark := proto.AppendPeerFrame(s.Out(), kind, 0, m.seq)
	s.SetOut(proto.FinishPeerFrame(proto.Marshal(buf, body), mark))
}

// Data takes what meta sent.
func (m *metaLink) Data(s *loop.Session, in []byte) (consumed, need int, err error) {
	for consumed < len(in) {
		var f proto.PeerFrame
		n, more, err := proto.ParsePeer(in[consumed:], m.sh.opts.Limits.MaxFrame, &f)
		if err != nil {
			return consumed, 0, err
		}
		if n == 0 {
			return consumed, more, nil
		}
		consumed += n
		if err := m.take(&f); err != nil {
			return consumed, 0, err
		}
	}
	return consumed, 0, nil
}

func (m *metaLink) take(f *proto.PeerFrame) error {
	switch f.Kind {
	case proto.PeerHelloAck:
		var ack proto.NodeHelloAck
		if err := proto.Unmarshal(f.Body, &ack); err != nil {
			return err
		}
		return m.welcomed(&ack)
	case proto.PeerBeaconAck:
		var ack proto.NodeBeaconAck
		if err := proto.Unmarshal(f.Body, &ack); err != nil {
			return err
		}
		if ack.Err != proto.ErrOK {
			return m.refused(ack.Err, ack.Leader)
		}
		m.lastAck = m.sh.loop.Now()
	case proto.PeerAssign:
		var a proto.Assignments
		if err := proto.Unmarshal(f.Body, &a); err != nil {
			return err
		}
		m.revision = max(m.revision, a.Revision)
		m.learnMetas(a.Metas)
		m.sh.node.assign(&a, false)
	case proto.PeerProposal:
		var p proposal
		if err := proto.Unmarshal(f.Body, &p.Proposal); err != nil {
			return err
		}
		m.sh.node.owner(p.Config.GPID).deliverLater(&p)
	case proto.PeerUpdateConfigAck:
		var ack proto.UpdateConfigAck
		if err := proto.Unmarshal(f.Body, &ack); err != nil {
			return err
		}
		delete(m.asked, ack.Config.GPID)
		switch ack.Err {
		case proto.ErrOK, proto.ErrInvalidVersion:
			m.sh.node.assign(&proto.Assignments{Partitions: []proto.PartitionConfig{ack.Config}}, false)
		case proto.ErrBusy, proto.ErrTimeout:
			// Another change is under way, or this one may be; who still wants it asks again.
		default:
			m.sh.node.owner(ack.Config.GPID).deliverLater(&askRefused{gpid: ack.Config.GPID})
		}
	case proto.PeerDiscard:
		var d discard
		if err := proto.Unmarshal(f.Body, &d.Discard); err != nil {
			return err
		}
		m.sh.node.owner(d.GPID).deliverLater(&d)
	default:
		return fmt.Errorf("meta sent a frame of kind %d", f.Kind)
	}
	return nil
}

func (m *metaLink) welcomed(ack *proto.NodeHelloAck) error {
	if ack.Err != proto.ErrOK {
		return m.refused(ack.Err, ack.Leader)
	}
	if want := m.sh.opts.ClusterName; ack.ClusterName != want {
		return fmt.Errorf("meta serves cluster %q, this node belongs to %q", ack.ClusterName, want)
	}
	m.up = true
	m.revision = ack.Revision
	m.lastAck = m.sh.loop.Now()
	m.learnMetas(ack.Metas)
	m.logger.Info("connected to the meta leader", zap.Int("tables", len(ack.Apps)), zap.Int("partitions", len(ack.Partitions)))
	m.sh.node.assign(&proto.Assignments{
		Apps: ack.Apps, Partitions: ack.Partitions, Nodes: ack.Nodes, Settings: ack.Settings,
	}, true)
	m.status.gather(m)
	for _, u := range m.asked {
		m.send(proto.PeerUpdateConfig, &u)
	}
	return nil
}

// maxMetas bounds the metas that the node remembers besides those of its configuration: a group has five at most.
const maxMetas = 16

// learnMetas takes in the members of the meta group, which may have changed since the configuration was written. Those of the
// configuration are kept behind them.
func (m *metaLink) learnMetas(group []string) {
	if len(group) == 0 || len(group) > maxMetas {
		return
	}
	metas := slices.Clone(group)
	for _, a := range m.sh.opts.Metas {
		if !slices.Contains(metas, a) {
			metas = append(metas, a)
		}
	}
	m.metas, m.next = metas, 0
}

func (m *metaLink) refused(code proto.ErrCode, leader proto.HostPort) error {
	if leader.IsValid() {
		m.leader = leader.String()
	}
	return fmt.Errorf("%w: %w", errNotLeader, code)
}

// beat sends a beacon, once Hello was accepted, and comes back one interval later, for as long as this connection stands. A
// meta that never answers Hello is left like one that stops answering beacons.
func (m *metaLink) beat(epoch int) {
	s := m.sh.loop.Session(m.ref)
	if s == nil || epoch != m.epoch {
		return
	}
	if silent := m.sh.loop.Now() - m.lastAck; silent > int64(m.sh.opts.AckTimeout) {
		s.Abort(fmt.Errorf("%w for %v", errMetaSilent, time.Duration(silent)))
		return
	}
	if m.up {
		m.send(proto.PeerBeacon, &proto.NodeBeacon{
			Node: m.sh.node.id, Incarnation: m.sh.node.incarnation, SentAt: m.sh.loop.Now(), Revision: m.revision,
		})
	}
	m.sh.loop.AtMultiple(m.sh.opts.BeaconInterval, func() { m.beat(epoch) })
}

// askUpdate carries a shard's request for a change of configuration.
type askUpdate struct{ update proto.UpdateConfig }

func (a *askUpdate) deliver(sh *Shard) {
	m := sh.node.link
	m.asked[a.update.Config.GPID] = a.update
	if m.up {
		m.send(proto.PeerUpdateConfig, &a.update)
	}
}

// tellReport carries a changed replica to meta. Before Hello it is not needed: Hello tells everything.
type tellReport struct{ report proto.ReplicaReport }

func (t *tellReport) deliver(sh *Shard) {
	if m := sh.node.link; m.up {
		m.send(proto.PeerReport, &proto.NodeReport{Node: sh.node.id, Replicas: []proto.ReplicaReport{t.report}})
	}
}

// stop ends the link for good.
func (m *metaLink) stop() {
	m.stopped = true
	if s := m.sh.loop.Session(m.ref); s != nil {
		s.Close(errStopping)
	}
}
