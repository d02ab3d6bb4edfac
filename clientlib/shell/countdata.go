package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/clientlib/shell/sweep"
	"pegasus/netcore/proto"
)

// countFlags are the options of count_data beyond those of all whole-table commands.
type countFlags struct {
	precise, distinct, sizes bool
	top                      int
	runSeconds               int64
}

func (s *Shell) countDataCommand() *cobra.Command {
	var w wholeFlags
	var k countFlags
	cmd := s.command(groupWhole, "count_data", "count the records of a table; without --precise, the servers' estimate",
		func(c *call, _ []string) error {
			needsRows := k.distinct || k.sizes || k.top > 0
			filtered := w.hash.kind != "" || w.sort.kind != "" || w.value.kind != ""
			if !k.precise && !needsRows && !filtered {
				return c.estimate(w.partition)
			}
			return c.countData(&w, &k, needsRows)
		})
	f := cmd.Flags()
	f.BoolVarP(&k.precise, "precise", "c", false, "read all of it")
	f.BoolVarP(&k.distinct, "diff_hash_key", "d", false, "count hash keys too")
	f.BoolVarP(&k.sizes, "stat_size", "a", false, "sizes of keys and values")
	f.IntVarP(&k.top, "top_count", "n", 0, "show the largest records, so many")
	f.Int64VarP(&k.runSeconds, "run_seconds", "r", 0, "stop after so many seconds, 0 for never")
	w.batchFlag(cmd)
	w.add(cmd)
	return cmd
}

// estimate adds up what the stores of the primaries think they hold.
func (c *call) estimate(partition int) error {
	if c.table == "" {
		return usageError{errNoTable}
	}
	counts, err := c.estimates()
	if err != nil {
		return fmt.Errorf("%w; --precise counts by reading", err)
	}
	var d report.Doc
	t := d.Table("partitions", "pidx", "estimated_count")
	total := int64(0)
	for i, n := range counts {
		if partition >= 0 && partition != i {
			continue
		}
		total += n
		t.Row(i, n)
	}
	d.Fields("summary").Set("estimated_count", total)
	return c.print(&d)
}

// estimates are the numbers of records that the stores of the primaries of the table in use think they hold, by partition.
func (c *call) estimates() ([]int64, error) {
	var cfg *proto.QueryCfgResponse
	err := c.ask(func(ctx context.Context, a admin.Admin) (err error) {
		cfg, err = a.Client().QueryConfig(ctx, c.table)
		return err
	})
	if err != nil {
		return nil, err
	}
	held := map[string]*holdings{}
	tally(held, cfg)
	r, err := c.readTwice(sortedKeys(held), []string{"rdb_estimated_keys"}, false, 0)
	if err != nil {
		return nil, err
	}
	byPart := r.sum(func(address string, e *entity) string {
		app, part, ok := tableOf(e)
		if !ok {
			return ""
		}
		for i := range cfg.Partitions {
			p := &cfg.Partitions[i]
			if p.PID.String() == app+"."+part && primaryOf(p) == address {
				return part
			}
		}
		return ""
	})
	counts := make([]int64, len(cfg.Partitions))
	for i := range counts {
		counts[i] = int64(byPart[fmt.Sprint(i)]["rdb_estimated_keys"][1])
	}
	return counts, nil
}

// large is a record among the largest.
type large struct {
	size          int
	hash, sort    string
	keyLen, value int
}

// tallyRows is what a count finds out about one partition.
type tallyRows struct {
	rows, hashKeys int64
	lastHash       string
	hash, sort     sizeStat
	value, row     sizeStat
	top            []large
}

// sizeStat are the sizes of one part of records.
type sizeStat struct{ sum, max int64 }

func (s *sizeStat) add(n int) {
	s.sum += int64(n)
	s.max = max(s.max, int64(n))
}

func (s *sizeStat) merge(o sizeStat) {
	s.sum += o.sum
	s.max = max(s.max, o.max)
}

func (y *tallyRows) take(c *call, rows []*clientlib.Record, k *countFlags) {
	for i, r := range rows {
		// Records of one hash key are neighbours.
		if string(r.HashKey) != y.lastHash || y.rows == 0 && i == 0 {
			y.hashKeys++
			y.lastHash = string(r.HashKey)
		}
		size := len(r.HashKey) + len(r.SortKey) + len(r.Value)
		y.hash.add(len(r.HashKey))
		y.sort.add(len(r.SortKey))
		y.value.add(len(r.Value))
		y.row.add(size)
		if k.top > 0 && (len(y.top) < k.top || size > y.top[len(y.top)-1].size) {
			y.top = append(y.top, large{size, c.shown(hashKey, r.HashKey), c.shown(sortKey, r.SortKey), len(r.HashKey) + len(r.SortKey), len(r.Value)})
			slices.SortStableFunc(y.top, func(a, b large) int { return b.size - a.size })
			y.top = y.top[:min(len(y.top), k.top)]
		}
	}
}

// maxTop bounds --top_count, of which each partition keeps as many.
const maxTop = 10000

func (c *call) countData(w *wholeFlags, k *countFlags, needsRows bool) error {
	if k.top > maxTop {
		return usagef("top_count %d: want at most %d", k.top, maxTop)
	}
	t, r, parts, release, err := w.begin(c)
	if err != nil {
		return err
	}
	defer release()
	r.NoValue = !k.sizes && k.top == 0
	ctx := c.ctx
	if k.runSeconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(k.runSeconds)*time.Second)
		defer cancel()
	}
	var mu sync.Mutex // for complete; each partition's tally has one writer
	found := make([]tallyRows, t.Partitions())
	complete := make([]bool, t.Partitions())
	bar := c.bar("counting", parts, &r, false)
	done := func(part int) {
		mu.Lock()
		complete[part] = true
		mu.Unlock()
		bar.Part()
	}
	if !needsRows && r.Countable() {
		err = sweep.Count(ctx, t, r, parts, w.parallel, func(part, n int) {
			found[part].rows += int64(n)
			bar.Items(n)
		}, done)
	} else {
		err = sweep.Table(ctx, t, r, parts, w.parallel, func(part int, rows []*clientlib.Record) error {
			found[part].take(c, rows, k)
			found[part].rows += int64(len(rows))
			bar.Items(len(rows))
			return nil
		}, done)
	}
	bar.Stop()
	if errors.Is(err, context.DeadlineExceeded) && k.runSeconds > 0 && c.ctx.Err() == nil {
		err = nil // the time that was asked for is over
	}
	return errors.Join(c.printCount(parts, found, complete, k, bar.Elapsed()), err)
}

func (c *call) printCount(parts []int, found []tallyRows, complete []bool, k *countFlags, took time.Duration) error {
	var d report.Doc
	heads := []string{"pidx", "count"}
	if k.distinct {
		heads = append(heads, "hash_keys")
	}
	heads = append(heads, "complete")
	t := d.Table("partitions", heads...)
	var sum tallyRows
	whole := true
	for _, p := range parts {
		f := &found[p]
		row := []any{p, f.rows}
		if k.distinct {
			row = append(row, f.hashKeys)
		}
		t.Row(append(row, complete[p])...)
		whole = whole && complete[p]
		sum.rows += f.rows
		sum.hashKeys += f.hashKeys
		sum.hash.merge(f.hash)
		sum.sort.merge(f.sort)
		sum.value.merge(f.value)
		sum.row.merge(f.row)
		sum.top = append(sum.top, f.top...)
	}
	s := d.Fields("summary").Set("count", sum.rows)
	if k.distinct {
		s.Set("hash_key_count", sum.hashKeys)
	}
	s.Set("complete", whole).Set("seconds", took.Seconds())
	if k.sizes {
		sizes := d.Table("sizes", "part", "total_bytes", "average", "max")
		for _, x := range []struct {
			name string
			stat sizeStat
		}{{"hash_key", sum.hash}, {"sort_key", sum.sort}, {"value", sum.value}, {"record", sum.row}} {
			sizes.Row(x.name, x.stat.sum, float64(x.stat.sum)/float64(max(sum.rows, 1)), x.stat.max)
		}
	}
	if k.top > 0 {
		slices.SortStableFunc(sum.top, func(a, b large) int { return b.size - a.size })
		top := d.Table("largest", "hash_key", "sort_key", "key_bytes", "value_bytes")
		for _, l := range sum.top[:min(len(sum.top), k.top)] {
			top.Row(l.hash, l.sort, l.keyLen, l.value)
		}
	}
	return c.print(&d)
}
