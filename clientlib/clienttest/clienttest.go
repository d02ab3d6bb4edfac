// Package clienttest is a cluster in one process for tests of clients: meta servers and replica servers on loopback
// ports that keep records in a map and can be told to misbehave. It checks nothing about replication and promises no
// durability. Tests alone import it.
package clienttest

import (
	"maps"
	"net"
	"net/netip"
	"slices"
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
	leader   int   // index of a meta
	primary  []int // index of a replica server by partition, -1 for none
	data     map[string][]byte
	requests map[proto.Code]int
	rule     func(node int, req *proto.Request) (Action, proto.ErrCode)
}

// New starts a cluster and stops it when the test ends. Partition i is at first on replica server i modulo replicas.
func New(t TB, metas, replicas, partitions int) *Cluster {
	t.Helper()
	c := &Cluster{
		Table: "temp", Partitions: partitions, metas: metas,
		data: map[string][]byte{}, requests: map[proto.Code]int{},
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
		s.wg.Add(1)
		go s.accept()
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
		out = append(out, s.listener.Addr().String())
	}
	return out
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
func (c *Cluster) handle(index int, req *proto.Request) ([]byte, Action) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		return reply(proto.ErrOK, func(b []byte) []byte { return proto.AppendResult(b, result) }), Serve
	}
	node := index - c.metas
	action, code := c.rule(node, req)
	if action != Serve && action != Hold {
		return nil, action
	}
	if code == proto.ErrOK && (int(req.GPID.Part) >= len(c.primary) || c.primary[req.GPID.Part] != node) {
		code = proto.ErrInvalidState
	}
	var result func([]byte) []byte
	if code == proto.ErrOK {
		if result = c.serve(req); result == nil {
			code = proto.ErrHandlerNotFound
		}
	}
	return reply(code, result), action
}

// meta answers the requests of clients to a meta server; the result is a pointer to a response.
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
	case err != nil || ask.AppName != c.Table:
		resp.Err = proto.ErrObjectNotFound
		return resp
	}
	resp.AppID, resp.PartitionCount, resp.IsStateful = 2, int32(len(c.primary)), true
	for i, p := range c.primary {
		pc := proto.PartitionConfiguration{PID: proto.GPID{App: 2, Part: int32(i)}, Ballot: 1, MaxReplicaCount: 1}
		if p >= 0 {
			pc.Primary = c.servers[c.metas+p].address()
		}
		resp.Partitions = append(resp.Partitions, pc)
	}
	return resp
}

// server is one listener with its connections.
type server struct {
	cluster  *Cluster
	index    int
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

func (s *server) address() proto.RPCAddress {
	return proto.NewRPCAddress(netip.MustParseAddrPort(s.listener.Addr().String()))
}

func (s *server) accept() {
	defer s.wg.Done()
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ended {
			_ = nc.Close()
		} else {
			s.conns[nc] = struct{}{}
			s.wg.Add(1)
			go s.talk(nc)
		}
		s.mu.Unlock()
	}
}

func (s *server) talk(nc net.Conn) {
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
		_ = nc.Close()
	}()
	var in, out, held []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := nc.Read(chunk)
		in = append(in, chunk[:n]...)
		for {
			var req proto.Request
			used, _, perr := proto.ParseTHFT(in, maxFrame, &req)
			if perr != nil {
				return
			}
			if used == 0 {
				break
			}
			reply, action := s.cluster.handle(s.index, &req)
			in = in[used:]
			switch action {
			case Close:
				return
			case Hold:
				held = append(held, reply...)
			default:
				out = append(out, reply...)
				if reply != nil {
					out, held = append(out, held...), held[:0]
				}
			}
		}
		if _, werr := nc.Write(out); werr != nil || err != nil {
			return
		}
		out = out[:0]
		in = slices.Clone(in)
	}
}

func (s *server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		_ = nc.Close()
	}
}

func (s *server) stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.closeConns()
	s.wg.Wait()
}
