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
// one that agrees is an error, so that the list shrinks with the work and never hides what is served.
type skip struct {
	selector
	hold bool // do not send: it would disturb other cases, or wait for what cannot come
	why  string
}

// adjustment is a set of steps that are compared with part of the response left out.
type adjustment struct {
	selector
	volatile []string
	// settle replaces the retry_until of a step that has one.
	settle *golden.RetryUntil
	why    string
}

// skips is the only place that says what is not replayed faithfully. The first rule that matches a step decides.
var skips = []skip{
	{selector{rpc: "RPC_CM_RECALL_APP"}, false, "recall of dropped tables is not served"},
	{selector{name: "recall", rpc: queryCfg, from: 13, to: 14}, false, "the table was recalled"},
	{selector{name: "recall", rpc: "RPC_CM_LIST_APPS", from: 16}, false, "the table was recalled"},
	{selector{name: "recall", rpc: "RPC_CM_DROP_APP", from: 17, to: 20}, false, "the table was recalled"},

	{selector{name: "rename", rpc: "RPC_CM_RENAME_APP"}, false, "rename of tables is not served"},
	{selector{name: "rename", rpc: queryCfg, from: 7, to: 8}, false, "the table was renamed"},
	{selector{name: "rename", rpc: "RPC_CM_LIST_APPS", from: 9}, false, "the table was renamed"},
	{selector{name: "rename", rpc: "RPC_CM_CREATE_APP", from: 10}, false, "the table was renamed"},
	{selector{name: "rename", rpc: "RPC_CM_DROP_APP", from: 15}, false, "the table was renamed"},

	{selector{rpc: "RPC_CM_?ET_ATOMIC_IDEMPOTENT"}, false, "the switch atomic_idempotent of an existing table is not served"},
	{selector{name: "atomic_idempotent", rpc: "RPC_CM_LIST_APPS"}, false, "the switch was set"},

	{selector{name: "control_meta"}, true, "meta function levels are not served; a level would stop other cases"},
	{selector{name: "backup"}, false, "backup and restore are not served"},
	{selector{name: "split_invalid"}, false, "partition split is not served"},
	{selector{name: "bulk_load_invalid"}, false, "bulk load is not served"},
	{selector{suite: "08_meta", rpc: "RPC_CM_DDD_DIAGNOSE"}, false, "DDD diagnosis is not served"},

	{selector{name: "remote_command", to: 1}, false, "most remote commands are not served"},
	{selector{name: "remote_command", from: 3, to: 3}, false, "most remote commands are not served"},
	{selector{name: "remote_command", from: 5, to: 21}, false, "most remote commands are not served"},
	{selector{name: "remote_command", from: 23}, false, "most remote commands are not served"},

	{selector{rpc: "RPC_RRDB_RRDB_DUPLICATE"}, false, "duplication is not served"},
	{selector{name: "duplicate_put", rpc: "RPC_RRDB_RRDB_GET", to: 2}, false, "the record was duplicated"},
	{selector{name: "duplicate_put", rpc: "RPC_RRDB_RRDB_GET", from: 7}, false, "the record was duplicated"},

	{selector{name: "common_meta", rpc: "HTTP", from: 2, to: 3}, false, onlyVersion},
	{selector{name: "update_config"}, false, onlyVersion},
	{selector{name: "meta_*", rpc: "HTTP"}, false, onlyVersion},
	{selector{name: "envs_and_wrong_server", from: 2, to: 2}, false, onlyVersion},
	{selector{name: "post_compaction"}, false, onlyVersion},
	{selector{name: "replica_paths", from: 2}, false, onlyVersion},
	{selector{name: "replica_manual_compaction", to: 4}, false, onlyVersion},
	{selector{name: "metrics_*", target: golden.TargetMeta}, false, onlyVersion},
}

const (
	queryCfg    = "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"
	onlyVersion = "this page is not served"
)

// adjustments are applied to steps that are compared.
var adjustments = []adjustment{
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
		if a.settle != nil && out.RetryUntil != nil {
			out.RetryUntil = a.settle
		}
	}
	return &out
}
