package shard

import (
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// slowest returns the stage that took most and checks that the stages are all of the time.
func (r *slowRequest) slowest(t *testing.T) string {
	t.Helper()
	var sum int64
	var worst namedStage
	for _, s := range r.stages.named() {
		sum += s.nanos
		if s.nanos > worst.nanos {
			worst = s
		}
	}
	if sum != r.total {
		t.Errorf("%v: the stages make %v of %v", r, shown(sum), shown(r.total))
	}
	return worst.name
}

// pass lets d pass on the node's clock at once: something is slow on purpose. No lane may be about to read the clock.
func (s *solo) pass(d time.Duration) {
	s.do(func() {
		s.node.leases.base = s.node.leases.base.Add(-d)
		s.sh.alignClock()
	})
}

// slowEnough is more than a test takes in any stage, on however busy a machine.
const slowEnough = time.Hour

func slowSolo(t *testing.T) *solo {
	return newSolo(t, disk.OS(), t.TempDir(), func(o *Options) { o.SlowAfter = slowEnough / 2 })
}

func (s *solo) onlySlow() *slowRequest {
	s.t.Helper()
	entries, total := s.node.slow.newest(10)
	if total != 1 || len(entries) != 1 {
		s.t.Fatalf("%d slow requests, want one: %v", total, entries)
	}
	return &entries[0]
}

func TestSlowGetIsTheStores(t *testing.T) {
	s := slowSolo(t)
	store := newColdStore(always, true)
	g := proto.GPID{App: 1}
	s.open(g, store)
	s.turn(func() { s.request(proto.CodeGet, g, keyArgs("hash", "sort")) })
	store.begun(t)
	s.pass(slowEnough)
	store.reads <- struct{}{}
	s.finish()
	if n := s.sh.stats.ColdReads; n != 1 {
		t.Errorf("%d reads touched storage, want 1", n)
	}
	r := s.onlySlow()
	if worst := r.slowest(t); worst != "store" || r.kind != kindGet || string(r.hashKey) != "hash" || string(r.sortKey) != "sort" {
		t.Errorf("%v is blamed on %s", r, worst)
	}
	if !strings.Contains(r.String(), `get "hash" : "sort" took `) || !strings.Contains(r.String(), "not found") {
		t.Errorf("explained as %s", r)
	}
}

func TestSlowGetIsTheLanes(t *testing.T) {
	s := slowSolo(t)
	store := newColdStore(always, true)
	g := proto.GPID{App: 1}
	s.open(g, store)
	// All workers of the lane are busy, so one more read has to wait for the first of them.
	workers := s.sh.opts.Limits.ReadWorkers
	for range workers {
		s.turn(func() { s.request(proto.CodeGet, g, keyArgs("hash", "sort")) })
		store.begun(t)
	}
	s.turn(func() { s.request(proto.CodeGet, g, keyArgs("waits", "")) })
	s.pass(slowEnough)
	for range workers + 1 {
		store.reads <- struct{}{}
	}
	s.finish()
	entries, _ := s.node.slow.newest(10)
	for i := range entries {
		if string(entries[i].hashKey) == "waits" {
			if worst := entries[i].slowest(t); worst != "lane" {
				t.Errorf("%v is blamed on %s", &entries[i], worst)
			}
			return
		}
	}
	t.Errorf("no explanation of the read that waited among %v", entries)
}

func TestSlowPutIsTheLogs(t *testing.T) {
	s := slowSolo(t)
	g := proto.GPID{App: 1}
	s.open(g, newQuietStore())
	s.turn(func() { s.request(proto.CodePut, g, putArgs("warm", "", "")) })
	s.finish()
	s.turn(func() {
		s.request(proto.CodePut, g, putArgs("first", "", "value"))
		s.request(proto.CodePut, g, putArgs("hash", "sort", "value"))
	})
	s.pass(slowEnough)
	s.finish()
	entries, total := s.node.slow.newest(10)
	if total != 2 {
		t.Fatalf("%d slow requests, want two: %v", total, entries)
	}
	if worst := entries[0].slowest(t); worst != "log" || string(entries[0].hashKey) != "hash" || string(entries[1].hashKey) != "first" {
		t.Errorf("%v is blamed on %s", &entries[0], worst)
	}
}

func TestSlowThresholdOfATable(t *testing.T) {
	s := slowSolo(t)
	p := s.open(proto.GPID{App: 1}, newQuietStore())
	for _, tc := range []struct {
		env  string
		want int64
	}{{"", int64(slowEnough / 2)}, {"500", int64(500 * time.Millisecond)}, {"-1", int64(slowEnough / 2)}, {"9223372036854775807", math.MaxInt64}} {
		envs := map[string]string{}
		if tc.env != "" {
			envs["replica.slow_query_threshold"] = tc.env
		}
		s.do(func() { p.configureTable(&proto.AppInfo{AppID: 1, PartitionCount: 1, Envs: envs}) })
		if p.slowAfter/1e7 != tc.want/1e7 {
			t.Errorf("threshold %q: %v, want %v", tc.env, p.slowAfter, tc.want)
		}
	}
}

func TestSlowLogIsBounded(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	l := slowLog{logger: zap.New(core)}
	at := time.Unix(1000, 0)
	for i := range 3 * slowKept {
		l.add(&slowRequest{at: at, total: int64(i)})
	}
	l.add(&slowRequest{at: at.Add(time.Second)})
	if n := lines.Len(); n != slowPerSec+1 {
		t.Errorf("%d lines, want %d", n, slowPerSec+1)
	}
	if left := lines.All()[slowPerSec].ContextMap()["not_logged_before"]; left != int64(3*slowKept-slowPerSec) {
		t.Errorf("%v lines said to be left out", left)
	}
	entries, total := l.newest(10 * slowKept)
	if len(entries) != slowKept || total != 3*slowKept+1 || entries[0].seq != total-1 || entries[1].total != 3*slowKept-1 {
		t.Errorf("%d of %d entries, the newest is %v", len(entries), total, entries[0].seq)
	}
}

// A trace is a real request: what it sets is there, and its way is told. It goes through whatever shard is asked.
func TestTraceByRemoteCommand(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	cl := c.dial()
	g, _ := partOf(1, 4, "hash")
	other := proto.GPID{App: 1, Part: (g.Part + 1) % 4}
	for range 4 { // connections are spread over the shards
		cl := c.dial()
		for _, tc := range []struct {
			args []string
			want string
		}{
			{[]string{"set", g.String(), "hash", "sort", "a value"}, `put "hash" : "sort" took `},
			{[]string{"get", g.String(), "hash", "sort"}, "found"},
			{[]string{"ttl", g.String(), "hash", "sort"}, `ttl "hash"`},
			{[]string{"incr", g.String(), "hash", "n", "3"}, "incr"},
			{[]string{"remove", g.String(), "hash", "n"}, "1 writes in the mutation"},
			{[]string{"get", g.String(), "hash", "n"}, "not found"},
			{[]string{"get", other.String(), "hash", "sort"}, "ERR: the key does not belong to partition"},
			{[]string{"get", "77.0", "hash", "sort"}, "ERR: no replica 77.0"},
			{[]string{"set", g.String(), "hash", "sort"}, "ERR: usage"},
			{[]string{"get", "x", "hash", "sort"}, "ERR: usage"},
			{nil, "ERR: usage"},
		} {
			if text := cl.command("trace", tc.args...); !strings.Contains(text, tc.want) {
				t.Errorf("trace %q: %q, want %q in it", tc.args, text, tc.want)
			}
		}
	}
	if v, ok := cl.get(1, 4, "hash", "sort"); !ok || v != "a value" {
		t.Errorf("the traced set left %q, %v", v, ok)
	}
	if text := cl.command("slow-log", "3"); !strings.Contains(text, "3 of 24 requests") || !strings.Contains(text, "(traced)") {
		t.Errorf("slow-log: %s", text)
	}
	if text := cl.command("slow-log", "x"); !strings.HasPrefix(text, "ERR") {
		t.Errorf("slow-log x: %s", text)
	}
	c.quiet()
}

func TestTraceOfARefusedRequest(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, map[string]string{"replica.deny_client_request": "reconfig*write"})
	if text := c.dial().command("trace", "set", "1.0", "h", "s", "v"); !strings.Contains(text, "put refused with ERR_INVALID_STATE") {
		t.Errorf("trace: %s", text)
	}
	onShard(c.node, 0, func(sh *Shard) {
		if sh.freeTrace() != 1 {
			t.Error("the trace of a refused request is not over")
		}
	})
}

func (c *testClient) command(cmd string, args ...string) string {
	c.t.Helper()
	r := c.call(proto.CodeCLICall, proto.GPID{}, 0, func(b []byte) []byte {
		return proto.AppendArgs(b, &proto.Command{Cmd: cmd, Arguments: args}, 1)
	})
	var text string
	if err := proto.UnmarshalArgs(r.Body, &text); err != nil {
		c.t.Fatal(err)
	}
	return text
}

// A write that waits for a member that stands still is blamed on the peers.
func TestSlowPutIsThePeers(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1}, func(o *Options) { o.SlowAfter = slowEnough })
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	c := g.client()
	if err := c.put(1, 1, "warm", "v"); err != nil {
		t.Fatal(err)
	}
	primary, thaw := g.primary(part0), g.secondary(part0).freeze()
	defer thaw()
	done := make(chan error, 1)
	go func() { done <- c.put(1, 1, "waits", "v") }()
	eventually(t, "the write waits for the member only", func() bool {
		return onPartition(primary.node, part0, func(p *partition) bool {
			if len(p.inFlight) == 0 || p.inFlight[0].logged == 0 {
				return false
			}
			// It has waited for long: leases would not outlive a clock that jumps.
			m := p.inFlight[0]
			m.proposed, m.logged = m.proposed-int64(slowEnough), m.logged-int64(slowEnough)
			for i := range m.ops {
				m.ops[i].call.at -= int64(slowEnough)
			}
			return true
		})
	})
	thaw()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	entries, _ := primary.node.slow.newest(10)
	for i := range entries {
		if e := &entries[i]; string(e.hashKey) == "waits" {
			if worst := e.slowest(t); worst != "peers" || e.members != 3 {
				t.Errorf("%v is blamed on %s", e, worst)
			}
			return
		}
	}
	t.Errorf("the write is not in the slow log: %v", entries)
}
