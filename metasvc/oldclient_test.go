package metasvc

import (
	"net"
	"testing"

	"pegasus/netcore/proto"
)

// TestOldClient: a client that never fills in its timeout gets no host_port field, which it could not skip; the same answer
// to a later client has them. A follower's answer shows it without any table: it names the leader both ways.
func TestOldClient(t *testing.T) {
	g := startGroup(t, 3)
	follower := (g.leader() + 1) % 3
	for _, c := range []struct {
		timeoutMS int32
		hostPorts bool
	}{{0, false}, {1000, true}} {
		conn, err := net.Dial("tcp", g.peers[follower].Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b, mark := proto.AppendRequest(nil, proto.CodeCMQueryPartitionConfigByIndex, proto.GPID{}, 1, c.timeoutMS, 0)
		b = proto.AppendArgs(b, &proto.QueryCfgRequest{AppName: "temp"}, 1)
		in, err := exchange(conn, false, proto.FinishRequest(b, mark))
		if err != nil {
			t.Fatal(err)
		}
		var reply proto.Reply
		if _, _, err := proto.ParseReply(in, maxFrame, &reply); err != nil {
			t.Fatal(err)
		}
		var r proto.QueryCfgResponse
		if err := proto.UnmarshalArgs(reply.Body, &r); err != nil {
			t.Fatal(err)
		}
		if r.Err != proto.ErrForwardToOthers || len(r.Partitions) != 1 || !r.Partitions[0].Primary.IsValid() {
			t.Fatalf("timeout %d: %+v does not name the leader", c.timeoutMS, r)
		}
		if p := &r.Partitions[0]; p.HPPrimary.IsValid() != c.hostPorts {
			t.Errorf("timeout %d: hp_primary is %v", c.timeoutMS, p.HPPrimary)
		}
	}
}
