package shard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
)

// A request that took longer than the threshold of its table is explained: one line in the daemon's log and an entry in a
// ring, which remote command and HTTP show. The explanation costs nothing until a request is slow: the times of a mutation's
// stages are noted once per mutation, from clocks that were read anyway, and a request is compared with the threshold.

// stages is where the time of a request went, in nanoseconds. Which of them apply depends on the request.
type stages struct {
	queue int64 // from the turn that read it until it was looked at: the rest of the turn, other loops, operations before it
	lane  int64 // waiting for a worker of the read lane
	store int64 // reading the store
	log   int64 // from the proposal until the local log was durable
	peers int64 // from then on, until every other member had acknowledged
	apply int64 // from the commit until it was applied
	back  int64 // from the lane back to the loop
}

// slowRequest is an explained request.
type slowRequest struct {
	seq     uint64
	at      time.Time // when it was answered
	gpid    proto.GPID
	table   string
	kind    kind
	hashKey []byte // at most maxShownKey bytes, as are sort keys; nil when a request has no single one
	sortKey []byte
	result  string // what came of it, when it is known here
	bytes   int    // returned or written
	members int    // of the group
	total   int64
	stages  stages
	traced  bool // it was asked for, and may have been quick
}

const (
	maxShownKey  = 64
	slowKept     = 256
	slowPerSec   = 20 // lines in the daemon's log; the ring takes all
	slowDisabled = math.MaxInt64
)

// slowLog holds the last requests that were explained. Shards add to it, and only when something was slow.
type slowLog struct {
	logger *zap.Logger

	mu      sync.Mutex
	ring    [slowKept]slowRequest
	total   uint64
	second  int64
	lines   int
	omitted int
}

func (l *slowLog) add(r *slowRequest) {
	line, omitted := l.keep(r)
	if !line {
		return
	}
	l.logger.Warn("slow request", zap.Stringer("gpid", r.gpid), zap.String("table", r.table), zap.String("what", r.String()),
		zap.Int("not_logged_before", omitted))
}

func (l *slowLog) keep(r *slowRequest) (line bool, omitted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.seq = l.total
	l.ring[l.total%slowKept] = *r
	l.total++
	if r.traced {
		return false, 0
	}
	if s := r.at.Unix(); s != l.second {
		l.second, l.lines = s, 0
	}
	if l.lines++; l.lines > slowPerSec {
		l.omitted++
		return false, 0
	}
	omitted, l.omitted = l.omitted, 0
	return true, omitted
}

// newest returns up to n entries, the newest first, and how many there have been.
func (l *slowLog) newest(n int) ([]slowRequest, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(max(n, 0), slowKept, int(min(l.total, slowKept)))
	out := make([]slowRequest, 0, n)
	for i := range n {
		out = append(out, l.ring[(l.total-1-uint64(i))%slowKept])
	}
	return out, l.total
}

// String explains the request in one line: what it was, then where its time went, the largest share being what to look at.
func (r *slowRequest) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", kindNames[r.kind])
	if r.hashKey != nil {
		fmt.Fprintf(&b, " %s", strconv.Quote(string(r.hashKey)))
		if len(r.sortKey) > 0 {
			fmt.Fprintf(&b, " : %s", strconv.Quote(string(r.sortKey)))
		}
	}
	fmt.Fprintf(&b, " took %v:", shown(r.total))
	for _, s := range r.stages.named() {
		fmt.Fprintf(&b, " %s=%v", s.name, shown(s.nanos))
	}
	fmt.Fprintf(&b, "; %d bytes, %d members", r.bytes, r.members)
	if r.result != "" {
		b.WriteString(", " + r.result)
	}
	return b.String()
}

func shown(nanos int64) time.Duration { return time.Duration(nanos).Round(time.Microsecond) }

type namedStage struct {
	name  string
	nanos int64
}

// named lists the stages that took time, in their order.
func (s *stages) named() []namedStage {
	all := []namedStage{{"queue", s.queue}, {"lane", s.lane}, {"store", s.store}, {"log", s.log}, {"peers", s.peers}, {"apply", s.apply},
		{"back", s.back}}
	out := all[:0]
	for _, n := range all {
		if n.nanos > 0 {
			out = append(out, n)
		}
	}
	return out
}

// explain makes the entry of a request that was slow, or traced, and gives it to whom it concerns.
func (p *partition) explain(c *call, rawKey []byte, s stages, now int64, bytes int, result string) {
	r := slowRequest{
		at: time.Now(), gpid: p.gpid, table: p.app.AppName, kind: kindOf[c.to.Code], bytes: bytes, total: now - c.at, stages: s,
		members: 1 + len(p.wanted.Secondaries), traced: c.trace != 0, result: result,
	}
	if hash, sort, ok := engine.SplitKey(rawKey); ok {
		r.hashKey, r.sortKey = shownKey(hash), shownKey(sort)
	}
	p.shard.node.slow.add(&r)
	if c.trace != 0 {
		p.shard.traced(c, r.String())
	}
}

func shownKey(key []byte) []byte { return append([]byte{}, key[:min(len(key), maxShownKey)]...) }

func (p *partition) explainGet(g *getCall, key []byte, o engine.Outcome, size int, s stages, now int64) {
	result := "found"
	if o == engine.NotFound {
		result = "not found"
	}
	p.explain(&g.call, key, s, now, size, result)
}

func (p *partition) explainRange(j *rangeJob, now int64, bytes int) {
	s := stages{queue: j.began - j.call.at, store: now - j.began}
	if j.submitted != 0 {
		// The look on the loop that was not enough counts as store, as do waits between slices.
		s.store = j.submitted - j.began + j.ended - j.ran
		s.lane, s.back = j.ran-j.submitted, now-j.ended
	}
	var key []byte
	var result string
	if k, ok := j.read.(interface{ Work() ([]byte, int) }); ok {
		var looked int
		key, looked = k.Work()
		result = strconv.Itoa(looked) + " records looked at"
	}
	p.explain(&j.call, key, s, now, bytes, result)
}

func (p *partition) explainWrite(m *mutationOps, w *writeOp, now int64) {
	s := stages{queue: m.proposed - w.call.at, apply: now - p.gathered.since}
	if m.logged != 0 {
		s.log, s.peers = m.logged-m.proposed, p.gathered.since-m.logged
	} else {
		s.peers = p.gathered.since - m.proposed
	}
	var key []byte
	result := strconv.Itoa(len(m.ops)) + " writes in the mutation"
	if w.end == w.off {
		result = "nothing written, " + result
	} else {
		if r := engine.ReadRecords(m.builder.Bytes(), int(w.off), 1); r.Next() {
			key = r.Record().Key
		}
	}
	p.explain(&w.call, key, s, now, int(w.end-w.off), result)
}

// noteDecree remembers which decree the newest mutation in flight got.
func (p *partition) noteDecree(m *consensus.Mutation) {
	if len(m.Tokens) == 0 || len(p.inFlight) == 0 {
		return
	}
	if newest := p.inFlight[len(p.inFlight)-1]; newest.tokens[0] == m.Tokens[0] {
		newest.decree = m.Decree
	}
}

// noteLogged notes that the log is durable up to a decree. The mutations that it is news for are at the end of those in flight.
func (p *partition) noteLogged(d proto.Decree, now int64) {
	for i := len(p.inFlight) - 1; i >= 0 && p.inFlight[i].logged == 0; i-- {
		if p.inFlight[i].decree <= d {
			p.inFlight[i].logged = now
		}
	}
}

// setSlowAfter takes the threshold of the table, or that of the node when the table has none.
func (p *partition) setSlowAfter() {
	after := p.settings.SlowQuery
	if after == 0 {
		after = time.Duration(p.shard.node.slowAfter.Load())
	}
	if after <= 0 {
		after = slowDisabled
	}
	p.slowAfter = int64(after)
}

// slowChanged tells a shard that the threshold of the node is another one.
type slowChanged struct{}

func (*slowChanged) deliver(sh *Shard) {
	for _, p := range sh.partitions {
		p.setSlowAfter()
	}
}

// slowText is the answer to the remote command slow-log.
func (n *Node) slowText(args []string) string {
	count := 20
	if len(args) > 0 {
		v, err := strconv.Atoi(args[0])
		if err != nil || v < 1 || len(args) > 1 {
			return fmt.Sprintf("ERR: invalid arguments '%s', want how many to show", strings.Join(args, " "))
		}
		count = v
	}
	entries, total := n.slow.newest(count)
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d requests explained since the start, the newest first\n", len(entries), total)
	for i := range entries {
		e := &entries[i]
		kind := ""
		if e.traced {
			kind = " (traced)"
		}
		fmt.Fprintf(&b, "%s %v %s%s %s\n", e.at.Format("2006-01-02 15:04:05.000"), e.gpid, e.table, kind, e.String())
	}
	return b.String()
}
