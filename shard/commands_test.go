package shard

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

// remote runs a remote command on a node.
func remote(t testing.TB, addr, cmd string, args ...string) string {
	t.Helper()
	return admin[string](t, addr, proto.CodeCLICall, &proto.Command{Cmd: cmd, Arguments: args})
}

func TestRemoteCommands(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) { o.ConfigText = "cluster_name = \"test\"\n"; o.TransferRate = 7 << 20 })
	c.table(1, 2, map[string]string{"business.info": "x", "default_ttl": "0"})
	addr := c.opts.Listen
	help := remote(t, addr, "help")
	for name := range remoteCommands() {
		if !strings.Contains(help, "\n"+name+" - ") {
			t.Errorf("help does not name %s", name)
		}
		if one := remote(t, addr, "help", name); !strings.HasPrefix(one, name+" - ") || strings.Count(one, "\n") != 2 {
			t.Errorf("help of %s: %q", name, one)
		}
	}
	ok := "{\n  \"error\": \"ok\"\n}"
	const rate, deny = "nfs.max_copy_rate_megabytes_per_disk", "replica.deny-client"
	for _, tc := range []struct{ line, want string }{
		{"no-such-command a", "unknown command 'no-such-command'"},
		{"help none", "cannot find command 'none'"},
		{"flush-log", "Flush done."},
		{"config-dump", "cluster_name = \"test\"\n"},
		{rate, "{\n  \"error\": \"ok\",\n  \"" + rate + "\": \"7\"\n}"},
		{rate + " 50", ok},
		{rate, "{\n  \"error\": \"ok\",\n  \"" + rate + "\": \"50\"\n}"},
		{rate + " -1", "{\n  \"error\": \"ERR: invalid argument '-1', the value is not acceptable\"\n}"},
		{rate + " 1 2", "{\n  \"error\": \"ERR: invalid arguments '1 2', only one argument is acceptable\"\n}"},
		{rate + " DEFAULT", "{\n  \"error\": \"ok\",\n  \"" + rate + "\": 7\n}"},
		{deny, "{\n  \"error\": \"ok\",\n  \"" + deny + "\": \"false\"\n}"},
		{deny + " maybe", "{\n  \"error\": \"ERR: invalid arguments, 'maybe' is not a boolean\"\n}"},
		{"replica.query-app-envs 1.0,7 1.9", "1 processed, 2 not found\n    1.0@" + addr + "@P : business.info=x,default_ttl=0"},
		{"replica.query-compact 1", "2 processed, 0 not found\n    1.0@" + addr + "@P : last finish at [-]\n    1.1@" + addr + "@P : last finish at [-]"},
		{"replica.query-compact x", "invalid arguments"},
		{"replica.kill_partition 1", "killed 0 partitions, left 2 of one member alone"},
		{"replica.kill_partition a", "invalid arguments: kill_partition [app_id [partition_index]]"},
	} {
		words := strings.Fields(tc.line)
		if got := remote(t, addr, words[0], words[1:]...); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.line, got, tc.want)
		}
	}
	if got := c.node.transferBudget.Stats().Rate; got != 7<<20 {
		t.Errorf("the rate of copies is %d", got)
	}
	var info map[string]string
	if err := json.Unmarshal([]byte(remote(t, addr, "server-info")), &info); err != nil || info["version"] != Version || info["start_time"] == "" {
		t.Errorf("server-info: %v, %v", info, err)
	}

	cl := c.dial()
	cl.put(1, 2, "k", "", "v")
	if got := remote(t, addr, deny, "true"); got != ok {
		t.Fatal(got)
	}
	g, h := partOf(1, 2, "k")
	cl.add(proto.CodeGet, g, h, keyArgs("k", "")) // gets no answer
	if r := cl.call(proto.CodeNegotiation, proto.GPID{}, 0, noArgs); r.Seq != cl.seq {
		t.Errorf("reply to %d", r.Seq)
	}
	c.quiet()
	if got := remote(t, addr, deny, "false"); got != ok {
		t.Fatal(got)
	}
	if v, found := cl.get(1, 2, "k", ""); !found || v != "v" {
		t.Errorf("read %q", v)
	}
}

// A partition that is killed learns anew.
func TestKillPartition(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	c := g.client()
	if err := c.put(1, 1, "k", "v"); err != nil {
		t.Fatal(err)
	}
	m := g.secondary(part0)
	if got := remote(t, m.opts.Listen, "replica.kill_partition", "1", "0"); got != "killed 1 partitions, left 0 of one member alone" {
		t.Error(got)
	}
	eventually(t, "it is moved aside", func() bool {
		aside, err := filepath.Glob(filepath.Join(m.dir, replicasDir, "*"+suffixError))
		return err == nil && len(aside) == 1
	})
	g.full(1, 1, 3)
	g.same(1, 1)
}

// Checkpoints that are asked for are kept as the table says.
func TestKeptCheckpoints(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, map[string]string{"rocksdb.checkpoint.reserve_min_count": "1", "rocksdb.checkpoint.reserve_time_seconds": "0"})
	cl := c.dial()
	dir := onPartition(c.node, only, func(p *partition) replicaDir { return p.dir })
	kept := func() (names []string) {
		all, err := filepath.Glob(filepath.Join(dir.path, checkpointPrefix+"*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	trigger := func() {
		t.Helper()
		want := "1 processed, 0 not found\n    1.0@" + c.opts.Listen + "@P : triggered"
		if got := remote(t, c.opts.Listen, "replica.trigger-checkpoint", "1.0"); got != want {
			t.Fatalf("%q", got)
		}
		eventually(t, "the checkpoint is made", func() bool {
			return onPartition(c.node, only, func(p *partition) bool { return !p.checkpointing })
		})
	}
	for i := range 3 {
		cl.put(1, 1, "k", "", fmt.Sprint(i))
		decree := onPartition(c.node, only, func(p *partition) proto.Decree { return p.replica.Committed() })
		trigger()
		if names := kept(); len(names) != 1 || filepath.Base(names[0]) != fmt.Sprint(checkpointPrefix, decree) {
			t.Errorf("after decree %d: %q", decree, names)
		}
	}
	trigger() // of the same decree
	if names := kept(); len(names) != 1 {
		t.Errorf("%q", names)
	}
	c.meta.setEnvs(1, nil)
	eventually(t, "the envs are gone", func() bool {
		return onPartition(c.node, only, func(p *partition) bool { return p.settings.CheckpointMin == 0 })
	})
	for i := range 3 {
		cl.put(1, 1, "k", "", fmt.Sprint(i))
		trigger()
	}
	names := kept()
	if len(names) != 4 {
		t.Fatalf("of young checkpoints %q are left", names)
	}
	for _, n := range names {
		if err := os.Chtimes(n, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropCheckpoints(dir, defaultCheckpointMin, defaultCheckpointTime, time.Now()); err != nil || len(kept()) != 2 {
		t.Errorf("of old ones %q, %v", kept(), err)
	}
}
