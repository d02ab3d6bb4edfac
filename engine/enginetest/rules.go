package enginetest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pegasus/engine"
)

// ruleSets are the rules of Compaction rules that a store is held to: each kind alone, and random ones.
func ruleSets(r *rand.Rand) []*engine.Rules {
	hash := func(m engine.RuleMatch, p string) engine.Rule {
		return engine.Rule{Kind: engine.RuleHashKey, Match: m, Pattern: []byte(p)}
	}
	ttl := func(start, stop uint32) engine.Rule {
		return engine.Rule{Kind: engine.RuleTTL, Start: start, Stop: stop}
	}
	one := func(op engine.RuleOp, value uint32, rules ...engine.Rule) *engine.Rules {
		return &engine.Rules{Operations: []engine.Operation{{Op: op, Value: value, Rules: rules}}}
	}
	sets := []*engine.Rules{
		one(engine.RuleDelete, 0), // no rules: nothing matches
		one(engine.RuleDelete, 0, hash(engine.MatchPrefix, "ab")),
		one(engine.RuleDelete, 0, hash(engine.MatchPostfix, "ab"), engine.Rule{Kind: engine.RuleSortKey, Match: engine.MatchAnywhere, Pattern: []byte("\x00")}),
		one(engine.RuleDelete, 0, ttl(0, 0)),
		one(engine.RuleTTLFromNow, 5000, hash(engine.MatchAnywhere, "b")),
		one(engine.RuleTTLFromExpiry, 100, ttl(0, 1<<31)),
		one(engine.RuleTTLTimestamp, engine.EpochOffset, hash(engine.MatchPrefix, "a")),       // ends their expiry
		one(engine.RuleTTLTimestamp, engine.EpochOffset+1<<31, hash(engine.MatchPrefix, "a")), // far away
		one(engine.RuleDelete, 0, hash(engine.MatchPrefix, "")),
	}
	for range 10 {
		rules := &engine.Rules{}
		for range 1 + r.IntN(3) {
			o := engine.Operation{Op: engine.RuleOp(r.IntN(4)), Value: uint32(engine.EpochOffset + 1<<30 + r.IntN(1000)*3600)}
			for range r.IntN(3) {
				rule := engine.Rule{
					Kind: engine.RuleKind(r.IntN(3)), Match: engine.RuleMatch(r.IntN(3)),
					Pattern: []byte([]string{"", "a", "b", "ab", "\x00", "abab"}[r.IntN(6)]),
				}
				if r.IntN(2) == 0 {
					rule.Stop = uint32(r.IntN(1 << 30))
				}
				o.Rules = append(o.Rules, rule)
			}
			rules.Operations = append(rules.Operations, o)
		}
		sets = append(sets, rules)
	}
	return sets
}

// testRules compacts records under sets of rules and compares what is left with engine.Filter. The store's clock is the system's,
// so expiries that count from now may differ by the seconds that the test takes.
func testRules(t *testing.T, open Opener) {
	const slack = 60
	keys := [][]byte{{}, {7}, {0xff, 0xff, 0xff}}
	for _, h := range []string{"", "a", "b", "ab", "ba", "abab", "a\x00b", "\xff"} {
		for _, s := range []string{"", "a", "\x00", "xab"} {
			keys = append(keys, key(h, s))
		}
	}
	for i, rules := range ruleSets(rand.New(rand.NewPCG(1, 2))) {
		for _, ttl := range []uint32{0, 100000} {
			s := fresh(t, open)
			start := uint32(time.Now().Unix() - engine.EpochOffset)
			stored := map[string][]byte{}
			var b engine.BatchBuilder
			for _, k := range keys {
				for j, expire := range []uint32{0, 1, start + 10000, start + 200000, 1 << 31} {
					k := k
					if len(k) > 2 {
						k = append(append([]byte{}, k...), fmt.Sprint(j)...)
					} else if j != i%5 {
						continue
					}
					b.Put(k, expire, 42, []byte("user"))
					stored[string(k)] = append(engine.AppendValueHeader(nil, expire, 42), "user"...)
				}
			}
			apply(t, s, 1, b.Bytes())
			o := engine.TableOptions{DefaultTTL: ttl, PartitionVersion: -1, Rules: rules}
			s.SetTableOptions(o)
			if err := s.Compact(engine.CompactOptions{}); err != nil {
				t.Fatal(err)
			}
			for k, raw := range stored {
				verdict, expire := engine.Filter(o, engine.DataV1, start, []byte(k), raw)
				if v, err := engine.ParseValue(engine.DataV1, raw); err == nil && verdict == engine.Keep {
					expire = v.Expire
				}
				var b engine.GetBatch
				b.Add([]byte(k))
				s.MultiGet(&b, engine.TierAll)
				if found := b.Outcome(0) == engine.Found; found == (verdict == engine.Drop) {
					t.Fatalf("set %d, ttl %d: %q found %v, the verdict is %d", i, ttl, k, found, verdict)
				} else if !found {
					continue
				}
				v, err := engine.ParseValue(engine.DataV1, b.Value(0))
				if err != nil || string(v.User) != "user" || v.Timetag != 42 || v.Expire-expire > slack {
					t.Fatalf("set %d, ttl %d: %q has expiry %d, want %d; %v", i, ttl, k, v.Expire, expire, err)
				}
			}
			// Without rules nothing happens any more.
			s.SetTableOptions(engine.TableOptions{PartitionVersion: -1})
			apply(t, s, 2, batch(key("abab", "a"), []byte("v")))
			if err := s.Compact(engine.CompactOptions{SkipBottommost: true}); err != nil {
				t.Fatal(err)
			}
			wantGet(t, s, key("abab", "a"), "v")
			closeStore(t, s)
		}
	}
}

// testTune changes the settings of an open store, and what it holds stays.
func testTune(t *testing.T, open Opener) {
	s := fresh(t, open)
	k := key("h", "a")
	for i, tuning := range []engine.Tuning{
		{Scenario: "prefer_write"}, {Scenario: "bulk_load", WriteBufferBytes: 16 << 20}, {Scenario: "normal"}, {},
	} {
		if err := s.Tune(tuning); err != nil {
			t.Fatalf("%+v: %v", tuning, err)
		}
		if tuning.Scenario != "" && s.Tuning().Scenario != tuning.Scenario {
			t.Fatalf("told %+v, has %+v", tuning, s.Tuning())
		}
		want := fmt.Sprint("v", i)
		apply(t, s, s.AppliedDecree()+1, batch(k, []byte(want)))
		wantGet(t, s, k, want)
	}
	s.SetTableOptions(engine.TableOptions{PartitionVersion: -1, NoFillCache: true})
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	wantGet(t, s, k, "v3")
	closeStore(t, s)
}
