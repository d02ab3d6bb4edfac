package shard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto"
	"pegasus/shard/tableenv"
)

// A throttle counts per wall second; refused units are not counted, and nobody waits longer than half of his time.
func TestThrottle(t *testing.T) {
	const ms = time.Millisecond
	rule := tableenv.Throttle{HasDelay: true, Delay: 8, DelayBy: 10 * ms, HasReject: true, Reject: 16, RejectBy: 400 * ms}
	th := newThrottle(rule, 4) // 3 units pass, 5 at most
	served, delayed, refused := verdict{}, verdict{after: 10 * ms}, verdict{err: proto.ErrBusy, after: 400 * ms}
	for i, step := range []struct {
		second, units int64
		timeout       int32
		want          verdict
	}{
		{1, 1, 0, served}, {1, 2, 0, served}, {1, 1, 1000, delayed},
		{1, 2, 1000, refused}, // six; not counted
		{1, 1, 0, delayed}, {1, 1, 0, refused},
		{1, 1, 100, verdict{err: proto.ErrBusy, after: 50 * ms}},
		{2, 3, 0, served}, {2, 1, 4, verdict{after: 2 * ms}},
		{3, 4, 0, delayed}, {9, 6, 0, refused}, {9, 1, 0, served},
	} {
		if got := th.take(step.second, step.units, step.timeout); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
	unset := newThrottle(tableenv.Throttle{}, 4)
	for range 100 {
		if got := unset.take(1, 1<<40, 0); got != served {
			t.Fatalf("no throttle says %+v", got)
		}
	}
}

// A bucket holds a second's worth; what a read costs beyond it is paid back first.
func TestBucket(t *testing.T) {
	b := bucket{perSecond: 1000}
	now := int64(time.Second)
	for i, step := range []struct {
		after time.Duration
		empty bool
		spend int64
	}{
		{0, false, 999}, {0, false, 1501}, {0, true, 0}, {time.Second, true, 0}, {500 * time.Millisecond, true, 0},
		{2 * time.Millisecond, false, 0}, {time.Hour, false, 1000}, {0, true, 0},
	} {
		now += int64(step.after)
		if got := b.empty(now); got != step.empty {
			t.Errorf("step %d: empty is %v with %d tokens", i, got, b.tokens)
		}
		b.tokens -= step.spend
	}
}

// env sets one environment of table 1 with one partition and waits until the replica has it.
func (c *cluster) env(key, value string) {
	c.t.Helper()
	c.meta.setEnvs(1, map[string]string{key: value})
	eventually(c.t, "the env arrives", func() bool {
		return onPartition(c.node, proto.GPID{App: 1}, func(p *partition) bool { return p.app.Envs[key] == value })
	})
}

// Throttling by count: what is above the delay limit is served late, what is above the reject limit is refused late.
func TestThrottlingByCount(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	cl := c.dial()
	cl.put(1, 1, "k", "", "v")
	put := func() { cl.add(proto.CodePut, g, 0, putArgs("k", "", "v")) }
	get := func() { cl.add(proto.CodeGet, g, 0, keyArgs("k", "")) }
	for _, tc := range []struct {
		key string
		add func()
	}{{"replica.write_throttling", put}, {"replica.read_throttling", get}} {
		for _, rule := range []string{"0*reject*30", "0*delay*30"} { // one unit a second
			c.env(tc.key, rule)
			want := proto.ErrOK
			if strings.Contains(rule, "reject") {
				want = proto.ErrBusy
			}
			eventually(t, tc.key+" "+rule, func() bool { // three requests may fall into two seconds
				start := time.Now()
				first, answers := cl.seq+1, map[int32]proto.ErrCode{}
				for range 4 {
					tc.add()
				}
				cl.flush()
				for range 4 {
					r := cl.recv()
					answers[r.Seq] = r.Code()
				}
				return answers[first+3] == want && answers[first+2] == want && time.Since(start) >= 30*time.Millisecond
			})
			c.quiet()
		}
		c.env(tc.key, "")
	}
	var parked int
	onShard(c.node, int(c.node.owner(g).id), func(sh *Shard) { parked = sh.parked + sh.parkedBytes })
	if parked != 0 {
		t.Errorf("%d are still held back", parked)
	}
	if v, ok := cl.get(1, 1, "k", ""); !ok || v != "v" {
		t.Errorf("read %q", v)
	}
}

// Throttling by size: of writes by what is sent, of reads by what was returned.
func TestThrottlingBySize(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	cl := c.dial()
	value := strings.Repeat("v", 20<<10)
	cl.put(1, 1, "k", "", value)
	code := func(r proto.Reply) proto.ErrCode { return r.Code() }
	c.env("replica.write_throttling_by_size", "10K*reject*1")
	if got := code(cl.call(proto.CodePut, g, 0, putArgs("k", "", value))); got != proto.ErrBusy {
		t.Errorf("a write above the limit: %v", got)
	}
	if got := code(cl.call(proto.CodePut, g, 0, putArgs("k2", "", "small"))); got != proto.ErrOK {
		t.Errorf("a write below it: %v", got)
	}
	c.env("replica.read_throttling_by_size", "10K")
	if v, ok := cl.get(1, 1, "k", ""); !ok || v != value {
		t.Error("the first read is not answered whole")
	}
	if got := code(cl.call(proto.CodeGet, g, 0, keyArgs("k", ""))); got != proto.ErrBusy {
		t.Errorf("a read in debt: %v", got)
	}
	m := proto.MultiGetRequest{HashKey: []byte("k")}
	if got := code(cl.call(proto.CodeMultiGet, g, 0, m.AppendArgs)); got != proto.ErrBusy {
		t.Errorf("a range read in debt: %v", got)
	}
	eventually(t, "the debt is paid", func() bool { return code(cl.call(proto.CodeGet, g, 0, keyArgs("k", ""))) == proto.ErrOK })
	c.quiet()
}

// A backup request that is refused gets no reply. What is held back when the replica closes or the node stops is answered.
func TestThrottledBackupAndClose(t *testing.T) {
	limits := newThrottles(&tableenv.Settings{BackupThrottle: tableenv.Throttle{HasReject: true, RejectBy: time.Second}}, 1)
	req := &proto.Request{Code: proto.CodeGet, Backup: true}
	if v := limits.read(1, 1, req, false); v != (verdict{}) {
		t.Errorf("the first: %+v", v)
	}
	if v := limits.read(1, 1, req, false); v.err != proto.ErrBusy || !v.silent || v.after != 0 {
		t.Errorf("the second: %+v", v)
	}

	c := newCluster(t, 2)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	cl := c.dial()
	c.env("replica.write_throttling", "0*delay*300")
	for range 8 {
		cl.add(proto.CodePut, g, 0, putArgs("k", "", "v"))
	}
	cl.flush()
	eventually(t, "some are held back", func() (held bool) {
		onShard(c.node, int(c.node.owner(g).id), func(sh *Shard) { held = sh.parked > 0 && sh.parkedBytes > 0 })
		return held
	})
	c.meta.setStatus(1, proto.AppDropped)
	seen := map[string]int{}
	for range 8 {
		r := cl.recv()
		seen[string(r.Err)]++
	}
	if seen["ERR_OBJECT_NOT_FOUND"] == 0 {
		t.Errorf("answers of a table that is dropped meanwhile: %v", seen)
	}
}

// What is held back is bounded: beyond it there is no waiting.
func TestParkedIsBounded(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	c.env("replica.write_throttling", "0*delay*1000")
	onShard(c.node, 0, func(sh *Shard) { sh.parked += maxParked })
	cl := c.dial()
	seen := map[string]int{}
	for i := range 8 {
		cl.add(proto.CodePut, g, 0, putArgs(fmt.Sprint("k", i), "", "v"))
	}
	cl.flush()
	for range 8 {
		seen[string(cl.recv().Err)]++
	}
	if seen["ERR_BUSY"] < 5 {
		t.Errorf("answers: %v", seen)
	}
	onShard(c.node, 0, func(sh *Shard) { sh.parked -= maxParked })
}
