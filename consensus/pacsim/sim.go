package pacsim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"

	"pegasus/netcore/proto"
)

// Sim is one run.
type Sim struct {
	o     Options
	q     queue
	rng   *rand.Rand
	net   *network
	metas *metaGroup
	nodes []*node
	slots map[proto.NodeID]int // machine of every name ever given
	names []proto.NodeID       // in the order in which they were given

	storming bool // faults strike
	quiet    bool // clients issue nothing new

	hot         [][]int
	keyPart     []int
	lastSeen    []cell
	lastSuccess []int64
	values      int64
	tokens      uint64
	links       uint64
	tableMade   bool

	answered, unanswered, refused int
	lostInChange                  int

	trace     *trace
	seen      history
	history   *committed
	content   content
	prefix    *prefix
	registers *registers
	serving   serving
	failure   *Failure
	sick      int // partition that did not come to rest
}

// Failure is a violated property.
type Failure struct {
	Kind  string // of checker
	Part  int    // partition, -1: none
	At    int64  // true time
	What  string
	Trace string // the latest events in words
	State string // of registers and replicas, in words
}

// Error tells the failure in one line.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s: partition %d at %.6fs: %s", f.Kind, f.Part, float64(f.At)/float64(second), f.What)
}

// Result is the outcome of a run.
type Result struct {
	Options Options
	Failure *Failure
	Hash    uint64 // of the whole trace
	Events  uint64
	Virtual int64 // nanoseconds simulated
	// Answered, Unanswered and Refused count operations of clients; Undecided counts keys that porcupine gave up on.
	Answered, Unanswered, Refused, Undecided int
	Reads                                    uint64
	Mutations                                int
	Ballots                                  int
	// LostInChange counts replicas whose media were lost while their register had not come to rest.
	LostInChange int
	// JobsDone and JobsEnded count the jobs of operators that were finished, and those that ended in any way.
	JobsDone, JobsEnded int
}

// traceWords is how many events a failure tells.
const traceWords = 120

// Run runs one seed's options. verbose, if not nil, gets every trace event in words.
func Run(o Options, verbose func(string)) Result {
	s := newSim(o, verbose)
	res := Result{Options: o}
	s.guarded(func() { s.live(&res) })
	res.Failure, res.Hash, res.Events, res.Virtual = s.failure, s.trace.hash, s.q.done, s.q.now
	res.Answered, res.Unanswered, res.Refused, res.Reads = s.answered, s.unanswered, s.refused, s.serving.reads
	res.LostInChange = s.lostInChange
	res.JobsDone, res.JobsEnded = s.metas.jobs()
	for part := range o.Partitions {
		res.Mutations += len(s.history.parts[part].prints)
		res.Ballots += int(s.registers.parts[part].now.Ballot)
	}
	return res
}

func newSim(o Options, verbose func(string)) *Sim {
	s := &Sim{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x5eed)), slots: map[proto.NodeID]int{}, lastSuccess: make([]int64, o.Partitions), sick: -1}
	s.trace = newTrace(o.Partitions)
	s.trace.verbose = verbose
	s.history, s.content = newCommitted(s, o.Partitions), content{s}
	s.prefix, s.registers = newPrefix(s, o.Partitions), newRegisters(s, o.Partitions)
	s.serving = serving{s: s}
	return s
}

// guarded turns a panic, which is how the cores say that an invariant is broken, into a failure.
func (s *Sim) guarded(do func()) {
	defer func() {
		if p := recover(); p != nil {
			stack := strings.Split(string(debug.Stack()), "\n")
			s.fail("panic", s.sick, "%v\n%s", p, strings.Join(stack[:min(len(stack), 40)], "\n"))
		}
	}()
	do()
}

// fail records the first violation and ends the run.
func (s *Sim) fail(kind string, part int, format string, args ...any) {
	if only := s.o.Only; only != "" && kind != only && kind != "panic" && kind != "live" {
		return
	}
	if s.failure == nil {
		s.failure = &Failure{Kind: kind, Part: part, At: s.q.now, What: fmt.Sprintf(format, args...), Trace: s.trace.words(part, traceWords), State: s.describe()}
	}
}

// live is the life of a cluster: set up, storm, heal, rest, and the checks that need the whole history.
func (s *Sim) live(res *Result) {
	s.begin()
	if why := s.settle(60 * second); why != "" {
		s.fail("live", s.sick, "not set up after 60 s: %s", why)
		return
	}
	clients := make([]*client, s.o.Clients)
	for i := range clients {
		clients[i] = newClient(s, i)
		clients[i].next(s.rng.Int64N(s.o.Think))
	}
	s.runFor(second)
	s.storming = true
	if step := s.o.CrashStep; step > 0 {
		s.nodes[step%len(s.nodes)].steps = step
	}
	s.storm()
	s.runFor(s.o.Storm)
	s.heal()
	if why := s.settle(120 * second); why != "" {
		s.fail("live", s.sick, "not at rest 120 s after all faults ended: %s", why)
		return
	}
	healed := s.q.now
	for range 100 {
		if s.sick = slices.IndexFunc(s.lastSuccess, func(at int64) bool { return at < healed }); s.sick < 0 || s.failure != nil {
			break
		}
		s.runFor(200 * millisecond)
	}
	if s.sick >= 0 {
		s.fail("live", s.sick, "no operation succeeds within 20 s although the partition was healthy")
		return
	}
	s.quiet = true
	s.runFor(2 * clientTimeout)
	if why := s.settle(60 * second); why != "" {
		s.fail("live", s.sick, "not at rest without load: %s", why)
		return
	}
	s.readAll()
	s.equalAtRest()
	if s.failure != nil {
		return
	}
	bad := -1
	if bad, res.Undecided = s.seen.check(); bad >= 0 {
		var ops strings.Builder
		for i := range s.seen.keys[bad] {
			fmt.Fprintf(&ops, "\n  %v", &s.seen.keys[bad][i])
		}
		s.fail("linear", s.keyPart[bad], "key %d is not linearizable:%s", bad, ops.String())
	}
}

// begin starts metas and nodes and makes the table.
func (s *Sim) begin() {
	s.net = newNetwork(s, s.o.Nodes+s.o.Metas+1)
	s.metas = newMetaGroup(s, s.o.Metas)
	s.metas.elect()
	for i := range s.o.Nodes {
		s.nodes = append(s.nodes, newNode(s, i))
	}
	s.hot = make([][]int, s.o.Partitions)
	for part := range s.hot {
		for range hotKeys {
			s.hot[part] = append(s.hot[part], s.newKey(part))
		}
	}
	for i, n := range s.nodes {
		if s.o.On[FaultGrow] && i >= s.o.Replicas {
			s.q.after(s.rng.Int64N(s.o.Storm), n.startIfDown)
		} else {
			s.q.after(s.rng.Int64N(500*millisecond), n.startIfDown)
		}
	}
	for range 60 {
		s.runFor(500 * millisecond)
		if s.tableMade {
			break
		}
		s.createTable()
	}
}

// runFor lets time pass.
func (s *Sim) runFor(d int64) {
	for limit := s.q.now + d; s.failure == nil && s.q.step(limit); {
	}
}

// equalAtRest compares all replicas of a partition when nothing moves any more.
func (s *Sim) equalAtRest() {
	for part := range s.o.Partitions {
		c := s.registers.parts[part].now
		p := s.holder(part, c.Primary)
		if p == nil {
			continue
		}
		want := contentHash(p.media.store)
		for _, m := range c.Secondaries {
			if q := s.holder(part, m); q != nil && contentHash(q.media.store) != want {
				s.fail("content", part, "nodes %d and %d hold different data at rest", p.n.id, q.n.id)
			}
		}
	}
}

// describe tells what the registers and the replicas are.
func (s *Sim) describe() string {
	var b strings.Builder
	for part := range s.o.Partitions {
		c := s.registers.parts[part].now
		fmt.Fprintf(&b, "partition %d: ballot %d, primary %d, secondaries", part, c.Ballot, s.slot(c.Primary))
		for _, m := range c.Secondaries {
			fmt.Fprintf(&b, " %d", s.slot(m))
		}
		fmt.Fprintf(&b, ", %d decrees committed\n", len(s.history.parts[part].prints))
		for _, n := range s.nodes {
			if !n.up || n.parts == nil || n.parts[part] == nil {
				continue
			}
			r := n.parts[part]
			st := r.machine.State()
			fmt.Fprintf(&b, "  node %d: %v of ballot %d (primary %d), durable %d, committed %d, logged %d, prepared %d, failed %v, installing %v\n",
				n.id, st.Role, st.Config.Ballot, s.slot(st.Config.Primary), st.Durable, st.Committed, st.Logged, st.Prepared, r.failed, r.installing())
		}
	}
	return b.String()
}

// toNode sends a message from one node to another, by name: a name that its machine no longer has reaches nobody.
func (s *Sim) toNode(from *node, to proto.NodeID, take func(*node)) {
	slot := s.slot(to)
	if slot < 0 {
		return
	}
	o := s.nodes[slot]
	s.net.send(from.id, slot, func() {
		if o.name == to {
			o.run(o.life, func() { take(o) })
		}
	})
}

// slot is the machine of a name, -1 for a name never given.
func (s *Sim) slot(name proto.NodeID) int {
	if i, ok := s.slots[name]; ok {
		return i
	}
	return -1
}

func (s *Sim) slotAt(names []proto.NodeID, i int) int64 {
	if i < len(names) {
		return int64(s.slot(names[i]))
	}
	return -1
}

func (s *Sim) note(format string, args ...int64) {
	s.trace.add(s.q.now, s.o.Partitions, -1, format, args...)
}

func (s *Sim) noteNode(n *node, format string, args ...int64) {
	s.trace.add(s.q.now, s.o.Partitions, n.id, format, args...)
}

func (s *Sim) notePart(part int, n *node, format string, args ...int64) {
	id := -1
	if n != nil {
		id = n.id
	}
	s.trace.add(s.q.now, part, id, format, args...)
}
