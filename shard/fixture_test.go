package shard

import (
	"net"
	"strconv"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// freePorts returns a base so that base..base+n are free right now.
func freePorts(t testing.TB, n int) int {
	t.Helper()
next:
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := ln.Addr().(*net.TCPAddr).Port
		open := []net.Listener{ln}
		defer func() {
			for _, l := range open {
				l.Close()
			}
		}()
		for i := 1; i <= n; i++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+i))
			if err != nil {
				continue next
			}
			open = append(open, l)
		}
		return base
	}
	t.Fatal("no run of free ports")
	return 0
}

func testOptions(t testing.TB, dir string, shards int, metas ...string) Options {
	o := baseOptions(dir, shards, freePorts(t, shards), metas...)
	o.OnFatal = func(err error) { t.Errorf("fatal: %v", err) }
	return o
}

// baseOptions listen on port base and, shard by shard, on those behind it.
func baseOptions(dir string, shards, base int, metas ...string) Options {
	return Options{
		ClusterName: "test", Listen: "127.0.0.1:" + strconv.Itoa(base), DataDirs: []DataDir{{Path: dir}}, Shards: shards,
		ShardPort: base + 1, Metas: metas,
		Limits: Limits{
			MaxFrame: 8 << 20, MaxWrite: 1 << 20, MaxSessions: 200, MaxInbound: 16 << 20, MaxOutbound: 16 << 20, MaxScanners: 100,
			ScannerExpiry: time.Minute, ReadWorkers: 2,
		},
		Reads: rrdb.DefaultLimits,
		Log:   mutlog.Options{Sync: mutlog.SyncOS, SegmentSize: 4 << 20, TotalSize: 64 << 20, MaxPending: 2 << 20, MaxRecord: 1 << 20, MaxPartitions: 256},
		Rows:  1 << 20,
		Store: rocks.Options{WriteBufferBytes: 4 << 20}, Shared: rocks.SharedOptions{BlockCacheBytes: 8 << 20, MemtableBytes: 32 << 20},
		Window:         consensus.Limits{},
		Timing:         consensus.DefaultTiming(),
		TransferListen: "127.0.0.1:0",
		BeaconInterval: 40 * time.Millisecond, AckTimeout: 400 * time.Millisecond, DialTimeout: time.Second,
	}
}

// cluster is one node and its fake meta.
type cluster struct {
	t    testing.TB
	meta *fakeMeta
	dir  string
	opts Options
	node *Node
}

func newCluster(t testing.TB, shards int, change ...func(*Options)) *cluster {
	t.Helper()
	c := &cluster{t: t, meta: newFakeMeta(t), dir: t.TempDir()}
	c.opts = testOptions(t, c.dir, shards, c.meta.addr())
	for _, fn := range change {
		fn(&c.opts)
	}
	c.start()
	return c
}

func (c *cluster) start() {
	c.t.Helper()
	hellos := get(c.meta, func() int { return c.meta.hellos })
	n, err := Start(c.opts)
	if err != nil {
		c.t.Fatal(err)
	}
	c.node = n
	c.t.Cleanup(func() {
		if c.node == n {
			c.stop()
		}
	})
	eventually(c.t, "the node says hello", func() bool { return get(c.meta, func() int { return c.meta.hellos }) > hellos })
}

func (c *cluster) stop() {
	c.t.Helper()
	n := c.node
	c.node = nil
	if err := n.Stop(within(c.t)); err != nil {
		c.t.Errorf("stop: %v", err)
	}
}

// restart stops the node cleanly and starts it again on other ports.
func (c *cluster) restart(shards int) {
	c.t.Helper()
	c.stop()
	fresh := testOptions(c.t, c.dir, shards, c.opts.Metas...)
	c.opts.Listen, c.opts.ShardPort, c.opts.Shards = fresh.Listen, fresh.ShardPort, fresh.Shards
	c.start()
}

func (c *cluster) dial() *testClient { return dialNode(c.t, c.opts.Listen) }

func (c *cluster) dialShard(i int) *testClient {
	return dialNode(c.t, "127.0.0.1:"+strconv.Itoa(c.opts.ShardPort+i))
}

// table makes a table and waits until all of it is served.
func (c *cluster) table(id, partitions int32, envs map[string]string) {
	c.t.Helper()
	c.meta.table(id, partitions, envs)
	c.served(id, partitions)
}

func (c *cluster) served(id, partitions int32) {
	c.t.Helper()
	for i := range partitions {
		g := proto.GPID{App: id, Part: i}
		eventually(c.t, g.String()+" is served", func() bool {
			return onPartition(c.node, g, func(p *partition) bool { return p != nil && p.mayRead(false) })
		})
	}
}

// onShard runs fn on the loop of a shard and waits for it.
func onShard(n *Node, i int, fn func(*Shard)) {
	done := make(chan struct{})
	sh := n.shards[i]
	if err := sh.loop.DoMust(func() { defer close(done); fn(sh) }); err != nil {
		panic(err)
	}
	<-done
}

// onPartition runs fn with the partition, or nil, on its owner's loop.
func onPartition[T any](n *Node, g proto.GPID, fn func(*partition) T) (v T) {
	onShard(n, int(n.owner(g).id), func(sh *Shard) { v = fn(sh.partitions[g]) })
	return v
}

// quiet waits until every admitted request has been answered or silenced exactly once and nothing is held any more.
func (c *cluster) quiet() {
	c.t.Helper()
	var why string
	defer func() {
		if c.t.Failed() {
			c.t.Logf("last seen: %s", why)
		}
	}()
	for i := range c.node.shards {
		eventually(c.t, "shard is quiet", func() bool {
			why = ""
			onShard(c.node, i, func(sh *Shard) { why = sh.unquiet() })
			return why == ""
		})
	}
}

func (sh *Shard) unquiet() (why string) {
	sh.loop.EachSession(func(s *loop.Session) {
		if st, ok := s.State.(*sessionState); ok && st.inFlight != 0 {
			why = "session with " + strconv.Itoa(st.inFlight) + " in flight"
		}
	})
	if len(sh.gets.calls) > 0 || sh.gets.batch.Len() > 0 || len(sh.gets.cold) > 0 {
		why = "gets are waiting"
	}
	for g, p := range sh.partitions {
		p.settle() // what is gathered would wait for a second
		switch {
		case len(p.inFlight) > 0 || p.current != nil || len(p.committed) > 0:
			why = g.String() + " has mutations in flight"
		case len(p.queue) > 0 || p.reading:
			why = g.String() + " has requests waiting"
		case len(p.overlay.entries) > p.overlay.gone:
			why = g.String() + " has overlay entries"
		case p.refs != 0:
			why = g.String() + " has " + strconv.Itoa(p.refs) + " refs"
		}
	}
	return why
}
