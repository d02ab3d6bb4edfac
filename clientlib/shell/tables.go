package shell

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

func (s *Shell) tableCommands() []*cobra.Command {
	return []*cobra.Command{
		s.lsCommand(), s.appCommand(), s.createCommand(), s.dropCommand(), s.recallCommand(), s.renameCommand(),
		s.compactCommand(), s.compactStatusCommand(), s.addCompactionCommand(),
	}
}

// tableStatus are the states that `ls -s` takes.
var tableStatus = map[string]proto.AppStatus{
	"all": proto.AppInvalid, "available": proto.AppAvailable, "creating": proto.AppCreating,
	"dropping": proto.AppDropping, "dropped": proto.AppDropped,
}

var matchTypes = map[string]proto.PatternMatchType{
	"all": proto.PMTMatchAll, "exact": proto.PMTMatchExact, "anywhere": proto.PMTMatchAnywhere,
	"prefix": proto.PMTMatchPrefix, "postfix": proto.PMTMatchPostfix, "regex": proto.PMTMatchRegex,
}

func (s *Shell) lsCommand() *cobra.Command {
	var all, detailed bool
	var status, pattern, match string
	cmd := s.command(groupTables, "ls", "list the tables", func(c *call, _ []string) error {
		want, ok := tableStatus[status]
		if !ok {
			return usagef("status %q: want one of %s", status, strings.Join(sortedKeys(tableStatus), ", "))
		}
		if all {
			want = proto.AppInvalid
		}
		how := proto.PMTInvalid
		if pattern != "" {
			if how, ok = matchTypes[match]; !ok {
				return usagef("match type %q: want one of %s", match, strings.Join(sortedKeys(matchTypes), ", "))
			}
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			tables, err := a.ListTables(ctx, want, pattern, how)
			if err != nil {
				return err
			}
			slices.SortFunc(tables, func(x, y proto.AppInfo) int { return cmp.Compare(x.AppID, y.AppID) })
			return c.list(ctx, a, tables, detailed)
		})
	})
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "dropped tables too")
	f.BoolVarP(&detailed, "detailed", "d", false, "the health of each table too")
	f.StringVarP(&status, "status", "s", "available", strings.Join(sortedKeys(tableStatus), ", "))
	f.StringVarP(&pattern, "app_name_pattern", "p", "", "only tables with such a name")
	f.StringVarP(&match, "match_type", "m", "anywhere", "how the name matches: "+strings.Join(sortedKeys(matchTypes), ", "))
	flagWords(cmd, "status", choice(sortedKeys(tableStatus)...))
	flagWords(cmd, "match_type", choice(sortedKeys(matchTypes)...))
	return note(cmd, noteWatch)
}

// second is a unix time, nil for none.
func second(t int64) any {
	if t <= 0 {
		return nil
	}
	return time.Unix(t, 0)
}

func statusName(s proto.AppStatus) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "AS_"))
}

func (c *call) list(ctx context.Context, a admin.Admin, tables []proto.AppInfo, detailed bool) error {
	var d report.Doc
	t := d.Table("general_info", "app_id", "status", "app_name", "app_type", "partition_count", "replica_count", "is_stateful",
		"create_time", "drop_time", "drop_expire", "envs_count")
	available := 0
	for i := range tables {
		k := &tables[i]
		if k.Status == proto.AppAvailable {
			available++
		}
		t.Row(k.AppID, statusName(k.Status), k.AppName, k.AppType, k.PartitionCount, k.MaxReplicaCount, k.IsStateful,
			second(k.CreateSecond), second(k.DropSecond), second(k.ExpireSecond), len(k.Envs))
	}
	sum := health{}
	if detailed {
		t := d.Table("healthy_info", "app_id", "app_name", "partition_count", "fully_healthy", "unhealthy", "write_unhealthy", "read_unhealthy")
		for i := range tables {
			k := &tables[i]
			if k.Status != proto.AppAvailable {
				continue
			}
			cfg, err := a.Client().QueryConfig(ctx, k.AppName)
			if err != nil {
				return fmt.Errorf("table %s: %w", k.AppName, err)
			}
			h := healthOf(cfg)
			sum.add(h)
			t.Row(k.AppID, k.AppName, k.PartitionCount, h.full, h.unhealthy, h.write, h.read)
		}
	}
	f := d.Fields("summary").Set("total_app_count", len(tables)).Set("available_app_count", available)
	if detailed {
		f.Set("fully_healthy_partition_count", sum.full).Set("unhealthy_partition_count", sum.unhealthy).
			Set("write_unhealthy_partition_count", sum.write).Set("read_unhealthy_partition_count", sum.read)
	}
	return c.print(&d)
}

func (s *Shell) appCommand() *cobra.Command {
	var detailed bool
	var names resolver
	cmd := s.command(groupTables, "app <app_name>", "a table and where its partitions are", func(c *call, args []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			cfg, err := a.Client().QueryConfig(ctx, args[0])
			if err != nil {
				return err
			}
			return c.app(ctx, args[0], cfg, detailed, &names)
		})
	})
	// admin-cli's table-partitions is `app -d`.
	cmd.Flags().BoolVarP(&detailed, "detailed", "d", false, "every partition")
	resolveFlag(cmd, &names)
	cmd.ValidArgsFunction = s.completeTable
	return note(cmd, noteWatch)
}

func (c *call) app(ctx context.Context, table string, cfg *proto.QueryCfgResponse, detailed bool, names *resolver) error {
	replicas := int32(0)
	if len(cfg.Partitions) > 0 {
		replicas = cfg.Partitions[0].MaxReplicaCount
	}
	var d report.Doc
	d.Fields("general").Set("app_name", table).Set("app_id", cfg.AppID).Set("partition_count", cfg.PartitionCount).
		Set("max_replica_count", replicas)
	if detailed {
		t := d.Table("replicas", "pidx", "ballot", "replica_count", "primary", "secondaries")
		for i := range cfg.Partitions {
			p := &cfg.Partitions[i]
			primary, others := primaryOf(p), secondariesOf(p)
			n := len(others)
			if primary != "" {
				n++
			}
			for j := range others {
				others[j] = names.name(ctx, others[j])
			}
			count := report.Mark{Text: fmt.Sprintf("%d/%d", n, p.MaxReplicaCount), Bad: n < int(p.MaxReplicaCount)}
			t.Row(p.PID.Part, int64(p.Ballot), count, cmp.Or(names.name(ctx, primary), "-"), "["+joined(others)+"]")
		}
		held := map[string]*holdings{}
		tally(held, cfg)
		nodes := d.Table("nodes", "node", "primary", "secondary", "total")
		for _, n := range sortedKeys(held) {
			h := held[n]
			nodes.Row(names.name(ctx, n), h.primaries, h.secondaries, h.primaries+h.secondaries)
		}
	}
	h := healthOf(cfg)
	d.Fields("healthy").Set("fully_healthy_partition_count", h.full).Set("unhealthy_partition_count", h.unhealthy).
		Set("write_unhealthy_partition_count", h.write).Set("read_unhealthy_partition_count", h.read)
	return c.print(&d)
}

func (s *Shell) createCommand() *cobra.Command {
	var partitions, replicas int32
	var fail, idempotent bool
	var envs string
	cmd := s.command(groupTables, "create <app_name>", "create a table and wait until it serves", func(c *call, args []string) error {
		spec := clientlib.TableSpec{
			Name: args[0], Partitions: partitions, Replicas: replicas, AtomicIdempotent: idempotent, IfMissing: !fail,
		}
		if envs != "" {
			spec.Envs = map[string]string{}
			for _, e := range strings.Split(envs, ",") {
				k, v, ok := strings.Cut(e, "=")
				if !ok || k == "" {
					return usagef("envs: %q is not KEY=VALUE", e)
				}
				spec.Envs[k] = v
			}
		}
		client, err := c.connect()
		if err != nil {
			return err
		}
		ctx, cancel := c.withTimeout()
		defer cancel()
		id, err := client.CreateTable(ctx, spec)
		if err != nil {
			return err
		}
		wait, stop := context.WithTimeout(c.ctx, max(c.timeout, time.Minute))
		defer stop()
		if err := client.WaitHealthy(wait, spec.Name, 1); err != nil {
			return fmt.Errorf("table %s was created with id %d, but does not serve yet: %w", spec.Name, id, err)
		}
		return c.out.Object(fmt.Sprintf("create app %q succeeded, app_id %d", spec.Name, id), "app_name", spec.Name, "app_id", id)
	})
	f := cmd.Flags()
	f.Int32VarP(&partitions, "partition_count", "p", 4, "partitions, a power of two")
	f.Int32VarP(&replicas, "replica_count", "r", 3, "members of each partition")
	f.BoolVarP(&fail, "fail_if_exist", "f", false, "an error if the table exists")
	f.BoolVarP(&idempotent, "atomic_idempotent", "i", false, "make atomic writes idempotent before they are replicated")
	f.StringVarP(&envs, "envs", "e", "", "environment, KEY=VALUE,KEY=VALUE")
	return cmd
}

func (s *Shell) dropCommand() *cobra.Command {
	var reserve int64
	cmd := s.command(groupTables, "drop <app_name>", "drop a table", func(c *call, args []string) error {
		if err := c.confirm(fmt.Sprintf("Table %s of cluster %s will be dropped.", args[0], c.named())); err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.DropTable(ctx, args[0], reserve); err != nil {
				return err
			}
			return c.done("drop app %q succeeded", args[0])
		})
	})
	cmd.Flags().Int64VarP(&reserve, "reserve_seconds", "r", 0, "how long its data is kept, 0 for what the cluster is configured to")
	cmd.ValidArgsFunction = s.completeTable
	return note(cmd, noteDanger)
}

// named is the name of the cluster in use, which a question must show.
func (c *call) named() string {
	if _, err := c.connect(); err != nil {
		return "?"
	}
	return c.clusterName()
}

func (s *Shell) recallCommand() *cobra.Command {
	return s.command(groupTables, "recall <app_id> [new_app_name]", "bring a dropped table back", func(c *call, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || id < 1 {
			return usagef("app_id %q: want a number above 0, see `ls -a`", args[0])
		}
		name := ""
		if len(args) > 1 {
			name = args[1]
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			info, err := a.RecallTable(ctx, int32(id), name)
			if err != nil {
				return err
			}
			return c.out.Object(fmt.Sprintf("recall app ok, id(%d), name(%s), partition_count(%d)", info.AppID, info.AppName, info.PartitionCount),
				"app_id", info.AppID, "app_name", info.AppName, "partition_count", info.PartitionCount)
		})
	})
}

func (s *Shell) renameCommand() *cobra.Command {
	cmd := s.command(groupTables, "rename <old_app_name> <new_app_name>", "give a table another name", func(c *call, args []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.RenameTable(ctx, args[0], args[1]); err != nil {
				return err
			}
			if c.table == args[0] {
				c.Shell.table = args[1]
			}
			return c.done("rename app %q to %q succeeded", args[0], args[1])
		})
	})
	cmd.ValidArgsFunction = s.completeTable
	return cmd
}

func (s *Shell) compactCommand() *cobra.Command {
	var level, most int32
	var bottommost bool
	cmd := s.command(groupTables, "start_manual_compact <app_name>", "compact every replica of a table",
		func(c *call, args []string) error {
			spec := admin.CompactSpec{Bottommost: bottommost, MaxRunning: most}
			if c.cmd.Flags().Changed("target_level") {
				spec.TargetLevel = &level
			}
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				if err := a.StartManualCompact(ctx, args[0], spec); err != nil {
					return err
				}
				return c.done("compaction of %q has begun", args[0])
			})
		})
	f := cmd.Flags()
	f.Int32VarP(&level, "target_level", "l", -1, "level to compact into, -1 for the servers' choice")
	f.BoolVarP(&bottommost, "bottommost", "b", false, "rewrite the last level too")
	f.Int32VarP(&most, "max_running_count", "c", 0, "replicas compacting at a time on one node, 0 for no limit")
	cmd.ValidArgsFunction = s.completeTable
	return cmd
}

func (s *Shell) compactStatusCommand() *cobra.Command {
	cmd := s.command(groupTables, "query_manual_compact <app_name>", "how far the compaction of a table is",
		func(c *call, args []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				done, err := a.ManualCompactProgress(ctx, args[0])
				if err != nil {
					return err
				}
				return c.out.Object(fmt.Sprintf("%d%% of the replicas have finished", done), "progress", done)
			})
		})
	cmd.ValidArgsFunction = s.completeTable
	return note(cmd, noteWatch)
}
