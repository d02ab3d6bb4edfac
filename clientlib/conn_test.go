package clientlib

import (
	"net"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

// sink counts ended calls.
type sink struct{ n int }

func (s *sink) ended(call *Call, code proto.ErrCode, cause error) { s.n++ }

// Sending a call and taking its reply allocates nothing once buffers have grown.
func TestConnAllocatesNothing(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	c := newConn(near, 64, 1<<20)
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
	now := time.Now()
	allocs := testing.AllocsPerRun(100, func() {
		call.prepare(&s, time.Second)
		c.out = c.out[:0] // in place of the writer
		if err := c.start(call, proto.GPID{App: 2}, now); err != nil {
			t.Fatal(err)
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

// A request that is never answered keeps its slot while others go round the ring, and stale replies are ignored.
func TestRingPassesOccupiedSlots(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	c := newConn(near, 4, 1<<20)
	defer c.fail(ErrClosed)
	c.seq = 1<<31 - 3 // the sequence wraps in this test
	var s sink
	start := func() *Call {
		call := &Call{Code: proto.CodeGet}
		call.prepare(&s, time.Minute)
		if err := c.start(call, proto.GPID{}, time.Now()); err != nil {
			t.Fatal(err)
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
	extra.prepare(&s, time.Minute)
	if err := c.start(extra, proto.GPID{}, time.Now()); err != ErrPipelineFull {
		t.Errorf("fifth call: %v", err)
	}
	if c.take(slowSeq) != slow {
		t.Error("the slow call lost its slot")
	}
}
