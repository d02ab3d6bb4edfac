package shard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/netcore/proto"
)

// admin sends an RPC of the admin plane to a node and decodes its answer.
func admin[T any](t testing.TB, addr string, code proto.Code, req any) (answer T) {
	t.Helper()
	cl := dialNode(t, addr)
	defer cl.conn.Close()
	r := cl.call(code, proto.GPID{}, 0, func(b []byte) []byte { return proto.AppendArgs(b, req, 1) })
	if r.Code() != proto.ErrOK {
		t.Fatalf("%v: %s", code, r.Err)
	}
	if err := proto.UnmarshalArgs(r.Body, &answer); err != nil {
		t.Fatalf("%v: %v", code, err)
	}
	return answer
}

func TestQueries(t *testing.T) {
	g := newGroup(t, []int{2, 1})
	g.meta.groupTable(1, 4, 2)
	g.full(1, 4, 2)
	c := g.client()
	for i := range 40 {
		if err := c.put(1, 4, fmt.Sprint("k", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	// On a machine that is short of time a member may have been given up and taken back meanwhile.
	eventually(t, "every replica to follow its configuration", func() bool {
		for _, m := range g.nodes {
			infos := admin[proto.QueryReplicaInfoResponse](t, m.opts.Listen, proto.CodeQueryReplicaInfo, &proto.QueryReplicaInfoRequest{})
			for _, r := range infos.Replicas {
				if r.Ballot != g.meta.config(r.PID).Ballot {
					return false
				}
			}
		}
		return true
	})
	primaries := 0
	for _, m := range g.nodes {
		infos := admin[proto.QueryReplicaInfoResponse](t, m.opts.Listen, proto.CodeQueryReplicaInfo, &proto.QueryReplicaInfoRequest{})
		if len(infos.Replicas) != 4 || infos.Err != proto.ErrOK {
			t.Fatalf("%d replicas, %v", len(infos.Replicas), infos.Err)
		}
		held := 0
		for _, r := range infos.Replicas {
			config := g.meta.config(r.PID)
			want := proto.PSSecondary
			if config.Primary == m.id {
				want = proto.PSPrimary
				held++
			}
			if r.Status != want || r.Ballot != config.Ballot || r.DiskTag != "disk1" || r.AppType != "pegasus" ||
				r.LastPreparedDecree < 1 || *r.ManualCompactStatus != proto.CompactionIdle {
				t.Errorf("replica %+v", r)
			}
			d := admin[proto.QueryReplicaDecreeResponse](t, m.opts.Listen, proto.CodeQueryPNDecree, &proto.QueryReplicaDecreeRequest{PID: r.PID})
			if d.Err != proto.ErrOK || d.LastDecree < r.LastCommittedDecree {
				t.Errorf("decree of %v: %+v", r.PID, d)
			}
		}
		primaries += held
		apps := admin[proto.QueryAppInfoResponse](t, m.opts.Listen, proto.CodeQueryAppInfo, &proto.QueryAppInfoRequest{})
		if len(apps.Apps) != 1 || apps.Apps[0].AppName != "t" || apps.Apps[0].PartitionCount != 4 {
			t.Errorf("tables %+v", apps.Apps)
		}
		disks := admin[proto.QueryDiskInfoResponse](t, m.opts.Listen, proto.CodeQueryDiskInfo, &proto.QueryDiskInfoRequest{AppName: "t"})
		if len(disks.DiskInfos) != 1 || disks.TotalCapacityMB == 0 || disks.TotalCapacityMB != disks.DiskInfos[0].DiskCapacityMB ||
			disks.TotalAvailableMB != disks.DiskInfos[0].DiskAvailableMB {
			t.Fatalf("disks %+v", disks)
		}
		d := disks.DiskInfos[0]
		if d.Tag != "disk1" || d.FullDir != m.dir || len(d.HoldingPrimaryReplicas[1]) != held || len(d.HoldingSecondaryReplicas[1]) != 4-held {
			t.Errorf("disk %+v", d)
		}
	}
	if primaries != 4 {
		t.Errorf("%d primaries", primaries)
	}
	addr := g.nodes[0].opts.Listen
	if d := admin[proto.QueryDiskInfoResponse](t, addr, proto.CodeQueryDiskInfo, &proto.QueryDiskInfoRequest{AppName: "none"}); d.Err != proto.ErrObjectNotFound {
		t.Errorf("disks of an unknown table: %+v", d)
	}
	if d := admin[proto.QueryReplicaDecreeResponse](t, addr, proto.CodeQueryPNDecree, &proto.QueryReplicaDecreeRequest{PID: proto.GPID{App: 9}}); d.Err != proto.ErrObjectNotFound {
		t.Errorf("decree of an unknown replica: %+v", d)
	}
	cl := dialNode(t, addr)
	if r := cl.call(proto.CodeQueryDiskInfo, proto.GPID{}, 0, func(b []byte) []byte { return append(b, 0xff, 1) }); r.Code() != proto.ErrInvalidParameters {
		t.Errorf("arguments that do not decode: %v", r.Code())
	}
}

// A detection finds the key that makes most of the requests, of the kind that it watches; its answers are those of the original.
func TestDetectHotkey(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 1, nil)
	ask := func(typ proto.HotkeyType, action proto.DetectAction) (code proto.ErrCode, hint, key string) {
		t.Helper()
		r := admin[proto.DetectHotkeyResponse](t, c.opts.Listen, proto.CodeDetectHotkey, &proto.DetectHotkeyRequest{Type: typ, Action: action, PID: only})
		if r.ErrHint != nil {
			hint = *r.ErrHint
		}
		if r.HotkeyResult != nil {
			key = *r.HotkeyResult
		}
		return r.Err, hint, key
	}
	want := func(typ proto.HotkeyType, action proto.DetectAction, code proto.ErrCode, hint string) {
		t.Helper()
		if gotCode, gotHint, _ := ask(typ, action); gotCode != code || gotHint != hint {
			t.Errorf("%v %v: %v, %q; want %v, %q", typ, action, gotCode, gotHint, code, hint)
		}
	}
	const read, write = proto.HotkeyRead, proto.HotkeyWrite
	want(read, proto.DetectQuery, proto.ErrBusy, "Can't get hotkey now, now state: hotkey_collector_state::STOPPED")
	want(read, proto.DetectStop, proto.ErrOK, "")
	want(read, proto.DetectStart, proto.ErrOK, "starting to detect replication::hotkey_type::READ hotkey")
	want(read, proto.DetectStart, proto.ErrBusy, "still detecting replication::hotkey_type::READ hotkey, state is hotkey_collector_state::COARSE_DETECTING")
	want(write, proto.DetectStart, proto.ErrOK, "starting to detect replication::hotkey_type::WRITE hotkey")
	want(7, proto.DetectStart, proto.ErrInvalidParameters, "invalid hotkey_type")
	want(read, 7, proto.ErrInvalidParameters, "invalid detect_action")
	cl := c.dial()
	hot := "hot\n\x01"
	var key string
	eventually(t, "the key is found", func() bool {
		for i := range 400 {
			k := fmt.Sprint("k", i)
			if i%2 == 0 {
				k = hot
			}
			_, h := partOf(1, 1, k)
			cl.add(proto.CodeGet, only, h, keyArgs(k, ""))
			cl.add(proto.CodePut, only, h, putArgs(fmt.Sprint("even", i), "", "v"))
		}
		cl.flush()
		for range 800 {
			cl.recv()
		}
		var code proto.ErrCode
		code, _, key = ask(read, proto.DetectQuery)
		return code == proto.ErrOK
	})
	if key != `hot\n\x01` {
		t.Errorf("found %q", key)
	}
	want(read, proto.DetectStart, proto.ErrBusy, "replication::hotkey_type::READ hotkey result has been found: "+key+
		", you can send a stop rpc to restart hotkey detection")
	want(write, proto.DetectQuery, proto.ErrBusy, "Can't get hotkey now, now state: hotkey_collector_state::COARSE_DETECTING")
	want(read, proto.DetectStop, proto.ErrOK, "")
	want(read, proto.DetectQuery, proto.ErrBusy, "Can't get hotkey now, now state: hotkey_collector_state::STOPPED")
	// Some clients name the replica in the header, too.
	for _, g := range []proto.GPID{only, {App: 9}} {
		reply := cl.call(proto.CodeDetectHotkey, g, 0, func(b []byte) []byte {
			return proto.AppendArgs(b, &proto.DetectHotkeyRequest{Action: proto.DetectStop, PID: g}, 1)
		})
		var answer proto.DetectHotkeyResponse
		if err := proto.UnmarshalArgs(reply.Body, &answer); err != nil || (answer.Err == proto.ErrOK) != (g == only) {
			t.Errorf("asked by the header: %v, %+v, %v", reply.Code(), answer, err)
		}
	}
	r := admin[proto.DetectHotkeyResponse](t, c.opts.Listen, proto.CodeDetectHotkey, &proto.DetectHotkeyRequest{PID: proto.GPID{App: 9}})
	if r.Err != proto.ErrObjectNotFound {
		t.Errorf("of an unknown replica: %v", r.Err)
	}
}

// A detection that finds nothing ends by itself.
func TestDetectionEnds(t *testing.T) {
	var h hotCounter
	h.startDetection(1)
	for i := range 1000 {
		h.count(rawKey(fmt.Sprint("k", i), ""))
	}
	if h.look(2); !h.detect.running || h.detect.found {
		t.Errorf("after even requests: %+v", h.detect)
	}
	if h.look(1 + int64(detectLongest) + 1); h.detect.running || h.detecting != nil {
		t.Errorf("after its time: %+v", h.detect)
	}
}

// A directory that is added takes new replicas at once.
func TestAddNewDisk(t *testing.T) {
	c := newCluster(t, 2, quickStatus)
	c.table(1, 2, nil)
	fresh, used := filepath.Join(t.TempDir(), "new"), t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	add := func(text string) (proto.ErrCode, string) {
		r := admin[proto.AddNewDiskResponse](t, c.opts.Listen, proto.CodeAddNewDisk, &proto.AddNewDiskRequest{DiskStr: text})
		if r.ErrHint == nil {
			return r.Err, ""
		}
		return r.Err, *r.ErrHint
	}
	for _, bad := range []struct {
		text string
		code proto.ErrCode
		hint string
	}{
		{"", proto.ErrInvalidParameters, "invalid str(), err_msg: invalid data_dir item() in config"},
		{"/x", proto.ErrInvalidParameters, "invalid str(/x), err_msg: invalid data_dir item(/x) in config"},
		{"a:b", proto.ErrInvalidParameters, "invalid str(a:b), err_msg: invalid data_dir item(a:b) in config"},
		{"disk1:" + fresh, proto.ErrNodeAlreadyExist, "data_dir(" + fresh + ") tag(disk1) already exist"},
		{"new:" + c.dir, proto.ErrNodeAlreadyExist, "data_dir(" + c.dir + ") tag(new) already exist"},
		{"new:" + used, proto.ErrDirNotEmpty, "Disk(" + used + ") directory is not empty"},
		{"new:" + filepath.Join(used, "file", "below"), proto.ErrFileOperationFailed, ""},
	} {
		if code, hint := add(bad.text); code != bad.code || bad.hint != "" && hint != bad.hint {
			t.Errorf("%q: %v, %q", bad.text, code, hint)
		}
	}
	if code, hint := add("new:" + fresh); code != proto.ErrOK {
		t.Fatalf("%v, %s", code, hint)
	}
	eventually(t, "meta is told", func() bool {
		s := c.meta.status(c.node.id)
		return len(s.Disks) == 2 && s.Disks[1].Tag == "new" && s.Disks[1].CapacityMB > 0
	})
	c.table(2, 2, nil)
	tags := map[string]int{}
	for i := range int32(2) {
		tags[onPartition(c.node, proto.GPID{App: 2, Part: i}, func(p *partition) string { return p.dir.tag })]++
	}
	if tags["new"] == 0 {
		t.Errorf("new replicas are on %v", tags)
	}
	fill(c.dial(), 2, 2, 20, "v")
	c.opts.DataDirs = append(c.opts.DataDirs, DataDir{Tag: "new", Path: fresh})
	c.stop()
	o := testOptions(t, c.dir, 2, c.opts.Metas...)
	c.opts.Listen, c.opts.ShardPort = o.Listen, o.ShardPort
	c.start()
	c.served(2, 2)
	checkFill(c.dial(), 2, 2, 20, "v")
}

// migrate asks a node to move a replica.
func (m *groupNode) migrate(from, to string) (proto.ErrCode, string) {
	r := admin[proto.ReplicaDiskMigrateResponse](m.group.t, m.opts.Listen, proto.CodeReplicaDiskMigrate,
		&proto.ReplicaDiskMigrateRequest{PID: part0, OriginDisk: from, TargetDisk: to})
	if r.Hint == nil {
		return r.Err, ""
	}
	return r.Err, *r.Hint
}

// A secondary moves to another directory while clients write, stays a member, and is whole: it leads afterwards.
func TestMigrateBetweenDisks(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1}, func(o *Options) {
		o.DataDirs = append(o.DataDirs, DataDir{Tag: "other", Path: t.TempDir()})
		o.LogDir = o.DataDirs[0].Path
	})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	l := g.load(1, 1, 2)
	l.more(g, 200)
	m := g.secondary(part0)
	tag := func() string { return onPartition(m.node, part0, func(p *partition) string { return p.dir.tag }) }
	from, to := tag(), "other"
	if from == to {
		to = "disk1"
	}
	for _, bad := range []struct {
		node     *groupNode
		from, to string
		code     proto.ErrCode
	}{
		{g.primary(part0), from, to, proto.ErrInvalidState}, {m, from, from, proto.ErrInvalidParameters},
		{m, to, from, proto.ErrPathAlreadyExist}, {m, "none", to, proto.ErrObjectNotFound}, {m, from, "none", proto.ErrObjectNotFound},
	} {
		if code, hint := bad.node.migrate(bad.from, bad.to); code != bad.code || hint == "" {
			t.Errorf("from %s to %s: %v, %q", bad.from, bad.to, code, hint)
		}
	}
	ballot := g.meta.config(part0).Ballot
	for round := range 2 {
		if code, hint := m.migrate(from, to); code != proto.ErrOK {
			t.Fatalf("round %d: %v, %s", round, code, hint)
		}
		eventually(t, "the replica has moved", func() bool {
			return tag() == to && onPartition(m.node, part0, func(p *partition) bool { return p.state == replicaOpen && p.migrating == nil })
		})
		l.more(g, 200)
		from, to = to, from
	}
	if now := g.meta.config(part0).Ballot; now != ballot {
		t.Errorf("the group changed from ballot %d to %d", ballot, now)
	}
	if n := onPartition(m.node, part0, func(p *partition) int { return p.recorded.Moved }); n != 2 {
		t.Errorf("it remembers %d moves", n)
	}
	old, err := filepath.Glob(filepath.Join(m.opts.DataDirs[0].Path, replicasDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	originals := 0
	for _, name := range old {
		if strings.HasSuffix(name, suffixOriginal) {
			originals++
		}
		if strings.HasSuffix(name, suffixMoving) {
			t.Errorf("left: %s", name)
		}
	}
	if originals != 1 {
		t.Errorf("the first directory holds %q", old)
	}
	l.verify(g, 1, 1)
	m.stop()
	m.restart(1)
	g.full(1, 1, 3)
	l = g.load(1, 1, 2)
	for _, other := range g.nodes {
		if other != m {
			other.stop()
			l.more(g, 20)
			break
		}
	}
	l.verify(g, 1, 1)
}

// Of two directories of one ballot, which a crash in the middle of a move leaves behind, the one that was moved last counts.
func TestTwinsOfAMove(t *testing.T) {
	dirs := []DataDir{{Path: t.TempDir()}, {Path: t.TempDir()}}
	for i, moved := range []int{3, 4} {
		at := newDiskRoot(dirs[i]).dir(part0)
		if err := os.MkdirAll(at.path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeRecord(at, replicaRecord{Format: 1, AppID: 1, Ballot: 5, Moved: moved}); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(at.path+suffixMoving, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := newDisks(dirs)
	found, err := d.scan()
	if err != nil || found[part0].path != newDiskRoot(dirs[1]).dir(part0).path {
		t.Fatalf("found %v, %v", found, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dirs[0].Path, replicasDir, "*"+suffixMoving)); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A move that does not work leaves the replica where it was, in service, and what is in its way untouched.
func TestMigrationThatFails(t *testing.T) {
	other := t.TempDir()
	g := newGroup(t, []int{1, 1}, func(o *Options) {
		o.DataDirs = append(o.DataDirs, DataDir{Tag: "other", Path: filepath.Join(other, filepath.Base(o.DataDirs[0].Path))})
		o.LogDir = o.DataDirs[0].Path
	})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	c := g.client()
	if err := c.put(1, 1, "k", "v"); err != nil {
		t.Fatal(err)
	}
	m := g.secondary(part0)
	at := onPartition(m.node, part0, func(p *partition) replicaDir { return p.dir })
	to := m.node.disks.all()[0]
	if to.tag == at.tag {
		to = m.node.disks.all()[1]
	}
	obstacle := filepath.Join(to.dir(part0).path, "precious")
	if err := os.MkdirAll(obstacle, 0o755); err != nil {
		t.Fatal(err)
	}
	if code, hint := m.migrate(at.tag, to.tag); code != proto.ErrOK {
		t.Fatal(code, hint)
	}
	eventually(t, "the move is given up", func() bool {
		return onPartition(m.node, part0, func(p *partition) bool { return p.migrating == nil && p.state == replicaOpen })
	})
	if now := onPartition(m.node, part0, func(p *partition) replicaDir { return p.dir }); now != at {
		t.Errorf("the replica is in %v", now)
	}
	if _, err := os.Stat(obstacle); err != nil {
		t.Errorf("what was in the way: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(to.path, replicasDir, "*"+suffixMoving)); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if err := c.put(1, 1, "k", "w"); err != nil {
		t.Error(err)
	}
	g.same(1, 1)
}
