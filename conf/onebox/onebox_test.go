package onebox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/conf"
)

// The test binary plays the daemons when it is called by their names, and a process that starts daemons when it is
// called "pegasus-starter".
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "pegasus-meta", "pegasus-replica":
		fakeDaemon(os.Args[2])
	case "pegasus-starter":
		fakeStarter(os.Args[1])
	default:
		os.Exit(m.Run())
	}
}

// fakeDaemon listens as its configuration says until SIGTERM. A file "stubborn" beside the configuration makes it ignore
// the signal, a file "broken" makes it fail at once.
func fakeDaemon(config string) {
	n := Node{Kind: Meta, Dir: filepath.Dir(config)}
	if filepath.Base(config) == "replica.toml" {
		n.Kind = Replica
	}
	beside := func(name string) bool { _, err := os.Stat(filepath.Join(n.Dir, name)); return err == nil }
	address, err := n.readAddress()
	if err == nil && beside("broken") {
		err = errors.New("the disk is gone")
	}
	var l net.Listener
	if err == nil {
		l, err = net.Listen("tcp", address)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	stop := make(chan os.Signal, 1)
	if beside("stubborn") {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(stop, syscall.SIGTERM)
	}
	<-stop
	fmt.Println("stopped in the orderly way")
}

// fakeStarter starts the metas of the folder so that they die with it, tells their numbers, and waits for its own end.
func fakeStarter(dir string) {
	c, err := Open(dir, filepath.Dir(os.Args[0]))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c.spawn = newDyingSpawner()
	for _, n := range c.Nodes[:len(c.Metas())] {
		if err := c.start(n); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n.PID())
	}
	select {}
}

// fakeBin returns a folder in which the daemons are this test binary.
func fakeBin(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, p := range append([]string{"pegasus-starter"}, programs...) {
		if err := os.Symlink(self, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// laidOut returns a cluster of fake daemons of which none runs yet.
func laidOut(t *testing.T) *Cluster {
	t.Helper()
	o := Options{Dir: t.TempDir(), Bin: fakeBin(t), FreePorts: true, Shards: 2}
	if err := o.ensureDefaults(); err != nil {
		t.Fatal(err)
	}
	ports, err := layOut(&o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(o.Dir, o.Bin)
	if err != nil {
		t.Fatal(err)
	}
	c.ports = ports
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			if n.PID() != 0 {
				if err := c.Kill(n.Name); err != nil {
					t.Error(err)
				}
			}
		}
		c.Release()
	})
	return c
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestFixedLayout(t *testing.T) {
	o := Options{Dir: t.TempDir(), Bin: "bin", Shards: 4}
	if err := o.ensureDefaults(); err != nil {
		t.Fatal(err)
	}
	if _, err := layOut(&o); err != nil {
		t.Fatal(err)
	}
	c, err := Open(o.Dir, o.Bin)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(c.Metas(), c.Replicas()), "[127.0.0.1:34601 127.0.0.1:34602 127.0.0.1:34603] [127.0.0.1:34801 127.0.0.1:34802 127.0.0.1:34803]"; got != want {
		t.Errorf("addresses %s, want %s", got, want)
	}
	m, err := conf.LoadMeta(filepath.Join(o.Dir, "meta2", "meta.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Peers) != 3 || m.Self() != (conf.Peer{Address: "127.0.0.1:34602", Raft: "127.0.0.1:34612"}) {
		t.Errorf("meta2 is %v of %v", m.Self(), m.Peers)
	}
	r, err := conf.LoadReplica(filepath.Join(o.Dir, "replica3", "replica.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Node.ShardPortBase != 34830 || r.Node.Shards != 4 || len(r.Metas) != 3 {
		t.Errorf("replica3 has %+v and metas %v", r.Node, r.Metas)
	}

	// The same shape is taken as it is, edits included; another one is refused.
	edited := strings.Replace(mustRead(t, c.Nodes[3].Config()), "shards = 4", "shards = 3", 1)
	if err := os.WriteFile(c.Nodes[3].Config(), []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := layOut(&o); err != nil {
		t.Errorf("the second start: %v", err)
	}
	if got := mustRead(t, c.Nodes[3].Config()); got != edited {
		t.Errorf("an edited file was overwritten:\n%s", got)
	}
	o.Replicas = 4
	if _, err := layOut(&o); !errors.Is(err, ErrExists) {
		t.Errorf("four replica servers in a folder of three: %v", err)
	}
	if err := os.WriteFile(c.Nodes[0].Config(), []byte("colour = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o.Dir, o.Bin); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("a broken file: %v", err)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPortsAreHeld(t *testing.T) {
	var a, b reservation
	defer a.release()
	defer b.release()
	first, err := a.take(3)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("pegasus-ports-%d", os.Getuid()))
	for port := first - 2; port <= first+2; port++ {
		if b.takeExactly(dir, port, 3) {
			t.Errorf("ports %d to %d were given although %d to %d are held", port, port+2, first, first+2)
		}
		b.release()
	}
	a.release()
	if !b.takeExactly(dir, first, 3) {
		t.Errorf("ports from %d cannot be had after their release", first)
	}
}

func TestStartKillRestartStop(t *testing.T) {
	c := laidOut(t)
	metas := c.Nodes[:3]
	for _, n := range metas {
		if err := c.start(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.waitServing(deadline(t, Timeout), metas); err != nil {
		t.Fatal(err)
	}
	pid := metas[1].PID()
	if pid == 0 {
		t.Fatal("meta2 has no process")
	}
	if err := c.Kill("meta2"); err != nil {
		t.Fatal(err)
	}
	if metas[1].PID() != 0 {
		t.Error("meta2 lives after a kill")
	}
	if strings.Contains(mustRead(t, metas[1].Log()), "orderly") {
		t.Error("a kill was an orderly stop")
	}
	if err := c.Kill("meta2"); err == nil {
		t.Error("a dead node was killed again")
	}
	if err := c.Restart("meta2"); err != nil {
		t.Fatal(err)
	}
	if now := metas[1].PID(); now == 0 || now == pid {
		t.Errorf("after the restart meta2 is process %d, before it was %d", now, pid)
	}
	if err := c.Wipe(); err == nil {
		t.Error("a running cluster was wiped")
	}
	// Another process finds the same cluster by its folder.
	again, err := Open(c.Dir, c.bin)
	if err != nil {
		t.Fatal(err)
	}
	if again.Nodes[1].PID() != metas[1].PID() {
		t.Error("a second look at the folder sees another process")
	}
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, n := range metas {
		if n.PID() != 0 {
			t.Errorf("%s lives after Stop", n.Name)
		}
		if !strings.Contains(mustRead(t, n.Log()), "stopped in the orderly way") {
			t.Errorf("%s was not stopped by SIGTERM", n.Name)
		}
	}
	if err := c.Wipe(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestStubbornDaemonIsKilled(t *testing.T) {
	c := laidOut(t)
	n := c.Nodes[0]
	if err := os.WriteFile(filepath.Join(n.Dir, "stubborn"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.start(n); err != nil {
		t.Fatal(err)
	}
	if err := c.waitServing(deadline(t, Timeout), []*Node{n}); err != nil {
		t.Fatal(err)
	}
	if err := c.stop(deadline(t, 100*time.Millisecond), n); err == nil || !strings.Contains(err.Error(), "ignored SIGTERM") {
		t.Errorf("stop: %v", err)
	}
	if n.PID() != 0 {
		t.Error("it lives")
	}
}

func TestDaemonThatFailsIsToldAtOnce(t *testing.T) {
	c := laidOut(t)
	n := c.Nodes[0]
	if err := os.WriteFile(filepath.Join(n.Dir, "broken"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t, Timeout)
	err := c.up(ctx, &Options{})
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "meta1 stopped") || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v, want the log's last words before the deadline", err)
	}
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			t.Errorf("%s was left running", n.Name)
		}
	}
}

func TestPIDOfAnotherProgram(t *testing.T) {
	c := laidOut(t)
	n := c.Nodes[0]
	forked, alive := forkTime(os.Getpid())
	if !alive || forked == "" {
		t.Fatalf("this process runs since %q, alive: %v", forked, alive)
	}
	for text, want := range map[string]int{
		fmt.Sprint(os.Getpid(), " ", forked):  os.Getpid(),
		fmt.Sprint(os.Getpid(), " 1", forked): 0,
		fmt.Sprint(os.Getpid()):               0,
		"no number":                           0, "-1 5": 0, "": 0,
	} {
		if err := os.WriteFile(n.pidFile(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if pid := n.PID(); pid != want {
			t.Errorf("a pid file %q gives process %d, want %d", text, pid, want)
		}
	}
	if err := os.Remove(n.pidFile()); err != nil {
		t.Fatal(err)
	}
}

func TestDaemonsDieWithTheirParent(t *testing.T) {
	c := laidOut(t)
	starter := exec.Command(filepath.Join(c.bin, "pegasus-starter"), c.Dir)
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for lines := bufio.NewScanner(out); len(fds) < 3 && lines.Scan(); {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the starter said %q", lines.Text())
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // killed, as asked
	for _, fd := range fds {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(events, int(Timeout.Milliseconds())); n != 1 {
			t.Errorf("a daemon outlived its parent: %d, %v", n, err)
		}
	}
}

func TestMissingPrograms(t *testing.T) {
	_, err := Up(deadline(t, Timeout), Options{Dir: t.TempDir(), Bin: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
}
