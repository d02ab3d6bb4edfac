package metasvc

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/netcore/proto"
)

// command runs a remote command and returns what it says, as JSON.
func (g *group) command(i int, cmd string, args ...string) map[string]any {
	g.t.Helper()
	text := ""
	if err := ask(g.t, g.peers[i].Address, proto.CodeCLICall, &proto.Command{Cmd: cmd, Arguments: args}, &text); err != proto.ErrOK {
		g.t.Fatalf("%s: %v", cmd, err)
	}
	out := map[string]any{}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		g.t.Fatalf("%s: %v in %q", cmd, err, text)
	}
	return out
}

// ok runs a remote command at the leader that must go well.
func (g *group) ok(cmd string, args ...string) map[string]any {
	g.t.Helper()
	out := g.command(g.leader(), cmd, args...)
	if out["error"] != "ok" {
		g.t.Fatalf("%s %v: %v", cmd, args, out)
	}
	return out
}

// page gets or posts a page.
func (g *group) page(i int, path, body string) (status int, location, text string) {
	g.t.Helper()
	method := "GET"
	if body != "" {
		method = "POST"
	}
	req, err := http.NewRequest(method, "http://"+g.peers[i].Address+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(b)
}

func job(out map[string]any) map[string]any {
	j, _ := out["job"].(map[string]any)
	return j
}

// TestJobs: operators drain and return a node and even out the cluster, by commands and by pages, whichever meta they ask.
func TestJobs(t *testing.T) {
	g := startGroup(t, 3)
	var nodes []*node
	for i := 1; i <= 3; i++ {
		nodes = append(nodes, startNode(t, i, g.metas()))
	}
	g.create("t", 6, 3)
	g.members("t", 3)
	victim := nodes[0].address.String()
	leader := g.leader()
	other := (leader + 1) % 3
	if out := g.command(other, "node.drain", victim); out["error"] != "ERR_FORWARD_TO_OTHERS" || out["leader"] != g.peers[leader].Address {
		t.Errorf("drain at a follower: %v", out)
	}
	if status, location, _ := g.page(other, "/meta/jobs?x=1", ""); status != 307 || location != "http://"+g.peers[leader].Address+"/meta/jobs?x=1" {
		t.Errorf("page of a follower: %d %q", status, location)
	}
	for _, bad := range [][]string{{"job", "7"}, {"job.pause", "7"}, {"job.pause", "x"}, {"node.drain", "nobody:1"}, {"node.drain"}, {"balance", "nothing"}} {
		if out := g.command(leader, bad[0], bad[1:]...); out["error"] == "ok" {
			t.Errorf("%v: %v", bad, out)
		}
	}
	id := job(g.ok("node.drain", victim))["id"]
	if id != 1.0 {
		t.Fatalf("first job: %v", id)
	}
	eventually(t, "the drain ends", func() bool { return job(g.ok("job", "1"))["status"] == "done" })
	for _, p := range g.members("t", 2) {
		for _, n := range p {
			if n == victim {
				t.Errorf("the drained node is a member still: %v", p)
			}
		}
	}
	if _, _, text := g.page(leader, "/meta/node/list", ""); strings.Count(text, `"mode": "drained"`) != 1 || strings.Count(text, `"mode": "in service"`) != 2 {
		t.Errorf("nodes: %s", text)
	}
	g.ok("node.return", victim)
	g.members("t", 3)
	status, _, text := g.page(leader, "/meta/job/start", `{"kind": "balance"}`)
	if status != 200 || !strings.Contains(text, `"error": "ok"`) {
		t.Fatalf("balance: %d %s", status, text)
	}
	eventually(t, "primaries are even", func() bool {
		count := g.assigned("t")
		return len(count) == 3 && count[victim] == 2
	})
	eventually(t, "the balance ends", func() bool {
		_, _, text := g.page(leader, "/meta/job?id=2", "")
		return strings.Contains(text, `"status": "done"`)
	})
	if status, _, text := g.page(leader, "/meta/job/control", `{"id": 2, "action": "pause"}`); status != 200 || !strings.Contains(text, "has ended") {
		t.Errorf("pause of an ended job: %d %s", status, text)
	}
	if list, _ := g.ok("jobs")["jobs"].([]any); len(list) != 2 {
		t.Errorf("jobs: %v", list)
	}
}

// TestPages: the pages of tables, nodes and the cluster, and what they answer to nonsense.
func TestPages(t *testing.T) {
	g := startGroup(t, 1)
	for i := 1; i <= 3; i++ {
		startNode(t, i, g.metas())
	}
	g.create("t", 4, 3)
	g.members("t", 3)
	g.create("gone", 1, 1)
	var drop proto.DropAppResponse
	if err := ask(t, g.peers[0].Address, proto.CodeCMDropApp, &proto.DropAppRequest{AppName: "gone"}, &drop); err != proto.ErrOK {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/meta/app?name=t":        {`"general":{"app_id":"1","app_name":"t","max_replica_count":"3","partition_count":"4"}`},
		"/meta/app?name=t&detail": {`"fully_healthy_partition_count":"4"`, `"replica_count":"3/3"`, `"total":{"node":"total","primary":"4","secondary":"8","total":"12"}`},
		"/meta/apps":              {`"status":"AVAILABLE"`, `"status":"DROPPED"`, `"total_app_count":"2"`},
		"/meta/apps?detail":       {`"fully_healthy":"4"`, `"fully_healthy_app_count":"1"`},
		"/meta/nodes":             {`"alive_node_count":"3"`, `"status":"ALIVE"`},
		"/meta/nodes?detail":      {`"replica_count":"4"`},
		"/meta/cluster":           {`"meta_function_level":"steady"`, `"primary_meta_server":"` + g.peers[0].Address + `"`},
		"/meta/members":           {`"leader": true`},
		"/meta/jobs":              {`"jobs": []`},
		"/recentStartTime":        {`"RecentStartTime":"20`},
	} {
		status, _, text := g.page(0, path, "")
		if status != 200 {
			t.Errorf("%s: status %d", path, status)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %s is not in %s", path, w, text)
			}
		}
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/meta/app?name=none":          {404, `table not found: "none"`},
		"/meta/app?name=t&bogus":       {400, ""},
		"/meta/nodes?x=1":              {400, ""},
		"/meta/apps?detail=1&detail=2": {400, "failed to parse request: ERR_INVALID_PARAMETERS: duplicate parameter: detail"},
		"/meta/nothing":                {404, `service not found for "meta/nothing"`},
		"/meta/job?id=x":               {200, "{\n  \"error\": \"invalid arguments: want the number of a job\"\n}\n"},
	} {
		if status, _, text := g.page(0, path, ""); status != want.status || text != want.text {
			t.Errorf("%s: %d %q, want %d %q", path, status, text, want.status, want.text)
		}
	}
}

// TestRegroup: a member is added while the group serves, another removed, and the one that came can lead.
func TestRegroup(t *testing.T) {
	g := startGroup(t, 3)
	n := startNode(t, 1, g.metas())
	g.create("before", 2, 1)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raft, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fresh := Peer{Address: port.Addr().String(), Raft: raft.Addr().String()}
	port.Close()
	g.peers = append(g.peers, fresh)
	g.dirs = append(g.dirs, t.TempDir())
	g.servers = append(g.servers, nil)
	g.tweak = []func(*Options){func(o *Options) { o.Join = true }}
	g.start(3, raft)
	g.tweak = nil
	leader := -1
	for i := range 3 {
		if g.command(i, "meta.add", "x", "y")["error"] != "ok" && g.command(i, "meta.members")["error"] == "ok" {
			if out := g.command(i, "meta.add", fresh.Address, fresh.Raft); out["error"] == "ok" {
				leader = i
			}
		}
	}
	if leader < 0 {
		t.Fatal("no member took the new one in")
	}
	eventually(t, "the new one follows", func() bool {
		list, _ := g.command(3, "meta.members")["members"].([]any)
		return len(list) == 4
	})
	g.leader()
	eventually(t, "nodes are told", func() bool { return len(n.group()) == 4 })
	// Out with two of the old ones: the third and the new one remain.
	for i := range 3 {
		if i != leader {
			g.ok("meta.remove", g.peers[i].Address)
			g.stop(i)
			break
		}
	}
	eventually(t, "nodes are told again", func() bool { return len(n.group()) == 3 })
	for _, want := range []string{fresh.Address + " is a member of the meta group", " left the meta group"} {
		eventually(t, "an event says "+want, func() bool {
			_, _, body := page(t, g.peers[g.leader()].Address, "/api/v1/events", "")
			return strings.Contains(body, want)
		})
	}
	g.create("after", 2, 1)
	g.assigned("after")
	// A restart finds the group in the journal, whatever the file says.
	g.stop(3)
	g.start(3, nil)
	g.assigned("after")
	if out := g.command(g.leader(), "meta.remove", "nobody:1"); out["error"] == "ok" {
		t.Error("a stranger was removed")
	}
	// What could never be stored is refused: a member that is not there, a group most of which is not there.
	if out := g.command(g.leader(), "meta.add", "127.0.0.1:1", "127.0.0.1:2"); !strings.Contains(fmt.Sprint(out["error"]), "nobody answers") {
		t.Errorf("add of a member that is not there: %v", out)
	}
	lead := g.leader()
	var others []int
	for i, s := range g.servers {
		if s != nil && i != lead {
			others = append(others, i)
		}
	}
	g.stop(others[0])
	if out := g.command(lead, "meta.remove", g.peers[others[1]].Address); !strings.Contains(fmt.Sprint(out["error"]), "only 1 of the 2 members") {
		t.Errorf("removal of one of two that are left: %v", out)
	}
	g.ok("meta.remove", g.peers[others[0]].Address)
}

// TestBackup: the state is written to a file, and a whole new group begins with it. What nodes know of changes after the backup
// is believed; tables made after it leave their ids unused.
func TestBackup(t *testing.T) {
	g := startGroup(t, 1)
	nodes := []*node{startNode(t, 1, g.metas()), startNode(t, 2, g.metas()), startNode(t, 3, g.metas())}
	g.create("kept", 4, 3)
	g.members("kept", 3)
	g.ok("meta.lb.assign_delay_ms", "12345")
	out := g.ok("meta.backup", "one.backup")
	path, _ := out["file"].(string)
	if again := g.command(0, "meta.backup", "one.backup"); again["error"] == "ok" {
		t.Error("a backup was overwritten")
	}
	if bad := g.command(0, "meta.backup", "../x"); bad["error"] == "ok" {
		t.Error("a backup outside the folder")
	}
	if _, _, text := g.page(0, "/meta/backup", ""); !strings.HasPrefix(text, backupMagic) {
		t.Errorf("download: %q", text[:min(len(text), 20)])
	}
	later := g.create("later", 2, 3)
	g.members("later", 3)
	before := g.members("kept", 3)
	// After the backup a primary moves.
	to := proto.NewRPCAddress(netip.MustParseAddrPort(before[0][1]))
	move, id := proto.BalanceMovePrimary, int32(1)
	var r proto.BalancerResponse
	if err := ask(t, g.peers[0].Address, proto.CodeCMProposeBalancer, &proto.BalancerRequest{
		GPID: proto.GPID{App: id}, BalanceType: &move,
		ActionList: []proto.ProposalAction{{Type: proto.CTUpgradeToPrimary, Node: to, Target: to}},
	}, &r); err != proto.ErrOK || r.Err != proto.ErrOK {
		t.Fatal(err, r.Err)
	}
	eventually(t, "the primary moves", func() bool { return g.members("kept", 3)[0][0] == before[0][1] })
	var moved proto.Ballot
	g.servers[0].onLoop(func() { moved = g.servers[0].core.State().Partition(proto.GPID{App: id}).Ballot })
	for _, n := range nodes {
		eventually(t, "all nodes know", func() bool { return n.config(proto.GPID{App: id}).Ballot == moved })
	}
	g.stop(0)
	dir := t.TempDir()
	o := Options{ClusterName: "onebox", Advertise: g.peers[0].Address, Peers: g.peers, DataDir: dir}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() []byte{
		"damaged": func() []byte { c := append([]byte(nil), b...); c[len(c)-1] ^= 1; return c },
		"cut":     func() []byte { return b[:len(b)/2] },
		"empty":   func() []byte { return nil },
	} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, spoil(), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(o, bad); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	stranger := o
	stranger.ClusterName, stranger.DataDir = "other", t.TempDir()
	if _, err := Restore(stranger, path); err == nil {
		t.Error("restored into another cluster")
	}
	text, err := Restore(o, path)
	if err != nil || !strings.Contains(text, "1 tables, 4 partitions, 3 nodes") {
		t.Fatalf("%q %v", text, err)
	}
	if _, err := Restore(o, path); err == nil {
		t.Error("restored over a journal")
	}
	g.dirs[0] = dir
	g.start(0, nil)
	eventually(t, "what nodes know is believed", func() bool { return g.members("kept", 3)[0][0] == before[0][1] })
	if out := g.ok("meta.lb.assign_delay_ms"); out["meta.lb.assign_delay_ms"] != "12345" {
		t.Errorf("option: %v", out)
	}
	if id := g.create("new", 1, 1); id <= later {
		t.Errorf("table id %d after %d", id, later)
	}
}
