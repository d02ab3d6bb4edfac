package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
	"pegasus/shard/tableenv"
)

// Recovery brings a node back to what it had acknowledged: every store opens at the decree that its last flush made durable,
// and the shard logs bring it from there to the end of the log. Replay is by partition, from all logs found, so the number of
// shards may have changed since. A store that does not open, or a log range that is damaged, fails its one replica.

// openConcurrency is how many stores open or flush at once: RocksDB mostly waits for the disk while it does.
const openConcurrency = 8

// recovering is one replica on its way back.
type recovering struct {
	dir     replicaDir
	record  replicaRecord
	store   *rocks.Store
	flushed proto.Decree
	newest  int64                // timestamp of the newest record in the logs, microseconds
	ballot  proto.Ballot         // the highest of a record in the logs: what was acknowledged under it is durable, so it must be, too
	tail    []consensus.Mutation // from the logs, behind flushed
	err     error

	installed bool // store belongs to a partition

	salvaged bool                 // there is a salvaged log
	saved    []consensus.Mutation // in it, behind flushed
	logged   proto.Decree         // of tail, the last that is in a log
}

func (n *Node) recover() error {
	found, err := n.disks.scan()
	if err != nil {
		return err
	}
	replicas := make(map[proto.GPID]*recovering, len(found))
	for g, dir := range found {
		replicas[g] = &recovering{dir: dir}
	}
	n.openStores(replicas)
	defer func() {
		// Only a start that fails leaves any: the others belong to partitions now.
		for _, r := range replicas {
			if r.store != nil && !r.installed {
				_ = r.store.Close() // nothing was written that the log does not have
			}
		}
	}()
	if err := n.replayLogs(replicas); err != nil {
		return err
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, openConcurrency)
	for g, r := range replicas {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.applyKnownCommitted(g)
		})
	}
	wg.Wait()
	for g, r := range replicas {
		if err := n.rehome(g, r); err != nil {
			return err
		}
		n.readmit(g, r)
		n.owner(g).install(g, r)
		r.installed = true
	}
	for _, f := range n.foreign {
		if !f.Done() {
			continue
		}
		if err := f.Retire(); err != nil {
			n.logger.Warn("log of a former shard not removed", zap.Error(err))
		}
	}
	return nil
}

func (n *Node) openStores(replicas map[proto.GPID]*recovering) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, openConcurrency)
	for g, r := range replicas {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if r.record, r.err = readRecord(r.dir); r.err != nil {
				return
			}
			if r.err = r.dir.tidy(); r.err != nil {
				return
			}
			if r.record.AppID != g.App || r.record.Partition != g.Part {
				r.err = fmt.Errorf("%s says that it is replica %d.%d", r.dir.path, r.record.AppID, r.record.Partition)
				return
			}
			settings := tableenv.Parse(r.record.Envs)
			o := n.storeOptionsOf(g, r.record.PartitionCount, &settings)
			o.MustExist = true
			if r.store, r.err = rocks.Open(r.dir.store(), o); r.err == nil {
				r.flushed = r.store.FlushedDecree()
				r.err = r.loadSalvage(g)
			}
		})
	}
	wg.Wait()
}

// replayLogs opens the log of every shard, reads those of shards that this run does not have, and hands out the records.
func (n *Node) replayLogs(replicas map[proto.GPID]*recovering) error {
	options := n.opts.Log
	options.Flushed = func(g proto.GPID) proto.Decree {
		if r := replicas[g]; r != nil && r.store != nil {
			return r.flushed
		}
		return -1 // the log must not call lost what only this store could tell, when it opens again
	}
	take := func(rec mutlog.Record) error {
		if r := replicas[rec.GPID]; r != nil && r.err == nil {
			r.newest, r.ballot = max(r.newest, rec.Timestamp), max(r.ballot, rec.Ballot)
			r.tail = append(r.tail, consensus.Mutation{
				Ballot: rec.Ballot, Decree: rec.Decree, Committed: rec.Committed, Timestamp: rec.Timestamp,
				Batch: slices.Clone(rec.Payload),
			})
		}
		return nil
	}
	own := make([]string, len(n.shards))
	for i := range own {
		own[i] = n.logDir(i)
	}
	if err := os.MkdirAll(filepath.Dir(own[0]), 0o755); err != nil {
		return err
	}
	foreign, err := n.foreignLogs(own)
	if err != nil {
		return err
	}
	logs, others, report, err := mutlog.OpenAll(disk.OS(), own, foreign, options, take)
	if err != nil {
		return err
	}
	n.logger.Info("shard logs replayed", zap.Int("records", report.Records), zap.Int64("bytes", report.Bytes),
		zap.Int("damages", report.Damages), zap.Int("replicas", len(replicas)))
	for i, sh := range n.shards {
		sh.log = logs[i]
	}
	n.foreign = others
	for g, r := range replicas {
		reason, spoiled := report.Spoiled[g]
		_, listed := report.Partitions[g]
		switch {
		case r.err != nil:
		case spoiled:
			r.err = fmt.Errorf("shard log: %s", reason)
		case report.Suspect && !listed:
			r.err = errors.New("shard log lost records, and they may have been of this replica")
		case r.salvaged:
			r.err = r.join()
		}
	}
	n.forgetOrphans(replicas, report.Partitions)
	return nil
}

// foreignLogs are the logs of shards beyond those of this run, left by a run with more shards.
func (n *Node) foreignLogs(own []string) ([]string, error) {
	base := filepath.Dir(own[0])
	names, err := disk.OS().List(base)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, name := range names {
		if dir := filepath.Join(base, name); !slices.Contains(own, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// rehome ends what a replica has in other logs than that of its shard, after the number of shards has changed. What is decided
// is in the store already, which is flushed. What is not is written beside the store, as a failed replica's is; then all logs
// forget it, and readmit takes it back into the log of its shard. So nothing depends on the order in which logs forget, and a
// crash anywhere in between leaves the file and any part of the rest.
func (n *Node) rehome(g proto.GPID, r *recovering) error {
	owner := n.owner(g)
	elsewhere := slices.ContainsFunc(n.shards, func(sh *Shard) bool { return sh != owner && sh.log.Holds(g) }) ||
		slices.ContainsFunc(n.foreign, func(f *mutlog.Foreign) bool { return f.Holds(g) })
	if !elsewhere || r.err != nil {
		return nil
	}
	if r.flushed, r.err = r.store.Flush(); r.err != nil {
		return nil
	}
	if len(r.tail) > 0 {
		records := make([]mutlog.Record, 0, len(r.tail))
		for i := range r.tail {
			records = append(records, logRecord(g, &r.tail[i]))
		}
		if r.err = mutlog.SaveRecords(disk.OS(), r.dir.salvage(), g, records); r.err != nil {
			return nil
		}
		r.salvaged, r.logged = true, 0
	}
	for _, sh := range n.shards {
		sh.log.Forget(g)
		if err := sh.log.Drain(nil); err != nil {
			return fmt.Errorf("moving %v to the log of shard %d: %w", g, owner.id, err)
		}
	}
	for _, f := range n.foreign {
		f.Forget(g)
	}
	return nil
}

// logRecord is a mutation as the log takes it.
func logRecord(g proto.GPID, m *consensus.Mutation) mutlog.Record {
	return mutlog.Record{GPID: g, Ballot: m.Ballot, Decree: m.Decree, Committed: m.Committed, Timestamp: m.Timestamp, Payload: m.Batch}
}

// applyKnownCommitted applies the part of the tail that later records say was committed. The rest is for consensus to decide.
func (r *recovering) applyKnownCommitted(g proto.GPID) {
	if r.err != nil {
		return
	}
	committed := r.flushed
	for i := range r.tail {
		committed = max(committed, r.tail[i].Committed)
	}
	n := 0
	for n < len(r.tail) && r.tail[n].Decree <= committed {
		n++
	}
	if r.err = r.apply(g, r.tail[:n]); r.err == nil {
		r.tail = r.tail[n:]
	}
}

// apply writes replayed mutations into the store.
func (r *recovering) apply(g proto.GPID, mutations []consensus.Mutation) error {
	for start := 0; start < len(mutations); start += applyChunk {
		chunk := mutations[start:min(start+applyChunk, len(mutations))]
		var batches [][]byte
		for _, m := range chunk {
			if len(m.Batch) > 0 {
				batches = append(batches, m.Batch)
			}
		}
		last := chunk[len(chunk)-1].Decree
		if err := r.store.Apply(last, batches...); err != nil {
			return fmt.Errorf("replay of %v up to decree %d: %w", g, last, err)
		}
	}
	return nil
}

// applyChunk is how many replayed mutations go into one store write.
const applyChunk = 64

// install makes the partition on its shard. The loops do not run yet.
func (sh *Shard) install(g proto.GPID, r *recovering) {
	p := newPartition(sh, g, r.dir)
	sh.partitions[g] = p
	if r.record.AppID == g.App {
		app := r.record.app()
		p.configureTable(&app)
		p.described, p.recorded = r.record.Described, r.record
	}
	if r.err != nil {
		sh.logger.Error("replica not opened", zap.Stringer("gpid", g), zap.String("dir", r.dir.path), zap.Error(r.err))
		p.state, p.failure = replicaFailed, r.err.Error()
		if r.store != nil {
			p.store = r.store
		}
		return
	}
	p.ballot, p.flushed = r.record.Ballot, r.flushed
	p.open(r.store, consensus.Restored{
		Ballot: max(p.ballot, r.ballot), Durable: r.flushed, Committed: r.store.AppliedDecree(), Timestamp: r.newest, Log: r.tail,
	})
}
