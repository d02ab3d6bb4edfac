package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pegasus/conf/onebox"
)

// operated is a cluster that commands are tried on for what they bring about: four servers, so that there is always one to move to.
type operated struct {
	*world
	t *testing.T
}

// do runs a command line that must succeed.
func (o *operated) do(line ...string) string {
	o.t.Helper()
	out, code := o.run(o.t, line, "")
	if code != 0 {
		o.t.Fatalf("%s: [exit %d] %s", strings.Join(line, " "), code, out)
	}
	return out
}

// ask runs a command line with -j and decodes what it prints.
func (o *operated) ask(to any, line ...string) {
	o.t.Helper()
	out := o.do(append(line, "-j")...)
	if err := json.Unmarshal([]byte(out), to); err != nil {
		o.t.Fatalf("%s: %v: %s", strings.Join(line, " "), err, out)
	}
}

func (o *operated) until(what string, ok func() bool) {
	o.t.Helper()
	eventually(o.t, what, ok)
}

// healthy waits until every table has all its members.
func (o *operated) healthy() {
	o.t.Helper()
	o.until("the cluster is healthy", func() bool {
		_, code := o.run(o.t, []string{"health"}, "")
		return code == 0
	})
}

// members of a partition.
type members struct {
	Primary     string
	Secondaries string // [a,b]
}

func (m *members) has(node string) bool {
	return m.Primary == node || slices.Contains(m.others(), node)
}

func (m *members) others() []string {
	return strings.FieldsFunc(m.Secondaries, func(r rune) bool { return strings.ContainsRune("[],", r) })
}

func (o *operated) members(table string, partition int) *members {
	o.t.Helper()
	var app struct{ Replicas []members }
	o.ask(&app, "app", table, "-d")
	return &app.Replicas[partition]
}

// outsider is a server that has nothing of the partition.
func (o *operated) outsider(m *members) string {
	o.t.Helper()
	for _, n := range o.cluster.Replicas() {
		if !m.has(n) {
			return n
		}
	}
	o.t.Fatalf("every server is a member: %+v", m)
	return ""
}

func (o *operated) address(name string) string {
	o.t.Helper()
	n, err := o.cluster.Node(name)
	if err != nil {
		o.t.Fatal(err)
	}
	return n.Address
}

func (o *operated) name(address string) string {
	o.t.Helper()
	for _, n := range o.cluster.Nodes {
		if n.Address == address {
			return n.Name
		}
	}
	o.t.Fatalf("no node %s", address)
	return ""
}

func (o *operated) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// held counts what a server has.
func (o *operated) held(node string) (replicas, primaries int) {
	o.t.Helper()
	var list struct {
		Details []struct {
			Address  string
			Replicas int `json:"replica_count"`
			Primary  int `json:"primary_count"`
		}
	}
	o.ask(&list, "nodes", "-d")
	for _, n := range list.Details {
		if n.Address == node {
			return n.Replicas, n.Primary
		}
	}
	o.t.Fatalf("nodes does not list %s", node)
	return 0, 0
}

// Operations that TestEveryCommand can only have refused, because they would change what it goes on with, each for what it brings
// about. The order matters: the cluster is lost and found again at the end.
func TestCommandsHaveTheirEffect(t *testing.T) {
	w := newWorldOf(t, onebox.Options{
		Replicas: 4, Shards: 1, MetaExtra: "[cluster]\nlive_percentage = 1", Tables: []onebox.Table{{Name: "t", Partitions: 4, Replicas: 3}},
	})
	for _, step := range []struct {
		name string
		run  func(*operated)
	}{
		{"balance", balanceMoves}, {"disk_migrate", diskMigrates}, {"jobs", jobsObey}, {"drain", drainEmpties}, {"meta", metaIsReplaced},
		{"ddd_diagnose", deadIsRevived}, {"recover", clusterIsRecovered},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(&operated{w, t}) }) {
			return
		}
	}
}

func balanceMoves(o *operated) {
	before := o.members("t", 0)
	to := before.others()[0]
	o.do("balance", "-g", "1.0", "-p", "move_pri", "-f", before.Primary, "-t", to)
	o.until("the primary has moved", func() bool {
		now := o.members("t", 0)
		return now.Primary == to && now.has(before.Primary)
	})
	before = o.members("t", 0)
	from, to := before.others()[0], o.outsider(before)
	o.do("balance", "-g", "1.0", "-p", "copy_sec", "-f", from, "-t", to)
	o.until("the secondary has moved", func() bool {
		now := o.members("t", 0)
		return now.Primary == before.Primary && now.has(to) && !now.has(from)
	})
	before = o.members("t", 0)
	to = o.outsider(before)
	o.do("balance", "-g", "1.0", "-p", "copy_pri", "-f", before.Primary, "-t", to)
	o.until("the primary has moved to a new member", func() bool {
		now := o.members("t", 0)
		return now.Primary == to && !now.has(before.Primary)
	})
	o.healthy()
}

func diskMigrates(o *operated) {
	type place struct{ GPID, Tag, Role string }
	node := o.address("replica2")
	places := func() (list []place) {
		var all struct{ Replicas []place }
		o.ask(&all, "disk_replica", "-n", node, "-t", "t")
		return all.Replicas
	}
	var moved place
	for _, p := range places() {
		if strings.EqualFold(p.Role, "secondary") {
			moved = p
		}
	}
	if moved.GPID == "" {
		o.t.Fatalf("no secondary on %s: %+v", node, places())
	}
	more := "more:" + filepath.Join(o.tmp, "more")
	o.do("add_disk", "-n", node, "-d", more)
	// For the next start, as operators are told to: a later test restarts servers that may have put a replica there.
	o.configure("replica2", func(text string) string {
		return strings.Replace(text, `data_dirs = ["data"]`, fmt.Sprintf(`data_dirs = ["data", %q]`, more), 1)
	})
	o.do("disk_migrate", "-n", node, "-g", moved.GPID, "-f", moved.Tag, "-t", "more")
	o.until("the replica lies on the other disk", func() bool {
		return slices.ContainsFunc(places(), func(p place) bool { return p.GPID == moved.GPID && p.Tag == "more" })
	})
	o.healthy()
}

type job struct {
	ID      int
	Status  string
	Waiting string
}

func (o *operated) job(line ...string) job {
	o.t.Helper()
	var answer struct{ Job job }
	o.ask(&answer, line...)
	return answer.Job
}

func jobsObey(o *operated) {
	// A table on all servers: nobody can take what the fourth one has, so the job cannot end by itself.
	o.do("create", "wide", "-p", "2", "-r", "4")
	o.healthy()
	node := o.address("replica4")
	id := strconv.Itoa(o.job("decommission", node, "--yes").ID)
	o.until("the job waits", func() bool {
		j := o.job("job", id)
		return j.Status == "running" && j.Waiting != ""
	})
	for _, step := range []struct{ command, status string }{
		{"pause_job", "paused"}, {"resume_job", "running"}, {"pause_job", "paused"}, {"cancel_job", "canceled"},
	} {
		if j := o.job(step.command, id); j.Status != step.status {
			o.t.Errorf("after %s the job is %s", step.command, j.Status)
		}
		if j := o.job("job", id); j.Status != step.status {
			o.t.Errorf("after %s the job is said to be %s", step.command, j.Status)
		}
	}
	if replicas, _ := o.held(node); replicas == 0 {
		o.t.Error("a canceled job has emptied the node")
	}
	// Without the table it ends, and the node has nothing any more.
	o.do("drop", "wide", "--yes")
	if j := o.job("decommission", node, "--yes", "--wait"); j.Status != "done" {
		o.t.Errorf("the decommission ended as %s", j.Status)
	}
	if replicas, primaries := o.held(node); replicas != 0 || primaries != 0 {
		o.t.Errorf("the node was decommissioned and has %d replicas, %d primaries", replicas, primaries)
	}
	o.do("return_node", node)
	if j := o.job("rebalance", "--wait"); j.Status != "done" {
		o.t.Errorf("the balance ended as %s", j.Status)
	}
	if replicas, _ := o.held(node); replicas == 0 {
		o.t.Error("the node was given back and has nothing after a balance")
	}
	o.healthy()
}

func drainEmpties(o *operated) {
	node := o.members("t", 1).Primary
	if j := o.job("drain", node, "--yes", "--wait"); j.Status != "done" {
		o.t.Errorf("the drain ended as %s", j.Status)
	}
	if _, primaries := o.held(node); primaries != 0 {
		o.t.Errorf("the node was drained and has %d primaries", primaries)
	}
	o.do("return_node", node)
	o.healthy()
}

type metaMember struct {
	Address, Raft string
	Leader        bool
}

func (o *operated) metaMembers() []metaMember {
	o.t.Helper()
	var list struct {
		Members []metaMember `json:"meta_members"`
	}
	o.ask(&list, "meta_members")
	return list.Members
}

// configure rewrites the configuration of a node.
func (o *operated) configure(name string, change func(string) string) {
	o.t.Helper()
	n, err := o.cluster.Node(name)
	o.ok(err)
	text, err := os.ReadFile(n.Config())
	o.ok(err)
	changed := change(string(text))
	if changed == string(text) {
		o.t.Fatalf("%s: nothing to change in\n%s", name, text)
	}
	o.ok(os.WriteFile(n.Config(), []byte(changed), 0o644))
}

const joins = "[node]\njoin = \"yes\"\n"

// metaIsReplaced takes a meta out of the group, and another one in that has its address and nothing else of it.
func metaIsReplaced(o *operated) {
	all := o.metaMembers()
	gone := all[slices.IndexFunc(all, func(m metaMember) bool { return !m.Leader })]
	name := o.name(gone.Address)
	o.do("meta_remove", gone.Address, "--yes")
	has := func() bool {
		return slices.ContainsFunc(o.metaMembers(), func(m metaMember) bool { return m.Address == gone.Address && m.Raft == gone.Raft })
	}
	if n := len(o.metaMembers()); n != len(all)-1 || has() {
		o.t.Errorf("%d members after %s was removed: %+v", n, gone.Address, o.metaMembers())
	}
	o.ok(o.cluster.Kill(name))
	o.ok(o.cluster.WipeData(name))
	o.configure(name, func(text string) string { return strings.Replace(text, "[node]\n", joins, 1) })
	o.ok(o.cluster.Start(name))
	o.do("meta_add", gone.Address, gone.Raft)
	if n := len(o.metaMembers()); n != len(all) || !has() {
		o.t.Errorf("%d members after %s was added: %+v", n, gone.Address, o.metaMembers())
	}
}

// deadIsRevived loses both members of a partition, of which the one that knows less comes back.
func deadIsRevived(o *operated) {
	o.do("create", "lone", "-p", "1", "-r", "2")
	o.healthy()
	o.do("-t", "lone", "set", "h", "s", "v")
	m := o.members("lone", 0)
	first, last := m.others()[0], m.Primary
	o.ok(o.cluster.Kill(o.name(first)))
	o.until("the primary is alone", func() bool { return len(o.members("lone", 0).others()) == 0 })
	o.ok(o.cluster.Kill(o.name(last)))
	var table struct {
		General struct {
			AppID int `json:"app_id"`
		}
	}
	o.ask(&table, "app", "lone")
	gpid := fmt.Sprint(table.General.AppID, ".0")
	type member struct {
		Partition, Node string
		Alive           bool
		Ballot          int
	}
	listed := func(ok func(m member) bool) func() bool {
		return func() bool {
			var dead struct {
				Members []member `json:"dead_partitions"`
			}
			o.ask(&dead, "ddd_diagnose", "-g", gpid)
			return slices.ContainsFunc(dead.Members, func(m member) bool { return m.Partition == gpid && ok(m) })
		}
	}
	// As long as the primary is thought to live, what the other one has is of no use, and would be thrown away.
	o.until("it is listed as dead", listed(func(m member) bool { return m.Node == last && !m.Alive }))
	o.ok(o.cluster.Start(o.name(first)))
	o.until("it is listed with what the other one has", listed(func(m member) bool { return m.Node == first && m.Alive && m.Ballot > 0 }))
	if out, code := o.run(o.t, []string{"ddd_diagnose", "-g", gpid, "-d"}, ""); code != 2 || !strings.Contains(out, "give --yes") {
		o.t.Errorf("without --yes: [exit %d] %s", code, out)
	}
	if out := o.do("ddd_diagnose", "-g", gpid, "-d", "--yes"); !strings.Contains(out, gpid+": proposed "+first) {
		o.t.Errorf("ddd_diagnose: %s", out)
	}
	o.until("it serves again", func() bool { return o.members("lone", 0).Primary == first })
	o.until("what it knew is there", func() bool {
		out, code := o.run(o.t, []string{"-t", "lone", "get", "h", "s"}, "")
		return code == 0 && out == "\"v\"\n"
	})
	o.ok(o.cluster.Start(o.name(last)))
	o.healthy()
}

// clusterIsRecovered loses the disks of all metas.
func clusterIsRecovered(o *operated) {
	o.do("-t", "t", "set", "h", "s", "kept")
	o.do("-t", "t", "set_app_envs", "default_ttl", "100000")
	metas := []string{"meta1", "meta2", "meta3"}
	o.ok(o.cluster.Kill(metas...))
	for _, name := range metas {
		o.ok(o.cluster.WipeData(name))
		o.configure(name, func(text string) string {
			text = strings.Replace(text, joins, "[node]\n", 1)
			return regexp.MustCompile(`(?m)^\[cluster\]\n`).ReplaceAllString(text, "[cluster]\nrecover_from_replica_server = \"yes\"\n")
		})
	}
	o.ok(o.cluster.Start(metas...))
	var out string
	o.until("the tables are recovered", func() bool {
		var code int
		out, code = o.run(o.t, []string{"recover", "-s", strings.Join(o.cluster.Replicas(), ","), "--yes"}, "")
		return code == 0
	})
	if !strings.HasPrefix(out, "recovered") {
		o.t.Errorf("recover: %s", out)
	}
	var list struct {
		Tables []struct {
			Name string `json:"app_name"`
		} `json:"general_info"`
	}
	o.ask(&list, "ls")
	if len(list.Tables) != 2 || list.Tables[0].Name != "t" || list.Tables[1].Name != "lone" {
		o.t.Errorf("recovered: %+v", list.Tables)
	}
	o.healthy()
	if out := o.do("-t", "t", "get", "h", "s"); out != "\"kept\"\n" {
		o.t.Errorf("the record is %s", out)
	}
	if out := o.do("-t", "t", "get_app_envs"); !strings.Contains(out, "default_ttl : 100000") {
		o.t.Errorf("the environment is %s", out)
	}
}
