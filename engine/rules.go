package engine

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Compaction rules are what a table's owner wants done with records while a compaction rewrites them (app env
// user_specified_compaction, spec admin 10). An operation acts on the records that all of its rules match; operations act one
// after the other, each on what the one before has left.

// RuleOp is what an operation does.
type RuleOp uint8

// The operations. Numbers are part of the encoding that the shim reads.
const (
	RuleDelete        RuleOp = 0 // drop the record
	RuleTTLFromNow    RuleOp = 1 // expire Value seconds from now
	RuleTTLFromExpiry RuleOp = 2 // expire Value seconds later than now said; a record without an expiry is left alone
	RuleTTLTimestamp  RuleOp = 3 // expire at unix time Value
)

// RuleKind is what a rule looks at.
type RuleKind uint8

// The kinds of rules. Numbers are part of the encoding that the shim reads.
const (
	RuleHashKey RuleKind = 0 // the hash key, by Match and Pattern
	RuleSortKey RuleKind = 1 // the sort key, by Match and Pattern
	RuleTTL     RuleKind = 2 // the seconds left, from Start to Stop; 0 to 0 is also a record without an expiry
)

// RuleMatch is how a pattern matches a key. An empty pattern matches nothing.
type RuleMatch uint8

// The matches. Numbers are part of the encoding that the shim reads.
const (
	MatchAnywhere RuleMatch = 0
	MatchPrefix   RuleMatch = 1
	MatchPostfix  RuleMatch = 2
)

// Rule is one condition.
type Rule struct {
	Kind        RuleKind
	Match       RuleMatch
	Pattern     []byte
	Start, Stop uint32 // seconds
}

// Operation acts on the records that all of Rules match; without rules on none.
type Operation struct {
	Op    RuleOp
	Value uint32 // seconds
	Rules []Rule
}

// Rules are the operations of a table. They are immutable once given to a store; nil means none.
type Rules struct{ Operations []Operation }

// apply runs the operations on a record. drop means that one of them deletes it.
func (r *Rules) apply(now, expire uint32, key []byte) (left uint32, changed, drop bool) {
	hashKey, sortKey, ok := SplitKey(key)
	if !ok {
		return expire, false, false
	}
	for i := range r.Operations {
		o := &r.Operations[i]
		if !o.matches(now, expire, hashKey, sortKey) {
			continue
		}
		switch {
		case o.Op == RuleDelete:
			return expire, changed, true
		case o.Op == RuleTTLFromNow:
			expire, changed = now+o.Value, true
		case o.Op == RuleTTLFromExpiry && expire != 0:
			expire, changed = expire+o.Value, true
		case o.Op == RuleTTLTimestamp:
			expire, changed = o.Value-uint32(EpochOffset), true
		}
	}
	return expire, changed, false
}

func (o *Operation) matches(now, expire uint32, hashKey, sortKey []byte) bool {
	for i := range o.Rules {
		r := &o.Rules[i]
		ok := false
		switch r.Kind {
		case RuleHashKey:
			ok = r.matchesKey(hashKey)
		case RuleSortKey:
			ok = r.matchesKey(sortKey)
		case RuleTTL:
			ok = expire == 0 && r.Start == 0 && r.Stop == 0 || expire >= now+r.Start && expire <= now+r.Stop
		}
		if !ok {
			return false
		}
	}
	return len(o.Rules) > 0
}

func (r *Rule) matchesKey(key []byte) bool {
	switch {
	case len(r.Pattern) == 0:
		return false
	case r.Match == MatchPrefix:
		return bytes.HasPrefix(key, r.Pattern)
	case r.Match == MatchPostfix:
		return bytes.HasSuffix(key, r.Pattern)
	default:
		return bytes.Contains(key, r.Pattern)
	}
}

// AppendBinary appends the rules in the form that a store in another language reads, little endian: u32 operations; of each u8 op,
// u32 value, u32 rules; of each u8 kind, u8 match, u32 start, u32 stop, u32 length of the pattern, pattern. nil gives nothing.
func (r *Rules) AppendBinary(dst []byte) []byte {
	if r == nil {
		return dst
	}
	u32 := func(v int) { dst = binary.LittleEndian.AppendUint32(dst, uint32(min(v, math.MaxUint32))) }
	u32(len(r.Operations))
	for i := range r.Operations {
		o := &r.Operations[i]
		dst = append(dst, byte(o.Op))
		u32(int(o.Value))
		u32(len(o.Rules))
		for j := range o.Rules {
			rule := &o.Rules[j]
			dst = append(dst, byte(rule.Kind), byte(rule.Match))
			u32(int(rule.Start))
			u32(int(rule.Stop))
			u32(len(rule.Pattern))
			dst = append(dst, rule.Pattern...)
		}
	}
	return dst
}
