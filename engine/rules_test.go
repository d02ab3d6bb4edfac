package engine

import "testing"

// The meaning of rules, case by case; that every store agrees is enginetest's.
func TestRules(t *testing.T) {
	const now = 1000
	rec := func(hash, sort string) []byte { return AppendKey(nil, []byte(hash), []byte(sort)) }
	hash := func(m RuleMatch, p string) Rule { return Rule{Kind: RuleHashKey, Match: m, Pattern: []byte(p)} }
	sort := func(m RuleMatch, p string) Rule { return Rule{Kind: RuleSortKey, Match: m, Pattern: []byte(p)} }
	ttl := func(start, stop uint32) Rule { return Rule{Kind: RuleTTL, Start: start, Stop: stop} }
	del := func(rules ...Rule) Operation { return Operation{Op: RuleDelete, Rules: rules} }
	set := func(op RuleOp, value uint32, rules ...Rule) Operation { return Operation{op, value, rules} }
	for name, c := range map[string]struct {
		key     []byte
		expire  uint32
		ops     []Operation
		verdict FilterVerdict
		left    uint32
	}{
		"no rule":                    {rec("h", "s"), 0, []Operation{del()}, Keep, 0},
		"hash key":                   {rec("hash", "s"), 0, []Operation{del(hash(MatchPrefix, "ha"))}, Drop, 0},
		"hash key, other":            {rec("hash", "s"), 0, []Operation{del(hash(MatchPostfix, "ha"))}, Keep, 0},
		"empty pattern":              {rec("hash", "s"), 0, []Operation{del(hash(MatchAnywhere, ""))}, Keep, 0},
		"all rules of an operation":  {rec("hash", "s"), 0, []Operation{del(hash(MatchAnywhere, "as"), sort(MatchPrefix, "x"))}, Keep, 0},
		"the key across the parts":   {rec("ab", "cd"), 0, []Operation{del(hash(MatchAnywhere, "bc")), del(sort(MatchAnywhere, "bc"))}, Keep, 0},
		"without an expiry":          {rec("h", "s"), 0, []Operation{del(ttl(0, 0))}, Drop, 0},
		"without an expiry, range":   {rec("h", "s"), 0, []Operation{del(ttl(0, 100))}, Keep, 0},
		"inside the range":           {rec("h", "s"), now + 100, []Operation{del(ttl(50, 100))}, Drop, 0},
		"beyond the range":           {rec("h", "s"), now + 101, []Operation{del(ttl(50, 100))}, Keep, now + 101},
		"from now":                   {rec("h", "s"), 0, []Operation{set(RuleTTLFromNow, 7, ttl(0, 0))}, SetExpires, now + 7},
		"from the expiry":            {rec("h", "s"), now + 5, []Operation{set(RuleTTLFromExpiry, 7, hash(MatchPrefix, "h"))}, SetExpires, now + 12},
		"from no expiry":             {rec("h", "s"), 0, []Operation{set(RuleTTLFromExpiry, 7, hash(MatchPrefix, "h"))}, Keep, 0},
		"timestamp":                  {rec("h", "s"), 0, []Operation{set(RuleTTLTimestamp, EpochOffset+now+9, hash(MatchPrefix, "h"))}, SetExpires, now + 9},
		"timestamp, gone":            {rec("h", "s"), 0, []Operation{set(RuleTTLTimestamp, EpochOffset+now, hash(MatchPrefix, "h"))}, Drop, 0},
		"one after the other":        {rec("h", "s"), 0, []Operation{set(RuleTTLFromNow, 10, ttl(0, 0)), del(ttl(10, 10))}, Drop, 0},
		"expired meanwhile":          {rec("h", "s"), 1, []Operation{set(RuleTTLFromNow, 10, hash(MatchPrefix, "h"))}, SetExpires, now + 10},
		"a key that is none of ours": {[]byte{0, 9, 'x'}, 0, []Operation{del(ttl(0, 0))}, Keep, 0},
	} {
		o := TableOptions{PartitionVersion: -1, Rules: &Rules{Operations: c.ops}}
		verdict, left := Filter(o, DataV1, now, c.key, AppendValueHeader(nil, c.expire, 1))
		if verdict != c.verdict || verdict == SetExpires && left != c.left {
			t.Errorf("%s: verdict %d, expiry %d; want %d, %d", name, verdict, left, c.verdict, c.left)
		}
	}
}
