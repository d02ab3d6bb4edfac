package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"pegasus/consensus/mutlog"
	"pegasus/netcore/proto"
)

// tightLog has room for six segments, so that half of it is soon in use.
func tightLog(o *Options) {
	o.Log = mutlog.Options{
		Sync: mutlog.SyncOS, SegmentSize: 1 << 20, TotalSize: 6 << 20, MaxPending: 256 << 10, MaxRecord: 128 << 10,
		MaxPartitions: 64, Recycle: -1,
	}
	o.Store.WriteBufferBytes = 512 << 10
}

// flood writes so much to partition 1 of a table of two that the log would be full several times. Writes that are refused because
// the log has no room at the moment are written again.
func flood(cl *testClient, round int) {
	cl.t.Helper()
	value := strings.Repeat("v", 32<<10)
	for i, done := 0, 0; done < 300; i++ {
		key := fmt.Sprintf("flood%d-%d", round, i)
		if g, _ := partOf(1, 2, key); g.Part != 1 {
			continue
		}
		done++
		eventually(cl.t, "the neighbour takes writes", func() bool {
			g, hash := partOf(1, 2, key)
			r := cl.call(proto.CodePut, g, hash, putArgs(key, "", value))
			if e := string(r.Err); e != "ERR_OK" && e != "ERR_DISK_INSUFFICIENT" && e != "ERR_BUSY" {
				cl.t.Fatalf("put: %s", e)
			}
			return string(r.Err) == "ERR_OK"
		})
	}
}

// keysOf are keys of a partition.
func keysOf(part int32, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if g, _ := partOf(1, 2, fmt.Sprint("kept", i)); g.Part == part {
			keys = append(keys, fmt.Sprint("kept", i))
		}
	}
	return keys
}

// A failed replica of a group of one does not stop its neighbour: what the log holds of it moves into its directory. When it
// opens again nothing is missing, and the file is gone.
func TestSalvage(t *testing.T) {
	c := newCluster(t, 1, tightLog)
	c.table(1, 2, nil)
	part := proto.GPID{App: 1, Part: 0}
	keys := keysOf(0, 200)
	cl := c.dial()
	for i, k := range keys {
		cl.put(1, 2, k, "", fmt.Sprint("value", i))
	}
	file := onPartition(c.node, part, func(p *partition) string {
		p.quarantine("by the test")
		return p.dir.salvage()
	})
	flood(cl, 0)
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	if onPartition(c.node, part, func(p *partition) bool { return p.shard.log.Holds(part) }) {
		t.Error("the log holds it still")
	}
	for range 2 {
		c.restart(1)
		c.served(1, 2)
		cl = c.dial()
		for i, k := range keys {
			if v, ok := cl.get(1, 2, k, ""); !ok || v != fmt.Sprint("value", i) {
				t.Fatalf("%s is %q", k, v)
			}
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the file stays: %v", err)
		}
		cl.put(1, 2, keys[0], "", "value0")
	}
}

// A damaged salvage file fails its replica, and only that.
func TestDamagedSalvage(t *testing.T) {
	c := newCluster(t, 1, tightLog)
	c.table(1, 2, nil)
	part := proto.GPID{App: 1, Part: 0}
	cl := c.dial()
	for _, k := range keysOf(0, 50) {
		cl.put(1, 2, k, "", "value")
	}
	file := onPartition(c.node, part, func(p *partition) string {
		p.quarantine("by the test")
		return p.dir.salvage()
	})
	flood(cl, 0)
	c.stop()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	c.opts = testOptions(t, c.dir, 1, c.opts.Metas...)
	tightLog(&c.opts)
	c.start()
	if why := onPartition(c.node, part, func(p *partition) string { return p.failure }); !strings.Contains(why, salvageFile) {
		t.Errorf("failure %q", why)
	}
	eventually(t, "the neighbour serves", func() bool {
		return onPartition(c.node, proto.GPID{App: 1, Part: 1}, func(p *partition) bool { return p != nil && p.mayRead(false) })
	})
}

// What the log holds of a replica without a directory is forgotten at the start.
func TestOrphanIsForgotten(t *testing.T) {
	c := newCluster(t, 1, tightLog)
	c.table(1, 2, nil)
	part := proto.GPID{App: 1, Part: 0}
	cl := c.dial()
	for _, k := range keysOf(0, 50) {
		cl.put(1, 2, k, "", "value")
	}
	dir := onPartition(c.node, part, func(p *partition) string {
		p.quarantine("by the test")
		return p.dir.path
	})
	c.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.opts = testOptions(t, c.dir, 1, c.opts.Metas...)
	tightLog(&c.opts)
	c.start()
	var held bool
	onShard(c.node, 0, func(sh *Shard) { held = sh.log.Holds(part) })
	if held {
		t.Error("the log holds it still")
	}
	flood(c.dial(), 0)
}
