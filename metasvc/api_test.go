package metasvc

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/metasvc/console"
	"pegasus/metasvc/journal"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// page asks one meta over HTTP, with the origin of a script if it is not empty, and follows no redirect.
func page(t *testing.T, address, path, origin string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	return send(t, req)
}

// send sends a request on a connection of its own and follows no redirect.
func send(t *testing.T, req *http.Request) (status int, header http.Header, body string) {
	t.Helper()
	client := http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(b)
}

func (g *group) api(path string, out any) {
	g.t.Helper()
	status, _, body := page(g.t, g.peers[g.leader()].Address, path, "")
	if err := json.Unmarshal([]byte(body), out); status != 200 || err != nil {
		g.t.Fatalf("%s: %d %v %s", path, status, err, body)
	}
}

// TestOverview follows a cluster through a creation, a load and a death, as the console sees it.
func TestOverview(t *testing.T) {
	g := startGroup(t, 3)
	var nodes []*node
	for i := range 4 {
		nodes = append(nodes, startNode(t, i+1, g.metas()))
	}
	var o struct {
		console.Head
		console.Overview
	}
	eventually(t, "all nodes are there", func() bool {
		g.api("/api/v1/overview", &o)
		return len(o.Nodes) == 4
	})
	app := g.create("t", 4, 3)
	members := g.members("t", 3)
	eventually(t, "the table is healthy", func() bool {
		g.api("/api/v1/overview", &o)
		return len(o.Tables) == 1 && o.Tables[0].Health["healthy"] == 4 && len(o.Concerns) == 0
	})
	if o.Cluster != "onebox" || o.Leader != g.peers[g.leader()].Address || !slices.Equal(o.Metas, g.metas()) || o.Level != "steady" ||
		o.Tables[0].Want != 3 || o.Tables[0].MinWrite != 2 {
		t.Errorf("overview %+v", o)
	}
	replicas := 0
	for _, n := range o.Nodes {
		replicas += n.Replicas
		if !n.Alive || !n.Connected {
			t.Errorf("node %+v", n)
		}
	}
	if replicas != 12 {
		t.Errorf("%d replicas, want 12", replicas)
	}

	// Loads: what the primary says counts for the table, what everybody says for the node.
	byAddress := func(a string) *node {
		return nodes[slices.IndexFunc(nodes, func(n *node) bool { return n.address.String() == a })]
	}
	primary := byAddress(members[2][0])
	gpid := proto.GPID{App: app, Part: 2}
	for _, a := range members[2] {
		n := byAddress(a)
		n.mu.Lock()
		n.status = &proto.NodeStatusReport{
			Node:  n.id,
			Disks: []proto.DiskStatus{{Tag: "ssd", Dir: "/d", CapacityMB: 100, AvailableMB: 40, Status: 1}},
			Replicas: []proto.ReplicaLoad{{GPID: gpid, DiskTag: "ssd", Bytes: 1000, ReadsPerSec: 10, WritesPerSec: 5, ReadP50: 100, ReadP99: 900,
				HotKeys: []proto.HotKey{{HashKey: "hot\xff", Write: true, PerSec: 7, Percent: 70}}}},
		}
		n.mu.Unlock()
	}
	eventually(t, "the loads show", func() bool {
		g.api("/api/v1/overview", &o)
		return o.Tables[0].Traffic.Reads == 10 && len(o.Hot) == 3
	})
	if o.Tables[0].Bytes != 1000 || o.Tables[0].Latency.ReadP50 != 100 || o.Tables[0].Latency.ReadP99 != 900 || o.Hot[0].HashKey != `hot\xff` {
		t.Errorf("table %+v, hot keys %+v", o.Tables[0], o.Hot)
	}
	var p console.Partitions
	g.api("/api/v1/table?name=t", &p)
	if len(p.Partitions) != 4 || p.Partitions[2].Primary != members[2][0] || len(p.Partitions[2].Secondaries) != 2 || p.Partitions[2].Traffic.Writes != 5 ||
		p.Partitions[2].Health != "healthy" || p.Partitions[0].Traffic.Reads != 0 {
		t.Errorf("partitions %+v", p.Partitions)
	}
	var n console.NodeReplicas
	g.api("/api/v1/node?address="+primary.address.String(), &n)
	if len(n.Node.Disks) != 1 || n.Node.Disks[0].Status != "full" || n.Node.Disks[0].Replicas != 1 || n.Node.Disks[0].Bytes != 1000 || n.Node.Traffic.Reads != 10 {
		t.Errorf("node %+v", n.Node)
	}
	var m console.Map
	g.api("/api/v1/map", &m)
	if len(m.Tables) != 1 || len(m.Tables[0].Members) != 4 || m.Nodes[m.Tables[0].Members[2][0]] != members[2][0] || m.Omitted != 0 {
		t.Errorf("map %+v", m)
	}

	// A death is told, and what is done about it.
	last := o.LastEvent
	primary.close()
	eventually(t, "the death shows", func() bool {
		g.api(fmt.Sprintf("/api/v1/overview?after=%d", last), &o)
		return slices.ContainsFunc(o.Events, func(e console.Event) bool {
			return e.Kind == "node" && strings.HasPrefix(e.Text, members[2][0]) && strings.Contains(e.Text, "counts as dead")
		})
	})
	for _, e := range o.Events {
		if e.Seq <= last {
			t.Errorf("event %d again", e.Seq)
		}
	}
	for _, want := range []string{"leads the meta group", "registered", "table t is created: 4 partitions of 3 replicas", "is the first primary", "is asked to add", "is asked to take over", "is a member no more"} {
		eventually(t, "an event says "+want, func() bool {
			var all struct {
				Events []console.Event `json:"events"`
			}
			g.api("/api/v1/events", &all)
			return slices.ContainsFunc(all.Events, func(e console.Event) bool { return strings.Contains(e.Text, want) })
		})
	}
}

// The log of events survives the leader: the next one tells the same under the same numbers, what only the old one saw too.
func TestEventsSurviveTheLeader(t *testing.T) {
	g := startGroup(t, 3)
	n := startNode(t, 1, g.metas())
	startNode(t, 2, g.metas())
	g.create("t", 2, 1)
	g.assigned("t")
	type events struct {
		Events    []console.Event `json:"events"`
		LastEvent int64           `json:"last_event"`
	}
	says := func(e events, text string) bool {
		return slices.ContainsFunc(e.Events, func(e console.Event) bool { return strings.Contains(e.Text, text) })
	}
	n.close()
	var before, after, rest events
	eventually(t, "the death is told", func() bool {
		g.api("/api/v1/events", &before)
		return says(before, n.address.String()+" is not heard of")
	})
	old := g.leader()
	g.stop(old)
	eventually(t, "another meta leads and says so", func() bool {
		l := g.leader()
		status, _, body := page(t, g.peers[l].Address, "/api/v1/events", "")
		return status == 200 && json.Unmarshal([]byte(body), &after) == nil && l != old && says(after, g.peers[l].Address+" leads the meta group")
	})
	if len(after.Events) < len(before.Events) || !slices.Equal(after.Events[:len(before.Events)], before.Events) {
		t.Fatalf("before the change:\n%+v\nafter it:\n%+v", before, after)
	}
	for _, want := range []string{"table t is created", "is asked to become the first primary", "is the first primary", "registered", g.peers[old].Address + " leads"} {
		if !says(after, want) {
			t.Errorf("no event says %q", want)
		}
	}
	// Whoever has seen some is told the rest, without a repetition.
	g.api(fmt.Sprintf("/api/v1/events?after=%d", before.LastEvent), &rest)
	if len(rest.Events) == 0 || rest.Events[0].Seq != before.LastEvent+1 {
		t.Errorf("behind %d: %+v", before.LastEvent, rest)
	}
	// All metas off and on again: the story is read from their journals.
	for i := range 3 {
		if i != old {
			g.stop(i)
		}
	}
	for i := range 3 {
		g.start(i, nil)
	}
	eventually(t, "the restarted group tells it", func() bool {
		status, _, body := page(t, g.peers[g.leader()].Address, "/api/v1/events", "")
		return status == 200 && json.Unmarshal([]byte(body), &rest) == nil && len(rest.Events) > len(before.Events) && slices.Equal(rest.Events[:len(before.Events)], before.Events)
	})
}

// Who has an answer already is told so in a few bytes, until there is something new.
func TestUnchangedAnswers(t *testing.T) {
	g := startGroup(t, 1)
	startNode(t, 1, g.metas())
	g.create("t", 2, 1)
	g.assigned("t")
	at := g.peers[0].Address
	etag := map[string]string{}
	var o console.Head
	last := int64(0)
	for _, path := range []string{"/api/v1/overview?", "/api/v1/map?", "/api/v1/table?name=t", "/api/v1/node?address=127.0.0.1:40001"} {
		eventually(t, path+" stays as it is", func() bool {
			status, header, body := page(t, at, fmt.Sprintf("%s&after=%d&etag=%s", path, last, etag[path]), "")
			if status == 204 {
				if body != "" || header.Get("Content-Length") != "" {
					t.Errorf("%s: %v %q", path, header, body)
				}
				return true
			}
			o = console.Head{}
			if err := json.Unmarshal([]byte(body), &o); err != nil || status != 200 || o.Etag == "" || o.Now == 0 {
				t.Fatalf("%s: %d %v %s", path, status, err, body)
			}
			if etag[path] = o.Etag; o.News != nil {
				last = o.LastEvent
			}
			return false
		})
	}
	g.create("u", 1, 1)
	eventually(t, "the new table shows", func() bool {
		status, _, body := page(t, at, "/api/v1/map?etag="+etag["/api/v1/map?"], "")
		return status == 200 && strings.Contains(body, `"name":"u"`)
	})
	// An event alone is news.
	status, _, body := page(t, at, fmt.Sprintf("/api/v1/overview?after=%d&etag=%s", last, etag["/api/v1/overview?"]), "")
	if status != 200 || !strings.Contains(body, "table u is created") {
		t.Errorf("%d %s", status, body)
	}
}

func TestConsolePages(t *testing.T) {
	g := startGroup(t, 3)
	leader := g.leader()
	follower := g.peers[(leader+1)%3].Address
	for _, tc := range []struct {
		path, origin string
		follower     bool
		status       int
		header, want string // want is in the named header, or in the body
	}{
		{path: "/console", status: 307, header: "Location", want: "/console/"},
		{path: "/console/", status: 200, want: "<title>Pegasus</title>"},
		{path: "/console/", follower: true, status: 200, header: "Content-Type", want: "text/html"},
		{path: "/console/", status: 200, header: "X-Frame-Options", want: "DENY"},
		{path: "/console/console.js", status: 200, header: "Content-Type", want: "text/javascript"},
		{path: "/console/../server.go", status: 404, want: "no file"},
		{path: "/console/nothing", status: 404, want: "no file"},
		{path: "/api/v1/overview", status: 200, header: "Cache-Control", want: "no-store"},
		{path: "/api/v1/overview?after=1", follower: true, status: 307, header: "Location", want: "http://" + g.peers[leader].Address + "/api/v1/overview?after=1"},
		{path: "/api/v1/overview", origin: "http://" + follower, status: 200, header: "Access-Control-Allow-Origin", want: "http://" + follower},
		{path: "/api/v1/overview", origin: "http://" + g.peers[leader].Address, follower: true, status: 200, want: `{"elsewhere":"` + g.peers[leader].Address + `"}`},
		{path: "/api/v1/overview", origin: "http://evil.example", status: 200, header: "Access-Control-Allow-Origin", want: ""},
		{path: "/api/v1/overview?after=x", status: 400, want: "invalid after=x"},
		{path: "/api/v1/table?name=none", status: 404, want: "table not found"},
		{path: "/api/v1/node?address=none", status: 404, want: "node not found"},
		{path: "/api/v1/none", status: 404, want: "service not found"},
	} {
		to := g.peers[leader].Address
		if tc.follower {
			to = follower
		}
		status, header, body := page(t, to, tc.path, tc.origin)
		got := body
		if tc.header != "" {
			got = header.Get(tc.header)
		}
		if status != tc.status || !strings.Contains(got, tc.want) || tc.header != "" && tc.want == "" && got != "" {
			t.Errorf("%s from %q: %d %s %q, want %d %q", tc.path, tc.origin, status, tc.header, got, tc.status, tc.want)
		}
	}
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

// A snapshot shows with its size and when it was taken.
func TestRaftMetricsOfASnapshot(t *testing.T) {
	e := export.New()
	defer e.Close()
	text, err := e.Text(func(f *export.Families) {
		raftFamilies(f, journal.Stats{State: "candidate", Contact: -1, Snapshot: journal.SnapshotStats{Index: 7, Bytes: 1 << 20, Taken: time.UnixMilli(1_700_000_000_500)}})
	})
	if err != nil || !containsAll(string(text), `pegasus_meta_raft_state{state="candidate"} 1`, "pegasus_meta_raft_snapshot_index 7\n",
		"pegasus_meta_raft_snapshot_size_bytes 1.048576e+06\n", "pegasus_meta_raft_snapshot_timestamp_seconds 1.7000000005e+09\n") ||
		containsAll(string(text), "raft_last_contact") || containsAll(string(text), "raft_leader{") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestMetaMetrics(t *testing.T) {
	g := startGroup(t, 3)
	startNode(t, 1, g.metas())
	id := g.create("t", 4, 1)
	g.assigned("t")
	leader := g.leader()
	eventually(t, "the table is healthy", func() bool {
		_, _, text := page(t, g.peers[leader].Address, "/metrics", "")
		return strings.Contains(text, `pegasus_meta_partitions{health="healthy",table="t"} 4`) && strings.Contains(text, "pegasus_meta_leading 1") &&
			strings.Contains(text, `pegasus_meta_nodes{state="alive"} 1`) && strings.Contains(text, "go_goroutines")
	})
	eventually(t, "the leader's Raft", func() bool {
		_, _, text := page(t, g.peers[leader].Address, "/metrics", "")
		return containsAll(text, `pegasus_meta_raft_state{state="leader"} 1`, `pegasus_meta_raft_state{state="follower"} 0`,
			"pegasus_meta_raft_last_contact_seconds 0\n", "pegasus_meta_raft_members 3\n", "pegasus_meta_raft_term ", "pegasus_meta_raft_last_index ",
			"pegasus_meta_raft_commit_index ", "pegasus_meta_raft_applied_index ", "pegasus_meta_raft_fsm_pending 0\n", "pegasus_meta_raft_snapshot_index 0\n",
			`pegasus_meta_raft_leader{leader="`+g.peers[leader].Address+`"} 1`)
	})
	if _, header, text := page(t, g.peers[(leader+1)%3].Address, "/metrics", ""); !strings.Contains(text, "pegasus_meta_leading 0") ||
		!strings.Contains(text, `pegasus_meta_raft_state{state="follower"} 1`) || strings.Contains(text, "pegasus_meta_nodes") || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("a follower's metrics, %v:\n%s", header, text)
	}
	var out struct {
		Role     string
		Entities []struct {
			ID      string
			Metrics []struct {
				Name  string
				Value int64
			}
		}
	}
	ask := func(query string) {
		t.Helper()
		status, _, body := page(t, g.peers[leader].Address, "/metrics?"+query, "")
		if err := json.Unmarshal([]byte(body), &out); status != 200 || err != nil {
			t.Fatalf("%s: %d %v %s", query, status, err, body)
		}
	}
	ask("types=table&metrics=healthy_partitions")
	if len(out.Entities) != 1 || out.Entities[0].ID != fmt.Sprintf("table@%d", id) || out.Entities[0].Metrics[0].Value != 4 || out.Role != "meta" {
		t.Errorf("%+v", out)
	}
	ask(fmt.Sprintf("types=partition&attributes=table_id,%d", id))
	if len(out.Entities) != 4 || out.Entities[1].ID != fmt.Sprintf("partition@%d.1", id) || out.Entities[1].Metrics[0].Value < 1 {
		t.Errorf("%+v", out)
	}
	if status, _, body := page(t, g.peers[leader].Address, "/metrics?types=a&types=b", ""); status != 400 || !strings.Contains(body, "duplicate parameter: types") {
		t.Errorf("%d %s", status, body)
	}
}
