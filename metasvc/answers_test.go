package metasvc

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/proto"
)

// large starts a meta alone that knows so many nodes and tables of 20 partitions of three replicas.
func large(b testing.TB, nodes, tables int) *Server {
	b.Helper()
	ports := make([]net.Listener, 2)
	for i := range ports {
		var err error
		if ports[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			b.Fatal(err)
		}
	}
	at := ports[0].Addr().String()
	ports[0].Close()
	s, err := Start(Options{ClusterName: "large", Listen: at, Advertise: at, Peers: []Peer{{Address: at, Raft: ports[1].Addr().String()}},
		RaftListen: ports[1], DataDir: b.TempDir(), Level: proto.LevelSteady, MinLiveNodes: 1, MinReplicas: 1, MaxReplicas: 5, Grace: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
	})
	for role := core.Following; role != core.Leading; time.Sleep(time.Millisecond) {
		s.onLoop(func() { role = s.core.Role() })
	}
	id := func(n int) proto.NodeID { return proto.NodeID{byte(1 + n%nodes)} }
	s.onLoop(func() {
		apply := func(kind core.CommandKind, body any) {
			s.step(core.Committed{Data: core.AppendCommand(nil, &core.Command{Kind: kind, Body: body})})
		}
		for n := range nodes {
			apply(core.CommandRegisterNode, &core.RegisterNode{Node: core.Node{ID: id(n), Address: proto.NewHostPort(fmt.Sprintf("10.0.0.%d", n+1), 34801), Incarnation: 1}})
		}
		for t := range tables {
			apply(core.CommandCreateApp, &core.CreateApp{Request: proto.CreateAppRequest{AppName: fmt.Sprint("table", t),
				Options: proto.CreateAppOptions{PartitionCount: 20, ReplicaCount: 3, AppType: "pegasus", IsStateful: true}}})
			for p := range 20 {
				for k, typ := range []proto.ConfigType{proto.CTAssignPrimary, proto.CTUpgradeToSecondary, proto.CTUpgradeToSecondary} {
					apply(core.CommandReconfigure, &core.Reconfigure{Update: proto.UpdateConfig{Type: typ, Node: id(t + p + k), From: id(t + p),
						Config: proto.PartitionConfig{GPID: proto.GPID{App: int32(t + 1), Part: int32(p)}, Ballot: proto.Ballot(k + 1)}}})
				}
			}
		}
	})
	return s
}

// A flood of sights costs the journal no more than an entry a second after a few, and what happens to nodes finds room in it.
func TestFloodOfNotes(t *testing.T) {
	s := large(t, 3, 1)
	s.onLoop(func() {
		w := s.watch
		w.pending, w.omitted, w.credit, w.creditAt = nil, 0, noteCredit, s.loop.Now()
		stored := 0
		for i := range 100 {
			for j := range 1000 {
				w.note("guardian", "%d.%d", i, j)
			}
			w.note("node", "n1 is not heard of")
			list := w.take()
			if list == nil {
				continue
			}
			stored++
			kinds := map[string]int{}
			for _, n := range list {
				kinds[n.Kind]++
			}
			if len(list) > core.MaxObserved || kinds["node"] != 1 || kinds["guardian"] != core.MaxObserved-1-noteReserve || !strings.HasSuffix(list[len(list)-1].Text, " things more, within a second") {
				t.Errorf("%d notes, %v, the last one %+v", len(list), kinds, list[len(list)-1])
			}
		}
		if stored != noteCredit {
			t.Errorf("stored %d times at once", stored)
		}
		w.creditAt -= int64(3 * time.Second)
		for range 10 {
			w.note("node", "n1 is back")
			if w.take() != nil {
				stored++
			}
		}
		if stored != noteCredit+3 || len(w.pending) > core.MaxObserved {
			t.Errorf("stored %d times after three seconds, %d wait", stored, len(w.pending))
		}
		w.pending, w.omitted = nil, 0
	})
}

// BenchmarkAnswers is what a look of a console costs the loop of the leader: an answer that is made anew (at most once a second,
// whoever looks), one that is sent as it was made, and one that the console has already.
func BenchmarkAnswers(b *testing.B) {
	for _, size := range []struct{ nodes, tables int }{{3, 1}, {50, 1000}} {
		s := large(b, size.nodes, size.tables)
		ask := func(target string) (r httpfront.Response) {
			s.page(&httpfront.Request{Method: "GET", Target: "/api/v1/" + target}, func(got httpfront.Response) { r = got })
			return r
		}
		for _, what := range []string{"overview?", "map?", "table?name=table0"} {
			for _, how := range []string{"made", "sent", "known"} {
				b.Run(fmt.Sprintf("partitions=%d/%s/%s", 20*size.tables, what, how), func(b *testing.B) {
					b.ReportAllocs()
					var head console.Head
					var r httpfront.Response
					s.onLoop(func() {
						last := s.watch.news(0).LastEvent
						target := fmt.Sprintf("%s&after=%d", what, last)
						if err := json.Unmarshal(ask(target).Body, &head); err != nil {
							b.Error(err)
						}
						if how == "known" {
							target += "&etag=" + head.Etag
						}
						for _, a := range s.watch.cache {
							a.at = 1 << 62 // it does not grow old meanwhile
						}
						b.ResetTimer()
						for range b.N {
							if how == "made" {
								clear(s.watch.cache)
							}
							r = ask(target)
						}
					})
					if wanted := map[bool]int{true: 204, false: 0}[how == "known"]; r.Status != wanted {
						b.Errorf("answered with %d", r.Status)
					}
					b.ReportMetric(float64(len(r.Append(nil))), "bytes")
				})
			}
		}
	}
}
