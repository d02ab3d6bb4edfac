package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

// probeTimeout bounds one write of a probe, and with it how exactly the end of an outage is known.
const probeTimeout = 50 * time.Millisecond

// attempt is one write of a probe.
type attempt struct {
	from, to time.Time
	err      error
}

// probe writes to one partition without a pause, one write at a time.
type probe struct {
	mu   sync.Mutex
	list []attempt
	quit chan struct{}
	wg   sync.WaitGroup
}

func startProbe(tb *clientlib.Table, part int) *probe {
	p := &probe{quit: make(chan struct{})}
	key := []byte(keyIn("probe", part, tb.Partitions()))
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		for {
			select {
			case <-p.quit:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
			a := attempt{from: time.Now()}
			a.err = tb.Set(ctx, key, sortKey, []byte("v"))
			a.to = time.Now()
			cancel()
			p.mu.Lock()
			p.list = append(p.list, a)
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *probe) end() []attempt {
	close(p.quit)
	p.wg.Wait()
	return p.list
}

// served returns when a number of writes that began after a moment have succeeded without a failure between them.
func (p *probe) served(after time.Time, n int) error {
	return eventually(patience, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		row := 0
		for i := len(p.list) - 1; i >= 0 && row < n; i-- {
			if a := &p.list[i]; a.err != nil || a.from.Before(after) {
				return fmt.Errorf("%d writes in a row were answered, the last error is %w", row, lastError(p.list))
			}
			row++
		}
		if row < n {
			return fmt.Errorf("only %d writes", row)
		}
		return nil
	})
}

func lastError(list []attempt) error {
	for _, a := range slices.Backward(list) {
		if a.err != nil {
			return a.err
		}
	}
	return errors.New("none")
}

// outageOf measures what an event at a moment did to one partition. failed is the time from the first write that
// failed (its start) to the first one after it that succeeded (its end), 0 when none failed; stall the longest time
// without a success around the event.
func outageOf(list []attempt, event time.Time) (failed, stall time.Duration) {
	var first, last time.Time
	for _, a := range list {
		switch {
		case a.err == nil:
			if !last.IsZero() && a.to.After(event) {
				stall = max(stall, a.to.Sub(last))
			}
			last = a.to
			if !first.IsZero() && failed == 0 {
				failed = a.to.Sub(first)
			}
		case first.IsZero() && a.to.After(event):
			first = a.from
		}
	}
	return failed, stall
}

// row is one line of the table that the test prints.
type row struct {
	event         string
	failed, stall []time.Duration
}

func (r *row) add(failed, stall time.Duration) {
	r.failed, r.stall = append(r.failed, failed), append(r.stall, stall)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func print(rows []*row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "event\tsamples\tfirst failed to first succeeded: median\tworst\tlongest time without a success: median\tworst\t\n")
	for _, r := range rows {
		if len(r.failed) == 0 {
			continue
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t\n", r.event, len(r.failed), ms(median(r.failed)), ms(slices.Max(r.failed)),
			ms(median(r.stall)), ms(slices.Max(r.stall)))
	}
	w.Flush()
	return b.String()
}

const servedInARow = 20

// watch has a probe on each partition while something happens to them.
func (w *world) watch(r *row, parts []int, event func()) {
	w.t.Helper()
	tb, err := w.client.OpenTable(contextFor(w.t), table)
	w.ok(err)
	start := time.Now()
	probes := make([]*probe, len(parts))
	for i, part := range parts {
		probes[i] = startProbe(tb, part)
	}
	for _, p := range probes {
		err = cmp.Or(err, p.served(start, servedInARow))
	}
	at := time.Now()
	if err == nil {
		event()
		began := time.Now()
		for _, p := range probes {
			err = cmp.Or(err, p.served(began, servedInARow))
		}
	}
	for _, p := range probes {
		failed, stall := outageOf(p.end(), at)
		r.add(failed, stall)
	}
	w.ok(err)
}

// TestFailOverTimes prints how long partitions cannot be written when their primary is killed, and when it is asked to
// hand over. It judges nothing but that service comes back.
func TestFailOverTimes(t *testing.T) {
	rounds := replicas
	if duration() > 0 {
		rounds = 10
	}
	w := open(t, onebox.Options{})
	killed := &row{event: "kill -9 of the primary"}
	moved := &row{event: "hand-over on request"}
	for i := range rounds {
		victim := names(onebox.Replica, w.Cluster)[i%replicas]
		parts := w.leads(victim)
		if len(parts) == 0 {
			victim = w.busiest()
			parts = w.leads(victim)
		}
		w.watch(killed, parts, func() { w.ok(w.Kill(victim)) })
		w.ok(w.Start(victim))
		w.healthy()
		for j := range 4 {
			part := (4*i + j) % partitions
			w.watch(moved, []int{part}, func() { w.handOver(part) })
		}
	}
	t.Logf("\n%s", print([]*row{killed, moved}))
	if len(killed.failed) < rounds {
		t.Errorf("%d samples of %d kills", len(killed.failed), rounds)
	}
}

// handOver asks for another primary of a partition and returns when meta shows it.
func (w *world) handOver(part int) {
	w.t.Helper()
	cfg, err := w.client.QueryConfig(contextFor(w.t), table)
	w.ok(err)
	p := &cfg.Partitions[part]
	move := proto.BalanceMovePrimary
	args := proto.AppendArgs(nil, &proto.BalancerRequest{GPID: p.PID, BalanceType: &move, ActionList: []proto.ProposalAction{
		{Target: p.Primary, Node: p.Primary, Type: proto.CTDowngradeToSecondary},
		{Target: p.Secondaries[0], Node: p.Secondaries[0], Type: proto.CTUpgradeToPrimary},
	}}, 1)
	var resp proto.BalancerResponse
	w.ok(exchange(w.metaLeader().Address, proto.CodeCMProposeBalancer, proto.GPID{}, 0, args, func(r *proto.Reply) error {
		if r.Code() != proto.ErrOK {
			return r.Code()
		}
		return proto.UnmarshalArgs(r.Body, &resp)
	}))
	if resp.Err != proto.ErrOK {
		w.t.Fatalf("the hand-over was refused: %v", resp.Err)
	}
	w.ok(eventually(patience, func() error {
		now, err := w.client.QueryConfig(contextFor(w.t), table)
		if err != nil {
			return err
		}
		if now.Partitions[part].Primary != p.Secondaries[0] {
			return fmt.Errorf("partition %d is still led by %v", part, now.Partitions[part].Primary)
		}
		return nil
	}))
}

func TestHandOver(t *testing.T) {
	w, l := begin(t, onebox.Options{})
	for range 2 {
		for _, part := range everything() {
			w.handOver(part)
			w.ok(l.progress(part))
		}
	}
	w.settled(l)
}

func TestOutageOf(t *testing.T) {
	zero := time.Now()
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	bad := errors.New("bad")
	list := []attempt{
		{at(0), at(10), nil}, {at(10), at(20), nil}, {at(20), at(35), bad}, {at(35), at(80), bad}, {at(80), at(100), nil},
		{at(100), at(110), nil},
	}
	if failed, stall := outageOf(list, at(15)); failed != 80*time.Millisecond || stall != 80*time.Millisecond {
		t.Errorf("failed for %v, stalled for %v", failed, stall)
	}
	list = []attempt{{at(0), at(10), nil}, {at(10), at(50), nil}, {at(50), at(55), nil}}
	if failed, stall := outageOf(list, at(15)); failed != 0 || stall != 40*time.Millisecond {
		t.Errorf("failed for %v, stalled for %v", failed, stall)
	}
}
