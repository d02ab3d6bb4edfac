// Package clienttest is a cluster in one process for tests of clients: meta servers and replica servers on loopback
// ports that keep records in a map and can be told to misbehave. It checks nothing about replication and promises no
// durability. Tests alone import it.
package clienttest

import (
	"maps"
	"net"

	"sync"

	"pegasus/netcore/proto"
)

const maxFrame = 16 << 20

// Action is what a server does with a request.
type Action int

// The actions.
const (
	Serve  Action = iota // answer as it should
	Ignore               // never answer
	Close                // close the connection without an answer
	Hold                 // answer after the next request of the connection that is served: out of order
)

// TB is what New needs of *testing.T and *testing.B.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Cluster is a fake cluster with one table.
type Cluster struct {
	Table      string
	Partitions int

	mu       sync.Mutex
	servers  []*server // metas first
	metas    int
	app      int32 // id of the table, 0 while it is dropped
	apps     int32 // the last id given
	leader   int   // index of a meta
	primary  []int // index of a replica server by partition, -1 for none
	data     map[string]cell
	requests map[proto.Code]int
	rule     func(node int, req *proto.Request) (Action, proto.ErrCode)
	frames   func(frame []byte)

	shardPort   int32 // that replica servers announce for their only shard, 0 for none
	scanners    map[int64]*scanner
	lastScanner int64
}

// New starts a cluster and stops it when the test ends. Partition i is at first on replica server i modulo replicas.
func New(t TB, metas, replicas, partitions int) *Cluster {
	t.Helper()
	c := &Cluster{
		Table: "temp", Partitions: partitions, metas: metas, app: 2, apps: 2,
		data: map[string]cell{}, requests: map[proto.Code]int{}, scanners: map[int64]*scanner{},
		rule: func(int, *proto.Request) (Action, proto.ErrCode) { return Serve, proto.ErrOK },
	}
	for i := range partitions {
		c.primary = append(c.primary, i%replicas)
	}
	for i := range metas + replicas {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("%v", err)
		}
		s := &server{cluster: c, index: i, listener: l, conns: map[net.Conn]struct{}{}}
		c.servers = append(c.servers, s)
		s.start(l)
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.stop()
		}
	})
	return c
}

// Metas returns the addresses of the meta servers.
func (c *Cluster) Metas() []string { return c.addresses(0, c.metas) }

// Replicas returns the addresses of the replica servers.
func (c *Cluster) Replicas() []string { return c.addresses(c.metas, len(c.servers)) }

func (c *Cluster) addresses(from, to int) []string {
	var out []string
	for _, s := range c.servers[from:to] {
		out = append(out, s.address().String())
	}
	return out
}

// Kill ends a replica server: its connections break, its port refuses.
func (c *Cluster) Kill(replica int) { c.servers[c.metas+replica].stop() }

// KillMeta ends a meta server.
func (c *Cluster) KillMeta(meta int) { c.servers[meta].stop() }

// Restart starts a replica server that was killed, on another port.
func (c *Cluster) Restart(t TB, replica int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	c.servers[c.metas+replica].start(l)
}

// Stall makes a server, metas counted first, accept connections and read requests, but answer nothing, like a process that is
// stopped; with false it goes on, and the requests that came meanwhile stay without an answer.
func (c *Cluster) Stall(server int, on bool) { c.servers[server].stalled.Store(on) }

// DropTable makes the table unknown and its data go.
func (c *Cluster) DropTable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.app = 0
	clear(c.data)
}

// CreateTable makes the table again, with another id.
func (c *Cluster) CreateTable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apps++
	c.app = c.apps
}

// Split doubles the number of partitions: the children are where their parents are.
func (c *Cluster) Split() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.primary = append(c.primary, c.primary...)
	c.Partitions = len(c.primary)
}

// AnnounceShard makes the metas tell those who ask that every replica server has one shard, on this port.
func (c *Cluster) AnnounceShard(port int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shardPort = port
}

// SetFrames has every data request shown as it came; the frame is a view. It is called under the cluster's lock.
func (c *Cluster) SetFrames(show func(frame []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = show
}

// SetLeader makes another meta server the leader; -1 means none.
func (c *Cluster) SetLeader(meta int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = meta
}

// Move makes another replica server the primary of a partition; -1 means none.
func (c *Cluster) Move(partition, replica int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.primary[partition] = replica
}

// SetRule decides what becomes of data requests; node is the index of the replica server. An error code other than
// ErrOK is answered. The rule runs under the cluster's lock.
func (c *Cluster) SetRule(rule func(node int, req *proto.Request) (Action, proto.ErrCode)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rule = rule
}

// Requests returns how many requests came, by code.
func (c *Cluster) Requests() map[proto.Code]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests)
}

// CloseConns closes all connections to a replica server.
func (c *Cluster) CloseConns(replica int) { c.servers[c.metas+replica].closeConns() }

// handle answers one request. It returns the frame to send, nil for none.
func (c *Cluster) handle(index int, req *proto.Request, frame []byte) ([]byte, Action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.GPID.App == 0 && req.Code.IsData() { // a sign of life
		return proto.AppendErrorReply(nil, req, proto.ErrHandlerNotFound, 0), Serve
	}
	c.requests[req.Code]++
	to := proto.ReplyTo{Framing: req.Framing, Code: req.Code, Seq: req.Seq}
	reply := func(code proto.ErrCode, result func([]byte) []byte) []byte {
		out, mark := proto.AppendReply(nil, &to, code, 0)
		if code == proto.ErrOK {
			out = result(out)
		}
		proto.FinishReply(out, mark)
		return out
	}
	if index < c.metas {
		result := c.meta(index, req)
		if result == nil {
			return proto.AppendErrorReply(nil, req, proto.ErrHandlerNotFound, 0), Serve
		}
		return reply(proto.ErrOK, func(b []byte) []byte { return proto.AppendResult(b, result) }), Serve
	}
	if c.frames != nil {
		c.frames(frame)
	}
	node := index - c.metas
	action, code := c.rule(node, req)
	if action != Serve && action != Hold {
		return nil, action
	}
	if code == proto.ErrOK {
		code = c.admit(node, req)
	}
	if req.Code == proto.CodeClearScanner && code == proto.ErrOK {
		if context, err := proto.DecodeClearScannerArgs(req.Args); err == nil {
			delete(c.scanners, context)
		}
		return nil, Serve
	}
	var result func([]byte) []byte
	if code == proto.ErrOK {
		if result = c.serve(req); result == nil {
			code = proto.ErrHandlerNotFound
		}
	}
	return reply(code, result), action
}

// admit says what a real server would check of the header.
func (c *Cluster) admit(node int, req *proto.Request) proto.ErrCode {
	part := int(req.GPID.Part)
	switch {
	case req.GPID.App != c.app || part >= len(c.primary):
		return proto.ErrObjectNotFound
	case req.Backup:
		return proto.ErrOK
	case c.primary[part] != node:
		return proto.ErrInvalidState
	case req.Hash%uint64(len(c.primary)) != uint64(part):
		return proto.ErrParentPartitionMisused
	}
	return proto.ErrOK
}

// meta answers the requests of clients to a meta server; the result is a pointer to a response, nil for what it does not know.
func (c *Cluster) meta(index int, req *proto.Request) any {
	code := proto.ErrOK
	if index != c.leader {
		code = proto.ErrForwardToOthers
	}
	switch req.Code {
	case proto.CodeCMListNodes:
		resp := proto.ListNodesResponse{Err: code}
		for _, s := range c.servers[c.metas:] {
			resp.Infos = append(resp.Infos, proto.NodeInfo{Status: proto.NodeAlive, Node: s.address()})
		}
		return &resp
	case proto.CodeCMCreateApp:
		return &proto.CreateAppResponse{Err: code, AppID: 2}
	case proto.CodeCMDropApp:
		return &proto.DropAppResponse{Err: code}
	case proto.CodeCMListApps:
		return &proto.ListAppsResponse{Err: code, Infos: []proto.AppInfo{{AppName: c.Table, AppID: 2}}}
	case proto.CodeCMUpdateAppEnv:
		return &proto.UpdateAppEnvResponse{Err: proto.ErrInvalidParameters, HintMessage: "no such env"}
	}
	if req.Code != proto.CodeCMQueryPartitionConfigByIndex {
		return nil
	}
	return c.config(code, req)
}

func (c *Cluster) config(code proto.ErrCode, req *proto.Request) any {
	resp := &proto.QueryCfgResponse{Err: code}
	var ask proto.QueryCfgRequest
	switch err := proto.UnmarshalArgs(req.Args, &ask); {
	case code != proto.ErrOK:
		if c.leader >= 0 {
			resp.Partitions = []proto.PartitionConfiguration{{Primary: c.servers[c.leader].address()}}
		}
		return resp
	case err != nil || ask.AppName != c.Table || c.app == 0:
		resp.Err = proto.ErrObjectNotFound
		return resp
	}
	resp.AppID, resp.PartitionCount, resp.IsStateful = c.app, int32(len(c.primary)), true
	if len(ask.PartitionIndices) == 0 {
		for i := range c.primary {
			ask.PartitionIndices = append(ask.PartitionIndices, int32(i))
		}
	}
	for _, i := range ask.PartitionIndices {
		pc := proto.PartitionConfiguration{PID: proto.GPID{App: c.app, Part: i}, Ballot: 1, MaxReplicaCount: 1}
		if p := c.primary[i]; p >= 0 {
			pc.Primary = c.servers[c.metas+p].address()
			for _, s := range c.servers[c.metas:] {
				if s.index != c.metas+p {
					pc.Secondaries = append(pc.Secondaries, s.address())
				}
			}
		}
		resp.Partitions = append(resp.Partitions, pc)
	}
	if c.shardPort > 0 && ask.WantShards != nil && *ask.WantShards {
		for _, s := range c.servers[c.metas:] {
			resp.Shards = append(resp.Shards, proto.ServerShards{Server: s.address(), Count: 1, First: c.shardPort})
		}
	}
	return resp
}
