package shard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/invariant"
	"pegasus/netcore/lane"
	"pegasus/netcore/proto"
	"pegasus/shard/transfer"
)

// Learning moves a replica to another node. Consensus decides what a learner gets: mutations from the window, a range of the
// log, or a checkpoint. This file carries it out, off the loop: the log is read, checkpoints are made, files are copied and
// stores are replaced in lanes; the outcome comes back as a message.

const (
	checkpointsDir = "checkpoints" // beside the store: what is offered to learners
	stagingDir     = "learn"       // beside the store: what is being fetched
	replacedDir    = "replaced"    // the store that an installed checkpoint replaced
)

// learnerAid is what a primary holds for one learner.
type learnerAid struct {
	pin    *mutlog.Pin
	dir    string // of the checkpoint
	making bool   // a lane works on it
	offer  uint64 // 0 when it is not offered
}

// readLog reads a range of the log for a learner.
func (p *partition) readLog(r *consensus.ReadLog) {
	sh, learner, from, limit := p.shard, r.Learner, r.From, r.Bytes
	reader, err := sh.log.Read(p.gpid, r.From, r.To)
	if err != nil {
		sh.deliverLater(&logRead{partition: p, replica: p.replica, learner: learner, err: err})
		return
	}
	p.refs++
	sh.stats.LogReads++
	sh.learnLane(func() message {
		done := &logRead{partition: p, replica: p.replica, learner: learner, reader: reader}
		bytes := 0
		for next := from; (bytes < limit || len(done.mutations) == 0) && reader.Next(); next++ {
			rec := reader.Record()
			if rec.Decree != next {
				done.err = fmt.Errorf("log has decree %d where %d is wanted", rec.Decree, next)
				break
			}
			done.mutations = append(done.mutations, consensus.Mutation{
				Ballot: rec.Ballot, Decree: rec.Decree, Committed: rec.Committed, Timestamp: rec.Timestamp,
				Batch: slices.Clone(rec.Payload),
			})
			bytes += len(rec.Payload)
		}
		done.err = errors.Join(done.err, reader.Err())
		return done
	})
}

type logRead struct {
	partition *partition
	replica   *consensus.Replica
	learner   proto.NodeID
	reader    *mutlog.Reader // nil when the log could not be read at all
	mutations []consensus.Mutation
	err       error
}

func (m *logRead) deliver(sh *Shard) {
	p := m.partition
	if m.reader != nil {
		p.refs--
		// The files were only read; failing to close one harms nobody.
		_ = m.reader.Close()
	}
	if p.replica == m.replica && p.state == replicaOpen {
		if m.err != nil {
			sh.logger.Info("log range for a learner is not there", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		}
		p.step(&consensus.Event{
			Kind: consensus.EventLogRead, Node: m.learner, Mutations: m.mutations, Failed: m.err != nil || len(m.mutations) == 0,
		})
	}
	p.closeIfIdle()
}

// offerID names an offer to both sides: partition, decree and learner.
func offerID(g proto.GPID, d proto.Decree, learner proto.NodeID) uint64 {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(g.Thrift()))
	binary.BigEndian.PutUint64(b[8:], uint64(d))
	h := crc64.Checksum(learner[:], crc64.MakeTable(crc64.ISO))
	binary.BigEndian.PutUint64(b[16:], h)
	return crc64.Checksum(b[:], crc64.MakeTable(crc64.ECMA))
}

// sendCheckpoint makes a checkpoint for a learner and offers its files. The log is pinned first, from the decree that the store
// is sure to have, so that what follows the checkpoint is still there when the learner has it. Without a pin it may be gone,
// and the learner gets another checkpoint.
func (p *partition) sendCheckpoint(learner proto.NodeID) {
	sh := p.shard
	p.releaseLearner(learner)
	aid := &learnerAid{making: true, dir: filepath.Join(p.dir.path, checkpointsDir, learner.String()+"-"+strconv.FormatInt(time.Now().UnixNano(), 10))}
	if pin, err := sh.log.Pin("learner "+learner.String(), p.gpid, p.store.AppliedDecree()+1, sh.opts.Log.TotalSize/2); err == nil {
		aid.pin = pin
	}
	if p.learners == nil {
		p.learners = map[proto.NodeID]*learnerAid{}
	}
	p.learners[learner] = aid
	p.refs++
	store := p.store
	sh.stats.Checkpoints++
	sh.learnLane(func() message {
		done := &checkpointMade{partition: p, replica: p.replica, learner: learner, aid: aid}
		if done.err = os.MkdirAll(filepath.Dir(aid.dir), 0o755); done.err != nil {
			return done
		}
		if done.decree, done.err = store.Checkpoint(aid.dir, true); done.err != nil {
			return done
		}
		id := offerID(p.gpid, done.decree, learner)
		if done.err = sh.node.transfers.Offer(id, p.gpid, done.decree, aid.dir); done.err == nil {
			done.offer = id
		}
		return done
	})
}

type checkpointMade struct {
	partition *partition
	replica   *consensus.Replica
	learner   proto.NodeID
	aid       *learnerAid
	decree    proto.Decree
	offer     uint64 // 0 when it failed
	err       error
}

func (m *checkpointMade) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	m.aid.making, m.aid.offer = false, m.offer
	if m.err != nil {
		sh.logger.Warn("no checkpoint for a learner", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
	}
	if p.learners[m.learner] != m.aid {
		p.drop(m.aid) // released while it was being made
	} else if p.replica == m.replica && p.state == replicaOpen {
		p.noteFlushed(m.decree)
		p.step(&consensus.Event{Kind: consensus.EventCheckpointSent, Node: m.learner, Decree: m.decree, Failed: m.err != nil})
	}
	p.closeIfIdle()
}

// releaseLearner gives up what is held for a learner.
func (p *partition) releaseLearner(learner proto.NodeID) {
	if aid := p.learners[learner]; aid != nil {
		delete(p.learners, learner)
		p.drop(aid)
	}
}

func (p *partition) releaseLearners() {
	for learner := range p.learners {
		p.releaseLearner(learner)
	}
}

// drop gives up an aid. A checkpoint that is being made goes when it is there; the files of one that is offered are the server's.
func (p *partition) drop(aid *learnerAid) {
	if aid.pin != nil {
		aid.pin.Release()
	}
	switch {
	case aid.making:
	case aid.offer != 0:
		p.shard.node.transfers.Release(aid.offer)
	default:
		p.shard.learnLane(func() message { return &filesRemoved{err: os.RemoveAll(aid.dir)} })
	}
}

type filesRemoved struct{ err error }

func (m *filesRemoved) deliver(sh *Shard) {
	if m.err != nil {
		sh.logger.Warn("old files not removed", zap.Error(m.err))
	}
}

// install replaces the store by a checkpoint of another node: fetch beside the store, let the log forget, close the store, swap
// directories, open. Everything before the swap leaves a replica that is merely older; the log forgets durably before it, so
// that records of the old store are never replayed onto the new one.
func (p *partition) install(in consensus.Install) {
	invariant.Assertf(p.endFetch == nil && p.installing == nil, "partition %v installs two checkpoints", p.gpid)
	sh := p.shard
	ctx, cancel := context.WithCancel(sh.node.life)
	p.endFetch = cancel
	p.refs++
	done := &checkpointFetched{
		partition: p, replica: p.replica, decree: in.Decree, staging: filepath.Join(p.dir.path, stagingDir), end: cancel,
	}
	source, ok := sh.peers.nodes[in.From]
	if sh.node.space.lacks(p.dir.tag) {
		done.err = engine.ErrNoSpace
		sh.deliverLater(done)
		return
	}
	if !ok || !source.Transfer.IsValid() {
		done.err = fmt.Errorf("nobody knows where %v hands out checkpoints", in.From)
		sh.deliverLater(done)
		return
	}
	id, address, swept := offerID(p.gpid, in.Decree, sh.node.id), source.Transfer.String(), p.sweeping
	p.sweeping = nil
	sh.lane(sh.node.fetching, func() message {
		if swept != nil {
			<-swept
		}
		var m transfer.Manifest
		m, done.err = transfer.Fetch(ctx, address, id, done.staging, sh.node.fetchOptions())
		switch {
		case errors.Is(done.err, transfer.ErrStaging):
			// What lies there is complete and of another checkpoint, which was never installed: this one is fetched next time.
			done.err = errors.Join(done.err, os.RemoveAll(done.staging))
		case done.err == nil && (m.GPID != p.gpid || m.Decree != done.decree):
			done.err = fmt.Errorf("offered is a checkpoint of %v at decree %d", m.GPID, m.Decree)
		}
		return done
	})
}

// abandonInstall ends what is under way to replace the store, as far as it can be ended.
func (p *partition) abandonInstall() {
	p.installing = nil
	if p.endFetch != nil {
		p.endFetch()
	}
}

type checkpointFetched struct {
	partition *partition
	replica   *consensus.Replica
	decree    proto.Decree
	staging   string
	end       context.CancelFunc
	err       error
}

func (m *checkpointFetched) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	m.end()
	p.endFetch = nil
	switch {
	case p.replica != m.replica || p.state != replicaOpen:
	case m.err != nil:
		sh.logger.Warn("checkpoint not fetched", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		p.step(&consensus.Event{Kind: consensus.EventCheckpointInstalled, Decree: m.decree, Failed: true})
	default:
		p.installing = m
		p.installIfIdle()
	}
	p.closeIfIdle()
}

// installIfIdle begins the swap once nobody uses the store. Until then reads that are under way end on the old one; a learner
// serves no new ones.
func (p *partition) installIfIdle() {
	if p.installing == nil || p.state != replicaOpen {
		return
	}
	if p.refs > 0 {
		p.abortCompaction()
		return
	}
	m, sh := p.installing, p.shard
	p.installing = nil
	if p.settle(); p.state != replicaOpen {
		return
	}
	p.scanners.closeAll()
	p.state = replicaInstalling
	p.abandonWrites() // what could not be applied goes with the store, and the log forgets what came before
	p.refs++
	sh.log.Forget(p.gpid)
	sh.whenLogged(func(err error) {
		if err != nil {
			(&checkpointInstalled{fetched: m, err: fmt.Errorf("shard log: %w", err)}).deliver(sh)
			return
		}
		p.swap(m)
	})
}

// sweep removes what copies have left behind, once the replica is a member: what was begun is of no more use.
func (p *partition) sweep() {
	if p.sweeping != nil || p.endFetch != nil || p.installing != nil || p.dir.path == "" {
		return
	}
	done := make(chan struct{})
	p.sweeping = done
	staging := filepath.Join(p.dir.path, stagingDir)
	p.shard.background(func() message {
		defer close(done)
		return &filesRemoved{err: os.RemoveAll(staging)}
	})
}

// swap puts the fetched checkpoint in the place of the store, in the background.
func (p *partition) swap(m *checkpointFetched) {
	store, dir, options := p.store, p.dir, p.shard.node.storeOptions(p)
	p.store = nil
	options.MustExist = true
	p.shard.background(func() message {
		done := &checkpointInstalled{fetched: m}
		if store != nil { // nil when a full disk made it begin anew
			done.err = store.Close()
		}
		if done.err == nil {
			done.err = swapStore(dir, m.staging)
		}
		if done.err == nil {
			done.store, done.err = rocks.Open(dir.store(), options)
		}
		return done
	})
}

// swapStore puts the staged checkpoint in the place of the store.
func swapStore(dir replicaDir, staging string) error {
	if _, err := os.Stat(staging); errors.Is(err, fs.ErrNotExist) {
		return nil // swapped already, by an attempt that had no space to go on
	}
	old := filepath.Join(dir.path, replacedDir)
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir.store(), old); err != nil {
		return err
	}
	if err := os.Rename(staging, dir.store()); err != nil {
		return errors.Join(err, os.Rename(old, dir.store()))
	}
	if err := syncDir(dir.path); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

type checkpointInstalled struct {
	fetched *checkpointFetched
	store   *rocks.Store
	err     error
}

func (m *checkpointInstalled) drop() {
	if m.store != nil {
		_ = m.store.Close() // the node has stopped; nothing was written to it
	}
}

func (m *checkpointInstalled) deliver(sh *Shard) {
	p := m.fetched.partition
	p.refs--
	if m.err == nil && m.store.AppliedDecree() != m.fetched.decree {
		m.err = fmt.Errorf("checkpoint is of decree %d, %d was announced", m.store.AppliedDecree(), m.fetched.decree)
	}
	if outOfSpace(m.err) && p.state == replicaInstalling {
		p.refs++
		sh.later("installing a checkpoint", p, m.err, func() { p.swap(m.fetched) })
		return
	}
	if m.err != nil {
		if m.store != nil {
			p.store = m.store
		}
		if p.state == replicaInstalling {
			p.state = replicaOpen // so that quarantine does its work
		}
		p.quarantine("installing a checkpoint: " + m.err.Error())
		p.closeIfIdle()
		return
	}
	p.store = m.store
	p.store.SetTableOptions(p.tableOptions())
	p.openedStore(p.store)
	p.env.DataVersion = p.store.DataVersion()
	p.flushed = m.fetched.decree
	sh.stats.Installs++
	if p.state == replicaInstalling {
		p.state = replicaOpen
		p.tune()
		p.step(&consensus.Event{Kind: consensus.EventCheckpointInstalled, Decree: m.fetched.decree})
		p.adoptConfig() // it had to wait
	}
	p.closeIfIdle()
}

// makeRoomForLearner prepares an empty replica for an invitation, or opens one that is on disk and closed. A replica that failed
// is moved aside first, with its reason, so that what is damaged can still be looked at. It returns nil while that goes on; the
// inviter repeats itself.
func (sh *Shard) makeRoomForLearner(g proto.GPID, failed *partition) *partition {
	app, known := sh.apps[g.App]
	if sh.leaving[g] || !known || app.Status != proto.AppAvailable || !sh.node.disks.placeable() {
		return nil
	}
	if failed != nil {
		failed.moveAside()
		return nil
	}
	if p := sh.reopen(g); p != nil {
		p.configureTable(&app)
		return p
	}
	return sh.create(g, &app)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// learnLane runs a job that serves learners; what it returns is delivered on this loop.
func (sh *Shard) learnLane(job func() message) { sh.lane(sh.node.learning, job) }

func (sh *Shard) lane(l *lane.Lane, job func() message) {
	if err := l.Submit(func() { sh.deliverLater(job()) }); err != nil {
		// The lane is longer than the partitions of a node can fill; it refuses only when the node stops.
		sh.logger.Debug("lane refused a job", zap.Error(err))
	}
}

func (n *Node) fetchOptions() transfer.Options {
	return transfer.Options{Budget: n.transferBudget, Node: n.id}
}
