package shard

import (
	"maps"
	"testing"

	"pegasus/netcore/proto"
)

// What a node remembers of its tables is what metas that lost everything start from: the newest description, also after a
// restart, and of a table whose replica does not open.
func TestHelloDescribesTables(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) { o.Zone = "rack7" })
	c.table(1, 4, nil)
	c.table(2, 1, map[string]string{"business.info": "x"})
	envs := map[string]string{"default_ttl": "77", "business.info": "y"}
	idempotent := true
	c.meta.with(func() {
		app := c.meta.apps[1]
		app.AppName, app.CreateSecond, app.InitPartitionCount, app.AtomicIdempotent = "renamed", 12345, 2, &idempotent
		c.meta.apps[1] = app
	})
	c.meta.setEnvs(1, envs)
	for i := range int32(4) {
		g := proto.GPID{App: 1, Part: i}
		eventually(t, g.String()+" has recorded the change", func() bool {
			return onPartition(c.node, g, func(p *partition) bool { return p.recorded.AppName == "renamed" })
		})
	}
	c.meta.with(func() { c.meta.apps, c.meta.parts = map[int32]proto.AppInfo{}, map[proto.GPID]proto.PartitionConfig{} })
	c.restart(2)
	hello := get(c.meta, func() proto.NodeHello { return c.meta.hello })
	if hello.Zone != "rack7" || len(hello.Apps) != 2 || len(hello.Replicas) != 5 {
		t.Fatalf("hello: zone %q, %d tables, %d replicas", hello.Zone, len(hello.Apps), len(hello.Replicas))
	}
	a := hello.Apps[0]
	if a.AppID != 1 || a.AppName != "renamed" || a.AppType != "pegasus" || a.PartitionCount != 4 || a.MaxReplicaCount != 1 ||
		!a.IsStateful || a.CreateSecond != 12345 || a.InitPartitionCount != 2 || a.AtomicIdempotent == nil || !*a.AtomicIdempotent ||
		!maps.Equal(a.Envs, envs) || a.Status != proto.AppAvailable {
		t.Errorf("remembered: %+v", a)
	}
	if b := hello.Apps[1]; b.AppID != 2 || b.Envs["business.info"] != "x" {
		t.Errorf("remembered: %+v", b)
	}
}

// Of what the replicas of a table remember the newest counts.
func TestKeepNewest(t *testing.T) {
	var tables map[int32]describedTable
	for _, at := range []int64{5, 9, 7} {
		tables = keepNewest(tables, describedTable{app: proto.AppInfo{AppID: 3, PartitionCount: int32(at)}, at: at})
	}
	if got := tables[3].app.PartitionCount; len(tables) != 1 || got != 9 {
		t.Errorf("kept the description of %d", got)
	}
}
