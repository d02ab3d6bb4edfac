package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A replica that failed flushes no more, so what the log holds of it stays, and with it every segment since: in the end its
// neighbours could write nothing. Once the log is half full its records are therefore moved into the directory of the replica,
// where the next start finds them, and the log forgets them. A member of a group is mostly moved aside and learns anew before
// that; for a group of one it is what keeps an operator's chance to repair the store and lose nothing.

// A replica that is closed while the process runs leaves the log, too. What it has prepared and not seen decided may have been
// acknowledged, so it goes into the same file, and comes back with the replica; see tail.go.

// salvageFile is beside the store, in the format of the log.
const salvageFile = "salvage.mutlog"

func (d replicaDir) salvage() string { return filepath.Join(d.path, salvageFile) }

// salvage moves what the log holds of a failed replica into its directory.
func (sh *Shard) salvage(p *partition) {
	if p.refs > 0 || p.movingAside {
		return
	}
	tail, spoiled, err := sh.log.Tail(p.gpid)
	done := &salvaged{partition: p, tail: tail}
	if _, gone := os.Stat(p.dir.path); errors.Is(err, mutlog.ErrNotInLog) || errors.Is(gone, fs.ErrNotExist) {
		done.nowhere = true // nothing is held, or nothing that it could be put to
	} else if err != nil {
		sh.logger.Error("cannot read the log of a failed replica", zap.Stringer("gpid", p.gpid), zap.Error(err))
		return
	}
	reason := ""
	if spoiled {
		reason = p.failure
	}
	sh.relieving = true
	p.refs++
	sh.background(func() message {
		if !done.nowhere {
			done.err = save(p.gpid, p.dir.salvage(), tail, reason)
		}
		return done
	})
}

// save writes the file, unless there is one: it holds all that the log can hold, for it goes before the replica takes part in
// anything. One that cannot be read is kept aside.
func save(g proto.GPID, name string, tail *mutlog.Reader, reason string) error {
	switch _, err := mutlog.Load(disk.OS(), name, g, func(mutlog.Record) error { return nil }); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		if err := disk.OS().Rename(name, name+".damaged"); err != nil {
			return err
		}
	}
	return mutlog.Save(disk.OS(), name, tail, reason)
}

type salvaged struct {
	partition *partition
	tail      *mutlog.Reader
	nowhere   bool
	err       error
}

func (m *salvaged) deliver(sh *Shard) {
	sh.relieving = false
	p := m.partition
	p.refs--
	if m.tail != nil {
		_ = m.tail.Close() // it was only read
	}
	switch {
	case m.err != nil:
		sh.logger.Error("log of a failed replica not salvaged", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
	case p.state == replicaFailed:
		sh.logger.Info("log of a failed replica salvaged", zap.Stringer("gpid", p.gpid), zap.String("dir", p.dir.path))
		sh.log.Forget(p.gpid)
		sh.startLogWrite()
	}
	p.closeIfIdle()
}

// loadSalvage reads what an earlier run has put beside the store.
func (r *recovering) loadSalvage(g proto.GPID) error {
	spoiled, err := mutlog.Load(disk.OS(), r.dir.salvage(), g, func(rec mutlog.Record) error {
		if rec.Decree > r.flushed {
			r.saved = append(r.saved, consensus.Mutation{
				Ballot: rec.Ballot, Decree: rec.Decree, Committed: rec.Committed, Timestamp: rec.Timestamp, Batch: slices.Clone(rec.Payload),
			})
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case spoiled != "":
		return errors.New(spoiled)
	}
	r.salvaged = true
	return nil
}

// join puts what was salvaged around what the logs still hold. They can hold a part of it, when the process died between the
// file and the forgetting or while the records were taken back; they never hold anything else, because the file goes before the
// replica takes part in anything.
func (r *recovering) join() error {
	first, last := proto.Decree(0), proto.Decree(0)
	if n := len(r.tail); n > 0 {
		first, last = r.tail[0].Decree, r.tail[n-1].Decree
	}
	var whole []consensus.Mutation
	for _, m := range r.saved {
		switch {
		case first == 0 || m.Decree < first:
			whole = append(whole, m)
		case m.Decree > last:
			r.tail = append(r.tail, m)
		}
		r.newest, r.ballot = max(r.newest, m.Timestamp), max(r.ballot, m.Ballot)
	}
	r.logged, r.saved = last, nil
	r.tail = append(whole, r.tail...)
	for i := range r.tail {
		if want := r.flushed + 1 + proto.Decree(i); r.tail[i].Decree != want {
			return fmt.Errorf("decree %d is neither in the store nor in %s nor in the log", want, salvageFile)
		}
	}
	return nil
}

// readmit takes salvaged records back: what is decided is in the store already, which is flushed; the rest goes to the log of the
// shard, durably; then the file goes. If that fails the replica does, and the file stays for the next start.
func (n *Node) readmit(g proto.GPID, r *recovering) {
	if r.err != nil || !r.salvaged {
		return
	}
	if r.flushed, r.err = r.store.Flush(); r.err != nil {
		return
	}
	log := n.owner(g).log
	r.err = log.Drain(nil) // makes room: what the stores have flushed meanwhile is freed
	for i := range r.tail {
		m := &r.tail[i]
		if r.err != nil {
			break
		}
		if m.Decree <= r.logged {
			continue
		}
		rec := logRecord(g, m)
		if r.err = log.Append(&rec); r.err == nil {
			r.err = log.Drain(nil)
		}
	}
	if r.err != nil {
		r.err = fmt.Errorf("taking it back from %s: %w", salvageFile, r.err)
		return
	}
	if r.err = disk.OS().Remove(r.dir.salvage()); r.err == nil {
		r.err = disk.OS().SyncDir(r.dir.path)
	}
	n.logger.Info("salvaged log taken back", zap.Stringer("gpid", g), zap.Int64("decree", int64(r.flushed)), zap.Error(r.err))
}

// forgetOrphans ends what the logs hold of partitions that have no directory: nothing will ever flush it.
func (n *Node) forgetOrphans(replicas map[proto.GPID]*recovering, held map[proto.GPID]mutlog.Range) {
	for g, r := range held {
		if replicas[g] != nil {
			continue
		}
		n.logger.Warn("the log holds a replica that is on no data directory; it is forgotten", zap.Stringer("gpid", g),
			zap.Int64("first", int64(r.First)), zap.Int64("last", int64(r.Last)))
		for _, sh := range n.shards {
			sh.log.Forget(g)
		}
		for _, f := range n.foreign {
			f.Forget(g)
		}
	}
}
