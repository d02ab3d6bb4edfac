package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegasus"
)

// fill replaces everything under a hash key by the sort keys a, b, c, ... with values A, B, C, ...
func fill(t *testing.T, hash string, n int) pegasus.TableConnector {
	t.Helper()
	ctx, tb := table(t)
	var sorts, values [][]byte
	for i := range n {
		sorts = append(sorts, []byte{'a' + byte(i)})
		values = append(values, []byte{'A' + byte(i)})
	}
	must(t, tb.MultiSet(ctx, []byte(hash), sorts, values))
	return tb
}

func TestMultiSetGetDel(t *testing.T) {
	ctx, hash := deadline(t), []byte("multi")
	tb := fill(t, "multi", 5)
	kvs, all, err := tb.MultiGet(ctx, hash, bytesOf("d", "b", "none"))
	must(t, err)
	same(t, "some, in the order asked for", rows(kvs), "d=D b=B")
	same(t, "all", all, true)
	kvs, all, err = tb.MultiGet(ctx, hash, nil)
	must(t, err)
	same(t, "everything", rows(kvs), "a=A b=B c=C d=D e=E")
	same(t, "all", all, true)
	kvs, _, err = tb.MultiGet(ctx, []byte("multi none"), nil)
	must(t, err)
	same(t, "nothing", rows(kvs), "")

	n, err := tb.SortKeyCount(ctx, hash)
	must(t, err)
	same(t, "count", n, int64(5))

	must(t, tb.MultiDel(ctx, hash, bytesOf("a", "c", "none")))
	kvs, _, err = tb.MultiGet(ctx, hash, nil)
	must(t, err)
	same(t, "after multi_del", rows(kvs), "b=B d=D e=E")
	n, err = tb.SortKeyCount(ctx, hash)
	must(t, err)
	same(t, "count after multi_del", n, int64(3))
}

func TestMultiSetOpt(t *testing.T) {
	ctx, tb := table(t)
	hash := []byte("multi ttl")
	must(t, tb.MultiSetOpt(ctx, hash, bytesOf("a", "b"), bytesOf("1", "2"), 1000*time.Second))
	for _, sort := range []string{"a", "b"} {
		ttl, err := tb.TTL(ctx, hash, []byte(sort))
		must(t, err)
		if ttl < 900 || ttl > 1000 {
			t.Errorf("ttl of %s is %d, want about 1000", sort, ttl)
		}
	}
}

func TestMultiGetOpt(t *testing.T) {
	ctx, hash := deadline(t), []byte("multi opt")
	tb := fill(t, "multi opt", 5)
	for _, c := range []struct {
		name  string
		sorts [][]byte
		opt   pegasus.MultiGetOptions
		want  string
		all   bool
	}{
		{"two at most", nil, pegasus.MultiGetOptions{MaxFetchCount: 2}, "a=A b=B", false},
		{"no value", nil, pegasus.MultiGetOptions{NoValue: true}, "a= b= c= d= e=", true},
		{"keys, no value", bytesOf("c", "a"), pegasus.MultiGetOptions{NoValue: true}, "c= a=", true},
		{"reverse", nil, pegasus.MultiGetOptions{Reverse: true, MaxFetchCount: 2}, "d=D e=E", false},
	} {
		kvs, all, err := tb.MultiGetOpt(ctx, hash, c.sorts, &c.opt)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, rows(kvs), c.want)
		same(t, c.name+": all", all, c.all)
	}
}

func TestMultiGetRange(t *testing.T) {
	ctx, hash := deadline(t), []byte("multi range")
	tb := fill(t, "multi range", 5)
	for _, c := range []struct{ start, stop, want string }{
		{"b", "d", "b=B c=C"}, {"", "c", "a=A b=B"}, {"d", "", "d=D e=E"}, {"", "", "a=A b=B c=C d=D e=E"}, {"x", "z", ""},
	} {
		kvs, all, err := tb.MultiGetRange(ctx, hash, []byte(c.start), []byte(c.stop))
		must(t, err)
		same(t, c.start+".."+c.stop, rows(kvs), c.want)
		same(t, c.start+".."+c.stop+": all", all, true)
	}
	in := func(o pegasus.MultiGetOptions) pegasus.MultiGetOptions { o.StartInclusive = true; return o }
	for _, c := range []struct {
		name string
		opt  pegasus.MultiGetOptions
		want string
		all  bool
	}{
		{"both in", pegasus.MultiGetOptions{StartInclusive: true, StopInclusive: true}, "b=B c=C d=D", true},
		{"both out", pegasus.MultiGetOptions{}, "c=C", true},
		{"only the stop", pegasus.MultiGetOptions{StopInclusive: true}, "c=C d=D", true},
		{"one at most", in(pegasus.MultiGetOptions{MaxFetchCount: 1}), "b=B", false},
		{"no value", in(pegasus.MultiGetOptions{NoValue: true}), "b= c=", true},
		{"filter", in(pegasus.MultiGetOptions{StopInclusive: true, SortKeyFilter: pegasus.Filter{Type: pegasus.FilterTypeMatchPrefix, Pattern: []byte("c")}}), "c=C", true},
		{"filter, anywhere", in(pegasus.MultiGetOptions{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterTypeMatchAnywhere, Pattern: []byte("b")}}), "b=B", true},
		{"filter, postfix", in(pegasus.MultiGetOptions{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterTypeMatchPostfix, Pattern: []byte("x")}}), "", true},
		{"reverse", in(pegasus.MultiGetOptions{StopInclusive: true, Reverse: true, MaxFetchCount: 2}), "c=C d=D", false},
	} {
		kvs, all, err := tb.MultiGetRangeOpt(ctx, hash, []byte("b"), []byte("d"), &c.opt)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, rows(kvs), c.want)
		same(t, c.name+": all", all, c.all)
	}
}

func scan(ctx context.Context, s pegasus.Scanner) (rows []string, err error) {
	for {
		done, hash, sort, value, err := s.Next(ctx)
		if err != nil {
			return rows, err
		}
		if done {
			return rows, s.Close()
		}
		rows = append(rows, fmt.Sprintf("%s/%s=%s", hash, sort, value))
	}
}

func TestScanner(t *testing.T) {
	ctx, tb := table(t)
	hash := []byte("scan")
	var sorts, values [][]byte
	for i := range 500 {
		sorts, values = append(sorts, fmt.Appendf(nil, "%03d", i)), append(values, fmt.Appendf(nil, "v%d", i))
	}
	must(t, tb.MultiSet(ctx, hash, sorts, values))
	must(t, tb.MultiSet(ctx, []byte("scam"), sorts, values))
	must(t, tb.MultiSet(ctx, []byte("scan2"), sorts, values))

	options := func(change func(*pegasus.ScannerOptions)) *pegasus.ScannerOptions {
		o := pegasus.NewScanOptions()
		o.BatchSize = 7
		change(o)
		return o
	}
	for _, c := range []struct {
		name        string
		start, stop string
		opt         *pegasus.ScannerOptions
		first, last string
		n           int
	}{
		{"everything", "", "", options(func(o *pegasus.ScannerOptions) {}), "scan/000=v0", "scan/499=v499", 500},
		{"in one batch", "", "", options(func(o *pegasus.ScannerOptions) { o.BatchSize = 1000 }), "scan/000=v0", "scan/499=v499", 500},
		{"a range", "100", "200", options(func(o *pegasus.ScannerOptions) {}), "scan/100=v100", "scan/199=v199", 100},
		{"both ends", "100", "200", options(func(o *pegasus.ScannerOptions) { o.StopInclusive = true }), "scan/100=v100", "scan/200=v200", 101},
		{"no end", "100", "200", options(func(o *pegasus.ScannerOptions) { o.StartInclusive = false }), "scan/101=v101", "scan/199=v199", 99},
		{"no values", "000", "010", options(func(o *pegasus.ScannerOptions) { o.NoValue = true }), "scan/000=", "scan/009=", 10},
		{"prefix", "", "", options(func(o *pegasus.ScannerOptions) {
			o.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterTypeMatchPrefix, Pattern: []byte("42")}
		}), "scan/420=v420", "scan/429=v429", 10},
		{"postfix", "", "", options(func(o *pegasus.ScannerOptions) {
			o.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterTypeMatchPostfix, Pattern: []byte("99")}
		}), "scan/099=v99", "scan/499=v499", 5},
	} {
		s, err := tb.GetScanner(ctx, hash, []byte(c.start), []byte(c.stop), c.opt)
		must(t, err)
		got, err := scan(ctx, s)
		must(t, err)
		if len(got) != c.n || len(got) > 0 && (got[0] != c.first || got[len(got)-1] != c.last) {
			t.Errorf("%s: %d rows %q, want %d from %s to %s", c.name, len(got), got, c.n, c.first, c.last)
		}
		if !slices.IsSorted(got) {
			t.Errorf("%s: not in order", c.name)
		}
	}

	// A scan that is left half way is closed on the server too.
	s, err := tb.GetScanner(ctx, hash, nil, nil, options(func(o *pegasus.ScannerOptions) {}))
	must(t, err)
	_, _, _, _, err = s.Next(ctx)
	must(t, err)
	// The client waits for an answer to its message, which Apache Pegasus never gave, and reports the end of its wait.
	if err := s.Close(); err != nil && !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Error(err)
	}
	_, err = tb.Get(ctx, hash, []byte("000"))
	must(t, err)
}

func TestUnorderedScanners(t *testing.T) {
	ctx, tb := table(t)
	want := map[string]bool{}
	for i := range 200 {
		hash := fmt.Sprintf("unordered%03d", i)
		must(t, tb.MultiSet(ctx, []byte(hash), bytesOf("a", "b"), bytesOf("1", "2")))
		want[hash+"/a=1"], want[hash+"/b=2"] = true, true
	}
	for _, split := range []int{1, 3, 8, 100} {
		o := pegasus.NewScanOptions()
		o.BatchSize = 20
		o.HashKeyFilter = pegasus.Filter{Type: pegasus.FilterTypeMatchPrefix, Pattern: []byte("unordered")}
		scanners, err := tb.GetUnorderedScanners(ctx, split, o)
		must(t, err)
		same(t, "scanners", len(scanners), min(split, 8))
		got := map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, s := range scanners {
			wg.Go(func() {
				list, err := scan(ctx, s)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, row := range list {
					if got[row] || !want[row] {
						t.Errorf("%s came twice or should not", row)
					}
					got[row] = true
				}
			})
		}
		wg.Wait()
		same(t, fmt.Sprintf("rows of %d scanners", split), len(got), len(want))
	}

	// Without a filter the same rows are among all rows of the table.
	scanners, err := tb.GetUnorderedScanners(ctx, 8, pegasus.NewScanOptions())
	must(t, err)
	n := 0
	for _, s := range scanners {
		list, err := scan(ctx, s)
		must(t, err)
		for _, row := range list {
			if strings.HasPrefix(row, "unordered") {
				n++
			}
		}
	}
	same(t, "rows without a filter", n, len(want))
}
