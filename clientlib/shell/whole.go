package shell

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/progress"
	"pegasus/clientlib/shell/sweep"
)

// wholeCommands go through whole tables, several partitions at a time.
func (s *Shell) wholeCommands() []*cobra.Command {
	return []*cobra.Command{s.fullScanCommand(), s.countDataCommand(), s.copyDataCommand(), s.clearDataCommand()}
}

// wholeFlags are the options that all of them have.
type wholeFlags struct {
	hash, sort, value filterFlags
	partition         int
	batch             int
	timeoutMS         int64
	parallel          int
}

func (w *wholeFlags) add(cmd *cobra.Command) {
	w.hash.add(cmd, "hash_key", "h", "x", true)
	w.sort.add(cmd, "sort_key", "s", "y", true)
	w.value.add(cmd, "value", "v", "z", true)
	f := cmd.Flags()
	f.IntVarP(&w.partition, "partition", "p", -1, "this partition only, -1 for all")
	f.IntVar(&w.parallel, "parallel", sweep.Parallel, "partitions at a time")
	if f.Lookup("timeout_ms") == nil {
		f.Int64VarP(&w.timeoutMS, "timeout_ms", "t", 0, "how long one exchange may take, 0 for the timeout of the session")
	}
}

// batchFlag is -b, where a command has it.
func (w *wholeFlags) batchFlag(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&w.batch, "max_batch_count", "b", 500, "records per exchange")
}

// request reads the options, and which partitions are meant.
func (w *wholeFlags) request(c *call, t *clientlib.Table) (r sweep.Request, parts []int, err error) {
	r = sweep.Request{Batch: w.batch}
	if r.HashKey, err = w.hash.filter(c); err != nil {
		return r, nil, err
	}
	if r.SortKey, err = w.sort.filter(c); err != nil {
		return r, nil, err
	}
	if r.Value, err = w.value.filter(c); err != nil {
		return r, nil, err
	}
	parts = sweep.All(t)
	if w.partition >= 0 {
		if w.partition >= len(parts) {
			return r, nil, usagef("partition %d: table %s has %d", w.partition, t.Name(), len(parts))
		}
		parts = parts[w.partition : w.partition+1]
	}
	return r, parts, nil
}

// begin opens the table in use and reads the options. done gives the table back.
func (w *wholeFlags) begin(c *call) (t *clientlib.Table, r sweep.Request, parts []int, done func(), err error) {
	if t, done, err = c.openFor(w.timeoutMS); err != nil {
		return nil, r, nil, nil, err
	}
	if r, parts, err = w.request(c, t); err != nil {
		done()
	}
	return t, r, parts, done, err
}

// openFor opens the table in use with a client whose operations may take ms milliseconds, 0 for those of the session. done
// gives it back.
func (c *call) openFor(ms int64) (t *clientlib.Table, done func(), err error) {
	if ms <= 0 {
		t, err = c.open(c.ctx)
		return t, func() {}, err
	}
	if _, err := c.connect(); err != nil {
		return nil, nil, err
	}
	if c.table == "" {
		return nil, nil, usageError{errNoTable}
	}
	client, err := clientlib.Dial(clientlib.Options{Metas: c.cluster.Metas, Timeout: time.Duration(ms) * time.Millisecond})
	if err != nil {
		return nil, nil, usageError{err}
	}
	done = func() { _ = client.Close() } // always nil
	if t, err = client.OpenTable(c.ctx, c.table); err != nil {
		done()
	}
	return t, done, err
}

// bar draws progress on the error output, when that is a terminal and the rows themselves do not go to one.
func (c *call) bar(label string, parts []int, r *sweep.Request, rowsShown bool) *progress.Bar {
	if !c.opt.ErrTerminal || rowsShown && c.out.W == c.opt.Out && c.opt.Terminal {
		return progress.Start(nil, label, len(parts))
	}
	bar := progress.Start(c.opt.Err, label, len(parts))
	if r.Unfiltered() {
		// Without an estimate the bar goes by partitions.
		if counts, err := c.estimates(); err == nil {
			sum := int64(0)
			for _, p := range parts {
				if p < len(counts) {
					sum += counts[p]
				}
			}
			bar.Expect(sum)
		}
	}
	return bar
}

func (s *Shell) fullScanCommand() *cobra.Command {
	var w wholeFlags
	var show rowFlags
	cmd := s.command(groupWhole, "full_scan", "the records of a table", func(c *call, _ []string) error {
		w.timeoutMS = show.timeoutMS
		t, r, parts, done, err := w.begin(c)
		if err != nil {
			return err
		}
		defer done()
		show.request(&r)
		bar := c.bar("scanning", parts, &r, true)
		defer bar.Stop()
		p := c.rows(&show)
		var mu sync.Mutex
		err = sweep.Table(c.ctx, t, r, parts, w.parallel, func(_ int, rows []*clientlib.Record) error {
			bar.Items(len(rows))
			mu.Lock()
			defer mu.Unlock()
			return p.print(rows)
		}, func(int) { bar.Part() })
		return errors.Join(err, p.end())
	})
	show.flags(cmd)
	w.add(cmd)
	return cmd
}

func (s *Shell) clearDataCommand() *cobra.Command {
	var w wholeFlags
	var force bool
	cmd := s.command(groupWhole, "clear_data", "remove the records of a table", func(c *call, _ []string) error {
		t, r, parts, done, err := w.begin(c)
		if err != nil {
			return err
		}
		defer done()
		r.NoValue = true
		c.yes = c.yes || force
		what := "All records"
		if !r.Unfiltered() {
			what = "All matching records"
		}
		if err := c.confirm(fmt.Sprintf("%s of %d partitions of table %s of cluster %s will be removed.", what, len(parts), t.Name(), c.clusterName())); err != nil {
			return err
		}
		bar := c.bar("clearing", parts, &r, false)
		err = sweep.Table(c.ctx, t, r, parts, w.parallel, func(_ int, rows []*clientlib.Record) error {
			if err := c.removeAll(t, rows); err != nil {
				return err
			}
			bar.Items(len(rows))
			return nil
		}, func(int) { bar.Part() })
		bar.Stop()
		return errors.Join(c.out.Object(fmt.Sprintf("removed %d records in %v", bar.Count(), bar.Elapsed().Round(time.Millisecond)),
			"removed", bar.Count(), "seconds", bar.Elapsed().Seconds()), err)
	})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask for confirmation")
	cmd.Flags().Bool("yes", false, "do not ask for confirmation")
	w.batchFlag(cmd)
	w.add(cmd)
	return note(cmd, noteDanger)
}

// runs cuts rows into pieces of equal hash keys with at most most rows each.
func runs(rows []*clientlib.Record, most int, f func(run []*clientlib.Record) error) error {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && n < most && string(rows[n].HashKey) == string(rows[0].HashKey) {
			n++
		}
		if err := f(rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// removeAll removes records, those of one hash key at once.
func (c *call) removeAll(t *clientlib.Table, rows []*clientlib.Record) error {
	return c.inFlight(writers, func(start func(func(ctx context.Context) error) error) error {
		return runs(rows, deleteBatch, func(run []*clientlib.Record) error {
			return start(func(ctx context.Context) error {
				if len(run) == 1 {
					return t.Del(ctx, run[0].HashKey, run[0].SortKey)
				}
				keys := make([][]byte, len(run))
				for i := range run {
					keys[i] = run[i].SortKey
				}
				return t.MultiDel(ctx, run[0].HashKey, keys)
			})
		})
	})
}

// writers is how many writes of one partition are under way at a time.
const writers = 16

// inFlight runs what body starts, at most limit at a time, and waits for all of it. The first error ends it.
func (c *call) inFlight(limit int, body func(start func(func(ctx context.Context) error) error) error) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, limit)
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	start := func(f func(ctx context.Context) error) error {
		select {
		case err := <-failed:
			fail(err)
			return err
		case slots <- struct{}{}:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			ctx, cancel := c.withTimeout()
			defer cancel()
			if err := f(ctx); err != nil {
				fail(err)
			}
		}()
		return nil
	}
	err := body(start)
	wg.Wait()
	if err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
