package faults

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

// tellTale counts the questions about tables that a client asks metas.
type tellTale struct{ asked atomic.Int64 }

func (o *tellTale) Observe(e clientlib.Event) {
	if e.Kind == clientlib.EventAsked && e.Op == proto.CodeCMQueryPartitionConfigByIndex {
		o.asked.Add(1)
	}
}

// counters are many callers of one client, each of which increments a counter of its own.
type counters struct {
	t     *testing.T
	tb    *clientlib.Table
	stop  atomic.Bool
	wg    sync.WaitGroup
	acked []atomic.Int64
	doubt []atomic.Int64
	good  atomic.Int64
}

func startCounters(t *testing.T, tb *clientlib.Table, callers int) *counters {
	c := &counters{t: t, tb: tb, acked: make([]atomic.Int64, callers), doubt: make([]atomic.Int64, callers)}
	for i := range callers {
		c.wg.Go(func() {
			for !c.stop.Load() {
				c.increment(i)
			}
		})
	}
	return c
}

// increment checks that an operation ends in time, and in a class that fits.
func (c *counters) increment(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	from := time.Now()
	_, err := c.tb.Incr(ctx, fmt.Appendf(nil, "counter%d", i), sortKey, 1)
	if took := time.Since(from); took > opTimeout+2*time.Second {
		c.t.Errorf("an operation with a deadline of %v took %v: %v", opTimeout, took, err)
	}
	switch {
	case err == nil:
		c.acked[i].Add(1)
		c.good.Add(1)
	case errors.Is(err, clientlib.ErrUnknownOutcome):
		c.doubt[i].Add(1)
	case !errors.Is(err, clientlib.ErrRetriable):
		c.t.Errorf("increment: %v", err)
	}
}

// progress waits until each caller could have had success since.
func (c *counters) progress() error {
	want := c.good.Load() + int64(len(c.acked))
	return eventually(patience, func() error {
		if now := c.good.Load(); now < want {
			return fmt.Errorf("%d operations succeed, of which %d are wanted", now, want)
		}
		return nil
	})
}

// check compares the counters with what was acknowledged.
func (c *counters) check() {
	c.stop.Store(true)
	c.wg.Wait()
	doubts := int64(0)
	for i := range c.acked {
		value, err := c.tb.Get(contextFor(c.t), fmt.Appendf(nil, "counter%d", i), sortKey)
		n, perr := strconv.ParseInt(string(value), 10, 64)
		acked, doubt := c.acked[i].Load(), c.doubt[i].Load()
		if err != nil || perr != nil || n < acked || n > acked+doubt {
			c.t.Errorf("counter %d is %q, %v; %d increments were acknowledged, %d are in doubt", i, value, err, acked, doubt)
		}
		doubts += doubt
	}
	c.t.Logf("%d increments acknowledged, %d in doubt", c.good.Load(), doubts)
}

// TestClientThroughFaults is about the client: under two hundred callers a server is killed, another stands still, the leader of
// the metas is killed, the table is dropped and made again. No operation hangs or ends in the wrong class, no counter is wrong,
// and the metas are asked a few times, not a few times for each caller.
func TestClientThroughFaults(t *testing.T) {
	w := open(t, onebox.Options{})
	const name, callers = "counters", 200
	create := func() {
		t.Helper()
		_, err := w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: name, Partitions: partitions, Replicas: replicas, IfMissing: true})
		w.ok(err)
		w.ok(w.client.WaitHealthy(contextFor(t), name, replicas))
	}
	create()
	tale := &tellTale{}
	client, err := clientlib.Dial(clientlib.Options{Metas: w.Metas(), Observer: tale})
	w.ok(err)
	t.Cleanup(func() { _ = client.Close() })
	tb, err := client.OpenTable(contextFor(t), name)
	w.ok(err)
	c := startCounters(t, tb, callers)
	defer c.stop.Store(true)
	w.ok(c.progress())

	phase := func(what string, do func()) {
		t.Helper()
		before, from := tale.asked.Load(), time.Now()
		do()
		w.ok(c.progress())
		// Questions keep a distance that grows to a second; a leader who is gone costs a round of them.
		took := time.Since(from)
		if n, most := tale.asked.Load()-before, 20+int64(4*took/time.Second); n > most {
			t.Errorf("%s: the metas were asked %d times in %v", what, n, took)
		}
	}
	victim := w.busiest()
	phase("a server killed", func() { w.ok(w.Kill(victim)) })
	phase("and started", func() {
		w.ok(w.Start(victim))
		w.ok(w.client.WaitHealthy(contextFor(t), name, replicas))
	})
	phase("a server paused", func() {
		w.ok(w.Pause(victim))
		hold(outage)
		w.ok(c.progress())
		w.ok(w.Resume(victim))
	})
	leader := w.metaLeader()
	phase("the leader of the metas killed", func() {
		w.ok(w.Kill(leader.Name))
		w.metaLeader()
		w.ok(w.Start(leader.Name))
	})
	w.ok(w.client.WaitHealthy(contextFor(t), name, replicas))
	c.check()

	before := tale.asked.Load()
	w.ok(w.client.DropTable(contextFor(t), name))
	w.ok(eventually(patience, func() error {
		if _, err := tb.Get(contextFor(t), []byte("counter0"), sortKey); !errors.Is(err, clientlib.ErrNoTable) || !errors.Is(err, clientlib.ErrRefused) {
			return fmt.Errorf("get from a table that was dropped: %v", err)
		}
		return nil
	}))
	create()
	if value, err := tb.Get(contextFor(t), []byte("counter0"), sortKey); err != nil || value != nil {
		t.Errorf("a new table holds %q, %v", value, err)
	}
	if n, err := tb.Incr(contextFor(t), []byte("counter0"), sortKey, 1); err != nil || n != 1 {
		t.Errorf("increment in the new table: %d, %v", n, err)
	}
	if n := tale.asked.Load() - before; n > 60 {
		t.Errorf("the table dropped and made again: the metas were asked %d times", n)
	}
}
