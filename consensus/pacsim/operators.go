package pacsim

import (
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// What operators do through meta while everything else goes wrong: jobs begin, rest, go on and end, and meta's leaders hand them
// from one to the next.

// jobs counts those that a meta remembers as finished, and as ended.
func (g *metaGroup) jobs() (done, ended int) {
	best := g.metas[0]
	for _, m := range g.metas {
		if m.applied > best.applied {
			best = m
		}
	}
	for _, j := range best.core.State().Jobs() {
		if j.Status == core.JobDone {
			done++
		}
		if j.Status >= core.JobDone {
			ended++
		}
	}
	return done, ended
}

// emptyNode has a node drained, which then restarts, or decommissioned. Now and then it is taken back before it is empty.
func (s *Sim) emptyNode() {
	n := s.anyNode()
	kind := "drain"
	if s.rng.IntN(3) == 0 {
		kind = "decommission"
	}
	s.noteNode(n, "is to be emptied ("+kind+")")
	address := nodeAddress(n.id).String()
	s.metas.ask(&core.StartRequest{Kind: kind, Node: address}, func(core.Reply) {})
	back := s.duration(500*millisecond, 15*second)
	if kind == "drain" && s.rng.IntN(2) == 0 {
		s.later(back, func() { s.kill(n, false) })
	}
	s.later(back+second, func() { s.metas.ask(&core.ReturnRequest{Node: address}, func(core.Reply) {}) })
}

// evenOut has replicas moved, and meddles with the jobs that there are.
func (s *Sim) evenOut() {
	s.note("an operator wants replicas evened out")
	s.metas.ask(&core.StartRequest{Kind: "balance"}, func(core.Reply) {})
	s.later(s.duration(100*millisecond, 5*second), func() {
		s.metas.ask(&core.JobsRequest{}, func(r core.Reply) {
			list, ok := r.Body.(*core.AdminResponse)
			if !ok || len(list.Jobs) == 0 {
				return
			}
			j := list.Jobs[s.rng.IntN(len(list.Jobs))]
			action := []string{"pause", "resume", "resume", "cancel"}[s.rng.IntN(4)]
			s.q.after(0, func() { s.metas.ask(&core.JobRequest{ID: j.ID, Action: action}, func(core.Reply) {}) })
		})
	})
}

// returnAll puts the nodes from slot i on back into service, one after the other, and asks again until it is done.
func (s *Sim) returnAll(i int) {
	if i >= s.o.Nodes {
		return
	}
	again := func() { s.q.after(500*millisecond, func() { s.returnAll(i) }) }
	answered := false
	if !s.metas.ask(&core.ReturnRequest{Node: nodeAddress(i).String()}, func(r core.Reply) {
		answered = true
		resp, ok := r.Body.(*core.AdminResponse)
		if ok && (resp.Err == proto.ErrOK || resp.Err == proto.ErrObjectNotFound) {
			s.q.after(0, func() { s.returnAll(i + 1) })
			return
		}
		again()
	}) {
		again()
		return
	}
	// The leader may be gone before it answers.
	s.q.after(5*second, func() {
		if !answered {
			answered = true
			s.returnAll(i)
		}
	})
}
