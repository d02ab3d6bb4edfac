package shell

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/netcore/proto"
)

// traceCommands explain where the time of requests goes; the servers do the measuring.
func (s *Shell) traceCommands() []*cobra.Command {
	trace := note(s.command(groupData, "trace <get|ttl|set|remove|incr> <hash_key> <sort_key> [value]",
		"perform one request and tell where its time went", (*call).trace), noteNoDash)
	trace.ValidArgs = []string{"get", "ttl", "set", "remove", "incr"}
	var t targets
	slow := s.command(groupCluster, "slow_log [count]", "the requests that were slow, and where their time went",
		func(c *call, args []string) error {
			t.kind = "replica-server"
			return c.remote(&t, "slow-log", args)
		})
	slow.Flags().StringVarP(&t.list, "node_list", "l", "", "only these servers, HOST:PORT,HOST:PORT")
	resolveFlag(slow, &t.names)
	flagWords(slow, "node_list", s.completeNodes)
	return []*cobra.Command{trace, note(slow, noteWatch)}
}

// trace asks the primary of the key. What it performs is a real request: a traced set writes.
func (c *call) trace(args []string) error {
	b, err := c.allBytes(args[1:]...)
	if err != nil {
		return err
	}
	raw, err := clientlib.RawKey(nil, b[0], b[1])
	if err != nil {
		return usageError{err}
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		if c.table == "" {
			return usageError{errNoTable}
		}
		cfg, err := a.Client().QueryConfig(ctx, c.table)
		if err != nil {
			return err
		}
		p := &cfg.Partitions[proto.RawKeyHash(raw)%uint64(len(cfg.Partitions))]
		primary := primaryOf(p)
		if primary == "" {
			return fmt.Errorf("partition %v has no primary", p.PID)
		}
		line := []string{args[0], p.PID.String()}
		for _, x := range b {
			line = append(line, string(x))
		}
		text, err := a.Command(ctx, primary, "trace", line...)
		if err != nil {
			return err
		}
		return c.out.Object(fmt.Sprintf("partition %v on %s\n%s", p.PID, primary, text), "gpid", p.PID.String(), "node", primary, "trace", text)
	})
}
