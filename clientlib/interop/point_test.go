package interop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegasus"
)

func TestSetGetDel(t *testing.T) {
	ctx, tb := table(t)
	// More hash keys than partitions, so that every partition and every server takes part.
	for i := range 64 {
		hash, sort, value := fmt.Appendf(nil, "point%d", i), fmt.Appendf(nil, "s%d", i), fmt.Appendf(nil, "v%d", i)
		must(t, tb.Set(ctx, hash, sort, value))
		got, err := tb.Get(ctx, hash, sort)
		must(t, err)
		same(t, "get", string(got), string(value))

		must(t, tb.Set(ctx, hash, sort, []byte("second")))
		got, err = tb.Get(ctx, hash, sort)
		must(t, err)
		same(t, "get after an overwrite", string(got), "second")

		must(t, tb.Del(ctx, hash, sort))
		got, err = tb.Get(ctx, hash, sort)
		must(t, err)
		if got != nil {
			t.Errorf("get after del: %q", got)
		}
		must(t, tb.Del(ctx, hash, sort))
	}
}

func TestOddKeysAndValues(t *testing.T) {
	ctx, tb := table(t)
	for name, c := range map[string]struct{ hash, sort, value string }{
		"empty sort key": {"odd1", "", "v"},
		"empty value":    {"odd2", "s", ""},
		"zero bytes":     {"odd3\x00\x00", "\x00", "\x00\xff\x00"},
		"high bytes":     {"\xff\xff\xff", "\xff\xff", "\xff"},
		"large":          {strings.Repeat("h", 10000), strings.Repeat("s", 10000), strings.Repeat("v", 500000)},
	} {
		must(t, tb.Set(ctx, []byte(c.hash), []byte(c.sort), []byte(c.value)))
		got, err := tb.Get(ctx, []byte(c.hash), []byte(c.sort))
		must(t, err)
		if got == nil || string(got) != c.value {
			t.Errorf("%s: got %d bytes, want %d", name, len(got), len(c.value))
		}
		must(t, tb.Del(ctx, []byte(c.hash), []byte(c.sort)))
	}
}

func TestTTLAndExist(t *testing.T) {
	ctx, tb := table(t)
	hash := []byte("ttl")
	ttl, err := tb.TTL(ctx, hash, []byte("none"))
	must(t, err)
	same(t, "ttl of nothing", ttl, -2)
	exist, err := tb.Exist(ctx, hash, []byte("none"))
	must(t, err)
	same(t, "exist of nothing", exist, false)

	must(t, tb.Set(ctx, hash, []byte("for ever"), []byte("v")))
	ttl, err = tb.TTL(ctx, hash, []byte("for ever"))
	must(t, err)
	same(t, "ttl without expiry", ttl, -1)
	exist, err = tb.Exist(ctx, hash, []byte("for ever"))
	must(t, err)
	same(t, "exist", exist, true)

	must(t, tb.SetTTL(ctx, hash, []byte("an hour"), []byte("v"), time.Hour))
	ttl, err = tb.TTL(ctx, hash, []byte("an hour"))
	must(t, err)
	if ttl < 3500 || ttl > 3600 {
		t.Errorf("ttl %d, want about 3600", ttl)
	}

	must(t, tb.SetTTL(ctx, hash, []byte("soon"), []byte("v"), time.Second))
	for {
		got, err := tb.Get(ctx, hash, []byte("soon"))
		must(t, err)
		if got == nil {
			break
		}
	}
	exist, err = tb.Exist(ctx, hash, []byte("soon"))
	must(t, err)
	same(t, "exist after expiry", exist, false)
}

func TestIncr(t *testing.T) {
	ctx, tb := table(t)
	hash, sort := []byte("incr"), []byte("s")
	must(t, tb.Del(ctx, hash, sort))
	total := int64(0)
	for _, by := range []int64{1, 41, 0, -100} {
		total += by
		got, err := tb.Incr(ctx, hash, sort, by)
		must(t, err)
		same(t, "incr", got, total)
	}
	value, err := tb.Get(ctx, hash, sort)
	must(t, err)
	same(t, "the value", string(value), "-58")

	must(t, tb.Set(ctx, hash, sort, []byte("no number")))
	refused(t, "counting up a text", func(ctx context.Context) error {
		_, err := tb.Incr(ctx, hash, sort, 1)
		return err
	})
	value, err = tb.Get(ctx, hash, sort)
	must(t, err)
	same(t, "the text afterwards", string(value), "no number")
}

func TestIncrIsAtomic(t *testing.T) {
	ctx, tb := table(t)
	const callers, calls = 16, 50
	hash := []byte("incr atomic")
	must(t, tb.Del(ctx, hash, []byte{}))
	seen := make([]bool, callers*calls+1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				got, err := tb.Incr(ctx, hash, []byte{}, 1)
				mu.Lock()
				switch {
				case err != nil:
					t.Error(err)
				case got < 1 || int(got) >= len(seen) || seen[got]:
					t.Errorf("%d was returned twice or is out of range", got)
				default:
					seen[got] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestCheckAndSet(t *testing.T) {
	ctx, tb := table(t)
	hash := []byte("cas")
	for _, c := range []struct {
		name    string
		before  string // "" means no value
		check   pegasus.CheckType
		operand string
		want    bool
	}{
		{"no check", "", pegasus.CheckTypeNoCheck, "", true},
		{"not exist, missing", "", pegasus.CheckTypeValueNotExist, "", true},
		{"not exist, there", "x", pegasus.CheckTypeValueNotExist, "", false},
		{"not exist or empty, missing", "", pegasus.CheckTypeValueNotExistOrEmpty, "", true},
		{"exist, missing", "", pegasus.CheckTypeValueExist, "", false},
		{"exist, there", "x", pegasus.CheckTypeValueExist, "", true},
		{"not empty", "x", pegasus.CheckTypeValueNotEmpty, "", true},
		{"anywhere", "abc", pegasus.CheckTypeMatchAnywhere, "b", true},
		{"anywhere, no", "abc", pegasus.CheckTypeMatchAnywhere, "x", false},
		{"prefix", "abc", pegasus.CheckTypeMatchPrefix, "ab", true},
		{"prefix, no", "abc", pegasus.CheckTypeMatchPrefix, "bc", false},
		{"postfix", "abc", pegasus.CheckTypeMatchPostfix, "bc", true},
		{"bytes less", "abc", pegasus.CheckTypeBytesLess, "abd", true},
		{"bytes less or equal", "abc", pegasus.CheckTypeBytesLessOrEqual, "abc", true},
		{"bytes equal", "abc", pegasus.CheckTypeBytesEqual, "abc", true},
		{"bytes equal, no", "abc", pegasus.CheckTypeBytesEqual, "ab", false},
		{"bytes greater or equal", "abc", pegasus.CheckTypeBytesGreaterOrEqual, "abd", false},
		{"bytes greater", "abc", pegasus.CheckTypeBytesGreater, "abb", true},
		{"int less", "9", pegasus.CheckTypeIntLess, "10", true},
		{"int less or equal", "10", pegasus.CheckTypeIntLessOrEqual, "10", true},
		{"int equal", "10", pegasus.CheckTypeIntEqual, "0xa", true},
		{"int greater or equal", "9", pegasus.CheckTypeIntGreaterOrEqual, "10", false},
	} {
		for _, target := range []string{"checked", "other"} {
			must(t, tb.MultiDel(ctx, hash, bytesOf("checked", "other")))
			if c.before != "" {
				must(t, tb.Set(ctx, hash, []byte("checked"), []byte(c.before)))
			}
			res, err := tb.CheckAndSet(ctx, hash, []byte("checked"), c.check, []byte(c.operand), []byte(target), []byte("new"),
				&pegasus.CheckAndSetOptions{ReturnCheckValue: true})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			same(t, c.name+": set", res.SetSucceed, c.want)
			same(t, c.name+": returned", res.CheckValueReturned, true)
			same(t, c.name+": existed", res.CheckValueExist, c.before != "")
			same(t, c.name+": value", string(res.CheckValue), c.before)
			got, err := tb.Get(ctx, hash, []byte(target))
			must(t, err)
			after := ""
			if target == "checked" {
				after = c.before
			}
			if c.want {
				after = "new"
			}
			same(t, c.name+": afterwards", string(got), after)
		}
	}
	_, err := tb.CheckAndSet(ctx, hash, []byte("checked"), pegasus.CheckTypeNoCheck, nil, []byte("checked"), []byte("v"),
		&pegasus.CheckAndSetOptions{SetValueTTLSeconds: 1000})
	must(t, err)
	ttl, err := tb.TTL(ctx, hash, []byte("checked"))
	must(t, err)
	if ttl < 900 || ttl > 1000 {
		t.Errorf("ttl %d, want about 1000", ttl)
	}
}

func TestBatchGet(t *testing.T) {
	ctx, tb := table(t)
	var keys []pegasus.CompositeKey
	for i := range 40 {
		k := pegasus.CompositeKey{HashKey: fmt.Appendf(nil, "batch%d", i), SortKey: []byte("s")}
		keys = append(keys, k)
		if i%4 != 0 {
			must(t, tb.Set(ctx, k.HashKey, k.SortKey, fmt.Appendf(nil, "v%d", i)))
		}
	}
	values, err := tb.BatchGet(ctx, keys)
	must(t, err)
	same(t, "values", len(values), len(keys))
	for i, v := range values {
		want := fmt.Sprintf("v%d", i)
		if i%4 == 0 {
			want = ""
		}
		same(t, fmt.Sprintf("value %d", i), string(v), want)
	}
}

func TestConcurrentCallers(t *testing.T) {
	ctx, tb := table(t)
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			hash := fmt.Appendf(nil, "concurrent%d", caller)
			for i := range 50 {
				want := fmt.Sprint(i)
				if err := tb.Set(ctx, hash, []byte("s"), []byte(want)); err != nil {
					t.Error(err)
					return
				}
				got, err := tb.Get(ctx, hash, []byte("s"))
				if err != nil || string(got) != want {
					t.Errorf("caller %d reads %q, %v after it wrote %s", caller, got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestErrors(t *testing.T) {
	ctx, tb := table(t)
	client := pegasus.NewClient(pegasus.Config{MetaServers: metas()})
	defer client.Close()
	_, err := client.OpenTable(ctx, "no_such_table")
	if err == nil || !strings.Contains(err.Error(), "ERR_OBJECT_NOT_FOUND") {
		t.Errorf("a missing table: %v", err)
	}
	if err := tb.Set(ctx, []byte{}, []byte("s"), []byte("v")); err == nil {
		t.Error("an empty hash key was taken")
	}

	over, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	<-over.Done()
	_, err = tb.Get(over, []byte("h"), []byte("s"))
	var perr *pegasus.PError
	if !errors.As(err, &perr) || !errors.Is(perr.Err, context.DeadlineExceeded) && !strings.Contains(perr.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("a call whose time is over: %v", err)
	}
	cancelled, stop := context.WithCancel(ctx)
	stop()
	if err := tb.Set(cancelled, []byte("h"), []byte("s"), []byte("v")); err == nil {
		t.Error("a cancelled call succeeded")
	}
	// The session outlives them.
	must(t, tb.Set(ctx, []byte("h"), []byte("s"), []byte("v")))
}

func TestWriteTooLarge(t *testing.T) {
	ctx, tb := table(t)
	refused(t, "a value of 2 MiB", func(ctx context.Context) error {
		return tb.Set(ctx, []byte("large"), []byte("s"), make([]byte, 2<<20))
	})
	got, err := tb.Get(ctx, []byte("large"), []byte("s"))
	must(t, err)
	if got != nil {
		t.Errorf("it left %d bytes", len(got))
	}
}

func TestFirstMetaDead(t *testing.T) {
	ctx := deadline(t)
	client := pegasus.NewClient(pegasus.Config{MetaServers: append([]string{"127.0.0.1:1"}, metas()...)})
	defer client.Close()
	tb, err := client.OpenTable(ctx, "temp")
	must(t, err)
	must(t, tb.Set(ctx, []byte("dead meta"), []byte("s"), []byte("v")))
}
