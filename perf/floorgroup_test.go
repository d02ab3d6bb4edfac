package perf

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

func startGroup(t *testing.T) *FloorGroup {
	t.Helper()
	g, err := StartFloorGroup(context.Background(), FloorGroupOptions{Dir: t.TempDir(), LogMiB: 1, ValueSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *FloorGroup) count(t *testing.T, name string) (out []uint64) {
	t.Helper()
	for _, m := range g.members {
		c, err := m.counters()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c[name])
	}
	return out
}

// Our client finds the table, gets values of the right size and has its puts on all members; the logs wrap around.
func TestFloorGroup(t *testing.T) {
	g := startGroup(t)
	work := small(0.5)
	work.ValueSize = 500
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Run(ctx, Config{
		Metas: g.Metas(), Table: "temp", Conns: 2, Depth: 16, Work: work, Ops: 8000, Processes: g.Processes(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ops != 8000 || r.Failed != 0 || r.Misses != 0 {
		t.Errorf("%d ops, %d failed, %d misses: %v", r.Ops, r.Failed, r.Misses, r.Errors)
	}
	puts, syncs := g.count(t, "puts"), g.count(t, "log_syncs")
	if n := puts[0] + puts[1] + puts[2]; n != uint64(r.Writes.Count) || slices.Min(puts) == 0 {
		t.Errorf("members took puts %v, %d were made", puts, r.Writes.Count)
	}
	if slices.Min(syncs) == 0 || r.SyncsPerOp <= 0 || r.SyncsPerOp > 3 {
		t.Errorf("%v syncs, %.3f per operation", syncs, r.SyncsPerOp)
	}
}

// rawConn speaks the wire to one member.
type rawConn struct {
	t *testing.T
	net.Conn
	in []byte
}

func (m *member) dial(t *testing.T) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", m.address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t: t, Conn: c}
}

func request(code proto.Code, seq int32) []byte {
	key := []byte("\x00\x04hash")
	args := proto.AppendBlobArg(nil, key)
	if code == proto.CodePut {
		put := proto.PutRequest{Key: key, Value: []byte("value")}
		args = put.AppendArgs(nil)
	}
	frame, mark := proto.AppendRequest(nil, code, proto.GPID{App: 1}, seq, 1000, 1)
	return proto.FinishRequest(append(frame, args...), mark)
}

func (c *rawConn) send(frame []byte) {
	c.t.Helper()
	if _, err := c.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawConn) receive() (r proto.Reply) {
	c.t.Helper()
	for {
		n, _, err := proto.ParseReply(c.in, 1<<20, &r)
		if err != nil {
			c.t.Fatal(err)
		}
		if n > 0 {
			c.in = c.in[n:]
			return r
		}
		chunk := make([]byte, 4096)
		k, err := c.Read(chunk)
		if err != nil {
			c.t.Fatal(err)
		}
		c.in = append(c.in, chunk[:k]...)
	}
}

// gets makes a round trip: what the member sent before is read before this returns.
func (c *rawConn) get(seq int32) {
	c.t.Helper()
	c.send(request(proto.CodeGet, seq))
	r := c.receive()
	var read proto.ReadResponse
	if err := read.DecodeResult(r.Body); err != nil || r.Seq != seq || len(read.Value) != 500 {
		c.t.Fatalf("a get with id %d is answered with %+v, %v", seq, r, err)
	}
}

// A put is answered when all three members have synced it: not while one of them is stopped, whichever it is.
func TestFloorGroupWaitsForEveryMember(t *testing.T) {
	g := startGroup(t)
	for stopped := 1; stopped < floorMembers; stopped++ {
		primary, slow, other := g.members[0], g.members[stopped], g.members[floorMembers-stopped]
		c := primary.dial(t)
		c.get(1)
		before, err := other.counters()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = slow.cmd.Process.Signal(syscall.SIGCONT) }) // else its end would be waited for
		if err := slow.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		c.send(request(proto.CodePut, 2))
		for now := before; now["log_syncs"] == before["log_syncs"]; { // its ack is on its way before it tells of the sync
			if now, err = other.counters(); err != nil {
				t.Fatal(err)
			}
		}
		c.get(3) // the second one is answered in a later round than the ack was read in
		c.get(4)
		if err := slow.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		var done proto.UpdateResponse
		if r := c.receive(); r.Seq != 2 || string(r.Name) != "RPC_RRDB_RRDB_PUT_ACK" || done.DecodeResult(r.Body) != nil || done.Error != proto.StorageOK {
			t.Errorf("the put is answered with %+v", r)
		}
	}
}

// closed tells that the member closes the connection without an answer.
func (c *rawConn) closed() {
	c.t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("read %d bytes, %v; the connection should be closed", n, err)
	}
}

func TestFloorGroupClosesOnGarbage(t *testing.T) {
	g := startGroup(t)
	m := g.members[0]
	spoilt := func(at int, with string) string {
		f := request(proto.CodeGet, 1)
		copy(f[at:], with)
		return string(f)
	}
	for name, bytes := range map[string]string{
		"no protocol":      "GET / HTTP/1.1\r\n\r\n",
		"half a magic":     "THFX",
		"another version":  spoilt(4, "\x00\x00\x00\x01"),
		"header length":    spoilt(8, "\x00\x00\x00\x31"),
		"empty body":       spoilt(16, "\x00\x00\x00\x00"),
		"a huge body":      spoilt(16, "\x7f\xff\xff\xff"),
		"a reply":          spoilt(48, "\x80\x01\x00\x02"),
		"a long name":      spoilt(52, "\x00\x00\x01\x00"),
		"a longer name":    spoilt(52, "\xff\xff\xff\xff"),
		"an unknown name":  spoilt(56, "rpc"),
		"an unknown RPC":   string(request(proto.CodeMultiGet, 1)),
		"a peer too many":  "PEER" + strings.Repeat("\x00", 12),
		"a strange peer":   "PREP" + strings.Repeat("\x00", 12),
		"a peer with data": "PEER\x01\x00\x00\x00" + strings.Repeat("\x00", 9),
	} {
		t.Run(name, func(t *testing.T) {
			c := m.dial(t)
			c.send([]byte(bytes))
			c.closed()
		})
	}
	// Frames with bytes changed anywhere, cut anywhere: whatever they come to, the member stays.
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		frame := slices.Concat(request(proto.CodePut, 1), request(proto.CodeGet, 2))
		for range 1 + rng.IntN(4) {
			frame[rng.IntN(len(frame))] = byte(rng.Uint32())
		}
		c := m.dial(t)
		c.send(frame[:1+rng.IntN(len(frame))])
		if i%2 == 0 {
			if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, c) // to its end, which is an error where the member closed first
		}
		_ = c.Close()
	}
	c := m.dial(t)
	for _, b := range request(proto.CodeGet, 1) { // in pieces
		c.send([]byte{b})
	}
	c.receive()
	c.send(request(proto.CodePut, 2))
	if r := c.receive(); r.Seq != 2 {
		t.Errorf("after all that a put is answered with %+v", r)
	}
}

// Without one of its peers a member takes no put and goes on answering gets.
func TestFloorGroupWithoutAMember(t *testing.T) {
	g := startGroup(t)
	last := g.members[2]
	g.members = g.members[:2]
	if err := last.close(); err != nil {
		t.Fatal(err)
	}
	c := g.members[0].dial(t)
	c.get(1)
	c.send(request(proto.CodePut, 2))
	c.closed()
	g.members[0].dial(t).get(3)
}

func TestFloorGroupErrors(t *testing.T) {
	ctx := context.Background()
	if _, err := StartFloorGroup(ctx, FloorGroupOptions{Dir: t.TempDir(), ValueSize: floorMaxValue + 1}); err == nil {
		t.Error("a value that is too large is accepted")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := StartFloorGroup(ctx, FloorGroupOptions{Dir: dir, LogMiB: 1}); err == nil || !strings.Contains(err.Error(), "log2") {
		t.Errorf("a log that cannot be written: %v", err)
	}
}
