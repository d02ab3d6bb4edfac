package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/netcore/proto"
)

// envRule says which values an environment takes. Exactly one of the fields that judge a value is set; a rule with none
// takes any string. Sources: spec admin 3 and the recordings of RPC_CM_UPDATE_APP_ENV, from which the hints are copied
// to the letter.
type envRule struct {
	isBool  bool
	width   int              // 32 or 64: an integer of so many bits
	inside  func(int64) bool // further condition of an integer, nil for none
	limit   string           // the words for the condition
	check   func(string) string
	choices string // the list of a rule that takes one of several words
}

func atLeast(min int64) func(int64) bool { return func(v int64) bool { return v >= min } }
func within(lo, hi int64) func(int64) bool {
	return func(v int64) bool { return v >= lo && v <= hi }
}

func oneOf(values ...string) envRule {
	hint := strings.Join(values, " | ")
	return envRule{choices: hint, check: func(v string) string {
		if slices.Contains(values, v) {
			return ""
		}
		return hint
	}}
}

const (
	envWriteBufferSize = "rocksdb.write_buffer_size"
	envNumLevels       = "rocksdb.num_levels"

	minWriteBuffer, maxWriteBuffer = 16 << 20, 512 << 20
)

var envRules = func() map[string]envRule {
	flag := envRule{isBool: true}
	text := envRule{}
	throttle := envRule{check: func(v string) string { _, hint := throttling(v); return hint }}
	level := envRule{width: 64, inside: func(v int64) bool { return v == -1 || v >= 1 }, limit: "-1 or >= 1"}
	bottommost := oneOf("force", "skip")
	return map[string]envRule{
		"default_ttl":                       {width: 32, inside: atLeast(0), limit: ">= 0"},
		"business.info":                     text,
		"replica.deny_client_request":       {check: denyClient},
		"replica.write_throttling":          throttle,
		"replica.write_throttling_by_size":  throttle,
		"replica.read_throttling":           throttle,
		"replica.backup_request_throttling": throttle,
		"replica.read_throttling_by_size":   {check: readSizeThrottling},
		// The bound is compared as an unsigned number there, which lets every negative value in.
		"replica.slow_query_threshold":                {width: 64, inside: func(v int64) bool { return uint64(v) >= 20 }, limit: ">= 20"},
		"replica.rocksdb_iteration_threshold_time_ms": {width: 64, inside: atLeast(0), limit: ">= 0"},
		"replica.rocksdb_block_cache_enabled":         flag,
		"replica.split.validate_partition_hash":       flag,
		"rocksdb.usage_scenario":                      oneOf("bulk_load", "normal", "prefer_write"),
		"rocksdb.checkpoint.reserve_min_count":        {width: 32, inside: atLeast(1), limit: "> 0"},
		"rocksdb.checkpoint.reserve_time_seconds":     {width: 32, inside: atLeast(0), limit: ">= 0"},
		"rocksdb.allow_ingest_behind":                 flag,
		envWriteBufferSize: {width: 64, inside: within(minWriteBuffer, maxWriteBuffer),
			limit: fmt.Sprintf("In range [%d, %d]", minWriteBuffer, maxWriteBuffer)},
		envNumLevels:              {width: 64, inside: within(1, 10), limit: "In range [1, 10]"},
		"manual_compact.disabled": flag,
		"manual_compact.max_concurrent_running_count": {width: 32, inside: atLeast(0), limit: ">= 0"},
		"manual_compact.once.trigger_time": {width: 64, inside: atLeast(0),
			limit: "> 0, timestamp (in seconds) to trigger the once manual compaction"},
		"manual_compact.once.target_level":                    level,
		"manual_compact.once.bottommost_level_compaction":     bottommost,
		"manual_compact.periodic.trigger_time":                text,
		"manual_compact.periodic.target_level":                level,
		"manual_compact.periodic.bottommost_level_compaction": bottommost,
		"user_specified_compaction":                           text,
		"replica_access_controller.allowed_users":             text,
		"replica_access_controller.ranger_policies":           text,
		"duplication.master_cluster":                          text,
		"duplication.master_metas":                            text,
		"duplication.master_app_name":                         text,
		"duplication.follower_app_status":                     text,
	}
}()

func denyClient(v string) string {
	f := fields(v, '*', true)
	if len(f) == 2 && slices.Contains([]string{"timeout", "reconfig"}, f[0]) &&
		slices.Contains([]string{"all", "write", "read"}, f[1]) {
		return ""
	}
	return "Invalid deny client args, valid include: timeout*all, timeout*write, timeout*read; reconfig*all, " +
		"reconfig*write, reconfig*read"
}

// validateEnv judges one environment. The hint says what is wrong with it; it is empty for a good one.
func validateEnv(key, value string) (hint string) {
	r, known := envRules[key]
	switch {
	case !known:
		return fmt.Sprintf("app_env '%s' is not supported", key)
	case r.isBool:
		if l := strings.ToLower(value); l != "true" && l != "false" {
			return fmt.Sprintf("invalid value '%s', should be a boolean", value)
		}
	case r.width != 0:
		v, ok := envInt(value, r.width)
		if !ok {
			return fmt.Sprintf("invalid value '%s', should be an %d bits integer", value, r.width)
		}
		if r.inside != nil && !r.inside(v) {
			return fmt.Sprintf("invalid value '%s', should be '%s'", value, r.limit)
		}
	case r.check != nil:
		return r.check(value)
	}
	return ""
}

// validCreateEnvs judges the environments of a new table: only those that RocksDB needs when it opens are looked at,
// everything else is stored as it is (recorded).
func validCreateEnvs(envs map[string]string) bool {
	for _, key := range []string{envWriteBufferSize, envNumLevels} {
		if v, ok := envs[key]; ok && validateEnv(key, v) != "" {
			return false
		}
	}
	return true
}

func envBytes(envs map[string]string) (n int) {
	for k, v := range envs {
		n += len(k) + len(v)
	}
	return n
}

const (
	hintNoApp     = "app cannot be found"
	hintDropping  = "app is being dropped"
	hintNoKey     = "no key needs to be deleted"
	hintDeleted   = "deleted keys:"
	hintInvalidOp = "recv a invalid update_app_env request with op = APP_ENV_OP_INVALID"
)

// checkEnvRequest judges an update of environments before the table is looked at.
func checkEnvRequest(r *proto.UpdateAppEnvRequest) (res Result, done bool) {
	bad := Result{Err: proto.ErrInvalidParameters}
	switch r.Op {
	case proto.AppEnvOpSet:
		if len(r.Keys) == 0 || len(r.Keys) != len(r.Values) {
			return bad, true
		}
		size := 0
		for i, k := range r.Keys {
			size += len(k) + len(r.Values[i])
			if size > maxEnvBytes {
				bad.Hint = fmt.Sprintf("app envs of more than %d bytes", maxEnvBytes)
				return bad, true
			}
			if bad.Hint = validateEnv(k, r.Values[i]); bad.Hint != "" {
				return bad, true
			}
		}
	case proto.AppEnvOpDel:
		if len(r.Keys) == 0 {
			return bad, true
		}
	case proto.AppEnvOpClear:
		if r.ClearPrefix == nil {
			return bad, true
		}
	default:
		bad.Hint = hintInvalidOp
		return bad, true
	}
	return Result{}, false
}

// checkEnvApp answers an update whose table is not there.
func (s *State) checkEnvApp(name string) (res Result, done bool) {
	a := s.names[name]
	switch {
	case a == nil:
		return Result{Err: proto.ErrAppNotExist, Hint: hintNoApp}, true
	case a.Info.Status == proto.AppDropping:
		return Result{Err: proto.ErrBusyDropping, Hint: hintDropping}, true
	}
	return Result{}, false
}

// updateAppEnv replaces the map instead of changing it: messages that were built from the old one may still be on their
// way.
func (s *State) updateAppEnv(r *proto.UpdateAppEnvRequest, d *Delta) Result {
	if res, done := s.checkEnvApp(r.AppName); done {
		return res
	}
	a := s.names[r.AppName]
	envs := maps.Clone(a.Info.Envs)
	var res Result
	if r.Op == proto.AppEnvOpSet {
		for i, k := range r.Keys {
			envs[k] = r.Values[i]
		}
	} else {
		gone := envsToDelete(envs, r)
		if len(gone) == 0 {
			return Result{Hint: hintNoKey}
		}
		res.Hint = hintDeleted
		for _, k := range gone {
			delete(envs, k)
			res.Hint += "\n    " + k
		}
	}
	s.revision++
	a.Info.Envs = envs
	a.Revision = s.revision
	d.Apps = append(d.Apps, a.Info.AppID)
	return res
}

// envsToDelete lists the keys that a DEL or CLEAR removes: for DEL in the order asked, each once; for CLEAR in the order
// of the keys, everything for an empty prefix P, else what is longer than "P." and starts with it.
func envsToDelete(envs map[string]string, r *proto.UpdateAppEnvRequest) []string {
	var gone []string
	if r.Op == proto.AppEnvOpDel {
		for _, k := range r.Keys {
			if _, ok := envs[k]; ok && !slices.Contains(gone, k) {
				gone = append(gone, k)
			}
		}
		return gone
	}
	prefix := *r.ClearPrefix
	for _, k := range slices.Sorted(maps.Keys(envs)) {
		if prefix == "" || len(k) > len(prefix)+1 && strings.HasPrefix(k, prefix+".") {
			gone = append(gone, k)
		}
	}
	return gone
}
