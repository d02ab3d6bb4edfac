package shard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// testClient speaks THFT over one connection, with as many requests in flight as the test likes.
type testClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	seq  int32
}

func dialNode(t testing.TB, addr string) *testClient {
	t.Helper()
	c, err := tryDial(addr)
	if err != nil {
		t.Fatal(err)
	}
	c.t = t
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func tryDial(addr string) (*testClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return &testClient{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// add puts a request into the output; flush sends what was added.
func (c *testClient) add(code proto.Code, g proto.GPID, hash uint64, args func([]byte) []byte) int32 {
	c.seq++
	var mark int
	c.out, mark = proto.AppendRequest(c.out, code, g, c.seq, 10000, hash)
	c.out = proto.FinishRequest(args(c.out), mark)
	return c.seq
}

func (c *testClient) flush() {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(c.out); err != nil {
		c.t.Fatal(err)
	}
	c.out = c.out[:0]
}

// read takes one reply off the connection.
func (c *testClient) read() (proto.Reply, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return proto.Reply{}, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	copy(frame, head[:])
	if _, err := io.ReadFull(c.in, frame[4:]); err != nil {
		return proto.Reply{}, err
	}
	var r proto.Reply
	n, _, err := proto.ParseReply(frame, len(frame), &r)
	if err == nil && n != len(frame) {
		err = errors.New("reply does not fill its frame")
	}
	return r, err
}

func (c *testClient) recv() proto.Reply {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(patience))
	r, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// call sends one request and takes its reply.
func (c *testClient) call(code proto.Code, g proto.GPID, hash uint64, args func([]byte) []byte) proto.Reply {
	c.t.Helper()
	seq := c.add(code, g, hash, args)
	c.flush()
	r := c.recv()
	if r.Seq != seq {
		c.t.Fatalf("reply to %d, want %d", r.Seq, seq)
	}
	return r
}

// closed expects the server to end this connection and nobody else's.
func (c *testClient) closed() {
	c.t.Helper()
	for {
		if _, err := c.in.ReadByte(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				c.t.Fatal("the connection is still open")
			}
			return
		}
	}
}

func partOf(app, partitions int32, hashKey string) (proto.GPID, uint64) {
	h := proto.KeyHash([]byte(hashKey))
	return proto.GPID{App: app, Part: int32(h % uint64(partitions))}, h
}

func rawKey(hashKey, sortKey string) []byte {
	return engine.AppendKey(nil, []byte(hashKey), []byte(sortKey))
}

func putArgs(hashKey, sortKey, value string) func([]byte) []byte {
	m := proto.PutRequest{Key: rawKey(hashKey, sortKey), Value: []byte(value)}
	return m.AppendArgs
}

func keyArgs(hashKey, sortKey string) func([]byte) []byte {
	return func(b []byte) []byte { return proto.AppendBlobArg(b, rawKey(hashKey, sortKey)) }
}

func incrArgs(hashKey, sortKey string, by int64) func([]byte) []byte {
	m := proto.IncrRequest{Key: rawKey(hashKey, sortKey), Increment: by}
	return m.AppendArgs
}

func casArgs(hashKey, sortKey, want, value string) func([]byte) []byte {
	m := proto.CheckAndSetRequest{HashKey: []byte(hashKey), CheckSortKey: []byte(sortKey), CheckType: proto.CheckBytesEqual,
		CheckOperand: []byte(want), SetValue: []byte(value), ReturnCheckValue: true}
	return m.AppendArgs
}

// results

func (c *testClient) status(r proto.Reply) proto.StorageStatus {
	c.t.Helper()
	if r.Code() != proto.ErrOK {
		c.t.Fatalf("reply %s: %s", r.Name, r.Err)
	}
	var m proto.UpdateResponse
	if err := m.DecodeResult(r.Body); err != nil {
		c.t.Fatal(err)
	}
	return m.Error
}

func (c *testClient) put(app, partitions int32, hashKey, sortKey, value string) {
	c.t.Helper()
	g, h := partOf(app, partitions, hashKey)
	if s := c.status(c.call(proto.CodePut, g, h, putArgs(hashKey, sortKey, value))); s != proto.StorageOK {
		c.t.Fatalf("put %s: %v", hashKey, s)
	}
}

// get returns the value, or ok false when there is none.
func (c *testClient) get(app, partitions int32, hashKey, sortKey string) (value string, ok bool) {
	c.t.Helper()
	g, h := partOf(app, partitions, hashKey)
	return c.value(c.call(proto.CodeGet, g, h, keyArgs(hashKey, sortKey)))
}

func (c *testClient) value(r proto.Reply) (string, bool) {
	c.t.Helper()
	if r.Code() != proto.ErrOK {
		c.t.Fatalf("get: %s", r.Err)
	}
	var m proto.ReadResponse
	if err := m.DecodeResult(r.Body); err != nil {
		c.t.Fatal(err)
	}
	switch m.Error {
	case proto.StorageOK:
		return string(slices.Clone(m.Value)), true
	case proto.StorageNotFound:
		return "", false
	}
	c.t.Fatalf("get: %v", m.Error)
	return "", false
}

func (c *testClient) number(r proto.Reply) int64 {
	c.t.Helper()
	var m proto.IncrResponse
	if r.Code() != proto.ErrOK {
		c.t.Fatalf("incr: %s", r.Err)
	}
	if err := m.DecodeResult(r.Body); err != nil || m.Error != proto.StorageOK {
		c.t.Fatalf("incr: %v, %v", m.Error, err)
	}
	return m.NewValue
}

func noArgs(b []byte) []byte { return append(b, proto.TStop) }
