// Package compat replays the recorded traffic of Apache Pegasus against a cluster of ours and compares every answer. It
// holds tests only. What is not expected to agree yet is listed in skip_test.go, and nowhere else.
package compat

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pegasus/netcore/proto/golden"
)

// parallelChains is how many chains of cases run at a time: they mostly wait.
const parallelChains = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallelChains); err != nil {
		panic("BUG: " + err.Error())
	}
	os.Exit(m.Run())
}

// tally counts steps over all cases.
type tally struct {
	mu                      sync.Mutex
	passed, failed, skipped int
	surprising              []string // skipped steps that pass
}

// TestGolden replays every recording.
func TestGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	cases, err := golden.Load()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, openCluster(t))
	makeTables(t, w)
	makeNeighbours(t, w)
	var sum tally
	var lonely [][]*golden.Case
	t.Run("cases", func(t *testing.T) {
		for _, chain := range chains(cases) {
			if slices.Contains(alone, chain[0].Name) {
				lonely = append(lonely, chain)
				continue
			}
			t.Run(chain[0].String(), func(t *testing.T) {
				t.Parallel()
				for _, c := range chain {
					runCase(t, w, c, &sum)
				}
			})
		}
	})
	for _, chain := range lonely {
		t.Run(chain[0].String(), func(t *testing.T) {
			for _, c := range chain {
				runCase(t, w, c, &sum)
			}
		})
	}
	t.Logf("%d steps agree, %d do not, %d are skipped", sum.passed, sum.failed, sum.skipped)
	slices.Sort(sum.surprising)
	for _, line := range sum.surprising {
		t.Errorf("skipped, and agrees all the same: %s; shorten the list", line)
	}
}

// alone are the cases that change what holds for the whole cluster; they come when the others have ended.
var alone = []string{"control_meta", "remote_command"}

// chains groups the cases that share a table, in recorded order: a scan of a whole table sees what other cases wrote.
// Cases of different chains are independent. Those that run alone are chains of their own.
func chains(cases []golden.Case) [][]*golden.Case {
	var out [][]*golden.Case
	ofTable := map[string]int{}
	for i := range cases {
		c := &cases[i]
		tables := c.Tables()
		if len(tables) > 0 && !slices.Contains(alone, c.Name) {
			if at, ok := ofTable[tables[0]]; ok {
				out[at] = append(out[at], c)
				continue
			}
			ofTable[tables[0]] = len(out)
		}
		out = append(out, []*golden.Case{c})
	}
	return out
}

func runCase(t *testing.T, w *world, c *golden.Case, sum *tally) {
	r := newReplay(w)
	defer r.close()
	for i := 0; i < len(c.Steps); {
		group := []*golden.Step{adjusted(&c.Steps[i])}
		for i++; i < len(c.Steps) && group[0].Group != "" && c.Steps[i].Group == group[0].Group; i++ {
			group = append(group, adjusted(&c.Steps[i]))
		}
		skip := skipOf(group[0])
		if skip != nil {
			group[0].RetryUntil, group[0].SleepMS = nil, 0
			if skip.hold {
				sum.add(group, skip, nil)
				continue
			}
		}
		diffs, err := r.run(group)
		if err != nil {
			diffs = make([][]string, len(group))
			for k := range diffs {
				diffs[k] = []string{err.Error()}
			}
		}
		sum.add(group, skip, diffs)
		for k, s := range group {
			if skip == nil && len(diffs[k]) > 0 {
				t.Errorf("%s (%s)\n\t%s", s, s.Note, strings.Join(diffs[k], "\n\t"))
			}
		}
	}
}

// add counts a group. diffs is nil when it was not sent.
func (sum *tally) add(group []*golden.Step, skip *skip, diffs [][]string) {
	sum.mu.Lock()
	defer sum.mu.Unlock()
	for k, s := range group {
		switch {
		case skip != nil && diffs != nil && len(diffs[k]) == 0:
			sum.surprising = append(sum.surprising, fmt.Sprintf("%s (%s)", s, skip.why))
			sum.skipped++
		case skip != nil:
			sum.skipped++
		case len(diffs[k]) == 0:
			sum.passed++
		default:
			sum.failed++
		}
	}
}

// Every rule matches a step, and says why.
func TestRulesAreAlive(t *testing.T) {
	cases, err := golden.Load()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]int{}
	for i := range cases {
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			for k := range skips {
				if skipOf(s) == &skips[k] {
					used[fmt.Sprint("skip ", k)]++
				}
			}
			for k := range adjustments {
				if adjustments[k].matches(s) && skipOf(s) == nil {
					used[fmt.Sprint("adjustment ", k)]++
				}
			}
		}
	}
	for k := range skips {
		if used[fmt.Sprint("skip ", k)] == 0 || skips[k].why == "" {
			t.Errorf("skip %d (%s) decides over no step", k, skips[k].why)
		}
	}
	for k := range adjustments {
		if used[fmt.Sprint("adjustment ", k)] == 0 || adjustments[k].why == "" {
			t.Errorf("adjustment %d (%s) decides over no step", k, adjustments[k].why)
		}
	}
}
