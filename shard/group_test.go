package shard

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
)

// group is several nodes in one process, each with its own loops, disks and sockets, and one meta.
type group struct {
	t     testing.TB
	meta  *fakeMeta
	nodes []*groupNode
}

type groupNode struct {
	group *group
	dir   string
	opts  Options
	node  *Node // nil while it is stopped
	id    proto.NodeID
}

// quickTiming takes over within half a second.
func quickTiming() consensus.Timing {
	return consensus.Timing{
		Beacon: 20 * time.Millisecond, Lease: 150 * time.Millisecond, Grace: 300 * time.Millisecond, Retry: 50 * time.Millisecond,
		Announce: 20 * time.Millisecond, HandOver: time.Second, Slow: 10 * time.Second, SlowPer: time.Minute,
	}
}

// newGroup starts a node per entry of shards, which says how many shards it has.
func newGroup(t testing.TB, shards []int, change ...func(*Options)) *group {
	t.Helper()
	g := &group{t: t, meta: newFakeMeta(t)}
	g.meta.group = newGroupMeta()
	for _, n := range shards {
		m := &groupNode{group: g, dir: t.TempDir()}
		m.opts = testOptions(t, m.dir, n, g.meta.addr())
		m.opts.Timing = quickTiming()
		for _, fn := range change {
			fn(&m.opts)
		}
		g.nodes = append(g.nodes, m)
		m.start()
		t.Cleanup(m.stop)
	}
	return g
}

func (m *groupNode) start() {
	m.group.t.Helper()
	n, err := Start(m.opts)
	if err != nil {
		m.group.t.Fatal(err)
	}
	m.node, m.id = n, n.ID()
	m.group.meta.with(func() { delete(m.group.meta.group.away, m.id) })
	eventually(m.group.t, "the node is known", func() bool {
		return get(m.group.meta, func() bool {
			p, ok := m.group.meta.group.nodes[m.id]
			return ok && p.Transfer == n.transferAddress
		})
	})
}

func (m *groupNode) stop() {
	if n := m.node; n != nil {
		m.node = nil
		m.group.meta.with(func() { m.group.meta.group.away[m.id] = true })
		if err := n.Stop(within(m.group.t)); err != nil {
			m.group.t.Errorf("stop: %v", err)
		}
	}
}

// restart starts a stopped node on other ports, with any number of shards.
func (m *groupNode) restart(shards int) {
	m.group.t.Helper()
	fresh := testOptions(m.group.t, m.dir, shards, m.group.meta.addr())
	m.opts.Listen, m.opts.ShardPort, m.opts.Shards = fresh.Listen, fresh.ShardPort, fresh.Shards
	m.start()
}

// freeze blocks all loops of a node and returns what lets them go on.
func (m *groupNode) freeze() (thaw func()) {
	release := make(chan struct{})
	var held sync.WaitGroup
	for _, sh := range m.node.shards {
		held.Add(1)
		if err := sh.loop.DoMust(func() { held.Done(); <-release }); err != nil {
			m.group.t.Fatal(err)
		}
	}
	held.Wait()
	return sync.OnceFunc(func() { close(release) })
}

// of returns the node of an id.
func (g *group) of(id proto.NodeID) *groupNode {
	for _, m := range g.nodes {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (g *group) primary(p proto.GPID) *groupNode { return g.of(g.meta.config(p).Primary) }

// secondary returns the node of the first secondary.
func (g *group) secondary(p proto.GPID) *groupNode { return g.of(g.meta.config(p).Secondaries[0]) }

// full waits until every partition of a table has members and its primary serves reads.
func (g *group) full(app, partitions int32, members int) {
	g.t.Helper()
	for i := range partitions {
		p := proto.GPID{App: app, Part: i}
		defer func() {
			if g.t.Failed() {
				g.t.Logf("%v: %+v", p, g.meta.config(p))
				for i, m := range g.nodes {
					if m.node != nil {
						g.t.Logf("node %d: %s", i, onPartition(m.node, p, describe))
					}
				}
			}
		}()
		eventually(g.t, fmt.Sprintf("%v has %d members and serves", p, members), func() bool {
			c := g.meta.config(p)
			if 1+len(c.Secondaries) != members {
				return false
			}
			m := g.of(c.Primary)
			return m != nil && m.node != nil && onPartition(m.node, p, func(p *partition) bool { return p != nil && p.mayRead(false) })
		})
	}
}

func describe(p *partition) string {
	if p == nil {
		return "nothing"
	}
	s := fmt.Sprintf("state %d %q, refs %d, ballot %d", p.state, p.failure, p.refs, p.ballot)
	if p.replica != nil {
		s += fmt.Sprintf(", %+v", p.replica.State())
	}
	return s
}

// groupClient finds primaries and asks again, as clients do.
type groupClient struct {
	g     *group
	conns map[string]*testClient
}

func (g *group) client() *groupClient {
	c := &groupClient{g: g, conns: map[string]*testClient{}}
	g.t.Cleanup(c.close)
	return c
}

func (c *groupClient) close() {
	for _, conn := range c.conns {
		conn.conn.Close()
	}
}

// once asks a node once. A connection that fails is given up.
func (c *groupClient) once(addr string, code proto.Code, p proto.GPID, hash uint64, args func([]byte) []byte) (proto.Reply, error) {
	conn := c.conns[addr]
	if conn == nil {
		var err error
		if conn, err = tryDial(addr); err != nil {
			return proto.Reply{}, err
		}
		c.conns[addr] = conn
	}
	conn.conn.SetDeadline(time.Now().Add(2 * time.Second))
	conn.out = conn.out[:0]
	seq := conn.add(code, p, hash, args)
	_, err := conn.conn.Write(conn.out)
	var r proto.Reply
	if err == nil {
		r, err = conn.read()
	}
	if err == nil && r.Seq != seq {
		err = fmt.Errorf("reply to %d, want %d", r.Seq, seq)
	}
	if err != nil {
		conn.conn.Close()
		delete(c.conns, addr)
	}
	return r, err
}

// ask asks the primary until it answers without an error; done ends the attempts.
func (c *groupClient) ask(code proto.Code, p proto.GPID, hash uint64, args func([]byte) []byte) (proto.Reply, error) {
	err := error(nil)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		config := c.g.meta.config(p)
		addr := get(c.g.meta, func() string {
			a := c.g.meta.group.nodes[config.Primary].Address
			return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
		})
		var r proto.Reply
		if r, err = c.once(addr, code, p, hash, args); err == nil {
			if r.Code() == proto.ErrOK {
				return r, nil
			}
			err = fmt.Errorf("%s", r.Err)
		}
	}
	return proto.Reply{}, err
}

func (c *groupClient) put(app, partitions int32, key, value string) error {
	p, h := partOf(app, partitions, key)
	r, err := c.ask(proto.CodePut, p, h, putArgs(key, "s", value))
	if err != nil {
		return err
	}
	var m proto.UpdateResponse
	if err := m.DecodeResult(r.Body); err != nil || m.Error != proto.StorageOK {
		return fmt.Errorf("put: %v, %v", m.Error, err)
	}
	return nil
}

func (c *groupClient) get(app, partitions int32, key string) (string, error) {
	p, h := partOf(app, partitions, key)
	r, err := c.ask(proto.CodeGet, p, h, keyArgs(key, "s"))
	if err != nil {
		return "", err
	}
	var m proto.ReadResponse
	if err := m.DecodeResult(r.Body); err != nil {
		return "", err
	}
	return string(m.Value), nil
}

// load writes rising numbers under keys of its own and reads each back, until stopped: a read that shows less than what
// was acknowledged before it was asked is an error.
type load struct {
	done    chan struct{}
	stopped sync.WaitGroup
	mu      sync.Mutex
	once    sync.Once
	acked   map[string]int
	count   atomic.Int64
}

func (g *group) load(app, partitions int32, writers int) *load {
	return g.startLoad(app, partitions, writers, true)
}

// puts is a load that reads nothing back before verify.
func (g *group) puts(app, partitions int32, writers int) *load {
	return g.startLoad(app, partitions, writers, false)
}

func (g *group) startLoad(app, partitions int32, writers int, readBack bool) *load {
	l := &load{done: make(chan struct{}), acked: map[string]int{}}
	g.t.Cleanup(l.end) // a test that fails must not leave writers that fail after it
	for w := range writers {
		c := g.client()
		l.stopped.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-l.done:
					return
				default:
				}
				key := fmt.Sprintf("w%d-%d", w, n%40)
				if err := c.put(app, partitions, key, strconv.Itoa(n)); err != nil {
					g.t.Errorf("put %s: %v", key, err)
					return
				}
				l.mu.Lock()
				l.acked[key] = n
				l.mu.Unlock()
				l.count.Add(1)
				if !readBack {
					continue
				}
				if v, err := c.get(app, partitions, key); err != nil || v != strconv.Itoa(n) {
					g.t.Errorf("%s is %q, %v; %d was acknowledged", key, v, err, n)
					return
				}
			}
		})
	}
	return l
}

// more waits for n more acknowledged writes.
func (l *load) more(g *group, n int64) {
	g.t.Helper()
	from := l.count.Load()
	eventually(g.t, "writes are acknowledged", func() bool { return l.count.Load() >= from+n || g.t.Failed() })
}

// end stops the writers.
func (l *load) end() {
	l.once.Do(func() { close(l.done) })
	l.stopped.Wait()
}

// verify ends the load and looks that everything acknowledged is there, at the primary and, once it has been told of the last
// commit, on the disks of every other member.
func (l *load) verify(g *group, app, partitions int32) {
	g.t.Helper()
	l.end()
	c := g.client()
	for key, n := range l.acked {
		if v, err := c.get(app, partitions, key); err != nil || v != strconv.Itoa(n) {
			g.t.Errorf("%s is %q, %v; %d was acknowledged", key, v, err, n)
		}
	}
	g.same(app, partitions)
}

// same compares the stores of all members.
func (g *group) same(app, partitions int32) {
	g.t.Helper()
	for i := range partitions {
		p := proto.GPID{App: app, Part: i}
		var contents []map[string]string
		eventually(g.t, "all members are at one decree", func() bool {
			c := g.meta.config(p)
			contents = contents[:0]
			var decrees []proto.Decree
			for _, id := range append([]proto.NodeID{c.Primary}, c.Secondaries...) {
				m := g.of(id)
				if m == nil || m.node == nil {
					return false
				}
				content, at := m.content(p)
				if content == nil {
					return false
				}
				contents, decrees = append(contents, content), append(decrees, at)
			}
			return len(slices.Compact(decrees)) == 1
		})
		for _, other := range contents[1:] {
			if !maps.Equal(contents[0], other) {
				g.t.Errorf("%v: %d records at the primary, %d at a secondary, which differ", p, len(contents[0]), len(other))
			}
		}
	}
}

// content reads a whole store, nil when the replica is not open, and tells its decree.
func (m *groupNode) content(g proto.GPID) (map[string]string, proto.Decree) {
	var content map[string]string
	at := onPartition(m.node, g, func(p *partition) proto.Decree {
		if p == nil || p.state != replicaOpen {
			return 0
		}
		it, err := p.store.NewIterator(engine.IterOptions{Tier: engine.TierAll})
		if err != nil {
			m.group.t.Error(err)
			return 0
		}
		defer it.Close()
		content = map[string]string{}
		var rows engine.Rows
		for more := true; more; {
			var o engine.Outcome
			if more, o, err = it.Next(&rows, engine.SliceLimit{MaxRows: 1000}); o != engine.Found || err != nil {
				m.group.t.Errorf("iterator: %v, %v", o, err)
				break
			}
			rows.Each(func(key, value []byte) bool { content[string(key)] = string(value); return true })
		}
		return p.store.AppliedDecree()
	})
	return content, at
}
