package shard

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// status is the newest one of a node.
func (m *fakeMeta) status(node proto.NodeID) (s proto.NodeStatusReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.statuses[node]; len(all) > 0 {
		s = all[len(all)-1]
	}
	return s
}

func quickStatus(o *Options) { o.StatusInterval = 50 * time.Millisecond }

// Meta is told what every replica serves and takes on disk, of the disks, and of what is closed.
func TestStatus(t *testing.T) {
	c := newCluster(t, 2, quickStatus)
	c.table(1, 2, nil)
	c.table(2, 1, nil)
	cl := c.dial()
	value := strings.Repeat("v", 1000)
	load := func(g proto.GPID) (l proto.ReplicaLoad) {
		s := c.meta.status(c.node.id)
		if i := slices.IndexFunc(s.Replicas, func(l proto.ReplicaLoad) bool { return l.GPID == g }); i >= 0 {
			l = s.Replicas[i]
		}
		return l
	}
	hot, _ := partOf(1, 2, "hot")
	eventually(t, "the load is told", func() bool {
		for range 50 {
			cl.put(1, 2, "hot", "", value)
			cl.get(1, 2, "hot", "")
		}
		l := load(hot)
		return l.ReadsPerSec > 0 && l.WritesPerSec > 0 && l.ReadBytesPerS >= 1000*l.ReadsPerSec && l.WriteBytesPerS >= 1000*l.WritesPerSec
	})
	if l := load(proto.GPID{App: 1, Part: 1 - hot.Part}); l.GPID.App != 1 || l.ReadsPerSec != 0 || l.DiskTag != "disk1" {
		t.Errorf("the idle replica: %+v", l)
	}
	onPartition(c.node, hot, func(p *partition) error {
		_, err := p.store.Flush()
		return err
	})
	eventually(t, "the size is told", func() bool { return load(hot).Bytes > 100 })
	s := c.meta.status(c.node.id)
	if len(s.Disks) != 1 || s.Disks[0].Dir != c.dir || s.Disks[0].CapacityMB == 0 || s.Disks[0].Status != 0 || len(s.Closed) != 0 {
		t.Errorf("status %+v", s)
	}
	c.meta.setStatus(2, proto.AppDropped)
	eventually(t, "the closed replica is told", func() bool {
		return slices.Equal(c.meta.status(c.node.id).Closed, []proto.GPID{{App: 2}})
	})
}

// aside lists the directories of replicas with a suffix.
func (c *cluster) aside(suffix string) (names []string) {
	all, err := disk.OS().List(filepath.Join(c.dir, replicasDir))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range all {
		if strings.HasSuffix(n, suffix) {
			names = append(names, n)
		}
	}
	return names
}

// What meta has no use for is moved aside with the time, unless the replica knows better.
func TestDiscard(t *testing.T) {
	c := newCluster(t, 2, quickStatus)
	c.table(1, 3, nil)
	g := proto.GPID{App: 1}
	ballot := get(c.meta, func() proto.Ballot { return c.meta.parts[g].Ballot })
	discard := func(g proto.GPID, b proto.Ballot) {
		c.meta.push(proto.PeerDiscard, &proto.Discard{GPID: g, Ballot: b})
	}
	discard(g, ballot+5) // it is a member, by its own knowledge
	c.put(1, 3)
	if names := c.aside(suffixGarbage); len(names) > 0 || !onPartition(c.node, g, func(p *partition) bool { return p != nil && p.mayRead(false) }) {
		t.Fatalf("a member was discarded: %q", names)
	}
	c.meta.setStatus(1, proto.AppDropped)
	eventually(t, "the replicas are closed", func() bool { return len(c.meta.status(c.node.id).Closed) == 3 })
	discard(g, ballot-1) // decided on an older register
	discard(proto.GPID{App: 1, Part: 1}, ballot)
	discard(proto.GPID{App: 7}, ballot) // never heard of
	eventually(t, "one is moved aside", func() bool { return len(c.aside(suffixGarbage)) == 1 && len(c.meta.status(c.node.id).Closed) == 2 })
	if names := c.aside(suffixGarbage); !strings.HasPrefix(names[0], "1.1.pegasus.") {
		t.Errorf("moved aside: %q", names)
	}
	if since, ok := asideSince(c.aside(suffixGarbage)[0], suffixGarbage); !ok || time.Since(since) > time.Minute {
		t.Errorf("moved aside at %v", since)
	}
	c.meta.setStatus(1, proto.AppAvailable) // recalled; what was thrown away is missing
	eventually(t, "what is there serves again", func() bool {
		return onPartition(c.node, g, func(p *partition) bool { return p != nil && p.mayRead(false) })
	})
	eventually(t, "what is not is reported", func() bool { return c.meta.report(proto.GPID{App: 1, Part: 1}).Failure == "no data on this node" })
}

// A replica that is open and in no configuration is closed and moved aside.
func TestDiscardOpenReplica(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	g := proto.GPID{App: 1}
	ballot := get(c.meta, func() proto.Ballot { return c.meta.parts[g].Ballot })
	c.meta.push(proto.PeerAssign, &proto.Assignments{Partitions: []proto.PartitionConfig{{GPID: g, Ballot: ballot + 1, Primary: proto.NodeID{9}}}})
	eventually(t, "it is no member", func() bool {
		return onPartition(c.node, g, func(p *partition) bool { return p.ballot == ballot+1 && !p.named() })
	})
	c.meta.push(proto.PeerDiscard, &proto.Discard{GPID: g, Ballot: ballot + 1})
	eventually(t, "it is moved aside", func() bool { return len(c.aside(suffixGarbage)) == 1 })
}

// put makes sure that every partition of a table serves.
func (c *cluster) put(id, partitions int32) {
	c.t.Helper()
	fill(c.dial(), id, partitions, 20, "v")
}
