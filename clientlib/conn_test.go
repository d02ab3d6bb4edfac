package clientlib

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// sink counts ended calls.
type sink struct{ n int }

func (s *sink) ended(*Call, route.Outcome, proto.ErrCode, error) { s.n++ }

// lone makes a connection without goroutines, of a client without any.
func lone(nc net.Conn, pipeline int) (*Client, *conn) {
	c := &Client{opt: Options{Timeout: time.Minute}, epoch: time.Now()}
	c.clerk.client = c
	return c, newConn(&node{client: c}, nc, pipeline, 1<<20)
}

// Sending a call and taking its reply allocates nothing once buffers have grown.
func TestConnAllocatesNothing(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	client, c := lone(near, 64)
	defer c.fail(ErrClosed)
	var s sink
	call := &Call{Code: proto.CodeGet, Args: proto.AppendBlobArg(nil, []byte("\x00\x01kk"))}
	reply := func(seq int32) []byte {
		to := proto.ReplyTo{Code: proto.CodeGet, Seq: uint64(seq)}
		out, mark := proto.AppendReply(nil, &to, proto.ErrOK, 0)
		out = (&proto.ReadResponse{Value: make([]byte, 100)}).AppendResult(out)
		return proto.FinishReply(out, mark)
	}
	var replies [][]byte
	for seq := range int32(300) {
		replies = append(replies, reply(seq))
	}
	now := client.now()
	allocs := testing.AllocsPerRun(100, func() {
		call.prepare(&s, client)
		c.out = c.out[:0] // in place of the writer
		if c.start(call, proto.GPID{App: 2}, now, false) != startOK {
			t.Fatal("not started")
		}
		frame := replies[c.seq]
		if used, _, err := c.replies(frame); err != nil || used != len(frame) {
			t.Fatalf("used %d of %d, %v", used, len(frame), err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per call", allocs)
	}
	if s.n == 0 || c.inflight != 0 {
		t.Errorf("%d calls ended, %d in flight", s.n, c.inflight)
	}
}

// A whole synchronous operation allocates the value that it returns, and nothing else. The server is this goroutine.
func TestOperationAllocatesItsResult(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	client, c := lone(near, 64)
	defer c.fail(ErrClosed)
	table := &Table{client: client, name: "t"}
	c.node.conn.Store(c)
	m := route.Table{}
	m.Next(0)
	resp := &proto.QueryCfgResponse{AppID: 2, PartitionCount: 1, Partitions: []proto.PartitionConfiguration{{PID: proto.GPID{App: 2}, Ballot: 1}}}
	if _, err := m.Answer(0, resp); err != nil {
		t.Fatal(err)
	}
	table.routing.Store(&routing{m: m.Map(), nodes: []*node{c.node}})
	key, value := []byte("key"), make([]byte, 100)
	operation := func(code proto.Code, result func([]byte) []byte, encode func(*pending) error, decode func(*pending) error) float64 {
		frame, mark := proto.AppendReply(nil, &proto.ReplyTo{Code: code}, proto.ErrOK, 0)
		frame = proto.FinishReply(result(frame), mark)
		name := []byte(code.String() + "_ACK")
		seqAt := bytes.Index(frame, name) + len(name)
		return testing.AllocsPerRun(200, func() {
			p := newPending(code)
			if err := encode(p); err != nil {
				t.Fatal(err)
			}
			table.Do(&p.Call)
			c.out = c.out[:0] // in place of the writer
			binary.BigEndian.PutUint32(frame[seqAt:], uint32(c.seq))
			if used, _, err := c.replies(frame); err != nil || used != len(frame) {
				t.Fatalf("used %d of %d, %v", used, len(frame), err)
			}
			p.wait(context.Background(), client)
			if err := decode(p); err != nil {
				t.Fatal(err)
			}
			p.release()
		})
	}
	get := operation(proto.CodeGet, (&proto.ReadResponse{Value: value}).AppendResult,
		func(p *pending) error { return p.encodeKey(key, key) },
		func(p *pending) error { _, err := p.decodeGet(nil); return err })
	if get != 1 {
		t.Errorf("%v allocations per get, want that of the value", get)
	}
	set := operation(proto.CodePut, (&proto.UpdateResponse{}).AppendResult,
		func(p *pending) error { return p.encodeSet(nil, key, key, value, time.Hour) },
		func(p *pending) error { return p.decodeUpdate() })
	if set != 0 {
		t.Errorf("%v allocations per set", set)
	}
}

// A request that is never answered keeps its slot while others go round the ring, and stale replies are ignored.
func TestRingPassesOccupiedSlots(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	client, c := lone(near, 4)
	defer c.fail(ErrClosed)
	c.seq = 1<<31 - 3 // the sequence wraps in this test
	var s sink
	start := func() *Call {
		call := &Call{Code: proto.CodeGet}
		if now := call.prepare(&s, client); c.start(call, proto.GPID{}, now, false) != startOK {
			t.Fatal("not started")
		}
		return call
	}
	slow := start()
	slowSeq := c.seq
	for range 20 {
		call := start()
		if c.seq <= 0 {
			t.Fatalf("seqid %d", c.seq)
		}
		if got := c.take(c.seq); got != call {
			t.Fatalf("reply %d belongs to another call", c.seq)
		}
		if c.take(c.seq) != nil {
			t.Fatal("a second reply was taken")
		}
	}
	for range 3 {
		start()
	}
	extra := &Call{Code: proto.CodeGet}
	if now := extra.prepare(&s, client); c.start(extra, proto.GPID{}, now, false) != startNoRoom {
		t.Error("a fifth call was started")
	}
	if c.take(slowSeq) != slow {
		t.Error("the slow call lost its slot")
	}
}
