package compat

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/zstd"
	"pegasus/conf/onebox"
)

// TestOperationsOnRealServers has the client do all it can on real daemons: the tests of package clientlib do the same in
// front of a fake.
func TestOperationsOnRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c := onebox.Start(t, onebox.Options{Metas: 1, Shards: 2, Tables: []onebox.Table{{Name: "ops", Partitions: 8, Replicas: 3}}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas(), Compressor: zstd.New(), Hedge: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	table, err := client.OpenTable(ctx, "ops")
	if err != nil {
		t.Fatal(err)
	}
	want := load(t, ctx, table)
	t.Run("scans", func(t *testing.T) { scans(t, ctx, table, want) })
	t.Run("ranges", func(t *testing.T) { ranges(t, ctx, table) })
	t.Run("atomic", func(t *testing.T) { atomics(t, ctx, table) })
}

const (
	hashKeys = 150
	perKey   = 20
)

// load writes with a bulk writer, and returns the keys in order.
func load(t *testing.T, ctx context.Context, table *clientlib.Table) (want []string) {
	w := table.NewBulkWriter(&clientlib.BulkOptions{BatchBytes: 8 << 10})
	for h := range hashKeys {
		for s := range perKey {
			k := fmt.Sprintf("h%03d/s%02d", h, s)
			want = append(want, k)
			if err := w.Set(ctx, []byte(k[:4]), []byte(k[5:]), []byte(k), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if p := w.Progress(); p.Written != hashKeys*perKey {
		t.Fatalf("%+v", p)
	}
	return want
}

func read(t *testing.T, ctx context.Context, s clientlib.Scanner, most int) (got []string) {
	t.Helper()
	for len(got) < most {
		r, err := s.NextRecord(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		k := string(r.HashKey) + "/" + string(r.SortKey)
		if string(r.Value) != k || r.TTL < 3000 || r.TTL > 3600 {
			t.Fatalf("%s holds %q for %d s", k, r.Value, r.TTL)
		}
		got = append(got, k)
	}
	return got
}

func scans(t *testing.T, ctx context.Context, table *clientlib.Table, want []string) {
	o := &clientlib.ScannerOptions{BatchSize: 37, StartInclusive: true, ReturnTTL: true}
	all := hashKeys*perKey + 1
	ordered, err := table.GetOrderedScanner(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, ctx, ordered, 1234)
	token := ordered.Token()
	_ = ordered.Close()
	if ordered, err = table.ResumeScanner(ctx, token, o); err != nil {
		t.Fatal(err)
	}
	if got = append(got, read(t, ctx, ordered, all)...); !slices.Equal(got, want) {
		t.Errorf("ordered: %d records", len(got))
	}
	parts, err := table.GetUnorderedScanners(ctx, 5, o)
	if err != nil || len(parts) != 5 {
		t.Fatal(len(parts), err)
	}
	got = nil
	for _, s := range parts {
		got = append(got, read(t, ctx, s, all)...)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("unordered: %d records", len(got))
	}
	one, err := table.GetScanner(ctx, []byte("h007"), []byte("s03"), []byte("s12"), o)
	if err != nil {
		t.Fatal(err)
	}
	if got = read(t, ctx, one, all); !slices.Equal(got, want[7*perKey+3:7*perKey+12]) {
		t.Errorf("of a hash key: %v", got)
	}
}

func ranges(t *testing.T, ctx context.Context, table *clientlib.Table) {
	h := []byte("h011")
	kvs, all, err := table.MultiGetRangeOpt(ctx, h, []byte("s05"), nil, &clientlib.MultiGetOptions{MaxFetchCount: 3, Reverse: true})
	if err != nil || all || len(kvs) != 3 || string(kvs[0].SortKey) != "s17" || string(kvs[2].Value) != "h011/s19" {
		t.Errorf("the last three: %d, %v, %v", len(kvs), all, err)
	}
	keys, all, err := table.MultiGetSortKeys(ctx, h, nil)
	if err != nil || !all || len(keys) != perKey {
		t.Errorf("sort keys: %d, %v, %v", len(keys), all, err)
	}
	if n, err := table.DelRange(ctx, h, []byte("s05"), []byte("s15")); err != nil || n != 10 {
		t.Errorf("del range: %d, %v", n, err)
	}
	if n, err := table.SortKeyCount(ctx, h); err != nil || n != 10 {
		t.Errorf("count: %d, %v", n, err)
	}
	if err := table.MultiDel(ctx, h, [][]byte{[]byte("s00"), []byte("s01")}); err != nil {
		t.Error(err)
	}
	values, err := table.BatchGet(ctx, []clientlib.CompositeKey{
		{HashKey: h, SortKey: []byte("s00")}, {HashKey: h, SortKey: []byte("s02")}, {HashKey: []byte("h012"), SortKey: []byte("s07")},
	})
	if err != nil || values[0] != nil || string(values[1]) != "h011/s02" || string(values[2]) != "h012/s07" {
		t.Errorf("batch get: %q, %v", values, err)
	}
}

func atomics(t *testing.T, ctx context.Context, table *clientlib.Table) {
	h := []byte("atomic")
	batch := table.NewBatch()
	var sums []*clientlib.Future[int64]
	for range 50 {
		sums = append(sums, batch.Incr(h, []byte("n"), 2))
	}
	if err := batch.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, f := range sums {
		n, err := f.Wait(ctx)
		if err != nil || n%2 != 0 || n < 2 || n > 100 || seen[n] {
			t.Errorf("a sum is %d, %v", n, err)
		}
		seen[n] = true
	}
	if n, err := table.IncrTTL(ctx, h, []byte("n"), -100, time.Hour); err != nil || n != 0 {
		t.Errorf("incr: %d, %v", n, err)
	}
	if ttl, err := table.TTL(ctx, h, []byte("n")); err != nil || ttl < 3590 || ttl > 3600 {
		t.Errorf("ttl: %d, %v", ttl, err)
	}
	cas, err := table.CheckAndSet(ctx, h, []byte("s"), clientlib.CheckTypeValueNotExist, nil, []byte("s"), []byte("first"), nil)
	if err != nil || !cas.SetSucceed {
		t.Errorf("check and set: %+v, %v", cas, err)
	}
	cas, err = table.CheckAndSet(ctx, h, []byte("s"), clientlib.CheckTypeValueNotExist, nil, []byte("s"), []byte("second"),
		&clientlib.CheckAndSetOptions{ReturnCheckValue: true})
	if err != nil || cas.SetSucceed || string(cas.CheckValue) != "first" {
		t.Errorf("check and set: %+v, %v", cas, err)
	}
	m, err := table.CheckAndMutate(ctx, h, []byte("n"), clientlib.CheckTypeIntLess, []byte("1"), []clientlib.Mutation{
		{SortKey: []byte("s"), Del: true}, {SortKey: []byte("x"), Value: []byte("y"), TTL: time.Hour},
	}, nil)
	if err != nil || !m.MutateSucceed {
		t.Errorf("check and mutate: %+v, %v", m, err)
	}
	kvs, _, err := table.MultiGet(ctx, h, [][]byte{[]byte("s"), []byte("x")})
	if err != nil || len(kvs) != 1 || string(kvs[0].Value) != "y" {
		t.Errorf("after the mutation: %d, %v", len(kvs), err)
	}
}
