package shard

import (
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// Closing a replica, because its table was dropped or it left its group, must lose nothing that it has acknowledged. What is decided
// is flushed into the store. The tail, prepared and not known to be decided, may have been acknowledged to a primary that answered
// its client; and the primary's copy may be gone when the table is recalled. So the tail is written beside the store before the log
// forgets the replica, and is back in the log before the replica takes part in anything again.

// keepTail closes a store that nobody uses any more and keeps the tail. The log is asked when everything appended is durable in it.
func (p *partition) keepTail() {
	p.refs++
	sh := p.shard
	sh.whenLogged(func(err error) {
		if err != nil {
			(&replicaClosed{partition: p, err: fmt.Errorf("shard log: %w", err)}).deliver(sh)
			return
		}
		store, dir, decided, prepared := p.store, p.dir, p.replica.Committed(), p.replica.Prepared()
		p.store = nil
		var tail *mutlog.Reader
		if prepared > decided {
			if tail, err = sh.log.Read(p.gpid, decided+1, prepared); err != nil {
				err = fmt.Errorf("decrees %d to %d, not decided, cannot be read from the log: %w", decided+1, prepared, err)
			}
		}
		sh.background(func() message {
			return &replicaClosed{partition: p, err: errors.Join(err, closeStore(store, dir, decided, tail))}
		})
	})
}

// closeStore flushes and closes a store, and writes the tail beside it. It blocks. An error leaves the log as what must be replayed.
func closeStore(store engine.Store, dir replicaDir, decided proto.Decree, tail *mutlog.Reader) error {
	decree, err := store.Flush()
	if err == nil && decree < decided {
		err = fmt.Errorf("%w: decrees %d to %d could not be applied", engine.ErrNoSpace, decree+1, decided)
	}
	if tail != nil {
		if err == nil {
			err = mutlog.Save(disk.OS(), dir.salvage(), tail, "")
		}
		_ = tail.Close() // it was only read
	}
	return errors.Join(err, store.Close())
}

// openClosed opens a replica that was closed while the process ran. It blocks.
func openClosed(p *partition, dir replicaDir, options rocks.Options) *replicaOpened {
	m := &replicaOpened{partition: p}
	r := &recovering{dir: dir}
	if r.record, m.err = readRecord(dir); m.err != nil {
		return m
	}
	m.record = r.record
	if m.store, m.err = rocks.Open(dir.store(), options); m.err != nil {
		return m
	}
	r.store, r.flushed = m.store, m.store.AppliedDecree()
	if m.err = r.loadSalvage(p.gpid); m.err == nil && r.salvaged {
		m.err = r.join()
	}
	r.err = m.err
	if r.applyKnownCommitted(p.gpid); r.err == nil && r.store.AppliedDecree() > r.flushed {
		r.flushed, r.err = r.store.Flush() // what is decided needs no log
	}
	if m.err = r.err; m.err != nil {
		m.err, m.store = errors.Join(m.err, m.store.Close()), nil
		return m
	}
	m.restored = consensus.Restored{
		Ballot: max(r.record.Ballot, r.ballot), Durable: r.flushed, Committed: r.store.AppliedDecree(), Timestamp: r.newest, Log: r.tail,
	}
	m.tailKept = r.salvaged
	return m
}

// takeBack appends the tail of a replica that is being opened to the log, from index at on, and opens the replica when all of it is
// durable there and the file is gone. While the log has no room it comes back with the tick.
func (p *partition) takeBack(m *replicaOpened, at int) {
	sh := p.shard
	if !m.tailKept {
		p.open(m.store, m.restored)
		return
	}
	p.refs++ // until the file is gone
	for ; at < len(m.restored.Log); at++ {
		rec := logRecord(p.gpid, &m.restored.Log[at])
		if err := sh.log.Append(&rec); errors.Is(err, mutlog.ErrBusy) || errors.Is(err, mutlog.ErrFull) {
			sh.retries = append(sh.retries, func() { p.refs--; p.takeBack(m, at) })
			return
		} else if err != nil {
			(&tailTaken{opened: m, err: err}).deliver(sh)
			return
		}
	}
	dir := p.dir
	sh.whenLogged(func(err error) {
		if err != nil {
			(&tailTaken{opened: m, err: err}).deliver(sh)
			return
		}
		sh.background(func() message {
			err := disk.OS().Remove(dir.salvage())
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return &tailTaken{opened: m, err: errors.Join(err, disk.OS().SyncDir(dir.path))}
		})
	})
}

type tailTaken struct {
	opened *replicaOpened
	err    error
}

func (m *tailTaken) drop() { m.opened.drop() }

func (m *tailTaken) deliver(sh *Shard) {
	p := m.opened.partition
	p.refs--
	if m.err != nil {
		p.store = m.opened.store
		p.quarantine("taking back what was not decided when it was closed: " + m.err.Error())
		p.closeIfIdle()
		return
	}
	if n := len(m.opened.restored.Log); n > 0 {
		sh.logger.Info("what was not decided when the replica was closed is back", zap.Stringer("gpid", p.gpid), zap.Int("mutations", n))
	}
	p.open(m.opened.store, m.opened.restored)
}
