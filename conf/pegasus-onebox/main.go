// Command pegasus-onebox runs a local cluster: see package onebox for what it is and `pegasus-onebox help` for its use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"pegasus/conf/onebox"
)

const usage = `pegasus-onebox [flags] COMMAND

  start           make the cluster if it is not there, start what does not run, wait until all of it serves
  stop            stop all daemons in the orderly way; data stays
  status          what runs, and how the tables are; fails when something is down
  kill NODE       end one daemon with SIGKILL, as a crash would
  restart NODE    stop one daemon if it runs and start it again
  wipe            stop everything and remove the folder
  run -- CMD ...  start a cluster of its own in a temporary folder on free ports, run CMD with PEGASUS_METAS and
                  PEGASUS_REPLICAS (addresses joined by commas) and PEGASUS_ONEBOX_DIR set, stop, and exit with
                  CMD's status

NODE is meta1, meta2, ..., replica1, replica2, ...

flags:
`

type command struct {
	o   onebox.Options
	out io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := realMain(ctx, os.Args[1:], os.Stdout)
	stop()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func realMain(ctx context.Context, args []string, out io.Writer) error {
	c := command{out: out}
	f := flag.NewFlagSet("pegasus-onebox", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprint(out, usage)
		f.PrintDefaults()
	}
	f.StringVar(&c.o.Dir, "dir", ".onebox", "folder of the cluster")
	f.StringVar(&c.o.Bin, "bin", binFolder(), "folder of pegasus-meta and pegasus-replica")
	f.IntVar(&c.o.Metas, "metas", 0, "meta servers, for a new cluster (default 3)")
	f.IntVar(&c.o.Replicas, "replicas", 0, "replica servers, for a new cluster (default 3)")
	f.IntVar(&c.o.Shards, "shards", 0, "event loops per replica server, for a new cluster (default 1)")
	f.StringVar(&c.o.Sync, "sync", "", `when a write is acknowledged, "group" or "os", for a new cluster (default "group")`)
	f.BoolVar(&c.o.FreePorts, "free-ports", false, "free ports instead of 34601.. and 34801.., for a new cluster")
	f.BoolVar(&c.o.Debug, "debug", false, "give every daemon a debug port (profiles and counters), for a new cluster")
	if err := f.Parse(args); err != nil {
		return err
	}
	c.o.Progress = out
	rest := f.Args()
	if len(rest) == 0 || rest[0] == "help" {
		f.Usage()
		return nil
	}
	return c.dispatch(ctx, rest[0], rest[1:])
}

// binFolder is where this program lies: make puts the daemons beside it.
func binFolder() string {
	self, err := os.Executable()
	if err != nil {
		return "bin"
	}
	return filepath.Dir(self)
}

func (c *command) dispatch(ctx context.Context, name string, args []string) error {
	takes := map[string]int{"start": 0, "stop": 0, "status": 0, "wipe": 0, "kill": 1, "restart": 1}
	want, ok := takes[name]
	switch {
	case name == "run":
		return c.run(ctx, args)
	case !ok:
		return fmt.Errorf("unknown command %q; `pegasus-onebox help` lists them", name)
	case len(args) != want:
		return fmt.Errorf("%s takes %d arguments, not %d; `pegasus-onebox help` shows them", name, want, len(args))
	case name == "start":
		return c.start(ctx)
	}
	cluster, err := onebox.Open(c.o.Dir, c.o.Bin)
	if errors.Is(err, os.ErrNotExist) {
		if name == "stop" || name == "wipe" {
			fmt.Fprintf(c.out, "there is no cluster in %s\n", c.o.Dir)
			return nil
		}
		return fmt.Errorf("there is no cluster in %s; `pegasus-onebox start` makes one", c.o.Dir)
	}
	if err != nil {
		return err
	}
	defer cluster.Release()
	switch name {
	case "status":
		return cluster.Status(c.out)
	case "stop":
		return c.told(cluster.Stop(), "stopped; data stays in "+cluster.Dir)
	case "kill":
		return c.told(cluster.Kill(args[0]), "killed "+args[0])
	case "restart":
		return c.told(cluster.Restart(args[0]), args[0]+" serves")
	}
	if err := cluster.Stop(); err != nil {
		return err
	}
	return c.told(cluster.Wipe(), "removed "+cluster.Dir)
}

func (c *command) told(err error, done string) error {
	if err == nil {
		fmt.Fprintln(c.out, done)
	}
	return err
}

func (c *command) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onebox.Timeout)
	defer cancel()
	// A folder that is there keeps its shape: numbers that were not given are taken from it.
	if there, err := onebox.Open(c.o.Dir, c.o.Bin); err == nil {
		if c.o.Metas == 0 {
			c.o.Metas = len(there.Metas())
		}
		if c.o.Replicas == 0 {
			c.o.Replicas = len(there.Replicas())
		}
	}
	cluster, err := onebox.Up(ctx, c.o)
	if err != nil {
		return err
	}
	defer cluster.Release()
	c.next(cluster)
	return nil
}

// next prints a line for each thing that one can do now.
func (c *command) next(cluster *onebox.Cluster) {
	self := "pegasus-onebox"
	if len(os.Args) > 0 {
		self = os.Args[0]
	}
	if c.o.Dir != ".onebox" {
		self += " --dir " + c.o.Dir
	}
	metas := strings.Join(cluster.Metas(), ",")
	fmt.Fprintf(c.out, "\nthe cluster serves; what to do next:\n")
	for _, l := range [][2]string{
		{"point a client at it", metas},
		{"look around and change things", filepath.Join(c.o.Bin, "pegasus-shell") + " -c " + metas},
		{"see what runs", self + " status"},
		{"put load on it", filepath.Join(c.o.Bin, "pegasus-bench") + " --metas " + metas + " --table temp"},
		{"crash a node", self + " kill replica2"},
		{"bring it back", self + " restart replica2"},
		{"read its log", "tail -f " + filepath.Join(cluster.Dir, "replica2", "replica.log")},
		{"change its configuration", "edit " + filepath.Join(cluster.Dir, "replica2", "replica.toml") + ", then restart it"},
		{"stop, keeping the data", self + " stop"},
		{"remove everything", self + " wipe"},
	} {
		fmt.Fprintf(c.out, "  %-31s%s\n", l[0], l[1])
	}
}

func (c *command) run(ctx context.Context, args []string) (err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("run needs a command: pegasus-onebox run -- CMD ...")
	}
	if c.o.Dir, err = os.MkdirTemp("", "onebox-"); err != nil {
		return err
	}
	c.o.FreePorts, c.o.DieWithParent, c.o.Progress = true, true, io.Discard
	up, cancel := context.WithTimeout(ctx, onebox.Timeout)
	cluster, err := onebox.Up(up, c.o)
	cancel()
	if err != nil {
		return err
	}
	defer cluster.Release()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"PEGASUS_METAS="+strings.Join(cluster.Metas(), ","),
		"PEGASUS_REPLICAS="+strings.Join(cluster.Replicas(), ","),
		"PEGASUS_ONEBOX_DIR="+cluster.Dir)
	failed := cmd.Run()
	if err := cluster.Stop(); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		fmt.Fprintf(os.Stderr, "the logs of the cluster are in %s\n", cluster.Dir)
		return failed
	}
	return cluster.Wipe()
}
