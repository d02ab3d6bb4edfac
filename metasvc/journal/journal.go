// Package journal keeps the commands of the meta group: a replicated log with snapshots on disk, one voter per meta. It is
// the only place that knows Raft. What the commands mean it refuses to know: they are bytes that go to a Machine.
package journal

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// Machine is the state that the journal feeds. The journal calls it from goroutines of its own; Apply, Snapshot and
// Restore never overlap. A Machine may run all calls on one loop, on one condition: that loop must never wait for the
// journal, because the journal waits for it. Propose does not wait.
type Machine interface {
	// Apply carries out committed entries in order and returns when it has. The entries may not be kept. An error means
	// that an entry cannot be read; the machine must see to it that the process ends.
	Apply(entries []Entry) error
	// Snapshot returns the encoded state after everything applied so far.
	Snapshot() ([]byte, error)
	// Restore replaces the state by an encoded one. It is called before Open returns when there is a snapshot on disk,
	// and later on a member that fell far behind.
	Restore(snapshot []byte) error
	// Lead reports a change of leadership. Ready is reported only when everything that was committed under former
	// leaders has been applied.
	Lead(s Status)
	// Group reports the members when they are known first and when they changed.
	Group(members []Member)
}

// Entry is what was proposed. At is when the leader of that time took it, by its clock, in unix milliseconds: every member
// reads the same, also when it reads its log again after a restart. Times may go back when another member leads.
type Entry struct {
	Data []byte
	At   int64
}

// Status is what a member knows of the leadership. LeaderID is "" when it knows no leader.
type Status struct {
	Leading  bool
	Ready    bool // only with Leading
	LeaderID string
	Term     uint64
}

// Member is one voter. ID is how the others call it, for ever the same; Address is where its Raft listens.
type Member struct {
	ID      string
	Address string
}

// Config of a journal. Zero fields take the default named in their comment.
type Config struct {
	Dir     string // log, vote and snapshots; one process at a time
	Self    string // ID of this member
	Members []Member
	// Join has an empty directory wait for a group to take this member in (Journal.Add), in place of beginning a new group.
	Join bool
	// Listener is where Raft listens. Close closes it, as does Open when it fails.
	Listener net.Listener

	// Election is how long members wait for a silent leader. Shorter finds a new one faster and mistakes a busy machine
	// for a dead one more often. Default 2 s; 100 ms for a group of one, where nobody can disagree.
	Election time.Duration
	// SnapshotEvery is the number of entries after which the log is replaced by a snapshot. Default 8192.
	SnapshotEvery uint64
	Logger        *zap.Logger // default none
}

const (
	dialTimeout    = 5 * time.Second
	lockTimeout    = time.Second // for another process that has the directory
	maxProposals   = 8192
	maxPool        = 3
	keepSnapshots  = 2
	recentEntries  = 64 // in memory; an entry is a few KiB, seldom more
	snapshotPeriod = 30 * time.Second
)

// Journal is one running member. All methods may be called from any goroutine.
type Journal struct {
	raft      *raft.Raft
	store     *raftboltdb.BoltStore
	snapshots *raft.FileSnapshotStore
	transport *raft.NetworkTransport
	machine   Machine
	log       *zap.Logger

	proposals chan []byte
	changed   chan raft.Observation
	stop      chan struct{}
	workers   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Open starts a member: an empty directory begins with the given members, any other continues where it was. It returns
// an error when the directory was made for another group.
func Open(cfg Config, m Machine) (_ *Journal, err error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	j := &Journal{
		machine: m, log: cfg.Logger,
		proposals: make(chan []byte, maxProposals),
		changed:   make(chan raft.Observation, 16),
		stop:      make(chan struct{}),
	}
	logger := newLogger(cfg.Logger)
	j.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream{cfg.Listener}, MaxPool: maxPool, Timeout: dialTimeout, Logger: logger,
		MsgpackUseNewTimeFormat: true,
		// No pipeline: its sender waits without a time limit for a peer that has stopped, and holds up Shutdown (v1.7.3). An
		// entry costs a sync, and what is proposed meanwhile goes in one message anyway.
		MaxRPCsInFlight: 1,
	})
	defer func() {
		if err != nil {
			j.transport.Close()
			if j.store != nil {
				j.store.Close()
			}
		}
	}()
	if !slices.ContainsFunc(cfg.Members, func(m Member) bool { return m.ID == cfg.Self }) {
		return nil, fmt.Errorf("journal: %s is no member of its group", cfg.Self)
	}
	if j.store, j.snapshots, err = openStores(&cfg); err != nil {
		return nil, err
	}

	rc := raftConfig(&cfg)
	rc.Logger = logger
	known, err := raft.HasExistingState(j.store, j.store, j.snapshots)
	if err != nil {
		return nil, fmt.Errorf("journal: %s: %w", cfg.Dir, err)
	}
	if !known && !cfg.Join {
		if err := raft.BootstrapCluster(rc, j.store, j.store, j.snapshots, j.transport, group(cfg.Members)); err != nil {
			return nil, fmt.Errorf("journal: begin a new group: %w", err)
		}
	}
	changed, err := regrouped(j.store, j.snapshots)
	if err != nil {
		return nil, err
	}
	// With every message the leader names the entry before, which it would read from the file each time.
	recent, err := raft.NewLogCache(recentEntries, j.store)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.raft, err = raft.NewRaft(rc, fsm{m}, recent, j.store, j.snapshots, j.transport); err != nil {
		return nil, fmt.Errorf("journal: start from %s: %w", cfg.Dir, err)
	}
	if err := j.sameGroup(&cfg, changed); err != nil {
		j.raft.Shutdown().Error()
		return nil, err
	}

	j.raft.RegisterObserver(raft.NewObserver(j.changed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState, raft.PeerObservation:
			return true
		}
		return false
	}))
	j.workers.Add(2)
	go j.submit()
	go j.watch()
	return j, nil
}

// openStores opens what is on disk: log and vote, and snapshots.
func openStores(cfg *Config) (*raftboltdb.BoltStore, *raft.FileSnapshotStore, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	path := filepath.Join(cfg.Dir, "raft.db")
	store, err := raftboltdb.New(raftboltdb.Options{
		Path: path, BoltOptions: &bbolt.Options{Timeout: lockTimeout}, MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("journal: open %s (is another process using it?): %w", path, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, keepSnapshots, newLogger(cfg.Logger))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("journal: %w", err), store.Close())
	}
	return store, snapshots, nil
}

func raftConfig(cfg *Config) *raft.Config {
	election := cfg.Election
	if election == 0 {
		election = 2 * time.Second
		if len(cfg.Members) == 1 {
			election = 100 * time.Millisecond
		}
	}
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(cfg.Self)
	rc.HeartbeatTimeout, rc.ElectionTimeout = election, election
	// A leader that hears no majority gives up before the others can have elected another one.
	rc.LeaderLeaseTimeout = election * 3 / 4
	// How long followers may not know that the last entry is committed, when no other comes: they serve nobody, and a new leader finds
	// out by itself. The default, 50 ms, is half of what an idle group costs.
	rc.CommitTimeout = election / 2
	rc.BatchApplyCh = true
	rc.SnapshotInterval = snapshotPeriod
	rc.NoLegacyTelemetry = true
	rc.SnapshotThreshold = 8192
	if cfg.SnapshotEvery != 0 {
		rc.SnapshotThreshold, rc.TrailingLogs = cfg.SnapshotEvery, cfg.SnapshotEvery
		rc.SnapshotInterval = 100 * time.Millisecond
	}
	return rc
}

func group(members []Member) raft.Configuration {
	var c raft.Configuration
	for _, m := range members {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)})
	}
	return c
}

// Propose hands an entry over and never waits; the journal keeps data. A committed entry comes back through Apply. There
// is no other answer: an entry that is lost is lost with the leadership, and Lead reports that. So whoever waits for an
// entry gives up when Lead says anything but what it said when the entry was proposed; then nobody can tell whether the
// entry will be committed. false means that too many entries are under way and this one will certainly not be.
func (j *Journal) Propose(data []byte) bool {
	select {
	case j.proposals <- data:
		return true
	default:
		return false
	}
}

// submit keeps the order of proposals and does the waiting at Raft's door.
func (j *Journal) submit() {
	defer j.workers.Done()
	for {
		select {
		case data := <-j.proposals:
			j.raft.Apply(data, 0)
		case <-j.stop:
			return
		}
	}
}

// Close leaves the group: a leader hands over first if it can. Proposals under way may or may not be committed. The
// Machine must still answer while Close runs.
func (j *Journal) Close() error {
	j.closeOnce.Do(func() {
		if len(j.Members()) > 1 && j.raft.State() == raft.Leader {
			if err := j.raft.LeadershipTransfer().Error(); err != nil {
				j.log.Info("no hand-over of the leadership", zap.Error(err))
			}
		}
		err := j.raft.Shutdown().Error()
		close(j.stop)
		j.workers.Wait()
		j.transport.CloseStreams() // Close ends the listener only
		j.closeErr = errors.Join(err, j.transport.Close(), j.store.Close())
	})
	return j.closeErr
}
