package shard

import (
	"fmt"
	"sync/atomic"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/rowcache"
	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
)

// Shard is one event loop of a node and the sole owner of the partitions that Placement gives it. All its methods run on
// that loop. It is the loop's handler: Opened, Data, Closed (session.go), Message and Turn.
type Shard struct {
	id     proto.ShardID
	node   *Node
	opts   *Options
	logger *zap.Logger
	loop   *loop.Loop[message]

	partitions map[proto.GPID]*partition
	apps       map[int32]proto.AppInfo       // tables that meta has described
	tables     map[int32]proto.TableSettings // and what else it said of them
	peers      *peers
	touched    []*partition // that have work to do at the end of this turn

	log     *mutlog.Log
	logLane *lane.Lane // one worker: the log has one write in flight
	logJob  logJob
	// afterLogWrite is called when the next write of the log, which holds everything appended so far, is over.
	afterLogWrite []func(error)
	readLane      *lane.Lane
	long          longReads
	rows          *rowcache.Cache // nil: there is none

	forwards []*forwardBatch // of this turn, by owner
	replies  []*replyBatch   // of this turn, by the shard that has the session
	sink     []byte          // takes replies to sessions that are gone

	// Scratch and free lists, so that the steady state allocates nothing.
	mutations    []*mutationOps
	effects      []*consensus.Effects
	gets         turnGets
	warm         warmer
	ticked       []*partition
	batchMemory  batchMemory
	getJobs      []*getJob
	atomicGets   engine.GetBatch
	atomicIndex  []int
	keyScratch   []byte
	batchScratch [][]byte

	lastToken uint64
	stats     Stats
	failures  failures
	logMeter  logMeter

	loopWrites loopWrites
	published  atomic.Pointer[Stats]

	held []*partition // their current mutation waits for the log write under way; see holds

	traces [maxTraces]traceSlot

	seen        int64 // what the node's clock said when it was read last; see clock
	clockOffset int64 // of the node's clock against the loop's

	surveying, relieving, choring, sizing bool                // a background job of that kind is under way
	parked, parkedBytes                   int                 // requests that throttles hold back
	gathered, gatheredBytes               int                 // mutations that are committed and not applied; bytes of their batches
	denying                               bool                // clients get no answers; see remote command replica.deny-client
	started                               bool                // all loops of the node exist, and Shard.loop is set
	draining, stopped                     bool                // see Node.Stop
	silent                                bool                // replicas take no more steps
	retries                               []func()            // what lacked space; see later
	leaving                               map[proto.GPID]bool // directories that are being moved aside as garbage
	drained                               chan struct{}       // closed when a drain has come to its end
}

// Stats count what a shard did since it started. They are plain fields of the loop; a copy is published once a second, see
// Node.Stats.
type Stats struct {
	Gets, Ranges, Writes uint64 // requests answered
	Mutations            uint64 // proposed
	Forwarded            uint64 // frames that arrived on the wrong loop
	ColdReads            uint64 // reads that had to touch storage
	LogReads             uint64 // ranges of the log read for learners
	Checkpoints          uint64 // made for learners
	Installs             uint64 // checkpoints of other nodes that became the store
	PeerDrops            uint64 // frames to other nodes that could not be sent
	LogRefusals          uint64 // mutations of a primary that the log had no room for
	LogWrites, LogSyncs  uint64 // write calls of the shard log, and how many of them were followed by an fdatasync
	LoopLogWrites        uint64 // how many of them the loop did by itself
	LogBytes             uint64
	Rows                 rowcache.Stats
}

// Message delivers one message from the mailbox.
func (sh *Shard) Message(m *message) { (*m).deliver(sh) }

// Turn works off what the turn has brought, in the order that lets one thing feed the next: commits change the stores and
// free the pipeline, writes become mutations, mutations go to the log, gets see every commit, replies and forwards leave. What
// recovery left to do waits until the shard has started: a loop has its first turns before whoever starts it knows the loop.
func (sh *Shard) Turn() {
	if !sh.started {
		return
	}
	sh.workOff()
	sh.startLogWrite()
	sh.peers.flush()
	sh.sendBatches()
	if sh.draining {
		sh.checkDrained()
	}
}

// workOff is the turn of the partitions.
func (sh *Shard) workOff() {
	for i := 0; i < len(sh.touched); {
		for ; i < len(sh.touched); i++ {
			sh.touched[i].turn()
		}
		sh.runGets() // a store that fails touches its partition once more
	}
	clear(sh.touched)
	sh.touched = sh.touched[:0]
}

func (p *partition) turn() {
	if p.state != replicaOpen {
		p.endService()
	} else {
		p.finish()
	}
	p.drainQueue()
	if p.current != nil && p.shard.holds() {
		p.shard.held = append(p.shard.held, p)
	} else {
		p.propose()
	}
	if p.pending&workPersist != 0 {
		p.adoptConfig()
	}
	if p.state == replicaFailed {
		p.endService() // it may have failed in one of the steps above
	}
	p.pending = 0
}

func (sh *Shard) newMutation() *mutationOps {
	if n := len(sh.mutations); n > 0 {
		m := sh.mutations[n-1]
		sh.mutations = sh.mutations[:n-1]
		return m
	}
	return &mutationOps{}
}

// maxFreeMutations and maxFreeMutationBytes bound the free list, so that a burst does not keep its memory.
const (
	maxFreeMutations     = 1024
	maxFreeMutationBytes = 256 << 10
)

func (sh *Shard) freeMutation(m *mutationOps) {
	if len(sh.mutations) >= maxFreeMutations || m.builder.Len() > maxFreeMutationBytes {
		return
	}
	m.builder.Reset()
	clear(m.ops)
	m.ops = m.ops[:0]
	sh.mutations = append(sh.mutations, m)
}

func (sh *Shard) nextToken() uint64 {
	sh.lastToken++
	return sh.lastToken
}

// background runs job in the node's background lane; the message that it returns is delivered on this loop.
func (sh *Shard) background(job func() message) {
	sh.node.background.Submit(func() { sh.deliverLater(job()) })
}

// deliverLater posts a completion that must not get lost. It fails only when the loop has stopped; then nobody waits, and a
// message that owns something has a drop method that lets go of it.
func (sh *Shard) deliverLater(m message) {
	if err := sh.loop.PostMust(m); err != nil {
		sh.logger.Debug("message to a stopped shard", zap.String("type", fmt.Sprintf("%T", m)))
		if d, ok := m.(interface{ drop() }); ok {
			d.drop()
		}
	}
}
