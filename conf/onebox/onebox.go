// Package onebox runs a whole cluster on one machine: metas and replica servers as separate processes on 127.0.0.1, each
// with a configuration file that a person can read and edit. The command pegasus-onebox and tests of the whole system
// stand on it.
//
// It knows the daemons from outside only: their command line, their signals, their ports and the client protocol. All
// state is the folder: nodes are its subfolders, addresses come from their files, so a second process (or a person)
// finds the cluster that a first one left, and an edited file counts at the next start.
//
//	DIR/meta1/meta.toml        configuration
//	DIR/meta1/meta.log         everything that the daemon printed
//	DIR/meta1/pid              its process and the time of its start, while it runs
//	DIR/meta1/data/            its journal
//	DIR/replica1/replica.toml  and so on
package onebox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options describe a cluster. The zero value of a field means its default.
type Options struct {
	Dir      string // folder of the cluster, made when absent; needed
	Bin      string // folder of pegasus-meta and pegasus-replica; needed
	Metas    int    // 1 to 5, default 3
	Replicas int    // 1 to 9, default 3
	Shards   int    // event loops per replica server, 1 to 8, default 1
	// FreePorts takes ports that nobody uses instead of 34601, 34801 and so on. They are kept until Release.
	FreePorts bool
	// Tables are made at the start, unless they exist. Default: temp and stat, as in the onebox of Apache Pegasus.
	Tables []Table
	// NoTables leaves the cluster without tables.
	NoTables bool
	// Sync is log.sync of the replica servers, default "group".
	Sync string
	// DieWithParent kills the daemons when this process ends, however it ends.
	DieWithParent bool
	// Debug gives every daemon a debug port on 127.0.0.1. It cannot be had with Network.
	Debug bool
	// MetaExtra and ReplicaExtra are TOML tables for the end of the nodes' files, other than those that are there already. A
	// table [store] takes the place of the one that would be there, which is for servers that share a small machine.
	MetaExtra, ReplicaExtra string
	// Network gives every node a network namespace of its own; see there.
	Network *Network
	// Progress gets a line per step; nil means none.
	Progress io.Writer
}

// Table is one table to make at the start.
type Table struct {
	Name       string
	Partitions int
	Replicas   int
}

// DefaultTables are what clients' test suites expect of a onebox.
var DefaultTables = []Table{{"temp", 8, 3}, {"stat", 4, 3}}

// ErrExists means that a folder holds a cluster of another shape than asked for.
var ErrExists = errors.New("onebox: the folder holds another cluster")

// Timeout bounds waiting for a cluster to become healthy, or for one daemon to stop or come back.
const Timeout = 60 * time.Second

func (o *Options) ensureDefaults() error {
	if o.Dir == "" || o.Bin == "" {
		return errors.New("onebox: Dir and Bin are needed")
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	setDefault(&o.Metas, 3)
	setDefault(&o.Replicas, 3)
	setDefault(&o.Shards, 1)
	if o.Metas < 1 || o.Metas > 5 || o.Replicas < 1 || o.Replicas > 9 || o.Shards < 1 || o.Shards > 8 {
		return fmt.Errorf("onebox: %d metas, %d replica servers, %d shards: want 1 to 5, 1 to 9, 1 to 8", o.Metas, o.Replicas, o.Shards)
	}
	if o.Sync == "" {
		o.Sync = "group"
	}
	if o.Tables == nil && !o.NoTables {
		o.Tables = DefaultTables
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return nil
}

func setDefault(n *int, value int) {
	if *n == 0 {
		*n = value
	}
}

// Cluster is a set of daemons in a folder. Its methods may be called by one goroutine at a time.
type Cluster struct {
	Dir   string
	Nodes []*Node // metas first

	bin      string
	progress io.Writer
	spawn    spawner
	ports    *reservation
	network  *Network // nil: all nodes share that of this process
}

// Up starts the cluster of o, making its folder first if needed, and returns when all daemons serve and all tables can
// be written. What already runs is left alone. On an error the daemons that this call started are stopped again.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	if err := haveBinaries(o.Bin); err != nil {
		return nil, err
	}
	ports, err := layOut(&o)
	if err != nil {
		return nil, err
	}
	c, err := Open(o.Dir, o.Bin)
	if err != nil {
		ports.release()
		return nil, err
	}
	c.ports, c.progress, c.network = ports, o.Progress, o.Network
	if o.DieWithParent {
		c.spawn = newDyingSpawner()
	}
	if err := c.network.connect(c.Nodes); err != nil {
		c.Release()
		return nil, err
	}
	if err := c.up(ctx, &o); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) up(ctx context.Context, o *Options) (err error) {
	var started []*Node
	defer func() {
		if err == nil {
			return
		}
		for _, n := range started {
			// The first error is the one to tell; a daemon that does not stop is killed.
			_ = c.stop(context.WithoutCancel(ctx), n)
		}
	}()
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			continue
		}
		if err := c.start(n); err != nil {
			return err
		}
		started = append(started, n)
		fmt.Fprintf(c.progress, "started %-9s %s  pid %d\n", n.Name, n.Address, n.PID())
	}
	if err := c.waitServing(ctx, c.Nodes); err != nil {
		return err
	}
	for _, t := range o.Tables {
		if err := c.makeTable(ctx, t); err != nil {
			return err
		}
		fmt.Fprintf(c.progress, "table   %-9s %d partitions\n", t.Name, t.Partitions)
	}
	return nil
}

// Open finds the cluster in a folder without touching its processes.
func Open(dir, bin string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	nodes, err := findNodes(dir)
	if err != nil {
		return nil, err
	}
	return &Cluster{Dir: dir, Nodes: nodes, bin: bin, progress: io.Discard, spawn: plainSpawner{}}, nil
}

// Metas returns the addresses of the meta servers, in the order of their names.
func (c *Cluster) Metas() []string { return c.addresses(Meta) }

// Replicas returns the addresses of the replica servers, in the order of their names.
func (c *Cluster) Replicas() []string { return c.addresses(Replica) }

func (c *Cluster) addresses(k Kind) (list []string) {
	for _, n := range c.Nodes {
		if n.Kind == k {
			list = append(list, n.Address)
		}
	}
	return list
}

// Node returns the node with a name such as "replica2".
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("onebox: no node %q in %s", name, c.Dir)
}

// Restart stops a node in the orderly way if it runs, starts it, and returns when it serves. If no other node is down
// then, it also waits until all tables can be read again.
func (c *Cluster) Restart(name string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	if err := haveBinaries(c.bin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	if err := c.stop(ctx, n); err != nil {
		return err
	}
	if err := c.start(n); err != nil {
		return err
	}
	if err := c.waitServing(ctx, []*Node{n}); err != nil {
		return err
	}
	return c.waitTables(ctx)
}

// Stop ends all daemons with SIGTERM, replica servers first, and returns when they are gone. A daemon that has not
// stopped in time is killed, and the error says so. Data stays.
func (c *Cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	var errs []error
	for i := len(c.Nodes) - 1; i >= 0; i-- {
		errs = append(errs, c.stop(ctx, c.Nodes[i]))
	}
	return errors.Join(errs...)
}

// Release gives back what this process holds for the cluster. Daemons go on, unless they die with their parent.
func (c *Cluster) Release() {
	c.spawn.close()
	c.ports.release()
}

// Wipe removes the folder. Nothing in it may run.
func (c *Cluster) Wipe() error {
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			return fmt.Errorf("onebox: %s still runs", n.Name)
		}
	}
	return os.RemoveAll(c.Dir)
}
