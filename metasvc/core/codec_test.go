package core

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/netcore/proto"
)

var update = flag.Bool("update", false, "write the golden files of the formats anew")

// checkGolden compares named byte strings with a file that was written on the first day of the format.
func checkGolden(t *testing.T, file string, names []string, values [][]byte) {
	t.Helper()
	var b strings.Builder
	for i, n := range names {
		fmt.Fprintf(&b, "%s %s\n", n, hex.EncodeToString(values[i]))
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("%s: the format has changed; journals and snapshots in the field hold\n%s\nnow written is\n%s", file, want, &b)
	}
}

func sampleCommands() []Command {
	yes, reserve, prefix := true, int64(60), "rocksdb"
	body := []struct {
		kind CommandKind
		body any
	}{
		{CommandCreateApp, &CreateApp{Now: 1000, Request: proto.CreateAppRequest{AppName: "t", Options: proto.CreateAppOptions{
			PartitionCount: 2, ReplicaCount: 3, SuccessIfExist: true, AppType: "pegasus", IsStateful: true,
			Envs: map[string]string{"b": "2", "a": "1"}, AtomicIdempotent: &yes}}}},
		{CommandUpdateAppEnv, &UpdateAppEnv{Request: proto.UpdateAppEnvRequest{AppName: "t", Op: proto.AppEnvOpSet,
			Keys: []string{"rocksdb.x"}, Values: []string{"1"}}}},
		{CommandUpdateAppEnv, &UpdateAppEnv{Request: proto.UpdateAppEnvRequest{AppName: "t", Op: proto.AppEnvOpClear,
			ClearPrefix: &prefix}}},
		{CommandRegisterNode, &RegisterNode{Node: Node{ID: nodeID(1), Address: proto.NewHostPort("n1", 34801),
			IP: 0x7f000001_87f1_0001, Incarnation: 5, Shards: 2, ShardPort: 34810}}},
		{CommandUpdateConfig, &UpdateConfig{Update: proto.UpdateConfig{Type: proto.CTAssignPrimary, Node: nodeID(1),
			Config: proto.PartitionConfig{GPID: proto.GPID{App: 1, Part: 1}, Ballot: 1, Primary: nodeID(1)}}}},
		{CommandDropApp, &DropApp{Now: 1001, ExpireAt: 1061, Request: proto.DropAppRequest{AppName: "t",
			Options: proto.DropAppOptions{SuccessIfNotExist: true, ReserveSeconds: &reserve}}}},
		{CommandExpireApps, &ExpireApps{Now: 1002}},
		// From here on: groups of more than one. The snapshot of before is kept too.
		{CommandCreateApp, &CreateApp{Now: 1003, Request: proto.CreateAppRequest{AppName: "u", Options: proto.CreateAppOptions{
			PartitionCount: 1, ReplicaCount: 3, AppType: "pegasus", IsStateful: true}}}},
		{CommandRegisterNode, &RegisterNode{Node: Node{ID: nodeID(2), Address: proto.NewHostPort("n2", 34801),
			IP: 0x7f000002_87f1_0001, Incarnation: 6, Shards: 2, ShardPort: 34810, Transfer: "n2:34899"}}},
		{CommandReconfigure, &Reconfigure{Update: proto.UpdateConfig{Type: proto.CTAssignPrimary, Node: nodeID(1), From: nodeID(1),
			Config: proto.PartitionConfig{GPID: proto.GPID{App: 2}, Ballot: 1, Primary: nodeID(1)}}}},
		{CommandReconfigure, &Reconfigure{Update: proto.UpdateConfig{Type: proto.CTUpgradeToSecondary, Node: nodeID(2), From: nodeID(1),
			Config: proto.PartitionConfig{GPID: proto.GPID{App: 2}, Ballot: 2, Primary: nodeID(1),
				Secondaries: []proto.NodeID{nodeID(2)}}}}},
		{CommandSetReplicas, &SetReplicas{AppID: 2, Count: 2}},
		// From here on: jobs, options, and tables that return. The snapshot of before is kept too.
		{CommandRenameApp, &RenameApp{Request: proto.RenameAppRequest{OldAppName: "u", NewAppName: "v"}}},
		{CommandSetIdempotent, &SetIdempotent{AppID: 2, Value: true}},
		{CommandSetOption, &SetOption{Key: OptLevel, Value: "500"}},
		{CommandSetOption, &SetOption{Key: OptAssignDelay, Default: true}},
		{CommandStartJob, &StartJob{Job: Job{Kind: JobDrain, Node: nodeID(2), Started: 1004, Changed: 1004}}},
		{CommandMoveJob, &MoveJob{ID: 1, FromStatus: JobRunning, Status: JobRunning, Step: 1, Now: 1005}},
		{CommandMoveJob, &MoveJob{ID: 1, FromStatus: JobRunning, FromStep: 1, Status: JobFailed, Step: 1, Reason: "why", Done: 3, Total: 4, Now: 1006}},
		{CommandStartJob, &StartJob{Job: Job{Kind: JobCompact, App: 2, Auto: true, Started: 1007, Changed: 1007, Since: 1007},
			Keys: []string{"k"}, Values: []string{"v"}}},
		{CommandStartJob, &StartJob{Job: Job{Kind: JobDecommission, Node: nodeID(2), Started: 1008, Changed: 1008}}},
		{CommandReturnNode, &ReturnNode{Node: nodeID(2), Now: 1009}},
		{CommandAppoint, &Appoint{GPID: proto.GPID{App: 2}, Ballot: 2, Next: 7, Node: nodeID(2), Rupture: true, Kept: 5}},
		{CommandDropApp, &DropApp{Now: 1010, ExpireAt: 1020, Request: proto.DropAppRequest{AppName: "v"}}},
		{CommandRecallApp, &RecallApp{Now: 1011, Request: proto.RecallAppRequest{AppID: 2, NewAppName: "w"}}},
	}
	out := make([]Command, len(body))
	for i, b := range body {
		out[i] = Command{Kind: b.kind, Origin: 0x0102030405060708, Seq: uint64(i + 1), Body: b.body}
	}
	return out
}

func TestFormats(t *testing.T) {
	var names []string
	var values, snaps [][]byte
	s := NewState()
	var d Delta
	for i, c := range sampleCommands() {
		if i == 7 || i == 12 {
			snaps = append(snaps, s.AppendSnapshot(nil))
		}
		names = append(names, fmt.Sprintf("%T", c.Body))
		b := AppendCommand(nil, &c)
		values = append(values, b)
		back, err := ParseCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if again := AppendCommand(nil, &back); !bytes.Equal(again, b) {
			t.Errorf("%T: written %x, after a round trip %x", c.Body, b, again)
		}
		if res := s.Apply(&back, &d); res.Err != proto.ErrOK {
			t.Errorf("%T: %v", c.Body, res.Err)
		}
	}
	checkGolden(t, "commands_v1.txt", names, values)

	snap := s.AppendSnapshot(nil)
	checkGolden(t, "snapshot_v1.txt", []string{"snapshot", "groups", "jobs"}, append(snaps, snap))
	for i, s := range snaps {
		if _, err := ReadSnapshot(s); err != nil {
			t.Errorf("snapshot %d of before: %v", i, err)
		}
	}
	back, err := ReadSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	if again := back.AppendSnapshot(nil); !bytes.Equal(again, snap) {
		t.Errorf("snapshot changed in a round trip")
	}
}

// TestRecoverFormat: the recovery begins a journal, so it is not among the others.
func TestRecoverFormat(t *testing.T) {
	c := Command{Kind: CommandRecover, Origin: 1, Seq: 2, Body: &Recover{
		Nodes: []Node{{ID: nodeID(1), Address: proto.NewHostPort("n1", 34801), Incarnation: 5, Shards: 2, Zone: "z"}},
		Apps: []App{{Info: proto.AppInfo{AppName: "t", AppID: 3, PartitionCount: 1, MaxReplicaCount: 3, Status: proto.AppAvailable},
			Partitions: []Partition{{Ballot: 9, Primary: nodeID(1), LastDrops: []proto.NodeID{nodeID(2)}, Rupture: 9, Kept: 4}}}},
	}}
	b := AppendCommand(nil, &c)
	back, err := ParseCommand(b)
	if err != nil {
		t.Fatal(err)
	}
	s := NewState()
	if res := s.Apply(&back, &Delta{}); res.Err != proto.ErrOK || s.App(3) == nil || s.nextApp != 4 {
		t.Errorf("%+v, next table %d", res, s.nextApp)
	}
	checkGolden(t, "recover_v1.txt", []string{"command", "snapshot"}, [][]byte{b, s.AppendSnapshot(nil)})
}

func TestNewerFormats(t *testing.T) {
	c := sampleCommands()[0]
	b := AppendCommand(nil, &c)
	for _, at := range []int{0, 1} {
		bad := bytes.Clone(b)
		bad[at] = 200
		if _, err := ParseCommand(bad); !errors.Is(err, ErrCommandVersion) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	core := New(testOptions())
	var out Effects
	if err := core.Step(Now{}, Committed{Data: []byte{200}}, &out); err == nil {
		t.Error("a journal entry that cannot be read went through")
	}
	if _, err := ReadSnapshot([]byte{200, 0}); err == nil {
		t.Error("snapshot of another version was read")
	}
}

// FuzzParse: entries and snapshots come from disk. Whatever is in them, the readers return an error or something sound.
func FuzzParse(f *testing.F) {
	s := NewState()
	var d Delta
	for _, c := range sampleCommands() {
		f.Add(AppendCommand(nil, &c))
		s.Apply(&c, &d)
	}
	f.Add(s.AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCommand(b); err == nil && c.Body == nil {
			t.Error("command without a body")
		}
		if st, err := ReadSnapshot(b); err == nil {
			if _, err := ReadSnapshot(st.AppendSnapshot(nil)); err != nil {
				t.Errorf("what was read cannot be read again: %v", err)
			}
		}
	})
}
