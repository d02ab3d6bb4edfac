package shell

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/sweep"
)

// copyFlags are the options of copy_data beyond those of all whole-table commands.
type copyFlags struct {
	cluster, table                           string
	concurrency                              int
	batch                                    int
	noTTL, noOverwrite, noValue, useMultiSet bool
}

func (s *Shell) copyDataCommand() *cobra.Command {
	var w wholeFlags
	var k copyFlags
	cmd := s.command(groupWhole, "copy_data", "copy the records of the table in use into another table, of this or another cluster",
		func(c *call, _ []string) error {
			if k.useMultiSet && k.noOverwrite {
				return usagef("--no_overwrite and --use_multi_set exclude each other")
			}
			if k.concurrency < 1 {
				return usagef("max_multi_set_concurrency %d: want 1 or more", k.concurrency)
			}
			return c.copyData(&w, &k)
		})
	f := cmd.Flags()
	f.StringVarP(&k.cluster, "target_cluster_name", "c", "", "cluster to copy to, by name or addresses")
	f.StringVarP(&k.table, "target_app_name", "a", "", "table to copy to; it must exist")
	f.IntVarP(&k.concurrency, "max_multi_set_concurrency", "m", writers, "writes of one partition at a time")
	f.IntVarP(&k.batch, "scan_option_batch_size", "o", 500, "records per exchange")
	f.BoolVarP(&k.noTTL, "no_ttl", "e", false, "copies never expire")
	f.BoolVarP(&k.noOverwrite, "no_overwrite", "n", false, "leave records alone that exist in the target")
	f.BoolVarP(&k.noValue, "no_value", "i", false, "copy the keys, with empty values")
	f.BoolVarP(&k.useMultiSet, "use_multi_set", "u", false, "write records of one hash key at once")
	w.batchFlag(cmd)
	w.add(cmd)
	needs(cmd, "target_cluster_name", "target_app_name")
	flagWords(cmd, "target_cluster_name", s.completeClusters)
	return cmd
}

func (c *call) copyData(w *wholeFlags, k *copyFlags) error {
	from, r, parts, done, err := w.begin(c)
	if err != nil {
		return err
	}
	defer done()
	target, err := c.choose(k.cluster)
	if err != nil {
		return err
	}
	client, err := clientlib.Dial(clientlib.Options{Metas: target.Metas, Timeout: c.timeout})
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = client.Close() }() // always nil
	to, err := client.OpenTable(c.ctx, k.table)
	if err != nil {
		return fmt.Errorf("target table %s: %w", k.table, err)
	}
	if sameMetas(c.cluster.Metas, target.Metas) && from.Name() == to.Name() {
		return usagef("source and target are the same table")
	}
	r.WithTTL, r.NoValue = !k.noTTL, k.noValue
	if c.cmd.Flags().Changed("scan_option_batch_size") {
		r.Batch = k.batch
	}
	var copied, skipped atomic.Int64
	bar := c.bar("copying", parts, &r, false)
	err = sweep.Table(c.ctx, from, r, parts, w.parallel, func(_ int, rows []*clientlib.Record) error {
		err := c.inFlight(k.concurrency, func(start func(func(context.Context) error) error) error {
			return c.copyRows(to, k, rows, &copied, &skipped, start)
		})
		bar.Items(len(rows))
		return err
	}, func(int) { bar.Part() })
	bar.Stop()
	text := fmt.Sprintf("copied %d records in %v", copied.Load(), bar.Elapsed().Round(time.Millisecond))
	if k.noOverwrite {
		text += fmt.Sprintf(", %d existed", skipped.Load())
	}
	return errors.Join(c.out.Object(text, "copied", copied.Load(), "existed", skipped.Load(), "seconds", bar.Elapsed().Seconds()), err)
}

func sameMetas(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// copyRows starts the writes of a batch. Records that have expired on the way are left out.
func (c *call) copyRows(to *clientlib.Table, k *copyFlags, rows []*clientlib.Record, copied, skipped *atomic.Int64,
	start func(func(context.Context) error) error) error {
	most := 1
	if k.useMultiSet {
		most = deleteBatch
	}
	return runs(rows, most, func(run []*clientlib.Record) error {
		return start(func(ctx context.Context) error {
			// Records that are written at once expire at once, so a run is cut where the expiry changes.
			for len(run) > 0 {
				n := 1
				for n < len(run) && run[n].TTL == run[0].TTL {
					n++
				}
				if ttl := run[0].TTL; k.noTTL || ttl != 0 {
					done, err := c.copyRun(ctx, to, k, run[:n], time.Duration(max(ttl, 0))*time.Second)
					if err != nil {
						return err
					}
					copied.Add(int64(done))
					skipped.Add(int64(n - done))
				}
				run = run[n:]
			}
			return nil
		})
	})
}

// copyRun writes records with one expiry, and returns how many.
func (c *call) copyRun(ctx context.Context, to *clientlib.Table, k *copyFlags, run []*clientlib.Record, ttl time.Duration) (int, error) {
	if k.noValue {
		for i := range run {
			run[i].Value = nil
		}
	}
	switch {
	case k.noOverwrite:
		return c.copyNew(ctx, to, run[0], ttl)
	case len(run) == 1:
		return 1, to.SetTTL(ctx, run[0].HashKey, run[0].SortKey, run[0].Value, ttl)
	}
	sortKeys, values := make([][]byte, len(run)), make([][]byte, len(run))
	for i, r := range run {
		sortKeys[i], values[i] = r.SortKey, r.Value
	}
	return len(run), to.MultiSetOpt(ctx, run[0].HashKey, sortKeys, values, ttl)
}

// copyNew writes a record that does not exist yet.
func (c *call) copyNew(ctx context.Context, to *clientlib.Table, r *clientlib.Record, ttl time.Duration) (int, error) {
	res, err := to.CheckAndSet(ctx, r.HashKey, r.SortKey, clientlib.CheckTypeValueNotExist, nil, r.SortKey, r.Value,
		&clientlib.CheckAndSetOptions{SetValueTTLSeconds: int(ttl / time.Second)})
	if err != nil || !res.SetSucceed {
		return 0, err
	}
	return 1, nil
}
