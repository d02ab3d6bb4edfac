package journal

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// tape is a Machine that remembers what it was given.
type tape struct {
	mu       sync.Mutex
	entries  []string
	times    map[string]int64 // when each of them was taken
	restored int              // snapshots taken over
	status   Status
	group    []Member
	// behind is set when Ready was reported before an entry that was known to be committed.
	behind   bool
	required map[string]bool
}

func (t *tape) Apply(entries []Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times == nil {
		t.times = map[string]int64{}
	}
	for _, e := range entries {
		t.entries = append(t.entries, string(e.Data))
		t.times[string(e.Data)] = e.At
	}
	return nil
}

func (t *tape) Snapshot() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []byte(strings.Join(t.entries, "\n")), nil
}

func (t *tape) Restore(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = strings.Split(string(b), "\n")
	t.restored++
	return nil
}

func (t *tape) Group(m []Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.group = m
}

func (t *tape) Lead(s Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status = s
	if s.Ready {
		for e := range t.required {
			t.behind = t.behind || !slices.Contains(t.entries, e)
		}
	}
}

func (t *tape) has(entry string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.entries, entry)
}

func (t *tape) copy() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries)
}

func (t *tape) taken() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.times)
}

func (t *tape) ready() (Status, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status, t.status.Ready
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

type member struct {
	cfg Config
	t   *tape
	j   *Journal
}

type members []*member

func newMembers(t *testing.T, n int, snapshotEvery uint64) members {
	var g members
	var list []Member
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Member{ID: fmt.Sprintf("m%d", i), Address: l.Addr().String()})
		g = append(g, &member{cfg: Config{Self: list[i].ID, Listener: l, Dir: t.TempDir(), SnapshotEvery: snapshotEvery,
			Election: 400 * time.Millisecond}})
	}
	for i := range g {
		g[i].cfg.Members = list
		g[i].start(t)
	}
	t.Cleanup(func() {
		for _, m := range g {
			if m.j != nil {
				m.j.Close()
			}
		}
	})
	return g
}

func (m *member) start(t *testing.T) {
	t.Helper()
	if m.cfg.Listener == nil {
		i := slices.IndexFunc(m.cfg.Members, func(x Member) bool { return x.ID == m.cfg.Self })
		var err error
		if m.cfg.Listener, err = net.Listen("tcp", m.cfg.Members[i].Address); err != nil {
			t.Fatal(err)
		}
	}
	m.t = &tape{}
	j, err := Open(m.cfg, m.t)
	if err != nil {
		t.Fatal(err)
	}
	m.j = j
}

func (m *member) close(t *testing.T) {
	t.Helper()
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	m.j, m.cfg.Listener = nil, nil
}

func (g members) leader(t *testing.T) *member {
	t.Helper()
	var found *member
	eventually(t, "a leader", func() bool {
		found = nil
		for _, m := range g {
			if m.j == nil {
				continue
			}
			if _, ok := m.t.ready(); ok {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// write proposes entries at the leader, again until they are there: one that was lost with a leadership must be repeated.
func (g members) write(t *testing.T, entries ...string) {
	t.Helper()
	for _, e := range entries {
		for {
			m := g.leader(t)
			m.j.Propose([]byte(e))
			end := time.Now().Add(3 * time.Second)
			for !m.t.has(e) && time.Now().Before(end) {
				if _, ok := m.t.ready(); !ok {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if m.t.has(e) {
				break
			}
		}
	}
}

func series(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}

// TestLeaderLoss: what was committed survives the loss of the leader, the new one is ready only with all of it, the old
// one catches up after its return, and all end with the same sequence, each entry with the same time.
func TestLeaderLoss(t *testing.T) {
	begin := time.Now().UnixMilli()
	g := newMembers(t, 3, 0)
	first := series("a", 20)
	g.write(t, first...)
	old := g.leader(t)
	for _, m := range g {
		m.t.mu.Lock()
		m.t.required = make(map[string]bool)
		for _, e := range first {
			m.t.required[e] = true
		}
		m.t.mu.Unlock()
	}
	old.close(t)
	g.write(t, series("b", 20)...)
	for _, m := range g {
		if m.j == nil {
			continue
		}
		m.t.mu.Lock()
		if m.t.behind {
			t.Errorf("%s was ready before it had caught up", m.cfg.Self)
		}
		m.t.mu.Unlock()
		eventually(t, "the others know the leader", func() bool {
			m.t.mu.Lock()
			defer m.t.mu.Unlock()
			return m.t.status.LeaderID != "" && m.t.status.LeaderID != old.cfg.Self
		})
	}
	old.start(t)
	g.write(t, "last")
	for _, m := range g {
		eventually(t, m.cfg.Self+" has everything", func() bool { return m.t.has("last") })
		if got, want := m.t.copy(), g[0].t.copy(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, %s: %v", m.cfg.Self, got, g[0].cfg.Self, want)
		}
		if got, want := m.t.taken(), g[0].t.taken(); !maps.Equal(got, want) {
			t.Errorf("%s: entries were taken at %v, %s: %v", m.cfg.Self, got, g[0].cfg.Self, want)
		}
	}
	for e, at := range g[0].t.taken() {
		if at < begin || at > time.Now().UnixMilli() {
			t.Errorf("%s was taken at %d", e, at)
		}
	}
}

// TestFollowerProposal: a proposal at a member that does not lead is lost, it does not block the next ones, and nothing
// is applied twice.
func TestFollowerProposal(t *testing.T) {
	g := newMembers(t, 3, 0)
	g.write(t, "a")
	lead := g.leader(t)
	for _, m := range g {
		if m != lead {
			m.j.Propose([]byte("lost"))
		}
	}
	g.write(t, "b")
	for _, m := range g {
		eventually(t, m.cfg.Self+" has b", func() bool { return m.t.has("b") })
		if m.t.has("lost") {
			t.Errorf("%s applied a proposal that was made at a follower", m.cfg.Self)
		}
	}
}

// TestSnapshots: a member that was away while the log was cut is brought back by a snapshot, and a restart begins with
// one.
func TestSnapshots(t *testing.T) {
	g := newMembers(t, 3, 16)
	g.write(t, "first")
	away := g[0]
	away.close(t)
	g.write(t, series("x", 100)...)
	eventually(t, "snapshots", func() bool {
		for _, m := range g[1:] {
			if s, err := filepath.Glob(filepath.Join(m.cfg.Dir, "snapshots", "*-*")); err != nil || len(s) == 0 {
				return false
			}
		}
		return true
	})
	away.start(t)
	g.write(t, "last")
	eventually(t, "the absent member has everything", func() bool { return away.t.has("last") })
	if got, want := away.t.copy(), g.leader(t).t.copy(); !slices.Equal(got, want) {
		t.Errorf("after its return %v, the leader has %v", got, want)
	}
	again := g[1]
	again.close(t)
	again.start(t)
	if again.t.restored == 0 {
		t.Error("restart without its snapshot")
	}
	eventually(t, "the restarted member has everything", func() bool { return again.t.has("last") })
}

// TestAlone: a group of one keeps its entries over a restart, holds its directory, and refuses one of another group.
func TestAlone(t *testing.T) {
	g := newMembers(t, 1, 0)
	g.write(t, series("a", 50)...)

	cfg := g[0].cfg
	var err error
	if cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg, &tape{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second opener: %v", err)
	}

	g[0].close(t)
	g[0].start(t)
	g.leader(t)
	if got := g[0].t.copy(); len(got) != 50 {
		t.Errorf("%d entries after a restart: %v", len(got), got)
	}

	g[0].close(t)
	cfg = g[0].cfg
	if cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	cfg.Members = []Member{{ID: "m0", Address: cfg.Listener.Addr().String()}}
	if _, err := Open(cfg, &tape{}); err == nil || !strings.Contains(err.Error(), "written by the group") {
		t.Errorf("other group: %v", err)
	}
	if cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	cfg.Self = "stranger"
	if _, err := Open(cfg, &tape{}); err == nil {
		t.Error("a stranger opened a journal")
	}
}

func BenchmarkProposeAlone(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	m := &counter{done: make(chan int, 1024), ready: make(chan struct{})}
	j, err := Open(Config{Dir: b.TempDir(), Self: "m0", Listener: l,
		Members: []Member{{ID: "m0", Address: l.Addr().String()}}}, m)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	<-m.ready
	data := make([]byte, 200)
	for _, depth := range []int{1, 64} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			b.ReportAllocs()
			flying := 0
			for b.Loop() {
				for flying >= depth {
					flying -= <-m.done
				}
				j.Propose(data)
				flying++
			}
			for flying > 0 {
				flying -= <-m.done
			}
		})
	}
}

// counter is a Machine that only counts. ready is closed when this member leads.
type counter struct {
	done  chan int
	ready chan struct{}
	once  sync.Once
}

func (c *counter) Apply(e []Entry) error     { c.done <- len(e); return nil }
func (c *counter) Snapshot() ([]byte, error) { return nil, nil }
func (c *counter) Restore([]byte) error      { return nil }
func (c *counter) Group([]Member)            {}
func (c *counter) Lead(s Status) {
	if s.Ready {
		c.once.Do(func() { close(c.ready) })
	}
}
