package onebox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pegasus/conf"
)

// Kill ends nodes with SIGKILL, as a crash of all of them at one moment would, and returns when their processes are gone.
func (c *Cluster) Kill(names ...string) error {
	processes, err := c.running(names)
	defer closeAll(processes)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.signal(kill))
	}
	for _, p := range processes {
		errs = append(errs, p.gone(ctx))
	}
	return errors.Join(errs...)
}

// Start starts nodes that do not run, all at once, and returns when they serve.
func (c *Cluster) Start(names ...string) error {
	if err := haveBinaries(c.bin); err != nil {
		return err
	}
	nodes, err := c.find(names)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.PID() != 0 {
			return fmt.Errorf("onebox: %s runs already", n.Name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	for _, n := range nodes {
		if err := c.start(n); err != nil {
			return err
		}
	}
	return c.waitServing(ctx, nodes)
}

// Pause stops a node's process in its tracks (SIGSTOP) until Resume. To others it looks like a machine that hangs: its
// connections stay, nothing answers.
func (c *Cluster) Pause(name string) error { return c.signal(name, unix.SIGSTOP) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(name string) error { return c.signal(name, unix.SIGCONT) }

func (c *Cluster) signal(name string, s unix.Signal) error {
	processes, err := c.running([]string{name})
	defer closeAll(processes)
	if err != nil {
		return err
	}
	return processes[0].signal(s)
}

// WipeData removes everything that a node stored, as if it got new disks. It must not run.
func (c *Cluster) WipeData(name string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	if n.PID() != 0 {
		return fmt.Errorf("onebox: %s still runs", name)
	}
	folders, err := n.dataFolders()
	if err != nil {
		return err
	}
	for _, dir := range folders {
		// A folder that somebody's edited configuration put elsewhere is not for this to remove.
		if within, err := filepath.Rel(n.Dir, dir); err != nil || !filepath.IsLocal(within) || within == "." {
			return fmt.Errorf("onebox: %s keeps data in %s, outside of its folder", name, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) dataFolders() ([]string, error) {
	if n.Kind == Meta {
		m, err := conf.LoadMeta(n.Config())
		if err != nil {
			return nil, err
		}
		return []string{m.Node.DataDir}, nil
	}
	r, err := conf.LoadReplica(n.Config())
	if err != nil {
		return nil, err
	}
	folders := []string{r.Log.Dir}
	for _, d := range r.Dirs() {
		folders = append(folders, d.Path)
	}
	return folders, nil
}

func (c *Cluster) find(names []string) ([]*Node, error) {
	nodes := make([]*Node, len(names))
	for i, name := range names {
		var err error
		if nodes[i], err = c.Node(name); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// running opens the processes of nodes, all of which must run. The caller closes what it gets, also with an error.
func (c *Cluster) running(names []string) (list []*process, err error) {
	nodes, err := c.find(names)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		p, err := n.process()
		if err != nil {
			return list, err
		}
		if p == nil {
			return list, fmt.Errorf("onebox: %s does not run", n.Name)
		}
		list = append(list, p)
	}
	return list, nil
}

func closeAll(list []*process) {
	for _, p := range list {
		p.close()
	}
}
