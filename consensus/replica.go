package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Restored is what a replica knows about itself before its configuration is confirmed: all zero for a new partition.
type Restored struct {
	// Ballot is the highest ballot seen, from disk. A configuration below it is ignored.
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
type Replica struct {
	gpid   proto.GPID
	self   proto.NodeID
	limits Limits

	role   Role
	config Config // newest known; Primary is zero until meta confirmed one
	failed bool   // the log failed: Inactive for good, only a new Replica may serve again

	// Invariant: durable <= committed <= logged <= prepared.
	durable   proto.Decree // in the store, flushed
	committed proto.Decree // handed out in Effects.Commit
	logged    proto.Decree // durable in the local log (or the store)
	prepared  proto.Decree // handed out in Effects.Append
	timestamp int64        // of prepared

	window window // (committed, prepared]

	leases    LeaseView
	timing    Timing
	want, min int
}

// NewReplica returns an Inactive replica. It serves after the first EventConfigure that names self as primary.
func NewReplica(gpid proto.GPID, self proto.NodeID, limits Limits, r Restored) *Replica {
	invariant.Assertf(!self.IsZero(), "%v: a replica needs a node id", gpid)
	invariant.Assertf(r.Durable <= r.Committed, "%v: durable %d > committed %d", gpid, r.Durable, r.Committed)
	rep := &Replica{
		gpid: gpid, self: self, limits: limits.withDefaults(),
		config:  Config{Ballot: r.Ballot},
		durable: r.Durable, committed: r.Committed, logged: r.Committed, prepared: r.Committed,
		timestamp: r.Timestamp,
	}
	for i := range r.Log {
		m := &r.Log[i]
		rep.prepare(m, 0)
		rep.logged = m.Decree
		rep.config.Ballot = max(rep.config.Ballot, m.Ballot)
	}
	rep.check()
	return rep
}

// Attach connects the replica to its node's leases; it must be done before the first Step of a replica of a group that may
// have several members.
func (r *Replica) Attach(leases LeaseView, t Timing) { r.leases, r.timing = leases, t }

// SetMembers says how many members the table wants, and how many a group must have to take writes; see MinMembers.
func (r *Replica) SetMembers(want, min int) { r.want, r.min = want, min }

// MayRead tells whether a read may be answered at now, a fresh reading of the clock. Ask when the read has finished.
func (r *Replica) MayRead(now int64) bool { return r.role == Primary }

// Step takes one event and appends its consequences to out. It panics on events that only a bug can produce: a decree
// never appended, a timestamp that goes back, two primaries under one ballot.
func (r *Replica) Step(ev *Event, out *Effects) {
	switch ev.Kind {
	case EventConfigure:
		r.configure(ev.Config, out)
	case EventPropose:
		r.propose(ev, out)
	case EventLogSynced:
		r.logSynced(ev.Decree, out)
	case EventLogFailed:
		r.logFailed(out)
	case EventFlushed:
		r.flushed(ev.Decree)
	case EventMessage, EventTick, EventAddLearner, EventHandOver, EventRemove, EventLogRead, EventCheckpointSent,
		EventCheckpointInstalled, EventAskRefused:
	default:
		invariant.Assertf(false, "%v: unknown event kind %d", r.gpid, ev.Kind)
	}
	r.check()
}

func (r *Replica) configure(c Config, out *Effects) {
	if c.Ballot < r.config.Ballot {
		return
	}
	if c.Ballot == r.config.Ballot && !r.config.Primary.IsZero() {
		invariant.Assertf(c.Primary == r.config.Primary, "%v: ballot %d has two primaries, %v and %v",
			r.gpid, c.Ballot, r.config.Primary, c.Primary)
		return
	}
	r.config = c
	if r.failed || c.Primary != r.self {
		r.resign(out)
		return
	}
	r.role = Primary
	// Everything durable in the log of a group of one is decided: commit it before the first read or write is served.
	// It keeps the ballot it was prepared under; only peers would need to see it again under the new one.
	r.commitReady(out)
}

// resign stops serving. What was proposed and is not committed stays in the log and may commit under a later
// configuration, so its clients learn that the outcome is unknown.
func (r *Replica) resign(out *Effects) {
	r.role = Inactive
	for i := range r.window.count {
		m := &r.window.at(i).mutation
		if len(m.Tokens) > 0 {
			out.Rejects = append(out.Rejects, Reject{Tokens: m.Tokens, Err: proto.ErrTimeout})
			m.Tokens = m.Tokens[:0]
		}
	}
}

func (r *Replica) propose(ev *Event, out *Effects) {
	if err := r.admit(len(ev.Batch)); err != proto.ErrOK {
		out.Rejects = append(out.Rejects, Reject{Tokens: ev.Tokens, Err: err})
		return
	}
	m := Mutation{
		Ballot: r.config.Ballot, Decree: r.prepared + 1, Committed: r.committed,
		Timestamp: ev.Timestamp, Batch: ev.Batch, Tokens: ev.Tokens,
	}
	e := r.prepare(&m, 1)
	out.Append = append(out.Append, e.mutation)
}

// admit says whether a proposal with a batch of the given length may enter the window now.
func (r *Replica) admit(batch int) proto.ErrCode {
	switch {
	case r.role != Primary:
		return proto.ErrInvalidState
	case batch > r.limits.Bytes:
		return proto.ErrInvalidData
	case r.window.count >= r.limits.Mutations:
		return proto.ErrCapacityExceeded
	case r.window.bytes+batch > r.limits.Bytes:
		return proto.ErrBusy
	}
	return proto.ErrOK
}

func (r *Replica) prepare(m *Mutation, waits int) *entry {
	if m.Decree != r.prepared+1 || m.Timestamp <= r.timestamp {
		invariant.Assertf(false, "%v: prepare of decree %d, timestamp %d after decree %d, timestamp %d",
			r.gpid, m.Decree, m.Timestamp, r.prepared, r.timestamp)
	}
	if last, ok := r.window.last(); ok && m.Ballot < last.Ballot {
		invariant.Assertf(false, "%v: decree %d has ballot %d after %d", r.gpid, m.Decree, m.Ballot, last.Ballot)
	}
	r.prepared, r.timestamp = m.Decree, m.Timestamp
	return r.window.push(m, waits)
}

func (r *Replica) logSynced(d proto.Decree, out *Effects) {
	if r.failed || d <= r.logged {
		return
	}
	if d > r.prepared {
		invariant.Assertf(false, "%v: log synced decree %d, prepared only %d", r.gpid, d, r.prepared)
	}
	for at := r.logged + 1; at <= d; at++ {
		r.window.at(int(at-r.committed-1)).waits--
	}
	r.logged = d
	r.commitReady(out)
}

// commitReady commits, in decree order, what has every copy it needs. Only a primary decides.
func (r *Replica) commitReady(out *Effects) {
	if r.role != Primary {
		return
	}
	for r.window.count > 0 && r.window.at(0).waits == 0 {
		out.Commit = append(out.Commit, r.window.at(0).mutation)
		r.committed++
		r.window.popFront()
	}
}

// logFailed gives up what the log may have lost. Its records may be on disk all the same, so the outcome is unknown.
func (r *Replica) logFailed(out *Effects) {
	r.failed = true
	r.resign(out)
	for r.prepared > r.logged {
		r.window.popBack()
		r.prepared--
	}
}

func (r *Replica) flushed(d proto.Decree) {
	invariant.Assertf(d <= r.committed, "%v: flushed decree %d, committed only %d", r.gpid, d, r.committed)
	r.durable = max(r.durable, d)
}

// check asserts the invariants that every step must leave behind. The conditions stand outside Assertf because its
// arguments would be boxed, hence allocated, on every step.
func (r *Replica) check() {
	if r.durable > r.committed || r.committed > r.logged || r.logged > r.prepared {
		invariant.Assertf(false, "%v: durable %d <= committed %d <= logged %d <= prepared %d does not hold",
			r.gpid, r.durable, r.committed, r.logged, r.prepared)
	}
	if r.role == Primary && (r.failed || r.config.Primary != r.self) {
		invariant.Assertf(false, "%v: serves as primary without the right to", r.gpid)
	}
	if int(r.prepared-r.committed) != r.window.count {
		invariant.Assertf(false, "%v: window holds %d mutations of (%d, %d]", r.gpid, r.window.count, r.committed, r.prepared)
	}
	if r.window.count == 0 {
		return
	}
	first, last := r.window.at(0).mutation.Decree, r.window.at(r.window.count-1).mutation.Decree
	if first != r.committed+1 || last != r.prepared {
		invariant.Assertf(false, "%v: window is [%d, %d], want (%d, %d]", r.gpid, first, last, r.committed, r.prepared)
	}
}

// State is a snapshot of a replica for reports.
type State struct {
	GPID      proto.GPID
	Role      Role
	Config    Config
	LogFailed bool

	Durable, Committed, Logged, Prepared proto.Decree

	WindowMutations, WindowBytes int
}

// State returns a snapshot.
func (r *Replica) State() State {
	return State{
		GPID: r.gpid, Role: r.role, Config: r.config, LogFailed: r.failed,
		Durable: r.durable, Committed: r.committed, Logged: r.logged, Prepared: r.prepared,
		WindowMutations: r.window.count, WindowBytes: r.window.bytes,
	}
}

// GPID is the partition.
func (r *Replica) GPID() proto.GPID { return r.gpid }

// Role is what the replica may do now. A driver asks before it starts a read and again before it answers one.
func (r *Replica) Role() Role { return r.role }

// Ballot is the highest ballot known.
func (r *Replica) Ballot() proto.Ballot { return r.config.Ballot }

// Committed is the last decree handed out for applying.
func (r *Replica) Committed() proto.Decree { return r.committed }

// Prepared is the last decree handed out for the log.
func (r *Replica) Prepared() proto.Decree { return r.prepared }

// Durable is the last decree that the store holds without the log.
func (r *Replica) Durable() proto.Decree { return r.durable }

// Timestamp is the highest mutation timestamp used; the next proposal needs a higher one.
func (r *Replica) Timestamp() int64 { return r.timestamp }
