package shard

import (
	"math"
	"time"

	"pegasus/netcore/metric"
	"pegasus/netcore/proto"
)

// What a replica counts. Everything here is a plain field of the owning loop; the collector fetches copies once a second, see
// collect.go. Counting has no clock of its own: the time at which a request came is that of the turn, and the time at which it
// was answered is read once for all that is answered together. Requests of one kind that share both times are counted as one run:
// each is three additions, and the histogram hears of all of them at once.

// kind is a kind of request as metrics tell them apart.
type kind uint8

const (
	kindNone kind = iota
	kindGet
	kindTTL
	kindMultiGet
	kindBatchGet
	kindSortkeyCount
	kindScan
	kindPut
	kindMultiPut
	kindRemove
	kindMultiRemove
	kindIncr
	kindCheckAndSet
	kindCheckAndMutate
	kindCount
)

// kindNames are those of the metrics of Apache Pegasus, which has no separate ones for ttl and sortkey_count.
var kindNames = [kindCount]string{
	kindGet: "get", kindTTL: "ttl", kindMultiGet: "multi_get", kindBatchGet: "batch_get", kindSortkeyCount: "sortkey_count", kindScan: "scan",
	kindPut: "put", kindMultiPut: "multi_put", kindRemove: "remove", kindMultiRemove: "multi_remove", kindIncr: "incr",
	kindCheckAndSet: "check_and_set", kindCheckAndMutate: "check_and_mutate",
}

// kindOf tells the kind of a data request.
var kindOf = [math.MaxUint8 + 1]kind{
	proto.CodeGet: kindGet, proto.CodeTTL: kindTTL, proto.CodeMultiGet: kindMultiGet, proto.CodeBatchGet: kindBatchGet,
	proto.CodeSortkeyCount: kindSortkeyCount, proto.CodeGetScanner: kindScan, proto.CodeScan: kindScan,
	proto.CodePut: kindPut, proto.CodeMultiPut: kindMultiPut, proto.CodeRemove: kindRemove, proto.CodeMultiRemove: kindMultiRemove,
	proto.CodeIncr: kindIncr, proto.CodeCheckAndSet: kindCheckAndSet, proto.CodeCheckAndMutate: kindCheckAndMutate,
}

func (k kind) write() bool { return k >= kindPut }

// kindMeter counts the answered requests of one kind.
type kindMeter struct {
	bytes   uint64           // of the records returned, or of those written
	units   uint64           // capacity units, as Apache Pegasus counts them: 4 KiB begun
	latency metric.Histogram // nanoseconds from the beginning of the turn that read the request to its answer
}

// unitShift: a capacity unit is 4 KiB.
const unitShift = 12

// meter counts for one replica. A kind of request costs its 2.3 KiB when the first one comes.
type meter [kindCount]*kindMeter

// traffic sums up the kinds.
func (m *meter) traffic() (t traffic) {
	for k, o := range m {
		switch {
		case o == nil:
		case kind(k).write():
			t.writes += o.latency.Count()
			t.writeBytes += o.bytes
		default:
			t.reads += o.latency.Count()
			t.readBytes += o.bytes
		}
	}
	return t
}

// run counts requests of one replica that are answered together, at now on the node's clock. The meter has them after end.
type run struct {
	p     *partition
	now   int64
	at    int64 // when they came, for all of them
	n     uint64
	bytes uint64
	more  uint64 // capacity units beyond one for each
	code  proto.Code
}

// newRun begins with requests like c.
func (p *partition) newRun(c *call, now int64) run {
	return run{p: p, now: now, at: c.at, code: c.to.Code}
}

// next goes on with requests like c. It is a function apart from add so that both are inlined.
func (r *run) next(c *call) {
	if c.at != r.at || c.to.Code != r.code {
		r.change(c)
	}
}

// add counts a request that was answered.
func (r *run) add(bytes int) {
	r.n++
	r.bytes += uint64(bytes)
	r.more += uint64(bytes >> unitShift)
}

func (r *run) change(c *call) {
	r.end()
	*r = r.p.newRun(c, r.now)
}

func (r *run) end() {
	if r.n == 0 {
		return
	}
	k := kindOf[r.code]
	m := r.p.meter[k]
	if m == nil {
		m = new(kindMeter)
		r.p.meter[k] = m
	}
	m.bytes += r.bytes
	m.units += r.n + r.more
	m.latency.RecordN(r.now-r.at, r.n)
	if r.p.throttles != nil && !k.write() {
		r.p.throttles.spent(int64(r.bytes))
	}
}

// curious tells whether somebody wants to know where the time of a request went that is answered now.
func (p *partition) curious(c *call, now int64) bool { return now-c.at >= p.slowAfter || c.trace != 0 }

// clock reads the node's clock, which is the same for all shards: monotonic nanoseconds. What is read last is remembered, for
// whoever is content with it.
func (sh *Shard) clock() int64 {
	sh.seen = sh.node.leases.now()
	return sh.seen
}

// turnStart is the beginning of this turn on the node's clock.
func (sh *Shard) turnStart() int64 { return sh.loop.Now() + sh.clockOffset }

// alignClock finds how the loop's clock and the node's differ. Both are monotonic and run alike.
func (sh *Shard) alignClock() { sh.clockOffset = sh.node.leases.now() - sh.loop.ReadClock() }

// failures counts what was refused, by error.
type failures struct {
	reads, writes [math.MaxUint8 + 1]uint64 // index: proto.ErrCode
}

func (f *failures) count(code proto.Code, err proto.ErrCode) {
	switch {
	case code.IsWrite():
		f.writes[err]++
	case code.IsRead():
		f.reads[err]++
	}
}

// logMeter counts the writes of the shard's log.
type logMeter struct {
	took    metric.Histogram // nanoseconds of a write and its sync, as the lane saw them
	records metric.Histogram // per write
	bytes   metric.Histogram // per write
}

func (m *logMeter) wrote(took time.Duration, records, bytes int) {
	m.took.Record(int64(took))
	m.records.Record(int64(records))
	m.bytes.Record(int64(bytes))
}
