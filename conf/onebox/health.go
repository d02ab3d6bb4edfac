package onebox

import (
	"context"
	"fmt"
	"net"
	"time"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// look is how often a condition is looked at while it does not hold.
const look = 50 * time.Millisecond

// waitFor returns when check does not fail any more, or with its last failure when ctx ends. It gives up at once when
// one of the nodes is gone, for then nothing will change.
func (c *Cluster) waitFor(ctx context.Context, nodes []*Node, what string, check func(context.Context) error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, n := range nodes {
			if n.PID() == 0 {
				return fmt.Errorf("onebox: %s stopped while waiting for %s; the end of %s:\n%s", n.Name, what, n.Log(), n.lastWords())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("onebox: waiting for %s: %w (see the logs in %s)", what, err, c.Dir)
		case <-tick.C:
		}
	}
}

// waitServing returns when the nodes accept connections and, for replica servers, the meta leader counts them as alive.
func (c *Cluster) waitServing(ctx context.Context, nodes []*Node) error {
	replicas := 0
	for _, n := range nodes {
		if n.Kind == Replica {
			replicas++
		}
		if err := c.waitFor(ctx, nodes, n.Name+" to listen on "+n.Address, func(ctx context.Context) error {
			return accepts(ctx, n.Address)
		}); err != nil {
			return err
		}
	}
	if replicas == 0 {
		return nil
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	return c.waitFor(ctx, nodes, "the meta leader to know the replica servers", func(ctx context.Context) error {
		alive, err := aliveNodes(ctx, client)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Kind == Replica && !alive[n.Address] {
				return fmt.Errorf("%s (%s) is not alive for the meta leader", n.Name, n.Address)
			}
		}
		return nil
	})
}

func (c *Cluster) makeTable(ctx context.Context, t Table) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	spec := clientlib.TableSpec{Name: t.Name, Partitions: int32(t.Partitions), Replicas: int32(t.Replicas), IfMissing: true}
	if _, err := client.CreateTable(ctx, spec); err != nil {
		return fmt.Errorf("onebox: create table %s with %d partitions: %w", t.Name, t.Partitions, err)
	}
	return c.waitTable(ctx, client, t.Name, t.Replicas)
}

// waitTables waits for all tables of a cluster whose nodes all run. The meta leader goes on to count a node as alive for
// a while after its death, so a restarted one looks healthy to it before it serves.
func (c *Cluster) waitTables(ctx context.Context) error {
	for _, n := range c.Nodes {
		if n.PID() == 0 {
			return nil
		}
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	tables, err := client.ListTables(ctx, proto.AppAvailable)
	if err != nil {
		return fmt.Errorf("onebox: list tables: %w", err)
	}
	for i := range tables {
		if err := c.waitTable(ctx, client, tables[i].AppName, int(tables[i].MaxReplicaCount)); err != nil {
			return err
		}
	}
	return nil
}

// waitTable waits until every partition of a table has its members, or as many as there are replica servers.
func (c *Cluster) waitTable(ctx context.Context, client *clientlib.Client, name string, members int) error {
	servers := 0
	for _, n := range c.Nodes {
		if n.Kind == Replica {
			servers++
		}
	}
	return c.waitFor(ctx, c.Nodes, "table "+name, func(ctx context.Context) error {
		// A short look each time, so that a daemon that died is noticed.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return client.WaitHealthy(ctx, name, min(members, servers))
	})
}

// Client returns a client of the cluster. The caller closes it.
func (c *Cluster) Client() (*clientlib.Client, error) {
	return clientlib.Dial(clientlib.Options{Metas: c.Metas()})
}

func accepts(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func aliveNodes(ctx context.Context, client *clientlib.Client) (map[string]bool, error) {
	list, err := client.ListNodes(ctx, proto.NodeAlive)
	if err != nil {
		return nil, err
	}
	alive := make(map[string]bool, len(list))
	for _, n := range list {
		alive[n.Node.String()] = true
	}
	return alive, nil
}
