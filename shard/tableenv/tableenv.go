// Package tableenv reads the app envs that a replica obeys: what each key means and how its value is written (spec admin 3, rrdb 6).
// Meta has validated them; a value that does not parse all the same counts as unset, because a table must not stop for it.
package tableenv

import (
	"math"
	"strings"
	"time"

	"pegasus/engine"
	"pegasus/shard/rrdb"
)

// Settings are the envs of a table, parsed once per change. They are not changed after that.
type Settings struct {
	Deny         Denial
	DefaultTTL   uint32 // seconds, 0 = none
	ValidateHash bool
	NoBlockCache bool // reads do not fill the block cache
	Rules        *engine.Rules

	ReadThrottle   Throttle // requests per second
	WriteThrottle  Throttle
	WriteBytes     Throttle // bytes of request bodies per second
	BackupThrottle Throttle // requests that allow a secondary to answer
	ReadBytes      int64    // bytes per second that reads of the table may return, 0 = no limit

	SlowQuery     time.Duration // reads and writes that take longer are explained; 0 = the server's setting
	IterationTime time.Duration // of one range read, valid if HasIteration; 0 = no limit
	HasIteration  bool

	Tuning engine.Tuning
	Levels int // of a new store, 0 = the server's setting

	CheckpointMin  int           // checkpoints that are always kept, 0 = the server's setting
	CheckpointTime time.Duration // how long a checkpoint is kept at least; negative = the server's setting

	Compaction Compaction
}

// Denial is replica.deny_client_request: which requests are refused, and whether by silence.
type Denial struct {
	Reads, Writes bool
	Silent        bool // no reply at all, the client times out; otherwise ERR_INVALID_STATE
}

// Throttle is a limit on units per second of the whole table: above Delay they are served late, above Reject they are refused late.
type Throttle struct {
	HasDelay, HasReject bool
	Delay, Reject       int64 // units per second
	DelayBy, RejectBy   time.Duration
}

// Set tells whether there is any limit.
func (t *Throttle) Set() bool { return t.HasDelay || t.HasReject }

// Compaction is when and how the stores of a table are compacted by hand.
type Compaction struct {
	Disabled   bool
	MaxRunning int   // while the node has as many under way none of this table begins; 0 = no limit
	Once       int64 // unix seconds; from then on a replica that has not finished one since makes one. 0 = none
	OnceHow    engine.CompactOptions
	Periodic   []int // seconds since midnight, local time
	PeriodHow  engine.CompactOptions
}

// Parse reads the envs of a table. Unknown keys are no concern of a replica.
func Parse(envs map[string]string) Settings {
	e := env(envs)
	s := Settings{
		ReadThrottle:   e.throttle("replica.read_throttling"),
		WriteThrottle:  e.throttle("replica.write_throttling"),
		WriteBytes:     e.throttle("replica.write_throttling_by_size"),
		BackupThrottle: e.throttle("replica.backup_request_throttling"),
		ReadBytes:      e.readBytes("replica.read_throttling_by_size"),
		ValidateHash:   e.flag("replica.split.validate_partition_hash", false),
		NoBlockCache:   !e.flag("replica.rocksdb_block_cache_enabled", true),
		Rules:          ParseRules(envs["user_specified_compaction"]),
		CheckpointTime: -1,
	}
	if n, ok := e.number("default_ttl", 0, math.MaxInt32); ok {
		s.DefaultTTL = uint32(n)
	}
	if n, ok := e.number("replica.slow_query_threshold", 1, math.MaxInt64); ok {
		s.SlowQuery = math.MaxInt64
		if n < math.MaxInt64/int64(time.Millisecond) {
			s.SlowQuery = time.Duration(n) * time.Millisecond
		}
	}
	if n, ok := e.number("replica.rocksdb_iteration_threshold_time_ms", 0, math.MaxInt64/int64(time.Millisecond)); ok {
		s.IterationTime, s.HasIteration = time.Duration(n)*time.Millisecond, true
	}
	if n, ok := e.number("rocksdb.write_buffer_size", 64<<10, 4<<30); ok {
		s.Tuning.WriteBufferBytes = uint64(n)
	}
	switch v := envs["rocksdb.usage_scenario"]; v {
	case "normal", "prefer_write", "bulk_load":
		s.Tuning.Scenario = v
	default:
		s.Tuning.Scenario = "normal"
	}
	if n, ok := e.number("rocksdb.num_levels", 1, 10); ok {
		s.Levels = int(n)
	}
	if n, ok := e.number("rocksdb.checkpoint.reserve_min_count", 1, math.MaxInt32); ok {
		s.CheckpointMin = int(n)
	}
	if n, ok := e.number("rocksdb.checkpoint.reserve_time_seconds", 0, math.MaxInt32); ok {
		s.CheckpointTime = time.Duration(n) * time.Second
	}
	s.Deny = e.denial("replica.deny_client_request")
	s.Compaction = e.compaction()
	return s
}

// env reads single values.
type env map[string]string

func (e env) number(key string, low, high int64) (int64, bool) {
	n, ok := rrdb.ParseInt([]byte(e[key]))
	return n, ok && n >= low && n <= high
}

func (e env) flag(key string, unset bool) bool {
	switch v := e[key]; {
	case strings.EqualFold(v, "true"):
		return true
	case strings.EqualFold(v, "false"):
		return false
	}
	return unset
}

func (e env) denial(key string) (d Denial) {
	how, which, ok := strings.Cut(e[key], "*")
	how, which = strings.TrimSpace(how), strings.TrimSpace(which)
	if !ok || how != "timeout" && how != "reconfig" {
		return d
	}
	d.Reads = which == "all" || which == "read"
	d.Writes = which == "all" || which == "write"
	d.Silent = how == "timeout"
	return d
}

// throttle reads "<units>[K|M]*<delay|reject>*<milliseconds>", one of each kind, separated by commas.
func (e env) throttle(key string) (t Throttle) {
	for rule := range strings.SplitSeq(e[key], ",") {
		if rule = strings.TrimSpace(rule); rule == "" {
			continue
		}
		fields := strings.Split(rule, "*")
		if len(fields) != 3 {
			return Throttle{}
		}
		units, ok := units(fields[0])
		ms, okMS := rrdb.ParseInt([]byte(strings.TrimSpace(fields[2])))
		if !ok || !okMS || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
			return Throttle{}
		}
		by := time.Duration(ms) * time.Millisecond
		switch strings.TrimSpace(fields[1]) {
		case "delay":
			t.HasDelay, t.Delay, t.DelayBy = true, units, by
		case "reject":
			t.HasReject, t.Reject, t.RejectBy = true, units, by
		default:
			return Throttle{}
		}
	}
	return t
}

// readBytes reads a plain size or, of the long form, the units of its reject rule.
func (e env) readBytes(key string) int64 {
	if n, ok := units(e[key]); ok {
		return n
	}
	t := e.throttle(key)
	return t.Reject
}

// units reads a number with K (1024) or M (1048576) behind it.
func units(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	factor := int64(1)
	if rest, ok := strings.CutSuffix(s, "K"); ok {
		s, factor = rest, 1<<10
	} else if rest, ok := strings.CutSuffix(s, "M"); ok {
		s, factor = rest, 1<<20
	}
	n, ok := rrdb.ParseInt([]byte(s))
	return n * factor, ok && n >= 0 && n <= math.MaxInt64/factor
}

func (e env) compaction() (c Compaction) {
	const prefix = "manual_compact."
	c.Disabled = e.flag(prefix+"disabled", false)
	if n, ok := e.number(prefix+"max_concurrent_running_count", 0, math.MaxInt32); ok {
		c.MaxRunning = int(n)
	}
	if n, ok := e.number(prefix+"once.trigger_time", 1, math.MaxInt64); ok {
		c.Once = n
	}
	c.OnceHow = e.compactOptions(prefix + "once.")
	for at := range strings.SplitSeq(e[prefix+"periodic.trigger_time"], ",") {
		if t, err := time.Parse("15:04", strings.TrimSpace(at)); err == nil {
			c.Periodic = append(c.Periodic, t.Hour()*3600+t.Minute()*60)
		}
	}
	c.PeriodHow = e.compactOptions(prefix + "periodic.")
	return c
}

func (e env) compactOptions(prefix string) (o engine.CompactOptions) {
	if n, ok := e.number(prefix+"target_level", 1, 10); ok {
		o.Level = int(n)
	}
	o.SkipBottommost = e[prefix+"bottommost_level_compaction"] != "force"
	return o
}
