package consensus

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pegasus/netcore/proto"
)

// The scripts in testdata/group/ are the protocol told rule by rule. Nodes are letters. Nothing happens by itself: messages wait until
// they are delivered or dropped, log records until they are synced, asks until meta looks at them. Only lease beacons travel
// alone while the clock advances, unless the link is cut or a node is paused. The commands are the methods named do... below.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/group", func(t *testing.T, path string) {
		w := &world{t: t, nodes: map[string]*member{}, cut: map[string]bool{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			w.quiet = d.HasArg("quiet")
			w.run(d)
			w.prefixes()
			if w.out.Len() == 0 {
				return "ok\n"
			}
			return w.out.String()
		})
	})
}

var scenarioGPID = proto.GPID{App: 1}

type world struct {
	t     *testing.T
	out   strings.Builder
	quiet bool
	now   int64
	nodes map[string]*member
	names []string
	cut   map[string]bool // "ab": from a to b nothing arrives
	mail  []envelope
	reg   Config
	asks  []question
	want  int
	min   int
	lives uint64
}

type envelope struct {
	from, to string
	m        proto.ReplMessage
}

type question struct {
	from string
	ask  Ask
}

// member is a node with its replica, its log and its store.
type member struct {
	w       *world
	name    string
	replica *Replica
	leases  *Leases
	paused  bool
	effects Effects

	log     []Mutation // as on disk, in order of decree
	pending []Mutation // appended, not synced
	ballot  proto.Ballot
	unsaved proto.Ballot // to be made durable by a sync
	applied []string     // by decree, from 1
	flushed int
	stamp   int64

	reads    []ReadLog
	ships    []proto.NodeID
	installs []Install
}

func nodeID(name string) proto.NodeID { return proto.NodeID{0: name[0]} }
func nodeName(n proto.NodeID) string {
	if n.IsZero() {
		return "none"
	}
	return string(n[:1])
}

func nodeNames(ns []proto.NodeID) string {
	var out []string
	for _, n := range ns {
		out = append(out, nodeName(n))
	}
	return strings.Join(out, ",")
}

func (c Config) text() string {
	return fmt.Sprintf("%d{%s;%s}", c.Ballot, nodeName(c.Primary), nodeNames(c.Secondaries))
}

func (w *world) printf(format string, args ...any) {
	if !w.quiet {
		fmt.Fprintf(&w.out, format, args...)
	}
}

func (w *world) node(name string) *member {
	n := w.nodes[name]
	if n == nil {
		n = &member{w: w, name: name}
		w.nodes[name] = n
		w.names = append(w.names, name)
		sort.Strings(w.names)
		n.start()
	}
	return n
}

// start begins a life with what is on disk.
func (n *member) start() {
	w := n.w
	w.lives++
	n.leases = NewLeases(nodeID(n.name), w.lives, DefaultTiming(), w.now)
	var all []proto.NodeID
	for _, name := range w.names {
		all = append(all, nodeID(name))
	}
	for _, m := range w.nodes {
		m.leases.Watch(all, w.now)
	}
	n.pending, n.reads, n.ships, n.installs, n.unsaved = nil, nil, nil, nil, 0
	n.applied = n.applied[:n.flushed]
	r := Restored{Ballot: n.ballot, Durable: proto.Decree(n.flushed), Committed: proto.Decree(n.flushed)}
	point := r.Committed
	for _, m := range n.log {
		point = max(point, m.Committed)
	}
	for _, m := range n.log {
		r.Timestamp = max(r.Timestamp, m.Timestamp)
		switch {
		case m.Decree <= r.Committed:
		case m.Decree <= point && len(r.Log) == 0:
			r.Committed = m.Decree
			n.applied = append(n.applied, string(m.Batch))
		default:
			r.Log = append(r.Log, m)
		}
	}
	n.replica = NewReplica(scenarioGPID, nodeID(n.name), Limits{InFlight: 64, History: 64}, r)
	n.replica.Attach(n.leases, DefaultTiming())
	n.replica.SetMembers(w.want, w.min)
}

func (n *member) step(ev *Event) {
	if n.paused {
		return
	}
	ev.Now = n.w.now
	n.effects.Reset()
	n.replica.Step(ev, &n.effects)
	n.carryOut(&n.effects)
}

func (n *member) carryOut(e *Effects) {
	w := n.w
	if e.Persist > 0 {
		w.printf("%s: persist ballot %d\n", n.name, e.Persist)
		n.unsaved = e.Persist
	}
	for _, m := range e.Append {
		w.printf("%s: append %d@%d %s\n", n.name, m.Decree, m.Ballot, m.Batch)
		m.Batch, m.Tokens = slices.Clone(m.Batch), nil
		n.pending = append(n.pending, m)
	}
	for _, m := range e.Commit {
		w.printf("%s: commit %d %s%s\n", n.name, m.Decree, m.Batch, tokenText(m.Tokens))
		if len(n.applied) != int(m.Decree)-1 {
			w.t.Fatalf("%s commits %d after %d", n.name, m.Decree, len(n.applied))
		}
		n.applied = append(n.applied, string(m.Batch))
	}
	for _, r := range e.Rejects {
		w.printf("%s: reject%s %v\n", n.name, tokenText(r.Tokens), r.Err)
	}
	for _, s := range e.Sends {
		m := s.Message
		m.Batch, m.Secondaries = slices.Clone(m.Batch), slices.Clone(m.Secondaries)
		w.mail = append(w.mail, envelope{n.name, nodeName(s.To), m})
		w.printf("%s\n", w.mail[len(w.mail)-1])
	}
	for _, a := range e.Asks {
		w.printf("%s: ask %v %s %s\n", n.name, a.Type, nodeName(a.Node), a.Config.text())
		w.asks = append(w.asks, question{n.name, a})
	}
	for _, q := range e.ReadLog {
		w.printf("%s: read log %d..%d for %s\n", n.name, q.From, q.To, nodeName(q.Learner))
	}
	n.reads = append(n.reads, e.ReadLog...)
	for _, s := range e.SendCheckpoint {
		w.printf("%s: checkpoint for %s\n", n.name, nodeName(s.Learner))
		n.ships = append(n.ships, s.Learner)
	}
	for _, i := range e.Install {
		w.printf("%s: install checkpoint %d from %s\n", n.name, i.Decree, nodeName(i.From))
	}
	n.installs = append(n.installs, e.Install...)
	for _, l := range e.Release {
		w.printf("%s: release %s\n", n.name, nodeName(l))
	}
	if e.StateChanged {
		w.printf("%s: is %v of %s\n", n.name, n.replica.Role(), n.replica.State().Config.text())
	}
}

func tokenText(ts []uint64) string {
	if len(ts) == 0 {
		return ""
	}
	return fmt.Sprintf(" %v", ts)
}

// String shows what of a message counts.
func (e envelope) String() string {
	m := &e.m
	s := fmt.Sprintf("%s->%s %v ballot=%d", e.from, e.to, m.Type, m.Ballot)
	switch m.Type {
	case proto.ReplPrepare, proto.ReplLearnData:
		s += fmt.Sprintf(" %d %s committed=%d", m.Decree, m.Batch, m.Committed)
	case proto.ReplPrepareAck, proto.ReplLearnAck, proto.ReplNack, proto.ReplLearnRequest, proto.ReplLearnCheckpoint:
		s += fmt.Sprintf(" %d", m.Decree)
	case proto.ReplCommitPoint:
		s += fmt.Sprintf(" committed=%d", m.Committed)
	}
	if m.Type == proto.ReplPong && m.Term == 0 {
		s += " no"
	}
	return s
}

// arrive hands a message on, unless the link is cut.
func (w *world) arrive(e envelope) {
	if w.cut[e.from+e.to] {
		return
	}
	n := w.node(e.to)
	n.step(&Event{Kind: EventMessage, Node: nodeID(e.from), Message: &e.m})
}

// beat moves the clock by one beat: beacons that are due travel, and everybody ticks.
func (w *world) beat(d int64) {
	w.now += d
	for _, name := range w.names {
		n := w.nodes[name]
		if n.paused {
			continue
		}
		for _, b := range n.leases.Beacon(w.now, nil) {
			to := w.nodes[nodeName(b.To)]
			if to.paused || w.cut[name+to.name] {
				continue
			}
			if answer, ok := to.leases.OnMessage(nodeID(name), &b.Message, w.now); ok && !w.cut[to.name+name] {
				n.leases.OnMessage(nodeID(to.name), &answer, w.now)
			}
		}
	}
	for _, name := range w.names {
		w.nodes[name].step(&Event{Kind: EventTick})
	}
}

// sync makes everything durable that n appended.
func (n *member) sync() {
	if b := n.unsaved; b > 0 {
		n.unsaved, n.ballot = 0, max(n.ballot, b)
		n.step(&Event{Kind: EventBallotDurable, Ballot: b})
	}
	if len(n.pending) == 0 {
		return
	}
	for _, m := range n.pending {
		if i := slices.IndexFunc(n.log, func(o Mutation) bool { return o.Decree == m.Decree }); i >= 0 {
			if n.log[i].Ballot >= m.Ballot {
				n.w.t.Fatalf("%s: record %d@%d replaces ballot %d", n.name, m.Decree, m.Ballot, n.log[i].Ballot)
			}
			n.log = n.log[:i]
		}
		n.log = append(n.log, m)
	}
	last := n.pending[len(n.pending)-1]
	n.pending = nil
	n.step(&Event{Kind: EventLogSynced, Ballot: last.Ballot, Decree: last.Decree})
}

// prefixes checks what must hold at all times: what two nodes have applied is the same as far as both have.
func (w *world) prefixes() {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			k := min(len(a.applied), len(b.applied))
			if !slices.Equal(a.applied[:k], b.applied[:k]) {
				w.t.Fatalf("%s applied %v, %s applied %v", a.name, a.applied, b.name, b.applied)
			}
		}
	}
}

func (w *world) doState(d *datadriven.TestData) {
	for _, name := range w.names {
		s := w.nodes[name].replica.State()
		fmt.Fprintf(&w.out, "%s: %v %s committed=%d verified=%d logged=%d prepared=%d", name, s.Role, s.Config.text(),
			s.Committed, s.Verified, s.Logged, s.Prepared)
		if s.Holding {
			w.out.WriteString(" holding")
		}
		if s.Asking {
			w.out.WriteString(" asking")
		}
		if len(s.Learners) > 0 {
			fmt.Fprintf(&w.out, " learners=%s", nodeNames(s.Learners))
		}
		w.out.WriteString("\n")
	}
}

func (w *world) wait(d time.Duration) {
	const beat = 50 * time.Millisecond
	for d > 0 {
		w.beat(int64(min(d, beat)))
		d -= beat
	}
}

func decree(s string) proto.Decree {
	d, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return proto.Decree(d)
}
