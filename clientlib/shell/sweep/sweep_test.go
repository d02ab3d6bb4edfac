package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
)

// filled is a table of four partitions with 200 records, ten to a hash key.
func filled(t *testing.T) (*clienttest.Cluster, *clientlib.Table) {
	t.Helper()
	c := clienttest.New(t, 1, 2, 4)
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx := context.Background()
	table, err := client.OpenTable(ctx, c.Table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := table.Set(ctx, fmt.Appendf(nil, "user%02d", i/10), fmt.Appendf(nil, "sort%d", i%10), fmt.Appendf(nil, "value%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return c, table
}

// collect scans and counts what came, by sort key, and the partitions that were done.
func collect(t *testing.T, table *clientlib.Table, r Request, parallel int) (rows map[string]int, done int, err error) {
	t.Helper()
	var mu sync.Mutex
	rows = map[string]int{}
	err = Table(context.Background(), table, r, All(table), parallel, func(part int, batch []*clientlib.Record) error {
		mu.Lock()
		defer mu.Unlock()
		if r.Batch > 0 && len(batch) > r.Batch {
			t.Errorf("a batch of %d", len(batch))
		}
		for _, rec := range batch {
			rows[string(rec.HashKey)+" "+string(rec.SortKey)]++
			if len(rec.Value) == 0 != r.NoValue {
				t.Errorf("value %q", rec.Value)
			}
		}
		return nil
	}, func(int) {
		mu.Lock()
		defer mu.Unlock()
		done++
	})
	return rows, done, err
}

func TestEveryRecordOnce(t *testing.T) {
	c, table := filled(t)
	for _, r := range []Request{{}, {Batch: 7}, {NoValue: true, Batch: 1}} {
		for _, parallel := range []int{0, 1, 3} {
			rows, done, err := collect(t, table, r, parallel)
			if err != nil || len(rows) != 200 || done != 4 {
				t.Errorf("%+v, parallel %d: %d rows, %d partitions, %v", r, parallel, len(rows), done, err)
			}
			for k, n := range rows {
				if n != 1 {
					t.Errorf("%s came %d times", k, n)
				}
			}
		}
	}
	if n := c.Scanners(); n != 0 {
		t.Errorf("%d scanners are left", n)
	}
}

func TestFilters(t *testing.T) {
	_, table := filled(t)
	for name, x := range map[string]struct {
		f    Filters
		want int
	}{
		"hash key":      {Filters{HashKey: Filter{Prefix, []byte("user1")}}, 100},
		"exact hash":    {Filters{HashKey: Filter{Exact, []byte("user1")}}, 0},
		"exact sort":    {Filters{SortKey: Filter{Exact, []byte("sort3")}}, 20},
		"sort postfix":  {Filters{SortKey: Filter{Postfix, []byte("3")}}, 20},
		"value":         {Filters{Value: Filter{Exact, []byte("value123")}}, 1},
		"value and key": {Filters{Value: Filter{Anywhere, []byte("99")}, HashKey: Filter{Anywhere, []byte("19")}}, 1},
	} {
		if rows, _, err := collect(t, table, Request{Filters: x.f}, 2); err != nil || len(rows) != x.want {
			t.Errorf("%s: %d rows, want %d, %v", name, len(rows), x.want, err)
		}
		r := Request{Filters: x.f}
		if !r.Countable() {
			continue
		}
		var mu sync.Mutex
		sum := 0
		err := Count(context.Background(), table, r, All(table), 3, func(_, n int) {
			mu.Lock()
			defer mu.Unlock()
			sum += n
		}, func(int) {})
		if err != nil || sum != x.want {
			t.Errorf("%s: counted %d, want %d, %v", name, sum, x.want, err)
		}
	}
}

// A server that forgets a scan costs a scan of records nothing, and ends a count, which would be wrong.
func TestLostScanners(t *testing.T) {
	c, table := filled(t)
	seen := 0
	err := Table(context.Background(), table, Request{Batch: 10}, All(table), 1, func(_ int, rows []*clientlib.Record) error {
		c.LoseScanners()
		seen += len(rows)
		return nil
	}, func(int) {})
	if err != nil || seen != 200 {
		t.Errorf("%d records, %v", seen, err)
	}
	err = Count(context.Background(), table, Request{Batch: 10}, All(table), 1, func(int, int) { c.LoseScanners() }, func(int) {})
	if !errors.Is(err, errForgotten) {
		t.Errorf("a count that was cut: %v", err)
	}
}

func TestEnds(t *testing.T) {
	_, table := filled(t)
	seen := 0
	err := Table(context.Background(), table, Request{Batch: 5}, []int{0}, 1, func(_ int, rows []*clientlib.Record) error {
		seen += len(rows)
		return ErrStop
	}, func(int) {})
	if err != nil || seen != 5 {
		t.Errorf("stopped after %d, %v", seen, err)
	}
	bad := errors.New("bad")
	if err := Table(context.Background(), table, Request{}, All(table), 2, func(int, []*clientlib.Record) error { return bad }, func(int) {}); !errors.Is(err, bad) {
		t.Errorf("the callback's error became %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Table(ctx, table, Request{}, All(table), 2, func(int, []*clientlib.Record) error { return nil }, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
