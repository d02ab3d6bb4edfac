package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// A checkpoint that an operator asks for stays in the directory of the replica as checkpoint.<decree>, mostly hard links, to be copied
// away or gone back to. Of older ones as many are kept, and for as long, as the table says (rocksdb.checkpoint.reserve_*) or, as in
// Apache Pegasus, two and half an hour. Learners get checkpoints of their own, see learn.go.

const (
	checkpointPrefix      = "checkpoint."
	defaultCheckpointMin  = 2
	defaultCheckpointTime = 30 * time.Minute
)

// keepCheckpoint makes a checkpoint in the learn lane; false: one is being made.
func (p *partition) keepCheckpoint() bool {
	if p.checkpointing {
		return false
	}
	p.settle()
	p.checkpointing = true
	p.refs++
	store, dir := p.store, p.dir
	least, reserve := p.settings.CheckpointMin, p.settings.CheckpointTime
	if least == 0 {
		least = defaultCheckpointMin
	}
	if reserve < 0 {
		reserve = defaultCheckpointTime
	}
	p.shard.learnLane(func() message {
		m := &checkpointKept{partition: p}
		if m.decree, m.err = makeCheckpoint(store, dir); m.err == nil {
			m.err = dropCheckpoints(dir, least, reserve, time.Now())
		}
		return m
	})
	return true
}

type checkpointKept struct {
	partition *partition
	decree    proto.Decree
	err       error
}

func (m *checkpointKept) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	p.checkpointing = false
	if m.err != nil {
		sh.logger.Error("checkpoint not made", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
	} else {
		sh.logger.Info("checkpoint made", zap.Stringer("gpid", p.gpid), zap.Int64("decree", int64(m.decree)))
		p.noteFlushed(m.decree)
	}
	p.closeIfIdle()
}

// makeCheckpoint makes checkpoint.<decree>, unless it is there. It blocks.
func makeCheckpoint(store engine.Store, dir replicaDir) (proto.Decree, error) {
	tmp := filepath.Join(dir.path, checkpointPrefix+"tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return 0, err
	}
	decree, err := store.Checkpoint(tmp, true)
	if err != nil {
		return 0, err
	}
	name := filepath.Join(dir.path, fmt.Sprint(checkpointPrefix, decree))
	if _, err := os.Stat(name); err == nil {
		return decree, os.RemoveAll(tmp)
	}
	return decree, errors.Join(os.Rename(tmp, name), syncDir(dir.path))
}

// dropCheckpoints removes the oldest checkpoints that are beyond the least number and older than the reserve. It blocks.
func dropCheckpoints(dir replicaDir, least int, reserve time.Duration, now time.Time) error {
	entries, err := os.ReadDir(dir.path)
	if err != nil {
		return err
	}
	var decrees []int64
	for _, e := range entries {
		if text, ok := strings.CutPrefix(e.Name(), checkpointPrefix); ok && e.IsDir() {
			if d, err := strconv.ParseInt(text, 10, 64); err == nil {
				decrees = append(decrees, d)
			}
		}
	}
	slices.Sort(decrees)
	var errs []error
	for i := 0; i < len(decrees)-least; i++ {
		name := filepath.Join(dir.path, fmt.Sprint(checkpointPrefix, decrees[i]))
		if info, err := os.Stat(name); err != nil || now.Sub(info.ModTime()) < reserve {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.RemoveAll(name))
	}
	return errors.Join(errs...)
}
