package shard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pegasus/consensus/mutlog"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// seldomAnnounced keeps commit points for a while from members that no prepare tells of them.
func seldomAnnounced(o *Options) { o.Timing.Announce = 300 * time.Millisecond }

// kept tells whether a closed replica has left something that was not decided beside its store.
func (m *groupNode) kept() bool {
	at, ok := m.node.disks.find(part0)
	if !ok {
		return false
	}
	_, err := os.Stat(at.salvage())
	return err == nil
}

// status drops or recalls the table of part0 and waits until all nodes have followed.
func (g *group) status(s proto.AppStatus, nodes ...*groupNode) {
	g.t.Helper()
	g.meta.setStatus(1, s)
	for _, m := range nodes {
		eventually(g.t, fmt.Sprint("the replica is open: ", s == proto.AppAvailable), func() bool {
			return onPartition(m.node, part0, func(p *partition) bool {
				return (p != nil && p.state == replicaOpen) == (s == proto.AppAvailable) && (p == nil || p.state != replicaClosing)
			})
		})
	}
}

// A write that was acknowledged just before its table was dropped is there when the table is recalled, even when the primary is lost
// meanwhile and the secondaries never learned that it was decided. Also when the nodes are restarted in between, or twice closed.
func TestDropKeepsWhatIsNotDecided(t *testing.T) {
	for name, meanwhile := range map[string]func(g *group, rest []*groupNode){
		"only the primary is lost": func(*group, []*groupNode) {},
		"recalled and dropped again": func(g *group, rest []*groupNode) {
			g.status(proto.AppAvailable, rest...)
			g.status(proto.AppDropped, rest...)
		},
		"restarted": func(g *group, rest []*groupNode) {
			for _, m := range rest {
				m.stop()
				m.restart(2)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, []int{1, 1, 1}, seldomAnnounced)
			g.meta.groupTable(1, 1, 3)
			g.full(1, 1, 3)
			c := g.client()
			primary := g.primary(part0)
			var rest []*groupNode
			for _, m := range g.nodes {
				if m != primary {
					rest = append(rest, m)
				}
			}
			g.meta.with(func() { g.meta.group.frozen = true })
			for try := 0; try == 0 || !rest[0].kept() || !rest[1].kept(); try++ { // the secondaries may have been told in time
				if try > 20 {
					t.Fatal("the secondaries always know what is decided: the test proves nothing")
				}
				if try > 0 {
					g.status(proto.AppAvailable, g.nodes...)
				}
				if err := c.put(1, 1, "k", "last"); err != nil {
					t.Fatal(err)
				}
				g.status(proto.AppDropped, g.nodes...)
			}
			for _, m := range rest {
				var held bool
				onShard(m.node, 0, func(sh *Shard) { held = sh.log.Holds(part0) })
				if held {
					t.Error("the log holds a replica that is closed")
				}
			}
			primary.stop()
			meanwhile(g, rest)
			g.meta.setStatus(1, proto.AppAvailable)
			g.meta.with(func() { g.meta.group.frozen = false })
			if v, err := c.get(1, 1, "k"); err != nil || v != "last" {
				t.Errorf("after the recall: %q, %v", v, err)
			}
			if err := c.put(1, 1, "k", "more"); err != nil {
				t.Error(err)
			}
			for _, m := range rest {
				file := onPartition(m.node, part0, func(p *partition) string { return p.dir.salvage() })
				if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("what was kept stays on disk: %v", err)
				}
			}
		})
	}
}

// When the number of shards changes while two logs hold what a replica has not decided, which a crash in the middle of an earlier
// change leaves behind, everything is found and goes on.
func TestUndecidedInTwoLogs(t *testing.T) {
	for _, shards := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			c := newCluster(t, 2)
			c.table(1, 3, nil)
			fill(c.dial(), 1, 3, 60, "v")
			c.crash(shards, func(dir string) {
				// Every log is found twice: as the one of its shard, and as that of one that another run had.
				for _, shard := range []string{"0", "1"} {
					from := filepath.Join(dir, "slog", "shard-"+shard)
					if err := os.CopyFS(filepath.Join(dir, "slog", "shard-4"+shard), os.DirFS(from)); err != nil {
						t.Fatal(err)
					}
				}
			})
			c.served(1, 3)
			cl := c.dial()
			checkFill(cl, 1, 3, 60, "v")
			fill(cl, 1, 3, 60, "w")
			c.restart(2)
			c.served(1, 3)
			checkFill(c.dial(), 1, 3, 60, "w")
			if logs, err := os.ReadDir(filepath.Join(c.dir, "slog")); err != nil || len(logs) != 2 {
				t.Errorf("logs left: %v, %v", logs, err)
			}
		})
	}
}

// While the log has no room, what is to be taken back waits, and the replica with it.
func TestTakeBackWaitsForRoom(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	c.put(1, 1)
	decree := onPartition(c.node, only, func(p *partition) proto.Decree { return p.replica.Committed() })
	c.meta.setStatus(1, proto.AppDropped)
	eventually(t, "the replica is closed", func() bool { return onPartition(c.node, only, func(p *partition) bool { return p == nil }) })
	dir, _ := c.node.disks.find(only)
	records := []mutlog.Record{{GPID: only, Ballot: 3, Decree: decree + 1, Committed: decree, Timestamp: 5}}
	if err := mutlog.SaveRecords(disk.OS(), dir.salvage(), only, records); err != nil {
		t.Fatal(err)
	}
	other := proto.GPID{App: 99}
	onShard(c.node, 0, func(sh *Shard) {
		junk := mutlog.Record{GPID: other, Ballot: 1, Payload: make([]byte, 256<<10)}
		for size := len(junk.Payload); size > 0; size /= 2 {
			junk.Payload = junk.Payload[:size]
			for junk.Decree++; sh.log.Append(&junk) == nil; junk.Decree++ {
			}
			junk.Decree--
		}
		p := newPartition(sh, only, dir)
		sh.partitions[only] = p
		p.refs++
		m := openClosed(p, dir, sh.node.storeOptions(p))
		if m.deliver(sh); p.state != replicaOpening || p.refs != 1 || len(sh.retries) != 1 {
			t.Errorf("opened without what was kept: state %d, %q, refs %d", p.state, p.failure, p.refs)
		}
		sh.log.Forget(other)
	})
	eventually(t, "the replica is open with what was kept", func() bool {
		return onPartition(c.node, only, func(p *partition) bool {
			return p.state == replicaOpen && p.replica.Prepared() == decree+1 && p.shard.log.Holds(only)
		})
	})
	if _, err := os.Stat(dir.salvage()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
}
