package shard

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"pegasus/netcore/proto"
)

const cacheLine = 64

// warm names a field of every cache line that requests need, whatever is put between them.
func TestWarmFields(t *testing.T) {
	var p partition
	var lines []uintptr
	for _, field := range []uintptr{
		unsafe.Offsetof(p.parked), unsafe.Offsetof(p.lastTimestamp), unsafe.Offsetof(p.gathered) + unsafe.Offsetof(p.gathered.bytes),
		unsafe.Offsetof(p.slowAfter), unsafe.Offsetof(p.hotReads) + unsafe.Offsetof(p.hotReads.wait),
		unsafe.Offsetof(p.hotWrites) + unsafe.Offsetof(p.hotWrites.wait), unsafe.Offsetof(p.meter) + uintptr(kindGet)*unsafe.Sizeof(p.meter[0]),
		unsafe.Offsetof(p.meter) + uintptr(kindPut)*unsafe.Sizeof(p.meter[0]), unsafe.Offsetof(p.rows) + unsafe.Offsetof(p.rows.tenant),
		unsafe.Offsetof(p.env) + unsafe.Offsetof(p.env.NowEpoch),
		unsafe.Offsetof(p.env) + unsafe.Offsetof(p.env.Limits) + unsafe.Offsetof(p.env.Limits.ScanMaxIter),
		unsafe.Offsetof(p.settings) + unsafe.Offsetof(p.settings.DefaultTTL),
	} {
		lines = append(lines, field/cacheLine)
	}
	end := (unsafe.Offsetof(p.settings) + unsafe.Offsetof(p.settings.Rules)) / cacheLine
	for line := range end + 1 {
		if !slices.Contains(lines, line) {
			t.Errorf("no field of line %d is named; named are %v", line, lines)
		}
	}
}

// A shard with so many partitions that it looks ahead serves each request as one with few: pipelined frames of many partitions, of
// few, of none that is here, and frames that come in pieces.
func TestManyPartitions(t *testing.T) {
	const partitions = warmFrom
	c := newCluster(t, 1)
	c.table(1, partitions, nil)
	cl := c.dial()
	n := 5 * warmAhead
	for i := range n {
		key := fmt.Sprint("key ", i)
		g, h := partOf(1, partitions, key)
		cl.add(proto.CodePut, g, h, putArgs(key, "s", key))
	}
	cl.flush()
	for range n {
		if s := cl.status(cl.recv()); s != proto.StorageOK {
			t.Fatal(s)
		}
	}
	asked := map[int32]string{}
	for i := range n {
		key := fmt.Sprint("key ", i)
		g, h := partOf(1, partitions, key)
		switch {
		case i%5 == 0:
			key = "missing"
		case i%7 == 0:
			g.App, key = 9, "no table"
		}
		asked[cl.add(proto.CodeGet, g, h, keyArgs(key, "s"))] = key
	}
	for len(cl.out) > 0 { // in pieces that end within frames
		piece := cl.out[:min(len(cl.out), 3333)]
		if _, err := cl.conn.Write(piece); err != nil {
			t.Fatal(err)
		}
		cl.out = cl.out[len(piece):]
	}
	for range n {
		r := cl.recv()
		key, ok := asked[r.Seq]
		delete(asked, r.Seq)
		switch {
		case !ok:
			t.Fatalf("reply to %d, which was not asked or is answered", r.Seq)
		case key == "no table":
			if r.Code() != proto.ErrObjectNotFound {
				t.Errorf("%s: %s", key, r.Err)
			}
		default:
			if v, found := cl.value(r); found != (key != "missing") || found && v != key {
				t.Errorf("%s: %q, %v", key, v, found)
			}
		}
	}
	c.quiet()
}
