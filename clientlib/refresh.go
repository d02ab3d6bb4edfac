package clientlib

import (
	"context"
	"errors"
	"time"

	"pegasus/clientlib/route"
	"pegasus/netcore/proto"
)

// askPatience bounds one question about a table, over all metas. Then the next one is made, which may be about more.
const askPatience = 10 * time.Second

// suspect has meta asked about a partition that was not served where the map of a version said.
func (t *Table) suspect(part int32, version uint64) {
	t.mu.Lock()
	newer := t.route.Suspect(part, version)
	t.mu.Unlock()
	if !newer {
		t.kick()
	}
}

// kick sees to it that somebody carries the questions of the table to meta.
func (t *Table) kick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.asking {
		t.asking = t.client.spawn(t.carry)
	}
}

// carry asks meta as long as there is something to ask.
func (t *Table) carry() {
	c := t.client
	for {
		now := c.now()
		t.mu.Lock()
		q, wait, ok := t.route.Next(now)
		if !ok && wait < 0 || c.ctx.Err() != nil {
			t.asking = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if !ok {
			_ = c.pause(c.ctx, wait) // its end shows in the next round
			continue
		}
		ctx, cancel := context.WithTimeout(c.ctx, askPatience)
		resp, err := c.queryConfig(ctx, t.name, q.Partitions)
		cancel()
		t.learn(resp, err)
	}
}

// ask asks meta once, or waits for the question that is under way.
func (t *Table) ask(ctx context.Context) error {
	before := t.answered()
	t.mu.Lock()
	t.route.Refresh()
	t.mu.Unlock()
	t.kick()
	for {
		t.mu.Lock()
		news, failed := t.news, t.askErr
		t.mu.Unlock()
		if t.answered() > before {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			if failed == nil {
				failed = errNoMeta
			}
			return joined{ErrTimeout, failed}
		case <-t.client.ctx.Done():
			return ErrClosed
		}
	}
}

func (t *Table) answered() uint64 {
	if r := t.routing.Load(); r != nil {
		return r.answers
	}
	return 0
}

// learn takes the answer to a question, publishes what it says, and lets those go who wait for it.
func (t *Table) learn(resp *proto.QueryCfgResponse, err error) {
	c := t.client
	now := c.now()
	t.mu.Lock()
	changed := false
	if err == nil {
		changed, err = t.route.Answer(now, resp)
	} else {
		t.route.Fail(now)
	}
	t.askErr = err
	gone := t.route.Gone()
	var old, next *routing
	if err == nil && (t.route.Map() != nil || gone != proto.ErrOK) {
		old, next = t.routing.Load(), &routing{m: t.route.Map(), gone: gone, answers: t.answered() + 1}
		if next.m != nil {
			next.nodes = c.nodesOf(next.m)
		}
		t.routing.Store(next)
	}
	close(t.news)
	t.news = make(chan struct{})
	t.mu.Unlock()
	if changed || gone != proto.ErrOK {
		c.clerk.releaseAll(t)
	}
	if changed && old != nil && next != nil {
		t.reroute(old, next, now)
	}
	if changed && next != nil && next.m != nil && c.opt.hedging() {
		c.warmSecondaries(next.m)
	}
	c.observe(Event{Kind: EventRouted, Table: t.name, Err: err})
}

// reroute sends reads again that wait for a server which no longer has their partition: it may stand still for long. Writes
// wait on, for nobody knows whether they were executed.
func (t *Table) reroute(old, next *routing, now time.Duration) {
	moved := func(part int32) bool {
		i := int(part)
		return len(old.nodes) != len(next.nodes) || old.m.App != next.m.App || i < len(next.nodes) && old.nodes[i] != next.nodes[i]
	}
	seen := map[*node]bool{}
	for i, n := range old.nodes {
		if n == nil || seen[n] || !moved(int32(i)) {
			continue
		}
		seen[n] = true
		for _, at := range []*node{n, n.whole} {
			if at == nil {
				continue
			}
			if cn := at.conn.Load(); cn != nil {
				for _, call := range cn.takeReads(t, moved) {
					t.try(call, now, false)
				}
			}
		}
	}
}

// nodesOf finds the servers of a map.
func (c *Client) nodesOf(m *route.Map) []*node {
	nodes := make([]*node, len(m.Entries))
	for i := range m.Entries {
		at := m.Entries[i].Primary
		if at == "" {
			continue
		}
		nodes[i] = c.node(at)
		if shard := m.Shard(at, int32(i)); shard != at {
			nodes[i] = c.shardNode(shard, nodes[i])
		}
	}
	return nodes
}

// queryConfig asks for the configurations of some partitions of a table, all if none is named. Errors of the meta leader
// about the table are in the answer.
func (c *Client) queryConfig(ctx context.Context, table string, parts []int32) (*proto.QueryCfgResponse, error) {
	want := true
	req := proto.QueryCfgRequest{AppName: table, PartitionIndices: parts, WantShards: &want}
	var resp proto.QueryCfgResponse
	err := c.ask(ctx, &question{
		code: proto.CodeCMQueryPartitionConfigByIndex, request: &req, response: &resp, repeats: true,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, nil },
		forward: func() string { return leaderOf(&resp) },
	})
	var answered *ServerError
	if err != nil && (!errors.As(err, &answered) || errors.Is(err, ErrTimeout)) {
		return nil, err
	}
	return &resp, nil
}
