package tableenv

import (
	"reflect"
	"testing"
	"time"

	"pegasus/engine"
)

// Every env has its effect on the settings, and a value that does not parse has none.
func TestParse(t *testing.T) {
	const sec, ms = time.Second, time.Millisecond
	unset := Parse(nil)
	if want := (Settings{
		Tuning: engine.Tuning{Scenario: "normal"}, CheckpointTime: -1,
		Compaction: Compaction{OnceHow: engine.CompactOptions{SkipBottommost: true}, PeriodHow: engine.CompactOptions{SkipBottommost: true}},
	}); !reflect.DeepEqual(unset, want) {
		t.Fatalf("without envs: %+v", unset)
	}
	for _, c := range []struct {
		key, value string
		change     func(*Settings) // nil: as without
	}{
		{"default_ttl", "3600", func(s *Settings) { s.DefaultTTL = 3600 }},
		{"default_ttl", " 0x10", func(s *Settings) { s.DefaultTTL = 16 }},
		{"default_ttl", "-1", nil},
		{"default_ttl", "2147483648", nil},
		{"replica.read_throttling", "10K*delay*20, 2M*reject*30", func(s *Settings) {
			s.ReadThrottle = Throttle{true, true, 10 << 10, 2 << 20, 20 * ms, 30 * ms}
		}},
		{"replica.write_throttling", "5*reject*0,", func(s *Settings) { s.WriteThrottle = Throttle{HasReject: true, Reject: 5} }},
		{"replica.write_throttling", "0*delay*7", func(s *Settings) { s.WriteThrottle = Throttle{HasDelay: true, DelayBy: 7 * ms} }},
		{"replica.write_throttling", "5*reject", nil},
		{"replica.write_throttling", "5*drop*1", nil},
		{"replica.write_throttling", "5G*delay*1", nil},
		{"replica.write_throttling_by_size", "1M*delay*100", func(s *Settings) { s.WriteBytes = Throttle{HasDelay: true, Delay: 1 << 20, DelayBy: 100 * ms} }},
		{"replica.backup_request_throttling", "9*reject*1", func(s *Settings) { s.BackupThrottle = Throttle{HasReject: true, Reject: 9, RejectBy: ms} }},
		{"replica.read_throttling_by_size", "20M", func(s *Settings) { s.ReadBytes = 20 << 20 }},
		{"replica.read_throttling_by_size", "1*delay*5,3K*reject*5", func(s *Settings) { s.ReadBytes = 3 << 10 }},
		{"replica.read_throttling_by_size", "100*delay*5", nil},
		{"replica.slow_query_threshold", "20", func(s *Settings) { s.SlowQuery = 20 * ms }},
		{"replica.slow_query_threshold", "-5", nil},
		{"replica.slow_query_threshold", "9223372036854775807", func(s *Settings) { s.SlowQuery = 1<<63 - 1 }},
		{"replica.rocksdb_iteration_threshold_time_ms", "0", func(s *Settings) { s.HasIteration = true }},
		{"replica.rocksdb_iteration_threshold_time_ms", "1000", func(s *Settings) { s.HasIteration, s.IterationTime = true, sec }},
		{"replica.rocksdb_block_cache_enabled", "FALSE", func(s *Settings) { s.NoBlockCache = true }},
		{"replica.rocksdb_block_cache_enabled", "no", nil},
		{"replica.split.validate_partition_hash", "True", func(s *Settings) { s.ValidateHash = true }},
		{"replica.deny_client_request", "timeout*all", func(s *Settings) { s.Deny = Denial{true, true, true} }},
		{"replica.deny_client_request", "reconfig*write", func(s *Settings) { s.Deny = Denial{Writes: true} }},
		{"replica.deny_client_request", "all", nil},
		{"replica.deny_client_request", "later*all", nil},
		{"rocksdb.usage_scenario", "bulk_load", func(s *Settings) { s.Tuning.Scenario = "bulk_load" }},
		{"rocksdb.usage_scenario", "warp", nil},
		{"rocksdb.write_buffer_size", "33554432", func(s *Settings) { s.Tuning.WriteBufferBytes = 32 << 20 }},
		{"rocksdb.num_levels", "4", func(s *Settings) { s.Levels = 4 }},
		{"rocksdb.num_levels", "11", nil},
		{"rocksdb.checkpoint.reserve_min_count", "5", func(s *Settings) { s.CheckpointMin = 5 }},
		{"rocksdb.checkpoint.reserve_time_seconds", "0", func(s *Settings) { s.CheckpointTime = 0 }},
		{"manual_compact.disabled", "true", func(s *Settings) { s.Compaction.Disabled = true }},
		{"manual_compact.max_concurrent_running_count", "3", func(s *Settings) { s.Compaction.MaxRunning = 3 }},
		{"manual_compact.once.trigger_time", "1700000000", func(s *Settings) { s.Compaction.Once = 1700000000 }},
		{"manual_compact.once.target_level", "2", func(s *Settings) { s.Compaction.OnceHow.Level = 2 }},
		{"manual_compact.once.target_level", "-1", nil},
		{"manual_compact.once.bottommost_level_compaction", "force", func(s *Settings) { s.Compaction.OnceHow.SkipBottommost = false }},
		{"manual_compact.periodic.trigger_time", "3:00, 21:30,25:00", func(s *Settings) { s.Compaction.Periodic = []int{3 * 3600, 21*3600 + 1800} }},
		{"manual_compact.periodic.target_level", "1", func(s *Settings) { s.Compaction.PeriodHow.Level = 1 }},
		{"manual_compact.periodic.bottommost_level_compaction", "force", func(s *Settings) { s.Compaction.PeriodHow.SkipBottommost = false }},
		{"business.info", "anything", nil},
	} {
		want := Parse(nil)
		if c.change != nil {
			c.change(&want)
		}
		if got := Parse(map[string]string{c.key: c.value}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %q: %+v, want %+v", c.key, c.value, got, want)
		}
	}
}

func TestParseRules(t *testing.T) {
	text := `{"ops":[
		{"type":"COT_DELETE","params":"","rules":[
			{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"a\",\"match_type\":\"SMT_MATCH_PREFIX\"}"},
			{"type":"FRT_SORTKEY_PATTERN","params":"{\"pattern\":\"b\",\"match_type\":\"SMT_MATCH_POSTFIX\"}"},
			{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":1,\"stop_ttl\":9}"}]},
		{"type":"COT_UPDATE_TTL","params":"{\"type\":\"UTOT_FROM_CURRENT\",\"value\":77}","rules":[
			{"type":"FRT_SORTKEY_PATTERN","params":"{\"pattern\":\"\",\"match_type\":\"SMT_MATCH_ANYWHERE\"}"}]},
		{"type":"COT_NOVEL","params":"","rules":[{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":0,\"stop_ttl\":0}"}]},
		{"type":"COT_DELETE","params":"","rules":[
			{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":0,\"stop_ttl\":0}"}, {"type":"FRT_NOVEL","params":"{}"}]},
		{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_TTL_RANGE","params":"{}"}]},
		{"type":"COT_UPDATE_TTL","params":"{\"type\":\"UTOT_NOVEL\",\"value\":1}","rules":[{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":0,\"stop_ttl\":0}"}]},
		{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"a\"}"}]},
		{"type":"COT_DELETE","params":"","rules":[]}]}`
	want := &engine.Rules{Operations: []engine.Operation{
		{Op: engine.RuleDelete, Rules: []engine.Rule{
			{Kind: engine.RuleHashKey, Match: engine.MatchPrefix, Pattern: []byte("a")},
			{Kind: engine.RuleSortKey, Match: engine.MatchPostfix, Pattern: []byte("b")},
			{Kind: engine.RuleTTL, Start: 1, Stop: 9},
		}},
		{Op: engine.RuleTTLFromExpiry, Value: 77, Rules: []engine.Rule{{Kind: engine.RuleSortKey, Pattern: []byte{}}}},
	}}
	if got := ParseRules(text); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, none := range []string{"", "nonsense", "{}", `{"ops":[]}`, `{"ops":[{"type":"COT_DELETE"}]}`, `[1]`, `{"ops":1}`} {
		if got := ParseRules(none); got != nil {
			t.Errorf("%q: %+v", none, got)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add(`{"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":0,\"stop_ttl\":0}"}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		if r := ParseRules(text); r != nil {
			for _, o := range r.Operations {
				if len(o.Rules) == 0 {
					t.Fatalf("%q: an operation without rules", text)
				}
			}
		}
	})
}
