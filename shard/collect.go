package shard

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/netcore/metric"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// Once a second the collector sends every shard a census through its mailbox. The shard fills it with copies of its counters
// and the collector takes it back: nothing is shared, nothing is locked on a loop, and the memory goes round. Two of them per
// shard take turns, one on its way and one to look at. What has not changed since a census was last filled is not copied again,
// so idle replicas cost their loop a comparison per kind of request.
//
// A loop that does not answer keeps its census; its figures then stand still, and hang.go makes it known.

const (
	collectInterval = time.Second
	// percentilesEvery is how many rounds make the period that percentiles are about.
	percentilesEvery = 10
	// sizesEveryRounds is how many rounds share one look at the sizes of the stores, which asks each of them.
	sizesEveryRounds = 10
)

// census is what a shard tells of itself.
type census struct {
	shard    *Shard
	back     chan *census
	round    uint64
	last     bool  // of a period
	at       int64 // when it was filled, on the node's clock
	stats    Stats
	failures failures
	logMeter logMeter
	log      mutlog.Stats
	replicas map[proto.GPID]*replicaCensus
}

// replicaCensus is what a shard tells of a replica.
type replicaCensus struct {
	seen  uint64 // round
	gpid  proto.GPID
	table string
	disk  string
	role  int32 // consensus.Role
	state lifecycle
	// compaction is the state of the manual one.
	compaction proto.ManualCompactionStatus

	prepared, committed, flushed proto.Decree
	inFlight, queued, scanners   int

	store engine.Store // nil unless it is open
	kinds meter        // copies

	hotReads, hotWrites *hotSketch // of the period before, when the census is the last of one
}

func (c *census) deliver(sh *Shard) {
	c.at = sh.clock()
	c.stats, c.failures, c.logMeter, c.log = sh.stats, sh.failures, sh.logMeter, sh.log.Stats()
	c.stats.Rows = sh.rows.Stats()
	for g, p := range sh.partitions {
		r := c.replicas[g]
		if r == nil {
			r = &replicaCensus{gpid: g}
			c.replicas[g] = r
		}
		r.take(p, c.last)
		r.seen = c.round
	}
	for g, r := range c.replicas {
		if r.seen != c.round {
			delete(c.replicas, g)
		}
	}
	c.back <- c // has room for all that are under way
}

func (r *replicaCensus) take(p *partition, last bool) {
	p.hotReads.take(&r.hotReads, last)
	p.hotWrites.take(&r.hotWrites, last)
	r.table, r.disk, r.state, r.store = p.app.AppName, p.dir.tag, p.state, p.store
	r.compaction = p.compactStatus()
	r.role, r.prepared, r.committed, r.flushed = 0, 0, 0, p.flushed
	if p.replica != nil {
		r.role, r.prepared, r.committed = int32(p.replica.Role()), p.replica.Prepared(), p.replica.Committed()
	}
	r.inFlight, r.queued, r.scanners = len(p.inFlight), len(p.queue), len(p.scanners.waiting)
	for k, m := range p.meter {
		switch mine := r.kinds[k]; {
		case m == nil:
			r.kinds[k] = nil // a replica that was opened again counts anew
		case mine == nil:
			c := *m
			r.kinds[k] = &c
		case mine.latency.Count() != m.latency.Count() || mine.bytes != m.bytes:
			*mine = *m
		}
	}
}

// collector is the goroutine that asks, and what it has.
type collector struct {
	node    *Node
	arrived chan *census
	export  *export.Exporter
	series  *series
	pulses  []pulse // by shard

	mu      sync.Mutex // guards what follows against those who look
	newest  []*census  // by shard; nil before the first
	spare   []*census
	periods map[proto.GPID]*replicaPeriod
	sizes   map[proto.GPID]engine.Stats

	recent atomic.Pointer[map[proto.GPID]*recentLoad] // for the loops, which must not wait for mu
}

// replicaPeriod is the last period of a replica.
type replicaPeriod struct {
	shard  *Shard
	base   meter // as it ended
	recent [kindCount]*metric.Histogram
	load   recentLoad
}

// recentLoad is what meta is told of it, nanoseconds. It is not changed once it is published.
type recentLoad struct {
	readP50, readP99, writeP50, writeP99 int64
	hot                                  []proto.HotKey
}

func newCollector(n *Node) *collector {
	c := &collector{
		node: n, arrived: make(chan *census, 2*len(n.shards)), export: export.New(),
		newest: make([]*census, len(n.shards)), periods: map[proto.GPID]*replicaPeriod{},
		sizes: map[proto.GPID]engine.Stats{},
	}
	for _, sh := range n.shards {
		c.spare = append(c.spare, &census{shard: sh, back: c.arrived, replicas: map[proto.GPID]*replicaCensus{}})
		c.pulses = append(c.pulses, pulse{answered: true}) // it has not been asked yet
	}
	c.series = newSeries(c)
	return c
}

// run collects until stop is closed.
func (c *collector) run(stop <-chan struct{}) {
	tick := time.NewTicker(collectInterval)
	defer tick.Stop()
	for round := uint64(1); ; {
		select {
		case a := <-c.arrived:
			c.absorb(a)
		case <-tick.C:
			c.feelPulses()
			c.ask(round)
			c.series.update()
			if round%sizesEveryRounds == 1 {
				c.measure()
			}
			round++
		case <-stop:
			return
		}
	}
}

// ask sends out the censuses that are at home.
func (c *collector) ask(round uint64) {
	for i, sh := range c.node.shards {
		if a := c.spare[i]; a != nil {
			c.spare[i], a.round, a.last = nil, round, round%percentilesEvery == 0
			if sh.loop.PostMust(a) != nil {
				c.spare[i] = a // the loop has stopped
			}
		}
	}
}

func (c *collector) absorb(a *census) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := a.shard.id
	c.answers(int(i))
	if c.spare[i] = c.newest[i]; c.spare[i] == nil {
		c.spare[i] = &census{shard: a.shard, back: c.arrived, replicas: map[proto.GPID]*replicaCensus{}}
	}
	c.newest[i] = a
	if a.last {
		c.endPeriod(a)
	}
}

// endPeriod works out what is known of a shard's replicas in periods: percentiles and hot keys. Its caller holds the lock.
func (c *collector) endPeriod(a *census) {
	for g, p := range c.periods {
		if a.replicas[g] == nil && p.shard == a.shard {
			delete(c.periods, g)
		}
	}
	for g, r := range a.replicas {
		p := c.periods[g]
		if p == nil {
			p = &replicaPeriod{shard: a.shard}
			c.periods[g] = p
		}
		p.end(r)
	}
	recent := make(map[proto.GPID]*recentLoad, len(c.periods))
	for g, p := range c.periods {
		load := p.load
		recent[g] = &load
	}
	c.recent.Store(&recent)
}

// end takes what came since the last end.
func (p *replicaPeriod) end(r *replicaCensus) {
	var reads, writes metric.Histogram
	for k, m := range r.kinds {
		if m == nil {
			p.base[k], p.recent[k] = nil, nil
			continue
		}
		base := p.base[k]
		if base == nil || base.latency.Count() > m.latency.Count() {
			base = &noneCounted
		}
		if p.recent[k] == nil {
			p.recent[k], p.base[k] = new(metric.Histogram), new(kindMeter)
		}
		p.recent[k].Since(&m.latency, &base.latency)
		*p.base[k] = *m
		if kind(k).write() {
			writes.Merge(p.recent[k])
		} else {
			reads.Merge(p.recent[k])
		}
	}
	seconds := (percentilesEvery * collectInterval).Seconds()
	p.load = recentLoad{
		readP50: reads.Quantile(0.5), readP99: reads.Quantile(0.99), writeP50: writes.Quantile(0.5), writeP99: writes.Quantile(0.99),
		hot: append(r.hotReads.hottest(false, seconds), r.hotWrites.hottest(true, seconds)...),
	}
}

// percentiles are those of the last period; zeros for a kind that was not asked for.
func (p *replicaPeriod) percentiles(k kind) (v export.Percentiles) {
	if p != nil && p.recent[k] != nil {
		v = export.PercentilesOf(p.recent[k])
	}
	return v
}

var noneCounted kindMeter

// measure asks the stores for their figures. It may wait for them.
func (c *collector) measure() {
	stores := map[proto.GPID]engine.Store{}
	c.look(func(_ *census, r *replicaCensus) {
		if r.store != nil {
			stores[r.gpid] = r.store
		}
	})
	sizes := make(map[proto.GPID]engine.Stats, len(stores))
	for g, s := range stores {
		sizes[g] = s.Stats()
	}
	c.mu.Lock()
	c.sizes = sizes
	c.mu.Unlock()
}

// look calls fn for every replica, while nothing changes.
func (c *collector) look(fn func(*census, *replicaCensus)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.each(fn)
}

// each is look for those who hold the lock.
func (c *collector) each(fn func(*census, *replicaCensus)) {
	for _, a := range c.newest {
		if a != nil {
			for _, r := range a.replicas {
				fn(a, r)
			}
		}
	}
}

// label makes a table's name fit for a label: metrics take valid UTF-8 only.
func label(table string) string { return strings.ToValidUTF8(table, "?") }
