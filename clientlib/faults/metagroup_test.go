package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

// groupCommand has the leading meta carry out a command about its group and demands that it did.
func (w *world) groupCommand(args ...string) {
	w.t.Helper()
	w.ok(eventually(patience, func() error {
		text, err := w.admin().Command(contextFor(w.t), w.metaLeader().Address, args[0], args[1:]...)
		if err != nil {
			return err
		}
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(text), &said); err != nil || said.Error != "ok" {
			return fmt.Errorf("%s: %s", strings.Join(args, " "), text)
		}
		return nil
	}))
}

// replaceMeta puts a server without a memory in the place of a dead one, as an operator does whose machine is lost.
func (w *world) replaceMeta(name string) {
	w.t.Helper()
	n, err := w.Node(name)
	w.ok(err)
	w.groupCommand("meta.remove", n.Address)
	w.ok(w.WipeData(name))
	text, err := os.ReadFile(n.Config())
	w.ok(err)
	joining := strings.Replace(string(text), "[node]\n", "[node]\njoin = \"yes\"\n", 1)
	raft := regexp.MustCompile(`address = "` + regexp.QuoteMeta(n.Address) + `"\nraft = "([^"]+)"`).FindStringSubmatch(joining)
	if raft == nil || joining == string(text) {
		w.t.Fatalf("cannot make it join:\n%s", text)
	}
	w.ok(os.WriteFile(n.Config(), []byte(joining), 0o644))
	w.ok(w.Start(name))
	w.groupCommand("meta.add", n.Address, raft[1])
}

// TestMetasReplaced loses every meta with its disk, one after the other, and puts a new one in its place. In the end nobody is left of
// the first group, and nothing is forgotten. No operation on data fails.
func TestMetasReplaced(t *testing.T) {
	long(t)
	w, l := begin(t, onebox.Options{})
	before := l.failures()
	for i, name := range names(onebox.Meta, w.Cluster) {
		w.ok(w.Kill(name))
		w.replaceMeta(name)
		// What was made before has to be known by those who were not there yet.
		made := fmt.Sprint("made", i)
		_, err := w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: made, Partitions: 2, Replicas: replicas, IfMissing: true})
		w.ok(err)
		w.ok(w.client.WaitHealthy(contextFor(t), made, replicas))
		w.ok(l.progress(everything()...))
	}
	// The new ones are a group: it stands the loss of its leader.
	leader := w.metaLeader()
	w.ok(w.Kill(leader.Name))
	tables, err := w.client.ListTables(contextFor(t), proto.AppAvailable)
	w.ok(err)
	found := map[string]bool{}
	for _, info := range tables {
		found[info.AppName] = true
	}
	for _, name := range []string{table, "made0", "made1", "made2"} {
		if !found[name] {
			t.Errorf("table %s is forgotten", name)
		}
	}
	if n := l.failures() - before; n > 0 {
		t.Errorf("%d operations failed though no replica server did", n)
	}
	w.ok(w.Start(leader.Name))
	w.settled(l)
}
