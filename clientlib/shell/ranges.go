package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/report"
	"pegasus/clientlib/shell/sweep"
)

// rangeCommands work on a range of the sort keys of one hash key.
func (s *Shell) rangeCommands() []*cobra.Command {
	return []*cobra.Command{s.rangeGetCommand(), s.rangeDelCommand(), s.hashScanCommand()}
}

// span is a range of sort keys with a filter, as its options say.
type span struct {
	startInclusive, stopInclusive string
	sort                          filterFlags
}

func (s *span) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.startInclusive, "start_inclusive", "a", "true", "whether start_sort_key belongs to the range")
	f.StringVarP(&s.stopInclusive, "stop_inclusive", "b", "false", "whether stop_sort_key does")
	flagWords(cmd, "start_inclusive", choice("true", "false"))
	flagWords(cmd, "stop_inclusive", choice("true", "false"))
}

// parse reads the two options.
func (s *span) parse() (start, stop bool, err error) {
	for _, x := range []struct {
		text string
		to   *bool
	}{{s.startInclusive, &start}, {s.stopInclusive, &stop}} {
		switch x.text {
		case "true":
			*x.to = true
		case "false":
		default:
			return false, false, usagef("%q: want true or false", x.text)
		}
	}
	return start, stop, nil
}

// filterFlags are the two options of a filter.
type filterFlags struct {
	kind, pattern string
	part          part
}

var matches = map[string]sweep.Match{
	"anywhere": sweep.Anywhere, "prefix": sweep.Prefix, "postfix": sweep.Postfix, "exact": sweep.Exact,
}

// add defines the options of a filter: what is "hash_key", "sort_key" or "value".
func (f *filterFlags) add(cmd *cobra.Command, what, kindLetter, patternLetter string, exact bool) {
	f.part = map[string]part{"hash_key": hashKey, "sort_key": sortKey, "value": value}[what]
	kinds := []string{"anywhere", "prefix", "postfix"}
	if exact {
		kinds = append(kinds, "exact")
	}
	cmd.Flags().StringVarP(&f.kind, what+"_filter_type", kindLetter, "", "only records whose "+strings.ReplaceAll(what, "_", " ")+
		" matches: "+strings.Join(kinds, ", "))
	cmd.Flags().StringVarP(&f.pattern, what+"_filter_pattern", patternLetter, "", "what it is compared with")
	flagWords(cmd, what+"_filter_type", choice(kinds...))
}

func (f *filterFlags) filter(c *call) (sweep.Filter, error) {
	if f.kind == "" {
		if f.pattern != "" {
			return sweep.Filter{}, usagef("filter pattern %q needs a filter type", f.pattern)
		}
		return sweep.Filter{}, nil
	}
	m, ok := matches[f.kind]
	if !ok {
		return sweep.Filter{}, usagef("filter type %q: want anywhere, prefix, postfix or exact", f.kind)
	}
	b, err := c.bytes(f.part, f.pattern)
	return sweep.Filter{Match: m, Pattern: b}, err
}

func (s *Shell) rangeGetCommand() *cobra.Command {
	var r span
	var most int
	var noValue, reverse bool
	cmd := s.command(groupData, "multi_get_range <hash_key> <start_sort_key> <stop_sort_key>", "a range of the records of a hash key",
		func(c *call, args []string) error {
			b, err := c.allBytes(args, 1, hashKey, sortKey)
			if err != nil {
				return err
			}
			read := rangeRead{hashKey: b[0], start: b[1], stop: b[2], limit: most}
			read.o = clientlib.MultiGetOptions{NoValue: noValue, Reverse: reverse}
			if read.o.StartInclusive, read.o.StopInclusive, err = r.parse(); err != nil {
				return err
			}
			f, err := r.sort.filter(c)
			if err != nil {
				return err
			}
			if f.Match == sweep.Exact {
				return usagef("multi_get_range knows no exact match; use get")
			}
			read.o.SortKeyFilter = f.Server()
			return c.rangeGet(&read)
		})
	r.flags(cmd)
	r.sort.add(cmd, "sort_key", "s", "y", false)
	f := cmd.Flags()
	f.IntVarP(&most, "max_count", "n", -1, "how many records, -1 for all")
	f.BoolVarP(&noValue, "no_value", "i", false, "sort keys only")
	f.BoolVarP(&reverse, "reverse", "r", false, "from the end")
	return cmd
}

// hashScan is the scan of a range of one hash key.
type hashScan struct {
	sweep.Request
	hashKey, start, stop          []byte
	startInclusive, stopInclusive bool
}

func (c *call) hashScan(args []string, r *span) (h hashScan, err error) {
	b, err := c.allBytes(args, 1, hashKey, sortKey)
	if err != nil {
		return h, err
	}
	h.hashKey, h.start, h.stop = b[0], b[1], b[2]
	if h.startInclusive, h.stopInclusive, err = r.parse(); err != nil {
		return h, err
	}
	h.SortKey, err = r.sort.filter(c)
	return h, err
}

func (h *hashScan) run(ctx context.Context, t *clientlib.Table, f func([]*clientlib.Record) error) error {
	o := h.Options()
	o.StartInclusive, o.StopInclusive = h.startInclusive, h.stopInclusive
	s, err := t.GetScanner(ctx, h.hashKey, h.start, h.stop, o)
	if err != nil {
		return err
	}
	return sweep.Scan(ctx, s, &h.Request, f)
}

// deleteBatch is how many sort keys go into one multi_del.
const deleteBatch = 100

func (s *Shell) rangeDelCommand() *cobra.Command {
	var r span
	var log string
	var silent bool
	cmd := s.command(groupData, "multi_del_range <hash_key> <start_sort_key> <stop_sort_key>", "remove a range of the records of a hash key",
		func(c *call, args []string) (failed error) {
			req, err := c.hashScan(args, &r)
			if err != nil {
				return err
			}
			req.NoValue = true
			if err := c.confirm(fmt.Sprintf("Records of hash key %s will be removed.", args[0])); err != nil {
				return err
			}
			out := bufio.NewWriter(c.out.W)
			if log != "" {
				file, err := os.Create(log)
				if err != nil {
					return err
				}
				defer func() { failed = errors.Join(failed, file.Close()) }()
				out = bufio.NewWriter(file)
			}
			n, err := c.deleteRange(req, func(removed []byte) error {
				if silent || c.out.JSON && log == "" {
					return nil
				}
				_, err := fmt.Fprintln(out, c.quoted(sortKey, removed))
				return err
			})
			if err = errors.Join(err, out.Flush()); err != nil {
				return fmt.Errorf("%d records removed, then: %w", n, err)
			}
			return c.out.Object(fmt.Sprintf("OK, %s removed", counted(n)), "removed", n)
		})
	r.flags(cmd)
	r.sort.add(cmd, "sort_key", "s", "y", true)
	f := cmd.Flags()
	f.StringVarP(&log, "output", "o", "", "file for the sort keys that were removed")
	f.BoolVarP(&silent, "silent", "i", false, "do not print the sort keys")
	f.Bool("yes", false, "do not ask for confirmation")
	return note(cmd, noteDanger, noteLog)
}

func (c *call) deleteRange(h hashScan, each func(sortKey []byte) error) (removed int, err error) {
	t, err := c.open(c.ctx)
	if err != nil {
		return 0, err
	}
	h.Batch = deleteBatch
	err = h.run(c.ctx, t, func(rows []*clientlib.Record) error {
		keys := make([][]byte, len(rows))
		for i := range rows {
			keys[i] = rows[i].SortKey
		}
		ctx, cancel := c.withTimeout()
		defer cancel()
		if err := t.MultiDel(ctx, h.hashKey, keys); err != nil {
			return err
		}
		removed += len(rows)
		for _, k := range keys {
			if err := each(k); err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

func (s *Shell) hashScanCommand() *cobra.Command {
	var r span
	var value filterFlags
	var show rowFlags
	cmd := s.command(groupData, "hash_scan <hash_key> <start_sort_key> <stop_sort_key>", "the records of a hash key in order",
		func(c *call, args []string) error {
			req, err := c.hashScan(args, &r)
			if err != nil {
				return err
			}
			if req.Value, err = value.filter(c); err != nil {
				return err
			}
			show.request(&req.Request)
			t, done, err := c.openFor(show.timeoutMS)
			if err != nil {
				return err
			}
			defer done()
			p := c.rows(&show)
			return errors.Join(req.run(c.ctx, t, p.print), p.end())
		})
	r.flags(cmd)
	r.sort.add(cmd, "sort_key", "s", "y", true)
	value.add(cmd, "value", "v", "z", true)
	show.flags(cmd)
	return cmd
}

// rowFlags say how much of records is shown.
type rowFlags struct {
	max       int
	timeoutMS int64
	detailed  bool
	noValue   bool
}

func (r *rowFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVarP(&r.max, "max_count", "n", 0, "how many records, 0 for all")
	f.Int64VarP(&r.timeoutMS, "timeout_ms", "t", 0, "how long one exchange may take, 0 for the timeout of the session")
	f.BoolVarP(&r.detailed, "detailed", "d", false, "partition, expiry and sizes too")
	f.BoolVarP(&r.noValue, "no_value", "i", false, "keys only")
}

func (r *rowFlags) request(req *sweep.Request) {
	req.NoValue, req.WithTTL = r.noValue, r.detailed
	if r.max > 0 && r.max < 1000 {
		req.Batch = r.max
	}
}

// rowPrinter prints a stream of records.
type rowPrinter struct {
	c     *call
	show  *rowFlags
	out   *bufio.Writer
	lines report.Printer
	n     int
}

func (c *call) rows(show *rowFlags) *rowPrinter {
	p := &rowPrinter{c: c, show: show, out: bufio.NewWriter(c.out.W)}
	p.lines = report.Printer{W: p.out, JSON: c.out.JSON}
	return p
}

// print returns sweep.ErrStop when enough were printed.
func (p *rowPrinter) print(rows []*clientlib.Record) error {
	for i := range rows {
		if p.show.max > 0 && p.n >= p.show.max {
			return sweep.ErrStop
		}
		p.n++
		if err := p.one(rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *rowPrinter) one(r *clientlib.Record) error {
	c := p.c
	text := c.quoted(hashKey, r.HashKey) + " : " + c.quoted(sortKey, r.SortKey)
	fields := []any{"hash_key", c.shown(hashKey, r.HashKey), "sort_key", c.shown(sortKey, r.SortKey)}
	if !p.show.noValue {
		text += " => " + c.quoted(value, r.Value)
		fields = append(fields, "value", c.shown(value, r.Value))
	}
	if p.show.detailed {
		var left any
		about := "no ttl"
		if r.TTL != clientlib.NoTTL {
			left, about = r.TTL, fmt.Sprintf("ttl %ds", r.TTL)
		}
		text += fmt.Sprintf("  (%s, %d + %d + %d bytes)", about, len(r.HashKey), len(r.SortKey), len(r.Value))
		fields = append(fields, "ttl_seconds", left)
	}
	return p.lines.Object(text, fields...)
}

// end says how many records there were.
func (p *rowPrinter) end() error {
	if !p.c.out.JSON {
		if _, err := fmt.Fprintf(p.out, "\n%s\n", counted(p.n)); err != nil {
			return err
		}
	}
	return p.out.Flush()
}
