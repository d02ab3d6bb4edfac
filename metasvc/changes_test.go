package metasvc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pegasus/metasvc/console"
)

// change posts to a meta as the console does, but for what set changes.
func change(t *testing.T, address, path, body string, set map[string]string) (status int, header http.Header, text string) {
	t.Helper()
	method := "POST"
	if set["method"] != "" {
		method = set["method"]
	}
	req, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "X-Requested-With": "pegasus-console", "Origin": "http://" + address} {
		if other, ok := set[k]; ok {
			v = other
		}
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	return send(t, req)
}

func mayChange(o *Options) { o.Changes = true }

// TestChangesFromElsewhere: whatever a page of somebody else can have a browser send is refused, and nothing comes of it.
func TestChangesFromElsewhere(t *testing.T) {
	g := startGroup(t, 2, mayChange)
	startNode(t, 1, g.metas())
	g.create("t", 1, 1)
	g.assigned("t")
	leader := g.peers[g.leader()].Address
	other := g.peers[1-g.leader()].Address
	type set = map[string]string
	const balance = `{"kind": "balance"}`
	for name, tc := range map[string]struct {
		path, to string
		set      set
		status   int
		want     string
	}{
		"foreign origin":            {set: set{"Origin": "http://evil.example"}, status: 403, want: "not from those of http://evil.example: open http://" + leader + "/console/"},
		"origin null":               {set: set{"Origin": "null"}, status: 403, want: "not from those of null"},
		"another scheme":            {set: set{"Origin": "https://" + leader}, status: 403, want: "metas' own pages only"},
		"a name made to point here": {set: set{"Origin": "http://evil.example:34601"}, status: 403, want: "metas' own pages only"},
		"a form":                    {set: set{"Content-Type": "text/plain"}, status: 403, want: "want Content-Type"},
		"no header":                 {set: set{"X-Requested-With": ""}, status: 403, want: "want X-Requested-With"},
		"another header":            {set: set{"X-Requested-With": "XMLHttpRequest"}, status: 403, want: "want X-Requested-With"},
		"foreign, at a follower":    {to: other, set: set{"Origin": "http://evil.example"}, status: 403, want: "metas' own pages only"},
		"foreign, other pages":      {path: "/meta/job/start", set: set{"Origin": "http://evil.example"}, status: 403, want: "metas' own pages only"},
		"a form, other pages":       {path: "/meta/job/start", set: set{"Content-Type": "text/plain"}, status: 403, want: "want Content-Type"},
		"unknown change":            {path: "/api/v1/none", status: 404, want: `no change "none"`},
		"no JSON":                   {path: "/api/v1/level", status: 400, want: `level "": want one of blind, freezed, lively, steady, stopped`},
	} {
		to := leader
		if tc.to != "" {
			to = tc.to
		}
		path := tc.path
		if path == "" {
			path = "/api/v1/job/start"
		}
		status, header, text := change(t, to, path, balance, tc.set)
		if status != tc.status || !strings.Contains(text, tc.want) || tc.set["Origin"] != "" && header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %q, %v, want %d %q", name, status, text, header, tc.status, tc.want)
		}
	}
	if status, header, _ := change(t, leader, "/api/v1/job/start", "", set{"method": "OPTIONS", "Origin": "http://evil.example"}); status != 403 || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page asks whether it may: %d %v", status, header)
	}
	status, header, _ := change(t, leader, "/api/v1/job/start", "", set{"method": "OPTIONS", "Origin": "http://" + other})
	if status != 204 || header.Get("Access-Control-Allow-Origin") != "http://"+other || header.Get("Access-Control-Allow-Headers") != "content-type, x-requested-with" {
		t.Errorf("another meta's page asks whether it may: %d %v", status, header)
	}
	if list, _ := g.ok("jobs")["jobs"].([]any); len(list) != 0 {
		t.Errorf("jobs: %v", list)
	}
}

// TestChanges: what the console has buttons for, whichever meta it came from.
func TestChanges(t *testing.T) {
	g := startGroup(t, 2, mayChange)
	n := startNode(t, 1, g.metas())
	startNode(t, 2, g.metas())
	g.create("t", 2, 2)
	g.members("t", 2)
	leader := g.peers[g.leader()].Address
	follower := g.peers[1-g.leader()].Address
	do := func(path, body, want string) {
		t.Helper()
		// The page of the follower goes where it is sent.
		status, header, text := change(t, follower, path, body, nil)
		if status != 200 || text != fmt.Sprintf(`{"elsewhere":%q}`, leader) || header.Get("Access-Control-Allow-Origin") != "http://"+follower {
			t.Errorf("%s at a follower: %d %s %v", path, status, text, header)
		}
		if status, header, text = change(t, leader, path, body, map[string]string{"Origin": "http://" + follower}); status != 200 ||
			!strings.Contains(text, want) || header.Get("Access-Control-Allow-Origin") != "http://"+follower || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d %s %v, want %s", path, body, status, text, header, want)
		}
	}
	// A script that is no browser's is sent on by a redirect that keeps the method.
	if status, header, _ := change(t, follower, "/api/v1/level", `{"level": "steady"}`, map[string]string{"Origin": ""}); status != 307 ||
		header.Get("Location") != "http://"+leader+"/api/v1/level" {
		t.Errorf("redirect: %d %v", status, header)
	}
	var o console.Overview
	wait := func(what string, ok func() bool) {
		t.Helper()
		eventually(t, what, func() bool { g.api("/api/v1/overview", &o); return ok() })
	}
	do("/api/v1/level", `{"level": "freezed"}`, `"error": "ok"`)
	wait("the level is shown", func() bool { return o.WantedLevel == "freezed" && o.Level == "freezed" && o.Changes })
	do("/api/v1/job/start", fmt.Sprintf(`{"kind": "drain", "node": %q}`, n.address), `"status": "running"`)
	do("/api/v1/job/control", `{"id": 1, "action": "pause"}`, `"status": "paused"`)
	do("/api/v1/job/control", `{"id": 1, "action": "pause"}`, `ERR_NO_NEED_OPERATE: job 1 is paused`)
	do("/api/v1/job/control", `{"id": 1, "action": "resume"}`, `"status": "running"`)
	do("/api/v1/job/control", `{"id": 1, "action": "cancel"}`, `"status": "canceled"`)
	do("/api/v1/job/control", `{"id": 1, "action": "cancel"}`, `job 1 has ended`)
	do("/api/v1/job/control", `{"id": 7, "action": "cancel"}`, `no job 7`)
	do("/api/v1/job/start", `{"kind": "drain", "node": "nobody:1"}`, `no node`)
	do("/api/v1/level", `{"level": "steady"}`, `"error": "ok"`)
	do("/api/v1/job/start", fmt.Sprintf(`{"kind": "decommission", "node": %q}`, n.address), `"status": "running"`)
	do("/api/v1/node/return", fmt.Sprintf(`{"node": %q}`, n.address), `"error": "ok"`)
	wait("the node serves again", func() bool {
		return len(o.Jobs) == 2 && o.Jobs[0].Status == "canceled" && o.Nodes[0].Mode == "in service" && o.Nodes[1].Mode == "in service"
	})
	do("/api/v1/job/start", `{"kind": "balance", "table": "t"}`, `"status": "running"`)
}

// TestChangesOff: unless the configuration allows it the console changes nothing, whoever asks; what is no browser still may
// what the shell may.
func TestChangesOff(t *testing.T) {
	g := startGroup(t, 1)
	startNode(t, 1, g.metas())
	at := g.peers[0].Address
	g.create("t", 1, 1)
	for _, origin := range []string{"http://" + at, "", "http://evil.example"} {
		for path := range changes {
			status, _, text := change(t, at, "/api/v1/"+path, `{"kind": "balance"}`, map[string]string{"Origin": origin})
			if status != 403 || !strings.Contains(text, `console.changes is "no"`) {
				t.Errorf("%s from %q: %d %s", path, origin, status, text)
			}
		}
	}
	if status, _, text := change(t, at, "/meta/job/start", `{"kind": "balance"}`, nil); status != 403 {
		t.Errorf("a page of the console asks elsewhere: %d %s", status, text)
	}
	var o struct{ Changes *bool }
	g.api("/api/v1/overview", &o)
	if o.Changes == nil || *o.Changes {
		t.Error("the overview does not say that nothing may be changed")
	}
	status, _, text := change(t, at, "/meta/job/start", `{"kind": "balance"}`, map[string]string{"Origin": "", "X-Requested-With": "", "Content-Type": ""})
	var answer struct{ Error string }
	if err := json.Unmarshal([]byte(text), &answer); status != 200 || err != nil || answer.Error != "ok" {
		t.Errorf("a script: %d %s %v", status, text, err)
	}
}
