package shard

import (
	"fmt"
	"strings"
	"testing"

	"pegasus/netcore/proto"
)

// Every kind of data request can be traced, and does what it says.
func TestTraceOfEveryOperation(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	cl := c.dial()
	g, _ := partOf(1, 4, "hash")
	covered := map[string]bool{}
	for _, tc := range []struct {
		op   string
		args string
		want string
	}{
		{"set", "hash s v", `put "hash" : "s" took`},
		{"set", "hash s v 1000", "1 writes in the mutation"},
		{"get", "hash s", "found"},
		{"ttl", "hash s", "found"},
		{"incr", "hash n 3", `incr "hash" : "n" took`},
		{"multi_set", "hash a 1 b 2 c 3", `multi_put "hash" : "a" took`},
		{"multi_get", "hash a b x", `multi_get "hash" : "a" took`},
		{"multi_get", "hash a b x", "3 records looked at"},
		{"multi_get", "hash", "5 records looked at"},
		{"batch_get", "hash a b", "2 records looked at"},
		{"batch_get", "hash a b", `batch_get "hash" : "a" took`},
		{"sortkey_count", "hash", "5 records looked at"},
		{"scan", "hash", "5 records looked at"},
		{"scan", "hash b", "4 records looked at"},
		{"scan", "hash b n", "2 records looked at"},
		{"check_and_set", "hash a bytes_equal 1 d new", `check_and_set "hash" : "d" took`},
		{"check_and_set", "hash a bytes_equal 9 e new", "nothing written"},
		{"check_and_mutate", "hash x not_exist  set e 1 del d", `check_and_mutate "hash" : "e" took`},
		{"multi_remove", "hash a e", `multi_remove "hash" : "a" took`},
		{"remove", "hash n", `remove "hash" : "n" took`},
		{"multi_get", "hash", "3 records looked at"}, // b, c and s are left
	} {
		text := cl.command("trace", append([]string{tc.op, g.String()}, strings.Split(tc.args, " ")...)...)
		if !strings.Contains(text, tc.want) {
			t.Errorf("trace %s %s: %q, want %q in it", tc.op, tc.args, text, tc.want)
		}
		kind, _, _ := strings.Cut(text, " ")
		covered[kind] = true
	}
	for k := kindGet; k < kindCount; k++ {
		if !covered[kindNames[k]] {
			t.Errorf("no trace of a %s", kindNames[k])
		}
	}
	if len(traceOperations) != len(covered) {
		t.Errorf("%d operations make %d kinds of requests", len(traceOperations), len(covered))
	}
	if v, ok := cl.get(1, 4, "hash", "b"); !ok || v != "2" {
		t.Errorf("the traced multi_set left %q, %v", v, ok)
	}
	for i := range 2 {
		onShard(c.node, i, func(sh *Shard) {
			if sh.freeTrace() != 1 {
				t.Errorf("shard %d has a trace that is not over", i)
			}
			for _, p := range sh.partitions {
				if n := len(p.scanners.waiting); n > 0 {
					t.Errorf("%d scans wait to be continued", n)
				}
			}
		})
	}
	c.quiet()
}

func TestTraceRefusesWhatItCannotRead(t *testing.T) {
	long := strings.Repeat("k", 1<<16)
	for _, tc := range []struct{ args, want string }{
		{"get 1.0", "usage: trace batch_get|check_and_mutate|"},
		{"put 1.0 h s v", `no operation "put"`},
		{"get 1.0 h", "usage: trace get APP_ID.PARTITION HASH_KEY SORT_KEY"},
		{"get 1 h s", "usage: trace get"},
		{"get 1.0 h s x", "usage: trace get"},
		{"get 1.0 " + long + " s", "a hash key has at most 65534 bytes"},
		{"set 1.0 h s v x", "a TTL is a number"},
		{"set 1.0 h s v -1", "a TTL is a number"},
		{"incr 1.0 h s x", "an increment is a number"},
		{"multi_set 1.0 h a 1 b", "a sort key without a value"},
		{"check_and_set 1.0 h a no_such 1 d v", `check type "no_such": want one of not_exist, `},
		{"check_and_mutate 1.0 h a exist 1 set e", `mutation "set": want`},
		{"check_and_mutate 1.0 h a no_such 1 del e", `check type "no_such"`},
		{"check_and_mutate 1.0 h a exist 1 del e del", `mutation "del": want`},
		{"check_and_mutate 1.0 h a exist 1 drop e", `mutation "drop": want`},
	} {
		if _, err := parseTrace(strings.Split(tc.args, " "), 0); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60s: %v, want %q in it", tc.args, err, tc.want)
		}
	}
	// More than a frame holds is said, and the trace is over.
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	if text := c.dial().command("trace", "set", "1.0", "h", "s", strings.Repeat("v", c.opts.Limits.MaxWrite+1)); !strings.Contains(text, "ERR") && !strings.Contains(text, "refused") {
		t.Errorf("of a value that is too large: %s", text)
	}
	onShard(c.node, 0, func(sh *Shard) {
		if sh.freeTrace() != 1 {
			t.Error("the trace of a refused request is not over")
		}
	})
}

// A scan of which there is more than fits into a batch leaves nothing behind when it was only traced.
func TestTracedScanIsNotKept(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.Reads.ScanMaxIter = 10 })
	c.table(1, 1, nil)
	cl := c.dial()
	args := []string{"multi_set", "1.0", "h"}
	for i := range 50 {
		args = append(args, fmt.Sprintf("s%02d", i), "v")
	}
	cl.command("trace", args...)
	if text := cl.command("trace", "scan", "1.0", "h"); !strings.Contains(text, "10 records looked at") && !strings.Contains(text, "11 records looked at") {
		t.Errorf("trace: %s", text)
	}
	onShard(c.node, 0, func(sh *Shard) {
		if n := len(sh.partitions[proto.GPID{App: 1}].scanners.waiting); n > 0 {
			t.Errorf("%d scans wait to be continued", n)
		}
	})
	if text := cl.command("help", "trace"); !strings.Contains(text, "|scan|") || !strings.Contains(text, "APP_ID.PARTITION HASH_KEY") {
		t.Errorf("help: %s", text)
	}
}
