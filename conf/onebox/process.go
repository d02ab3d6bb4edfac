package onebox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	kill = unix.SIGKILL
	term = unix.SIGTERM
)

// PID returns the process of the node, or 0 when it does not run. A number left over from a crash, which now belongs
// to another program, is told apart by the time at which the process was forked. (Its command line would not do: it is
// empty for a moment while the daemon's program is loaded.)
func (n *Node) PID() int {
	text, err := os.ReadFile(n.pidFile())
	if err != nil {
		return 0
	}
	number, forked, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return 0
	}
	now, alive := forkTime(pid)
	if !alive || now != forked {
		return 0
	}
	return pid
}

// forkTime returns the kernel's start time of a process, and whether it runs. A zombie does not.
func forkTime(pid int) (ticks string, alive bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The second field is the name in brackets and may hold anything; state is the third field, start time the 22nd.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const state, start = 3 - 3, 22 - 3
	if len(fields) <= start {
		return "", false
	}
	return fields[start], fields[state] != "Z" && fields[state] != "X"
}

// start runs the daemon of a node that does not run.
func (c *Cluster) start(n *Node) error {
	log, err := os.OpenFile(n.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.bin, "pegasus-"+n.Kind.String()), "--config", n.Config())
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.Dir, log, log
	// A session of its own: Ctrl-C in the terminal that started the cluster is not for the daemons.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.spawn.start(cmd, c.network.space(n)); err != nil {
		return fmt.Errorf("onebox: start %s: %w", n.Name, err)
	}
	forked, _ := forkTime(cmd.Process.Pid) // empty if it has ended already, which PID takes for what it is
	return os.WriteFile(n.pidFile(), fmt.Appendf(nil, "%d %s\n", cmd.Process.Pid, forked), 0o644)
}

// stop ends a node in the orderly way and kills it if it has not gone when ctx ends.
func (c *Cluster) stop(ctx context.Context, n *Node) error {
	// A paused process acts on a signal when it is resumed.
	err := n.end(ctx, term, unix.SIGCONT)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	last, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	return errors.Join(fmt.Errorf("onebox: %s ignored SIGTERM and was killed", n.Name), n.end(last, kill))
}

// end sends signals and waits for the process to go. A node that does not run has ended.
func (n *Node) end(ctx context.Context, signals ...syscall.Signal) error {
	p, err := n.process()
	if err != nil || p == nil {
		return err
	}
	defer p.close()
	return errors.Join(p.signal(signals...), p.gone(ctx))
}

// process is the running daemon of a node, whatever becomes of its number.
type process struct {
	node *Node
	fd   int
}

// process opens the node's daemon; nil when it does not run.
func (n *Node) process() (*process, error) {
	pid := n.PID()
	if pid == 0 {
		return nil, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("onebox: %s: %w", n.Name, err)
	}
	return &process{n, fd}, nil
}

func (p *process) close() { unix.Close(p.fd) }

func (p *process) signal(signals ...syscall.Signal) error {
	for _, s := range signals {
		if err := unix.PidfdSendSignal(p.fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("onebox: signal %s: %w", p.node.Name, err)
		}
	}
	return nil
}

// gone waits for the process to end with all its threads, as only then its files and ports are free: the list of the
// kernel shows a dead process earlier.
func (p *process) gone(ctx context.Context) error {
	for {
		left := 100 * time.Millisecond // so that the end of ctx without a deadline is seen, too
		if at, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(at))
		}
		events := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		switch gone, err := unix.Poll(events, int(max(left, 0).Milliseconds())); {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("onebox: wait for %s: %w", p.node.Name, err)
		case gone > 0:
			return os.Remove(p.node.pidFile())
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("onebox: wait for %s: %w", p.node.Name, err)
		}
	}
}

// lastWords returns the end of the node's log, for error messages.
func (n *Node) lastWords() string {
	const most = 4096
	text, err := os.ReadFile(n.Log())
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	return strings.TrimSpace(string(text))
}

// spawner starts processes and reaps those that end while this process lives.
type spawner interface {
	// start runs cmd, in a network namespace unless that is nil.
	start(cmd *exec.Cmd, space *os.File) error
	close()
}

// plainSpawner leaves daemons behind when this process ends.
type plainSpawner struct{}

func (plainSpawner) start(cmd *exec.Cmd, space *os.File) error {
	err := inside(space, cmd.Start)
	if err == nil {
		go cmd.Wait() // reap; the exit is seen through the pidfd
	}
	return err
}

func (plainSpawner) close() {}

// dyingSpawner has the kernel kill daemons when this process ends. The kernel means the thread that forked them, so
// one thread starts them all and lives until close.
type dyingSpawner struct {
	jobs chan func()
}

func newDyingSpawner() *dyingSpawner {
	s := &dyingSpawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *dyingSpawner) start(cmd *exec.Cmd, space *os.File) error {
	cmd.SysProcAttr.Pdeathsig = kill
	done := make(chan error)
	s.jobs <- func() { done <- plainSpawner{}.start(cmd, space) }
	return <-done
}

func (s *dyingSpawner) close() { close(s.jobs) }
