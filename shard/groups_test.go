package shard

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/netcore/proto"
)

var part0 = proto.GPID{App: 1}

func TestGroupFillsUnderLoad(t *testing.T) {
	g := newGroup(t, []int{1, 2, 3})
	g.meta.groupTable(1, 4, 3)
	l := g.load(1, 4, 4)
	g.full(1, 4, 3)
	l.more(g, 200)
	l.verify(g, 1, 4)
}

func TestGroupOutlivesEveryStop(t *testing.T) {
	g := newGroup(t, []int{2, 2, 2})
	g.meta.groupTable(1, 2, 3)
	g.full(1, 2, 3)
	l := g.load(1, 2, 3)
	for i, m := range g.nodes {
		l.more(g, 50)
		m.stop()
		l.more(g, 50)
		m.restart(i + 1)
		g.full(1, 2, 3)
	}
	l.verify(g, 1, 2)
}

// A primary that sleeps longer than its leases is replaced. Reads that wait in its sockets when it wakes up are not answered
// from what it had: by then its successor has written.
func TestSleepingPrimaryServesNothingStale(t *testing.T) {
	g := newGroup(t, []int{1, 2, 1})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	c := g.client()
	for round := range 3 {
		before, after := seqName(2*round), seqName(2*round+1)
		if err := c.put(1, 1, "k", before); err != nil {
			t.Fatal(err)
		}
		old := g.primary(part0)
		waiting := dialNode(t, old.opts.Listen)
		waiting.call(proto.CodeGet, part0, 0, keyArgs("k", "s")) // the connection is accepted, whatever the answer
		thaw := old.freeze()
		defer thaw()
		for range 50 {
			waiting.add(proto.CodeGet, part0, 0, keyArgs("k", "s"))
		}
		waiting.flush()
		eventually(t, "another one is primary", func() bool { return g.meta.config(part0).Primary != old.id })
		if err := c.put(1, 1, "k", after); err != nil {
			t.Fatal(err)
		}
		thaw()
		for range 50 {
			r := waiting.recv()
			if r.Code() != proto.ErrOK {
				continue
			}
			if v, _ := waiting.value(r); v != after {
				t.Fatalf("the former primary says %q, %q was acknowledged", v, after)
			}
		}
		g.full(1, 1, 3)
		g.same(1, 1)
	}
}

// A secondary that sleeps is removed; it comes back as a learner and is fed from where it stands.
func TestSleepingSecondaryComesBack(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	l := g.load(1, 1, 2)
	for range 2 {
		m := g.secondary(part0)
		thaw := m.freeze()
		defer thaw()
		eventually(t, "the sleeper is removed", func() bool { c := g.meta.config(part0); return !holds(&c, m.id) })
		l.more(g, 50)
		thaw()
		g.full(1, 1, 3)
	}
	l.verify(g, 1, 1)
}

func TestPrimaryThatRestartsTakesANewBallot(t *testing.T) {
	g := newGroup(t, []int{1, 1})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	c := g.client()
	if err := c.put(1, 1, "k", "v"); err != nil {
		t.Fatal(err)
	}
	// Both are away at the same time, so that nobody takes over.
	first, before := g.primary(part0), g.meta.config(part0)
	second := g.secondary(part0)
	second.stop()
	first.stop()
	between := g.meta.config(part0)
	first.restart(1)
	second.restart(1)
	g.full(1, 1, 2)
	if after := g.meta.config(part0); between.Ballot != before.Ballot || after.Ballot <= before.Ballot {
		t.Errorf("ballots %d, %d while stopped, %d after the restart", before.Ballot, between.Ballot, after.Ballot)
	}
	if v, err := c.get(1, 1, "k"); err != nil || v != "v" {
		t.Errorf("%q, %v", v, err)
	}
	g.same(1, 1)
}

func TestHandOver(t *testing.T) {
	g := newGroup(t, []int{2, 1, 3})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	l := g.load(1, 1, 3)
	for range 3 {
		from, to := g.primary(part0), g.secondary(part0)
		g.meta.with(func() {
			g.meta.group.sessions[from.id].send(proto.PeerProposal, &proto.Proposal{
				App: g.meta.apps[1], Config: g.meta.parts[part0], Type: proto.CTUpgradeToPrimary, Node: to.id,
			})
		})
		eventually(t, "the other one leads", func() bool { return g.meta.config(part0).Primary == to.id })
		g.full(1, 1, 3)
		l.more(g, 20)
	}
	l.verify(g, 1, 1)
}

func TestTooFewMembers(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	c := g.client()
	if err := c.put(1, 1, "k", "v"); err != nil {
		t.Fatal(err)
	}
	p := g.primary(part0)
	for _, m := range g.nodes {
		if m != p {
			m.stop()
		}
	}
	g.full(1, 1, 1)
	if v, err := c.get(1, 1, "k"); err != nil || v != "v" {
		t.Errorf("read alone: %q, %v", v, err)
	}
	r, err := c.once(p.opts.Listen, proto.CodePut, part0, 0, putArgs("k", "s", "w"))
	if err != nil || r.Code() != proto.ErrNotEnoughMember {
		t.Errorf("write alone: %s, %v", r.Err, err)
	}
	for _, m := range g.nodes {
		if m != p {
			m.restart(1)
		}
	}
	g.full(1, 1, 3)
	if err := c.put(1, 1, "k", "w"); err != nil {
		t.Error(err)
	}
	g.same(1, 1)
}

// stat sums a counter over the shards of a node.
func (m *groupNode) stat(of func(*Stats) uint64) (sum uint64) {
	for i := range m.node.shards {
		onShard(m.node, i, func(sh *Shard) { sum += of(&sh.stats) })
	}
	return sum
}

func logReads(s *Stats) uint64    { return s.LogReads }
func checkpoints(s *Stats) uint64 { return s.Checkpoints }
func installs(s *Stats) uint64    { return s.Installs }

// add starts one more node.
func (g *group) add(shards int) *groupNode {
	g.t.Helper()
	m := &groupNode{group: g, dir: g.t.TempDir()}
	m.opts = g.nodes[0].opts
	fresh := testOptions(g.t, m.dir, shards, g.meta.addr())
	m.opts.Listen, m.opts.ShardPort, m.opts.Shards, m.opts.DataDirs = fresh.Listen, fresh.ShardPort, shards, fresh.DataDirs
	g.nodes = append(g.nodes, m)
	m.start()
	g.t.Cleanup(m.stop)
	return m
}

func TestLearnsFromTheLog(t *testing.T) {
	g := newGroup(t, []int{2})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 1)
	c := g.client()
	for i := range 500 {
		if err := c.put(1, 1, fmt.Sprint("k", i%100), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	learner := g.add(3)
	g.full(1, 1, 2)
	if g.nodes[0].stat(logReads) == 0 || learner.stat(installs) > 0 {
		t.Errorf("%d log reads, %d checkpoints installed", g.nodes[0].stat(logReads), learner.stat(installs))
	}
	g.same(1, 1)
}

// smallLog makes the log forget quickly what the stores have flushed.
func smallLog(o *Options) {
	o.Log = mutlog.Options{Sync: mutlog.SyncOS, SegmentSize: 512 << 10, TotalSize: 4 << 20, MaxPending: 192 << 10, MaxRecord: 128 << 10, MaxPartitions: 64}
	o.Limits.MaxMutation, o.Limits.MaxWrite = 64<<10, 32<<10
}

// outgrow writes more than the log keeps, flushes, and waits until the log has forgotten the first decree.
func (g *group) outgrow(bytes int) {
	g.t.Helper()
	c := g.client()
	value := strings.Repeat("0123456789abcdef", 1<<10)
	for n := 0; n < bytes; n += len(value) {
		if err := c.put(1, 1, fmt.Sprint("k", n/len(value)%200), value+fmt.Sprint(n)); err != nil {
			g.t.Fatal(err)
		}
	}
	p := g.primary(part0)
	eventually(g.t, "the log has forgotten the beginning", func() bool {
		return onPartition(p.node, part0, func(p *partition) bool {
			d, err := p.store.Flush()
			if err != nil {
				g.t.Error(err)
			}
			p.noteFlushed(d)
			r, err := p.shard.log.Read(part0, 1, 1)
			if err == nil {
				r.Close()
			}
			return err != nil
		})
	})
}

// Nobody writes while the checkpoint is installed: nothing but the installation itself moves the log of the learner.
func TestLearnsFromACheckpoint(t *testing.T) {
	g := newGroup(t, []int{2}, smallLog)
	g.meta.groupTable(1, 1, 3)
	g.meta.with(func() { g.meta.group.settings[1] = proto.TableSettings{AppID: 1, MinReplicas: 1} })
	g.full(1, 1, 1)
	g.outgrow(2 << 20)
	learner := g.add(1)
	g.full(1, 1, 2)
	if g.nodes[0].stat(checkpoints) == 0 || learner.stat(installs) != 1 {
		t.Errorf("%d checkpoints made, %d installed", g.nodes[0].stat(checkpoints), learner.stat(installs))
	}
	g.same(1, 1)

	// A third one learns while clients write, and the second one leads later.
	l := g.load(1, 1, 2)
	third := g.add(2)
	g.full(1, 1, 3)
	if third.stat(installs) == 0 {
		t.Error("the third one installed no checkpoint")
	}
	g.nodes[0].stop()
	l.more(g, 100)
	g.nodes[0].restart(1)
	g.full(1, 1, 3)
	l.verify(g, 1, 1)
	for _, m := range g.nodes {
		m.nothingLeft()
	}
}

// nothingLeft looks that learning has left neither files nor pins behind.
func (m *groupNode) nothingLeft() {
	m.group.t.Helper()
	eventually(m.group.t, "nothing is left of learning", func() bool {
		for _, dir := range []string{checkpointsDir, stagingDir, replacedDir} {
			left, err := filepath.Glob(filepath.Join(m.dir, replicasDir, "*", dir, "*"))
			if err != nil || len(left) > 0 {
				return false
			}
		}
		pins := 0
		for i := range m.node.shards {
			onShard(m.node, i, func(sh *Shard) { pins += sh.log.Stats().Pins })
		}
		return pins == 0
	})
}

// A replica that fails is replaced: its node is asked to learn again and puts what has failed aside, with the reason.
func TestFailedReplicasLearnAgain(t *testing.T) {
	g := newGroup(t, []int{2, 2, 2})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	l := g.load(1, 1, 2)
	for _, who := range []func(proto.GPID) *groupNode{g.secondary, g.primary} {
		m := who(part0)
		l.more(g, 20)
		onPartition(m.node, part0, func(p *partition) any { p.quarantine("a test"); return nil })
		eventually(t, "it is not primary", func() bool { return g.meta.config(part0).Primary != m.id })
		eventually(t, "it is well", func() bool {
			return onPartition(m.node, part0, func(p *partition) bool { return p != nil && p.state == replicaOpen })
		})
		g.full(1, 1, 3)
		reasons, err := filepath.Glob(filepath.Join(m.dir, replicasDir, "*.err", "reason.txt"))
		if err != nil || len(reasons) != 1 {
			t.Fatalf("aside: %v, %v", reasons, err)
		}
		if b, err := os.ReadFile(reasons[0]); err != nil || !bytes.Contains(b, []byte("a test")) {
			t.Errorf("reason %q, %v", b, err)
		}
	}
	l.verify(g, 1, 1)
}

// A node whose replicas are gone, but that the register names, as secondary or as primary, learns them again.
func TestLostDataLearnsAgain(t *testing.T) {
	g := newGroup(t, []int{1, 1})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	c := g.client()
	for i, who := range []func(proto.GPID) *groupNode{g.secondary, g.primary} {
		if err := c.put(1, 1, "k", seqName(i)); err != nil {
			t.Fatal(err)
		}
		lost := who(part0)
		other := g.nodes[0]
		if other == lost {
			other = g.nodes[1]
		}
		g.same(1, 1)
		other.stop()
		lost.stop()
		for _, dir := range []string{replicasDir, "slog"} {
			if err := os.RemoveAll(filepath.Join(lost.dir, dir)); err != nil {
				t.Fatal(err)
			}
		}
		lost.restart(1)
		other.restart(1)
		g.full(1, 1, 2)
		if v, err := c.get(1, 1, "k"); err != nil || v != seqName(i) {
			t.Fatalf("round %d: %q, %v", i, v, err)
		}
		g.same(1, 1)
	}
}

// A secondary answers the reads whose clients allow it, and no others.
func TestBackupReads(t *testing.T) {
	g := newGroup(t, []int{1, 1})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	for _, m := range g.nodes {
		for _, backup := range []bool{false, true} {
			eventually(t, fmt.Sprintf("a read of node %v, backup %v, is allowed or refused as it should be", m.id, backup), func() bool {
				v := onPartition(m.node, part0, func(p *partition) verdict {
					return p.admitRead(&proto.Request{GPID: part0, Code: proto.CodeGet, Backup: backup}, false)
				})
				return (v.err == proto.ErrOK) == (backup || m == g.primary(part0)) // a lease may lapse for a moment
			})
		}
	}
}

// slowCopies makes a copy of a few megabytes take for ever.
const slowCopies = 64 << 10

// learningSlowly returns a group whose second node is in the middle of a copy, or waits for the first one to offer it.
func learningSlowly(t *testing.T, offered bool) (g *group, learner *groupNode) {
	g = newGroup(t, []int{1}, smallLog, func(o *Options) {
		o.Store.Compression = "none"
		if !offered {
			o.TransferRate = slowCopies
		}
	})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 1)
	g.outgrow(4 << 20)
	g.nodes[0].opts.TransferRate = slowCopies // the learner's
	learner = g.add(1)
	eventually(t, "a checkpoint is being copied", func() bool {
		if !offered {
			return onPartition(g.nodes[0].node, part0, func(p *partition) bool { return p.learners[learner.id] != nil })
		}
		return onPartition(learner.node, part0, func(p *partition) bool { return p != nil && p.endFetch != nil })
	})
	return g, learner
}

func TestStopWhileLearning(t *testing.T) {
	for _, offered := range []bool{false, true} {
		t.Run(fmt.Sprint("offered=", offered), func(t *testing.T) { stopWhileLearning(t, offered) })
	}
}

func stopWhileLearning(t *testing.T, offered bool) {
	g, learner := learningSlowly(t, offered)
	quick, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, m := range []*groupNode{learner, g.nodes[0]} {
		n := m.node
		m.node = nil
		if err := n.Stop(quick); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

func TestDropWhileLearning(t *testing.T) {
	g, learner := learningSlowly(t, true)
	g.meta.setStatus(1, proto.AppDropped)
	for _, m := range []*groupNode{learner, g.nodes[0]} {
		eventually(t, "the replica is closed", func() bool {
			return onPartition(m.node, part0, func(p *partition) bool { return p == nil })
		})
	}
	g.meta.setStatus(1, proto.AppAvailable)
	g.full(1, 1, 1)
}

// Members that stop together do not wait for each other: a write that needs both ends with an unknown outcome.
func TestStopsTogetherUnderLoad(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1})
	g.meta.groupTable(1, 4, 3)
	g.full(1, 4, 3)
	cl := dialNode(t, g.primary(part0).opts.Listen)
	for i := range 200 {
		cl.add(proto.CodePut, part0, 0, putArgs(fmt.Sprint(i), "s", "v"))
	}
	var thaws []func()
	for _, m := range g.nodes {
		if m != g.primary(part0) {
			thaws = append(thaws, m.freeze())
		}
	}
	cl.flush()
	eventually(t, "writes are in flight", func() bool {
		return onPartition(g.primary(part0).node, part0, func(p *partition) bool { return len(p.inFlight) > 0 })
	})
	g.primary(part0).stop()
	for _, thaw := range thaws {
		thaw()
	}
}

// A secondary whose log has no room takes no mutation, and fails nothing: it is slow, until there is room.
func TestFullLogOfASecondary(t *testing.T) {
	g := newGroup(t, []int{1, 1}, smallLog)
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	m := g.secondary(part0)
	// Another partition of the same shard fills what may be pending, behind a write that is held back in the lane.
	release := make(chan struct{})
	rec := mutlog.Record{GPID: proto.GPID{App: 99}, Ballot: 1}
	add := func(p *partition, size int) bool {
		rec.Payload = make([]byte, size)
		if p.shard.log.Check(rec.GPID, size) != nil {
			return false
		}
		rec.Decree++
		if err := p.shard.log.Append(&rec); err != nil {
			t.Error(err)
		}
		return true
	}
	onPartition(m.node, part0, func(p *partition) bool {
		started := make(chan struct{})
		if err := p.shard.logLane.Submit(func() { close(started); <-release }); err != nil {
			t.Error(err)
		}
		<-started
		return add(p, 1)
	})
	onPartition(m.node, part0, func(p *partition) any {
		if p.shard.logJob.write == nil {
			t.Error("no write is in flight")
		}
		for _, size := range []int{60 << 10, 1 << 10} {
			for add(p, size) {
			}
		}
		return nil
	})
	refused := func() bool { return m.stat(func(s *Stats) uint64 { return s.LogRefusals }) > 0 }
	go func() {
		defer close(release)
		for end := time.Now().Add(patience); !refused() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}()
	c := g.client()
	for i := range 20 {
		if err := c.put(1, 1, fmt.Sprint(i), strings.Repeat("v", 20<<10)); err != nil {
			t.Fatal(err)
		}
	}
	g.same(1, 1)
	onPartition(m.node, part0, func(p *partition) any {
		if p.state != replicaOpen || p.replica.Role() != consensus.Secondary || p.shard.stats.LogRefusals == 0 {
			t.Errorf("%s, %d mutations refused", describe(p), p.shard.stats.LogRefusals)
		}
		p.shard.log.Forget(proto.GPID{App: 99})
		return nil
	})
}
