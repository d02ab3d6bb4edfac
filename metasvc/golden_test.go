package metasvc

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
	"pegasus/netcore/proto/golden/compare"
)

func recordedFrame(t *testing.T, suite, rpc string) []byte {
	t.Helper()
	cases, err := golden.Load(suite)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, s := range c.Steps {
			if s.RPC == rpc && s.Target == golden.TargetMeta {
				b, err := golden.Expand(s.RequestHex)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
		}
	}
	t.Fatalf("no recording of %s in %s", rpc, suite)
	return nil
}

// replay is the state of a replay: which table has which id.
type replay struct {
	g      *group
	labels map[int32]string
	ids    map[string]int32
}

// AppLabel implements compare.Names.
func (r *replay) AppLabel(id int32) string { return r.labels[id] }

// Address implements compare.Names.
func (r *replay) Address(text string) string {
	if slices.Contains(r.g.metas(), text) {
		return "$meta"
	}
	if strings.HasPrefix(text, "127.0.0.1:4000") {
		return "$replica"
	}
	return ""
}

// AppID implements golden.Resolver.
func (r *replay) AppID(table string) (int32, error) {
	if id, ok := r.ids[table]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("no table %s", table)
}

// ContextID implements golden.Resolver.
func (r *replay) ContextID(int) int64 { return 0 }

func (r *replay) created(name string, id int32) {
	if _, known := r.labels[id]; known || id == 0 {
		return
	}
	label := name
	for i := 2; ; i++ {
		if _, taken := r.ids[label]; !taken {
			break
		}
		label = fmt.Sprintf("%s#%d", name, i)
	}
	r.labels[id], r.ids[label] = label, id
}

// skipped tells which steps at the meta are not served yet, or answer for what is not there yet.
func skipped(c *golden.Case, s *golden.Step) bool {
	if s.Target != golden.TargetMeta {
		return true
	}
	if s.Framing == golden.FramingHTTP {
		switch path, _, _ := strings.Cut(s.HTTP.Path, "?"); path {
		case "/meta/backup_policy", "/meta/app/duplication", "/meta/app/query_bulk_load", "/metrics", "/config":
			return true // of features that are not there
		case "/", "/envs/list":
			return true // another list of pages; samples of environments that were cut off in the recording
		}
		return false
	}
	switch c.Name {
	case "backup", "split_invalid", "bulk_load_invalid":
		return s.RPC != "RPC_CM_START_RECOVERY"
	case "remote_command":
		return s.Step == 1 // the list of what there is
	case "data_rpc_at_meta", "unknown_rpc", "unhandled":
		return false
	}
	return strings.Contains(s.RPC, "DUPLICATION")
}

// TestRecorded replays the meta steps of the recordings over real sockets, with three nodes that do what meta proposes.
func TestRecorded(t *testing.T) {
	g := startGroup(t, 1, func(o *Options) { o.AddsPerNode, o.AssignDelay = 20, 10*time.Minute })
	for i := 1; i <= 3; i++ {
		startNode(t, i, g.metas())
	}
	r := &replay{g: g, labels: map[int32]string{}, ids: map[string]int32{}}
	tables, err := golden.Tables()
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range tables {
		r.created(tab.Name, g.create(tab.Name, tab.PartitionCount, tab.ReplicaCount))
		for k, v := range tab.Envs {
			var resp proto.UpdateAppEnvResponse
			req := &proto.UpdateAppEnvRequest{AppName: tab.Name, Op: proto.AppEnvOpSet, Keys: []string{k}, Values: []string{v}}
			if err := ask(t, g.peers[0].Address, proto.CodeCMUpdateAppEnv, req, &resp); err != proto.ErrOK || resp.Err != proto.ErrOK {
				t.Fatal(err, resp)
			}
		}
	}
	cases, err := golden.Load("07_errors", "08_meta", "09_rdsn", "10_http")
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for i := range cases {
		c := &cases[i]
		t.Run(c.String(), func(t *testing.T) { played += r.play(t, c) })
	}
	if played < 200 {
		t.Errorf("only %d steps played", played)
	}
	t.Logf("%d steps", played)
}

func (r *replay) play(t *testing.T, c *golden.Case) (played int) {
	conns := map[string]net.Conn{}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for i := range c.Steps {
		s := &c.Steps[i]
		if skipped(c, s) {
			continue
		}
		played++
		var diff []string
		end := time.Now()
		if s.RetryUntil != nil {
			end = end.Add(20 * time.Second)
		}
		for {
			got := r.step(t, conns, s)
			if s.RetryUntil == nil {
				diff = compare.Diff(s, got)
				break
			}
			if v, ok := compare.At(got, s.RetryUntil.Path); ok && compare.Same(v, s.RetryUntil.Value) || time.Now().After(end) {
				diff = compare.Diff(s, got)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, d := range diff {
			t.Errorf("step %d %s: %s", s.Step, s.RPC, d)
		}
	}
	return played
}

func (r *replay) step(t *testing.T, conns map[string]net.Conn, s *golden.Step) map[string]any {
	address := r.g.peers[0].Address
	now := time.Now()
	if s.Framing == golden.FramingHTTP {
		req, err := http.NewRequest(s.HTTP.Method, "http://"+address+s.HTTP.Path, strings.NewReader(s.HTTP.Body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return map[string]any{"outcome": "closed"}
		}
		got, err := compare.HTTP(resp, r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	frame, err := golden.Expand(s.RequestHex)
	if err != nil {
		t.Fatal(err)
	}
	if err := golden.Apply(frame, s.Patches, now, r); err != nil {
		t.Fatal(err)
	}
	conn := conns[s.Conn]
	if conn == nil {
		if conn, err = net.Dial("tcp", address); err != nil {
			t.Fatal(err)
		}
		conns[s.Conn] = conn
	}
	native := s.Framing == golden.FramingRDSN
	in, err := exchange(conn, native, frame)
	if err == errClosed {
		conn.Close()
		delete(conns, s.Conn)
		return map[string]any{"outcome": "closed"}
	}
	if err != nil {
		t.Fatalf("step %d: %v", s.Step, err)
	}
	got, err := compare.Reply(native, s.RPC, in)
	if err != nil {
		t.Fatalf("step %d: %v in %x", s.Step, err, in)
	}
	if s.RPC == "RPC_CM_CREATE_APP" {
		var req struct {
			AppName string `json:"app_name"`
		}
		if err := json.Unmarshal(s.Request, &req); err != nil {
			t.Fatal(err)
		}
		if id, ok := compare.At(got, "body.appid"); ok {
			var n int32
			fmt.Sscan(fmt.Sprint(id), &n)
			r.created(req.AppName, n)
		}
	}
	compare.Normalise(got, now, r)
	return got
}
