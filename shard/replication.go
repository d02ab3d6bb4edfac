package shard

import (
	"errors"
	"math/bits"
	"slices"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/netcore/proto"
)

// receive takes a message of another replica of a partition that this shard owns.
func (sh *Shard) receive(from proto.NodeID, m *proto.ReplMessage) {
	if sh.silent {
		return
	}
	p := sh.partitions[m.GPID]
	if m.Type == proto.ReplLearnInvite && (p == nil || p.state == replicaFailed) {
		p = sh.makeRoomForLearner(m.GPID, p)
	}
	switch {
	case p == nil || p.state == replicaFailed:
		if answer, ok := consensus.Absent(m); ok {
			sh.peers.send(from, &answer)
		}
	case p.state != replicaOpen || p.migrating != nil && p.migrating.standing:
		// Opening, closing or installing: the sender repeats what is not answered.
	case (m.Type == proto.ReplPrepare || m.Type == proto.ReplLearnData) && !p.hasLogRoom(len(m.Batch)):
		// The sender repeats it, and does without this member when the log stays full.
	default:
		if len(m.Batch) > 0 {
			m.Batch = append(sh.batchMemory.get(len(m.Batch)), m.Batch...)
		}
		p.step(&consensus.Event{Kind: consensus.EventMessage, Node: from, Message: m})
	}
}

// hasLogRoom tells whether the log takes a record now. It is asked before consensus is, because what that has accepted must be
// appended.
func (p *partition) hasLogRoom(payload int) bool {
	if p.parked > 0 || len(p.backlog) > 0 {
		return false
	}
	err := p.shard.log.Check(p.gpid, payload)
	if err != nil {
		p.shard.stats.LogRefusals++
		if !errors.Is(err, mutlog.ErrBusy) {
			p.shard.startChore()
			p.shard.relieveLog()
		}
	}
	return err == nil
}

// batchMemory is the free list of the batches of prepares. A batch lives from its arrival until it has been applied.
type batchMemory struct {
	free  [][]byte
	bytes int
}

const (
	maxFreeBatchBytes = 8 << 20
	maxFreeBatch      = 1 << 20
)

// get returns an empty slice with room for n bytes.
func (b *batchMemory) get(n int) []byte {
	if last := len(b.free) - 1; last >= 0 {
		s := b.free[last]
		b.free = b.free[:last]
		b.bytes -= cap(s)
		if cap(s) >= n {
			return s[:0]
		}
	}
	// Powers of two, so that batches of about the same size do not drive each other out.
	return make([]byte, 0, max(1<<bits.Len(uint(n-1)), 512))
}

func (b *batchMemory) put(s []byte) {
	if c := cap(s); c > 0 && c <= maxFreeBatch && b.bytes+c <= maxFreeBatchBytes {
		b.free = append(b.free, s[:0])
		b.bytes += c
	}
}

// replicate carries out the effects of a step that concern other nodes and meta.
func (p *partition) replicate(e *consensus.Effects) {
	for i := range e.Sends {
		p.shard.peers.send(e.Sends[i].To, &e.Sends[i].Message)
	}
	for i := range e.Asks {
		p.ask(&e.Asks[i])
	}
	for i := range e.ReadLog {
		p.readLog(&e.ReadLog[i])
	}
	for i := range e.SendCheckpoint {
		p.sendCheckpoint(e.SendCheckpoint[i].Learner)
	}
	for i := range e.Install {
		p.install(e.Install[i])
	}
	for _, learner := range e.Release {
		p.releaseLearner(learner)
	}
	if e.Persist != 0 {
		p.persist(e.Persist)
	}
	if e.StateChanged {
		p.roleChanged()
	}
}

func (p *partition) ask(a *consensus.Ask) {
	p.shard.node.updateConfig(proto.UpdateConfig{
		Config: proto.PartitionConfig{
			GPID: p.gpid, Ballot: a.Config.Ballot, Primary: a.Config.Primary, Secondaries: slices.Clone(a.Config.Secondaries),
		},
		Type: a.Type, Node: a.Node, From: p.shard.node.id,
	})
}

// roleChanged reports to meta and remembers what a new primary found and must commit before it evaluates anything on the store.
func (p *partition) roleChanged() {
	if p.replica.Role() != consensus.Secondary {
		p.settle() // what a secondary gathered was acknowledged: a primary must not read without it
	}
	if p.replica.Role() == consensus.Primary {
		if !p.leading {
			p.leading, p.found = true, p.replica.Prepared()
		}
	} else if p.leading {
		p.leading = false
		p.reigns++
		p.propose()       // what is held is refused, and not left to a later reign
		p.note(workWrite) // so is what waits for this primary
	}
	switch p.replica.Role() {
	case consensus.Inactive:
		p.idleSince = p.shard.loop.Now()
	case consensus.Primary, consensus.Secondary:
		p.sweep()
	}
	p.shard.node.reportChanged(p)
}

// settled tells whether everything that this primary found when it took over has been committed, so that store and overlay
// together are the newest state.
func (p *partition) settled() bool { return p.replica.Committed() >= p.found && p.parked == 0 }

// abdicate asks meta to give the lead to another member: this node is named as primary of what it cannot serve. It is not
// repeated here. Meta, which knows of the failure, proposes it again, to whom it finds best.
func (sh *Shard) abdicate(c *proto.PartitionConfig, to proto.NodeID) {
	if c.Primary != sh.node.id || !slices.Contains(c.Secondaries, to) {
		return
	}
	next := *c
	next.Ballot++
	next.Primary, next.Secondaries = to, slices.Clone(c.Secondaries)
	next.Secondaries[slices.Index(c.Secondaries, to)] = c.Primary
	sh.node.updateConfig(proto.UpdateConfig{Config: next, Type: proto.CTUpgradeToPrimary, Node: to, From: sh.node.id})
}

// askRefused tells the replica that meta does not want what it asked.
type askRefused struct{ gpid proto.GPID }

func (a *askRefused) deliver(sh *Shard) {
	if p := sh.partitions[a.gpid]; p != nil && p.state == replicaOpen {
		p.step(&consensus.Event{Kind: consensus.EventAskRefused})
	}
}

// propound carries out a proposal of meta for a replica that is there: members act, meta only proposes.
func (p *partition) propound(m *proposal) {
	p.shard.logger.Debug("proposal", zap.Stringer("gpid", p.gpid), zap.Stringer("type", m.Type), zap.Stringer("node", m.Node),
		zap.Int64("ballot", int64(m.Config.Ballot)))
	switch b := p.replica.Ballot(); {
	case m.Config.Ballot < b:
		return // based on what is no more
	case m.Config.Ballot > b:
		p.ahead = m // of the configuration, which is being made durable
		return
	}
	switch m.Type {
	case proto.CTAddSecondary, proto.CTAddSecondaryForLB:
		p.step(&consensus.Event{Kind: consensus.EventAddLearner, Node: m.Node})
	case proto.CTRemove, proto.CTDowngradeToInactive:
		p.step(&consensus.Event{Kind: consensus.EventRemove, Node: m.Node})
	case proto.CTUpgradeToPrimary:
		// To the primary: hand over. To a secondary: the primary is dead, which it finds by itself when its grace is over.
		p.step(&consensus.Event{Kind: consensus.EventHandOver, Node: m.Node})
	}
}

// learning tells whether the replica catches up, as a member or on its way to become one.
func (p *partition) learning() bool {
	return p.state == replicaInstalling || p.replica != nil && p.replica.Role() == consensus.Learner
}

// tickReplicas lets time pass for all replicas of the shard.
func (sh *Shard) tickReplicas() {
	if sh.stopped {
		return
	}
	for _, p := range sh.partitions {
		sh.ticked = append(sh.ticked, p)
	}
	for i, p := range sh.ticked {
		if i%warmAhead == 0 && sh.cold() {
			for _, p := range sh.ticked[i:min(i+warmAhead, len(sh.ticked))] {
				sh.warm.add(p)
			}
			sh.warm.fetch()
		}
		if p.state == replicaOpen {
			p.step(&consensus.Event{Kind: consensus.EventTick})
		}
	}
	clear(sh.ticked)
	sh.ticked = sh.ticked[:0]
	sh.loop.AtMultiple(sh.opts.Timing.Announce, sh.tickReplicas)
}

// configOf is a configuration in the form that consensus takes.
func configOf(c *proto.PartitionConfig) consensus.Config {
	return consensus.Config{Ballot: c.Ballot, Primary: c.Primary, Secondaries: slices.Clone(c.Secondaries)}
}

// holds tells whether c names the node.
func holds(c *proto.PartitionConfig, node proto.NodeID) bool {
	return c.Primary == node || slices.Contains(c.Secondaries, node)
}
