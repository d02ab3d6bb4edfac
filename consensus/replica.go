package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Restored is what a replica knows about itself before its configuration is confirmed: all zero for a new partition.
type Restored struct {
	// Ballot is the highest ballot made durable, or seen in the log. A configuration below it is ignored.
	Ballot proto.Ballot
	// Durable is the decree up to which the store survives a crash without the log; Committed is the last decree applied
	// to the store. Durable <= Committed.
	Durable, Committed proto.Decree
	// Timestamp is the highest mutation timestamp seen.
	Timestamp int64
	// Log is the replayed tail: Committed+1, Committed+2, ... without gaps. All of it is durable. New keeps the batches.
	Log []Mutation
}

// Replica is the state machine of one partition on one node. It is owned by one loop.
//
// Where a node has many partitions, each step finds its replica in no cache, so what reads and writes need lies together, and Warm
// names one field of each cache line.
type Replica struct {
	// What MayRead asks comes first.
	role      Role
	known     bool // config names the secondaries; a prepare alone tells only ballot and primary
	failed    bool // the log failed: Inactive for good, only a new Replica may serve again
	replaced  bool // some record was replaced by one of the same decree
	unfenced  bool // acts under a ballot that it may have used before a restart
	peers     []*peer
	promises  []promise
	found     proto.Decree // as primary: prepared when it became one; reads wait until all of it is committed
	holdUntil int64        // as primary: leases that an earlier process granted have ended
	committed proto.Decree // handed out in Effects.Commit
	leases    LeaseView
	handOver  handOver
	ask       asking

	// Invariant: durable <= committed <= logged <= prepared; committed <= verified <= prepared.
	durable   proto.Decree // in the store, flushed
	logged    proto.Decree // durable in the local log (or the store)
	prepared  proto.Decree // handed out in Effects.Append
	timestamp int64        // the highest seen
	// verified is up to where the own tail is known to be the primary's. What lies behind was prepared under an older ballot
	// and is kept, because it may be the only copy of something, until the primary replaces it. A primary's is prepared.
	verified proto.Decree
	window   window       // (committed, prepared]
	config   Config       // newest known; Primary is zero until somebody confirmed one
	stable   proto.Ballot // the highest that a restart would not forget
	gpid     proto.GPID
	self     proto.NodeID
	now      int64 // of the newest event
	born     int64 // of the first
	ownDelay delay // of the local log
	follower follower

	// aloneSince is since when this member reaches too few others to take writes, 0 when it reaches enough; see mayBeAlone.
	aloneSince int64
	want, min  int // members the table wants, and needs for writes
	announced  int64
	learners   int // of peers
	limits     Limits
	history    history
	timing     Timing
	restored   proto.Ballot // config.Ballot at the start: what this replica did under it is forgotten
}

// Warm reads from every cache line of the replica that MayRead or Step needs, so that the processor fetches those of several replicas
// at once when it is called for one replica after the other; a step by itself waits for line after line. WarmPeers does so for what
// the replica refers to, and is to be called when the lines of all have been asked for. The sums have no meaning; use them, or the
// compiler drops the reads.
func (r *Replica) Warm() uint64 {
	return uint64(r.role) + uint64(r.committed) + uint64(r.ask.at) + uint64(r.verified) + uint64(r.stable) + uint64(r.now) + uint64(r.follower.term) +
		uint64(r.min) + uint64(r.timing.Beacon)
}

// WarmPeers is the second step; see Warm.
func (r *Replica) WarmPeers() (sum uint64) {
	for _, p := range r.peers {
		sum += uint64(p.acked) + uint64(p.sentAt)
	}
	return sum
}

// promise is a node that this one confirmed as primary. Until it is known to have stopped, nobody may write without it.
type promise struct {
	node   proto.NodeID
	ballot proto.Ballot
}

// NewReplica returns an Inactive replica. It serves after the first EventConfigure that names self as primary.
func NewReplica(gpid proto.GPID, self proto.NodeID, limits Limits, r Restored) *Replica {
	invariant.Assertf(!self.IsZero(), "%v: a replica needs a node id", gpid)
	invariant.Assertf(r.Durable <= r.Committed, "%v: durable %d > committed %d", gpid, r.Durable, r.Committed)
	rep := &Replica{
		gpid: gpid, self: self, limits: limits.withDefaults(), timing: DefaultTiming(), want: 1, min: 1, born: -1,
		config:  Config{Ballot: r.Ballot},
		durable: r.Durable, committed: r.Committed, logged: r.Committed, prepared: r.Committed, verified: r.Committed,
		timestamp: r.Timestamp,
	}
	for i := range r.Log {
		m := &r.Log[i]
		rep.push(m)
		rep.logged = m.Decree
		rep.config.Ballot = max(rep.config.Ballot, m.Ballot)
	}
	rep.restored, rep.stable = rep.config.Ballot, rep.config.Ballot
	rep.check()
	return rep
}

// Attach connects the replica to its node's leases; it must be done before the first Step of a replica of a group that may
// have several members.
func (r *Replica) Attach(leases LeaseView, t Timing) { r.leases, r.timing = leases, t }

// SetMembers says how many members the table wants, and how many a group must have to take writes; see MinMembers. Call it
// before the first Step and whenever the table's settings change.
func (r *Replica) SetMembers(want, min int) { r.want, r.min = want, min }

// Step takes one event and appends its consequences to out. It panics on events that only a bug of the driver can produce: a
// decree never appended, a timestamp that goes back, two primaries under one ballot. No message of a peer makes it panic.
func (r *Replica) Step(ev *Event, out *Effects) {
	r.now = max(r.now, ev.Now)
	if r.born < 0 {
		r.born = r.now
	}
	switch ev.Kind {
	case EventPropose:
		r.propose(ev, out)
	case EventMessage:
		r.message(ev.Node, ev.Message, out)
	case EventLogSynced:
		r.logSynced(ev.Ballot, ev.Decree, out)
	case EventTick:
		r.tick(out)
	case EventFlushed:
		r.flushed(ev.Decree)
	case EventConfigure:
		r.stable = max(r.stable, ev.Config.Ballot)
		r.configure(&ev.Config, out)
	case EventLogFailed:
		r.logFailed(out)
	case EventAddLearner:
		r.addLearner(ev.Node, out)
	case EventHandOver:
		r.startHandOver(ev.Node)
	case EventRemove:
		r.remove(ev.Node, out)
	case EventLogRead:
		r.logRead(ev.Node, ev.Mutations, ev.Failed, out)
	case EventCheckpointSent:
		r.checkpointSent(ev.Node, ev.Decree, ev.Failed, out)
	case EventCheckpointInstalled:
		r.checkpointInstalled(ev.Decree, ev.Failed, out)
	case EventBallotDurable:
		r.ballotDurable(ev.Ballot, out)
	case EventAskRefused:
		r.askRefused()
	default:
		invariant.Assertf(false, "%v: unknown event kind %d", r.gpid, ev.Kind)
	}
	if r.ask.due {
		r.drive(out)
	}
	r.check()
}

// message takes a message of a peer. Requests come from a primary and are judged by ballot; answers are for the primary.
func (r *Replica) message(from proto.NodeID, m *proto.ReplMessage, out *Effects) {
	if m.GPID != r.gpid || from == r.self {
		return
	}
	r.released(from, m.Ballot, out)
	switch m.Type {
	case proto.ReplPrepare, proto.ReplLearnData, proto.ReplCommitPoint, proto.ReplPing, proto.ReplLearnInvite,
		proto.ReplLearnCheckpoint:
		r.follow(from, m, out)
	default:
		r.answer(from, m, out)
	}
}

// tick does what time alone brings about.
func (r *Replica) tick(out *Effects) {
	for i := len(r.promises) - 1; i >= 0; i-- {
		if r.leases.Expired(r.promises[i].node, r.now) {
			r.promises = append(r.promises[:i], r.promises[i+1:]...)
		}
	}
	r.watchReach()
	switch r.role {
	case Primary:
		r.tickPrimary(out)
	case Secondary:
		r.tickSecondary()
	case Learner:
		r.tickLearner(out)
	}
	r.ask.due = true
}

// push enters the next mutation into the window.
func (r *Replica) push(m *Mutation) *Mutation {
	if m.Decree != r.prepared+1 {
		invariant.Assertf(false, "%v: prepare of decree %d after decree %d", r.gpid, m.Decree, r.prepared)
	}
	if last, ok := r.window.last(); ok && m.Ballot < last.Ballot {
		invariant.Assertf(false, "%v: decree %d has ballot %d after %d", r.gpid, m.Decree, m.Ballot, last.Ballot)
	}
	r.prepared = m.Decree
	r.timestamp = max(r.timestamp, m.Timestamp)
	return r.window.push(m)
}

// cut drops every mutation from d on.
func (r *Replica) cut(d proto.Decree) {
	for r.prepared >= d {
		r.window.popBack()
		r.prepared--
	}
	r.logged, r.verified = min(r.logged, r.prepared), min(r.verified, r.prepared)
}

// in returns the mutation of a decree of the window.
func (r *Replica) in(d proto.Decree) *Mutation { return r.window.at(int(d - r.committed - 1)) }

func (r *Replica) logSynced(b proto.Ballot, d proto.Decree, out *Effects) {
	if r.failed || d <= r.logged {
		return
	}
	if b == 0 {
		if d > r.prepared || r.replaced {
			invariant.Assertf(false, "%v: log synced decree %d of an unknown ballot, prepared %d", r.gpid, d, r.prepared)
		}
	} else if d > r.prepared || r.in(d).Ballot != b {
		return // replaced since; what replaced it was appended behind it and will be reported
	}
	r.logged = d
	r.stable = max(r.stable, b)
	switch r.role {
	case Primary:
		r.ownDelay.reached(d, r.now)
		r.commitReady(out)
	case Secondary, Learner:
		r.applyReady(out)
		r.acknowledge(out)
	}
}

// logFailed gives up what the log may have lost. Its records may be on disk all the same, so the outcome is unknown.
func (r *Replica) logFailed(out *Effects) {
	if r.failed {
		return
	}
	r.failed = true
	if r.role == Secondary || r.role == Learner {
		r.send(r.config.Primary, &proto.ReplMessage{Type: proto.ReplAbsent, GPID: r.gpid, Ballot: r.config.Ballot}, out)
	}
	r.resign(out)
	r.role = Inactive
	r.cut(r.logged + 1)
	out.StateChanged = true
	r.ask.due = true
}

func (r *Replica) flushed(d proto.Decree) {
	invariant.Assertf(d <= r.committed, "%v: flushed decree %d, committed only %d", r.gpid, d, r.committed)
	r.durable = max(r.durable, d)
}

func (r *Replica) send(to proto.NodeID, m *proto.ReplMessage, out *Effects) {
	out.Sends = append(out.Sends, Send{To: to, Message: *m})
}

// commitFront hands out the oldest mutation of the window.
func (r *Replica) commitFront(out *Effects) {
	m := r.window.at(0)
	r.checkCommit(m.Decree)
	if r.learners > 0 {
		r.history.keep(m, r.limits.History)
	}
	out.Commit = append(out.Commit, *m)
	r.committed++
	r.window.popFront()
}

// State is a snapshot of a replica for reports.
type State struct {
	GPID      proto.GPID
	Role      Role
	Config    Config // Secondaries is a copy
	LogFailed bool

	Durable, Committed, Logged, Verified, Prepared proto.Decree

	WindowMutations, WindowBytes int

	// Reconciled: a primary has committed all that it found. Asking: meta was asked for a change and has not answered.
	Reconciled, Asking bool
	// Holding: a primary waits for the leases of a former primary to end.
	Holding  bool
	Learners []proto.NodeID
}

// State returns a snapshot.
func (r *Replica) State() State {
	s := State{
		GPID: r.gpid, Role: r.role, Config: r.config, LogFailed: r.failed,
		Durable: r.durable, Committed: r.committed, Logged: r.logged, Verified: r.verified, Prepared: r.prepared,
		WindowMutations: r.window.count, WindowBytes: r.window.bytes,
		Reconciled: r.role == Primary && r.committed >= r.found, Asking: r.ask.asked,
		Holding: r.role == Primary && !r.acting(),
	}
	s.Config.Secondaries = append([]proto.NodeID(nil), r.config.Secondaries...)
	for _, p := range r.peers {
		if p.learner && r.role == Primary {
			s.Learners = append(s.Learners, p.node)
		}
	}
	return s
}

// GPID is the partition.
func (r *Replica) GPID() proto.GPID { return r.gpid }

// Role is what the replica is. Whether a read may be answered is what MayRead says.
func (r *Replica) Role() Role {
	if bug(HandOverServes) && r.role != Primary && r.ghostReads(r.now) {
		return Primary
	}
	return r.role
}

// Ballot is the highest ballot known.
func (r *Replica) Ballot() proto.Ballot { return r.config.Ballot }

// Primary is the node known to be primary under Ballot, zero for none.
func (r *Replica) Primary() proto.NodeID { return r.config.Primary }

// Committed is the last decree handed out for applying.
func (r *Replica) Committed() proto.Decree { return r.committed }

// Prepared is the last decree handed out for the log.
func (r *Replica) Prepared() proto.Decree { return r.prepared }

// Durable is the last decree that the store holds without the log.
func (r *Replica) Durable() proto.Decree { return r.durable }

// Timestamp is the highest mutation timestamp seen; the next proposal needs a higher one.
func (r *Replica) Timestamp() int64 { return r.timestamp }

// Absent is the answer of a node to a message for a partition that it does not hold, or holds damaged; ok is false when none is
// due. An invitation to learn is no such message: the driver creates an empty replica for it and hands it on.
func Absent(m *proto.ReplMessage) (answer proto.ReplMessage, ok bool) {
	switch m.Type {
	case proto.ReplPrepare, proto.ReplLearnData, proto.ReplCommitPoint, proto.ReplPing, proto.ReplLearnCheckpoint:
		return proto.ReplMessage{Type: proto.ReplAbsent, GPID: m.GPID, Ballot: m.Ballot}, true
	}
	return answer, false
}
