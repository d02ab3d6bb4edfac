package onebox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pegasus/conf"
)

// Kind tells the two daemons apart.
type Kind int

// The kinds of nodes.
const (
	Meta Kind = iota
	Replica
)

// String is the stem of names: of the node, its file and its program.
func (k Kind) String() string {
	if k == Meta {
		return "meta"
	}
	return "replica"
}

// Node is one daemon of a cluster.
type Node struct {
	Kind    Kind
	Name    string // "meta1", "replica2"
	Dir     string
	Address string // advertised, from its configuration
}

// Config is the path of the node's configuration file.
func (n *Node) Config() string { return filepath.Join(n.Dir, n.Kind.String()+".toml") }

// Log is the path of the file that takes everything the daemon prints.
func (n *Node) Log() string { return filepath.Join(n.Dir, n.Kind.String()+".log") }

func (n *Node) pidFile() string { return filepath.Join(n.Dir, "pid") }

// The places of a onebox that is not asked to use free ports. Clients' test suites know the first two.
const (
	metaPort  = 34601
	repPort   = 34801
	raftPort  = 34611
	shardPort = 34810 // shard 0 of the first replica server; ten further on the second one's
	shardStep = 10
	// The debug ports.
	metaDebugPort    = 34621
	replicaDebugPort = 34901
)

// layOut writes the configuration files of o, or checks that those in the folder are of the shape asked for. It
// returns the ports that it reserved.
func layOut(o *Options) (*reservation, error) {
	nodes, err := findNodes(o.Dir)
	if err == nil {
		metas := 0
		for _, n := range nodes {
			if n.Kind == Meta {
				metas++
			}
		}
		if metas != o.Metas || len(nodes)-metas != o.Replicas {
			return nil, fmt.Errorf("%w: %s has %d metas and %d replica servers", ErrExists, o.Dir, metas, len(nodes)-metas)
		}
		return nil, nil
	}
	if !os.IsNotExist(err) {
		return nil, err
	}
	held := &reservation{}
	p := plan{o: o, name: "onebox"}
	for i := range o.Metas {
		m := metaPlan{host: o.Network.host(Meta, i), serve: metaPort + i, raft: raftPort + i, debug: metaDebugPort + i}
		if o.FreePorts && o.Network == nil {
			if m.serve, err = held.take(3); err != nil {
				held.release()
				return nil, err
			}
			m.raft, m.debug = m.serve+1, m.serve+2
		}
		p.metas = append(p.metas, m)
	}
	for i := range o.Replicas {
		r := replicaPlan{host: o.Network.host(Replica, i), serve: repPort + i, shards: shardPort + i*shardStep, debug: replicaDebugPort + i}
		if o.FreePorts && o.Network == nil {
			if r.serve, err = held.take(2 + o.Shards); err != nil {
				held.release()
				return nil, err
			}
			r.debug, r.shards = r.serve+1, r.serve+2
		}
		p.replicas = append(p.replicas, r)
	}
	if err := p.write(); err != nil {
		held.release()
		return nil, err
	}
	return held, nil
}

type plan struct {
	o        *Options
	name     string
	metas    []metaPlan
	replicas []replicaPlan
}

type metaPlan struct {
	host               string
	serve, raft, debug int
}

type replicaPlan struct {
	host                 string
	serve, shards, debug int
}

const loopback = "127.0.0.1"

func address(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }

func (p *plan) write() error {
	for i := range p.metas {
		if err := writeNode(p.o.Dir, Meta, i, p.meta(i)); err != nil {
			return err
		}
	}
	for i := range p.replicas {
		if err := writeNode(p.o.Dir, Replica, i, p.replica(i)); err != nil {
			return err
		}
	}
	return nil
}

func writeNode(dir string, k Kind, i int, text string) error {
	n := Node{Kind: k, Dir: filepath.Join(dir, fmt.Sprintf("%v%d", k, i+1))}
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(n.Config(), []byte(text), 0o644)
}

func (p *plan) meta(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Meta server %d of a local cluster. Only what differs from the defaults stands here; conf/pegasus-meta.toml of the
# sources explains every key. Paths are relative to this file. Edit it and restart the node.

cluster_name = %q

[node]
listen = %q
data_dir = "data"

[failure_detection]
grace = "3s"

[console]
changes = "yes"
`, i+1, p.name, address(p.metas[i].host, p.metas[i].serve))
	for _, m := range p.metas {
		fmt.Fprintf(&b, "\n[[peers]]\naddress = %q\nraft = %q\n", address(m.host, m.serve), address(m.host, m.raft))
	}
	return b.String() + p.debug(p.metas[i].debug) + extra(p.o.MetaExtra)
}

func (p *plan) replica(i int) string {
	metas := make([]string, len(p.metas))
	for j, m := range p.metas {
		metas[j] = fmt.Sprintf("%q", address(m.host, m.serve))
	}
	r := p.replicas[i]
	return fmt.Sprintf(`# Replica server %d of a local cluster. Only what differs from the defaults stands here; conf/pegasus-replica.toml of
# the sources explains every key. Paths are relative to this file. Edit it and restart the node.

cluster_name = %q
metas = [%s]

[node]
listen = %q
data_dirs = ["data"]
shards = %d
shard_port_base = %d

[log]
sync = %q
segment_size = "32MiB"
max_total_size = "1GiB"
max_pending = "16MiB"
`, i+1, p.name, strings.Join(metas, ", "), address(r.host, r.serve), p.o.Shards, r.shards, p.o.Sync) + p.store() + p.debug(r.debug) + extra(p.o.ReplicaExtra)
}

// store is the table of that name, unless ReplicaExtra has one.
func (p *plan) store() string {
	if strings.Contains(p.o.ReplicaExtra, "[store]") {
		return ""
	}
	return `
# Several servers share this machine, so each takes little of it.
[store]
block_cache = "64MiB"
write_buffer = "16MiB"
write_buffer_total = "128MiB"
max_background_jobs = 2
`
}

func (p *plan) debug(port int) string {
	if !p.o.Debug || p.o.Network != nil {
		return ""
	}
	return fmt.Sprintf("\n[debug]\nlisten = %q\n", address(loopback, port))
}

func extra(toml string) string {
	if toml == "" {
		return ""
	}
	return "\n" + toml + "\n"
}

// findNodes reads the nodes of a folder from their configuration files. An error that is os.ErrNotExist means that
// there is no cluster in it.
func findNodes(dir string) ([]*Node, error) {
	var nodes []*Node
	for _, k := range []Kind{Meta, Replica} {
		for i := 1; ; i++ {
			n := &Node{Kind: k, Name: fmt.Sprintf("%v%d", k, i)}
			n.Dir = filepath.Join(dir, n.Name)
			var err error
			if n.Address, err = n.readAddress(); os.IsNotExist(err) {
				break
			} else if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, &os.PathError{Op: "find a cluster in", Path: dir, Err: os.ErrNotExist}
	}
	return nodes, nil
}

func (n *Node) readAddress() (string, error) {
	if n.Kind == Meta {
		c, err := conf.LoadMeta(n.Config())
		if err != nil {
			return "", err
		}
		return c.AdvertiseAddress(), nil
	}
	c, err := conf.LoadReplica(n.Config())
	if err != nil {
		return "", err
	}
	return c.AdvertiseAddress(), nil
}
