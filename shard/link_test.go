package shard

import (
	"maps"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

func hostPort(t *testing.T, addr string) proto.HostPort {
	t.Helper()
	h, ok := proto.ParseHostPort(addr)
	if !ok {
		t.Fatalf("address %q", addr)
	}
	return h
}

func (m *fakeMeta) greeted() int { return get(m, func() int { return m.hellos }) }

func (m *fakeMeta) beaconed() int { return get(m, func() int { return m.beacons }) }

func TestLinkFollowsTheLeader(t *testing.T) {
	leader := newFakeMeta(t)
	c := newCluster(t, 2)
	c.table(1, 2, nil)
	apps, parts := get(c.meta, func() map[int32]proto.AppInfo { return maps.Clone(c.meta.apps) }),
		get(c.meta, func() map[proto.GPID]proto.PartitionConfig { return maps.Clone(c.meta.parts) })
	leader.with(func() { leader.apps, leader.parts = apps, parts })
	// The meta that led steps down: it names the new leader to whoever says hello.
	c.meta.with(func() { c.meta.redirect = hostPort(t, leader.addr()) })
	c.meta.hangUp()
	eventually(t, "beacons reach the new leader", func() bool { return leader.beaconed() > 1 })
	c.dial().put(1, 2, "k", "s", "v")
	c.quiet()
}

func TestLinkLeavesASilentMeta(t *testing.T) {
	for _, how := range []string{"silent from the start", "answers hello only"} {
		t.Run(how, func(t *testing.T) {
			bad := newFakeMeta(t)
			bad.with(func() { bad.silent, bad.deaf = how == "silent from the start", true })
			good := newFakeMeta(t)
			opts := testOptions(t, t.TempDir(), 1, bad.addr(), good.addr())
			n, err := Start(opts)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := n.Stop(within(t)); err != nil {
					t.Error(err)
				}
			}()
			eventually(t, "the bad meta is asked first", func() bool { return bad.greeted() > 0 })
			eventually(t, "the good meta gets beacons", func() bool { return good.beaconed() > 1 })
		})
	}
}

func TestLinkSurvivesAnythingOnTheMetaPort(t *testing.T) {
	wrong := newFakeMeta(t)
	wrong.with(func() { wrong.cluster = "another" })
	good := newFakeMeta(t)
	dead := freePorts(t, 0)
	opts := testOptions(t, t.TempDir(), 1, "127.0.0.1:"+seqName(dead), wrong.addr(), good.addr())
	n, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(within(t)); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the right meta gets beacons", func() bool { return good.beaconed() > 1 })
	if wrong.beaconed() > 0 {
		t.Error("beacons went to another cluster")
	}
	// A frame that is none ends the connection, and the link comes back.
	before := good.greeted()
	good.with(func() {
		for _, s := range good.conns {
			s.conn.Write([]byte("no frame of ours at all, forty bytes....."))
		}
	})
	eventually(t, "the link comes back", func() bool { return good.greeted() > before })
}

// What was asked and not answered is asked again on the next connection.
func TestLinkAsksAgain(t *testing.T) {
	c := newCluster(t, 2)
	c.meta.with(func() { c.meta.holdAcks = true })
	c.meta.table(1, 3, nil)
	eventually(t, "the node has asked", func() bool {
		n := 0
		onShard(c.node, 0, func(sh *Shard) { n = len(sh.node.link.asked) })
		return n == 3
	})
	c.meta.with(func() { c.meta.holdAcks = false })
	c.meta.hangUp()
	c.served(1, 3)
	eventually(t, "nothing is open", func() bool {
		n := 1
		onShard(c.node, 0, func(sh *Shard) { n = len(sh.node.link.asked) })
		return n == 0
	})
	c.quiet()
}

// Configurations that come out of order: the newest stands, and the ballot on disk never goes back.
func TestStaleConfigurationIsIgnored(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	me := c.node.ID()
	config := func(b proto.Ballot, who proto.NodeID) proto.PartitionConfig {
		return proto.PartitionConfig{GPID: g, Ballot: b, Primary: who}
	}
	c.meta.push(proto.PeerAssign, &proto.Assignments{Revision: 5, Partitions: []proto.PartitionConfig{
		config(7, me), config(5, proto.NodeID{9}), config(6, proto.NodeID{9}), config(1, proto.NodeID{9}),
	}})
	eventually(t, "the newest is adopted", func() bool {
		return onPartition(c.node, g, func(p *partition) bool { return p.ballot == 7 && p.replica.Ballot() == 7 })
	})
	c.quiet()
	c.dial().put(1, 1, "k", "s", "v")
	r, err := readRecord(onPartition(c.node, g, func(p *partition) replicaDir { return p.dir }))
	if err != nil || r.Ballot != 7 {
		t.Errorf("on disk: ballot %d, %v", r.Ballot, err)
	}
	// Taken away: not served, then given back.
	c.meta.push(proto.PeerAssign, &proto.Assignments{Revision: 6, Partitions: []proto.PartitionConfig{config(8, proto.NodeID{9})}})
	cl := c.dial()
	eventually(t, "the role is gone", func() bool {
		r := cl.call(proto.CodeGet, g, 0, keyArgs("k", "s"))
		return r.Code() == proto.ErrInvalidState
	})
	c.meta.push(proto.PeerAssign, &proto.Assignments{Revision: 7, Partitions: []proto.PartitionConfig{config(9, me)}})
	c.served(1, 1)
	if v, ok := cl.get(1, 1, "k", "s"); !ok || v != "v" {
		t.Errorf("after the role came back: %q, %v", v, ok)
	}
	c.quiet()
}

// A node whose meta group is gone serves on, and stops in time.
func TestMetaOutage(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 2, nil)
	c.meta.close()
	cl := c.dial()
	for end := time.Now().Add(2 * c.opts.AckTimeout); time.Now().Before(end); {
		cl.put(1, 2, "k", "s", "v")
	}
	c.quiet()
}
