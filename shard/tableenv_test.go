package shard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

var only = proto.GPID{App: 1}

// What a table sets of its stores reaches them while they are open, and is taken back with the env; what only a new store can take
// it gets at its creation.
func TestStoreSettings(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 1, map[string]string{"rocksdb.num_levels": "4", "rocksdb.write_buffer_size": "16777216"})
	store := func() *rocks.Store {
		return onPartition(c.node, only, func(p *partition) *rocks.Store { return p.store.(*rocks.Store) })
	}
	has := func(want engine.Tuning) {
		t.Helper()
		eventually(t, fmt.Sprintf("the store has %+v", want), func() bool { return store().Tuning() == want })
	}
	if n := store().Levels(); n != 4 {
		t.Errorf("%d levels", n)
	}
	has(engine.Tuning{Scenario: "normal", WriteBufferBytes: 16 << 20})
	c.env("rocksdb.usage_scenario", "bulk_load")
	has(engine.Tuning{Scenario: "bulk_load", WriteBufferBytes: 4 << 20})
	c.env("rocksdb.write_buffer_size", "33554432")
	has(engine.Tuning{Scenario: "normal", WriteBufferBytes: 32 << 20})
	c.env("rocksdb.usage_scenario", "prefer_write")
	c.restart(2)
	c.served(1, 1)
	has(engine.Tuning{Scenario: "prefer_write", WriteBufferBytes: 4 << 20})
	if n := store().Levels(); n != 4 {
		t.Errorf("%d levels after a restart", n)
	}
}

// The time that a range read may take, and whether reads fill the cache, follow the envs.
func TestReadSettings(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	limit := func() time.Duration {
		return onPartition(c.node, only, func(p *partition) time.Duration { return p.env.Limits.IterationTime })
	}
	for value, want := range map[string]time.Duration{"70": 70 * time.Millisecond, "0": 0, "": c.opts.Reads.IterationTime} {
		if c.env("replica.rocksdb_iteration_threshold_time_ms", value); limit() != want {
			t.Errorf("%q: range reads may take %v", value, limit())
		}
	}
	cl := c.dial()
	for i := range 50 {
		cl.put(1, 1, fmt.Sprint("k", i), "", "v")
	}
	onPartition(c.node, only, func(p *partition) error { p.settle(); _, err := p.store.Flush(); return err })
	cached := func() uint64 {
		before := c.node.shared.BlockCacheUsage()
		for i := range 50 {
			if v, ok := cl.get(1, 1, fmt.Sprint("k", i), ""); !ok || v != "v" {
				t.Fatalf("read %q", v)
			}
		}
		return c.node.shared.BlockCacheUsage() - before
	}
	c.env("replica.rocksdb_block_cache_enabled", "false")
	if n := cached(); n != 0 {
		t.Errorf("reads put %d bytes into the cache", n)
	}
	c.env("replica.rocksdb_block_cache_enabled", "true")
	if n := cached(); n == 0 {
		t.Error("reads put nothing into the cache")
	}
}

// compactStatus is what meta was told last of a replica.
func (m *fakeMeta) compactStatus(g proto.GPID) (s proto.ManualCompactionStatus, ended int64) {
	st := m.status(get(m, func() proto.NodeID { return m.node }))
	if i := slices.IndexFunc(st.Replicas, func(l proto.ReplicaLoad) bool { return l.GPID == g }); i >= 0 {
		return proto.ManualCompactionStatus(st.Replicas[i].ManualCompact), st.Replicas[i].ManualCompactEnded
	}
	return -1, 0
}

// A compaction by hand is made once per trigger time, also across a restart, carries out the rules of the table, and is reported.
func TestManualCompaction(t *testing.T) {
	c := newCluster(t, 2, quickStatus)
	c.table(1, 1, nil)
	cl := c.dial()
	rules := `{"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN",` +
		`"params":"{\"pattern\":\"gone\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]},` +
		`{"type":"COT_UPDATE_TTL","params":"{\"type\":\"UTOT_FROM_NOW\",\"value\":5000}","rules":[{"type":"FRT_SORTKEY_PATTERN",` +
		`"params":"{\"pattern\":\"ttl\",\"match_type\":\"SMT_MATCH_POSTFIX\"}"}]}]}`
	cl.put(1, 1, "gone1", "", "v")
	cl.put(1, 1, "kept", "with ttl", "v")
	cl.put(1, 1, "kept", "", "v")
	if s, _ := c.meta.compactStatus(only); s > proto.CompactionIdle {
		t.Errorf("status %v before anything", s)
	}
	trigger := time.Now().Unix()
	envs := map[string]string{
		"user_specified_compaction": rules, "manual_compact.once.trigger_time": fmt.Sprint(trigger),
		"manual_compact.once.bottommost_level_compaction": "force", "manual_compact.disabled": "true",
	}
	c.meta.setEnvs(1, envs)
	eventually(t, "the envs arrive", func() bool {
		return onPartition(c.node, only, func(p *partition) bool { return p.settings.Compaction.Disabled })
	})
	if s, _ := c.meta.compactStatus(only); s > proto.CompactionIdle {
		t.Errorf("status %v while compactions are disabled", s)
	}
	envs = map[string]string{}
	for k, v := range onPartition(c.node, only, func(p *partition) map[string]string { return p.app.Envs }) {
		envs[k] = v
	}
	delete(envs, "manual_compact.disabled")
	c.meta.setEnvs(1, envs)
	finished := func() (ended int64) {
		t.Helper()
		eventually(t, "the compaction is over", func() bool {
			s, at := c.meta.compactStatus(only)
			ended = at
			return s == proto.CompactionFinished && at/1000 >= trigger
		})
		return ended
	}
	ended := finished()
	if _, ok := cl.get(1, 1, "gone1", ""); ok {
		t.Error("what a rule deletes is there")
	}
	if v, ok := cl.get(1, 1, "kept", ""); !ok || v != "v" {
		t.Errorf("what no rule matches is %q", v)
	}
	g, h := partOf(1, 1, "kept")
	r := cl.call(proto.CodeTTL, g, h, keyArgs("kept", "with ttl"))
	var ttl proto.TTLResponse
	if err := ttl.DecodeResult(r.Body); err != nil || ttl.Seconds < 4900 || ttl.Seconds > 5000 {
		t.Errorf("ttl %d, %v", ttl.Seconds, err)
	}
	c.restart(2)
	c.served(1, 1)
	if again := finished(); again != ended {
		t.Errorf("it ended at %d, after the restart at %d", ended, again)
	}
	trigger = ended/1000 + 1
	envs["manual_compact.once.trigger_time"] = fmt.Sprint(trigger)
	c.meta.setEnvs(1, envs)
	if again := finished(); again <= ended {
		t.Errorf("a later trigger: ended at %d", again)
	}
}

// What is due: by trigger time and by the time of the day; no more than the node may have under way.
func TestCompactionIsDue(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local)
	at := func(h, m int) int64 { return time.Date(2026, 5, 4, h, m, 0, 0, time.Local).UnixMilli() }
	for i, c := range []struct {
		periodic []int
		ended    int64
		due      bool
	}{
		{nil, 0, false},
		{[]int{11 * 3600}, 0, true},
		{[]int{11 * 3600}, at(10, 59), true},
		{[]int{11 * 3600}, at(11, 1), false},
		{[]int{13 * 3600}, 0, false},
		{[]int{13 * 3600, 9 * 3600}, at(8, 0), true},
	} {
		p := &partition{}
		p.settings.Compaction.Periodic, p.compact.ended = c.periodic, c.ended
		if got := p.periodDue(noon); got != c.due {
			t.Errorf("case %d: due is %v", i, got)
		}
	}
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	c.node.compactions.Add(2)
	c.meta.setEnvs(1, map[string]string{"manual_compact.once.trigger_time": "1000", "manual_compact.max_concurrent_running_count": "2"})
	eventually(t, "it waits for others", func() bool {
		return onPartition(c.node, only, func(p *partition) bool {
			return p.onceDue() && p.compactStatus() == proto.CompactionQueuing && !p.compact.queued
		})
	})
	c.node.compactions.Add(-1)
	eventually(t, "it is done", func() bool {
		return onPartition(c.node, only, func(p *partition) bool { return p.compactStatus() == proto.CompactionFinished })
	})
	if n := c.node.compactions.Load(); n != 1 {
		t.Errorf("%d are under way", n)
	}
}
