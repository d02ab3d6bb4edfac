package proto

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var updateCluster = flag.Bool("update-cluster", false, "write testdata/cluster_v1.hex anew")

// clusterMessages fills every field of the messages between nodes and metas, and leaves out what was added later where
// the name says so.
func clusterMessages() (names []string, messages []any) {
	one, two := NodeID{0: 1}, NodeID{0: 2}
	add := func(name string, m any) { names, messages = append(names, name), append(messages, m) }
	report := ReplicaReport{GPID: GPID{App: 1, Part: 2}, Ballot: 3, Role: 1, Prepared: 9, Committed: 8, Durable: 7,
		DiskTag: "ssd", Failure: "bad"}
	app := AppInfo{Status: AppAvailable, AppType: "pegasus", AppName: "t", AppID: 1, PartitionCount: 4,
		Envs: map[string]string{"k": "v"}, IsStateful: true, MaxReplicaCount: 3, CreateSecond: 5}
	config := PartitionConfig{GPID: GPID{App: 1, Part: 2}, Ballot: 3, Primary: one, Secondaries: []NodeID{two}}
	hello := NodeHello{Node: one, Address: NewHostPort("n1", 34801), Shards: 2, ShardPort: 34810, Incarnation: 5,
		Replicas: []ReplicaReport{report}, IP: 0x7f000001_87f1_0001}
	ack := NodeHelloAck{Err: ErrOK, Leader: NewHostPort("m1", 34601), ClusterName: "c", Revision: 4, Apps: []AppInfo{app},
		Partitions: []PartitionConfig{config}}
	assign := Assignments{Revision: 4, Apps: []AppInfo{app}, Partitions: []PartitionConfig{config}}
	update := UpdateConfig{Config: config, Type: CTUpgradeToPrimary, Node: two}
	helloOld, ackOld, assignOld, updateOld := hello, ack, assign, update
	add("hello of before groups", &helloOld)
	add("hello ack of before groups", &ackOld)
	add("assignments of before groups", &assignOld)
	add("update of before groups", &updateOld)

	report.Learners = []NodeID{two}
	hello.Replicas = []ReplicaReport{report}
	hello.Transfer = NewHostPort("n1", 34899)
	nodes := []PeerNode{{Node: two, Address: NewHostPort("n2", 34801), Shards: 2, ShardPort: 34810,
		Transfer: NewHostPort("n2", 34899), Alive: true}}
	settings := []TableSettings{{AppID: 1, MinReplicas: 2}}
	ack.Nodes, ack.Settings = nodes, settings
	assign.Nodes, assign.Settings = nodes, settings
	update.From = one
	helloGroups := hello
	add("hello", &helloGroups)
	add("hello ack", &ack)
	add("beacon", &NodeBeacon{Node: one, Incarnation: 2, SentAt: 3, Revision: 4})
	add("beacon ack", &NodeBeaconAck{Err: ErrForwardToOthers, Leader: NewHostPort("m1", 34601), SentAt: 3, Revision: 4})
	add("assignments", &assign)
	add("proposal", &Proposal{App: app, Config: config, Type: CTAddSecondary, Node: two, Settings: settings[0]})
	add("update", &update)
	add("update ack", &UpdateConfigAck{Err: ErrInvalidVersion, Config: config})
	hello.Zone, hello.Apps = "rack1", []AppInfo{app}
	add("hello with zone and tables", &hello)
	add("report", &NodeReport{Node: one, Replicas: []ReplicaReport{report}})
	return names, messages
}

// The messages between nodes and metas are a format between versions: fields are added, and never written when empty, so
// what an older program wrote is read, and written again, byte by byte.
func TestClusterGolden(t *testing.T) {
	names, messages := clusterMessages()
	var text strings.Builder
	for i, m := range messages {
		b := Marshal(nil, m)
		fmt.Fprintf(&text, "%s: %s\n", names[i], hex.EncodeToString(b))
		back := reflect.New(reflect.TypeOf(m).Elem())
		if err := Unmarshal(b, back.Interface()); err != nil || !reflect.DeepEqual(back.Interface(), m) {
			t.Errorf("%s: %+v, %v", names[i], back.Interface(), err)
		}
		if again := Marshal(nil, back.Interface()); !bytes.Equal(again, b) {
			t.Errorf("%s: written %x, after a round trip %x", names[i], b, again)
		}
	}
	const file = "testdata/cluster_v1.hex"
	if *updateCluster {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the messages have changed; older programs write\n%s\nnow written is\n%s", want, text.String())
	}
}

func FuzzClusterMessages(f *testing.F) {
	_, messages := clusterMessages()
	for i, m := range messages {
		f.Add(i, Marshal(nil, m))
	}
	f.Fuzz(func(t *testing.T, i int, in []byte) {
		typ := reflect.TypeOf(messages[uint(i)%uint(len(messages))]).Elem()
		m := reflect.New(typ).Interface()
		if Unmarshal(in, m) != nil {
			return
		}
		b := Marshal(nil, m)
		back := reflect.New(typ).Interface()
		if err := Unmarshal(b, back); err != nil {
			t.Fatalf("%T: what was read cannot be read again: %v", m, err)
		}
		if again := Marshal(nil, back); !bytes.Equal(again, b) {
			t.Fatalf("%T: written %x, after a round trip %x", m, b, again)
		}
	})
}
