package clientlib

import (
	"sync"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// hedger decides for one table which reads get a second attempt. See route.Hedge.
type hedger struct {
	mu   sync.Mutex
	core route.Hedge
	rnd  route.Rand
}

func (h *hedger) init(c *Client) { h.core.Budget, h.rnd = c.opt.Hedge, c.seed() }

func (h *hedger) took(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.core.Took(d)
}

// delay is how old a read must be; false when none is worth it now.
func (h *hedger) delay() (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.Delay()
}

func (h *hedger) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.Spend()
}

// among picks one of n.
func (h *hedger) among(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rnd.Below(n)
}

// hedging tells whether the latency of the call, which ended with err, counts for the delay.
func (c *Call) hedging(err error) bool {
	return err == nil && c.table != nil && c.table.client.opt.hedging() && mayHedge(c.Code)
}

// mayHedge tells which requests a secondary may answer, and again.
func mayHedge(c proto.Code) bool {
	switch c {
	case proto.CodeGet, proto.CodeTTL, proto.CodeMultiGet, proto.CodeBatchGet, proto.CodeSortkeyCount:
		return true
	}
	return false
}

// second is the second attempt of a read. It is a call of its own: the first answer wins, and whoever takes the first
// attempt out of its slot ends the read.
type second struct {
	Call
	first      *Call
	firstConn  *conn // where the first attempt is in flight, under firstSeq
	firstSeq   int32
	firstTable *Table
}

var seconds sync.Pool

func newSecond() *second {
	if h, ok := seconds.Get().(*second); ok {
		return h
	}
	return &second{}
}

func (h *second) release() {
	h.first, h.firstConn, h.firstTable = nil, nil, nil
	seconds.Put(h)
}

// hedge makes second attempts for the reads on this connection that have waited long enough.
func (c *conn) hedge(now time.Duration) {
	var due []*second
	c.mu.Lock()
	if c.inflight > 0 {
		for i := range c.slots {
			s := &c.slots[i]
			call := s.call
			if call == nil || call.hedged || call.table == nil || !mayHedge(call.Code) {
				continue
			}
			if d, ok := call.table.hedge.delay(); !ok || now-s.at < d || !call.table.hedge.spend() {
				continue
			}
			call.hedged = true
			// The call may end as soon as the lock is released, so what is needed of it is copied.
			h := newSecond()
			h.first, h.firstConn, h.firstSeq, h.firstTable = call, c, s.seq, call.table
			h.Code, h.Hash, h.Args = call.Code, call.Hash, append(h.Args[:0], call.Args...)
			h.Timeout, h.part = max(call.deadline-now, 1), call.part
			due = append(due, h)
		}
	}
	c.mu.Unlock()
	for _, h := range due {
		h.send(now)
	}
}

// send starts the attempt at a secondary that is connected.
func (h *second) send(now time.Duration) {
	t, part := h.firstTable, h.part
	r := t.routing.Load()
	h.prepare(h, t.client)
	if r.m == nil || int(part) >= len(r.m.Entries) || len(r.m.Entries[part].Secondaries) == 0 {
		h.release()
		return
	}
	others := r.m.Entries[part].Secondaries
	n := t.client.node(others[t.hedge.among(len(others))])
	cn := n.conn.Load()
	if cn == nil {
		n.warm()
		h.firstConn.unhedge(h.first, h.firstSeq)
		h.release()
		return
	}
	h.node = n
	t.client.observe(Event{Kind: EventHedged, Table: t.name, Op: h.Code, Node: n.address})
	if cn.start(&h.Call, proto.GPID{App: r.m.App, Part: part}, now, true) != startOK {
		h.release()
	}
}

// ended takes the end of the second attempt. Only an answer counts: the first attempt is still under way.
func (h *second) ended(call *Call, how route.Outcome, code proto.ErrCode, cause error) {
	if how == route.Replied && code == proto.ErrOK && sound(call.Result) && h.firstConn.steal(h.first, h.firstSeq) {
		h.first.Result = append(h.first.Result[:0], call.Result...)
		h.firstTable.finish(h.first, nil)
	}
	h.release()
}

// sound tells whether the storage could answer a read: the trouble of a secondary's disk must not become the answer. In all
// results of reads the status is field 1, behind the three bytes of the result's own header.
func sound(result []byte) bool {
	r := proto.NewReader(result)
	r.Field()
	typ, id := r.Field()
	status := proto.StorageStatus(r.I32())
	return r.Err() == nil && typ == proto.TI32 && id == 1 &&
		(status == proto.StorageOK || status == proto.StorageNotFound || status == proto.StorageIncomplete)
}

// unhedge lets the call, if it is still in flight, have a second attempt later.
func (c *conn) unhedge(call *Call, seq int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := &c.slots[int(seq)&(len(c.slots)-1)]; s.call == call && s.seq == seq {
		call.hedged = false
	}
}

// warmSecondaries connects to the secondaries of a map, so that second attempts find a connection.
func (c *Client) warmSecondaries(m *route.Map) {
	for i := range m.Entries {
		for _, address := range m.Entries[i].Secondaries {
			c.node(address).warm()
		}
	}
}

// warm begins to connect if there is no connection.
func (n *node) warm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn.Load() == nil && n.dialling == nil && n.circuit.Allow(n.client.now()) {
		n.begin()
	}
}
