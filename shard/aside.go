package shard

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/netcore/proto"
)

// A replica leaves its place in two ways. One that failed is moved aside with its reason, so that what is damaged can be looked at
// while the node learns it anew. One that meta has no use for is moved aside as garbage. Both are removed for good only after days:
// a directory is the last thing that stands between an operator's mistake and the loss of data.

// moveAside closes a failed replica and renames its directory to <name>.<unix microseconds>.err with the reason inside. On a disk
// that has failed nothing is renamed: the directory is only forgotten, and the next start finds that there is a newer one.
func (p *partition) moveAside() {
	if p.refs > 0 || p.movingAside {
		return
	}
	p.movingAside = true
	p.refs++
	sh, store, dir, reason := p.shard, p.store, p.dir, p.failure
	p.store = nil
	root := sh.node.disks.byTag(dir.tag)
	sh.background(func() message {
		var err error
		if store != nil {
			err = store.Close()
		}
		if root != nil && root.broken.Load() {
			return &movedAside{partition: p}
		}
		if _, gone := os.Stat(dir.path); errors.Is(gone, fs.ErrNotExist) {
			return &movedAside{partition: p, err: err}
		}
		return &movedAside{partition: p, err: errors.Join(err, setAside(dir, suffixError, reason))}
	})
}

type movedAside struct {
	partition *partition
	err       error
}

func (m *movedAside) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	p.movingAside = false
	if m.err != nil {
		sh.logger.Error("failed replica not moved aside", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		sh.node.space.suspect(p.dir.tag)
		return
	}
	sh.node.disks.forget(p.gpid)
	sh.log.Forget(p.gpid)
	if sh.partitions[p.gpid] == p {
		delete(sh.partitions, p.gpid)
	}
	sh.logger.Info("failed replica moved aside", zap.Stringer("gpid", p.gpid), zap.String("reason", p.failure))
	sh.node.statusChanged()
}

// discard is meta's word that nobody needs a replica.
type discard struct{ proto.Discard }

func (m *discard) deliver(sh *Shard) {
	if sh.draining || sh.stopped {
		return
	}
	p := sh.partitions[m.GPID]
	switch {
	case p == nil:
		if dir, ok := sh.node.disks.find(m.GPID); ok {
			sh.throwAway(m.GPID, dir, m.Ballot)
		}
	case !p.mayDiscard(m.Ballot):
		sh.logger.Info("a replica that is needed is not discarded", zap.Stringer("gpid", m.GPID), zap.Int64("ballot", int64(m.Ballot)))
	case p.state == replicaFailed:
		p.moveAside()
	default:
		p.discarding = &m.Discard
		p.close()
	}
}

// mayDiscard tells whether the replica knows of nothing that speaks for it: neither a newer ballot than meta decided by, nor that it
// is a member or on its way to become one.
func (p *partition) mayDiscard(ballot proto.Ballot) bool {
	if max(p.ballot, p.wanted.Ballot, p.promised) > ballot || p.replica != nil && p.replica.Ballot() > ballot {
		return false
	}
	switch p.state {
	case replicaOpen:
		return p.replica.Role() == consensus.Inactive && !p.named()
	case replicaClosing:
		return p.again == nil
	case replicaFailed:
		return !p.named()
	default:
		return false
	}
}

// named tells whether the newest configuration that meta has told of names this node.
func (p *partition) named() bool {
	self := p.shard.node.id
	return p.wanted.Primary == self || slices.Contains(p.wanted.Secondaries, self)
}

// throwAway moves the directory of a closed replica aside, if no newer ballot is recorded in it than meta decided by.
func (sh *Shard) throwAway(g proto.GPID, dir replicaDir, ballot proto.Ballot) {
	if sh.leaving[g] {
		return
	}
	if sh.leaving == nil {
		sh.leaving = map[proto.GPID]bool{}
	}
	sh.leaving[g] = true
	sh.background(func() message {
		m := &thrownAway{gpid: g}
		var record replicaRecord
		record, m.err = readRecord(dir)
		switch {
		case m.err != nil:
		case record.Ballot > ballot:
			m.kept = true
		default:
			m.err = setAside(dir, suffixGarbage, "")
		}
		return m
	})
}

type thrownAway struct {
	gpid proto.GPID
	kept bool
	err  error
}

func (m *thrownAway) deliver(sh *Shard) {
	delete(sh.leaving, m.gpid)
	switch {
	case m.err != nil:
		sh.logger.Error("replica not discarded", zap.Stringer("gpid", m.gpid), zap.Error(m.err))
	case m.kept:
		sh.logger.Info("a replica of a newer ballot is not discarded", zap.Stringer("gpid", m.gpid))
	default:
		sh.node.disks.forget(m.gpid)
		sh.logger.Info("replica discarded", zap.Stringer("gpid", m.gpid))
		sh.node.statusChanged()
	}
}

// diskFailed gives up the replicas on a data directory.
func (n *Node) diskFailed(r *diskRoot, cause error) {
	for _, sh := range n.shards {
		if sh.loop != nil {
			sh.deliverLater(&diskGone{root: r, cause: cause})
		}
	}
}

type diskGone struct {
	root  *diskRoot
	cause error
}

func (m *diskGone) deliver(sh *Shard) {
	for _, p := range sh.partitions {
		if p.dir.tag == m.root.tag {
			p.quarantine("disk " + m.root.tag + ": " + m.cause.Error())
		}
	}
	for _, g := range sh.node.disks.held(m.root) {
		if sh.partitions[g] == nil && sh.node.owner(g) == sh {
			sh.node.disks.forget(g)
		}
	}
}

// cleanInterval is how often what was set aside is looked through.
const cleanInterval = 10 * time.Minute

// cleanUp removes what was set aside long ago, until the node stops. It blocks.
func (n *Node) cleanUp() {
	t := time.NewTicker(cleanInterval)
	defer t.Stop()
	for {
		switch removed, err := n.disks.clean(time.Now(), n.opts.KeepErrors, n.opts.KeepGarbage); {
		case err != nil:
			n.logger.Warn("replicas that were set aside not removed", zap.Error(err))
		case removed > 0:
			n.logger.Info("replicas that were set aside removed", zap.Int("count", removed))
		}
		select {
		case <-t.C:
		case <-n.life.Done():
			return
		}
	}
}
