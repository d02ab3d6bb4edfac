package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

// What operators do to a cluster that serves: it must not be noticed.

func (w *world) admin() admin.Admin { return admin.New(w.client) }

// finish waits for a job to end and demands that it ended well.
func (w *world) finish(j admin.Job, err error) admin.Job {
	w.t.Helper()
	w.ok(err)
	w.ok(eventually(4*patience, func() error {
		if j, err = w.admin().Job(contextFor(w.t), j.ID); err != nil {
			return err
		}
		if !j.IsEnded() {
			return fmt.Errorf("%s is at %d of %d %s: %s", j.Kind, j.Done, j.Total, j.Unit, j.Waiting)
		}
		return nil
	}))
	if j.Status != "done" {
		w.t.Fatalf("%s: %s, %s", j.Kind, j.Status, j.Reason)
	}
	return j
}

// carried counts the replicas and the primaries of every replica server.
func (w *world) carried(tables ...string) (replicas, primaries map[string]int) {
	w.t.Helper()
	replicas, primaries = map[string]int{}, map[string]int{}
	byAddress := map[string]string{}
	for _, n := range w.Nodes {
		byAddress[n.Address] = n.Name
	}
	for _, name := range tables {
		cfg, err := w.client.QueryConfig(contextFor(w.t), name)
		w.ok(err)
		for i := range cfg.Partitions {
			p := &cfg.Partitions[i]
			primaries[byAddress[p.Primary.String()]]++
			for _, a := range append(slices.Clone(p.Secondaries), p.Primary) {
				replicas[byAddress[a.String()]]++
			}
		}
	}
	return replicas, primaries
}

// patient measures what a patient client sees: every operation is tried once more if it failed, as clients do.
type patient struct {
	mu     sync.Mutex
	times  []time.Duration
	failed []error
	quit   chan struct{}
	wg     sync.WaitGroup
}

func (w *world) patient() *patient {
	p := &patient{quit: make(chan struct{})}
	tb, err := w.client.OpenTable(contextFor(w.t), table)
	w.ok(err)
	for part := range partitions {
		p.wg.Go(func() {
			key := []byte(keyIn("patient", part, partitions))
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-p.quit:
					return
				case <-tick.C:
				}
				from := time.Now()
				var err error
				for range 2 {
					ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
					if err = tb.Set(ctx, key, sortKey, key); err == nil {
						_, err = tb.Get(ctx, key, sortKey)
					}
					cancel()
					if err == nil {
						break
					}
				}
				p.mu.Lock()
				p.times = append(p.times, time.Since(from))
				if err != nil {
					p.failed = append(p.failed, err)
				}
				p.mu.Unlock()
			}
		})
	}
	return p
}

// take returns what was measured since the last time.
func (p *patient) take() (times []time.Duration, failed []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	times, failed = p.times, p.failed
	p.times, p.failed = nil, nil
	slices.Sort(times)
	return times, failed
}

func (p *patient) end() {
	close(p.quit)
	p.wg.Wait()
}

func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(len(times)-1, int(q*float64(len(times))))].Round(time.Microsecond)
}

func (w *world) report(what string, times []time.Duration, failed []error) {
	w.t.Helper()
	w.t.Logf("%s: %d times set and get, p50 %v, p99 %v, p99.9 %v, longest %v, %d failed", what, len(times), quantile(times, 0.5),
		quantile(times, 0.99), quantile(times, 0.999), quantile(times, 1), len(failed))
}

// demand demands that no operation of the patient client failed. Those of the load are tried once and have a second each, which
// a busy machine may need for a sync alone, so theirs are only told.
func (w *world) demand(failed []error, impatient int) {
	w.t.Helper()
	for _, err := range failed {
		w.t.Errorf("failed in spite of a second attempt: %v", err)
	}
	if impatient > 0 {
		w.t.Logf("%d operations of the load failed within a second", impatient)
	}
}

// TestRollingRestart drains and restarts every replica server under load, as an upgrade does: no operation fails.
func TestRollingRestart(t *testing.T) {
	w, l := begin(t, onebox.Options{})
	p := w.patient()
	defer p.end()
	hold(2 * time.Second)
	times, failed := p.take()
	w.report("quiet", times, failed)
	before := l.failures()
	for _, name := range names(onebox.Replica, w.Cluster) {
		n, err := w.Node(name)
		w.ok(err)
		from := time.Now()
		w.finish(w.admin().Drain(contextFor(t), n.Address))
		drained := time.Since(from)
		if replicas, _ := w.carried(table); replicas[name] > 0 {
			t.Errorf("%s is drained and a member of %d partitions", name, replicas[name])
		}
		w.ok(w.Restart(name))
		restarted := time.Since(from)
		w.healthy()
		t.Logf("%s: drained after %v, restarted after %v, whole after %v", name, drained, restarted, time.Since(from))
		w.ok(l.progress(everything()...))
	}
	w.finish(w.admin().Rebalance(contextFor(t), ""))
	w.ok(l.progress(everything()...))
	times, failed = p.take()
	w.report("rolling restart", times, failed)
	w.demand(failed, l.failures()-before)
	if _, primaries := w.carried(table); primaries["replica1"] != 2 || primaries["replica2"] != 2 {
		t.Errorf("primaries after the balance: %v", primaries)
	}
	w.settled(l)
}

// TestGrow adds two replica servers to three, and takes one away: the balance ends, everything is even, and no more was copied than the new ones
// lacked. A second balance finds nothing to do.
func TestGrow(t *testing.T) {
	long(t)
	w := &world{Cluster: onebox.Start(t, onebox.Options{
		Replicas: 5, Shards: 2, NoTables: true, MetaExtra: "[cluster]\nlive_percentage = 1\nstale_replica_delay = \"2s\"",
	}), t: t}
	w.client = w.dial()
	late := []string{"replica4", "replica5"}
	w.ok(w.Kill(late...))
	for _, n := range late {
		w.ok(w.WipeData(n))
	}
	w.ok(eventually(patience, func() error {
		alive, err := w.client.ListNodes(contextFor(t), proto.NodeAlive)
		if err == nil && len(alive) != 3 {
			err = fmt.Errorf("%d servers live", len(alive))
		}
		return err
	}))
	all := []string{table, "other"}
	for _, name := range all {
		_, err := w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: name, Partitions: partitions, Replicas: replicas, IfMissing: true})
		w.ok(err)
		w.ok(w.client.WaitHealthy(contextFor(t), name, replicas))
	}
	l := startLoad(t, w.client, table, t.Name(), 1)
	defer l.tell()
	defer l.end()
	w.ok(l.progress(everything()...))
	p := w.patient()
	defer p.end()
	before := l.failures()
	was, _ := w.carried(all...)

	w.ok(w.Start(late...))
	w.ok(eventually(patience, func() error {
		alive, err := w.client.ListNodes(contextFor(t), proto.NodeAlive)
		if err == nil && len(alive) != 5 {
			err = fmt.Errorf("%d servers live", len(alive))
		}
		return err
	}))
	j := w.finish(w.admin().Rebalance(contextFor(t), ""))
	now, primaries := w.carried(all...)
	t.Logf("replicas %v, then %v; primaries %v; %d moves", was, now, primaries, j.Done)
	spread := func(m map[string]int) int {
		low, high := 1<<30, 0
		for _, n := range names(onebox.Replica, w.Cluster) {
			low, high = min(low, m[n]), max(high, m[n])
		}
		return high - low
	}
	if spread(now) > 1 || spread(primaries) > 1 {
		t.Errorf("not even: replicas %v, primaries %v", now, primaries)
	}
	// 36 replicas on five servers: the new ones lack seven each, one of them eight at most; hand-overs move no data.
	if gained := now["replica4"] + now["replica5"]; j.Done > int64(gained+2*partitions) {
		t.Errorf("%d moves for %d replicas", j.Done, gained)
	}
	if again := w.finish(w.admin().Rebalance(contextFor(t), "")); again.Done != 0 {
		t.Errorf("a second balance made %d moves", again.Done)
	}
	// And back: a server leaves for good, with everything copied to the others first.
	leaver, err := w.Node("replica2")
	w.ok(err)
	j = w.finish(w.admin().Decommission(contextFor(t), leaver.Address))
	if now, _ = w.carried(all...); now["replica2"] > 0 || j.Done != j.Total {
		t.Errorf("decommissioned after %d of %d, and a member of %d partitions", j.Done, j.Total, now["replica2"])
	}
	w.ok(l.progress(everything()...))
	times, failed := p.take()
	w.report("growing and shrinking", times, failed)
	w.demand(failed, l.failures()-before)
	// What moved away leaves copies behind that nobody needs; they go, and nothing else does.
	w.ok(eventually(patience, func() error {
		carried, _ := w.carried(all...)
		for _, n := range w.Nodes {
			held, err := filepath.Glob(filepath.Join(n.Dir, "data", "reps", "*.pegasus"))
			if err != nil {
				return err
			}
			if len(held) != carried[n.Name] {
				return fmt.Errorf("%s holds %d replicas and is a member of %d", n.Name, len(held), carried[n.Name])
			}
		}
		return nil
	}))
	w.settled(l)
}

// TestCreationsThroughLeaderLoss has the meta leader die while a hundred tables are made and while a replica server is lost.
func TestCreationsThroughLeaderLoss(t *testing.T) {
	long(t)
	const tables, makers = 100, 8
	w, l := begin(t, onebox.Options{MetaExtra: "[cluster]\nlive_percentage = 1"})
	next := make(chan string, tables)
	for i := range tables {
		next <- fmt.Sprintf("made%d", i)
	}
	close(next)
	ids := map[string]int32{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	half := make(chan struct{})
	errs := make(chan error, makers)
	for range makers {
		wg.Go(func() {
			for name := range next {
				if err := eventually(patience, func() error {
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
					defer cancel()
					id, err := w.client.CreateTable(ctx, clientlib.TableSpec{Name: name, Partitions: 2, Replicas: 3, IfMissing: true})
					if err == nil {
						mu.Lock()
						if ids[name] = id; len(ids) == tables/3 {
							close(half)
						}
						mu.Unlock()
					}
					return err
				}); err != nil {
					errs <- fmt.Errorf("%s: %w", name, err)
					return
				}
			}
		})
	}
	<-half
	leader := w.metaLeader()
	victim := w.busiest()
	w.ok(w.Kill(leader.Name, victim))
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	w.ok(l.progress(everything()...))
	w.ok(w.Start(leader.Name, victim))
	apps, err := w.client.ListTables(contextFor(t), proto.AppAvailable)
	w.ok(err)
	seen := map[string]int{}
	for _, a := range apps {
		seen[a.AppName]++
		if id, ours := ids[a.AppName]; ours && id != a.AppID {
			t.Errorf("table %s has the id %d; its maker was told %d", a.AppName, a.AppID, id)
		}
	}
	for name := range ids {
		if seen[name] != 1 {
			t.Errorf("%d tables %s", seen[name], name)
		}
		w.ok(eventually(2*patience, func() error { return w.client.WaitHealthy(contextFor(t), name, 3) }))
	}
	w.settled(l)
}

// TestMetasGoneForAMinute is TestAllMetasDown for as long as it takes to notice and to act.
func TestMetasGoneForAMinute(t *testing.T) {
	long(t)
	w, l := begin(t, onebox.Options{})
	p := w.patient()
	defer p.end()
	metas := names(onebox.Meta, w.Cluster)
	before := l.failures()
	w.ok(w.Kill(metas...))
	hold(time.Minute)
	w.ok(l.progress(everything()...))
	w.ok(w.Start(metas...))
	w.healthy()
	times, failed := p.take()
	w.report("a minute without metas", times, failed)
	w.demand(failed, l.failures()-before)
	w.settled(l)
}

// TestMetasLost has all metas lose their disks. A new group finds out from the replica servers what there is; they serve all
// the time.
func TestMetasLost(t *testing.T) {
	w, l := begin(t, onebox.Options{MetaExtra: "[cluster]\nlive_percentage = 1"})
	ctx := contextFor(t)
	w.ok(w.admin().SetEnvs(ctx, table, map[string]string{"business.info": "kept"}))
	metas := names(onebox.Meta, w.Cluster)
	before := l.failures()
	w.ok(w.Kill(metas...))
	for _, name := range metas {
		w.ok(w.WipeData(name))
		n, err := w.Node(name)
		w.ok(err)
		text, err := os.ReadFile(n.Config())
		w.ok(err)
		w.ok(os.WriteFile(n.Config(), []byte(strings.Replace(string(text), "[cluster]\n",
			"[cluster]\nrecover_from_replica_server = \"yes\"\n", 1)), 0o644))
	}
	w.ok(w.Start(metas...))
	w.ok(l.progress(everything()...))
	var nodes []proto.RPCAddress
	for _, a := range w.Replicas() {
		nodes = append(nodes, proto.NewRPCAddress(netip.MustParseAddrPort(a)))
	}
	w.ok(eventually(patience, func() error {
		hint, err := w.admin().Recover(contextFor(t), nodes, false, false)
		if err != nil {
			return fmt.Errorf("%w: %s", err, hint)
		}
		t.Logf("recovered; %q", hint)
		return nil
	}))
	w.healthy()
	w.ok(l.progress(everything()...))
	apps, err := w.client.ListTables(contextFor(t), proto.AppAvailable)
	w.ok(err)
	if len(apps) != 1 || apps[0].AppName != table || apps[0].Envs["business.info"] != "kept" || apps[0].MaxReplicaCount != replicas {
		t.Errorf("recovered tables: %+v", apps)
	}
	if _, err := w.admin().Recover(contextFor(t), nodes, false, false); !errors.Is(err, proto.ErrServiceAlreadyRunning) {
		t.Errorf("a second recovery: %v", err)
	}
	t.Logf("%d operations failed meanwhile", l.failures()-before)
	w.settled(l)
}

// TestMetasRestored has all metas begin anew from a backup of some time ago: servers go on serving, what they know of changes
// since is believed, and a table that was made since is not overwritten by a new one.
func TestMetasRestored(t *testing.T) {
	long(t)
	w, l := begin(t, onebox.Options{MetaExtra: "[cluster]\nlive_percentage = 1"})
	text, err := w.admin().Command(contextFor(t), w.metaLeader().Address, "meta.backup", "before")
	w.ok(err)
	var written struct{ Error, File string }
	w.ok(json.Unmarshal([]byte(text), &written))
	if written.Error != "ok" {
		t.Fatal(text)
	}
	backup := filepath.Join(t.TempDir(), "before")
	b, err := os.ReadFile(written.File)
	w.ok(err)
	w.ok(os.WriteFile(backup, b, 0o644))
	for _, part := range everything() {
		w.handOver(part)
	}
	_, err = w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: "later", Partitions: 2, Replicas: replicas})
	w.ok(err)
	w.ok(w.client.WaitHealthy(contextFor(t), "later", replicas))
	before, now := l.failures(), w.primaries()
	metas := names(onebox.Meta, w.Cluster)
	w.ok(w.Kill(metas...))
	bin := os.Getenv(onebox.EnvBin)
	if bin == "" {
		bin, err = onebox.Build()
		w.ok(err)
	}
	for _, name := range metas {
		w.ok(w.WipeData(name))
		n, err := w.Node(name)
		w.ok(err)
		out, err := exec.Command(filepath.Join(bin, "pegasus-meta"), "--config", n.Config(), "--restore", backup).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w.ok(w.Start(metas...))
	w.ok(eventually(patience, func() error {
		if got := w.primaries(); !slices.Equal(got, now) {
			return fmt.Errorf("primaries %v, before %v", got, now)
		}
		return nil
	}))
	w.healthy()
	w.ok(l.progress(everything()...))
	_, err = w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: "new", Partitions: 2, Replicas: replicas})
	w.ok(err)
	w.ok(w.client.WaitHealthy(contextFor(t), "new", replicas))
	t.Logf("%d operations failed meanwhile", l.failures()-before)
	w.settled(l)
}
