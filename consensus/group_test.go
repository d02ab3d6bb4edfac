package consensus

import (
	"fmt"
	"testing"

	"pegasus/netcore/proto"
)

// trio is a primary and two secondaries with nothing in between: messages arrive at once, logs are durable when asked.
type trio struct {
	t       testing.TB
	nodes   [3]*Replica
	leases  [3]*Leases
	out     [3]Effects
	mail    []Send
	from    []int
	ev      Event
	message proto.ReplMessage
	batch   []byte
	tokens  []uint64
	clock   int64
	now     int64
	commits [3]int
}

func trioNode(i int) proto.NodeID { return proto.NodeID{0: byte(i + 1)} }

func newTrio(t testing.TB, batch int) *trio {
	c := &trio{t: t, batch: make([]byte, batch), tokens: []uint64{1, 2}, now: 1}
	config := Config{Ballot: 1, Primary: trioNode(0), Secondaries: []proto.NodeID{trioNode(1), trioNode(2)}}
	all := []proto.NodeID{trioNode(0), trioNode(1), trioNode(2)}
	for i := range c.nodes {
		c.leases[i] = NewLeases(trioNode(i), uint64(i+1), DefaultTiming(), 0)
		c.leases[i].Watch(all, 0)
	}
	for i := range c.nodes {
		for _, b := range c.leases[i].Beacon(c.now, nil) {
			to := int(b.To[0]) - 1
			answer, _ := c.leases[to].OnMessage(trioNode(i), &b.Message, c.now)
			c.leases[i].OnMessage(b.To, &answer, c.now)
		}
	}
	for i := range c.nodes {
		c.nodes[i] = NewReplica(proto.GPID{App: 1}, trioNode(i), Limits{}, Restored{})
		c.nodes[i].Attach(c.leases[i], DefaultTiming())
		c.nodes[i].SetMembers(3, 2)
		c.ev = Event{Kind: EventConfigure, Config: config}
		c.step(i)
	}
	c.deliver()
	if !c.nodes[0].MayRead(c.now) {
		t.Fatal("primary may not read")
	}
	return c
}

func (c *trio) step(i int) {
	c.ev.Now = c.now
	c.nodes[i].Step(&c.ev, &c.out[i])
	for k := range c.out[i].Sends {
		c.mail = append(c.mail, c.out[i].Sends[k])
		c.from = append(c.from, i)
	}
	c.commits[i] += len(c.out[i].Commit)
	c.out[i].Reset()
}

func (c *trio) deliver() {
	for k := 0; k < len(c.mail); k++ {
		c.message = c.mail[k].Message
		c.ev = Event{Kind: EventMessage, Node: trioNode(c.from[k]), Message: &c.message}
		c.step(int(c.mail[k].To[0]) - 1)
	}
	c.mail, c.from = c.mail[:0], c.from[:0]
}

// round proposes depth mutations, lets them travel, makes them durable everywhere, and lets the acknowledgements travel.
func (c *trio) round(depth int) {
	for range depth {
		c.clock++
		c.ev = Event{Kind: EventPropose, Timestamp: c.clock, Batch: c.batch, Tokens: c.tokens}
		c.step(0)
	}
	c.deliver()
	for i := range c.nodes {
		c.ev = Event{Kind: EventLogSynced, Ballot: 1, Decree: c.nodes[i].Prepared()}
		c.step(i)
	}
	c.deliver()
	c.now += 1000
}

func TestGroupAllocatesNothing(t *testing.T) {
	c := newTrio(t, 400)
	for range 16 {
		c.round(16)
	}
	if n := testing.AllocsPerRun(1000, func() { c.round(16) }); n != 0 {
		t.Fatalf("%v allocations per round of 16 writes", n)
	}
	if c.commits[0] < 16*1000 || c.commits[1] < 16*999 {
		t.Fatalf("committed %v", c.commits)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !c.nodes[0].MayRead(c.now) {
			t.Fatal("primary may not read")
		}
	}); n != 0 {
		t.Fatalf("%v allocations per MayRead", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range c.nodes {
			c.ev = Event{Kind: EventTick}
			c.step(i)
		}
		c.deliver()
	}); n != 0 {
		t.Fatalf("%v allocations per tick", n)
	}
}

// BenchmarkGroup is the work of all three members together.
func BenchmarkGroup(b *testing.B) {
	for _, depth := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			c := newTrio(b, 400)
			b.ReportAllocs()
			for b.Loop() {
				c.round(depth)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/mutation")
		})
	}
}

func BenchmarkMayRead(b *testing.B) {
	c := newTrio(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if !c.nodes[0].MayRead(c.now) {
			b.Fatal("primary may not read")
		}
	}
}

func BenchmarkIdleTick(b *testing.B) {
	c := newTrio(b, 1)
	ev := Event{Kind: EventTick, Now: 2}
	var out Effects
	b.ReportAllocs()
	for b.Loop() {
		c.nodes[0].Step(&ev, &out)
		out.Reset()
	}
}

func TestTimingIsValidated(t *testing.T) {
	if err := DefaultTiming().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Timing){
		"lease as long as grace": func(t *Timing) { t.Lease = t.Grace },
		"one beacon per lease":   func(t *Timing) { t.Beacon = t.Lease },
		"no retry":               func(t *Timing) { t.Retry = 0 },
	} {
		tm := DefaultTiming()
		spoil(&tm)
		if tm.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
	for _, c := range [][3]int{{1, 0, 1}, {2, 0, 1}, {3, 0, 2}, {4, 0, 3}, {5, 0, 3}, {3, 1, 1}, {3, 3, 3}} {
		if got := MinMembers(c[0], c[1]); got != c[2] {
			t.Errorf("MinMembers(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}
