package metasvc

import (
	"os"
	"strconv"
	"strings"

	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/loop"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// The metrics of a meta. What they are made of is copied on the loop; the text is made in a lane, and the session that wants it
// reads no further request meanwhile.

// figures are what metrics are made of.
type figures struct {
	leading     bool
	revision    int64
	level       proto.MetaFunctionLevel
	alive, dead int
	tables      []tableFigures
	loop        loop.Stats
	journal     *journal.Journal // nil until it is open
}

type tableFigures struct {
	id      int32
	name    string
	health  [core.HealthKinds]int
	changes []int64 // of the configuration, by partition; only when they were asked for
}

// figures copies them. It runs on the loop.
func (w *watcher) figures(partitions bool) *figures {
	c := w.s.core
	f := &figures{leading: c.Role() == core.Leading, revision: c.State().Revision(), loop: w.s.loop.Snapshot(), journal: w.s.journal}
	if !f.leading {
		return f
	}
	f.level = c.Level()
	c.EachAlive(func(id proto.NodeID, alive bool) {
		switch {
		case !c.State().Node(id).Address.IsValid():
		case alive:
			f.alive++
		default:
			f.dead++
		}
	})
	for _, a := range c.State().Tables() {
		if a.Info.Status != proto.AppAvailable {
			continue
		}
		t := tableFigures{id: a.Info.AppID, name: strings.ToValidUTF8(a.Info.AppName, "?")}
		for i := range a.Partitions {
			t.health[c.Health(a, int32(i))]++
			if partitions {
				t.changes = append(t.changes, int64(a.Partitions[i].Ballot))
			}
		}
		f.tables = append(f.tables, t)
	}
	return f
}

// families shows them to Prometheus.
func (f *figures) families(e *export.Families) {
	flag := map[bool]float64{true: 1}
	e.Gauge("pegasus_meta_leading", "1 on the meta that leads, 0 on the others.", flag[f.leading])
	e.Gauge("pegasus_meta_revision", "Number of the last change of the cluster's state that this meta has applied.", float64(f.revision))
	e.Counter("pegasus_loop_busy_seconds_total", "Time that the event loop spent within turns.", float64(f.loop.BusyNanos)/1e9, "shard", "meta")
	e.Counter("pegasus_loop_turns_total", "Turns of the event loop in which anything happened.", float64(f.loop.Turns), "shard", "meta")
	e.Gauge("pegasus_sessions", "Open sessions.", float64(f.loop.Sessions), "shard", "meta")
	if f.journal != nil {
		raftFamilies(e, f.journal.Stats())
	}
	if !f.leading {
		return // only the leader knows of the cluster
	}
	e.Gauge("pegasus_meta_function_level", "Function level in force, as Apache Pegasus numbers them: 100 stopped, 200 blind, 300 freezed, 400 steady, 500 lively.", float64(f.level))
	e.Gauge("pegasus_meta_nodes", "Registered replica servers.", float64(f.alive), "state", "alive")
	e.Gauge("pegasus_meta_nodes", "Registered replica servers.", float64(f.dead), "state", "dead")
	e.Gauge("pegasus_meta_tables", "Tables that are not dropped.", float64(len(f.tables)))
	for i := range f.tables {
		t := &f.tables[i]
		for h, n := range t.health {
			e.Gauge("pegasus_meta_partitions", "Partitions by their health.", float64(n), "table", t.name, "health", core.Health(h).String())
		}
	}
}

// raftFamilies shows a member of the meta group.
func raftFamilies(e *export.Families, s journal.Stats) {
	gauge := func(name, help string, v float64) { e.Gauge("pegasus_meta_raft_"+name, help, v) }
	for _, state := range []string{"follower", "candidate", "leader", "shutdown"} {
		in := 0.0
		if s.State == state {
			in = 1
		}
		e.Gauge("pegasus_meta_raft_state", "1 for what the meta is in its group, 0 for the rest.", in, "state", state)
	}
	if s.Leader != "" {
		e.Gauge("pegasus_meta_raft_leader", "The leader that this meta knows, always 1.", 1, "leader", s.Leader)
	}
	gauge("members", "Members of the group, as this meta knows it.", float64(s.Members))
	gauge("term", "Term of the group, which every election raises.", float64(s.Term))
	gauge("last_index", "Index of the last entry in this meta's log.", float64(s.Last))
	gauge("commit_index", "Index of the last entry that this meta knows to be committed.", float64(s.Commit))
	gauge("applied_index", "Index of the last entry that this meta has applied, or is about to.", float64(s.Applied))
	gauge("fsm_pending", "Batches of committed entries that wait to be applied.", float64(s.Pending))
	if s.Contact >= 0 {
		gauge("last_contact_seconds", "Time since this meta heard of the leader, 0 on the leader itself.", s.Contact.Seconds())
	}
	gauge("snapshot_index", "Index of the last entry in this meta's newest snapshot, 0 without one.", float64(s.Snapshot.Index))
	gauge("snapshot_size_bytes", "Size of this meta's newest snapshot, 0 without one.", float64(s.Snapshot.Bytes))
	if !s.Snapshot.Taken.IsZero() {
		gauge("snapshot_timestamp_seconds", "When this meta's newest snapshot was taken, in seconds since 1970.", float64(s.Snapshot.Taken.UnixMilli())/1e3)
	}
}

// entities shows them under the names of Apache Pegasus.
func (f *figures) entities(wanted func(string) bool) (out []export.Entity) {
	if wanted("partition") {
		for i := range f.tables {
			out = append(out, f.tables[i].partitions()...)
		}
	}
	if wanted("table") {
		for i := range f.tables {
			out = append(out, f.tables[i].entity())
		}
	}
	if wanted("server") {
		out = append(out, export.Entity{Type: "server", ID: "server", Metrics: []export.Metric{
			{Name: "network_server_sessions", Type: "Gauge", Unit: "Sessions", Desc: "The number of sessions from server side", Value: int64(f.loop.Sessions)},
			{Name: "alive_replica_servers", Type: "Gauge", Unit: "Servers", Desc: "The number of alive replica servers", Value: int64(f.alive)},
			{Name: "unalive_replica_servers", Type: "Gauge", Unit: "Servers", Desc: "The number of unalive replica servers", Value: int64(f.dead)},
		}})
	}
	return out
}

func (t *tableFigures) entity() export.Entity {
	e := export.Entity{Type: "table", ID: "table@" + strconv.Itoa(int(t.id)), Attributes: map[string]string{"table_id": strconv.Itoa(int(t.id))}}
	for _, m := range []struct {
		health core.Health
		name   string
	}{{core.Healthy, "healthy"}, {core.WritableIll, "writable_ill"}, {core.Unwritable, "unwritable"}, {core.Unreadable, "unreadable"}, {core.Dead, "dead"}} {
		e.Metrics = append(e.Metrics, export.Metric{
			Name: m.name + "_partitions", Type: "Gauge", Unit: "Partitions", Desc: "The number of " + strings.ReplaceAll(m.name, "_", " ") + " partitions",
			Value: int64(t.health[m.health]),
		})
	}
	return e
}

func (t *tableFigures) partitions() (out []export.Entity) {
	id := strconv.Itoa(int(t.id))
	for i, n := range t.changes {
		index := strconv.Itoa(i)
		out = append(out, export.Entity{
			Type: "partition", ID: "partition@" + id + "." + index, Attributes: map[string]string{"table_id": id, "partition_id": index},
			Metrics: []export.Metric{{
				Name: "partition_configuration_changes", Type: "Counter", Unit: "Changes", Desc: "The number of times the configuration has been changed", Value: n,
			}},
		})
	}
	return out
}

// pageMetrics answers /metrics. The text is made in the lane.
func (s *Server) pageMetrics(c *pageCall, reply func(httpfront.Response)) {
	apache := export.Wants(c.req)
	f := s.watch.figures(apache)
	err := s.pages.Submit(func() {
		r := s.metrics(c.req, f, apache)
		// It fails only when the loop has stopped; then nobody waits.
		_ = s.loop.PostMust(func() { reply(r) })
	})
	if err != nil {
		reply(httpfront.Text(503, "too many pages are being made\n"))
	}
}

func (s *Server) metrics(req *httpfront.Request, f *figures, apache bool) httpfront.Response {
	if apache {
		host, err := os.Hostname()
		if err != nil {
			host = s.opt.Advertise
		}
		self, _ := proto.ParseHostPort(s.opt.Advertise)
		return export.Query(req, export.Process{Cluster: s.opt.ClusterName, Role: "meta", Host: host, Port: int(self.Port)}, f.entities)
	}
	text, err := s.export.Text(f.families)
	if err != nil {
		return httpfront.Text(500, err.Error())
	}
	return httpfront.Response{ContentType: export.ContentType, Body: text}
}

const (
	pageWorkers = 1
	pageQueue   = 64
)
