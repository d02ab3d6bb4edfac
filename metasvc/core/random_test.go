package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pegasus/netcore/proto"
)

// world is a core with simulated nodes that act on proposals when the test lets them.
type world struct {
	t         rapid.TB
	c         *Core
	now       Now
	journal   []Proposed
	proposals []Send
	links     map[int]uint64 // by node; 0: not connected
	link      uint64
}

func (w *world) step(ev Event) {
	var out Effects
	if err := w.c.Step(w.now, ev, &out); err != nil {
		w.t.Fatal(err)
	}
	w.journal = append(w.journal, out.Propose...)
	for _, s := range out.Send {
		if p, ok := s.Msg.(*proto.Proposal); ok {
			w.sane(s, p)
			w.proposals = append(w.proposals, s)
		}
	}
}

// sane: a proposal is based on the register, goes to the one who may ask for it, and would be accepted.
func (w *world) sane(s Send, m *proto.Proposal) {
	g := m.Config.GPID
	a := w.c.st.App(g.App)
	to := w.c.byLink[s.Link]
	if to == nil || m.Config.Ballot != a.Partitions[g.Part].Ballot || m.Settings.MinReplicas < 1 ||
		m.Settings.MinReplicas > a.Info.MaxReplicaCount || m.Settings.AppID != g.App {
		w.t.Fatalf("proposal %+v on link %d", m, s.Link)
	}
	u := updateOf(m, to.id)
	if res, done := w.c.st.checkUpdate(u); done {
		w.t.Fatalf("proposal %v %v for %s would be refused: %v %v", m.Type, m.Config, short(m.Node), res.Err, res.Config)
	}
}

// updateOf is what a node asks for when it acts on a proposal.
func updateOf(m *proto.Proposal, self proto.NodeID) *proto.UpdateConfig {
	u := &proto.UpdateConfig{Config: m.Config, Type: m.Type, Node: m.Node, From: self}
	u.Config.Ballot++
	if u.Type == proto.CTAddSecondary {
		u.Type = proto.CTUpgradeToSecondary
	}
	return u
}

func (w *world) act(s Send) {
	m := s.Msg.(*proto.Proposal)
	if to := w.c.byLink[s.Link]; to != nil {
		w.step(Update{Link: s.Link, Seq: 1, Msg: updateOf(m, to.id)})
	}
}

func (w *world) commit(n int) {
	for ; n > 0 && len(w.journal) > 0; n-- {
		p := w.journal[0]
		w.journal = w.journal[1:]
		w.step(Committed{Data: p.Data})
	}
}

func (w *world) connect(n int) {
	w.link++
	w.links[n] = w.link
	id := nodeID(n)
	m := &proto.NodeHello{Node: id, Address: proto.NewHostPort(fmt.Sprintf("10.0.0.%d", n), 1), Incarnation: 1}
	for _, a := range w.c.st.apps {
		for i := range a.Partitions {
			if p := &a.Partitions[i]; p.concerns(id) {
				m.Replicas = append(m.Replicas, proto.ReplicaReport{GPID: proto.GPID{App: a.Info.AppID, Part: int32(i)},
					Ballot: p.Ballot, Prepared: proto.Decree(n)})
			}
		}
	}
	w.step(Hello{Link: w.link, Seq: 1, Msg: m})
}

// pass lets time pass; connected nodes give signs of life.
func (w *world) pass(d time.Duration) {
	for n := 1; n <= len(w.links); n++ {
		if w.links[n] != 0 {
			w.step(Beacon{Link: w.links[n], Msg: &proto.NodeBeacon{Node: nodeID(n), Incarnation: 1, Revision: w.c.st.revision}})
		}
	}
	w.now.Mono += int64(d)
	w.step(Tick{})
}

// check recomputes every book of the guardian.
func (w *world) check() {
	c := w.c
	loads, assigns, learning := map[proto.NodeID]load{}, map[proto.NodeID]int{}, map[proto.NodeID]int{}
	add := func(n proto.NodeID, primaries, replicas int) {
		l := loads[n]
		loads[n] = load{l.primaries + primaries, l.replicas + replicas}
	}
	for _, a := range c.st.apps {
		for i := range a.Partitions {
			g, p := proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]
			if err := soundPartition(p); err != nil {
				w.t.Fatalf("%v: %v", g, err)
			}
			add(p.Primary, 1, 1)
			for _, n := range p.Secondaries {
				add(n, 0, 1)
			}
			as := c.asks[g]
			asked := as != nil && as.to != nil
			if asked && as.typ == proto.CTAssignPrimary {
				add(as.node, 1, 1)
				assigns[as.node]++
			}
			if asked && as.typ == proto.CTAddSecondary {
				add(as.node, 0, 1)
				learning[as.node]++
			}
			if asked && !as.to.usable() {
				w.t.Fatalf("%v: asked %s, which cannot act", g, short(as.to.id))
			}
			if a.available() && !p.Primary.IsZero() && !c.sound(a, g) && !asked && c.changing[g] == 0 && !c.queued[g] {
				w.t.Fatalf("%v: in need and forgotten: %v", g, a.Config(int32(i)))
			}
		}
	}
	for _, m := range c.members {
		per := load{}
		for _, l := range m.perApp {
			per = load{per.primaries + l.primaries, per.replicas + l.replicas}
		}
		if m.load != loads[m.id] || per != m.load || m.assigns != assigns[m.id] || m.learning != learning[m.id] {
			w.t.Fatalf("books of %s: %v per table %v, assigns %d, learning %d; counted %v, %d, %d", short(m.id), m.load, per,
				m.assigns, m.learning, loads[m.id], assigns[m.id], learning[m.id])
		}
		if m.assigns > maxAssignsPerNode {
			w.t.Fatalf("%s: %d assigns", short(m.id), m.assigns)
		}
	}
	inJournal := map[proto.GPID]int{}
	for _, p := range w.journal {
		cmd, err := ParseCommand(p.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		if r, ok := cmd.Body.(*Reconfigure); ok {
			if inJournal[r.Update.Config.GPID]++; inJournal[r.Update.Config.GPID] > 1 {
				w.t.Fatalf("%v: two changes under way", r.Update.Config.GPID)
			}
		}
	}
	if c.role == Leading && len(inJournal) != len(c.changing) {
		w.t.Fatalf("%d changes in the journal, %d remembered", len(inJournal), len(c.changing))
	}
}

// TestRandomEvents: nodes come and go, act on proposals or not, ask for what they like; tables come, go and change. The
// books are right all the time, ballots only grow, every proposal is sane, and when the nodes stay and act every table
// ends up as it ought to be.
func TestRandomEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const nodes = 5
		opt := testOptions()
		opt.LivePercentage, opt.AssignDelay = 0, 2*time.Second
		w := &world{t: t, c: New(opt), now: Now{Mono: 1}, links: map[int]uint64{}}
		w.step(Leadership{Role: Leading})
		for n := 1; n <= nodes; n++ {
			w.connect(n)
		}
		w.commit(nodes)
		ballots := map[proto.GPID]proto.Ballot{}
		token := uint64(0)
		request := func(args any) { token++; w.step(Request{Token: token, Args: args}) }
		pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(t, name) }
		create := func() {
			request(&proto.CreateAppRequest{AppName: fmt.Sprint("t", pick("table", 3)), Options: proto.CreateAppOptions{
				PartitionCount: int32(1 + pick("partitions", 4)), ReplicaCount: int32(1 + pick("replicas", 4))}})
		}
		create()
		w.commit(1)
		for range rapid.IntRange(20, 120).Draw(t, "events") {
			switch n := 1 + pick("node", nodes); pick("event", 12) {
			case 0, 1, 2, 3:
				if len(w.proposals) > 0 {
					i := pick("proposal", len(w.proposals))
					s := w.proposals[i]
					w.proposals = append(w.proposals[:i:i], w.proposals[i+1:]...)
					w.act(s)
				}
			case 4, 5:
				w.commit(1 + pick("entries", 3))
			case 6:
				if w.links[n] != 0 {
					link := w.links[n]
					w.links[n] = 0
					w.step(LinkClosed{Link: link})
				} else {
					w.connect(n)
				}
			case 7:
				w.pass(time.Duration(pick("ms", 4000)) * time.Millisecond)
			case 8:
				if g := w.somePartition(pick); g.App != 0 && w.links[n] != 0 {
					p := w.c.st.Partition(g)
					w.step(Update{Link: w.links[n], Msg: &proto.UpdateConfig{
						Type: proto.ConfigType(pick("type", 11)), Node: nodeID(1 + pick("about", nodes)),
						Config: proto.PartitionConfig{GPID: g, Ballot: p.Ballot + proto.Ballot(pick("ahead", 3))}}})
				}
			case 9:
				if g := w.somePartition(pick); g.App != 0 && w.links[n] != 0 {
					w.step(Report{Link: w.links[n], Msg: &proto.NodeReport{Node: nodeID(n), Replicas: []proto.ReplicaReport{{
						GPID: g, Failure: []string{"", "", "disk"}[pick("failure", 3)],
						Learners: []proto.NodeID{nodeID(1 + pick("learner", nodes))}[:pick("learners", 2)]}}}})
				}
			case 10:
				switch pick("admin", 4) {
				case 0:
					create()
				case 1:
					request(&proto.DropAppRequest{AppName: fmt.Sprint("t", pick("table", 3))})
				case 2:
					request(&proto.SetMaxReplicaCountRequest{AppName: fmt.Sprint("t", pick("table", 3)),
						MaxReplicaCount: int32(1 + pick("replicas", 4))})
				case 3:
					typ := proto.BalanceCopyPrimary
					r := &proto.BalancerRequest{GPID: w.somePartition(pick), BalanceType: &typ}
					for range pick("steps", 3) {
						r.ActionList = append(r.ActionList, proto.ProposalAction{
							Type:   []proto.ConfigType{proto.CTAddSecondaryForLB, proto.CTRemove, proto.CTUpgradeToPrimary}[pick("step", 3)],
							HPNode: proto.NewHostPort(fmt.Sprintf("10.0.0.%d", 1+pick("about", nodes)), 1)})
					}
					request(r)
				}
			case 11:
				// Another leader, or this one again: what was on the way may be committed or not.
				if pick("lead", 4) == 0 {
					w.step(Leadership{Role: Following})
					w.commit(pick("kept", len(w.journal)+1))
					w.journal, w.proposals = nil, nil
					w.step(Leadership{Role: Leading})
					for n := 1; n <= nodes; n++ {
						if w.links[n] != 0 {
							w.connect(n)
						}
					}
				}
			}
			w.check()
			for _, a := range w.c.st.apps {
				for i := range a.Partitions {
					g := proto.GPID{App: a.Info.AppID, Part: int32(i)}
					if b := a.Partitions[i].Ballot; b < ballots[g] {
						t.Fatalf("%v: ballot %d after %d", g, b, ballots[g])
					} else {
						ballots[g] = b
					}
				}
			}
		}
		w.heal(nodes)
	})
}

func (w *world) somePartition(pick func(string, int) int) proto.GPID {
	if len(w.c.st.apps) == 0 {
		return proto.GPID{}
	}
	a := w.c.st.apps[pick("app", len(w.c.st.apps))]
	return proto.GPID{App: a.Info.AppID, Part: int32(pick("part", len(a.Partitions)))}
}

// heal lets every node live and act until all tables are as they ought to be.
func (w *world) heal(nodes int) {
	for n := 1; n <= nodes; n++ {
		w.connect(n)
	}
	well := func() bool {
		for _, a := range w.c.st.apps {
			for i := range a.Partitions {
				if p := &a.Partitions[i]; a.available() && p.members() != int(a.Info.MaxReplicaCount) {
					return false
				}
			}
		}
		return len(w.journal) == 0
	}
	for range 200 {
		w.commit(len(w.journal))
		all := w.proposals
		w.proposals = nil
		for _, s := range all {
			w.act(s)
		}
		w.pass(time.Second)
		w.check()
		if well() {
			return
		}
	}
	w.t.Fatalf("not healed: %d in need, asks %v", len(w.c.queued), w.c.asks)
}

// TestSpread: a new table lies evenly on the nodes, by primaries and by replicas, and no node is asked for more at a time
// than it should be, in whatever order the nodes act.
func TestSpread(t *testing.T) {
	for _, tc := range []struct{ nodes, partitions, replicas int }{
		{3, 64, 3}, {3, 64, 2}, {5, 128, 3}, {7, 100, 3}, {10, 1000, 3}, {4, 9, 1},
	} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(tc, seed), func(t *testing.T) {
				w := &world{t: t, c: New(testOptions()), now: Now{Mono: 1}, links: map[int]uint64{}}
				order := rand.New(rand.NewPCG(seed, 1))
				w.step(Leadership{Role: Leading})
				for n := 1; n <= tc.nodes; n++ {
					w.connect(n)
				}
				w.commit(tc.nodes)
				w.step(Request{Token: 1, Args: &proto.CreateAppRequest{AppName: "t", Options: proto.CreateAppOptions{
					PartitionCount: int32(tc.partitions), ReplicaCount: int32(tc.replicas)}}})
				for len(w.journal)+len(w.proposals) > 0 {
					w.commit(len(w.journal))
					all := w.proposals
					w.proposals = nil
					for _, k := range order.Perm(len(all)) {
						w.act(all[k])
					}
					for _, m := range w.c.members {
						if m.assigns > maxAssignsPerNode || m.learning > maxAddsPerNode {
							t.Fatalf("asked for %d primaries and %d secondaries at a time", m.assigns, m.learning)
						}
					}
				}
				low, high, total := load{1 << 30, 1 << 30}, load{}, 0
				for _, m := range w.c.members {
					total += m.replicas
					low = load{min(low.primaries, m.primaries), min(low.replicas, m.replicas)}
					high = load{max(high.primaries, m.primaries), max(high.replicas, m.replicas)}
				}
				// Where a partition's primary lies restricts where the rest may go, so replicas are a little less even.
				if total != tc.partitions*tc.replicas || high.primaries-low.primaries > 1 || high.replicas-low.replicas > 3 {
					t.Errorf("%d replicas of %d, from %v to %v per node", total, tc.partitions*tc.replicas, low, high)
				}
				w.check()
			})
		}
	}
}
