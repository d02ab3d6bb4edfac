package clientlib_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

func TestPointOperations(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	for i := range 20 {
		key := fmt.Appendf(nil, "key%d", i)
		if v, err := table.Get(ctx, key, b("s")); err != nil || v != nil {
			t.Fatalf("get of nothing: %q, %v", v, err)
		}
		if ttl, err := table.TTL(ctx, key, b("s")); err != nil || ttl != clientlib.NotFound {
			t.Fatalf("ttl of nothing: %v, %v", ttl, err)
		}
		if err := table.Set(ctx, key, b("s"), key); err != nil {
			t.Fatal(err)
		}
		if v, err := table.Get(ctx, key, b("s")); err != nil || !bytes.Equal(v, key) {
			t.Fatalf("get: %q, %v", v, err)
		}
		if ttl, err := table.TTL(ctx, key, b("s")); err != nil || ttl != clientlib.NoTTL {
			t.Fatalf("ttl: %v, %v", ttl, err)
		}
		if ok, err := table.Exist(ctx, key, b("s")); err != nil || !ok {
			t.Fatalf("exist: %v, %v", ok, err)
		}
		if err := table.Del(ctx, key, b("s")); err != nil {
			t.Fatal(err)
		}
		if ok, err := table.Exist(ctx, key, b("s")); err != nil || ok {
			t.Fatalf("exist after del: %v, %v", ok, err)
		}
	}
	if err := table.SetTTL(ctx, b("k"), nil, nil, 99500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if v, err := table.Get(ctx, b("k"), nil); err != nil || v == nil || len(v) != 0 {
		t.Fatalf("an empty value: %v, %v", v, err)
	}
	if ttl, err := table.TTL(ctx, b("k"), nil); err != nil || ttl < 95 || ttl > 100 {
		t.Fatalf("ttl: %v, %v", ttl, err)
	}
	for want := int64(5); want <= 15; want += 5 {
		if n, err := table.Incr(ctx, b("n"), nil, 5); err != nil || n != want {
			t.Fatalf("incr: %d, %v", n, err)
		}
	}
	if n, err := table.IncrTTL(ctx, b("n"), nil, 1, time.Hour); err != nil || n != 16 {
		t.Fatalf("incr: %d, %v", n, err)
	}
	if ttl, err := table.TTL(ctx, b("n"), nil); err != nil || ttl < 3500 {
		t.Fatalf("ttl: %d, %v", ttl, err)
	}
	if n, err := table.IncrTTL(ctx, b("n"), nil, 1, -1); err != nil || n != 17 {
		t.Fatalf("incr: %d, %v", n, err)
	}
	if ttl, err := table.TTL(ctx, b("n"), nil); err != nil || ttl != clientlib.NoTTL {
		t.Fatalf("ttl: %d, %v", ttl, err)
	}
	if err := table.Set(ctx, b("n"), nil, b("x")); err != nil {
		t.Fatal(err)
	}
	var se *clientlib.ServerError
	_, err := table.Incr(ctx, b("n"), nil, 5)
	if !errors.As(err, &se) || se.Status != proto.StorageInvalidArgument || !errors.Is(err, clientlib.ErrRefused) {
		t.Fatalf("incr of text: %v", err)
	}
	if err := table.Set(ctx, nil, b("s"), b("v")); err != nil {
		t.Fatalf("an empty hash key: %v", err)
	}
	if v, err := table.Get(ctx, nil, b("s")); err != nil || string(v) != "v" {
		t.Fatalf("an empty hash key: %q, %v", v, err)
	}
	if _, err := table.Get(ctx, make([]byte, 65535), nil); !errors.Is(err, clientlib.ErrKey) || !errors.Is(err, clientlib.ErrRefused) {
		t.Fatalf("long hash key: %v", err)
	}
}

func sortKeysOf(kvs []*clientlib.KeyValue) (out []string) {
	for _, kv := range kvs {
		out = append(out, string(kv.SortKey)+"="+string(kv.Value))
	}
	return out
}

func TestMultiOperations(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	if err := table.MultiSet(ctx, b("h"), [][]byte{b("a"), b("b"), b("c"), b("d")}, [][]byte{b("1"), b("2"), nil, b("4")}); err != nil {
		t.Fatal(err)
	}
	if err := table.MultiSetOpt(ctx, b("h2"), [][]byte{b("a")}, [][]byte{b("1")}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if ttl, err := table.TTL(ctx, b("h2"), b("a")); err != nil || ttl < 3500 {
		t.Errorf("ttl: %d, %v", ttl, err)
	}
	if n, err := table.SortKeyCount(ctx, b("h")); err != nil || n != 4 {
		t.Errorf("count: %d, %v", n, err)
	}
	check := func(what, want string, wantAll bool) func(kvs []*clientlib.KeyValue, all bool, err error) {
		return func(kvs []*clientlib.KeyValue, all bool, err error) {
			t.Helper()
			if got := fmt.Sprint(sortKeysOf(kvs)); err != nil || got != want || all != wantAll {
				t.Errorf("%s: %s, all %v, %v; want %s", what, got, all, err, want)
			}
		}
	}
	check("of keys", "[c= a=1]", true)(table.MultiGet(ctx, b("h"), [][]byte{b("c"), b("nothing"), b("a")}))
	check("of all", "[a=1 b=2 c= d=4]", true)(table.MultiGet(ctx, b("h"), nil))
	check("of nothing", "[]", true)(table.MultiGet(ctx, b("nothing"), nil))
	check("a range", "[b=2 c=]", true)(table.MultiGetRange(ctx, b("h"), b("b"), b("d")))
	check("from the start", "[a=1]", true)(table.MultiGetRange(ctx, b("h"), nil, b("b")))
	check("to the end", "[d=4]", true)(table.MultiGetRange(ctx, b("h"), b("d"), nil))
	check("the other bounds", "[c= d=4]", true)(table.MultiGetRangeOpt(ctx, b("h"), b("b"), b("d"), &clientlib.MultiGetOptions{StopInclusive: true}))
	check("two", "[a=1 b=2]", false)(table.MultiGetOpt(ctx, b("h"), nil, &clientlib.MultiGetOptions{StartInclusive: true, MaxFetchCount: 2}))
	check("the last two", "[c= d=4]", false)(table.MultiGetOpt(ctx, b("h"), nil,
		&clientlib.MultiGetOptions{StartInclusive: true, MaxFetchCount: 2, Reverse: true}))
	check("keys alone", "[b=]", true)(table.MultiGetOpt(ctx, b("h"), nil, &clientlib.MultiGetOptions{
		StartInclusive: true, NoValue: true, SortKeyFilter: clientlib.Filter{Type: clientlib.FilterTypeMatchPrefix, Pattern: b("b")},
	}))
	if keys, all, err := table.MultiGetSortKeys(ctx, b("h"), nil); err != nil || !all || fmt.Sprintf("%s", keys) != "[a b c d]" {
		t.Errorf("sort keys: %s, %v, %v", keys, all, err)
	}
	if keys, all, err := table.MultiGetSortKeys(ctx, b("h"), &clientlib.MultiGetOptions{StartInclusive: true, MaxFetchCount: 1}); err != nil || all || len(keys) != 1 {
		t.Errorf("one sort key: %s, %v, %v", keys, all, err)
	}
	if err := table.MultiDel(ctx, b("h"), [][]byte{b("a"), b("b")}); err != nil {
		t.Fatal(err)
	}
	check("after del", "[c= d=4]", true)(table.MultiGet(ctx, b("h"), nil))
	for what, err := range map[string]error{
		"no hash key":      table.MultiSet(ctx, nil, [][]byte{b("a")}, [][]byte{b("1")}),
		"lengths":          table.MultiSet(ctx, b("h"), [][]byte{b("a")}, nil),
		"nothing to set":   table.MultiSet(ctx, b("h"), nil, nil),
		"nothing to del":   table.MultiDel(ctx, b("h"), nil),
		"a long hash key":  table.MultiDel(ctx, make([]byte, 65535), [][]byte{b("a")}),
		"no table in sort": table.MultiDel(ctx, nil, [][]byte{b("a")}),
	} {
		if !errors.Is(err, clientlib.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestDelRange(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	var keys, values [][]byte
	for i := range 350 {
		keys, values = append(keys, fmt.Appendf(nil, "%03d", i)), append(values, b("v"))
	}
	if err := table.MultiSet(ctx, b("h"), keys, values); err != nil {
		t.Fatal(err)
	}
	if n, err := table.DelRange(ctx, b("h"), b("010"), b("330")); err != nil || n != 320 {
		t.Fatalf("%d, %v", n, err)
	}
	kvs, _, err := table.MultiGet(ctx, b("h"), nil)
	if err != nil || len(kvs) != 30 || string(kvs[9].SortKey) != "009" || string(kvs[10].SortKey) != "330" {
		t.Fatalf("%d left, %v", len(kvs), err)
	}
	n, err := table.DelRangeOpt(ctx, b("h"), b("000"), b("349"), &clientlib.DelRangeOptions{
		StopInclusive: true, SortKeyFilter: clientlib.Filter{Type: clientlib.FilterTypeMatchPostfix, Pattern: b("9")},
	})
	if err != nil || n != 3 {
		t.Errorf("filtered: %d, %v", n, err)
	}
}

func TestAtomicOperations(t *testing.T) {
	c := clienttest.New(t, 1, 1, 2)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	r, err := table.CheckAndSet(ctx, b("h"), b("s"), clientlib.CheckTypeValueNotExist, nil, b("s"), b("1"), nil)
	if err != nil || !r.SetSucceed || r.CheckValueReturned {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = table.CheckAndSet(ctx, b("h"), b("s"), clientlib.CheckTypeValueNotExist, nil, b("s"), b("2"), &clientlib.CheckAndSetOptions{ReturnCheckValue: true})
	if err != nil || r.SetSucceed || !r.CheckValueReturned || !r.CheckValueExist || string(r.CheckValue) != "1" {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = table.CheckAndSet(ctx, b("h"), b("s"), clientlib.CheckTypeBytesEqual, b("1"), b("other"), b("2"),
		&clientlib.CheckAndSetOptions{SetValueTTLSeconds: 1000})
	if err != nil || !r.SetSucceed {
		t.Fatalf("%+v, %v", r, err)
	}
	if ttl, err := table.TTL(ctx, b("h"), b("other")); err != nil || ttl < 900 || ttl > 1000 {
		t.Errorf("ttl: %d, %v", ttl, err)
	}
	m, err := table.CheckAndMutate(ctx, b("h"), b("other"), clientlib.CheckTypeValueExist, nil, []clientlib.Mutation{
		{SortKey: b("s"), Del: true}, {SortKey: b("x"), Value: b("9"), TTL: time.Hour},
	}, &clientlib.CheckAndMutateOptions{ReturnCheckValue: true})
	if err != nil || !m.MutateSucceed || string(m.CheckValue) != "2" {
		t.Fatalf("%+v, %v", m, err)
	}
	kvs, _, err := table.MultiGet(ctx, b("h"), nil)
	if got := fmt.Sprint(sortKeysOf(kvs)); err != nil || got != "[other=2 x=9]" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := table.CheckAndMutate(ctx, b("h"), b("s"), clientlib.CheckTypeNoCheck, nil, nil, nil); !errors.Is(err, clientlib.ErrArgument) {
		t.Errorf("no mutation: %v", err)
	}
}

func TestFuturesAndBatches(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	_, table := dial(t, c, clientlib.Options{Pipeline: 16})
	ctx := context.Background()
	async := table.Async()
	first := async.Set(b("k"), b("s"), b("v"))
	if _, err := first.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	get, ttl, count, incr := async.Get(b("k"), b("s")), async.TTL(b("k"), b("s")), async.SortKeyCount(b("k")), async.Incr(b("n"), nil, 3)
	if v, err := get.Wait(ctx); err != nil || string(v) != "v" {
		t.Errorf("get: %q, %v", v, err)
	}
	if v, err := get.Wait(ctx); err != nil || string(v) != "v" {
		t.Errorf("get once more: %q, %v", v, err)
	}
	if v, err := ttl.Wait(ctx); err != nil || v != clientlib.NoTTL {
		t.Errorf("ttl: %d, %v", v, err)
	}
	if n, err := count.Wait(ctx); err != nil || n != 1 {
		t.Errorf("count: %d, %v", n, err)
	}
	if n, err := incr.Wait(ctx); err != nil || n != 3 {
		t.Errorf("incr: %d, %v", n, err)
	}
	if _, err := async.MultiDel(nil, [][]byte{b("a")}).Wait(ctx); !errors.Is(err, clientlib.ErrKey) {
		t.Errorf("bad argument: %v", err)
	}
	if r, err := async.CheckAndSet(b("k"), b("s"), clientlib.CheckTypeValueExist, nil, b("s"), b("w"), nil).Wait(ctx); err != nil || !r.SetSucceed {
		t.Errorf("check and set: %+v, %v", r, err)
	}

	// More than fit into the pipelines, which a batch waits for.
	batch := table.NewBatch()
	for i := range 1000 {
		batch.Set(fmt.Appendf(nil, "b%d", i), nil, fmt.Append(nil, i))
	}
	bad := batch.MultiSet(b("h"), nil, nil, 0)
	if batch.Len() != 1001 {
		t.Errorf("%d operations", batch.Len())
	}
	if err := batch.Commit(ctx); !errors.Is(err, clientlib.ErrArgument) {
		t.Errorf("commit: %v", err)
	}
	if _, err := bad.Wait(ctx); !errors.Is(err, clientlib.ErrArgument) {
		t.Errorf("the bad one: %v", err)
	}
	var keys []clientlib.CompositeKey
	for i := range 1001 {
		keys = append(keys, clientlib.CompositeKey{HashKey: fmt.Appendf(nil, "b%d", i)})
	}
	values, err := table.BatchGet(ctx, keys)
	if err != nil || len(values) != 1001 || values[1000] != nil {
		t.Fatalf("%d values, %v", len(values), err)
	}
	for i, v := range values[:1000] {
		if string(v) != fmt.Sprint(i) {
			t.Fatalf("value %d is %q", i, v)
		}
	}
	if batch.Len() != 0 || batch.Commit(ctx) != nil {
		t.Error("an empty batch fails")
	}

	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	w, r := batch.Set(b("k"), nil, nil), batch.Get(b("k"), nil)
	if err := batch.Commit(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit: %v", err)
	}
	if _, err := w.Wait(ctx); !errors.Is(err, clientlib.ErrUnknownOutcome) {
		t.Errorf("set: %v", err)
	}
	if _, err := r.Wait(ctx); !errors.Is(err, clientlib.ErrRetriable) {
		t.Errorf("get: %v", err)
	}
}

// fill writes records and returns their keys in the order of an ordered scan.
func fill(t *testing.T, table *clientlib.Table, hashKeys, each int) (want []string) {
	t.Helper()
	batch := table.NewBatch()
	for h := range hashKeys {
		for s := range each {
			hk, sk := fmt.Appendf(nil, "h%d", h), fmt.Appendf(nil, "s%02d", s)
			batch.Set(hk, sk, fmt.Appendf(nil, "%s/%s", hk, sk))
			want = append(want, fmt.Sprintf("%02d%s/%s", len(hk), hk, sk))
		}
	}
	if err := batch.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	for i := range want {
		want[i] = want[i][2:]
	}
	return want
}

func collect(t *testing.T, s clientlib.Scanner) (got []string) {
	t.Helper()
	for r, err := range s.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		k := string(r.HashKey) + "/" + string(r.SortKey)
		if string(r.Value) != k {
			t.Fatalf("%s holds %q", k, r.Value)
		}
		got = append(got, k)
	}
	return got
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

func TestScanners(t *testing.T) {
	c := clienttest.New(t, 1, 2, 8)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	want := fill(t, table, 120, 7)
	small := &clientlib.ScannerOptions{BatchSize: 3, StartInclusive: true}

	s, err := table.GetScanner(ctx, b("h7"), b("s02"), b("s05"), &clientlib.ScannerOptions{BatchSize: 2, StopInclusive: true, ReturnTTL: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.NextRecord(ctx)
	if err != nil || string(r.SortKey) != "s03" || r.TTL != clientlib.NoTTL {
		t.Fatalf("%+v, %v", r, err)
	}
	same(t, "of a hash key", collect(t, s), []string{"h7/s04", "h7/s05"})
	for range 2 {
		if done, _, _, _, err := s.Next(ctx); !done || err != nil {
			t.Fatal(done, err)
		}
	}
	s, err = table.GetScanner(ctx, b("h7"), nil, nil, small)
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, s); len(got) != 7 {
		t.Errorf("of a whole hash key: %v", got)
	}

	scanners, err := table.GetUnorderedScanners(ctx, 3, small)
	if err != nil || len(scanners) != 3 {
		t.Fatalf("%d scanners, %v", len(scanners), err)
	}
	var got []string
	for _, s := range scanners {
		got = append(got, collect(t, s)...)
	}
	slices.Sort(got)
	all := slices.Sorted(slices.Values(want))
	same(t, "unordered", got, all)

	ordered, err := table.GetOrderedScanner(ctx, small)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ordered", collect(t, ordered), want)

	// Closed early, they give back what the servers keep.
	ordered, err = table.GetOrderedScanner(ctx, small)
	if err != nil {
		t.Fatal(err)
	}
	if done, _, _, _, err := ordered.Next(ctx); done || err != nil {
		t.Fatal(done, err)
	}
	_ = ordered.Close()
	if _, err := ordered.NextRecord(ctx); !errors.Is(err, clientlib.ErrScannerClosed) {
		t.Errorf("after close: %v", err)
	}
	await(t, func() bool { return c.Scanners() == 0 })
	filtered, err := table.GetOrderedScanner(ctx, &clientlib.ScannerOptions{
		HashKeyFilter: clientlib.Filter{Type: clientlib.FilterTypeMatchPrefix, Pattern: b("h11")},
		SortKeyFilter: clientlib.Filter{Type: clientlib.FilterTypeMatchPostfix, Pattern: b("3")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, filtered); len(got) != 11 {
		t.Errorf("filtered: %v", got)
	}
}

// await waits for a condition.
func await(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

// A scan that is broken off anywhere goes on from its token in another client, and neither misses nor repeats a record.
func TestScanTokens(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	_, table := dial(t, c, clientlib.Options{})
	_, other := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	want := fill(t, table, 10, 4)
	o := &clientlib.ScannerOptions{BatchSize: 3, StartInclusive: true}
	open := map[string]func() clientlib.Scanner{
		"ordered": func() clientlib.Scanner {
			s, err := table.GetOrderedScanner(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"unordered": func() clientlib.Scanner {
			s, err := table.GetUnorderedScanners(ctx, 1, o)
			if err != nil {
				t.Fatal(err)
			}
			return s[0]
		},
		"hash key": func() clientlib.Scanner {
			s, err := table.GetScanner(ctx, b("h3"), nil, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
	for name, first := range open {
		whole := collect(t, first())
		for cut := range len(whole) + 1 {
			s := first()
			var got []string
			for range cut {
				_, hk, sk, _, err := s.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(hk)+"/"+string(sk))
			}
			token := s.Token()
			_ = s.Close()
			resumed, err := other.ResumeScanner(ctx, token, o)
			if err != nil {
				t.Fatal(err)
			}
			if again := resumed.Token(); name == "ordered" && !bytes.Equal(again, token) {
				t.Errorf("%s: token %x became %x", name, token, again)
			}
			same(t, fmt.Sprintf("%s, cut after %d", name, cut), append(got, collect(t, resumed)...), whole)
		}
		if name != "hash key" && len(whole) != len(want) {
			t.Errorf("%s: %d records", name, len(whole))
		}
	}
	for _, bad := range [][]byte{nil, {1}, {1, 9}, {2, 0}, {1, 0, 1, 0xff, 0xff, 0xff, 0xff}, {1, 1, 0, 0, 0, 2, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff}, {1, 2, 1, 0, 0, 0, 1, 0}} {
		if _, err := table.ResumeScanner(ctx, bad, nil); !errors.Is(err, clientlib.ErrToken) {
			t.Errorf("token %x: %v", bad, err)
		}
	}
}

// The servers' iterators get lost, answers too, the primary moves: a scan goes on behind the last record.
func TestScannersSurvive(t *testing.T) {
	c := clienttest.New(t, 1, 3, 2)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	want := fill(t, table, 40, 5)
	o := &clientlib.ScannerOptions{BatchSize: 4, StartInclusive: true}
	trouble := []func(i int){
		func(int) { c.LoseScanners() },
		func(i int) { c.Move(i%2, i%3) },
		func(i int) { c.CloseConns(i % 3) },
	}
	for k, cause := range trouble {
		s, err := table.GetOrderedScanner(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := 0; ; i++ {
			if i%7 == 0 {
				cause(i)
			}
			done, hk, sk, _, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				break
			}
			got = append(got, string(hk)+"/"+string(sk))
		}
		same(t, fmt.Sprint("trouble ", k), got, want)
	}
}
