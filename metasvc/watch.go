package metasvc

import (
	"fmt"
	"slices"
	"strings"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// watcher notes what happens to the cluster, for people: it looks at what goes into the core and at what comes out, and keeps
// what nodes say of their loads. It decides nothing. Only a leader's log says anything: a follower applies old commands, too.
type watcher struct {
	s      *Server
	log    console.Log
	role   core.Role
	alive  map[proto.NodeID]bool
	status map[proto.NodeID]*proto.NodeStatusReport // newest of each connected node
	cache  overviewCache
	// before the command that is being applied:
	cmd *core.Command
	old proto.PartitionConfig
}

func newWatcher(s *Server) *watcher {
	return &watcher{s: s, alive: map[proto.NodeID]bool{}, status: map[proto.NodeID]*proto.NodeStatusReport{}}
}

func (w *watcher) note(kind, format string, args ...any) {
	w.log.Add(w.s.loop.WallMicros()/1000, kind, fmt.Sprintf(format, args...))
}

// before is called before every step.
func (w *watcher) before(ev core.Event) {
	w.cmd = nil
	e, ok := ev.(core.Committed)
	if !ok || w.s.core.Role() != core.Leading {
		return
	}
	cmd, err := core.ParseCommand(e.Data)
	if err != nil {
		return // the step will say so
	}
	w.cmd = &cmd
	if r, ok := cmd.Body.(*core.Reconfigure); ok {
		w.old = w.config(r.Update.Config.GPID)
	}
}

func (w *watcher) config(g proto.GPID) (c proto.PartitionConfig) {
	if st := w.s.core.State(); st.Partition(g) != nil {
		c = st.App(g.App).Config(g.Part)
	}
	return c
}

// after is called when the step's effects are known.
func (w *watcher) after(ev core.Event, effects *core.Effects) {
	if role := w.s.core.Role(); role != w.role {
		w.role = role
		w.newRole()
	}
	if w.role != core.Leading {
		return
	}
	if w.cmd != nil {
		w.committed(w.cmd.Body)
	}
	switch ev.(type) {
	case core.Tick, core.Hello, core.Beacon, core.LinkClosed:
		w.lookAtNodes()
	}
	for i := range effects.Send {
		if p, ok := effects.Send[i].Msg.(*proto.Proposal); ok {
			w.note("guardian", "%s: %s", w.partition(p.Config.GPID), w.s.core.Explain(w.nodeOf(effects.Send[i].Link, p), p.Type, p.Node))
		}
	}
}

// nodeOf tells who was sent a proposal.
func (w *watcher) nodeOf(link uint64, p *proto.Proposal) proto.NodeID {
	if id, ok := w.s.core.NodeOn(link); ok {
		return id
	}
	return p.Config.Primary
}

func (w *watcher) newRole() {
	clear(w.alive)
	clear(w.status)
	w.cache = overviewCache{}
	switch w.role {
	case core.Leading:
		w.note("meta", "%s leads the meta group", w.s.opt.Advertise)
	case core.Electing:
		w.note("meta", "%s is elected and catches up with the journal", w.s.opt.Advertise)
	case core.Following:
		w.note("meta", "%s follows", w.s.opt.Advertise)
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

// partition names a partition by table and index.
func (w *watcher) partition(g proto.GPID) string {
	if a := w.s.core.State().App(g.App); a != nil {
		return fmt.Sprintf("%s/%d", a.Info.AppName, g.Part)
	}
	return g.String()
}

// committed notes what a command did.
func (w *watcher) committed(body any) {
	st := w.s.core.State()
	switch b := body.(type) {
	case *core.CreateApp:
		r := &b.Request
		w.note("table", "table %s is created: %d partitions of %d replicas", r.AppName, r.Options.PartitionCount, r.Options.ReplicaCount)
	case *core.DropApp:
		w.note("table", "table %s is dropped", b.Request.AppName)
	case *core.UpdateAppEnv:
		w.note("config", "environments of table %s: %s", b.Request.AppName, envChange(&b.Request))
	case *core.SetReplicas:
		if a := st.App(b.AppID); a != nil {
			w.note("config", "table %s wants %d replicas", a.Info.AppName, b.Count)
		}
	case *core.RegisterNode:
		w.note("node", "%s registered", b.Node.Address)
	case *core.Reconfigure:
		w.reconfigured(&b.Update)
	case *core.RecallApp:
		w.note("table", "table %d is recalled", b.Request.AppID)
	case *core.RenameApp:
		w.note("table", "table %s is now %s", b.Request.OldAppName, b.Request.NewAppName)
	case *core.SetIdempotent:
		if a := st.App(b.AppID); a != nil {
			w.note("config", "table %s: atomic_idempotent is %v", a.Info.AppName, b.Value)
		}
	case *core.SetOption:
		if b.Default {
			w.note("config", "%s is as configured again", b.Key)
		} else {
			w.note("config", "%s is %s", b.Key, b.Value)
		}
	case *core.StartJob:
		if jobs := st.Jobs(); len(jobs) > 0 {
			w.job(jobs[len(jobs)-1].ID)
		}
	case *core.MoveJob:
		w.job(b.ID)
	case *core.ReturnNode:
		w.note("node", "%s is put back into service", st.NodeName(b.Node))
	case *core.Appoint:
		w.note("partition", "%s: %s is appointed as the only member", w.partition(b.GPID), st.NodeName(b.Node))
	case *core.Recover:
		w.note("meta", "the state is recovered from %d replica servers: %d tables", len(b.Nodes), len(b.Apps))
	}
}

// job notes how a job stands.
func (w *watcher) job(id int64) {
	if v, ok := w.s.core.ViewJob(id); ok {
		text := fmt.Sprintf("job %d, %s: %s, %s", v.ID, strings.TrimSpace(v.Kind+" "+v.Node+v.Table), v.Status, v.Step)
		if v.Reason != "" {
			text += " (" + v.Reason + ")"
		}
		w.note("job", "%s", text)
	}
}

func envChange(r *proto.UpdateAppEnvRequest) string {
	switch r.Op {
	case proto.AppEnvOpSet:
		var parts []string
		for i := range min(len(r.Keys), len(r.Values)) {
			parts = append(parts, r.Keys[i]+"="+r.Values[i])
		}
		return "set " + strings.Join(parts, ", ")
	case proto.AppEnvOpDel:
		return "removed " + strings.Join(r.Keys, ", ")
	}
	return "cleared"
}

// reconfigured tells how a configuration changed, and on whose word.
func (w *watcher) reconfigured(u *proto.UpdateConfig) {
	g := u.Config.GPID
	now := w.config(g)
	if now.Ballot == w.old.Ballot {
		return // it was refused
	}
	name := w.s.core.State().NodeName
	var parts []string
	switch {
	case now.Primary == w.old.Primary:
	case w.old.Primary.IsZero():
		parts = append(parts, name(now.Primary)+" is the first primary")
	default:
		parts = append(parts, fmt.Sprintf("%s is primary in place of %s", name(now.Primary), name(w.old.Primary)))
	}
	members := func(c *proto.PartitionConfig) []proto.NodeID {
		return append([]proto.NodeID{c.Primary}, c.Secondaries...)
	}
	for _, n := range members(&now) {
		if !slices.Contains(members(&w.old), n) && n != now.Primary {
			parts = append(parts, name(n)+" is a member")
		}
	}
	for _, n := range members(&w.old) {
		if !n.IsZero() && !slices.Contains(members(&now), n) {
			parts = append(parts, name(n)+" is a member no more")
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "a new ballot, the same members")
	}
	from := u.From
	if from.IsZero() {
		from = u.Node
	}
	w.note("partition", "%s: %s; asked by %s, ballot %d", w.partition(g), strings.Join(parts, ", "), name(from), now.Ballot)
}

// told takes what a node says of its disks and loads.
func (w *watcher) told(link uint64, m *proto.NodeStatusReport) {
	if id, ok := w.s.core.NodeOn(link); ok && id == m.Node {
		w.status[id] = m
	}
}
