package shard

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A full disk makes the replicas on it refuse writes with ERR_DISK_INSUFFICIENT; reads go on, nobody is quarantined, and writes
// are taken again when there is space. (Reads do not go on where a store ran out of space before the watermark was noticed, with writes
// that were answered and not applied, see answerEarly.)
//
// Three things stand behind that. The watermark: once a second, off the loops, every directory is asked what is available; below
// the reserve its replicas refuse writes while there is still room for what was accepted. The members: a write needs all of them,
// so a node tells the others with every lease message whether any of its directories is full, and primaries refuse for members
// there. (Not by acknowledgements: a full member gets nothing that it could acknowledge, and must be able to take it back. The
// price is that of several disks in a node one full one counts for all.) And what ran into ENOSPC nevertheless waits: the log
// write, what is committed and not applied, records and files; all of it is tried again with the tick.
//
// Rejected: giving up replicas and relearning them. It frees nothing on the disk in question and loses copies when they matter.
//
// A disk that fails is found by a probe: a small file is written, synced and removed every few seconds, and at once when a store
// got an I/O error. The replicas on a disk that fails its probe are given up; the others go on.
type space struct {
	fs      disk.FS
	reserve int64 // bytes; 0 = no watermark
	disks   *disks
	logs    *diskRoot
	logger  *zap.Logger
	// failed is called when a data directory fails, once for each; from any goroutine.
	failed func(r *diskRoot, cause error)
	// changed is called when the status of a data directory changes, from any goroutine.
	changed func()

	// trouble is set when anything below is; the path of a write looks at nothing else in good times.
	trouble atomic.Bool
	full    atomic.Bool // any root

	mu    sync.Mutex
	nodes map[proto.NodeID]struct{} // others that said that they are full
}

const (
	// spaceInterval is how often the directories are looked at.
	spaceInterval = time.Second
	// probeEvery is how many looks make a probe.
	probeEvery = 10
	probeFile  = ".probe"
)

func newSpace(fsys disk.FS, reserve int64, disks *disks, logs string, logger *zap.Logger) *space {
	return &space{
		fs: fsys, reserve: reserve, disks: disks, logs: newDiskRoot(DataDir{Path: logs}), logger: logger,
		failed: func(*diskRoot, error) {}, changed: func() {}, nodes: map[proto.NodeID]struct{}{},
	}
}

// roots are the data directories and that of the logs.
func (s *space) roots() []*diskRoot { return append(slices.Clone(s.disks.all()), s.logs) }

// watch looks after a directory until stop is closed, each in a goroutine of its own: a disk that hangs must not blind the node
// for the others. It blocks.
func (s *space) watch(r *diskRoot, stop <-chan struct{}) {
	t := time.NewTicker(spaceInterval)
	defer t.Stop()
	for looks := 1; ; looks++ {
		s.look(r)
		if looks%probeEvery == 0 || r.suspect.Swap(false) {
			s.probe(r)
		}
		select {
		case <-t.C:
		case <-stop:
			return
		}
	}
}

// check looks at every directory once.
func (s *space) check() {
	for _, r := range s.roots() {
		s.look(r)
	}
}

// look asks for the space of a directory. One that cannot be asked is left as it was.
func (s *space) look(r *diskRoot) {
	if r.broken.Load() {
		return
	}
	have, err := s.fs.Space(r.path)
	if err != nil {
		s.logger.Warn("cannot tell the space of a disk", zap.String("dir", r.path), zap.Error(err))
		r.suspect.Store(true)
		return
	}
	r.capacity.Store(have.Total)
	r.available.Store(have.Available)
	low := s.reserve > 0 && have.Available < min(have.Total/10, s.reserve)
	if r.full.Swap(low) == low {
		return
	}
	if low {
		s.logger.Error("disk is full: writes are refused", zap.String("dir", r.path), zap.Int64("available", have.Available))
	} else {
		s.logger.Info("disk has space again", zap.String("dir", r.path), zap.Int64("available", have.Available))
	}
	s.conclude()
	s.changed()
}

// probe writes to a data directory and finds out whether it has failed. The logs need none: every write is one.
func (s *space) probe(r *diskRoot) {
	if r.tag == "" || r.broken.Load() {
		return
	}
	name := filepath.Join(r.path, probeFile)
	err := disk.WriteFile(s.fs, name, []byte("probe\n"))
	if err == nil {
		err = s.fs.Remove(name)
	}
	if err != nil && !outOfSpace(err) {
		s.failDisk(r, err)
	}
}

// failDisk gives a data directory up, for as long as the process lives.
func (s *space) failDisk(r *diskRoot, err error) {
	if r.broken.Swap(true) {
		return
	}
	s.logger.Error("disk has failed: its replicas are given up", zap.String("dir", r.path), zap.Error(err))
	s.conclude()
	s.failed(r, err)
	s.changed()
}

// suspect has a directory probed soon.
func (s *space) suspect(tag string) {
	if r := s.disks.byTag(tag); r != nil {
		r.suspect.Store(true)
	}
}

// hit takes note that something got ENOSPC: all directories count as full until the next look.
func (s *space) hit() {
	for _, r := range s.roots() {
		r.full.Store(true)
	}
	s.conclude()
}

func (s *space) conclude() {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := slices.ContainsFunc(s.roots(), func(r *diskRoot) bool { return r.full.Load() && !r.broken.Load() })
	s.full.Store(full)
	s.trouble.Store(full || len(s.nodes) > 0)
}

// heard takes what another node says of itself.
func (s *space) heard(node proto.NodeID, full bool) {
	if !full && !s.trouble.Load() {
		return
	}
	s.mu.Lock()
	if full {
		s.nodes[node] = struct{}{}
	} else {
		delete(s.nodes, node)
	}
	s.mu.Unlock()
	s.conclude()
}

// lacks tells whether replicas in the data directory of that tag lack space.
func (s *space) lacks(tag string) bool {
	return s.full.Load() && slices.ContainsFunc(s.roots(), func(r *diskRoot) bool { return (r.tag == "" || r.tag == tag) && r.full.Load() })
}

// fullMember tells whether one of the nodes said that it is full.
func (s *space) fullMember(nodes []proto.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(nodes, func(n proto.NodeID) bool { _, ok := s.nodes[n]; return ok })
}

// outOfSpace tells whether err is that a disk is full, whoever says so.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, engine.ErrNoSpace) ||
		errors.Is(err, mutlog.ErrNoSpace)
}

// lacksSpace tells whether writes must be refused because a member has no space for them.
func (p *partition) lacksSpace() bool {
	s := p.shard.node.space
	return p.parked > 0 || len(p.backlog) > 0 ||
		s.trouble.Load() && (s.lacks(p.dir.tag) || s.fullMember(p.wanted.Secondaries))
}

// later runs fn with the next tick, when what lacked space is tried again.
func (sh *Shard) later(why string, p *partition, err error, fn func()) {
	sh.node.space.hit()
	sh.logger.Warn("no space on disk; it will be tried again", zap.Stringer("gpid", p.gpid), zap.String("what", why), zap.Error(err))
	sh.retries = append(sh.retries, fn)
}

// retry goes on with everything that waits for space.
func (sh *Shard) retry() {
	retries := sh.retries
	sh.retries = nil
	for _, fn := range retries {
		fn()
	}
	sh.logJob.stalled = false
	sh.startLogWrite()
	for _, p := range sh.partitions {
		if len(p.backlog) > 0 {
			p.workOffBacklog()
		}
		if p.parked > 0 && p.state == replicaOpen {
			p.parked = 0
			p.settle()
			p.note(workWrite)
		}
	}
}

// park keeps what is committed and could not be applied. Its tokens move to memory of their own, because the next step of the
// replica reuses theirs; it comes before everything that is committed later.
func (p *partition) park() {
	for i := p.parked; i < len(p.committed); i++ {
		p.committed[i].Tokens = slices.Clone(p.committed[i].Tokens)
	}
	p.parked = len(p.committed)
}

// applied tells whether everything that was found when this replica became primary, and that it has answered, is in the store, so that
// reads may be answered from it. What else is parked has been answered to nobody.
func (p *partition) applied() bool {
	return p.parked == 0 || p.store.AppliedDecree() >= p.found
}

// appendLater keeps a record for which the log has no room now, with everything behind it: what consensus has appended must get
// into the log, in that order. Only a new primary comes here, which prepares its window again; all others ask for room first.
func (p *partition) appendLater(m *consensus.Mutation) {
	if len(p.backlog) == 0 {
		p.shard.logger.Warn("shard log has no room for what a new primary prepares again; it waits", zap.Stringer("gpid", p.gpid))
	}
	later := *m
	later.Tokens = nil
	p.backlog = append(p.backlog, later)
}

// workOffBacklog appends what waits, as far as the log takes it.
func (p *partition) workOffBacklog() {
	waiting := p.backlog
	p.backlog = nil
	for i := range waiting {
		if p.state != replicaOpen {
			return
		}
		p.appendToLog(&waiting[i])
	}
}

// rebuildOverlay indexes what is in flight anew, when mutations have left that are at neither end.
func (p *partition) rebuildOverlay() {
	active := p.overlay.active
	p.overlay = overlay{active: active}
	for _, m := range p.inFlight {
		m.overlaid, m.overlaidBytes = 0, 0
		if active {
			p.overlay.add(m)
		}
	}
	if p.current != nil {
		p.current.overlaid, p.current.overlaidBytes = 0, 0
		if active {
			p.overlay.add(p.current)
		}
	}
}
