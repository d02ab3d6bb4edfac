package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// A secondary moves to another data directory of its node while it goes on as a member. A checkpoint is copied to the new place; what
// was committed meanwhile is applied there from the shard log, which is pinned, in rounds that get shorter; for the last one the
// replica stands still, as it does while it installs a checkpoint, and comes back with the store in the new place.
//
// The new directory is complete under its name before the old one is renamed. A crash in between leaves two of the same ballot, and
// the record says which one was moved last.

const (
	suffixMoving   = ".disk.migrate.tmp"
	suffixOriginal = ".disk.migrate.ori" // behind the time, as with the other suffixes
	// standstillDecrees is how many decrees may be left for the last round, maxRounds how many rounds are tried to get there.
	standstillDecrees = 512
	maxRounds         = 16
)

// migration is a replica on its way to another directory. Its rounds run one after the other in the learn lane.
type migration struct {
	partition *partition
	replica   *consensus.Replica
	to        *diskRoot
	tmp       replicaDir
	pin       *mutlog.Pin
	store     *rocks.Store // the copy, once it is open
	options   rocks.Options
	rounds    int
	ready     bool // for the last round
	standing  bool // the last round has begun
	err       error
}

func (sh *Shard) migrateDisk(c *call, args []byte) error {
	var req proto.ReplicaDiskMigrateRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	sh.node.owner(req.PID).deliverLater(&onReplica{gpid: req.PID, call: *c, fn: func(sh *Shard, p *partition, c *call) {
		var answer proto.ReplicaDiskMigrateResponse
		if code, why := sh.migrate(p, &req); code != proto.ErrOK {
			answer.Err, answer.Hint = code, &why
		}
		sh.answer(c, &answer)
	}})
	return nil
}

// migrate judges a request and begins the migration; its end is only logged, as in Apache Pegasus.
func (sh *Shard) migrate(p *partition, req *proto.ReplicaDiskMigrateRequest) (code proto.ErrCode, why string) {
	if p == nil {
		return proto.ErrObjectNotFound, fmt.Sprintf("replica(%v) not found", req.PID)
	}
	if p.migrating != nil {
		return proto.ErrBusy, fmt.Sprintf("Existed migrate task(%v) is running", req.PID)
	}
	if p.state != replicaOpen || p.status() != proto.PSSecondary {
		return proto.ErrInvalidState, fmt.Sprintf("Invalid partition status(%v)", p.status())
	}
	if req.OriginDisk == req.TargetDisk {
		return proto.ErrInvalidParameters, fmt.Sprintf("Invalid disk(origin=%s, target=%s)", req.OriginDisk, req.TargetDisk)
	}
	disks := sh.node.disks
	from, to := disks.byTag(req.OriginDisk), disks.byTag(req.TargetDisk)
	switch {
	case to != nil && p.dir.tag == req.TargetDisk:
		return proto.ErrPathAlreadyExist, fmt.Sprintf("replica(%v) has existed on target disk(%s)", req.PID, req.TargetDisk)
	case from == nil || to == nil:
		return proto.ErrObjectNotFound, fmt.Sprintf("Invalid disk(origin=%s, target=%s), one of them doesn't exist", req.OriginDisk, req.TargetDisk)
	case p.dir.tag != req.OriginDisk:
		return proto.ErrObjectNotFound, fmt.Sprintf("replica(%v) doesn't exist on disk(%s)", req.PID, req.OriginDisk)
	case to.status() != diskNormal:
		return proto.ErrDiskInsufficient, fmt.Sprintf("disk(%s) is full or has failed", req.TargetDisk)
	}
	m := &migration{partition: p, replica: p.replica, to: to, options: sh.node.storeOptions(p)}
	m.tmp = replicaDir{path: to.dir(p.gpid).path + suffixMoving, tag: to.tag}
	m.options.MustExist = true
	pin, err := sh.log.Pin("migration", p.gpid, p.store.AppliedDecree()+1, sh.opts.Log.TotalSize/2)
	if err != nil {
		pin = nil // the log holds nothing of the replica now, and what comes is held by the replica itself unless it is flushed
	}
	m.pin = pin
	p.migrating = m
	p.refs++
	store := p.store
	sh.learnLane(func() message {
		m.copy(store)
		return &migrationRound{m}
	})
	sh.logger.Info("replica migrates to another disk", zap.Stringer("gpid", p.gpid), zap.String("from", req.OriginDisk), zap.String("to", req.TargetDisk))
	return proto.ErrOK, ""
}

// copy makes the copy of the store. It blocks.
func (m *migration) copy(store engine.Store) {
	if m.err = os.RemoveAll(m.tmp.path); m.err != nil {
		return
	}
	if m.err = os.MkdirAll(m.tmp.path, 0o755); m.err != nil {
		return
	}
	if _, m.err = store.Checkpoint(m.tmp.store(), true); m.err == nil {
		m.store, m.err = rocks.Open(m.tmp.store(), m.options)
	}
}

// catchUp applies a range of the log to the copy. It blocks.
func (m *migration) catchUp(r *mutlog.Reader) {
	var batch recovering
	batch.store = m.store
	var chunk []consensus.Mutation
	apply := func() {
		if m.err == nil && len(chunk) > 0 {
			m.err = batch.apply(m.partition.gpid, chunk)
		}
		chunk = chunk[:0]
	}
	for m.err == nil && r.Next() {
		rec := r.Record()
		if want := m.store.AppliedDecree() + proto.Decree(len(chunk)) + 1; rec.Decree != want {
			m.err = fmt.Errorf("log has decree %d where %d is wanted", rec.Decree, want)
			break
		}
		chunk = append(chunk, consensus.Mutation{Decree: rec.Decree, Batch: append([]byte(nil), rec.Payload...)})
		if len(chunk) == applyChunk {
			apply()
		}
	}
	apply()
	m.err = errors.Join(m.err, r.Err(), r.Close())
}

// migrationRound is told when a round is over.
type migrationRound struct{ *migration }

func (m *migrationRound) drop() {
	if m.store != nil {
		_ = m.store.Close() // the copy is removed or begun anew at the next attempt
	}
}

func (m *migrationRound) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	switch {
	case m.err != nil || !m.wanted():
		m.giveUp()
	case m.behind() <= standstillDecrees || m.rounds == maxRounds:
		m.ready = true
		p.moveIfIdle()
	default:
		m.rounds++
		m.nextRound()
	}
	p.closeIfIdle()
}

// wanted tells whether the replica is still what is to be moved.
func (m *migration) wanted() bool {
	p := m.partition
	return p.available() && p.replica == m.replica && p.status() == proto.PSSecondary && p.migrating == m && m.to.status() == diskNormal
}

func (m *migration) behind() proto.Decree { return m.replica.Committed() - m.store.AppliedDecree() }

// nextRound applies what was committed since the last one.
func (m *migration) nextRound() {
	p := m.partition
	r, err := p.shard.log.Read(p.gpid, m.store.AppliedDecree()+1, m.replica.Committed())
	if err != nil {
		m.err = err
		m.giveUp()
		return
	}
	p.refs++
	p.shard.learnLane(func() message {
		m.catchUp(r)
		return &migrationRound{m}
	})
}

// giveUp ends a migration and removes the copy.
func (m *migration) giveUp() {
	p := m.partition
	p.migrating = nil
	m.release()
	p.shard.logger.Warn("replica stays on its disk", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
	store, tmp := m.store, m.tmp.path
	p.shard.learnLane(func() message {
		var err error
		if store != nil {
			err = store.Close()
		}
		return &filesRemoved{err: errors.Join(err, os.RemoveAll(tmp))}
	})
}

func (m *migration) release() {
	if m.pin != nil {
		m.pin.Release()
		m.pin = nil
	}
}

// moveIfIdle begins the last round once nobody uses the store. The replica takes no more messages then; what it has appended to the
// log is durable, and so acknowledged, before it stands still.
func (p *partition) moveIfIdle() {
	m := p.migrating
	if m == nil || !m.ready || m.standing || p.parked > 0 || len(p.backlog) > 0 {
		return
	}
	if !m.wanted() {
		m.giveUp()
		return
	}
	if p.refs > 0 {
		p.abortCompaction()
		return
	}
	m.standing = true
	p.refs++
	p.shard.whenLogged(func(err error) {
		p.refs--
		if err != nil || !m.wanted() || p.refs > 0 || p.parked > 0 {
			m.err = errors.Join(err, errUnsettled)
			m.giveUp()
		} else {
			p.standStill()
		}
		p.closeIfIdle()
	})
}

var errUnsettled = errors.New("the replica has something else to do")

// standStill takes the replica out of service for the last round.
func (p *partition) standStill() {
	m := p.migrating
	if p.settle(); p.parked > 0 || p.state != replicaOpen { // what is committed must not be left to a store that is given up, nor to none
		m.err = errUnsettled
		m.giveUp()
		return
	}
	p.scanners.closeAll()
	var r *mutlog.Reader
	if m.behind() > 0 {
		if r, m.err = p.shard.log.Read(p.gpid, m.store.AppliedDecree()+1, p.replica.Committed()); m.err != nil {
			m.giveUp()
			return
		}
	}
	p.state = replicaInstalling
	p.refs++
	old, record, from := p.store, p.record(p.ballot), p.dir
	record.Moved++
	p.store = nil
	p.shard.background(func() message { return m.switchOver(old, r, record, from) })
}

// switchOver brings the copy up to date and puts it in the place of the replica. It blocks. Until the store is open in the new place
// the old one stays what it was.
func (m *migration) switchOver(old engine.Store, r *mutlog.Reader, record replicaRecord, from replicaDir) *moved {
	done := &moved{migration: m, record: record, dir: m.to.dir(m.partition.gpid)}
	if r != nil {
		m.catchUp(r)
	}
	if m.err == nil {
		_, m.err = m.store.Flush()
	}
	if m.err == nil {
		m.err = writeRecord(m.tmp, record)
	}
	// It is closed before it is renamed: RocksDB would go on making files under the old name.
	m.err = errors.Join(m.err, m.store.Close())
	m.store = nil
	copied := m.tmp.path // where the copy is
	if m.err == nil {
		if m.err = os.Rename(copied, done.dir.path); m.err == nil { // fails when something else is there
			copied = done.dir.path
			m.err = syncDir(filepath.Dir(copied))
		}
	}
	if m.err == nil {
		var store *rocks.Store
		if store, m.err = rocks.Open(done.dir.store(), m.options); m.err == nil {
			done.store = store
		}
	}
	if m.err != nil {
		m.err = errors.Join(m.err, os.RemoveAll(copied))
		done.store, done.stays = old, true
		return done
	}
	done.left = errors.Join(old.Close(), setAside(from, suffixOriginal, ""))
	return done
}

// moved ends a migration.
type moved struct {
	*migration
	dir    replicaDir // the new place
	record replicaRecord
	store  engine.Store
	stays  bool  // it did not work; store is the old one
	left   error // the old directory may still be under its name
}

func (m *moved) drop() { _ = m.store.Close() } // the node has stopped

func (m *moved) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	p.migrating = nil
	m.release()
	p.store = m.store
	p.store.SetTableOptions(p.tableOptions()) // they may have changed while it stood still
	if m.stays {
		sh.logger.Warn("replica stays on its disk", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
	} else {
		sh.node.disks.forget(p.gpid)
		sh.node.disks.note(p.gpid, m.dir.tag)
		p.dir, p.recorded = m.dir, m.record
		p.openedStore(p.store)
		sh.logger.Info("replica has moved to another disk", zap.Stringer("gpid", p.gpid), zap.String("disk", p.dir.tag), zap.Error(m.left))
		sh.node.reportChanged(p)
		sh.node.statusChanged()
	}
	if p.state == replicaInstalling {
		p.state = replicaOpen
		p.noteFlushed(p.store.FlushedDecree())
		p.tune()
		p.adoptConfig() // it had to wait
	}
	p.closeIfIdle()
}

// abandonMigration ends a migration whose replica ends, unless a lane works on it: then it ends when that has come back.
func (p *partition) abandonMigration() {
	if m := p.migrating; m != nil && m.ready && !m.standing {
		m.err = errUnsettled
		m.giveUp()
	}
}
