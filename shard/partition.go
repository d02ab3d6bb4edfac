package shard

import (
	"context"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
	"pegasus/shard/tableenv"
)

// partition is everything the owning shard keeps of one replica. Only its loop touches it; lane jobs hold what they need of
// it (the store, an iterator) and count in refs, so that the store is closed after the last of them has come back.
type partition struct {
	// What every request needs comes first, in few cache lines; see warm.go, which names one field of each.
	gpid      proto.GPID
	shard     *Shard
	replica   *consensus.Replica
	store     engine.Store
	throttles *throttles // nil when the table has none
	parked    int        // of committed, that wait for space on the disk; see park
	state     lifecycle
	pending   pendingWork
	reading   bool // an atomic operation's record is being read in the lane; queue waits
	leading   bool // this replica is primary, and was at the last change

	// Writes. current is the mutation that this turn is building, inFlight those proposed and not yet answered, oldest first.
	current       *mutationOps
	inFlight      []*mutationOps
	lastTimestamp int64                // microseconds, of the newest mutation
	committed     []consensus.Mutation // in order, to be applied at the end of this turn, or when enough are gathered
	gathered      gathering
	queue         []queuedWrite
	migrating     *migration           // to another data directory
	backlog       []consensus.Mutation // that wait for room in the log; see appendLater
	found         proto.Decree         // what it had prepared when it became primary, or has answered since without applying it
	slowAfter     int64                // nanoseconds from which on a request is explained in the slow log
	overlay       overlay
	hotReads      hotCounter
	hotWrites     hotCounter
	meter         meter
	rows          rowsOf
	env           rrdb.Env // as of this turn; see freshEnv
	settings      tableenv.Settings

	app     proto.AppInfo
	tuned   engine.Tuning // what the store has
	tuning  bool          // it is being given something
	compact compaction
	// described is when meta described app, unix milliseconds; recorded is what the record on disk says.
	described int64
	recorded  replicaRecord
	dir       replicaDir
	failure   string       // why state is failed
	ballot    proto.Ballot // of the newest configuration that is on disk; older ones are never acted on again

	wanted     consensus.Config      // newest from meta; acted on once its ballot is on disk
	wants      bool                  // consensus has not been told of wanted yet
	promised   proto.Ballot          // consensus waits for this ballot to be on disk; 0 = for none
	flushed    proto.Decree          // the store survives without the log up to here
	persisting bool                  // the record is being written
	ahead      *proposal             // meta's newest one, when it is based on a configuration that is not acted on yet
	asking     proto.PartitionConfig // what a proposal of meta was based on, until the store is open and meta was asked
	again      *reassignment         // meta's newest word on a replica that is closing
	discarding *proto.Discard        // what to do with its files when it is closed: nil, they stay
	refs       int                   // lane jobs and iterators that use the store

	queueArgs []byte // arguments of queue, copied

	// As one of several members.
	reigns      int   // how often it ceased to be primary
	idleSince   int64 // loop time in nanoseconds; when it became inactive
	learners    map[proto.NodeID]*learnerAid
	endFetch    context.CancelFunc // not nil while a checkpoint is being copied here
	installing  *checkpointFetched // it is here and waits for the store to be idle
	sweeping    chan struct{}      // closed when what the last copy left behind is removed; nil when there may be something
	movingAside bool
	// checkpointing: one that is to be kept is being made.
	checkpointing bool

	told     trafficTold
	scanners scanTable
}

// lifecycle is where a replica stands on its way from a directory to serving.
type lifecycle uint8

const (
	replicaOpening    lifecycle = iota // a lane creates or opens the store
	replicaOpen                        // the store is open; consensus decides what is served
	replicaClosing                     // waits for refs, then for the lane that closes the store
	replicaFailed                      // cannot be opened or was quarantined; see failure
	replicaInstalling                  // the store is being replaced by a checkpoint of another node
)

// pendingWork says which lists of the shard's turn the partition is on.
type pendingWork uint8

const (
	workCommit pendingWork = 1 << iota
	workWrite
	workRead
	workPersist
)

func newPartition(sh *Shard, g proto.GPID, dir replicaDir) *partition {
	p := &partition{gpid: g, shard: sh, dir: dir, state: replicaOpening}
	p.setSlowAfter()
	p.env = rrdb.Env{GPID: g, Server: sh.node.server, PartitionVersion: -1, Limits: sh.opts.Reads}
	return p
}

// available tells whether the replica takes part in anything.
func (p *partition) available() bool {
	return p.state == replicaOpen && !p.shard.draining && !p.shard.stopped
}

// mayWrite tells whether client writes are taken here.
func (p *partition) mayWrite() bool { return p.available() && p.replica.Role() == consensus.Primary }

// mayRead tells whether a client may be given an answer from this store now: it is asked when a read comes and again when it has
// finished. The clock is read anew, because a lease may have ended since the turn began. A backup read, which the client
// allowed to be old, is answered by a secondary too.
func (p *partition) mayRead(backup bool) bool { return p.mayReadAt(backup, p.shard.clock()) }

// mayReadAt is mayRead with a clock that was read just now.
func (p *partition) mayReadAt(backup bool, now int64) bool {
	if !p.available() {
		return false
	}
	if backup && (p.replica.Role() == consensus.Primary || p.replica.Role() == consensus.Secondary) {
		return true
	}
	return p.applied() && p.replica.MayRead(now)
}

// permission is what mayRead says of both kinds of reads, asked once for all reads that finished together.
type permission struct{ strict, backup bool }

func (p *partition) mayAnswer(now int64) permission {
	return permission{strict: p.mayReadAt(false, now), backup: p.mayReadAt(true, now)}
}

func (m permission) read(backup bool) bool { return m.strict || backup && m.backup }

// freshEnv returns the partition's environment with the time of this turn.
func (p *partition) freshEnv() *rrdb.Env {
	us := p.shard.loop.WallMicros()
	p.env.NowEpoch = uint32(us/1e6 - engine.EpochOffset)
	return &p.env
}

// note puts the partition on a list of the turn, once.
func (p *partition) note(w pendingWork) {
	if p.pending&w != 0 {
		return
	}
	if p.pending == 0 {
		p.shard.touched = append(p.shard.touched, p)
	}
	p.pending |= w
}

// report describes the replica to meta.
func (p *partition) report() proto.ReplicaReport {
	r := proto.ReplicaReport{GPID: p.gpid, DiskTag: p.dir.tag, Failure: p.failure}
	if p.replica != nil {
		r.Ballot, r.Role = p.replica.Ballot(), int32(p.replica.Role())
		r.Prepared, r.Committed = p.replica.Prepared(), p.replica.Committed()
	}
	r.Durable = p.flushed
	if p.replica != nil {
		r.Learners = p.replica.State().Learners
	}
	return r
}
