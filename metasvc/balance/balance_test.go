package balance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestPlans plays the drawings in testdata. A drawing is a list of nodes and of tables:
//
//	nodes a/zone1 b/zone2 c! d- e=200    ! takes nothing, - takes no part, =N has a capacity of N
//	table 3 [fixed]
//	a b c                                a partition: primary, secondaries
//	a b c * 5                            five of them
//	a b c bytes=100 reads=5 writes=5 fixed
//
// The answer is the moves, and what the nodes carry then: primaries/replicas, in all and per table.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "plan" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			c, names := draw(t, d.Input)
			o := Options{MinBytes: 1, MinLoad: 1}
			for _, a := range d.CmdArgs {
				n := 0
				if len(a.Vals) > 0 {
					n, _ = strconv.Atoi(a.Vals[0])
				}
				switch a.Key {
				case "max":
					o.MaxMoves = n
				case "table":
					o.Table = int32(n)
				case "turn":
					o.InTurn = true
				case "primaries":
					o.OnlyPrimaries = true
				case "handovers":
					o.OnlyHandOvers = true
				default:
					d.Fatalf(t, "unknown option %s", a.Key)
				}
			}
			moves := Plan(c, o)
			after := Apply(c, moves)
			if again := Plan(after, o); o.MaxMoves == 0 && len(again) > 0 && !o.InTurn {
				t.Errorf("%s: not at rest afterwards: %v", d.Pos, again)
			}
			var b strings.Builder
			for _, m := range moves {
				fmt.Fprintf(&b, "%v %d.%d %s>%s\n", m.Kind, c.Tables[m.Table].ID, m.Part, names[m.From], names[m.To])
			}
			w := newWork(after, o)
			for n, name := range names {
				fmt.Fprintf(&b, "%s: %d/%d", name, w.prims[n], w.repls[n])
				if len(c.Tables) > 1 {
					for i := range c.Tables {
						fmt.Fprintf(&b, " %d:%d/%d", c.Tables[i].ID, w.prim[i][n], w.repl[i][n])
					}
				}
				if w.bytes[n] > 0 {
					fmt.Fprintf(&b, " bytes=%d", w.bytes[n])
				}
				if w.load[n] > 0 {
					fmt.Fprintf(&b, " load=%d", w.load[n])
				}
				b.WriteByte('\n')
			}
			return b.String()
		})
	})
}

func draw(t *testing.T, text string) (*Cluster, []string) {
	c := &Cluster{}
	var names []string
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "nodes":
			for _, w := range f[1:] {
				n := Node{Takes: !strings.ContainsAny(w, "!-"), Gives: !strings.Contains(w, "-")}
				name, size, ok := strings.Cut(w, "=")
				if ok {
					n.Capacity = number(size)
				}
				name, n.Zone, _ = strings.Cut(strings.TrimRight(name, "!-"), "/")
				names, c.Nodes = append(names, name), append(c.Nodes, n)
			}
		case f[0] == "table":
			c.Tables = append(c.Tables, Table{ID: int32(number(f[1])), Fixed: len(f) > 2})
		default:
			p, times := Partition{Primary: -1}, int64(1)
			for i := 0; i < len(f); i++ {
				key, value, _ := strings.Cut(f[i], "=")
				switch {
				case f[i] == "*":
					i++
					times = number(f[i])
				case key == "bytes":
					p.Bytes = number(value)
				case key == "reads":
					p.Reads = number(value)
				case key == "writes":
					p.Writes = number(value)
				case key == "fixed":
					p.Fixed = true
				case p.Primary < 0:
					p.Primary = slices.Index(names, f[i])
				default:
					p.Secondaries = append(p.Secondaries, slices.Index(names, f[i]))
				}
			}
			last := &c.Tables[len(c.Tables)-1]
			for range times {
				last.Partitions = append(last.Partitions, p)
			}
		}
	}
	return c, names
}

// genCluster draws any cluster: nodes of all kinds, tables with members anywhere.
func genCluster(t *rapid.T) *Cluster {
	c := &Cluster{}
	n := rapid.IntRange(1, 9).Draw(t, "nodes")
	zones := rapid.SampledFrom([]int{0, 0, 2, 3}).Draw(t, "zones")
	for i := range n {
		node := Node{
			Takes: rapid.IntRange(0, 9).Draw(t, "takes") > 0, Gives: rapid.IntRange(0, 9).Draw(t, "gives") > 0,
			Capacity: int64(rapid.IntRange(0, 3).Draw(t, "capacity")),
		}
		if zones > 0 {
			node.Zone = fmt.Sprint("z", i%zones)
		}
		c.Nodes = append(c.Nodes, node)
	}
	for id := range rapid.IntRange(1, 4).Draw(t, "tables") {
		tab := Table{ID: int32(id + 1), Fixed: rapid.IntRange(0, 9).Draw(t, "fixed") == 0}
		members := rapid.IntRange(1, min(n, 3)).Draw(t, "members")
		for range rapid.IntRange(1, 12).Draw(t, "partitions") {
			who := rapid.Permutation(indices(n)).Draw(t, "who")[:members]
			tab.Partitions = append(tab.Partitions, Partition{
				Primary: who[0], Secondaries: who[1:], Fixed: rapid.IntRange(0, 15).Draw(t, "fixed partition") == 0,
				Bytes: int64(rapid.IntRange(0, 100).Draw(t, "bytes")), Reads: int64(rapid.IntRange(0, 100).Draw(t, "reads")),
				Writes: int64(rapid.IntRange(0, 100).Draw(t, "writes")),
			})
		}
		c.Tables = append(c.Tables, tab)
	}
	return c
}

func indices(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// TestProperties: planning ends; it never makes the cluster worse; its moves are possible and touch nothing that is fixed or
// does not take part; zones get no more crowded; the same drawing gives the same plan; what comes out is at rest.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genCluster(t)
		o := Options{
			MinBytes: int64(rapid.IntRange(1, 300).Draw(t, "min bytes")), MinLoad: int64(rapid.IntRange(1, 300).Draw(t, "min load")),
			OnlyPrimaries: rapid.IntRange(0, 5).Draw(t, "only primaries") == 0,
			OnlyHandOvers: rapid.IntRange(0, 5).Draw(t, "only hand-overs") == 0,
			InTurn:        rapid.IntRange(0, 5).Draw(t, "in turn") == 0,
		}
		before := fmt.Sprint(c)
		moves := Plan(c, o)
		if fmt.Sprint(c) != before {
			t.Fatal("planning changed the drawing")
		}
		if again := Plan(c, o); fmt.Sprint(again) != fmt.Sprint(moves) {
			t.Fatalf("two plans for one drawing:\n%v\n%v", moves, again)
		}
		now, score := c, Cost(c)
		for i, m := range moves {
			p := &now.Tables[m.Table].Partitions[m.Part]
			from, to := &c.Nodes[m.From], &c.Nodes[m.To]
			secondary := slices.Contains(p.Secondaries, m.To)
			if p.Fixed || c.Tables[m.Table].Fixed || !from.Gives || !to.Takes {
				t.Fatalf("move %d %+v of what is not to be touched", i, m)
			}
			switch m.Kind {
			case HandOver:
				if p.Primary != m.From || !secondary {
					t.Fatalf("move %d %+v of %+v", i, m, p)
				}
			case CopySecondary:
				if !slices.Contains(p.Secondaries, m.From) || secondary || p.Primary == m.To || o.OnlyPrimaries || o.OnlyHandOvers {
					if !(o.OnlyPrimaries && crowded(c, p)) {
						t.Fatalf("move %d %+v of %+v", i, m, p)
					}
				}
			case CopyPrimary:
				if p.Primary != m.From || secondary || o.OnlyHandOvers {
					t.Fatalf("move %d %+v of %+v", i, m, p)
				}
			}
			now = Apply(now, moves[i:i+1])
			if s := Cost(now); s[0] > score[0] {
				t.Fatalf("move %d %+v crowds zones: %v after %v", i, m, s, score)
			}
		}
		after := Cost(now)
		if score.Less(after) {
			t.Fatalf("worse: %v after %v", after, score)
		}
		if !o.InTurn {
			if rest := Plan(now, o); len(rest) > 0 {
				t.Fatalf("not at rest: %v after %v", rest, moves)
			}
		}
		// Limited planning gets there too, and never further than one exchange beyond its limit.
		o.MaxMoves = 2
		for now, n := c, 0; ; n++ {
			some := Plan(now, o)
			if len(some) == 0 {
				break
			}
			chain := len(c.Nodes)
			if len(some) > o.MaxMoves+chain || n > 1000 {
				t.Fatalf("%d moves in step %d", len(some), n)
			}
			now = Apply(now, some)
		}
	})
}

func crowded(c *Cluster, p *Partition) bool {
	w := newWork(c, Options{})
	return w.crowd(append([]int{p.Primary}, p.Secondaries...)) > 0
}

// TestEven: with all nodes taking part and no zones, primaries and replicas of every table end within one of each other.
func TestEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genCluster(t)
		for i := range c.Nodes {
			c.Nodes[i] = Node{Takes: true, Gives: true}
		}
		for i := range c.Tables {
			c.Tables[i].Fixed = false
			for k := range c.Tables[i].Partitions {
				c.Tables[i].Partitions[k].Fixed = false
			}
		}
		w := newWork(Apply(c, Plan(c, Options{MinBytes: 1, MinLoad: 1})), Options{})
		for tab := range c.Tables {
			if d := slices.Max(w.prim[tab]) - slices.Min(w.prim[tab]); d > 1 {
				t.Fatalf("primaries of table %d: %v", tab, w.prim[tab])
			}
			if d := slices.Max(w.repl[tab]) - slices.Min(w.repl[tab]); d > 1 {
				t.Fatalf("replicas of table %d: %v", tab, w.repl[tab])
			}
		}
	})
}

// large is a cluster of many small tables, laid out at random but evenly enough, with some nodes that are new.
func large(nodes, fresh, tables, partitions int) *Cluster {
	c := &Cluster{}
	for i := range nodes + fresh {
		c.Nodes = append(c.Nodes, Node{Takes: true, Gives: true, Zone: fmt.Sprint("z", i%5)})
	}
	for id := range tables {
		t := Table{ID: int32(id + 1)}
		for k := range partitions {
			a := (id*7 + k*3) % nodes
			t.Partitions = append(t.Partitions, Partition{
				Primary: a, Secondaries: []int{(a + 1) % nodes, (a + 2) % nodes}, Bytes: int64(1+(id+k)%9) << 28,
				Reads: int64(k % 100), Writes: int64(id % 50),
			})
		}
		c.Tables = append(c.Tables, t)
	}
	return c
}

// BenchmarkPlan: a thousand tables of twenty partitions each, on fifty nodes. "even" finds nothing to do, "next" plans what a
// balance does at a time, "all" everything until the cluster is even.
func BenchmarkPlan(b *testing.B) {
	c := large(50, 5, 1000, 20)
	even := Apply(c, Plan(c, Options{}))
	for _, v := range []struct {
		name string
		c    *Cluster
		o    Options
	}{{"even", even, Options{}}, {"next", c, Options{MaxMoves: 256}}, {"all", c, Options{}}} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = len(Plan(v.c, v.o))
			}
			b.ReportMetric(float64(n), "moves")
		})
	}
}
