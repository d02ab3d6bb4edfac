package shell

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/report"
)

func (s *Shell) dataCommands() []*cobra.Command {
	return []*cobra.Command{
		note(s.command(groupData, "get <hash_key> <sort_key>", "the value of a record", (*call).get), noteNoDash),
		note(s.command(groupData, "set <hash_key> <sort_key> <value> [ttl_in_seconds]", "write a record", (*call).set), noteNoDash),
		note(s.command(groupData, "del <hash_key> <sort_key>", "remove a record", (*call).del), noteNoDash),
		note(s.command(groupData, "exist <hash_key> <sort_key>", "whether there is a record; exit code 3 if not", (*call).exist), noteNoDash),
		note(s.command(groupData, "ttl <hash_key> <sort_key>", "how long a record has to live", (*call).ttl), noteNoDash),
		note(s.command(groupData, "incr <hash_key> <sort_key> [increment]", "add to a number", (*call).incr), noteNoDash),
		note(s.command(groupData, "count <hash_key>", "how many records a hash key has", (*call).count), noteNoDash),
		note(s.command(groupData, "multi_set <hash_key> <sort_key> <value> [sort_key value...]", "write records of one hash key at once", (*call).multiSet), noteNoDash),
		note(s.command(groupData, "multi_get <hash_key> [sort_key...]", "records of one hash key; all without a sort key", (*call).multiGet), noteNoDash),
		note(s.command(groupData, "multi_get_sortkeys <hash_key>", "the sort keys of a hash key", (*call).sortKeys), noteNoDash),
		note(s.command(groupData, "multi_del <hash_key> <sort_key> [sort_key...]", "remove records of one hash key at once", (*call).multiDel), noteNoDash),
	}
}

// record reads the first two arguments as a key.
func (c *call) record(args []string) (h, k []byte, err error) {
	b, err := c.allBytes(args[:2], 1, hashKey, sortKey)
	if err != nil {
		return nil, nil, err
	}
	return b[0], b[1], nil
}

func (c *call) get(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		v, err := t.Get(ctx, h, k)
		if err != nil {
			return err
		}
		if v == nil {
			return errNotFound
		}
		return c.out.Object(c.quoted(value, v), "value", c.shown(value, v))
	})
}

func (c *call) set(args []string) error {
	b, err := c.allBytes(args[:3], 1, hashKey, sortKey, value)
	if err != nil {
		return err
	}
	ttl := time.Duration(0)
	if len(args) > 3 {
		if ttl, err = seconds(args[3]); err != nil {
			return err
		}
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		if err := t.SetTTL(ctx, b[0], b[1], b[2], ttl); err != nil {
			return err
		}
		return c.done("OK")
	})
}

func seconds(arg string) (time.Duration, error) {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return 0, usagef("ttl %q: want seconds", arg)
	}
	return time.Duration(n) * time.Second, nil
}

func (c *call) del(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		if err := t.Del(ctx, h, k); err != nil {
			return err
		}
		return c.done("OK")
	})
}

func (c *call) exist(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		there, err := t.Exist(ctx, h, k)
		if err != nil {
			return err
		}
		if err := c.out.Object(strconv.FormatBool(there), "exist", there); err != nil || there {
			return err
		}
		return quietError{errNotFound}
	})
}

func (c *call) ttl(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		ttl, err := t.TTL(ctx, h, k)
		switch {
		case err != nil:
			return err
		case ttl == clientlib.NotFound:
			return errNotFound
		case ttl == clientlib.NoTTL:
			return c.out.Object("no ttl", "ttl_seconds", nil)
		}
		return c.out.Object(fmt.Sprintf("%d seconds", ttl), "ttl_seconds", ttl)
	})
}

func (c *call) incr(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	by := int64(1)
	if len(args) > 2 {
		if by, err = strconv.ParseInt(args[2], 10, 64); err != nil {
			return usagef("increment %q: want a whole number of 64 bits", args[2])
		}
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		n, err := t.Incr(ctx, h, k, by)
		if err != nil {
			return err
		}
		return c.out.Object(strconv.FormatInt(n, 10), "value", n)
	})
}

func (c *call) count(args []string) error {
	h, err := c.bytes(hashKey, args[0])
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		n, err := t.SortKeyCount(ctx, h)
		switch {
		case err != nil:
			return err
		case n < 0:
			return errors.New("the server gave up counting; use count_data with a hash key filter")
		}
		return c.out.Object(strconv.FormatInt(n, 10), "count", n)
	})
}

func (c *call) multiSet(args []string) error {
	if len(args)%2 == 0 {
		return usagef("sort key %q has no value", args[len(args)-1])
	}
	b, err := c.allBytes(args, 2, hashKey, sortKey, value)
	if err != nil {
		return err
	}
	var sortKeys, values [][]byte
	for i := 1; i < len(b); i += 2 {
		sortKeys, values = append(sortKeys, b[i]), append(values, b[i+1])
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		if err := t.MultiSet(ctx, b[0], sortKeys, values); err != nil {
			return err
		}
		return c.done("OK, %s", counted(len(sortKeys)))
	})
}

func (c *call) multiGet(args []string) error {
	b, err := c.allBytes(args, 1, hashKey, sortKey)
	if err != nil {
		return err
	}
	return c.rangeGet(&rangeRead{hashKey: b[0], sortKeys: b[1:], limit: -1})
}

func (c *call) sortKeys(args []string) error {
	h, err := c.bytes(hashKey, args[0])
	if err != nil {
		return err
	}
	return c.rangeGet(&rangeRead{hashKey: h, limit: -1, o: clientlib.MultiGetOptions{NoValue: true}})
}

// rangeRead is what is read of a hash key: some sort keys, or a range. A negative limit is none.
type rangeRead struct {
	hashKey     []byte
	sortKeys    [][]byte
	start, stop []byte
	o           clientlib.MultiGetOptions
	limit       int
}

// rangeGet prints records of one hash key. Where the server stops at a limit of its own it is asked on behind the last
// record, until there are no more or as many as wanted.
func (c *call) rangeGet(r *rangeRead) error {
	if len(r.start) == 0 {
		r.o.StartInclusive = true
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		var rows []*clientlib.KeyValue
		for {
			if r.limit >= 0 {
				r.o.MaxFetchCount = r.limit - len(rows)
			}
			batch, all, err := r.read(ctx, t)
			if err != nil {
				return err
			}
			// From the end or not, a batch is in ascending order.
			if r.o.Reverse {
				rows = append(batch, rows...)
			} else {
				rows = append(rows, batch...)
			}
			if all || len(r.sortKeys) > 0 || len(batch) == 0 || r.limit >= 0 && len(rows) >= r.limit {
				return c.printRows(rows, r.o.NoValue, !all)
			}
			if r.o.Reverse {
				r.stop, r.o.StopInclusive = batch[0].SortKey, false
			} else {
				r.start, r.o.StartInclusive = batch[len(batch)-1].SortKey, false
			}
		}
	})
}

func (r *rangeRead) read(ctx context.Context, t *clientlib.Table) ([]*clientlib.KeyValue, bool, error) {
	if len(r.sortKeys) > 0 {
		return t.MultiGetOpt(ctx, r.hashKey, r.sortKeys, &r.o)
	}
	return t.MultiGetRangeOpt(ctx, r.hashKey, r.start, r.stop, &r.o)
}

// printRows prints records of one hash key: `"sort" => "value"` for people.
func (c *call) printRows(rows []*clientlib.KeyValue, noValue, more bool) error {
	if c.out.JSON {
		var d report.Doc
		heads := []string{"sort_key", "value"}
		if noValue {
			heads = heads[:1]
		}
		t := d.Table("records", heads...)
		for _, r := range rows {
			if noValue {
				t.Row(c.shown(sortKey, r.SortKey))
			} else {
				t.Row(c.shown(sortKey, r.SortKey), c.shown(value, r.Value))
			}
		}
		d.Fields("summary").Set("count", len(rows)).Set("complete", !more)
		return c.print(&d)
	}
	for _, r := range rows {
		line := c.quoted(sortKey, r.SortKey)
		if !noValue {
			line += " => " + c.quoted(value, r.Value)
		}
		if err := c.out.Object(line); err != nil {
			return err
		}
	}
	end := "\n" + counted(len(rows))
	if more {
		end += ", and there are more"
	}
	return c.out.Object(end)
}

func (c *call) multiDel(args []string) error {
	b, err := c.allBytes(args, 1, hashKey, sortKey)
	if err != nil {
		return err
	}
	return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
		if err := t.MultiDel(ctx, b[0], b[1:]); err != nil {
			return err
		}
		return c.done("OK")
	})
}
