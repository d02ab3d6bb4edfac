package faults

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"pegasus/conf/onebox"
)

// envPrivate is set in a process that has a network of its own.
const envPrivate = "PEGASUS_FAULTS_PRIVATE"

// alone runs the test once more, in a process with a network of its own, and tells that process from the first one.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envPrivate) != "" {
		return true
	}
	if err := onebox.NetworkPossible(); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v="+verbose(), "-test.timeout="+(2*time.Minute+duration()).String())
	cmd.Env = append(os.Environ(), envPrivate+"=1")
	onebox.Private(cmd)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

func verbose() string {
	if testing.Verbose() {
		return "true"
	}
	return "false"
}

// split opens a cluster whose links can be cut.
func split(t *testing.T) (*world, *load, *onebox.Network) {
	t.Helper()
	network, err := onebox.NewNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	w, l := begin(t, onebox.Options{Network: network})
	return w, l, network
}

// others returns all nodes but one, those of one kind only if so asked.
func (w *world) others(than string, kinds ...onebox.Kind) (self *onebox.Node, rest []*onebox.Node) {
	for _, n := range w.Nodes {
		wanted := len(kinds) == 0
		for _, k := range kinds {
			wanted = wanted || n.Kind == k
		}
		switch {
		case n.Name == than:
			self = n
		case wanted:
			rest = append(rest, n)
		}
	}
	return self, rest
}

// A primary that reaches nobody but its clients must stop answering before somebody else takes over.
func TestPrimaryCutOff(t *testing.T) { cutOff(t) }

// A server that its peers do not reach, while meta does, is what a failure detector of meta alone never sees. Whoever asks
// meta first decides which side goes on. If it is the server that is cut off, it is left alone: its partitions can be
// read, and written again when it has company.
func TestServerCutOffFromItsPeers(t *testing.T) {
	long(t)
	cutOff(t, onebox.Replica)
}

// cutOff takes the busiest server away from all other nodes, or from those of one kind, and brings it back.
func cutOff(t *testing.T, from ...onebox.Kind) {
	if !alone(t) {
		return
	}
	w, l, network := split(t)
	victim := w.busiest()
	part := w.leads(victim)[0]
	stop := l.insist(w, part)
	w.ok(l.progress(part))
	self, rest := w.others(victim, from...)
	w.ok(network.Cut(self, rest...))
	hold(outage)
	w.ok(l.progress(everything()...))
	w.ok(network.Mend())
	w.healthy()
	w.ok(l.progress(everything()...))
	stop()
	w.settled(l)
}

// Packets get through in one direction only: a server is not heard, or does not hear.
func TestMuteServer(t *testing.T) {
	long(t)
	oneWay(t, (*onebox.Network).CutOneWay)
}

func TestDeafServer(t *testing.T) {
	long(t)
	oneWay(t, func(n *onebox.Network, victim, peer *onebox.Node) error { return n.CutOneWay(peer, victim) })
}

func oneWay(t *testing.T, cut func(n *onebox.Network, victim, peer *onebox.Node) error) {
	if !alone(t) {
		return
	}
	w, l, network := split(t)
	victim, peers := w.others(w.busiest(), onebox.Replica)
	for _, p := range peers {
		w.ok(cut(network, victim, p))
	}
	hold(outage)
	w.ok(l.progress(everything()...))
	w.ok(network.Mend())
	w.settled(l)
}

// Without the metas nothing is reconfigured, and nothing needs to be.
func TestMetasCutOff(t *testing.T) {
	long(t)
	if !alone(t) {
		return
	}
	w, l, network := split(t)
	before := l.failures()
	for _, n := range w.Nodes {
		if n.Kind == onebox.Meta {
			_, servers := w.others(n.Name, onebox.Replica)
			w.ok(network.Cut(n, servers...))
		}
	}
	hold(outage)
	w.ok(l.progress(everything()...))
	if n := l.failures() - before; n > 0 {
		t.Errorf("%d operations failed though no replica server did", n)
	}
	w.ok(network.Mend())
	w.settled(l)
}
