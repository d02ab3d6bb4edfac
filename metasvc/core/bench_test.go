package core

import (
	"fmt"
	"testing"

	"pegasus/metasvc/balance"
	"pegasus/netcore/proto"
)

// largeCore leads a cluster of fifty nodes with a thousand tables of twenty partitions of three replicas each.
func largeCore(tb testing.TB) *Core {
	tb.Helper()
	const nodes, tables, partitions = 50, 1000, 20
	c := New(testOptions())
	var d Delta
	apply := func(kind CommandKind, body any) {
		if res := c.st.Apply(&Command{Kind: kind, Body: body}, &d); res.Err != proto.ErrOK {
			tb.Fatal(res)
		}
	}
	for n := 1; n <= nodes; n++ {
		apply(CommandRegisterNode, &RegisterNode{Node: Node{ID: nodeID(n), Address: proto.NewHostPort(fmt.Sprintf("10.0.0.%d", n), 34801), Incarnation: 1}})
	}
	for t := range tables {
		apply(CommandCreateApp, &CreateApp{Now: 1, Request: proto.CreateAppRequest{AppName: fmt.Sprint("table", t),
			Options: proto.CreateAppOptions{PartitionCount: partitions, ReplicaCount: 3, AppType: "pegasus", IsStateful: true,
				Envs: map[string]string{"default_ttl": "86400"}}}})
		for i := range partitions {
			a := 1 + (t*7+i*3)%nodes
			g := proto.GPID{App: int32(t + 1), Part: int32(i)}
			u := func(ballot proto.Ballot, typ proto.ConfigType, n int) {
				apply(CommandReconfigure, &Reconfigure{Update: proto.UpdateConfig{Type: typ, Node: nodeID(n), From: nodeID(a),
					Config: proto.PartitionConfig{GPID: g, Ballot: ballot}}})
			}
			u(1, proto.CTAssignPrimary, a)
			u(2, proto.CTUpgradeToSecondary, 1+a%nodes)
			u(3, proto.CTUpgradeToSecondary, 1+(a+1)%nodes)
		}
	}
	var out Effects
	step := func(ev Event) {
		out.Reset()
		if err := c.Step(Now{Mono: 1}, ev, &out); err != nil {
			tb.Fatal(err)
		}
	}
	step(Leadership{Role: Leading})
	for n := 1; n <= nodes; n++ {
		step(Hello{Link: uint64(n), Msg: &proto.NodeHello{Node: nodeID(n), Address: c.st.Node(nodeID(n)).Address, Incarnation: 1}})
		step(Status{Link: uint64(n), Msg: &proto.NodeStatusReport{Node: nodeID(n)}})
	}
	return c
}

// BenchmarkSurvey is a look at whether the cluster is uneven: the drawing, and the plan that follows from it.
func BenchmarkSurvey(b *testing.B) {
	c := largeCore(b)
	b.ReportAllocs()
	moves := 0
	for b.Loop() {
		pic, _ := c.draw(nil)
		moves = len(balance.Plan(pic, c.balanceOptions(0, countedMoves)))
	}
	b.ReportMetric(float64(moves), "moves")
}

// BenchmarkTick is what a leader does ten times a second when nothing happens.
func BenchmarkTick(b *testing.B) {
	c := largeCore(b)
	c.balanceAt = 1 << 62
	var out Effects
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		c.tick(Now{Mono: 2}, &out)
	}
}

// BenchmarkDrain is one look at a node that is being emptied.
func BenchmarkDrain(b *testing.B) {
	c := largeCore(b)
	j := &Job{ID: 1, Kind: JobDrain, Node: nodeID(5)}
	var out Effects
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		c.drainPrimaries(Now{Mono: 2}, j, &out)
		c.dropPlans()
	}
}
