package shell

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/netcore/proto"
)

// envCompaction is the environment variable that holds the rules by which compactions remove or age records (spec admin 10).
const envCompaction = "user_specified_compaction"

// compactionRules is its value. Parameters are JSON in a string, as Apache Pegasus has it.
type compactionRules struct {
	Ops []compactionOp `json:"ops"`
}

type compactionOp struct {
	Type   string           `json:"type"`
	Params string           `json:"params"`
	Rules  []compactionRule `json:"rules"`
}

type compactionRule struct {
	Type   string `json:"type"`
	Params string `json:"params"`
}

// compactionFlags are the options of add_compaction_operation, those of admin-cli.
type compactionFlags struct {
	operation, updateType               string
	hashPattern, hashMatch              string
	sortPattern, sortMatch              string
	expire, startTTL, stopTTL           int64
	hasHash, hasSort, hasStart, hasStop bool
}

func (s *Shell) addCompactionCommand() *cobra.Command {
	var k compactionFlags
	cmd := s.command(groupTables, "add_compaction_operation", "have compactions of the table in use remove or age records",
		func(c *call, _ []string) error {
			f := c.cmd.Flags()
			k.hasHash, k.hasSort = f.Changed("hashkey-pattern"), f.Changed("sortkey-pattern")
			k.hasStart, k.hasStop = f.Changed("start-ttl"), f.Changed("stop-ttl")
			op, err := k.op()
			if err != nil {
				return err
			}
			return c.addCompaction(op)
		})
	f := cmd.Flags()
	f.StringVarP(&k.operation, "operation-type", "o", "", "delete or update-ttl")
	f.StringVarP(&k.updateType, "update-ttl-type", "u", "from_now", "from_now, from_current or timestamp")
	f.Int64VarP(&k.expire, "expire-timestamp", "v", 0, "seconds, or the unix time, of update-ttl")
	f.StringVar(&k.hashPattern, "hashkey-pattern", "", "records whose hash key matches")
	f.StringVar(&k.hashMatch, "hashkey-match", "anywhere", "anywhere, prefix or postfix")
	f.StringVar(&k.sortPattern, "sortkey-pattern", "", "records whose sort key matches")
	f.StringVar(&k.sortMatch, "sortkey-match", "anywhere", "anywhere, prefix or postfix")
	f.Int64Var(&k.startTTL, "start-ttl", 0, "records that live at least so many seconds more")
	f.Int64Var(&k.stopTTL, "stop-ttl", 0, "records that live at most so many seconds more")
	needs(cmd, "operation-type")
	flagWords(cmd, "operation-type", choice("delete", "update-ttl"))
	flagWords(cmd, "update-ttl-type", choice("from_now", "from_current", "timestamp"))
	flagWords(cmd, "hashkey-match", choice("anywhere", "prefix", "postfix"))
	flagWords(cmd, "sortkey-match", choice("anywhere", "prefix", "postfix"))
	return note(cmd, noteDanger)
}

// params writes a value as the JSON text that a string of the rules holds.
func params(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return string(b)
}

func (k *compactionFlags) op() (op compactionOp, err error) {
	switch k.operation {
	case "delete":
		op.Type = "COT_DELETE"
	case "update-ttl":
		types := map[string]string{"from_now": "UTOT_FROM_NOW", "from_current": "UTOT_FROM_CURRENT", "timestamp": "UTOT_TIMESTAMP"}
		name, ok := types[k.updateType]
		if !ok {
			return op, usagef("update-ttl-type %q: want from_now, from_current or timestamp", k.updateType)
		}
		op.Type, op.Params = "COT_UPDATE_TTL", params(map[string]any{"type": name, "value": k.expire})
	default:
		return op, usagef("operation-type %q: want delete or update-ttl", k.operation)
	}
	for _, p := range []struct {
		on                   bool
		kind, pattern, match string
	}{{k.hasHash, "FRT_HASHKEY_PATTERN", k.hashPattern, k.hashMatch}, {k.hasSort, "FRT_SORTKEY_PATTERN", k.sortPattern, k.sortMatch}} {
		if !p.on {
			continue
		}
		if p.match != "anywhere" && p.match != "prefix" && p.match != "postfix" {
			return op, usagef("match %q: want anywhere, prefix or postfix", p.match)
		}
		op.Rules = append(op.Rules, compactionRule{p.kind, params(map[string]any{
			"pattern": p.pattern, "match_type": "SMT_MATCH_" + strings.ToUpper(p.match)})})
	}
	if k.hasStart || k.hasStop {
		if k.startTTL < 0 || k.stopTTL < k.startTTL {
			return op, usagef("start-ttl %d, stop-ttl %d: want 0 or more, the first not above the second", k.startTTL, k.stopTTL)
		}
		op.Rules = append(op.Rules, compactionRule{"FRT_TTL_RANGE", params(map[string]any{"start_ttl": k.startTTL, "stop_ttl": k.stopTTL})})
	}
	if len(op.Rules) == 0 {
		return op, usagef("no rule: give --hashkey-pattern, --sortkey-pattern, --start-ttl or --stop-ttl")
	}
	return op, nil
}

// addCompaction appends an operation to those that the table has.
func (c *call) addCompaction(op compactionOp) error {
	if c.table == "" {
		return usageError{errNoTable}
	}
	if err := c.confirm("Compactions of table " + c.table + " will change records of its users."); err != nil {
		return err
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		tables, err := a.ListTables(ctx, proto.AppAvailable, c.table, proto.PMTMatchExact)
		if err != nil {
			return err
		}
		var rules compactionRules
		found := false
		for i := range tables {
			if tables[i].AppName != c.table {
				continue
			}
			found = true
			if old := tables[i].Envs[envCompaction]; old != "" {
				if err := json.Unmarshal([]byte(old), &rules); err != nil {
					return fmt.Errorf("the rules that table %s has cannot be read: %w", c.table, err)
				}
			}
		}
		if !found {
			return fmt.Errorf("there is no table %s", c.table)
		}
		rules.Ops = append(rules.Ops, op)
		text := params(rules)
		if err := a.SetEnvs(ctx, c.table, map[string]string{envCompaction: text}); err != nil {
			return err
		}
		return c.out.Object("table "+c.table+" has "+strconv.Itoa(len(rules.Ops))+" operations: "+text, "operations", len(rules.Ops), envCompaction, text)
	})
}
