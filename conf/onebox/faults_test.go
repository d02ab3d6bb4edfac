package onebox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s was accepted", what)
	}
}

func TestKillAndStartTogether(t *testing.T) {
	c := laidOut(t)
	names := []string{"meta1", "meta2", "meta3"}
	refused(t, "a kill of nodes that do not run", c.Kill(names...))
	must(t, c.Start(names...))
	refused(t, "a start of nodes that run", c.Start(names...))
	refused(t, "a name that nobody has", c.Kill("meta1", "meta9"))
	must(t, c.Kill(names...))
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			t.Errorf("%s lives", n.Name)
		}
	}
}

// state is the letter of the process in the kernel's list, "T" when it is paused.
func state(t *testing.T, n *Node) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

func TestPause(t *testing.T) {
	c := laidOut(t)
	n := c.Nodes[0]
	refused(t, "a pause of a node that does not run", c.Pause(n.Name))
	must(t, c.Start(n.Name))
	must(t, c.Pause(n.Name))
	must(t, c.waitFor(deadline(t, Timeout), nil, "the pause", func(context.Context) error {
		if s := state(t, n); s != "T" {
			return fmt.Errorf("the process is in state %s", s)
		}
		return nil
	}))
	must(t, c.Resume(n.Name))
	must(t, c.waitServing(deadline(t, Timeout), []*Node{n}))

	// A paused node can be stopped in the orderly way, and killed.
	must(t, c.Pause(n.Name))
	must(t, c.stop(deadline(t, Timeout), n))
	must(t, c.Start(n.Name))
	must(t, c.Pause(n.Name))
	must(t, c.Kill(n.Name))
}

func TestWipeData(t *testing.T) {
	c := laidOut(t)
	for _, name := range []string{"meta1", "replica2"} {
		n, err := c.Node(name)
		must(t, err)
		kept := filepath.Join(n.Dir, "data", "shard0", "record")
		must(t, os.MkdirAll(filepath.Dir(kept), 0o755))
		must(t, os.WriteFile(kept, nil, 0o644))
		must(t, c.WipeData(name))
		if _, err := os.Stat(filepath.Join(n.Dir, "data")); !os.IsNotExist(err) {
			t.Errorf("the data of %s is there: %v", name, err)
		}
		if _, err := os.Stat(n.Config()); err != nil {
			t.Error(err)
		}
	}
	elsewhere := t.TempDir()
	n := c.Nodes[0]
	text := mustRead(t, n.Config())
	must(t, os.WriteFile(n.Config(), []byte(strings.Replace(text, `"data"`, fmt.Sprintf("%q", elsewhere), 1)), 0o644))
	refused(t, "to wipe a folder outside of the cluster", c.WipeData(n.Name))
	if _, err := os.Stat(elsewhere); err != nil {
		t.Error(err)
	}
	must(t, os.WriteFile(n.Config(), []byte(text), 0o644))
	must(t, c.Start(n.Name))
	refused(t, "to wipe a node that runs", c.WipeData(n.Name))
}

func TestExtraConfiguration(t *testing.T) {
	o := Options{Dir: t.TempDir(), Bin: "bin", MetaExtra: "[cluster]\nlive_percentage = 7", ReplicaExtra: "[requests]\niteration_time = \"7s\""}
	must(t, o.ensureDefaults())
	_, err := layOut(&o)
	must(t, err)
	nodes, err := findNodes(o.Dir)
	must(t, err)
	for _, n := range nodes {
		if text := mustRead(t, n.Config()); !strings.Contains(text, "= 7") && !strings.Contains(text, `= "7s"`) {
			t.Errorf("%s lacks what was added:\n%s", n.Name, text)
		}
	}
}

const envPrivate = "ONEBOX_TEST_PRIVATE"

func TestNetwork(t *testing.T) {
	if os.Getenv(envPrivate) == "" {
		if err := NetworkPossible(); err != nil {
			t.Skip(err)
		}
		if _, err := NewNetwork(); !errors.Is(err, ErrNoNetwork) {
			t.Errorf("this process, which has the machine's network, may make a Network: %v", err)
		}
		again := exec.Command(os.Args[0], "-test.run=^TestNetwork$", "-test.v")
		again.Env = append(os.Environ(), envPrivate+"=1")
		Private(again)
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	network, err := NewNetwork()
	must(t, err)
	defer network.Close()
	o := Options{Dir: t.TempDir(), Bin: fakeBin(t), Network: network}
	must(t, o.ensureDefaults())
	_, err = layOut(&o)
	must(t, err)
	c, err := Open(o.Dir, o.Bin)
	must(t, err)
	c.network, c.spawn = network, newDyingSpawner()
	defer c.Release()
	must(t, network.connect(c.Nodes))
	must(t, c.Start("meta1", "meta2", "meta3"))
	defer c.Stop()
	m1, m2, m3 := c.Nodes[0], c.Nodes[1], c.Nodes[2]

	check := func(when string, from, to *Node, want bool) {
		t.Helper()
		if got := reaches(network, from, to); got != want {
			t.Errorf("%s: %s reaches %s: %v", when, from.Name, to.Name, got)
		}
	}
	check("whole", m1, m2, true)
	must(t, network.Cut(m1, m2, m3))
	check("m1 cut off", m1, m2, false)
	check("m1 cut off", m3, m1, false)
	check("m1 cut off", m2, m3, true)
	must(t, accepts(deadline(t, Timeout), m1.Address)) // clients do not notice
	must(t, c.Kill("meta1"))
	must(t, c.Start("meta1")) // a new process is where the old one was
	check("m1 cut off and restarted", m1, m2, false)
	must(t, network.Mend())
	check("mended", m1, m2, true)
	must(t, network.CutOneWay(m1, m2))
	check("m1 does not reach m2", m1, m2, false)
	check("answers of m1 do not reach m2", m2, m1, false)
	check("m1 does not reach m2", m1, m3, true)
}

// reaches tells whether a connection from one node's namespace to another node comes about.
func reaches(w *Network, from, to *Node) bool {
	var ok bool
	err := inside(w.space(from), func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		a, err := net.ResolveTCPAddr("tcp", to.Address)
		if err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(events, int((300 * time.Millisecond).Milliseconds()))
		ok = n == 1 && events[0].Revents&unix.POLLERR == 0
		return err
	})
	return err == nil && ok
}
