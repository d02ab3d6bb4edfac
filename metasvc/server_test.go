package metasvc

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden/compare"
)

// The event library keeps a worker pool for the life of the process.
func TestMain(m *testing.M) {
	const pool = "github.com/panjf2000/ants/v2."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(pool+"(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction(pool+"(*poolCommon).ticktock"), goleak.IgnoreAnyFunction(pool+"(*goWorker).run.func1"))
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

// group is a meta group in this process.
type group struct {
	tweak   []func(*Options)
	t       *testing.T
	peers   []Peer
	dirs    []string
	servers []*Server
	failed  chan error
}

func startGroup(t *testing.T, n int, tweak ...func(*Options)) *group {
	g := &group{t: t, tweak: tweak, failed: make(chan error, n), servers: make([]*Server, n)}
	ports := make([]net.Listener, n)
	rafts := make([]net.Listener, n)
	for i := range n {
		var err error
		if ports[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if rafts[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		g.peers = append(g.peers, Peer{Address: ports[i].Addr().String(), Raft: rafts[i].Addr().String()})
		g.dirs = append(g.dirs, t.TempDir())
	}
	for i := range n {
		ports[i].Close() // the port was only picked; the loop opens it
		g.start(i, rafts[i])
	}
	t.Cleanup(func() {
		for i := range g.servers {
			g.stop(i)
		}
		select {
		case err := <-g.failed:
			t.Errorf("fatal: %v", err)
		default:
		}
	})
	return g
}

func (g *group) start(i int, raft net.Listener) {
	g.t.Helper()
	if raft == nil {
		var err error
		if raft, err = net.Listen("tcp", g.peers[i].Raft); err != nil {
			g.t.Fatal(err)
		}
	}
	o := Options{
		ClusterName: "onebox", Listen: g.peers[i].Address, Advertise: g.peers[i].Address, Peers: g.peers, RaftListen: raft,
		DataDir: g.dirs[i], Level: proto.LevelSteady, MinLiveNodes: 1, LivePercentage: 50, MinReplicas: 1, MaxReplicas: 5,
		HoldSeconds: 604800, Grace: 2 * time.Second, Election: 500 * time.Millisecond, Version: "2.6.0-SNAPSHOT", Commit: "db756dcdf24e2af6169659a67548501ed61f106c", // as recorded
		OnFatal: func(err error) { g.failed <- err },
	}
	for _, f := range g.tweak {
		f(&o)
	}
	s, err := Start(o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.servers[i] = s
}

func (g *group) stop(i int) {
	g.t.Helper()
	if g.servers[i] != nil {
		if err := g.servers[i].Stop(); err != nil {
			g.t.Errorf("stop meta %d: %v", i, err)
		}
		g.servers[i] = nil
	}
}

func (g *group) metas() []string {
	var out []string
	for _, p := range g.peers {
		out = append(out, p.Address)
	}
	return out
}

var errClosed = errors.New("connection closed")

// exchange writes a frame and reads one reply frame.
func exchange(c net.Conn, native bool, frame []byte) ([]byte, error) {
	if _, err := c.Write(frame); err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := compare.FrameLen(native, in)
		if err != nil {
			return nil, err
		}
		if n > 0 && len(in) >= n {
			return in[:n], nil
		}
		m, err := c.Read(buf)
		if m == 0 && err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				return nil, err
			}
			return nil, errClosed
		}
		in = append(in, buf[:m]...)
	}
}

// ask makes one THFT call with our own codecs.
func ask(t *testing.T, address string, code proto.Code, args, result any) proto.ErrCode {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, mark := proto.AppendRequest(nil, code, proto.GPID{}, 1, 1000, 0)
	b = proto.FinishRequest(proto.AppendArgs(b, args, 1), mark)
	in, err := exchange(c, false, b)
	if err != nil {
		t.Fatalf("%v: %v", code, err)
	}
	var r proto.Reply
	if n, _, err := proto.ParseReply(in, maxFrame, &r); n == 0 || err != nil {
		t.Fatalf("%v: %v", code, err)
	}
	if r.Code() != proto.ErrOK {
		return r.Code()
	}
	if err := proto.UnmarshalArgs(r.Body, result); err != nil {
		t.Fatalf("%v: %v", code, err)
	}
	return proto.ErrOK
}

// leader returns the meta that answers, and checks that the others send clients there.
func (g *group) leader() (index int) {
	g.t.Helper()
	index = -1
	eventually(g.t, "one leader that all agree on", func() bool {
		index = -1
		var told []string
		for i, s := range g.servers {
			if s == nil {
				continue
			}
			var r proto.QueryCfgResponse
			if err := ask(g.t, g.peers[i].Address, proto.CodeCMQueryPartitionConfigByIndex,
				&proto.QueryCfgRequest{AppName: "none"}, &r); err != proto.ErrOK {
				return false
			}
			switch {
			case r.Err == proto.ErrObjectNotFound:
				if index >= 0 {
					return false
				}
				index = i
			case r.Err == proto.ErrForwardToOthers && len(r.Partitions) == 1 &&
				r.Partitions[0].Primary.String() == r.Partitions[0].HPPrimary.String():
				told = append(told, r.Partitions[0].Primary.String())
			default:
				return false
			}
		}
		for _, a := range told {
			if index < 0 || a != g.peers[index].Address {
				return false
			}
		}
		return index >= 0
	})
	return index
}

func (g *group) create(name string, partitions, replicas int32) int32 {
	g.t.Helper()
	var r proto.CreateAppResponse
	eventually(g.t, "table "+name, func() bool {
		err := ask(g.t, g.peers[g.leader()].Address, proto.CodeCMCreateApp, &proto.CreateAppRequest{AppName: name,
			Options: proto.CreateAppOptions{PartitionCount: partitions, ReplicaCount: replicas, AppType: "pegasus",
				IsStateful: true, SuccessIfExist: true}}, &r)
		return err == proto.ErrOK && r.Err == proto.ErrOK
	})
	return r.AppID
}

// assigned waits until every partition of a table has a primary, and returns the count per node.
func (g *group) assigned(name string) map[string]int {
	g.t.Helper()
	count := map[string]int{}
	eventually(g.t, "primaries of "+name, func() bool {
		clear(count)
		var r proto.QueryCfgResponse
		err := ask(g.t, g.peers[g.leader()].Address, proto.CodeCMQueryPartitionConfigByIndex,
			&proto.QueryCfgRequest{AppName: name}, &r)
		if err != proto.ErrOK || r.Err != proto.ErrOK {
			return false
		}
		for _, p := range r.Partitions {
			if !p.Primary.IsValid() {
				return false
			}
			count[p.HPPrimary.String()]++
		}
		return true
	})
	return count
}

// members waits until every partition of a table has so many members, and returns them by partition, the primary first.
func (g *group) members(name string, want int) [][]string {
	g.t.Helper()
	var out [][]string
	eventually(g.t, fmt.Sprintf("%d members in %s", want, name), func() bool {
		out = nil
		var r proto.QueryCfgResponse
		err := ask(g.t, g.peers[g.leader()].Address, proto.CodeCMQueryPartitionConfigByIndex,
			&proto.QueryCfgRequest{AppName: name}, &r)
		if err != proto.ErrOK || r.Err != proto.ErrOK {
			return false
		}
		for _, p := range r.Partitions {
			if !p.Primary.IsValid() || 1+len(p.Secondaries) != want || len(p.HPSecondaries) != len(p.Secondaries) {
				return false
			}
			all := []string{p.HPPrimary.String()}
			for _, s := range p.HPSecondaries {
				all = append(all, s.String())
			}
			out = append(out, all)
		}
		return true
	})
	return out
}

// TestMembers: a node dies for good; what it was primary of is taken over, and a fourth node takes its place. Then an
// operator moves a primary.
func TestMembers(t *testing.T) {
	g := startGroup(t, 1)
	var nodes []*node
	for i := 1; i <= 4; i++ {
		nodes = append(nodes, startNode(t, i, g.metas()))
	}
	for _, n := range nodes {
		for i, other := range nodes {
			eventually(t, "nodes know each other", func() bool {
				p := n.peer(other.id)
				return p.Alive && p.Address == other.address && int(p.Transfer.Port) == 41001+i
			})
		}
	}
	g.create("t", 8, 3)
	g.members("t", 3)
	nodes[0].close()
	eventually(t, "the others hear of the death", func() bool { return !nodes[1].peer(nodes[0].id).Alive })
	eventually(t, "the dead node is replaced", func() bool {
		for _, p := range g.members("t", 3) {
			if slices.Contains(p, nodes[0].address.String()) {
				return false
			}
		}
		return true
	})
	p := g.members("t", 3)[0]
	to := proto.NewRPCAddress(netip.MustParseAddrPort(p[1]))
	move := proto.BalanceMovePrimary
	var r proto.BalancerResponse
	err := ask(t, g.peers[0].Address, proto.CodeCMProposeBalancer, &proto.BalancerRequest{
		GPID: proto.GPID{App: 1}, BalanceType: &move,
		ActionList: []proto.ProposalAction{{Type: proto.CTUpgradeToPrimary, Node: to, Target: to}},
	}, &r)
	if err != proto.ErrOK || r.Err != proto.ErrOK {
		t.Fatal(err, r.Err)
	}
	eventually(t, "the primary moves", func() bool { return g.members("t", 3)[0][0] == p[1] })
}

// TestGroup runs three metas with three nodes through the loss of the leader and a restart of all.
func TestGroup(t *testing.T) {
	g := startGroup(t, 3)
	nodes := []*node{startNode(t, 1, g.metas()), startNode(t, 2, g.metas()), startNode(t, 3, g.metas())}
	id := g.create("t", 12, 3)
	if got := g.assigned("t"); fmt.Sprint(got) != "map[127.0.0.1:40001:4 127.0.0.1:40002:4 127.0.0.1:40003:4]" {
		t.Errorf("primaries: %v", got)
	}

	old := g.leader()
	g.stop(old)
	if now := g.leader(); now == old {
		t.Fatal("no new leader")
	}
	g.assigned("t")
	for _, n := range nodes {
		eventually(t, "the node has found the new leader", func() bool { return n.greeted() >= 2 })
	}
	id2 := g.create("u", 3, 1)
	if id2 != id+1 {
		t.Errorf("table ids %d and %d", id, id2)
	}
	g.assigned("u")
	for _, n := range nodes {
		eventually(t, "the node knows its partitions of the new table", func() bool {
			c, info := n.primaries(id2)
			return c == 1 && info.AppName == "u"
		})
	}

	for i := range g.servers {
		g.stop(i)
	}
	for i := range g.servers {
		g.start(i, nil)
	}
	if got := g.assigned("t"); len(got) != 3 {
		t.Errorf("after the restart of all: %v", got)
	}
	var r proto.UpdateAppEnvResponse
	ask(t, g.peers[g.leader()].Address, proto.CodeCMUpdateAppEnv, &proto.UpdateAppEnvRequest{AppName: "t",
		Op: proto.AppEnvOpSet, Keys: []string{"default_ttl"}, Values: []string{"7"}}, &r)
	if r.Err != proto.ErrOK {
		t.Errorf("env: %+v", r)
	}
	for _, n := range nodes {
		eventually(t, "the node hears of the environment", func() bool {
			_, info := n.primaries(id)
			return info.Envs["default_ttl"] == "7"
		})
	}
	g.redirect(t)
}

// redirect: a native client is sent to the leader at the RPC level when it asks for that, and by the answer otherwise.
func (g *group) redirect(t *testing.T) {
	lead := g.leader()
	follower := g.peers[(lead+1)%3].Address
	frame := recordedFrame(t, "09_rdsn", "RPC_CM_DROP_APP")
	for _, supported := range []bool{true, false} {
		b := append([]byte(nil), frame...)
		if !supported {
			b[105] &^= 1 << 2 // bit 10 of the context
		}
		c, err := net.Dial("tcp", follower)
		if err != nil {
			t.Fatal(err)
		}
		in, err := exchange(c, true, b)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(string(in[136:184]), "\x00")
		body := in[192:]
		if supported {
			var a proto.RPCAddress
			if err := proto.UnmarshalArgs(body, &a); err != nil || name != "ERR_FORWARD_TO_OTHERS" ||
				a.String() != g.peers[lead].Address {
				t.Errorf("redirect: %s %v %v", name, a, err)
			}
			continue
		}
		var r proto.DropAppResponse
		if err := proto.UnmarshalArgs(body, &r); err != nil || name != "ERR_OK" || r.Err != proto.ErrForwardToOthers {
			t.Errorf("without redirect: %s %v %v", name, r.Err, err)
		}
	}
}

// TestOutOfPlace: what a meta does not serve, cannot read or must not answer.
func TestOutOfPlace(t *testing.T) {
	g := startGroup(t, 1)
	a := g.peers[g.leader()].Address
	for _, c := range []struct {
		code proto.Code
		app  int32
		args any
		want proto.ErrCode
	}{
		{proto.CodeCMStartPartitionSplit, 0, &proto.RenameAppRequest{}, proto.ErrNotImplemented},
		{proto.CodeQueryDiskInfo, 0, &proto.ListNodesRequest{}, proto.ErrHandlerNotFound},
		{proto.CodeCMConfigSync, 0, &proto.ListNodesRequest{}, proto.ErrHandlerNotFound},
		{proto.CodeCMListNodes, 1, &proto.ListNodesRequest{}, proto.ErrHandlerNotFound},
		{proto.CodeCMListNodes, -1, &proto.ListNodesRequest{}, proto.ErrOK},
		{proto.CodeCMCreateApp, 0, nil, proto.ErrInvalidParameters},
		{proto.CodeCMListNodes, 0, nil, proto.ErrInvalidParameters},
	} {
		conn, err := net.Dial("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		b, mark := proto.AppendRequest(nil, c.code, proto.GPID{App: c.app}, 1, 1000, 0)
		if c.args != nil {
			b = proto.AppendArgs(b, c.args, 1)
		}
		in, err := exchange(conn, false, proto.FinishRequest(b, mark))
		conn.Close()
		if err != nil {
			t.Fatalf("%v: %v", c.code, err)
		}
		var r proto.Reply
		if _, _, err := proto.ParseReply(in, maxFrame, &r); err != nil || r.Code() != c.want {
			t.Errorf("%v app %d: %v (%v), want %v", c.code, c.app, r.Code(), err, c.want)
		}
	}

	beacon, mark := proto.AppendPeerFrame(nil, proto.PeerBeaconAck, 0, 1)
	beacon = proto.FinishPeerFrame(beacon, mark)
	broken, mark := proto.AppendPeerFrame(nil, proto.PeerHello, 0, 1)
	broken = proto.FinishPeerFrame(append(broken, 12, 0), mark)
	for name, bytes := range map[string][]byte{
		"garbage": []byte("SSH-2.0"), "peer frame of the other side": beacon, "broken hello": broken,
		"huge": append([]byte("THFT\x00\x00\x00\x00\x00\x00\x00\x30\x00\x00\x00\x00\x7f\xff\xff\xff"), make([]byte, 28)...),
	} {
		conn, err := net.Dial("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := exchange(conn, false, bytes); err != errClosed {
			t.Errorf("%s: %q %v", name, in, err)
		}
		conn.Close()
	}
	got := ""
	g.servers[0].command(&proto.Command{Cmd: "help", Arguments: []string{"version"}}, func(text string) { got = text })
	if !strings.HasPrefix(got, "version - ") {
		t.Errorf("help version: %q", got)
	}
}
