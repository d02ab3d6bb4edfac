package compat

import (
	"path"

	"pegasus/netcore/proto/golden"
)

// selector names steps of the recordings. Patterns are those of path.Match; "" means any.
type selector struct {
	suite, name string // of the case
	rpc         string
	target      golden.Target
	http        string // path of an HTTP request
	from, to    int    // steps of the case, inclusive; 0 means no bound
}

func (sel *selector) matches(s *golden.Step) bool {
	glob := func(pattern, text string) bool {
		if pattern == "" {
			return true
		}
		ok, err := path.Match(pattern, text)
		if err != nil {
			panic("BUG: bad pattern " + pattern)
		}
		return ok
	}
	if sel.http != "" && (s.HTTP == nil || !glob(sel.http, s.HTTP.Path)) {
		return false
	}
	return glob(sel.suite, s.Suite) && glob(sel.name, s.Case) && glob(sel.rpc, s.RPC) &&
		(sel.target == "" || sel.target == s.Target) &&
		s.Step >= sel.from && (sel.to == 0 || s.Step <= sel.to)
}

// skip is a set of steps whose recorded answer is not expected yet. They are sent all the same, unless hold is set, and
// one that passes is reported, so that the list shrinks.
type skip struct {
	selector
	hold bool // do not send: it would disturb other cases, or wait for what cannot come
	why  string
}

// adjustment is a set of steps that are compared with part of the response left out.
type adjustment struct {
	selector
	volatile []string
	// settle replaces the recorded retry_until of the step.
	settle *golden.RetryUntil
	why    string
}

// skips is the only place that says what is not replayed faithfully.
var skips = []skip{
	{selector{target: golden.TargetSecondary}, true, "groups have one member: there is no secondary to ask"},

	{selector{name: "recall"}, false, "recall of dropped tables is not served"},
	{selector{name: "rename"}, false, "rename of tables is not served"},
	{selector{name: "control_meta"}, true, "meta function levels are not served; a level would stop other cases"},
	{selector{name: "max_replica_count"}, true, "replica counts cannot be changed; the case waits for secondaries"},
	{selector{name: "atomic_idempotent"}, false, "the switch atomic_idempotent of an existing table is not served"},
	{selector{name: "balancer"}, true, "balancer proposals are not served"},
	{selector{name: "backup"}, false, "backup and restore are not served"},
	{selector{name: "split_invalid"}, false, "partition split is not served"},
	{selector{name: "bulk_load_invalid"}, false, "bulk load is not served"},
	{selector{name: "remote_command"}, false, "most remote commands are not served"},
	{selector{suite: "08_meta", rpc: "RPC_CM_DDD_DIAGNOSE"}, false, "DDD diagnosis is not served"},
	{selector{name: "meta_calls_2", rpc: "RPC_CLI_CLI_CALL"}, false, "most remote commands are not served"},
	{selector{name: "duplicate_*"}, false, "RPC_RRDB_RRDB_DUPLICATE is not served"},

	{selector{suite: "10_http", name: "common_meta", from: 2, to: 3}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "common_meta", from: 6}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "update_config"}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "meta_*"}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "envs_and_wrong_server"}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "post_compaction"}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "replica_*"}, false, "of HTTP only /version is served"},
	{selector{suite: "10_http", name: "metrics_*"}, false, "of HTTP only /version is served"},
}

// onePrimary is what a table of one-member groups can reach.
var onePrimary = &golden.RetryUntil{Path: "body.partitions.0.primary", Value: "$replica", MaxMS: 30000}

// adjustments are applied to steps that are compared.
var adjustments = []adjustment{
	{
		selector: selector{rpc: "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"},
		volatile: []string{"body.partitions.*.secondaries", "body.partitions.*.hp_secondaries"},
		why:      "groups have one member: the primary alone is compared",
	},
	{
		selector: selector{name: "create_basic", rpc: "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", from: 4, to: 7},
		settle:   onePrimary,
		why:      "groups have one member: the step waits for the primary, not for secondaries",
	},
	{
		selector: selector{name: "common_meta", http: "/version/"},
		volatile: []string{"text"},
		why:      "the version and commit are our own",
	},
}

// neighbour is a record that the recorded cluster had and that no case in the corpus writes: the corpus is a part of
// what was recorded. A scan that stops at its range's end looks whether anything at all follows in the partition.
type neighbour struct {
	table     string
	partition uint64
	why       string
}

var neighbours = []neighbour{
	{"gd_scan", 2, "06_scan/options#19 stops at a limit with its range exhausted, and yet returns a context: a record follows"},
}

// skipOf returns the first rule that matches, or nil.
func skipOf(s *golden.Step) *skip {
	for i := range skips {
		if skips[i].matches(s) {
			return &skips[i]
		}
	}
	return nil
}

// adjusted returns a copy of the step with all adjustments that match.
func adjusted(s *golden.Step) *golden.Step {
	out := *s
	for i := range adjustments {
		a := &adjustments[i]
		if !a.matches(s) {
			continue
		}
		out.Volatile = append(out.Volatile[:len(out.Volatile):len(out.Volatile)], a.volatile...)
		if a.settle != nil {
			out.RetryUntil = a.settle
		}
	}
	return &out
}
