package shell

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// envCommands are about the settings of a table: its environment, and those with an RPC of their own.
func (s *Shell) envCommands() []*cobra.Command {
	all := false
	prefix := ""
	clearEnvs := s.command(groupTables, "clear_app_envs", "remove environment variables of the table in use",
		func(c *call, _ []string) error {
			if all == (prefix != "") {
				return usagef("give either --all or --prefix")
			}
			return c.envs("the environment of table %s is cleared", func(ctx context.Context, a admin.Admin, table string) error {
				if all {
					if err := c.confirm("Every environment variable of table " + table + " will be removed."); err != nil {
						return err
					}
				}
				return a.ClearEnvs(ctx, table, prefix)
			})
		})
	clearEnvs.Flags().BoolVarP(&all, "all", "a", false, "all of them")
	clearEnvs.Flags().StringVarP(&prefix, "prefix", "p", "", "those that begin so")
	count := s.command(groupTables, "set_replica_count <app_name> <replica_count>", "change how many members each partition has", (*call).setReplicaCount)
	count.ValidArgsFunction = s.completeTable
	get := s.command(groupTables, "get_replica_count <app_name>", "how many members each partition shall have",
		func(c *call, args []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				n, err := a.ReplicaCount(ctx, args[0])
				if err != nil {
					return err
				}
				return c.out.Object(fmt.Sprintf("the replica count of app(%s) is %d", args[0], n), "app_name", args[0], "max_replica_count", n)
			})
		})
	get.ValidArgsFunction = s.completeTable
	return []*cobra.Command{
		note(s.command(groupTables, "get_app_envs", "environment of the table in use", (*call).getEnvs), noteWatch),
		s.command(groupTables, "set_app_envs <key> <value> [key value...]", "set environment variables of the table in use", (*call).setEnvs),
		s.command(groupTables, "del_app_envs <key> [key...]", "remove environment variables of the table in use",
			func(c *call, args []string) error {
				return c.envs("removed from the environment of table %s", func(ctx context.Context, a admin.Admin, table string) error {
					return a.DelEnvs(ctx, table, args...)
				})
			}),
		note(clearEnvs, noteDanger), get, note(count, noteDanger),
		s.idempotentCommand("get_atomic_idempotent", "whether atomic writes are made idempotent", nil),
		s.idempotentCommand("enable_atomic_idempotent", "make atomic writes idempotent before they are replicated", ptr(true)),
		s.idempotentCommand("disable_atomic_idempotent", "replicate atomic writes as they are", ptr(false)),
	}
}

func ptr[T any](v T) *T { return &v }

// envs changes the environment of the table in use; said is what is told then, with the table's name.
func (c *call) envs(said string, change func(ctx context.Context, a admin.Admin, table string) error) error {
	if err := c.load(); err != nil {
		return err
	}
	if c.table == "" {
		return usageError{errNoTable}
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		if err := change(ctx, a, c.table); err != nil {
			return err
		}
		return c.done(said, c.table)
	})
}

func (c *call) setEnvs(args []string) error {
	if len(args)%2 != 0 {
		return usagef("key %q has no value", args[len(args)-1])
	}
	envs := map[string]string{}
	for i := 0; i < len(args); i += 2 {
		envs[args[i]] = args[i+1]
	}
	return c.envs("set in the environment of table %s", func(ctx context.Context, a admin.Admin, table string) error {
		return a.SetEnvs(ctx, table, envs)
	})
}

func (c *call) getEnvs([]string) error {
	if c.table == "" {
		return usageError{errNoTable}
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		tables, err := a.ListTables(ctx, proto.AppAvailable, c.table, proto.PMTMatchExact)
		if err != nil {
			return err
		}
		for i := range tables {
			if tables[i].AppName != c.table { // a server that knows no patterns answers all
				continue
			}
			var d report.Doc
			f := d.Fields("app_envs")
			for _, k := range sortedKeys(tables[i].Envs) {
				f.Set(k, tables[i].Envs[k])
			}
			return c.print(&d)
		}
		return fmt.Errorf("there is no table %s", c.table)
	})
}

func (c *call) setReplicaCount(args []string) error {
	var n int32
	if _, err := fmt.Sscanf(args[1], "%d", &n); err != nil || n < 1 {
		return usagef("replica_count %q: want a number above 0", args[1])
	}
	if err := c.confirm(fmt.Sprintf("Every partition of table %s will have %d members.", args[0], n)); err != nil {
		return err
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		old, err := a.SetReplicaCount(ctx, args[0], n)
		if err != nil {
			return err
		}
		return c.out.Object(fmt.Sprintf("the replica count of app(%s) was %d and is %d", args[0], old, n), "app_name", args[0],
			"old_max_replica_count", old, "max_replica_count", n)
	})
}

func (s *Shell) idempotentCommand(name, short string, set *bool) *cobra.Command {
	cmd := s.command(groupTables, name+" <app_name>", short, func(c *call, args []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			var on bool
			var err error
			if set == nil {
				on, err = a.AtomicIdempotent(ctx, args[0])
			} else {
				on = *set
				_, err = a.SetAtomicIdempotent(ctx, args[0], on)
			}
			if err != nil {
				return err
			}
			return c.out.Object(fmt.Sprintf("atomic_idempotent of app(%s) is %v", args[0], on), "app_name", args[0], "atomic_idempotent", on)
		})
	})
	cmd.ValidArgsFunction = s.completeTable
	return cmd
}
