package shard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

// Whatever arrives on a session, only that session ends.
func TestGarbageEndsOneSession(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 2, nil)
	bystander := c.dial()
	bystander.put(1, 2, "k", "s", "v")

	g, h := partOf(1, 2, "k")
	request := func() []byte {
		cl := testClient{}
		cl.add(proto.CodePut, g, h, putArgs("k", "s", "v"))
		return cl.out
	}
	absurd := func(at int, v uint32) []byte {
		b := request()
		binary.BigEndian.PutUint32(b[at:], v)
		return b
	}
	for name, in := range map[string][]byte{
		"noise":            bytes.Repeat([]byte{0xa5}, 100),
		"tls":              {0x16, 3, 1, 2, 0, 1, 0},
		"peer":             []byte("PGSR0123456789012345678901234567890123456789"),
		"version":          absurd(4, 77),
		"header length":    absurd(8, 1<<31),
		"body length":      absurd(16, 1<<31),
		"body length 2":    absurd(16, 0xffffffff),
		"native, too long": append([]byte("RDSN"), bytes.Repeat([]byte{0xff}, 300)...),
	} {
		bad := c.dial()
		if _, err := bad.conn.Write(in); err != nil {
			t.Fatal(err)
		}
		bad.closed()
		if v, ok := bystander.get(1, 2, "k", "s"); !ok || v != "v" {
			t.Fatalf("%s: the bystander suffers", name)
		}
	}

	rng := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		b := request()
		for range 1 + rng.IntN(4) {
			b[rng.IntN(len(b))] = byte(rng.IntN(256))
		}
		b = b[:1+rng.IntN(len(b))]
		bad := c.dial()
		bad.conn.Write(b)
		bad.conn.Close()
	}
	// Requests whose envelope is right and whose argument is not, for every code, get an answer or none, and the session lives.
	for name, args := range map[string][]byte{"empty": nil, "noise": bytes.Repeat([]byte{0xff}, 40), "list of 2^31": {15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff}} {
		cl := c.dial()
		for code := proto.Code(1); proto.ParseCode([]byte(code.String())) == code && code < 120; code++ {
			cl.add(code, g, h, func(b []byte) []byte { return append(b, args...) })
		}
		cl.flush()
		last := cl.add(proto.CodeGet, g, h, keyArgs("k", "s"))
		cl.flush()
		for cl.recv().Seq != last {
		}
		if v, ok := bystander.get(1, 2, "k", "s"); !ok || v != "v" {
			t.Fatalf("%s: the bystander suffers", name)
		}
	}
	c.quiet()
	c.served(1, 2)
}

func TestFrameInPieces(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 2, nil)
	cl := c.dial()
	g, h := partOf(1, 2, "k")
	for range 3 {
		cl.add(proto.CodePut, g, h, putArgs("k", "s", "v"))
		cl.add(proto.CodeGet, g, h, keyArgs("k", "s"))
	}
	for _, b := range cl.out {
		if _, err := cl.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		if r := cl.recv(); r.Code() != proto.ErrOK {
			t.Fatal(r.Code())
		}
	}
	// Half a frame and a closed sending side: nothing comes, the session ends.
	half := c.dial()
	half.add(proto.CodeGet, g, h, keyArgs("k", "s"))
	half.conn.Write(half.out[:len(half.out)-3])
	half.conn.(*net.TCPConn).CloseWrite()
	half.closed()
	// A client that stops sending but still reads gets its answers to gets, which need no log.
	done := c.dial()
	done.add(proto.CodeGet, g, h, keyArgs("k", "s"))
	done.flush()
	if v, ok := done.value(done.recv()); !ok || v != "v" {
		t.Fatal("no answer")
	}
	c.quiet()
}

// A client that sends and never reads is closed; its neighbours are served meanwhile, and memory stays bounded.
func TestSlowReader(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) {
		o.Limits.MaxInbound, o.Limits.MaxFrame, o.Limits.MaxOutbound = 2<<20, 2<<20, 4<<20
	})
	c.table(1, 2, nil)
	value := strings.Repeat("x", 200<<10)
	other := c.dial()
	other.put(1, 2, "big", "s", value)
	for i := range 2 { // with the owner of the partition, and by way of another loop
		slow := c.dialShard(i)
		slow.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		g, h := partOf(1, 2, "big")
		slow.conn.SetDeadline(time.Now().Add(patience))
		cut := false
		for i := range 100000 {
			slow.add(proto.CodeGet, g, h, keyArgs("big", "s"))
			if len(slow.out) > 32<<10 {
				if _, err := slow.conn.Write(slow.out); err != nil {
					cut = true
					break
				}
				slow.out = slow.out[:0]
				if i%4000 > 400 {
					continue
				}
				if v, ok := other.get(1, 2, "big", "s"); !ok || v != value {
					t.Fatal("the neighbour suffers")
				}
			}
		}
		if !cut {
			t.Fatal("a client that never reads was served for ever")
		}
	}
	c.quiet()
	c.served(1, 2)
}

// Connections come and go with requests in flight; late replies find no session and nobody else's.
func TestSessionsThatLeaveEarly(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	stay := c.dial()
	for round := range 60 {
		leave := c.dial()
		for i := range 20 {
			key := fmt.Sprint("k", round, i)
			g, h := partOf(1, 4, key)
			leave.add(proto.CodePut, g, h, putArgs(key, "s", "from the one who left"))
			leave.add(proto.CodeIncr, g, h, incrArgs(key, "n", 1))
		}
		leave.flush()
		leave.conn.Close()
		key := fmt.Sprint("mine", round)
		stay.put(1, 4, key, "s", key)
		if v, ok := stay.get(1, 4, key, "s"); !ok || v != key {
			t.Fatalf("%q, %v", v, ok)
		}
	}
	c.quiet()
}

// Many large values asked for in one turn are read in portions, and are no failure of the store.
func TestManyLargeGetsInOneTurn(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	cl := c.dial()
	value := strings.Repeat("y", 900<<10)
	cl.put(1, 1, "big", "s", value)
	g, h := partOf(1, 1, "big")
	n := 1500 // more than a gigabyte in all
	if raceEnabled || testing.Short() {
		n = 150
	}
	for range n {
		cl.add(proto.CodeGet, g, h, keyArgs("big", "s"))
	}
	go cl.conn.Write(cl.out)
	for i := range n {
		if v, ok := cl.value(cl.recv()); !ok || v != value {
			t.Fatalf("get %d: %d bytes, %v", i, len(v), ok)
		}
	}
	c.quiet()
	if kept := onPartition(c.node, g, func(p *partition) int { return cap(p.shard.gets.batch.Arenas().Vals) }); kept > maxKeptGets {
		t.Errorf("%d bytes kept", kept)
	}
}
