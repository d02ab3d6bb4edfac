package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// assignment is meta's word on tables and configurations, for one shard. With complete set it names everything that the
// node serves; otherwise only what changed.
type assignment struct {
	complete   bool
	apps       []proto.AppInfo
	settings   []proto.TableSettings
	partitions []proto.PartitionConfig
	nodes      []proto.PeerNode
}

func (a *assignment) deliver(sh *Shard) {
	if sh.draining || sh.stopped {
		return
	}
	if len(a.nodes) > 0 {
		sh.peers.learnNodes(a.nodes, a.complete)
		if sh.id == 0 {
			sh.node.leases.watch(sh.peers.known())
		}
	}
	for i := range a.settings {
		sh.tables[a.settings[i].AppID] = a.settings[i]
	}
	for i := range a.apps {
		sh.apps[a.apps[i].AppID] = a.apps[i]
	}
	apps := make(map[int32]*proto.AppInfo, len(a.apps))
	for i := range a.apps {
		apps[a.apps[i].AppID] = &a.apps[i]
	}
	for _, p := range sh.partitions {
		if app := apps[p.gpid.App]; app != nil {
			p.configureTable(app)
		}
	}
	named := make(map[proto.GPID]struct{}, len(a.partitions))
	for i := range a.partitions {
		c := &a.partitions[i]
		named[c.GPID] = struct{}{}
		sh.configure(c, apps[c.GPID.App])
	}
	for g, p := range sh.partitions {
		_, ok := named[g]
		app := apps[g.App]
		// A replica that learns is in no configuration; its primary decides about it.
		if (a.complete && !ok && !p.learning()) || (app != nil && app.Status != proto.AppAvailable) {
			p.close()
		}
	}
}

// configure takes a configuration from meta's register.
func (sh *Shard) configure(c *proto.PartitionConfig, app *proto.AppInfo) {
	p := sh.partitions[c.GPID]
	if p == nil {
		if !holds(c, sh.node.id) || c.Ballot <= 0 || (app != nil && app.Status != proto.AppAvailable) {
			return
		}
		if sh.leaving[c.GPID] {
			again := *c
			sh.retries = append(sh.retries, func() { sh.configure(&again, app) })
			return
		}
		if p = sh.reopen(c.GPID); p == nil {
			// Meta counts on data that is not here (a wiped disk, a wrong data directory). Serving an empty store in its place
			// would lose it silently. A group has other members, which get to know by our answers and go on without us; a
			// group of one waits for an operator.
			sh.node.reportMissing(c)
			if len(c.Secondaries) > 0 {
				sh.abdicate(c, c.Secondaries[0])
			}
			return
		}
		if app != nil {
			p.configureTable(app)
		}
	}
	if p.state == replicaClosing {
		p.again = &reassignment{config: *c, app: app}
		return
	}
	if c.Ballot < max(p.ballot, p.wanted.Ballot) {
		return
	}
	p.wanted, p.wants = configOf(c), true
	if p.state == replicaFailed && !holds(c, sh.node.id) && !c.Primary.IsZero() {
		p.moveAside() // nobody needs it, and its records would hold the shard's log for ever
		return
	}
	p.adoptConfig()
}

// reassignment is what meta said of a replica while it was closing.
type reassignment struct {
	config proto.PartitionConfig
	app    *proto.AppInfo // nil when meta did not describe the table
}

// adoptConfig acts on the wanted configuration, and lets consensus acknowledge under the ballot that it asked to persist, once
// the ballot in question is on disk. Until then the old configuration stands. Whatever comes while a ballot is being written
// waits for the next writing.
func (p *partition) adoptConfig() {
	if p.state != replicaOpen || p.persisting {
		return
	}
	if target := max(p.wanted.Ballot, p.promised); target > p.ballot {
		p.writeRecord(target)
		return
	}
	if b := p.promised; b != 0 {
		p.promised = 0
		p.step(&consensus.Event{Kind: consensus.EventBallotDurable, Ballot: b})
	}
	if p.wants && p.state == replicaOpen {
		p.wants = false
		p.step(&consensus.Event{Kind: consensus.EventConfigure, Config: p.wanted})
		if m := p.ahead; m != nil && p.state == replicaOpen {
			p.ahead = nil
			p.propound(m)
		}
	}
}

// writeRecord writes what is known of the table and the ballot, which thus becomes durable.
func (p *partition) writeRecord(ballot proto.Ballot) {
	p.persisting = true
	p.refs++
	dir, record := p.dir, p.record(ballot)
	p.shard.background(func() message {
		return &recordWritten{partition: p, record: record, err: writeRecord(dir, record)}
	})
}

// refreshRecords writes the records of replicas whose tables meta describes otherwise than they do, a few at a time: ballots
// must not wait behind them.
func (sh *Shard) refreshRecords() {
	left := recordsPerTick
	for _, p := range sh.partitions {
		if left == 0 {
			return
		}
		if p.state != replicaOpen || p.persisting || p.recorded.AppID == 0 {
			continue
		}
		if now := p.record(p.ballot); !p.recorded.describes(&now) {
			p.writeRecord(p.ballot)
			left--
		}
	}
}

// recordsPerTick bounds the records that a shard writes anew per tick because a table has changed.
const recordsPerTick = 64

// persist makes a ballot durable that consensus learned from a peer.
func (p *partition) persist(b proto.Ballot) {
	p.promised = max(p.promised, b)
	p.note(workPersist)
}

type recordWritten struct {
	partition *partition
	record    replicaRecord
	err       error
}

func (m *recordWritten) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	p.persisting = false
	switch {
	case outOfSpace(m.err):
		sh.later(replicaFile, p, m.err, p.adoptConfig)
	case m.err != nil:
		p.quarantine("cannot write " + replicaFile + ": " + m.err.Error())
	default:
		p.ballot = max(p.ballot, m.record.Ballot)
		p.recorded = m.record
		p.adoptConfig()
	}
	p.closeIfIdle()
}

// proposal is meta's request that this node asks for a change of configuration.
type proposal struct{ proto.Proposal }

func (m *proposal) deliver(sh *Shard) {
	if sh.draining || sh.stopped {
		return
	}
	sh.apps[m.App.AppID], sh.tables[m.App.AppID] = m.App, m.Settings
	g := m.Config.GPID
	p := sh.partitions[g]
	if m.Type != proto.CTAssignPrimary {
		switch {
		case p == nil || p.state == replicaFailed:
			if m.Type == proto.CTUpgradeToPrimary {
				sh.abdicate(&m.Config, m.Node)
			}
		case p.state == replicaOpen:
			p.configureTable(&m.App)
			p.propound(m)
		}
		return
	}
	if m.Node != sh.node.id {
		sh.logger.Warn("proposal for another node", zap.Stringer("gpid", g), zap.Stringer("node", m.Node))
		return
	}
	if p == nil {
		if sh.leaving[g] {
			return // meta proposes it again
		}
		if m.Config.Ballot != 0 {
			sh.node.reportMissing(&m.Config)
			return
		}
		if p = sh.create(g, &m.App); p == nil {
			sh.logger.Warn("no data directory has room for a new replica", zap.Stringer("gpid", g))
			return
		}
	}
	p.configureTable(&m.App)
	p.asking = m.Config
	p.askForPrimary()
}

// askForPrimary asks meta to make this node the primary, once the store is open.
func (p *partition) askForPrimary() {
	if p.state != replicaOpen || p.asking.GPID != p.gpid {
		return
	}
	next := p.asking
	p.asking = proto.PartitionConfig{}
	next.Ballot++
	next.Primary = p.shard.node.id
	p.shard.node.updateConfig(proto.UpdateConfig{Config: next, Type: proto.CTAssignPrimary, Node: next.Primary})
}

// create makes an empty replica on the data directory that suits it best; nil when none does.
func (sh *Shard) create(g proto.GPID, app *proto.AppInfo) *partition {
	at, ok := sh.node.disks.place(g)
	if !ok {
		return nil
	}
	p := newPartition(sh, g, at)
	p.configureTable(app)
	sh.partitions[g] = p
	p.refs++
	dir, record := p.dir, p.record(0)
	options := sh.node.storeOptions(p)
	sh.background(func() message {
		store, err := createReplica(dir, record, options)
		if outOfSpace(err) {
			err = errors.Join(err, os.RemoveAll(dir.path)) // what is not there needs no space
		}
		return &replicaOpened{partition: p, record: record, store: store, restored: consensus.Restored{Ballot: record.Ballot}, err: err}
	})
	return p
}

// reopen opens a replica that was closed while the process runs, or returns nil when there is none on disk. Closing flushed
// it; what was not decided then is in the file beside the store.
func (sh *Shard) reopen(g proto.GPID) *partition {
	dir, ok := sh.node.disks.find(g)
	if !ok {
		return nil
	}
	p := newPartition(sh, g, dir)
	sh.partitions[g] = p
	p.refs++
	options := sh.node.storeOptions(p)
	options.MustExist = true
	sh.background(func() message {
		return openClosed(p, dir, options)
	})
	return p
}

// createReplica makes the directory, its record and an empty store. What an earlier attempt left half done, or a replica that
// no configuration has ever named, is removed: nothing of it was acknowledged.
func createReplica(dir replicaDir, record replicaRecord, options rocks.Options) (*rocks.Store, error) {
	switch old, err := readRecord(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case old.Ballot > 0:
		return nil, fmt.Errorf("%s holds a replica of ballot %d", dir.path, old.Ballot)
	}
	if err := os.RemoveAll(dir.path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir.path, 0o755); err != nil {
		return nil, err
	}
	store, err := rocks.Open(dir.store(), options)
	if err != nil {
		return nil, err
	}
	// The record comes last: a directory with a record has a store.
	if err := writeRecord(dir, record); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// openLater gives up a replica that could not be opened or made for want of space. Meta or the primary asks for a new one again;
// one that is on the disk is opened again with the next tick.
func (p *partition) openLater(cause error) {
	sh, c := p.shard, proto.PartitionConfig{GPID: p.gpid, Ballot: p.wanted.Ballot, Primary: p.wanted.Primary, Secondaries: p.wanted.Secondaries}
	app := p.app
	delete(sh.partitions, p.gpid)
	if _, err := os.Stat(p.dir.path); errors.Is(err, fs.ErrNotExist) {
		sh.node.disks.forget(p.gpid)
	}
	sh.later("opening the store", p, cause, func() {
		if sh.partitions[c.GPID] == nil {
			sh.configure(&c, &app)
		}
	})
}

type replicaOpened struct {
	partition *partition
	record    replicaRecord
	store     *rocks.Store
	restored  consensus.Restored
	tailKept  bool // there is a file beside the store; restored.Log is not in the log yet
	err       error
}

func (m *replicaOpened) drop() {
	if m.store != nil {
		_ = m.store.Close() // the node has stopped; nothing was written to it
	}
}

func (m *replicaOpened) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	if outOfSpace(m.err) && p.state == replicaOpening {
		p.openLater(m.err)
		return
	}
	if m.err != nil {
		p.quarantine("cannot open: " + m.err.Error())
		p.closeIfIdle()
		return
	}
	if p.app.AppID == 0 && m.record.AppID != 0 {
		app := m.record.app()
		p.configureTable(&app)
		p.described = m.record.Described
	}
	p.ballot = m.record.Ballot
	p.recorded = m.record
	p.flushed = m.restored.Durable
	p.takeBack(m, 0)
}

// open puts a store under the partition; what consensus restored from the log is committed once meta confirms the role.
func (p *partition) open(store engine.Store, restored consensus.Restored) {
	invariant.Assertf(p.store == nil, "partition %v opened twice", p.gpid)
	p.store = store
	p.store.SetTableOptions(p.tableOptions())
	p.env.DataVersion = store.DataVersion()
	p.replica = consensus.NewReplica(p.gpid, p.shard.node.id, p.shard.opts.Window, restored)
	p.replica.Attach(p.shard.node.leases, p.shard.opts.Timing)
	p.setMembers()
	p.lastTimestamp = restored.Timestamp
	if p.state == replicaOpening {
		p.state = replicaOpen
	}
	p.openedStore(store)
	p.tune()
	p.adoptConfig()
	p.askForPrimary()
	p.closeIfIdle()
}

// close takes the replica out of service and closes its store when the last user has come back. Its files stay. A failed
// replica stays as it is: it may lack what only the log has, so it must not be opened again before the next start.
func (p *partition) close() {
	if p.state == replicaFailed {
		return
	}
	if p.state == replicaClosing {
		p.again = nil
		return
	}
	if p.settle(); p.state == replicaFailed {
		return
	}
	p.state = replicaClosing
	p.abortCompaction()
	p.releaseLearners()
	p.abandonInstall()
	p.abandonMigration()
	p.failQueue(proto.ErrObjectNotFound)
	p.abandonWrites()
	p.scanners.closeAll()
	p.closeIfIdle()
}

// abandonWrites ends everything in flight: it may be in the log, so its clients learn that the outcome is unknown.
func (p *partition) abandonWrites() {
	if m := p.current; m != nil {
		p.current = nil
		p.inFlight = append(p.inFlight, m)
	}
	for _, m := range p.inFlight {
		for i := range m.ops {
			p.shard.fail(&m.ops[i].call, proto.ErrTimeout)
		}
		p.overlay.drop(m)
	}
	clear(p.inFlight)
	p.inFlight = p.inFlight[:0]
	p.dropCommitted()
	p.parked, p.backlog = 0, nil
}

// closeIfIdle goes on with a close, or with the installation of a checkpoint, once nothing uses the store.
func (p *partition) closeIfIdle() {
	p.installIfIdle()
	p.moveIfIdle()
	if p.state != replicaClosing || p.refs > 0 {
		return
	}
	if p.store == nil {
		p.closed()
		return
	}
	p.keepTail()
}

type replicaClosed struct {
	partition *partition
	err       error
}

func (m *replicaClosed) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	if m.err != nil {
		// The log still has what the store may lack: only a restart, which replays it, may open this replica again.
		p.state, p.failure = replicaFailed, "closing failed: "+m.err.Error()
		sh.logger.Error("replica not closed cleanly", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		return
	}
	sh.log.Forget(p.gpid)
	p.closed()
}

// closed ends a close. Meta may have changed its mind meanwhile.
func (p *partition) closed() {
	sh := p.shard
	delete(sh.partitions, p.gpid)
	sh.node.statusChanged()
	switch a, d := p.again, p.discarding; {
	case sh.draining || sh.stopped:
	case a != nil:
		sh.configure(&a.config, a.app)
	case d != nil:
		sh.throwAway(p.gpid, p.dir, d.Ballot)
	}
}
