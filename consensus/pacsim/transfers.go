package pacsim

import (
	"slices"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// transfers is the part of a replica that serves learners, and that learns.
type transfers struct {
	offers  map[proto.NodeID]*offer
	install *install
}

// offer is a checkpoint that waits for its learner, with the log behind it pinned.
type offer struct {
	store  *mem.Store
	decree proto.Decree
	pin    *mutlog.Pin
}

// install is a checkpoint on its way into this replica.
type install struct {
	decree   proto.Decree
	store    *mem.Store // nil while it is fetched
	forgetIn int        // number of the first log write that can hold the forgetting
}

func (t *transfers) init() { t.offers = map[proto.NodeID]*offer{} }

func (r *replica) installing() bool { return r.install != nil }

// copyStore returns a store with the same content, flushed.
func copyStore(from *mem.Store) *mem.Store {
	to := mem.New(mem.Options{Now: func() uint32 { return 1 }})
	var b engine.BatchBuilder
	eachRow(from, func(key, value []byte) {
		v, err := engine.ParseValue(engine.DataV1, value)
		if err != nil {
			invariant.Assertf(false, "copy of a store: %v", err)
		}
		b.Put(key, v.Expire, v.Timetag, v.User)
	})
	if d := from.AppliedDecree(); d > 0 {
		m := consensus.Mutation{Decree: d, Batch: b.Bytes()}
		apply(to, &m)
	}
	if _, err := to.Flush(); err != nil {
		invariant.Assertf(false, "flush of a copy: %v", err)
	}
	return to
}

func (r *replica) serveLearners(e *consensus.Effects) {
	if !r.alive() {
		return
	}
	for _, read := range e.ReadLog {
		r.readLog(read)
	}
	for _, send := range e.SendCheckpoint {
		r.makeCheckpoint(send.Learner)
	}
	for _, in := range e.Install {
		r.fetch(in)
	}
	for _, learner := range e.Release {
		r.release(learner)
	}
}

// readLog reads a range in the background; the log may move on meanwhile.
func (r *replica) readLog(q consensus.ReadLog) {
	n := r.n
	answer := &consensus.Event{Kind: consensus.EventLogRead, Node: q.Learner, Decree: q.From}
	reader, err := n.log.Read(gpid(r.part), q.From, q.To)
	answer.Failed = err != nil
	n.after(n.diskTime(), func() {
		if reader != nil {
			bytes := 0
			for (len(answer.Mutations) == 0 || bytes < q.Bytes) && reader.Next() {
				rec := reader.Record()
				bytes += len(rec.Payload)
				answer.Mutations = append(answer.Mutations, consensus.Mutation{
					Ballot: rec.Ballot, Decree: rec.Decree, Committed: rec.Committed, Timestamp: rec.Timestamp, Batch: slices.Clone(rec.Payload),
				})
			}
			answer.Failed = reader.Err() != nil || len(answer.Mutations) == 0
			// The files were open for reading: closing them has nothing to lose.
			_ = reader.Close()
		}
		r.n.s.notePart(r.part, n, "reads its log from decree %d: %d mutations", int64(q.From), int64(len(answer.Mutations)))
		r.step(answer)
	})
}

func (r *replica) makeCheckpoint(learner proto.NodeID) {
	n := r.n
	n.after(4*n.diskTime(), func() {
		if !r.alive() || r.failed {
			return
		}
		r.release(learner)
		o := &offer{store: copyStore(r.media.store), decree: r.media.store.AppliedDecree()}
		var err error
		if o.pin, err = n.log.Pin("learner", gpid(r.part), o.decree+1, 4*n.s.o.SegmentSize); err != nil {
			// Without a pin the log behind the checkpoint may go: then the learner will ask for the next one.
			o.pin = nil
		}
		r.offers[learner] = o
		n.s.notePart(r.part, n, "offers a checkpoint of decree %d", int64(o.decree))
		r.step(&consensus.Event{Kind: consensus.EventCheckpointSent, Node: learner, Decree: o.decree})
	})
}

func (r *replica) release(learner proto.NodeID) {
	if o := r.offers[learner]; o != nil {
		if o.pin != nil {
			o.pin.Release()
		}
		delete(r.offers, learner)
	}
}

// fetch copies a checkpoint from its maker, makes the log forget the partition, and then replaces the store. The order matters: a
// store with records of another past behind it would be a mixture.
func (r *replica) fetch(in consensus.Install) {
	n, s := r.n, r.n.s
	if r.install != nil {
		return
	}
	r.install = &install{decree: in.Decree}
	n.after(10*millisecond+s.rng.Int64N(300*millisecond), func() {
		if !r.alive() {
			return
		}
		source := s.nodes[s.slot(in.From)]
		var o *offer
		if source.up && source.name == in.From && !s.net.link(source.id, n.id).blocked && !s.net.link(n.id, source.id).blocked {
			if from := source.parts[r.part]; from != nil {
				o = from.offers[n.name]
			}
		}
		if o == nil || o.decree != in.Decree {
			r.installed(in.Decree, true)
			return
		}
		r.install.store = copyStore(o.store)
		r.install.forgetIn = n.writes + 1
		if !n.log.Holds(gpid(r.part)) {
			// Nothing to forget: no write may ever come.
			r.install.forgetIn = 0
			r.forgotten()
			return
		}
		n.log.Forget(gpid(r.part))
	})
}

// forgotten goes on with an installation once the log has forgotten the partition durably.
func (r *replica) forgotten() {
	in := r.install
	if in == nil || in.store == nil || r.n.writesDone < in.forgetIn {
		return
	}
	r.media.store, r.onDisk = in.store, in.decree
	r.appended = mark{r.media.ballot, in.decree}
	r.n.s.content.look(r.n, r.part, in.store)
	r.installed(in.decree, false)
}

func (r *replica) installed(d proto.Decree, failed bool) {
	r.install = nil
	if failed {
		r.n.s.notePart(r.part, r.n, "cannot install the checkpoint of decree %d", int64(d))
	} else {
		r.n.s.notePart(r.part, r.n, "installs the checkpoint of decree %d", int64(d))
	}
	r.step(&consensus.Event{Kind: consensus.EventCheckpointInstalled, Decree: d, Failed: failed})
}
