package tableenv

import (
	"encoding/json"
	"math"

	"pegasus/engine"
)

// The JSON of user_specified_compaction (spec admin 10). Params are JSON inside of a string.
type (
	jsonRules struct {
		Ops []jsonOperation `json:"ops"`
	}
	jsonOperation struct {
		Type   string     `json:"type"`
		Params string     `json:"params"`
		Rules  []jsonRule `json:"rules"`
	}
	jsonRule struct {
		Type   string `json:"type"`
		Params string `json:"params"`
	}
	jsonPattern struct {
		Pattern   string `json:"pattern"`
		MatchType string `json:"match_type"`
	}
	jsonTTLRange struct {
		Start *uint32 `json:"start_ttl"`
		Stop  *uint32 `json:"stop_ttl"`
	}
	jsonUpdateTTL struct {
		Type  string  `json:"type"`
		Value *uint32 `json:"value"`
	}
)

// maxRules bounds operations and the rules of each: every record of a compaction meets all of them.
const maxRules = 1000

// ParseRules reads the rules, or returns nil when there are none. An operation of which any part is unknown is left out, as in
// Apache Pegasus: a rule that is not understood must not make an operation match more.
func ParseRules(text string) *engine.Rules {
	var in jsonRules
	if text == "" || json.Unmarshal([]byte(text), &in) != nil {
		return nil
	}
	rules := &engine.Rules{}
	for _, op := range in.Ops {
		if o, ok := op.parse(); ok && len(rules.Operations) < maxRules {
			rules.Operations = append(rules.Operations, o)
		}
	}
	if len(rules.Operations) == 0 {
		return nil
	}
	return rules
}

func (op *jsonOperation) parse() (o engine.Operation, ok bool) {
	switch op.Type {
	case "COT_DELETE":
		o.Op = engine.RuleDelete
	case "COT_UPDATE_TTL":
		var p jsonUpdateTTL
		if json.Unmarshal([]byte(op.Params), &p) != nil || p.Value == nil {
			return o, false
		}
		kinds := map[string]engine.RuleOp{
			"UTOT_FROM_NOW": engine.RuleTTLFromNow, "UTOT_FROM_CURRENT": engine.RuleTTLFromExpiry, "UTOT_TIMESTAMP": engine.RuleTTLTimestamp,
		}
		if o.Op, ok = kinds[p.Type]; !ok {
			return o, false
		}
		o.Value = *p.Value
	default:
		return o, false
	}
	if len(op.Rules) == 0 || len(op.Rules) > maxRules {
		return o, false
	}
	for _, r := range op.Rules {
		rule, ok := r.parse()
		if !ok {
			return o, false
		}
		o.Rules = append(o.Rules, rule)
	}
	return o, true
}

func (r *jsonRule) parse() (rule engine.Rule, ok bool) {
	switch r.Type {
	case "FRT_HASHKEY_PATTERN":
		rule.Kind = engine.RuleHashKey
	case "FRT_SORTKEY_PATTERN":
		rule.Kind = engine.RuleSortKey
	case "FRT_TTL_RANGE":
		var p jsonTTLRange
		if json.Unmarshal([]byte(r.Params), &p) != nil || p.Start == nil || p.Stop == nil {
			return rule, false
		}
		return engine.Rule{Kind: engine.RuleTTL, Start: *p.Start, Stop: *p.Stop}, true
	default:
		return rule, false
	}
	var p jsonPattern
	if json.Unmarshal([]byte(r.Params), &p) != nil || len(p.Pattern) > math.MaxUint16 {
		return rule, false
	}
	matches := map[string]engine.RuleMatch{
		"SMT_MATCH_ANYWHERE": engine.MatchAnywhere, "SMT_MATCH_PREFIX": engine.MatchPrefix, "SMT_MATCH_POSTFIX": engine.MatchPostfix,
	}
	rule.Match, ok = matches[p.MatchType]
	rule.Pattern = []byte(p.Pattern)
	return rule, ok
}
