package metasvc

import (
	"fmt"
	"slices"
	"time"

	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// watcher notes what a leader sees happen to the cluster, for people, beyond what commands do (core.State notes that itself), and
// keeps what nodes say of their loads. It decides nothing.
type watcher struct {
	s      *Server
	role   core.Role
	metas  []string // the group as it was known last
	alive  map[proto.NodeID]bool
	status map[proto.NodeID]*proto.NodeStatusReport // newest of each connected node
	cache  answerCache

	// pending waits to be stored, at most core.MaxObserved; omitted did not find room. Storing costs an entry of the journal: there
	// may be credit of them at once, after that one a second.
	pending  []core.Note
	omitted  int
	credit   int
	creditAt int64 // loop time at which it was counted
	// asked is what the guardian asked for last, by partition: what it repeats is not told again. At most maxAsked.
	asked map[proto.GPID]asked
}

type asked struct {
	typ    proto.ConfigType
	node   proto.NodeID
	ballot proto.Ballot
}

const (
	maxAsked    = 4096
	noteCredit  = 8
	noteReserve = 16 // places that what the guardian asks for leaves to what happens to nodes and metas
)

func newWatcher(s *Server) *watcher {
	return &watcher{
		s: s, alive: map[proto.NodeID]bool{}, status: map[proto.NodeID]*proto.NodeStatusReport{}, asked: map[proto.GPID]asked{},
		cache: answerCache{}, credit: noteCredit,
	}
}

func (w *watcher) note(kind, format string, args ...any) {
	room := core.MaxObserved - 1 // the last place is for the number of those that found none
	if kind == "guardian" {
		room -= noteReserve
	}
	if len(w.pending) >= room {
		w.omitted++
		return
	}
	w.pending = append(w.pending, core.Note{At: w.s.loop.WallMicros() / 1000, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// take returns the notes that are to be stored now.
func (w *watcher) take() []core.Note {
	if len(w.pending) == 0 {
		return nil
	}
	now := w.s.loop.Now()
	if passed := (now - w.creditAt) / int64(time.Second); passed > 0 {
		w.credit, w.creditAt = int(min(noteCredit, int64(w.credit)+passed)), now
	}
	if w.credit == 0 {
		return nil
	}
	w.credit--
	if w.omitted > 0 {
		w.pending = append(w.pending, core.Note{At: w.s.loop.WallMicros() / 1000, Kind: "meta", Text: fmt.Sprintf("and %d things more, within a second", w.omitted)})
	}
	list := w.pending
	w.pending, w.omitted = nil, 0
	return list
}

// after is called when a step's effects are known.
func (w *watcher) after(ev core.Event, effects *core.Effects) {
	if role := w.s.core.Role(); role != w.role {
		w.role = role
		w.newRole()
	}
	if w.role != core.Leading {
		return
	}
	switch e := ev.(type) {
	case core.Tick, core.Hello, core.Beacon, core.LinkClosed:
		w.lookAtNodes()
	case core.Group:
		w.lookAtGroup(e.Metas)
	}
	for i := range effects.Send {
		p, ok := effects.Send[i].Msg.(*proto.Proposal)
		if !ok {
			continue
		}
		g, a := p.Config.GPID, asked{p.Type, p.Node, p.Config.Ballot}
		if w.asked[g] == a {
			continue
		}
		if len(w.asked) >= maxAsked {
			clear(w.asked)
		}
		w.asked[g] = a
		w.note("guardian", "%s: %s", w.s.core.State().PartitionName(g), w.s.core.Explain(w.nodeOf(effects.Send[i].Link, p), p.Type, p.Node))
	}
}

// nodeOf tells who was sent a proposal.
func (w *watcher) nodeOf(link uint64, p *proto.Proposal) proto.NodeID {
	if id, ok := w.s.core.NodeOn(link); ok {
		return id
	}
	return p.Config.Primary
}

// newRole begins anew; what was not stored is lost with the leadership.
func (w *watcher) newRole() {
	clear(w.alive)
	clear(w.status)
	clear(w.asked)
	clear(w.cache)
	w.pending, w.omitted, w.metas = nil, 0, nil
	if w.role == core.Leading {
		w.note("meta", "%s leads the meta group", w.s.opt.Advertise)
		for _, m := range w.s.members {
			w.metas = append(w.metas, m.ID)
		}
	}
}

func (w *watcher) lookAtNodes() {
	st := w.s.core.State()
	w.s.core.EachAlive(func(id proto.NodeID, alive bool) {
		was, known := w.alive[id]
		if was == alive && known {
			return
		}
		w.alive[id] = alive
		switch {
		case alive && known:
			w.note("node", "%s is back", st.NodeName(id))
		case !alive:
			w.note("node", "%s is not heard of: it counts as dead", st.NodeName(id))
			delete(w.status, id)
		}
	})
}

// lookAtGroup tells how the meta group changed.
func (w *watcher) lookAtGroup(metas []string) {
	for _, m := range metas {
		if w.metas != nil && !slices.Contains(w.metas, m) {
			w.note("meta", "%s is a member of the meta group", m)
		}
	}
	for _, m := range w.metas {
		if !slices.Contains(metas, m) {
			w.note("meta", "%s left the meta group", m)
		}
	}
	w.metas = slices.Clone(metas)
}

// told takes what a node says of its disks and loads.
func (w *watcher) told(link uint64, m *proto.NodeStatusReport) {
	if id, ok := w.s.core.NodeOn(link); ok && id == m.Node {
		w.status[id] = m
	}
}
