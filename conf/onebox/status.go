package onebox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"pegasus/netcore/proto"
)

// statusPatience bounds what Status asks of the cluster.
const statusPatience = 3 * time.Second

// Status prints what runs and how the tables are. The error says that something that should work does not.
func (c *Cluster) Status(w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	alive, metaErr := aliveNodes(ctx, client)

	down := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\taddress\tpid\tstate")
	for _, n := range c.Nodes {
		state, pid := "serving", "-"
		if p := n.PID(); p != 0 {
			pid = fmt.Sprint(p)
		}
		switch err := accepts(ctx, n.Address); {
		case pid == "-":
			state = "down"
		case err != nil:
			state = "running, does not listen"
		case n.Kind == Replica && metaErr == nil && !alive[n.Address]:
			state = "running, not alive for the meta leader"
		}
		if state != "serving" {
			down++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", n.Name, n.Address, pid, state)
	}
	t.Flush()
	if metaErr != nil {
		return fmt.Errorf("onebox: no meta leader answers: %w", metaErr)
	}
	tables, err := client.ListTables(ctx, proto.AppAvailable)
	if err != nil {
		return fmt.Errorf("onebox: list tables: %w", err)
	}
	fmt.Fprintln(t, "\ntable\tpartitions\twith a primary")
	bad := 0
	for i := range tables {
		cfg, err := client.QueryConfig(ctx, tables[i].AppName)
		if err != nil {
			return fmt.Errorf("onebox: table %s: %w", tables[i].AppName, err)
		}
		led := 0
		for j := range cfg.Partitions {
			if p := cfg.Partitions[j].Primary; p.IsValid() && alive[p.String()] {
				led++
			}
		}
		if led < len(cfg.Partitions) {
			bad++
		}
		fmt.Fprintf(t, "%s\t%d\t%d\n", tables[i].AppName, len(cfg.Partitions), led)
	}
	t.Flush()
	if down > 0 || bad > 0 {
		return errors.New("onebox: not everything serves")
	}
	return nil
}
