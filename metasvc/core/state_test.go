package core

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pegasus/netcore/proto"
)

// genCommand draws commands over few names, nodes and partitions, so that they meet.
func genCommand(t *rapid.T) Command {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	node := nodeID(rapid.IntRange(1, 3).Draw(t, "node"))
	now := int64(rapid.IntRange(0, 20).Draw(t, "now"))
	flip := rapid.Bool().Draw(t, "flip")
	c := Command{Origin: 1, Seq: 1}
	switch rapid.IntRange(1, 16).Draw(t, "kind") {
	case 1:
		c.Kind, c.Body = CommandCreateApp, &CreateApp{Now: now, Request: proto.CreateAppRequest{AppName: name,
			Options: proto.CreateAppOptions{PartitionCount: 2, ReplicaCount: int32(1 + now%3), SuccessIfExist: flip}}}
	case 2:
		c.Kind, c.Body = CommandDropApp, &DropApp{Now: now, ExpireAt: now + 5,
			Request: proto.DropAppRequest{AppName: name}}
	case 3:
		typ := proto.CTAssignPrimary
		if flip {
			typ = proto.CTPrimaryForceUpdateBallot
		}
		c.Kind, c.Body = CommandUpdateConfig, &UpdateConfig{Update: proto.UpdateConfig{Type: typ, Node: node,
			Config: proto.PartitionConfig{
				GPID:    proto.GPID{App: rapid.Int32Range(0, 4).Draw(t, "app"), Part: rapid.Int32Range(-1, 2).Draw(t, "part")},
				Ballot:  proto.Ballot(rapid.Int64Range(0, 4).Draw(t, "ballot")),
				Primary: node,
			}}}
	case 4:
		c.Kind, c.Body = CommandUpdateAppEnv, &UpdateAppEnv{Request: proto.UpdateAppEnvRequest{AppName: name,
			Op: proto.AppEnvOpSet, Keys: []string{"k"}, Values: []string{fmt.Sprint(now)}}}
	case 5:
		c.Kind, c.Body = CommandRegisterNode, &RegisterNode{Node: Node{ID: node, Incarnation: now,
			Address: proto.NewHostPort("h", uint16(rapid.IntRange(1, 3).Draw(t, "port")))}}
	case 6:
		c.Kind, c.Body = CommandExpireApps, &ExpireApps{Now: now}
	case 7:
		// Ballots are low so that they often fit; App 1 and part 0 are preferred so that something grows there.
		c.Kind, c.Body = CommandReconfigure, &Reconfigure{Update: proto.UpdateConfig{
			Type: rapid.SampledFrom([]proto.ConfigType{proto.CTAssignPrimary, proto.CTAddSecondary, proto.CTUpgradeToSecondary,
				proto.CTRemove, proto.CTDowngradeToInactive, proto.CTUpgradeToPrimary, proto.CTPrimaryForceUpdateBallot,
				proto.CTDowngradeToSecondary, proto.CTDropPartition}).Draw(t, "type"),
			Node: node, From: nodeID(rapid.IntRange(1, 3).Draw(t, "from")),
			Config: proto.PartitionConfig{
				GPID:   proto.GPID{App: rapid.SampledFrom([]int32{1, 1, 1, 2}).Draw(t, "app")},
				Ballot: proto.Ballot(rapid.Int64Range(0, 12).Draw(t, "ballot")),
			}}}
	case 8:
		c.Kind, c.Body = CommandSetReplicas, &SetReplicas{AppID: rapid.Int32Range(0, 3).Draw(t, "app"), Count: int32(1 + now%3)}
	case 9:
		c.Kind, c.Body = CommandRecallApp, &RecallApp{Now: now, Request: proto.RecallAppRequest{
			AppID: rapid.Int32Range(0, 3).Draw(t, "app"), NewAppName: name}}
	case 10:
		c.Kind, c.Body = CommandRenameApp, &RenameApp{Request: proto.RenameAppRequest{OldAppName: name,
			NewAppName: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "to")}}
	case 11:
		c.Kind, c.Body = CommandSetIdempotent, &SetIdempotent{AppID: rapid.Int32Range(0, 3).Draw(t, "app"), Value: flip}
	case 12:
		c.Kind, c.Body = CommandSetOption, &SetOption{Key: name, Value: fmt.Sprint(now), Default: flip}
	case 13:
		j := Job{Kind: JobKind(rapid.IntRange(1, 4).Draw(t, "job")), Started: now}
		switch j.Kind {
		case JobDrain, JobDecommission:
			j.Node = node
		case JobCompact:
			j.App = rapid.Int32Range(0, 3).Draw(t, "app")
		}
		c.Kind, c.Body = CommandStartJob, &StartJob{Job: j}
	case 14:
		c.Kind, c.Body = CommandMoveJob, &MoveJob{ID: int64(rapid.IntRange(0, 5).Draw(t, "id")), Now: now,
			FromStatus: JobStatus(rapid.IntRange(1, 2).Draw(t, "from status")), FromStep: int32(rapid.IntRange(0, 1).Draw(t, "from step")),
			Status: JobStatus(rapid.IntRange(1, 5).Draw(t, "status")), Step: int32(rapid.IntRange(0, 1).Draw(t, "step"))}
	case 15:
		c.Kind, c.Body = CommandReturnNode, &ReturnNode{Node: node, Now: now}
	case 16:
		ballot := proto.Ballot(rapid.Int64Range(0, 12).Draw(t, "ballot"))
		c.Kind, c.Body = CommandAppoint, &Appoint{GPID: proto.GPID{App: rapid.SampledFrom([]int32{1, 1, 1, 2}).Draw(t, "app")},
			Ballot: ballot, Next: ballot + proto.Ballot(rapid.Int64Range(0, 3).Draw(t, "by")), Node: node, Rupture: flip}
	}
	return c
}

// soundPartition states what holds for every register.
func soundPartition(p *Partition) error {
	seen := map[proto.NodeID]bool{p.Primary: true}
	for _, n := range p.Secondaries {
		if seen[n] || n.IsZero() || p.Primary.IsZero() {
			return fmt.Errorf("member %v twice, or without a primary", n)
		}
		seen[n] = true
	}
	for i, n := range p.LastDrops {
		if p.isMember(n) || n.IsZero() || slices.Contains(p.LastDrops[:i], n) || len(p.LastDrops) > maxLastDrops {
			return fmt.Errorf("last drops %v", p.LastDrops)
		}
	}
	return nil
}

// TestStateProperties: whatever commands come, ballots only grow, a primary changes only with a ballot, revisions tell of
// every change, and a meta that starts from a snapshot in the middle ends with the same bytes as one that did not.
func TestStateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := NewState(), NewState()
		var d Delta
		for i, c := range rapid.SliceOfN(rapid.Custom(genCommand), 1, 80).Draw(t, "commands") {
			before := map[proto.GPID]proto.PartitionConfig{}
			for _, a := range one.apps {
				for p := range a.Partitions {
					before[proto.GPID{App: a.Info.AppID, Part: int32(p)}] = a.Config(int32(p))
				}
			}
			if r, ok := c.Body.(*Reconfigure); ok && i%2 == 0 {
				// Half of them fit, so that groups get somewhere.
				r.Update.Config.Ballot = before[r.Update.Config.GPID].Ballot + 1
			}
			revision, snap := one.revision, one.AppendSnapshot(nil)

			first := one.Apply(&c, &d)
			second := two.Apply(&c, &d)
			if fmt.Sprint(first) != fmt.Sprint(second) {
				t.Fatalf("%d: results differ: %v, %v", i, first, second)
			}
			for g, b := range before {
				p := one.Partition(g)
				if p == nil {
					continue
				}
				now := one.App(g.App).Config(g.Part)
				switch body := c.Body.(type) {
				case *RecallApp:
					if p.fresh() && p.Ballot == 0 { // nobody ever had it: it begins anew
						continue
					}
				case *Appoint:
					// The new ballot is above all that replicas know, so it may be further away.
					if body.GPID == g && p.Ballot > b.Ballot {
						if p.Ballot != body.Next || b.Ballot != body.Ballot || p.Primary != body.Node || len(p.Secondaries) > 0 {
							t.Fatalf("%d: from %v to %v by %+v", i, b, now, body)
						}
						b.Ballot = p.Ballot - 1
					}
				}
				if p.Ballot != b.Ballot && p.Ballot != b.Ballot+1 ||
					p.Ballot == b.Ballot && (p.Primary != b.Primary || !slices.Equal(p.Secondaries, b.Secondaries)) {
					t.Fatalf("%d: from %v to %v", i, b, now)
				}
				if err := soundPartition(p); err != nil {
					t.Fatalf("%d: from %v to %v: %v", i, b, now, err)
				}
				// Whoever was a member is one still, or is remembered; none comes but by the front door.
				for _, n := range append(slices.Clone(b.Secondaries), b.Primary) {
					if !n.IsZero() && !p.concerns(n) {
						t.Fatalf("%d: from %v to %v: %v is forgotten", i, b, now, n)
					}
				}
				if grown := p.members() - 1 - len(b.Secondaries); !b.Primary.IsZero() && grown > 1 {
					t.Fatalf("%d: from %v to %v", i, b, now)
				}
			}
			changed := !bytes.Equal(snap, one.AppendSnapshot(nil))
			if changed != (one.revision > revision) {
				t.Fatalf("%d: changed %v, revision %d to %d", i, changed, revision, one.revision)
			}
			if first.Err != proto.ErrOK && changed {
				t.Fatalf("%d: refused with %v and changed", i, first.Err)
			}
			names := 0
			for _, a := range one.apps {
				if a.Info.Status != proto.AppDropped {
					names++
					if one.AppByName(a.Info.AppName) != a {
						t.Fatalf("%d: name %s leads elsewhere", i, a.Info.AppName)
					}
				}
			}
			if names != len(one.names) {
				t.Fatalf("%d: %d names, %d tables", i, len(one.names), names)
			}
			if i%7 == 3 {
				var err error
				if two, err = ReadSnapshot(two.AppendSnapshot(nil)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(one.AppendSnapshot(nil), two.AppendSnapshot(nil)) {
			t.Fatal("states differ")
		}
	})
}

// bigState has 1000 tables with 20 partitions of 3 replicas each on 30 nodes.
func bigState(tb testing.TB) *State {
	s := NewState()
	var d Delta
	apply := func(kind CommandKind, body any) {
		c := Command{Kind: kind, Body: body}
		if res := s.Apply(&c, &d); res.Err != proto.ErrOK {
			tb.Fatal(res.Err)
		}
	}
	for n := 1; n <= 30; n++ {
		apply(CommandRegisterNode, &RegisterNode{Node: Node{ID: nodeID(n), Address: proto.NewHostPort("replica", uint16(n))}})
	}
	for i := range 1000 {
		apply(CommandCreateApp, &CreateApp{Request: proto.CreateAppRequest{AppName: fmt.Sprintf("table%d", i),
			Options: proto.CreateAppOptions{PartitionCount: 20, ReplicaCount: 3, AppType: "pegasus",
				Envs: map[string]string{"default_ttl": "86400"}}}})
		for p := range int32(20) {
			n := nodeID(1 + (i+int(p))%30)
			for k, typ := range []proto.ConfigType{proto.CTAssignPrimary, proto.CTUpgradeToSecondary, proto.CTUpgradeToSecondary} {
				apply(CommandReconfigure, &Reconfigure{Update: proto.UpdateConfig{Type: typ, From: n,
					Node: nodeID(1 + (i+int(p)+k)%30), Config: proto.PartitionConfig{
						GPID: proto.GPID{App: int32(i + 1), Part: p}, Ballot: proto.Ballot(k + 1)}}})
			}
		}
	}
	return s
}

func BenchmarkSnapshot20000(b *testing.B) {
	s := bigState(b)
	buf := s.AppendSnapshot(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = s.AppendSnapshot(buf[:0])
	}
}

func BenchmarkRestore20000(b *testing.B) {
	buf := bigState(b).AppendSnapshot(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadSnapshot(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLead20000(b *testing.B) {
	c := New(testOptions())
	c.st = bigState(b)
	var out Effects
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Step(Now{}, Leadership{Role: Leading}, &out); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeath20000 is the turn in which one of 30 nodes is found dead: about 2000 of 20000 partitions lose a member.
func BenchmarkDeath20000(b *testing.B) {
	c := New(testOptions())
	c.st = bigState(b)
	now := Now{Mono: 1}
	var out Effects
	step := func(ev Event) {
		out.Reset()
		if err := c.Step(now, ev, &out); err != nil {
			b.Fatal(err)
		}
	}
	step(Leadership{Role: Leading})
	for b.Loop() {
		b.StopTimer()
		step(Leadership{Role: Following})
		step(Leadership{Role: Leading})
		for n := 1; n <= 30; n++ {
			id := nodeID(n)
			step(Hello{Link: uint64(n), Msg: &proto.NodeHello{Node: id, Address: proto.NewHostPort("replica", uint16(n))}})
		}
		now.Mono += int64(c.opt.Grace) + 1
		for _, m := range c.members[1:] {
			m.heard = now.Mono
		}
		b.StartTimer()
		step(Tick{})
	}
	if len(c.queued) < 1900 {
		b.Fatalf("%d in need", len(c.queued))
	}
}
