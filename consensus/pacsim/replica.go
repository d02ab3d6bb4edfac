package pacsim

import (
	"slices"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/mem"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// replica drives the state machine of one partition on one node, as the shard loop of a daemon does.
type replica struct {
	n       *node
	part    int
	media   *media
	machine *consensus.Replica
	effects consensus.Effects
	failed  bool // a log write failed or the log lost something: only a new replica may follow
	// gone is the ballot from which on a configuration without this node lets a failed replica be given up. Until then an ask that is
	// under way may make a member of the node, and what it has acknowledged must be there: after a failed write everything durable
	// still is, and a restart brings it back.
	gone proto.Ballot

	// prints identifies what is prepared and not committed, for the checkers.
	prints map[proto.Decree]uint64

	appended mark         // last record handed to the log
	onDisk   proto.Decree // last record that the log has reported durable, whatever the machine believes

	wanted     consensus.Config // newest configuration seen, adopted once its ballot is durable
	persisting bool

	flushing  bool
	nextFlush int64 // true time

	requests
	transfers
}

// mark names a record of the log.
type mark struct {
	ballot proto.Ballot
	decree proto.Decree
}

func gpid(part int) proto.GPID { return proto.GPID{App: tableID, Part: int32(part)} }

// recover opens stores and log and makes the replicas that the node has; false when that failed and has to be tried again.
func (n *node) recover() bool {
	tails := make([][]consensus.Mutation, len(n.media))
	o := logOptions(n.s.o)
	o.Flushed = func(g proto.GPID) proto.Decree {
		if m := n.media[g.Part]; m != nil {
			return m.store.FlushedDecree()
		}
		return 0
	}
	log, report, err := mutlog.Open(n.disk, "log", o, func(r mutlog.Record) error {
		tails[r.GPID.Part] = append(tails[r.GPID.Part], consensus.Mutation{
			Ballot: r.Ballot, Decree: r.Decree, Committed: r.Committed, Timestamp: r.Timestamp, Batch: slices.Clone(r.Payload),
		})
		return nil
	})
	if err != nil {
		n.s.noteNode(n, "cannot open its log")
		return false
	}
	n.log = log
	for part, m := range n.media {
		if m == nil {
			continue
		}
		_, spoiled := report.Spoiled[gpid(part)]
		_, listed := report.Partitions[gpid(part)]
		lost := spoiled || report.Suspect && !listed
		if lost {
			n.s.notePart(part, n, "its log lost records")
			n.s.lose(part, n)
		}
		n.open(part, m, tails[part])
		if lost {
			// It is open so that it can say that it is not fit: it may be what the register calls the primary.
			// What it holds is not what it acknowledged, so nothing is gained by keeping it.
			r := n.parts[part]
			n.after(0, func() {
				r.logFailed()
				r.gone = r.machine.Ballot()
			})
		}
	}
	return true
}

// discard gives up what the node holds of a partition: it is a node that never had it.
func (n *node) discard(part int) {
	n.media[part] = nil
	n.log.Forget(gpid(part))
	n.parts[part] = nil
	n.s.notePart(part, n, "gives up its replica")
}

// open makes the replica from its store and the tail of the log.
func (n *node) open(part int, m *media, tail []consensus.Mutation) {
	committed := m.store.AppliedDecree()
	for i := range tail {
		committed = max(committed, tail[i].Committed)
	}
	restored := consensus.Restored{Ballot: m.ballot, Durable: m.store.FlushedDecree()}
	appended := mark{m.ballot, m.store.FlushedDecree()}
	for len(tail) > 0 && tail[0].Decree <= committed {
		n.s.history.match(n, part, tail[0].Decree, fingerprint(tail[0].Timestamp, tail[0].Batch))
		apply(m.store, &tail[0])
		restored.Timestamp = max(restored.Timestamp, tail[0].Timestamp)
		appended = mark{tail[0].Ballot, tail[0].Decree}
		tail = tail[1:]
	}
	restored.Committed, restored.Log = m.store.AppliedDecree(), tail
	for i := range tail {
		restored.Timestamp = max(restored.Timestamp, tail[i].Timestamp)
		appended = mark{tail[i].Ballot, tail[i].Decree}
	}
	n.s.content.look(n, part, m.store)
	n.install(part, m, restored).appended = appended
}

// install puts a replica in place.
func (n *node) install(part int, m *media, restored consensus.Restored) *replica {
	r := &replica{n: n, part: part, media: m, prints: map[proto.Decree]uint64{}}
	for i := range restored.Log {
		r.prints[restored.Log[i].Decree] = fingerprint(restored.Log[i].Timestamp, restored.Log[i].Batch)
	}
	r.onDisk = restored.Committed + proto.Decree(len(restored.Log))
	r.requests.init(r)
	r.transfers.init()
	r.machine = consensus.NewReplica(gpid(part), n.name, consensus.Limits{Mutations: n.s.o.Window, History: 64 << 10, InFlight: 8 << 10}, restored)
	r.machine.Attach(n.leases, simTiming)
	r.machine.SetMembers(n.s.o.Replicas, consensus.MinMembers(n.s.o.Replicas, n.s.o.MinWrite))
	r.nextFlush = n.s.q.now + n.s.rng.Int64N(2*n.s.o.FlushEvery)
	n.parts[part] = r
	n.s.prefix.look(part)
	n.s.notePart(part, n, "opens its replica: ballot %d, durable %d, committed %d, prepared %d",
		int64(restored.Ballot), int64(restored.Durable), int64(restored.Committed), int64(r.machine.Prepared()))
	return r
}

// create makes an empty replica.
func (n *node) create(part int) *replica {
	m := &media{store: mem.New(mem.Options{Now: func() uint32 { return 1 }})}
	n.media[part] = m
	return n.install(part, m, consensus.Restored{})
}

func apply(store *mem.Store, m *consensus.Mutation) {
	var err error
	if len(m.Batch) > 0 {
		err = store.Apply(m.Decree, m.Batch)
	} else {
		err = store.Apply(m.Decree)
	}
	if err != nil {
		invariant.Assertf(false, "apply of decree %d: %v", m.Decree, err)
	}
}

// alive tells whether r still is the replica of its partition in a running process.
func (r *replica) alive() bool { return r.n.up && r.n.parts != nil && r.n.parts[r.part] == r }

// step drives the machine by one event and carries out the effects. The process may die between any two of them.
func (r *replica) step(ev *consensus.Event) {
	if !r.alive() {
		return
	}
	n, s := r.n, r.n.s
	ev.Now = n.clock()
	before := r.machine.State()
	r.effects.Reset()
	r.machine.Step(ev, &r.effects)
	e := &r.effects
	if e.Persist > 0 {
		r.persist(e.Persist)
	}
	for i := range e.Append {
		if n.boundary() {
			return
		}
		r.append(&e.Append[i])
	}
	for i := range e.Commit {
		if n.boundary() {
			return
		}
		r.commit(&e.Commit[i])
	}
	for i := range e.Rejects {
		r.refuse(e.Rejects[i].Tokens, e.Rejects[i].Err)
	}
	for i := range e.Sends {
		if n.boundary() {
			return
		}
		n.transmit(r.part, e.Sends[i].To, &e.Sends[i].Message)
	}
	for i := range e.Asks {
		if n.boundary() {
			return
		}
		r.ask(&e.Asks[i])
	}
	r.serveLearners(e)
	if after := r.machine.State(); after.Role != before.Role || after.Config.Ballot != before.Config.Ballot {
		s.notePart(r.part, n, "is %d (1 primary, 2 secondary, 3 learner) of ballot %d, committed %d, prepared %d",
			int64(after.Role), int64(after.Config.Ballot), int64(after.Committed), int64(after.Prepared))
		s.serving.role(r, after.Role, after.Config.Ballot)
	}
	if e.StateChanged {
		n.link.report(r)
	}
}

// boundary counts down to a planned crash; true when the process has just died.
func (n *node) boundary() bool {
	if n.steps == 0 {
		return !n.up
	}
	n.steps--
	if n.steps > 0 {
		return false
	}
	n.s.noteNode(n, "dies between two effects")
	n.crash(n.s.rng.IntN(2) == 0)
	n.s.restartLater(n)
	return true
}

func (r *replica) append(m *consensus.Mutation) {
	if r.failed {
		return
	}
	rec := mutlog.Record{
		GPID: gpid(r.part), Ballot: m.Ballot, Decree: m.Decree, Committed: m.Committed, Timestamp: m.Timestamp, Payload: m.Batch,
	}
	if err := r.n.log.Append(&rec); err != nil {
		r.n.s.notePart(r.part, r.n, "cannot append decree %d", int64(m.Decree))
		// Not within a step: the machine hears of it when it is done.
		r.n.after(0, r.logFailed)
		return
	}
	for d := m.Decree + 1; d <= r.appended.decree; d++ {
		delete(r.prints, d)
	}
	r.prints[m.Decree] = fingerprint(m.Timestamp, m.Batch)
	r.appended = mark{m.Ballot, m.Decree}
	r.n.s.notePart(r.part, r.n, "logs decree %d under ballot %d, commit point %d", int64(m.Decree), int64(m.Ballot), int64(m.Committed))
}

func (r *replica) commit(m *consensus.Mutation) {
	s := r.n.s
	s.history.commit(r.n, r.part, r.media.store.AppliedDecree(), m.Decree, fingerprint(m.Timestamp, m.Batch))
	if s.failure != nil {
		return
	}
	apply(r.media.store, m)
	s.serving.acts(r)
	delete(r.prints, m.Decree)
	s.content.look(r.n, r.part, r.media.store)
	s.notePart(r.part, r.n, "commits decree %d", int64(m.Decree))
	r.answer(m)
}

func (n *node) transmit(part int, to proto.NodeID, m *proto.ReplMessage) {
	n.s.notePart(part, n, messageFormats[m.Type], int64(n.s.slot(to)), int64(m.Ballot), int64(m.Decree), int64(m.Committed), int64(m.Term))
	from, bytes := n.name, proto.AppendReplMessage(nil, m)
	n.s.toNode(n, to, func(o *node) { o.receive(from, bytes) })
}

var messageFormats = func() (f [proto.ReplAbsent + 1]string) {
	for t := proto.ReplPrepare; t <= proto.ReplAbsent; t++ {
		f[t] = "sends " + t.String() + " to %d: ballot %d, decree %d, committed %d, term %d"
	}
	return f
}()

// receive takes a message of another replica. Each arrival has bytes of its own: batches are kept.
func (n *node) receive(from proto.NodeID, bytes []byte) {
	var m proto.ReplMessage
	if _, err := proto.ParseReplMessage(slices.Clone(bytes), &m); err != nil {
		invariant.Assertf(false, "replication message: %v", err)
	}
	part := int(m.GPID.Part)
	r := n.parts[part]
	if r == nil && m.Type == proto.ReplLearnInvite {
		r = n.create(part)
	}
	if r == nil {
		if answer, ok := consensus.Absent(&m); ok {
			n.transmit(part, from, &answer)
		}
		return
	}
	if len(m.Batch) > 0 {
		if err := n.log.Check(m.GPID, len(m.Batch)); err != nil {
			// As if it had been lost: a decree that cannot be appended must not be accepted.
			n.s.notePart(part, n, "has no room in its log: "+err.Error())
			return
		}
	}
	r.step(&consensus.Event{Kind: consensus.EventMessage, Node: from, Message: &m})
}

func (r *replica) ask(a *consensus.Ask) {
	r.n.s.notePart(r.part, r.n, "asks meta for a change of type %d about %d to ballot %d", int64(a.Type), int64(r.n.s.slot(a.Node)), int64(a.Config.Ballot))
	if a.Type == proto.CTUpgradeToPrimary && a.Node == r.n.name {
		r.n.s.registers.parts[r.part].askers[takeOver{a.Config.Ballot, a.Node}] = r.n.life
	}
	r.n.link.update(proto.UpdateConfig{
		Config: r.register(a.Config), Type: a.Type, Node: a.Node, From: r.n.name,
	})
}

func (r *replica) register(c consensus.Config) proto.PartitionConfig {
	return proto.PartitionConfig{GPID: gpid(r.part), Ballot: c.Ballot, Primary: c.Primary, Secondaries: slices.Clone(c.Secondaries)}
}

// configure takes a configuration from meta: first its ballot becomes durable, then it counts.
func (r *replica) configure(c consensus.Config) {
	if c.Ballot < r.wanted.Ballot {
		return
	}
	r.wanted = c
	r.adopt()
}

func (r *replica) adopt() {
	if r.persisting || r.wanted.Ballot == 0 || !r.alive() {
		return
	}
	if r.wanted.Ballot > r.media.ballot {
		r.persisting = true
		want := r.wanted.Ballot
		r.n.after(r.n.diskTime(), func() {
			r.persisting = false
			if r.alive() {
				r.media.ballot = max(r.media.ballot, want)
				r.adopt()
			}
		})
		return
	}
	r.step(&consensus.Event{Kind: consensus.EventConfigure, Config: r.wanted})
}

// persist makes a ballot durable that a message brought.
func (r *replica) persist(b proto.Ballot) {
	r.n.after(r.n.diskTime(), func() {
		if r.alive() {
			r.media.ballot = max(r.media.ballot, b)
			r.step(&consensus.Event{Kind: consensus.EventBallotDurable, Ballot: b})
		}
	})
}

// synced is told that the log is durable up to a record.
func (r *replica) synced(to mark) {
	if r.failed {
		return
	}
	r.onDisk = to.decree
	r.n.s.notePart(r.part, r.n, "has decree %d of ballot %d on disk", int64(to.decree), int64(to.ballot))
	r.step(&consensus.Event{Kind: consensus.EventLogSynced, Decree: to.decree, Ballot: to.ballot})
}

// logFailed quarantines the replica: it says so to the machine, which resigns, and is replaced once nobody counts on it.
func (r *replica) logFailed() {
	if r.failed || !r.alive() {
		return
	}
	r.n.s.notePart(r.part, r.n, "log failed")
	r.failed, r.gone = true, r.machine.Ballot()+1
	r.step(&consensus.Event{Kind: consensus.EventLogFailed})
	r.abandon()
	r.n.link.report(r)
}

// tick does what is due from time to time: flushes, and giving up a failed replica that is no member any more.
func (r *replica) tick() {
	s, n := r.n.s, r.n
	if !r.alive() {
		return
	}
	if r.failed {
		if c := r.wanted; c.Ballot >= max(1, r.gone) && c.Primary != n.name && !slices.Contains(c.Secondaries, n.name) {
			n.discard(r.part)
		}
		return
	}
	r.answerChecks()
	if n.log.Check(gpid(r.part), 0) != nil {
		// The log is full: a flush lets old segments go.
		r.nextFlush = s.q.now
	}
	if s.q.now < r.nextFlush || r.flushing || r.installing() {
		return
	}
	r.flushing = true
	store := r.media.store
	n.after(2*n.diskTime(), func() {
		r.flushing = false
		r.nextFlush = s.q.now + s.rng.Int64N(2*s.o.FlushEvery)
		if !r.alive() || r.media.store != store || r.failed {
			return
		}
		d, err := store.Flush()
		if err != nil {
			invariant.Assertf(false, "flush: %v", err)
		}
		n.log.FlushedUpTo(gpid(r.part), d)
		r.step(&consensus.Event{Kind: consensus.EventFlushed, Decree: d})
	})
}
