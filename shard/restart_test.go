package shard

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pegasus/consensus/mutlog"
	"pegasus/netcore/proto"
)

func fill(cl *testClient, app, partitions int32, n int, value string) {
	cl.t.Helper()
	for i := range n {
		cl.put(app, partitions, fmt.Sprint("k", i), "s", fmt.Sprint(value, i))
	}
}

func checkFill(cl *testClient, app, partitions int32, n int, value string) {
	cl.t.Helper()
	for i := range n {
		if v, ok := cl.get(app, partitions, fmt.Sprint("k", i), "s"); !ok || v != fmt.Sprint(value, i) {
			cl.t.Fatalf("key %d of table %d is %q, want %q", i, app, v, fmt.Sprint(value, i))
		}
	}
}

func TestRestartWithOtherNumbersOfShards(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 5, nil)
	fill(c.dial(), 1, 5, 100, "first")
	for i, shards := range []int{3, 1, 2, 2} {
		c.restart(shards)
		c.served(1, 5)
		cl := c.dial()
		was := "first"
		if i > 0 {
			was = fmt.Sprint("round", i-1, "-")
		}
		checkFill(cl, 1, 5, 100, was)
		fill(cl, 1, 5, 100, fmt.Sprint("round", i, "-"))
	}
	c.quiet()
	logs, err := os.ReadDir(filepath.Join(c.dir, "slog"))
	if err != nil || len(logs) != 2 {
		t.Errorf("logs left: %v, %v", logs, err)
	}
}

// copyDir takes what a crash would leave: the files of a running node, as they are.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// crash runs on with the files that a kill right now would have left; with the log in the page cache that is all of it.
func (c *cluster) crash(shards int, damage func(dir string)) {
	c.t.Helper()
	c.quiet()
	dir := copyDir(c.t, c.dir)
	c.stop()
	damage(dir)
	c.dir = dir
	fresh := testOptions(c.t, dir, shards, c.opts.Metas...)
	c.opts.DataDirs, c.opts.Listen, c.opts.ShardPort, c.opts.Shards = fresh.DataDirs, fresh.Listen, fresh.ShardPort, shards
	c.start()
}

// failed waits until meta knows that a replica failed.
func (c *cluster) failed(g proto.GPID) {
	c.t.Helper()
	eventually(c.t, g.String()+" is reported as failed", func() bool { return c.meta.report(g).Failure != "" })
}

func TestDamagedReplicaFailsAlone(t *testing.T) {
	bad := proto.GPID{App: 1, Part: 1}
	rep := func(dir, file string) string {
		return filepath.Join(dir, replicasDir, bad.String()+replicaSuffix, file)
	}
	for name, damage := range map[string]func(dir string) error{
		"no record":     func(dir string) error { return os.Remove(rep(dir, replicaFile)) },
		"broken record": func(dir string) error { return os.WriteFile(rep(dir, replicaFile), []byte("{"), 0o644) },
		"foreign record": func(dir string) error {
			return os.WriteFile(rep(dir, replicaFile), []byte(`{"format":1,"app_id":7,"partition":0}`), 0o644)
		},
		"newer record": func(dir string) error {
			return os.WriteFile(rep(dir, replicaFile), []byte(`{"format":99,"app_id":1,"partition":1}`), 0o644)
		},
		"no store":     func(dir string) error { return os.RemoveAll(rep(dir, storeDir)) },
		"broken store": func(dir string) error { return os.WriteFile(rep(dir, storeDir+"/CURRENT"), []byte("junk\n"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2)
			c.table(1, 3, nil)
			fill(c.dial(), 1, 3, 60, "v")
			c.crash(2, func(dir string) {
				if err := damage(dir); err != nil {
					t.Fatal(err)
				}
			})
			c.failed(bad)
			cl := c.dial()
			for _, part := range []int32{0, 2} {
				eventually(t, "neighbours serve", func() bool {
					return onPartition(c.node, proto.GPID{App: 1, Part: part}, func(p *partition) bool { return p.mayRead(false) })
				})
			}
			failures := 0
			for i := range 60 {
				key := fmt.Sprint("k", i)
				g, h := partOf(1, 3, key)
				r := cl.call(proto.CodeGet, g, h, keyArgs(key, "s"))
				if g == bad {
					failures++
					if r.Code() != proto.ErrInvalidState {
						t.Fatalf("damaged replica answers %v", r.Code())
					}
				} else if v, ok := cl.value(r); !ok || v != fmt.Sprint("v", i) {
					t.Fatalf("neighbour lost key %d: %q", i, v)
				}
			}
			if failures == 0 {
				t.Fatal("no key of the damaged replica was asked for")
			}
			c.quiet()
		})
	}
}

func TestDamagedLogRecordFailsItsPartition(t *testing.T) {
	// Only a log that syncs can tell a record that has rotted from one that was never written.
	c := newCluster(t, 1, func(o *Options) { o.Log.Sync = mutlog.SyncGroup })
	c.table(1, 3, nil)
	cl := c.dial()
	fill(cl, 1, 3, 60, "v")
	marker := "damage-me-0123456789"
	bad, _ := partOf(1, 3, "marked")
	cl.put(1, 3, "marked", "s", marker)
	fill(cl, 1, 3, 60, "w")
	c.crash(2, func(dir string) {
		files, err := filepath.Glob(filepath.Join(dir, "slog", "shard-*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		hits := 0
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if at := indexOf(b, marker); at >= 0 {
				b[at] ^= 1
				hits++
				if err := os.WriteFile(f, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if hits != 1 {
			t.Fatalf("marker found in %d files", hits)
		}
	})
	c.failed(bad)
	cl = c.dial()
	for i := range int32(3) {
		if g := (proto.GPID{App: 1, Part: i}); g != bad {
			eventually(t, "neighbours serve", func() bool {
				return onPartition(c.node, g, func(p *partition) bool { return p.mayRead(false) })
			})
		}
	}
	for i := range 60 {
		key := fmt.Sprint("k", i)
		if g, _ := partOf(1, 3, key); g != bad {
			if v, ok := cl.get(1, 3, key, "s"); !ok || v != fmt.Sprint("w", i) {
				t.Fatalf("neighbour lost key %d: %q", i, v)
			}
		}
	}
	c.quiet()
}

func indexOf(b []byte, s string) int {
	for i := 0; i+len(s) <= len(b); i++ {
		if string(b[i:i+len(s)]) == s {
			return i
		}
	}
	return -1
}

func TestMissingReplicaIsReportedAndNotServed(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 2, nil)
	fill(c.dial(), 1, 2, 20, "v")
	gone := proto.GPID{App: 1, Part: 1}
	c.crash(2, func(dir string) {
		if err := os.RemoveAll(filepath.Join(dir, replicasDir, gone.String()+replicaSuffix)); err != nil {
			t.Fatal(err)
		}
	})
	c.failed(gone)
	cl := c.dial()
	if r := cl.call(proto.CodeGet, gone, 0, keyArgs("k1", "s")); r.Code() != proto.ErrObjectNotFound {
		t.Errorf("missing replica answers %v", r.Code())
	}
	if _, err := os.Stat(filepath.Join(c.dir, replicasDir, gone.String()+replicaSuffix)); err == nil {
		t.Error("an empty replica was made in place of the missing one")
	}
	c.quiet()
}

// A clean stop under load loses no acknowledged write and no reply of what it carried out.
func TestStopUnderLoad(t *testing.T) {
	for round := range 3 {
		c := newCluster(t, 2)
		c.table(1, 4, nil)
		writers := make([]*writer, 4)
		var wg sync.WaitGroup
		for i := range writers {
			w := &writer{id: i, acked: map[string]int{}, sent: map[string]int{}}
			writers[i] = w
			wg.Go(func() {
				if err := w.run(c.opts.Listen, 4); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Duration(20+60*round) * time.Millisecond) // the load, not a synchronisation
		c.restart(2)
		wg.Wait()
		c.served(1, 4)
		verifyAcked(t, c.opts.Listen, 4, writers, "after a clean stop")
		c.quiet()
	}
}

// Tables are created, filled, dropped and recalled while the node is stopped: nothing hangs, nothing is left open.
func TestStopWhileReplicasOpenAndClose(t *testing.T) {
	for round := range 4 {
		c := newCluster(t, 2)
		c.table(1, 4, nil)
		fill(c.dial(), 1, 4, 20, "v")
		c.meta.table(2, 8, nil)
		c.meta.setStatus(1, proto.AppDropped)
		c.meta.setStatus(1, proto.AppAvailable)
		time.Sleep(time.Duration(round*3) * time.Millisecond) // any moment will do
		c.restart(2)
		c.served(1, 4)
		checkFill(c.dial(), 1, 4, 20, "v")
	}
}

func TestDropAndRecallInQuickSuccession(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, map[string]string{"default_ttl": "3600"})
	fill(c.dial(), 1, 4, 20, "v")
	for range 5 {
		c.meta.setStatus(1, proto.AppDropped)
		c.meta.setStatus(1, proto.AppAvailable)
		c.served(1, 4)
	}
	// What was served may still have been the table before the last drop. This comes after it.
	c.meta.setEnvs(1, map[string]string{"default_ttl": "3601"})
	for i := range int32(4) {
		eventually(t, "the newest settings are there", func() bool {
			return onPartition(c.node, proto.GPID{App: 1, Part: i}, func(p *partition) bool {
				return p != nil && p.settings.DefaultTTL == 3601 && p.mayRead(false)
			})
		})
	}
	checkFill(c.dial(), 1, 4, 20, "v")
	c.quiet()
}

func TestStartRefuses(t *testing.T) {
	c := newCluster(t, 1)
	second := testOptions(t, c.dir, 1, c.meta.addr())
	if n, err := Start(second); err == nil {
		n.Stop(within(t))
		t.Error("two nodes on one data directory")
	}
	taken := testOptions(t, t.TempDir(), 2, c.meta.addr())
	taken.Listen = c.opts.Listen
	if n, err := Start(taken); err == nil {
		n.Stop(within(t))
		t.Error("two nodes on one port")
	}
	for name, change := range map[string]func(*Options){
		"shards": func(o *Options) { o.Shards = 0 }, "data": func(o *Options) { o.DataDirs = nil },
		"metas": func(o *Options) { o.Metas = nil }, "address": func(o *Options) { o.Listen = "nonsense" },
		"advertise": func(o *Options) { o.Advertise = "[::1]:99" },
	} {
		o := testOptions(t, t.TempDir(), 1, c.meta.addr())
		change(&o)
		if n, err := Start(o); err == nil {
			n.Stop(within(t))
			t.Errorf("%s: started", name)
		}
	}
}

// Clients that are there before all loops are: their requests wait until every shard can take its part.
func TestStartUnderConnections(t *testing.T) {
	c := newCluster(t, 3)
	c.table(1, 6, nil)
	fill(c.dial(), 1, 6, 20, "v")
	for range 4 {
		c.stop()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					cl, err := tryDial(c.opts.Listen)
					if err != nil {
						continue
					}
					for i := range 12 {
						key := fmt.Sprint("k", i)
						g, h := partOf(1, 6, key)
						cl.add(proto.CodeGet, g, h, keyArgs(key, "s"))
					}
					cl.conn.Write(cl.out)
					cl.read()
					cl.conn.Close()
				}
			})
		}
		// A client may hold the port for a moment, as its own end of a connection to nobody.
		var err error
		eventually(t, "the node starts", func() bool {
			c.node, err = Start(c.opts)
			return err == nil
		})
		n := c.node
		t.Cleanup(func() {
			if c.node == n {
				c.stop()
			}
		})
		c.served(1, 6)
		close(stop)
		wg.Wait()
		checkFill(c.dial(), 1, 6, 20, "v")
	}
	c.quiet()
}
