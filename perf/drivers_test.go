package perf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeRedis answers what the driver sends from a map, and "-ERR" to keys that end with an x.
func fakeRedis(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	var mu sync.Mutex
	data := map[string]string{}
	serve := func(args []string) string {
		mu.Lock()
		defer mu.Unlock()
		get := func(k string) string {
			if v, ok := data[k]; ok {
				return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v)
			}
			return "$-1\r\n"
		}
		switch args[0] {
		case "GET":
			return get(args[1])
		case "MGET":
			out := fmt.Sprintf("*%d\r\n", len(args)-1)
			for _, k := range args[1:] {
				out += get(k)
			}
			return out
		case "SET", "MSET":
			if _, there := data[args[1]]; len(args) == 4 && args[3] == "XX" && !there {
				return "$-1\r\n"
			}
			for i := 1; i+1 < len(args); i += 2 {
				data[args[i]] = args[i+1]
			}
			return "+OK\r\n"
		case "INCR":
			n, _ := strconv.Atoi(data[args[1]])
			data[args[1]] = strconv.Itoa(n + 1)
			return fmt.Sprintf(":%d\r\n", n+1)
		}
		return "-ERR unknown\r\n"
	}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					var n int
					if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
						return
					}
					var args []string
					for range n {
						var size int
						if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
							return
						}
						b := make([]byte, size+2)
						if _, err := io.ReadFull(r, b); err != nil {
							return
						}
						args = append(args, string(b[:size]))
					}
					if _, err := io.WriteString(c, serve(args)); err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr().String()
}

func TestRedis(t *testing.T) {
	d := &Redis{Address: fakeRedis(t)}
	for _, name := range []string{"mixed", "multi-put", "multi-get", "incr", "cas", "ycsb-d", "ycsb-f"} {
		w := small(0)
		if err := w.Preset(name); err != nil {
			t.Fatal(err)
		}
		r, err := Run(context.Background(), Config{Driver: d, Conns: 2, Depth: 4, Work: w, Ops: 400, Preload: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops != 400 || r.Failed != 0 || r.Misses != 0 {
			t.Errorf("%s: %d ops, %d misses, %v", name, r.Ops, r.Misses, r.Errors)
		}
	}
	w := small(0)
	if err := w.Preset("scan"); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), Config{Driver: d, Conns: 1, Depth: 1, Work: w, Ops: 1}); err == nil {
		t.Error("a scan is accepted")
	}
}

// What no Redis would send ends the connection, and what is in flight with it.
func TestRESP(t *testing.T) {
	for text, want := range map[string]string{
		"+OK\r\n": "false <nil>", "$-1\r\n": "true <nil>", "$3\r\nabc\r\n": "false <nil>", ":5\r\n": "false <nil>",
		"*2\r\n$-1\r\n$-1\r\n": "true <nil>", "*2\r\n$-1\r\n$1\r\na\r\n": "false <nil>", "-ERR no\r\n": "false redis: ERR no",
	} {
		miss, err := readRESP(bufio.NewReader(strings.NewReader(text)), 0)
		if got := fmt.Sprint(miss, " ", err); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	deep := strings.Repeat("*1\r\n", 10) + ":1\r\n"
	for _, text := range []string{"", "+OK", "\n\n", "$x\r\n", "$-2\r\n", "$99999999999\r\n", "$5\r\nab", "?1\r\n", deep} {
		if _, err := readRESP(bufio.NewReader(strings.NewReader(text)), 0); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// The messages that the etcd driver sends, byte by byte, and what it makes of replies.
func TestEtcd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	reply := []byte{4<<3 | 0, 1} // count: 1
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
			t.Errorf("bad frame % x", body)
			return
		}
		got = append(got, fmt.Sprintf("%s %q", r.URL.Path, body[5:]))
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(append([]byte{0, 0, 0, 0, byte(len(reply))}, reply...))
		w.Header().Set("Grpc-Status", "0")
		if bytes.Contains(body, []byte("bad")) {
			w.Header().Set("Grpc-Status", "14")
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	defer func() { server.Close(); <-done }()

	conn, err := (&Etcd{Address: ln.Addr().String()}).Dial(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slot := conn.Slot()
	do := func(op Op) string {
		var out string
		op.Done = func(miss bool, err error) { out = fmt.Sprint(miss, " ", err) }
		op.N, op.Values, op.ValueSize = max(op.N, 1), []byte("v"), 1
		slot.Start(&op)
		return out
	}
	for _, tc := range []struct {
		op         Op
		sent, want string
	}{
		{Op{Kind: Get, HashKey: []byte("k")}, `Range "\n\x01k"`, "false <nil>"},
		{Op{Kind: Put, HashKey: []byte("k")}, `Put "\n\x01k\x12\x01v"`, "false <nil>"},
		{Op{Kind: Scan, HashKey: []byte("k"), SortKey: []byte("00000000"), N: 2},
			`Range "\n\tk00000000\x12\nk00000001\x00\x18\x02"`, "false <nil>"},
		{Op{Kind: MultiGet, HashKey: []byte("k"), N: 2}, `Txn "\x12\r\n\v\n\tk00000000\x12\r\n\v\n\tk00000001"`, "false <nil>"},
		{Op{Kind: CheckAndSet, HashKey: []byte("k")}, `Txn "\n\t\b\x01\x10\x00\x1a\x01k \x00\x12\b\x12\x06\n\x01k\x12\x01v"`, "true <nil>"},
		{Op{Kind: Put, HashKey: []byte("bad")}, `Put "\n\x03bad\x12\x01v"`, `false etcd: 200 OK, gRPC status "14": `},
	} {
		got = got[:0]
		if out := do(tc.op); out != tc.want {
			t.Errorf("%v: %s, want %s", tc.op.Kind, out, tc.want)
		}
		if len(got) != 1 || got[0] != "/etcdserverpb.KV/"+tc.sent {
			t.Errorf("%v: sent %q, want %q", tc.op.Kind, got, tc.sent)
		}
	}
	if hasNumber([]byte{4<<3 | 0, 0}, rangeCount) || hasNumber([]byte{0xff}, rangeCount) || hasNumber([]byte{2, 99}, rangeCount) {
		t.Error("a number that is not there")
	}
}
