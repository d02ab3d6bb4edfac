package shard

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

func TestEveryKindOfRequest(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	cl := c.dial()
	g, h := partOf(1, 4, "user")

	if _, ok := cl.get(1, 4, "user", "name"); ok {
		t.Fatal("a fresh table has a record")
	}
	cl.put(1, 4, "user", "name", "ann")
	if v, ok := cl.get(1, 4, "user", "name"); !ok || v != "ann" {
		t.Fatalf("get: %q, %v", v, ok)
	}
	mp := proto.MultiPutRequest{HashKey: []byte("user")}
	for i := range 10 {
		mp.KVs.AddKeyValue(proto.KeyValue{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	if s := cl.status(cl.call(proto.CodeMultiPut, g, h, mp.AppendArgs)); s != proto.StorageOK {
		t.Fatalf("multi_put: %v", s)
	}
	mg := proto.MultiGetRequest{HashKey: []byte("user"), StartInclusive: true}
	r := cl.call(proto.CodeMultiGet, g, h, mg.AppendArgs)
	var all proto.MultiGetResponse
	if err := all.DecodeResult(r.Body); err != nil || all.Error != proto.StorageOK || all.KVs.N != 11 {
		t.Fatalf("multi_get: %v, %v, %d records", err, all.Error, all.KVs.N)
	}
	for i := range int64(3) {
		if n := cl.number(cl.call(proto.CodeIncr, g, h, incrArgs("user", "visits", 5))); n != 5*(i+1) {
			t.Fatalf("incr %d: %d", i, n)
		}
	}
	for _, step := range []struct {
		want, set string
		status    proto.StorageStatus
	}{{"ann", "bob", proto.StorageOK}, {"ann", "eve", proto.StorageTryAgain}} {
		r := cl.call(proto.CodeCheckAndSet, g, h, casArgs("user", "name", step.want, step.set))
		var m proto.CheckResponse
		if err := m.DecodeResult(r.Body); err != nil || m.Error != step.status {
			t.Fatalf("check_and_set %v: %v, %v", step, err, m.Error)
		}
	}
	if v, _ := cl.get(1, 4, "user", "name"); v != "bob" {
		t.Fatalf("after check_and_set: %q", v)
	}
	if keys := scanAll(cl, g, h, "user", 4); len(keys) != 12 {
		t.Fatalf("scan found %d records", len(keys))
	}
	cl.status(cl.call(proto.CodeRemove, g, h, keyArgs("user", "name")))
	if _, ok := cl.get(1, 4, "user", "name"); ok {
		t.Fatal("removed record is there")
	}
	c.quiet()
}

// scanAll walks a hash key in batches and returns the raw keys.
func scanAll(cl *testClient, g proto.GPID, h uint64, hashKey string, batch int32) (keys []string) {
	cl.t.Helper()
	req := proto.GetScannerRequest{Start: rawKey(hashKey, ""), Stop: engine.AppendNextHashKey(nil, []byte(hashKey)), StartInclusive: true, BatchSize: batch}
	r := cl.call(proto.CodeGetScanner, g, h, req.AppendArgs)
	for {
		m := cl.batch(r)
		rd := m.KVs.Reader()
		for range m.KVs.N {
			keys = append(keys, string(rd.KeyValue().Key))
		}
		if m.Context < 0 {
			return keys
		}
		r = cl.call(proto.CodeScan, g, h, func(b []byte) []byte { return proto.AppendScanArgs(b, m.Context) })
	}
}

func (c *testClient) batch(r proto.Reply) proto.ScanResponse {
	c.t.Helper()
	var m proto.ScanResponse
	if r.Code() != proto.ErrOK {
		c.t.Fatalf("scan: %s", r.Err)
	}
	if err := m.DecodeResult(r.Body); err != nil || m.Error != proto.StorageOK {
		c.t.Fatalf("scan: %v, %v", err, m.Error)
	}
	return m
}

// Every request gets exactly one reply, whatever loop it arrives on.
func TestPipelinedRequestsOnEveryLoop(t *testing.T) {
	for _, shards := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			c := newCluster(t, shards)
			c.table(1, 8, nil)
			clients := []*testClient{c.dial(), c.dial()}
			for i := range shards {
				clients = append(clients, c.dialShard(i))
			}
			const perClient = 2500
			done := make(chan map[int32]int, len(clients))
			for _, cl := range clients {
				for i := range perClient {
					key := fmt.Sprintf("key%d", i%200)
					g, h := partOf(1, 8, key)
					switch i % 5 {
					case 0, 1:
						cl.add(proto.CodePut, g, h, putArgs(key, "s", "value"))
					case 2:
						cl.add(proto.CodeGet, g, h, keyArgs(key, "s"))
					case 3:
						cl.add(proto.CodeIncr, g, h, incrArgs(key, "n", 1))
					default:
						mg := proto.MultiGetRequest{HashKey: []byte(key), StartInclusive: true}
						cl.add(proto.CodeMultiGet, g, h, mg.AppendArgs)
					}
				}
			}
			for _, cl := range clients {
				go cl.conn.Write(cl.out)
				go func() {
					seen := map[int32]int{}
					for range perClient {
						r, err := cl.read()
						if err != nil || r.Code() != proto.ErrOK {
							t.Errorf("reply: %v, %s", err, r.Err)
							break
						}
						seen[r.Seq]++
					}
					done <- seen
				}()
			}
			for range clients {
				seen := <-done
				if len(seen) != perClient || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
					t.Fatalf("%d different replies, want %d", len(seen), perClient)
				}
			}
			for _, cl := range clients { // and not one more
				cl.out = cl.out[:0]
				g, h := partOf(1, 8, "key0")
				cl.call(proto.CodeGet, g, h, keyArgs("key0", "s"))
			}
			total := int64(0)
			for i := 3; i < 200; i += 5 {
				key := fmt.Sprintf("key%d", i)
				g, h := partOf(1, 8, key)
				total += clients[0].number(clients[0].call(proto.CodeIncr, g, h, incrArgs(key, "n", 0)))
			}
			if want := int64(len(clients) * perClient / 5); total != want {
				t.Fatalf("counters sum up to %d, want %d", total, want)
			}
			c.quiet()
		})
	}
}

func TestAdmission(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) { o.Limits.MaxWrite = 1000 })
	c.table(1, 2, nil)
	cl := c.dial()
	g, h := partOf(1, 2, "k")
	cl.put(1, 2, "k", "s", "v")
	get := func() proto.ErrCode {
		r := cl.call(proto.CodeGet, g, h, keyArgs("k", "s"))
		return r.Code()
	}
	put := func() proto.ErrCode {
		r := cl.call(proto.CodePut, g, h, putArgs("k", "s", "v"))
		return r.Code()
	}
	env := func(k, v string) {
		c.meta.setEnvs(1, map[string]string{k: v})
		for i := range int32(2) {
			eventually(t, "envs arrive", func() bool {
				return onPartition(c.node, proto.GPID{App: 1, Part: i}, func(p *partition) bool { return p.app.Envs[k] == v })
			})
		}
	}
	for _, tc := range []struct {
		env      string
		get, put proto.ErrCode
		_        struct{}
	}{
		{env: "reconfig*read", get: proto.ErrInvalidState, put: proto.ErrOK},
		{env: "reconfig*write", get: proto.ErrOK, put: proto.ErrInvalidState},
		{env: "reconfig*all", get: proto.ErrInvalidState, put: proto.ErrInvalidState},
		{env: "nonsense", get: proto.ErrOK, put: proto.ErrOK},
		{env: "", get: proto.ErrOK, put: proto.ErrOK},
	} {
		env("replica.deny_client_request", tc.env)
		if e := get(); e != tc.get {
			t.Errorf("%q: get says %v, want %v", tc.env, e, tc.get)
		}
		if e := put(); e != tc.put {
			t.Errorf("%q: put says %v, want %v", tc.env, e, tc.put)
		}
	}
	// Refused in silence: the next reply is that of another request, and the session owes nothing.
	env("replica.deny_client_request", "timeout*all")
	for _, via := range []*testClient{c.dialShard(0), c.dialShard(1)} {
		via.add(proto.CodeGet, g, h, keyArgs("k", "s"))
		via.add(proto.CodePut, g, h, putArgs("k", "s", "v"))
		r := via.call(proto.CodeNegotiation, proto.GPID{}, 0, noArgs)
		if r.Seq != via.seq {
			t.Errorf("reply to %d", r.Seq)
		}
	}
	c.quiet()
	env("replica.deny_client_request", "")

	if r := cl.call(proto.CodePut, g, h, putArgs("k", "s", strings.Repeat("x", 1000))); r.Code() != proto.ErrInvalidData {
		t.Errorf("put above max_write: %v", r.Code())
	}
	env("replica.split.validate_partition_hash", "true")
	if e := get(); e != proto.ErrOK {
		t.Errorf("right hash: %v", e)
	}
	r := cl.call(proto.CodeGet, g, h+1, keyArgs("k", "s"))
	if r.Code() != proto.ErrParentPartitionMisused {
		t.Errorf("wrong hash: %v", r.Code())
	}
	for _, tc := range []struct {
		code proto.Code
		g    proto.GPID
		want proto.ErrCode
	}{
		{proto.CodeGet, proto.GPID{App: 9, Part: 0}, proto.ErrObjectNotFound},
		{proto.CodeGet, proto.GPID{App: 1, Part: 77}, proto.ErrObjectNotFound},
		{proto.CodeGet, proto.GPID{App: 1, Part: -5}, proto.ErrObjectNotFound},
		{proto.CodeGet, proto.GPID{App: -1, Part: 0}, proto.ErrHandlerNotFound},
		{proto.CodeCMCreateApp, proto.GPID{}, proto.ErrHandlerNotFound},
		{proto.CodeQueryDiskInfo, proto.GPID{}, proto.ErrOK},
		{proto.CodeDuplicate, g, proto.ErrNotImplemented},
	} {
		if r := cl.call(tc.code, tc.g, 0, keyArgs("k", "s")); r.Code() != tc.want {
			t.Errorf("%v for %v: %v, want %v", tc.code, tc.g, r.Code(), tc.want)
		}
	}
	c.quiet()
}

func TestTooManyInFlightIsBusy(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) { o.Limits.MaxInFlight = 50 })
	c.table(1, 2, nil)
	for i := range 2 {
		cl := c.dialShard(i)
		const n = 400
		for j := range n {
			key := fmt.Sprint("k", j)
			g, h := partOf(1, 2, key)
			cl.add(proto.CodePut, g, h, putArgs(key, "s", "v"))
		}
		cl.flush()
		count := map[proto.ErrCode]int{}
		for range n {
			r := cl.recv()
			count[r.Code()]++
		}
		if count[proto.ErrOK] < 50 || count[proto.ErrBusy] == 0 || count[proto.ErrOK]+count[proto.ErrBusy] != n {
			t.Fatalf("replies: %v", count)
		}
	}
	c.quiet()
}

func TestScanContexts(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.Limits.MaxScanners = 3 })
	c.table(1, 1, nil)
	cl := c.dial()
	g, h := partOf(1, 1, "h")
	for i := range 20 {
		cl.put(1, 1, "h", fmt.Sprint(i), "v")
	}
	open := func() int64 {
		req := proto.GetScannerRequest{Start: rawKey("h", ""), Stop: engine.AppendNextHashKey(nil, []byte("h")), StartInclusive: true, BatchSize: 3}
		return cl.batch(cl.call(proto.CodeGetScanner, g, h, req.AppendArgs)).Context
	}
	known := func(handle int64) bool {
		r := cl.call(proto.CodeScan, g, h, func(b []byte) []byte { return proto.AppendScanArgs(b, handle) })
		var m proto.ScanResponse
		if err := m.DecodeResult(r.Body); err != nil {
			t.Fatal(err)
		}
		return m.Error == proto.StorageOK
	}
	parked := func() int {
		return onPartition(c.node, g, func(p *partition) int { return len(p.scanners.waiting) })
	}
	handles := []int64{open(), open(), open(), open()}
	if parked() != 3 || known(handles[0]) || !known(handles[3]) {
		t.Fatalf("%d parked, handles %v; the oldest must go when the table is full", parked(), handles)
	}
	if known(handles[3]) {
		t.Fatal("a handle may be used once")
	}
	cl.add(proto.CodeClearScanner, g, h, func(b []byte) []byte { return proto.AppendClearScannerArgs(b, handles[1]) })
	if known(handles[1]) {
		t.Fatal("cleared scanner is known")
	}
	if parked() == 0 {
		t.Fatal("nothing waits to expire")
	}
	onPartition(c.node, g, func(p *partition) bool {
		for handle, parked := range p.scanners.waiting { // their time passes at once
			if left := parked.expires - p.shard.loop.Now(); left <= 0 || left > int64(c.node.opts.Limits.ScannerExpiry) {
				t.Errorf("a scan has %v left, want no more than %v", time.Duration(left), c.node.opts.Limits.ScannerExpiry)
			}
			parked.expires -= int64(c.node.opts.Limits.ScannerExpiry)
			p.scanners.waiting[handle] = parked
		}
		return true
	})
	eventually(t, "scanners expire", func() bool { return parked() == 0 })
	if known(handles[2]) {
		t.Fatal("expired scanner is known")
	}
	open()
	c.meta.setStatus(1, proto.AppDropped)
	eventually(t, "the replica closes", func() bool {
		return onPartition(c.node, g, func(p *partition) bool { return p == nil })
	})
	if r := cl.call(proto.CodeGet, g, h, keyArgs("h", "1")); r.Code() != proto.ErrObjectNotFound {
		t.Fatalf("dropped table: %v", r.Code())
	}
	c.meta.setStatus(1, proto.AppAvailable)
	c.served(1, 1)
	if v, ok := cl.get(1, 1, "h", "1"); !ok || v != "v" {
		t.Fatal("recalled table lost a record")
	}
	c.quiet()
}

func TestOtherProtocols(t *testing.T) {
	c := newCluster(t, 1)
	ask := func(req string) string {
		conn, err := net.Dial("tcp", c.opts.Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, req)
		b, _ := io.ReadAll(conn)
		return string(b)
	}
	if got := ask("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") ||
		!strings.Contains(got, `"GitCommit"`) {
		t.Errorf("/version: %q", got)
	}
	if got := ask("GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 404") {
		t.Errorf("/nothing: %q", got)
	}
	if got := ask("GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 501") {
		t.Errorf("refused request: %q", got)
	}
	if got := ask("GET /x HTTP/1.1\r\nbroken header\r\n\r\n"); got != "" {
		t.Errorf("request that is none: %q", got)
	}
	cl := c.dial()
	command := func(cmd string, args ...string) string {
		r := cl.call(proto.CodeCLICall, proto.GPID{}, 0, func(b []byte) []byte {
			return proto.AppendArgs(b, &proto.Command{Cmd: cmd, Arguments: args}, 1)
		})
		if r.Code() != proto.ErrOK {
			t.Fatalf("%s: %v", cmd, r.Code())
		}
		return string(r.Body)
	}
	for _, tc := range []struct{ cmd, arg, want string }{
		{"help", "", "server-info"}, {"help", "version", "the version"}, {"help", "zzz", "cannot find"},
		{"version", "", "Pegasus Server"}, {"nonsense", "", "unknown command"},
	} {
		if got := command(tc.cmd, strings.Fields(tc.arg)...); !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %q", tc.cmd, tc.arg, got)
		}
	}
	if r := cl.call(proto.CodeCLICall, proto.GPID{}, 0, func(b []byte) []byte { return append(b, 0xff) }); r.Code() != proto.ErrInvalidParameters {
		t.Errorf("undecodable command: %v", r.Code())
	}
	if r := cl.call(proto.CodeNegotiation, proto.GPID{}, 0, noArgs); r.Code() != proto.ErrOK {
		t.Errorf("negotiation: %v", r.Code())
	}
	c.quiet()
}

// TestServerStat: what a node did shows in the remote command, within the second in which the shards publish it.
func TestServerStat(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	cl := c.dial()
	fill(cl, 1, 4, 10, "v")
	if n := c.node.Counters(); n["writes"] != 10 {
		t.Errorf("counters at once: %v", n)
	}
	cl.get(1, 4, "k0", "s")
	eventually(t, "the counters are published", func() bool {
		s := c.node.Stats()
		return s.Writes == 10 && s.Gets == 1 && s.Mutations > 0
	})
	if n := c.node.Counters(); n["log_writes"] == 0 || n["log_bytes"] == 0 || n["writes"] != 10 {
		t.Errorf("counters: %v", n)
	}
	if text := remote(t, c.opts.Listen, "server-stat"); !strings.Contains(text, "writes: 10\n") {
		t.Errorf("server-stat says %q", text)
	}
}
