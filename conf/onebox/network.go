package onebox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Network puts every node into a network namespace of its own, so that links between nodes can be cut as a broken switch
// cuts them: nothing arrives and nobody is told. The process that uses it is the router between them, and must itself be
// in a namespace made for it (see Private), so nothing of the machine's own network is touched and all of it is gone when
// the processes are. Clients in this process reach all nodes, whatever is cut between those.
//
//	this process  10.211.0.1, one veth pair per node, forwards packets
//	  meta N      10.211.1.N
//	  replica N   10.211.2.N
//
// Cuts are routing rules "from A to B blackhole" of the router. A firewall would do as well, but is one program more
// that a machine needs.
type Network struct {
	spaces map[string]*os.File // by name of the node
	cuts   map[string]bool     // "from A to B"
}

const (
	router     = "10.211.0.1"
	nodeFormat = "10.211.%d.%d"
)

// ErrNoNetwork means that this process may not, or the machine cannot, do what a Network needs.
var ErrNoNetwork = errors.New("onebox: no network namespaces")

// NetworkPossible tells whether processes of this user can have namespaces, or why not.
func NetworkPossible() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: not root", ErrNoNetwork)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoNetwork, err)
	}
	probe := exec.Command("ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1")
	Private(probe)
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", ErrNoNetwork, err, out)
	}
	return nil
}

// Private makes cmd start in a network namespace of its own, in which it can make a Network.
func Private(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
}

// NewNetwork makes this process a router. It refuses to where the process shares the network of the machine.
func NewNetwork() (*Network, error) {
	// In a new namespace not even the loopback interface is up; nobody's machine is like that.
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNetwork, err)
	}
	for _, l := range links {
		if l.Flags&net.FlagUp != 0 {
			return nil, fmt.Errorf("%w: this process was not started as Private does", ErrNoNetwork)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNetwork, err)
	}
	if err := ip("link set lo up"); err != nil {
		return nil, err
	}
	return &Network{spaces: map[string]*os.File{}, cuts: map[string]bool{}}, nil
}

// Close gives the namespaces back. Those of nodes that still run last as long as these.
func (w *Network) Close() {
	for _, f := range w.spaces {
		f.Close()
	}
}

// CutOneWay drops what one node sends to another.
func (w *Network) CutOneWay(from, to *Node) error { return w.drop(from, to) }

// Cut drops what a node and the others send to each other.
func (w *Network) Cut(n *Node, others ...*Node) error {
	var errs []error
	for _, o := range others {
		errs = append(errs, w.drop(n, o), w.drop(o, n))
	}
	return errors.Join(errs...)
}

// Mend undoes all cuts.
func (w *Network) Mend() error {
	var errs []error
	for cut := range w.cuts {
		errs = append(errs, ip("rule del pref 10 "+cut))
	}
	clear(w.cuts)
	return errors.Join(errs...)
}

func (w *Network) drop(from, to *Node) error {
	cut := fmt.Sprintf("from %s to %s blackhole", from.host(), to.host())
	if w.cuts[cut] {
		return nil
	}
	w.cuts[cut] = true
	return ip("rule add pref 10 " + cut)
}

func (n *Node) host() string {
	host, _, _ := strings.Cut(n.Address, ":")
	return host
}

// connect gives each node a namespace and a pair of interfaces, one of them here.
func (w *Network) connect(nodes []*Node) error {
	if w == nil {
		return nil
	}
	for i, n := range nodes {
		space, err := newSpace()
		if err != nil {
			return err
		}
		w.spaces[n.Name] = space
		here := fmt.Sprintf("node%d", i)
		// The new interface is made in the namespace that ip finds open as file 3.
		pair := exec.Command("ip", strings.Fields("link add "+here+" type veth peer name up0 netns /proc/self/fd/3")...)
		pair.ExtraFiles = []*os.File{space}
		if err := run(pair); err != nil {
			return err
		}
		if err := ip("address add "+router+"/32 dev "+here, "link set "+here+" up", "route add "+n.host()+" dev "+here); err != nil {
			return err
		}
		if err := inside(space, func() error {
			return ip("link set lo up", "address add "+n.host()+"/32 dev up0", "link set up0 up", "route add "+router+" dev up0",
				"route add default via "+router)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *Network) space(n *Node) *os.File {
	if w == nil {
		return nil
	}
	return w.spaces[n.Name]
}

func (w *Network) host(k Kind, i int) string {
	if w == nil {
		return loopback
	}
	return fmt.Sprintf(nodeFormat, int(k)+1, i+1)
}

const threadSpace = "/proc/thread-self/ns/net"

// newSpace makes a network namespace, which lasts while the file is open or a process is in it.
func newSpace() (space *os.File, err error) {
	err = visit(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		space, err = os.Open(threadSpace)
		return err
	})
	return space, err
}

// inside runs f on a thread that is in a network namespace; processes that f starts are in it, too.
func inside(space *os.File, f func() error) error {
	if space == nil {
		return f()
	}
	return visit(func() error {
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// visit runs f, which may move its thread to another namespace, and brings the thread back.
func visit(f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open(threadSpace)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	err = f()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked: it must not run anything else.
		return errors.Join(err, fmt.Errorf("onebox: leave a network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// ip runs the program of that name, once for each list of arguments.
func ip(commands ...string) error {
	for _, c := range commands {
		if err := run(exec.Command("ip", strings.Fields(c)...)); err != nil {
			return err
		}
	}
	return nil
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("onebox: %s: %w: %s", cmd, err, out)
	}
	return nil
}
