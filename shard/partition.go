package shard

import (
	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// partition is everything the owning shard keeps of one replica. Only its loop touches it; lane jobs hold what they need of
// it (the store, an iterator) and count in refs, so that the store is closed after the last of them has come back.
type partition struct {
	gpid     proto.GPID
	shard    *Shard
	app      proto.AppInfo
	settings tableSettings
	env      rrdb.Env // as of this turn; see freshEnv
	dir      replicaDir
	store    engine.Store
	replica  *consensus.Replica
	state    lifecycle
	failure  string       // why state is failed
	ballot   proto.Ballot // of the newest configuration that is on disk; older ones are never acted on again

	wanted     consensus.Config      // newest from meta; acted on once its ballot is on disk
	flushed    proto.Decree          // the store survives without the log up to here
	persisting bool                  // a ballot is being written
	asking     proto.PartitionConfig // what a proposal of meta was based on, until the store is open and meta was asked
	again      *reassignment         // meta's newest word on a replica that is closing
	refs       int                   // lane jobs and iterators that use the store

	// Reads of this turn.
	gets     engine.GetBatch
	getCalls []getCall
	getLimit int // keys that the next store call may take; see maxGets

	// Writes. current is the mutation that this turn is building, inFlight those proposed and not yet applied, oldest first.
	current       *mutationOps
	inFlight      []*mutationOps
	lastTimestamp int64 // microseconds, of the newest mutation
	queue         []queuedWrite
	queueArgs     []byte // arguments of queue, copied
	reading       bool   // an atomic operation's record is being read in the lane; queue waits
	overlay       overlay

	committed []consensus.Mutation // in order, to be applied at the end of this turn
	effects   consensus.Effects

	scanners scanTable
	pending  pendingWork
}

// lifecycle is where a replica stands on its way from a directory to serving.
type lifecycle uint8

const (
	replicaOpening lifecycle = iota // a lane creates or opens the store
	replicaOpen                     // the store is open; consensus decides what is served
	replicaClosing                  // waits for refs, then for the lane that closes the store
	replicaFailed                   // cannot be opened or was quarantined; see failure
)

// pendingWork says which lists of the shard's turn the partition is on.
type pendingWork uint8

const (
	workCommit pendingWork = 1 << iota
	workWrite
	workRead
)

func newPartition(sh *Shard, g proto.GPID, dir replicaDir) *partition {
	p := &partition{gpid: g, shard: sh, dir: dir, state: replicaOpening}
	p.env = rrdb.Env{GPID: g, Server: sh.node.server, PartitionVersion: -1, Limits: sh.opts.Reads}
	return p
}

// serving tells whether client requests may be answered here.
func (p *partition) serving() bool {
	return p.state == replicaOpen && !p.shard.draining && !p.shard.stopped && p.replica.Role() == consensus.Primary
}

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
	return r
}
