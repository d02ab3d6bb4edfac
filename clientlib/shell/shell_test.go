package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

// desk is a shell without a terminal, and what it printed.
type desk struct {
	*Shell
	out, err strings.Builder
}

func newDesk(t *testing.T, metas []string, in string) *desk {
	t.Helper()
	d := &desk{}
	d.Shell = New(Options{
		Load: func(string) (Settings, error) {
			return Settings{Clusters: []Cluster{{"one", metas}, {"two", []string{"10.0.0.1:34601"}}}, Timeout: 5 * time.Second}, nil
		},
		In: strings.NewReader(in), Out: &d.out, Err: &d.err, Version: "test",
	})
	t.Cleanup(d.Close)
	return d
}

func (d *desk) run(t *testing.T, line ...string) (string, int) {
	t.Helper()
	d.out.Reset()
	d.err.Reset()
	err := d.Run(context.Background(), line)
	if err != nil {
		d.Say(err)
	}
	return d.out.String() + d.err.String(), ExitCode(err)
}

func TestUseLines(t *testing.T) {
	for use, want := range map[string][2]int{
		"ls": {0, 0}, "get <hash_key> <sort_key>": {2, 2}, "set <h> <s> <v> [ttl]": {3, 4},
		"multi_get <hash_key> [sort_key...]": {1, -1}, "multi_set <h> <s> <v> [sort_key value...]": {3, -1},
		"set_meta_level <stopped|blind>": {1, 1},
	} {
		if least, most := countArgs(use); least != want[0] || most != want[1] {
			t.Errorf("%s: %d to %d arguments, want %v", use, least, most, want)
		}
	}
}

// No two commands share a name or an alias, and every one has a group and help.
func TestTree(t *testing.T) {
	for _, front := range []bool{true, false} {
		seen := map[string]bool{}
		for _, c := range New(Options{}).root(front).Commands() {
			for _, n := range append([]string{c.Name()}, c.Aliases...) {
				if seen[n] {
					t.Errorf("%s is there twice", n)
				}
				seen[n] = true
			}
			if c.GroupID == "" || c.Short == "" {
				t.Errorf("%s has no group or no help", c.Name())
			}
		}
		if len(seen) < 100 || seen["use"] == front {
			t.Errorf("%d names, use: %v", len(seen), seen["use"])
		}
	}
}

func TestNegativeNumbers(t *testing.T) {
	root := New(Options{}).root(true)
	for _, c := range []struct{ in, want string }{
		{"-c x incr h s -5", "-c x incr h s -- -5"},
		{"incr h s 5", "incr h s 5"},
		{"incr h s -- -5", "incr h s -- -5"},
		{"incr h s -j", "incr h s -j"},
		{"full_scan -p -1", "full_scan -p -1"},
	} {
		if got := strings.Join(protectNumbers(root, strings.Fields(c.in)), " "); got != c.want {
			t.Errorf("%s became %s", c.in, got)
		}
	}
}

func TestHints(t *testing.T) {
	root := New(Options{}).root(false)
	for line, want := range map[string]string{
		"ls":                    "",
		"set ":                  "set <hash_key> <sort_key> <value> [ttl_in_seconds]  -- write a record",
		"set 'a b":              "set <hash_key> <sort_key> <value> [ttl_in_seconds]  -- write a record",
		"ls -s":                 "-s, --status string  -- all, available, creating, dropped, dropping",
		"ls --status a":         "-s, --status string  -- all, available, creating, dropped, dropping",
		"ls --status=":          "-s, --status string  -- all, available, creating, dropped, dropping",
		"list-nothing ":         "",
		"get-app-envs ":         "get_app_envs  -- environment of the table in use",
		"nodes --sample_interv": "nodes  -- replica servers and their state",
	} {
		if got := hint(root, line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestClusters(t *testing.T) {
	d := newDesk(t, []string{"127.0.0.1:1"}, "")
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "127.0.0.1:1", "two": "10.0.0.1:34601", "a:1,b:2": "a:1,b:2"} {
		if c, err := d.choose(name); err != nil || joined(c.Metas) != want {
			t.Errorf("%q is %v, %v", name, c, err)
		}
	}
	if _, err := d.choose("three"); ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	server := &clientlib.ServerError{Code: proto.ErrAppNotExist}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK}, {server, ExitFailed}, {usagef("x"), ExitUsage}, {fmt.Errorf("line 3: %w", usagef("x")), ExitUsage},
		{errNotFound, ExitNotFound}, {quietError{errNotFound}, ExitNotFound},
		{&clientlib.OpError{Class: clientlib.ErrRetriable, Cause: clientlib.ErrTimeout}, ExitNoAnswer},
		{&clientlib.OpError{Class: clientlib.ErrUnknownOutcome, Cause: io.EOF}, ExitNoAnswer},
		{&net.OpError{Op: "dial", Err: io.EOF}, ExitNoAnswer}, {offlineError{code: 3}, 3}, {errDeclined, ExitFailed},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestConfirmation(t *testing.T) {
	for in, want := range map[string]error{"y\n": nil, "YES\n": nil, "\n": errDeclined, "no\n": errDeclined, "": errDeclined, "y": nil} {
		var said strings.Builder
		s := New(Options{In: strings.NewReader(in), Err: &said, Terminal: true})
		if err := (&call{Shell: s}).confirm("All is lost."); !errors.Is(err, want) {
			t.Errorf("%q: %v", in, err)
		}
		if said.String() != "All is lost. Are you sure? [y/N] " {
			t.Errorf("asked %q", said.String())
		}
	}
	s := New(Options{In: strings.NewReader("y\nls\n"), Err: io.Discard, Terminal: true})
	if err := (&call{Shell: s}).confirm(""); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(s.opt.In); string(rest) != "ls\n" {
		t.Errorf("the answer took away from what follows: left is %q", rest)
	}
	if err := (&call{Shell: New(Options{})}).confirm("x"); ExitCode(err) != ExitUsage {
		t.Errorf("without a terminal: %v", err)
	}
}

func TestHistoryFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "history")
	h, err := openHistory(file, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"a", " b ", "b", "", "c", "d\ne"} {
		if _, err := h.Write(l); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a", "b", "c", "d e"}; !slices.Equal(h.lines, want) {
		t.Errorf("kept %q", h.lines)
	}
	if h, err = openHistory(file, 3); err != nil || !slices.Equal(h.lines, []string{"b", "c", "d e"}) {
		t.Errorf("read again: %q, %v", h.lines, err)
	}
	if l, err := h.GetLine(2); err != nil || l != "d e" {
		t.Errorf("%q, %v", l, err)
	}
	if _, err := h.GetLine(3); err == nil {
		t.Error("there is no line 3")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is readable by others: %v, %v", info, err)
	}
}

// Rates are the difference of two readings, by the servers' own clock.
func TestRates(t *testing.T) {
	reading := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || !strings.Contains(r.URL.Query().Get("metrics"), "get_requests") {
			http.NotFound(w, r)
			return
		}
		reading++
		fmt.Fprintf(w, `{"role":"replica","timestamp_ns":%d,"entities":[
			{"type":"replica","id":"replica@1.0","attributes":{"table_id":"1","partition_id":"0"},
			 "metrics":[{"name":"get_requests","value":%d},{"name":"rdb_memtable_mem_usage_bytes","value":1048576}]},
			{"type":"replica","id":"replica@1.1","attributes":{"table_id":"1","partition_id":"1"},
			 "metrics":[{"name":"get_requests","value":%d},{"name":"rdb_memtable_mem_usage_bytes","value":1048576}]},
			{"type":"server","id":"replica","metrics":[{"name":"get_latency_ns","p99":5}]}]}`,
			reading*2_000_000_000, 100*reading, 1000-reading)
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	c := &call{Shell: New(Options{}), ctx: context.Background()}
	c.timeout = time.Minute
	columns := []column{rateOf("gets", "get_requests"), {name: "mem", metrics: []string{"rdb_memtable_mem_usage_bytes"}, scale: mebi},
		rateOf("none", "nothing")}
	f, err := c.figures([]string{address}, columns, 1)
	if err != nil {
		t.Fatal(err)
	}
	// 100 gets more in two seconds on one replica; the other was restarted and has fewer, of which the sum loses one.
	if got := f.of(address, columns[0]); got != 49.5 {
		t.Errorf("gets %v", got)
	}
	if got := f.of(address, columns[1]); got != 2.0 {
		t.Errorf("memory %v", got)
	}
	if got := f.of(address, columns[2]); got != nil {
		t.Errorf("a metric that is not there: %v", got)
	}
	if _, err := c.readTwice([]string{address}, []string{"other"}, false, 0); !errors.Is(err, errNoPage) {
		t.Errorf("a server without metrics: %v", err)
	}
}

func TestPlanDisks(t *testing.T) {
	set := func(parts ...int32) map[int32]map[proto.GPID]struct{} {
		m := map[proto.GPID]struct{}{}
		for _, p := range parts {
			m[proto.GPID{App: 1, Part: p}] = struct{}{}
		}
		return map[int32]map[proto.GPID]struct{}{1: m}
	}
	moves := planDisks(&proto.QueryDiskInfoResponse{DiskInfos: []proto.DiskInfo{
		{Tag: "a", HoldingPrimaryReplicas: set(0), HoldingSecondaryReplicas: set(1, 2, 3, 4)}, {Tag: "b"}, {Tag: "c", HoldingPrimaryReplicas: set(5)},
	}})
	to := map[string]int{}
	for _, m := range moves {
		if m.from != "a" || m.gpid.Part == 0 {
			t.Errorf("a primary, or from elsewhere: %+v", m)
		}
		to[m.to]++
	}
	if len(moves) != 3 || to["b"] != 2 || to["c"] != 1 {
		t.Errorf("moves %+v", moves)
	}
	if moves := planDisks(&proto.QueryDiskInfoResponse{DiskInfos: []proto.DiskInfo{{Tag: "a", HoldingPrimaryReplicas: set(0, 1, 2)}, {Tag: "b"}}}); len(moves) != 0 {
		t.Errorf("primaries are moved: %+v", moves)
	}
}

func TestHealth(t *testing.T) {
	at := func(n int) proto.RPCAddress { return proto.RPCAddress(uint64(n)<<32 | 1) }
	cfg := &proto.QueryCfgResponse{Partitions: []proto.PartitionConfiguration{
		{MaxReplicaCount: 3, Primary: at(1), Secondaries: []proto.RPCAddress{at(2), at(3)}},
		{MaxReplicaCount: 3, Primary: at(1), Secondaries: []proto.RPCAddress{at(2)}},
		{MaxReplicaCount: 3, Primary: at(1)},
		{MaxReplicaCount: 3, Secondaries: []proto.RPCAddress{at(2), at(3)}},
		{MaxReplicaCount: 1, Primary: at(1)},
	}}
	if h := healthOf(cfg); h != (health{full: 2, unhealthy: 3, write: 2, read: 1}) {
		t.Errorf("%+v", h)
	}
}

// What the cluster does badly is said in words and in the exit code.
func TestAgainstBadServers(t *testing.T) {
	c := clienttest.New(t, 3, 2, 4)
	d := newDesk(t, c.Metas(), "")
	if out, code := d.run(t, "-t", "temp", "set", "h", "s", "v"); code != ExitOK || out != "OK\n" {
		t.Fatalf("%d: %s", code, out)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Serve, proto.ErrBusy })
	d = newDesk(t, c.Metas(), "")
	if out, code := d.run(t, "--timeout", "300ms", "-t", "temp", "get", "h", "s"); code == ExitOK || !strings.Contains(out, "ERR_BUSY") {
		t.Errorf("busy servers: %d: %s", code, out)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	d = newDesk(t, c.Metas(), "")
	if out, code := d.run(t, "--timeout", "300ms", "-t", "temp", "set", "h", "s", "v"); code != ExitNoAnswer {
		t.Errorf("silent servers: %d: %s", code, out)
	}
	d = newDesk(t, c.Metas(), "")
	if out, code := d.run(t, "get", "h", "s"); code != ExitUsage || !strings.Contains(out, "no table in use") {
		t.Errorf("without a table: %d: %s", code, out)
	}
}
