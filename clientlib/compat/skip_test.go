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
	{selector{name: "backup", to: 13}, false, "backup and restore are not served"},
	{selector{name: "split_invalid"}, false, "partition split is not served"},
	{selector{name: "bulk_load_invalid"}, false, "bulk load is not served"},

	{selector{name: "remote_command", to: 1}, false, "other commands are listed than there"},

	{selector{rpc: "RPC_RRDB_RRDB_DUPLICATE"}, false, "duplication is not served"},
	{selector{name: "duplicate_put", rpc: "RPC_RRDB_RRDB_GET", to: 2}, false, "the record was duplicated"},
	{selector{name: "duplicate_put", rpc: "RPC_RRDB_RRDB_GET", from: 7}, false, "the record was duplicated"},

	{selector{name: "common_meta", rpc: "HTTP", from: 3, to: 3}, false, "other pages are listed than there"},
	{selector{name: "update_config", from: 4}, false, "its flags are not ours"},
	{selector{name: "meta_dup_bulkload", rpc: "HTTP"}, false, "backup, duplication and bulk load are not served"},
	{selector{name: "envs_and_wrong_server", from: 2, to: 2}, false, "the recording lacks the texts behind its first part"},
	{selector{name: "replica_paths", from: 2}, false, onlyVersion},
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
	{
		selector: selector{name: "recall", rpc: "RPC_CM_LIST_APPS", from: 16, to: 16},
		volatile: []string{"body.infos.0.drop_second", "body.infos.0.expire_second"},
		why:      "the table was dropped eight seconds before there, and recalled sooner here",
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
