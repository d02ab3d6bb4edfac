package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

func (s *Shell) statCommands() []*cobra.Command {
	return []*cobra.Command{
		s.remoteCommand(), s.fixedRemote("server_info", "version and start time of servers", "server-info"),
		s.fixedRemote("flush_log", "have servers write out their logs", "flush-log"),
		s.serverStatCommand(), s.appStatCommand(), s.appDiskCommand(),
	}
}

// targets are the servers that a command is for.
type targets struct {
	kind, list string
	names      resolver
}

func (s *Shell) targetFlags(cmd *cobra.Command, t *targets) {
	f := cmd.Flags()
	f.StringVarP(&t.kind, "type", "t", "all", "all, meta-server or replica-server")
	f.StringVarP(&t.list, "node_list", "l", "", "only these servers, HOST:PORT,HOST:PORT")
	resolveFlag(cmd, &t.names)
	flagWords(cmd, "type", choice("all", "meta-server", "replica-server"))
	flagWords(cmd, "node_list", s.completeNodes)
}

// find returns the addresses of the servers; of the replica servers only those that live.
func (c *call) find(t *targets) (metas, replicas []string, err error) {
	if !slices.Contains([]string{"all", "meta-server", "replica-server"}, t.kind) {
		return nil, nil, usagef("type %q: want all, meta-server or replica-server", t.kind)
	}
	err = c.ask(func(ctx context.Context, a admin.Admin) error {
		if t.kind != "replica-server" {
			if metas, err = c.metas(ctx, a); err != nil {
				return err
			}
		}
		if t.kind == "meta-server" {
			return nil
		}
		nodes, err := a.ListNodes(ctx, proto.NodeAlive)
		for i := range nodes {
			replicas = append(replicas, nodeAddress(&nodes[i]))
		}
		return err
	})
	if err != nil || t.list == "" {
		return metas, replicas, err
	}
	wanted := strings.Split(t.list, ",")
	known := slices.Concat(metas, replicas)
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			replicas = append(replicas, w) // a server that meta does not know, or takes for dead, may answer all the same
		}
	}
	keep := func(address string) bool { return !slices.Contains(wanted, address) }
	return slices.DeleteFunc(metas, keep), slices.DeleteFunc(replicas, keep), nil
}

func (s *Shell) remoteCommand() *cobra.Command {
	var t targets
	cmd := s.command(groupCluster, "remote_command <command> [arguments...]", "run a command inside servers (`remote_command help` lists them)",
		func(c *call, args []string) error { return c.remote(&t, args[0], args[1:]) })
	s.targetFlags(cmd, &t)
	return note(cmd, noteWatch)
}

// fixedRemote is a remote command that has a name of its own.
func (s *Shell) fixedRemote(name, short, remote string) *cobra.Command {
	var t targets
	cmd := s.command(groupCluster, name, short, func(c *call, _ []string) error { return c.remote(&t, remote, nil) })
	s.targetFlags(cmd, &t)
	return cmd
}

func (c *call) remote(t *targets, name string, args []string) error {
	metas, replicas, err := c.find(t)
	if err != nil {
		return err
	}
	a, err := c.admin()
	if err != nil {
		return err
	}
	type answer struct {
		text string
		err  error
	}
	list := slices.Concat(metas, replicas)
	ctx, cancel := c.withTimeout()
	defer cancel()
	answers := each(list, func(address string) answer {
		text, err := a.Command(ctx, address, name, args...)
		return answer{text, err}
	})
	var d report.Doc
	failed := false
	table := &report.Table{}
	if c.out.JSON {
		table = d.Table("", "role", "node", "succeeded", "result")
	}
	for i, address := range list {
		role := "meta-server"
		if i >= len(metas) {
			role = "replica-server"
		}
		text := strings.TrimRight(answers[i].text, "\n")
		if answers[i].err != nil {
			text, failed = answers[i].err.Error(), true
		}
		if c.out.JSON {
			table.Row(role, t.names.name(ctx, address), answers[i].err == nil, text)
		} else {
			d.Text(role+" "+t.names.name(ctx, address), text)
		}
	}
	if err := c.print(&d); err != nil {
		return err
	}
	if failed {
		return errNotAll
	}
	return nil
}

// serverColumns are what server_stat shows of replica servers and of metas.
var (
	serverColumns = append(append([]column{}, trafficColumns...),
		column{name: "replicas", metrics: []string{"total_replicas"}},
		column{name: "primaries", metrics: []string{"primary_replicas"}},
		column{name: "sessions", metrics: []string{"network_server_sessions"}},
		column{name: "memused_res_mb", metrics: []string{"resident_mem_usage_mb"}})
	metaColumns = []column{
		{name: "alive_nodes", metrics: []string{"alive_replica_servers"}},
		{name: "unalive_nodes", metrics: []string{"unalive_replica_servers"}},
		{name: "healthy", metrics: []string{"healthy_partitions"}},
		{name: "unwritable", metrics: []string{"unwritable_partitions"}},
		{name: "unreadable", metrics: []string{"unreadable_partitions"}},
		{name: "config_changes", metrics: []string{"partition_configuration_changes"}},
		{name: "memused_res_mb", metrics: []string{"resident_mem_usage_mb"}},
	}
)

func (s *Shell) serverStatCommand() *cobra.Command {
	var t targets
	var interval int64
	cmd := s.command(groupCluster, "server_stat", "traffic and resources of each server", func(c *call, _ []string) error {
		metas, replicas, err := c.find(&t)
		if err != nil {
			return err
		}
		var d report.Doc
		for _, part := range []struct {
			name    string
			list    []string
			columns []column
		}{{"meta_servers", metas, metaColumns}, {"replica_servers", replicas, serverColumns}} {
			if len(part.list) == 0 {
				continue
			}
			f, err := c.figures(part.list, part.columns, interval)
			if err != nil && !errors.Is(err, errNoPage) { // of which all that is known is their address
				return err
			}
			heads := []string{"address"}
			for _, k := range part.columns {
				heads = append(heads, k.name)
			}
			table := d.Table(part.name, heads...)
			for _, address := range part.list {
				row := []any{t.names.name(c.ctx, address)}
				for _, k := range part.columns {
					row = append(row, f.of(address, k))
				}
				table.Row(row...)
			}
		}
		return c.print(&d)
	})
	s.targetFlags(cmd, &t)
	intervalFlag(cmd, &interval)
	return note(cmd, noteWatch)
}

// storageColumns are of every replica; where a table's size is asked for, only its primaries count.
var storageColumns = []column{
	{name: "file_mb", metrics: []string{"rdb_total_sst_size_mb"}},
	{name: "file_num", metrics: []string{"rdb_total_sst_files"}},
	{name: "keys", metrics: []string{"rdb_estimated_keys"}},
	{name: "mem_tbl_mb", metrics: []string{"rdb_memtable_mem_usage_bytes"}, scale: mebi},
	{name: "mem_idx_mb", metrics: []string{"rdb_index_and_filter_blocks_mem_usage_bytes"}, scale: mebi},
}

var trafficExtra = []column{
	rateOf("expired", "read_expired_values"), rateOf("filtered", "read_filtered_values"), rateOf("abnormal", "abnormal_read_requests"),
	rateOf("delayed", "throttling_delayed_read_requests", "throttling_delayed_write_requests"),
	rateOf("rejected", "throttling_rejected_read_requests", "throttling_rejected_write_requests"),
}

func (s *Shell) appStatCommand() *cobra.Command {
	var table string
	var only, usage bool
	var interval int64
	cmd := s.command(groupTables, "app_stat", "traffic and size of each table, or of the partitions of one",
		func(c *call, _ []string) error {
			traffic := slices.Concat(trafficColumns, trafficExtra)
			if only {
				traffic = trafficColumns
			}
			if usage && !only {
				traffic = nil
			}
			storage := storageColumns
			if only {
				storage = nil
			}
			return c.appStat(table, traffic, storage, interval)
		})
	f := cmd.Flags()
	f.StringVarP(&table, "app_name", "a", "", "the partitions of this table")
	f.BoolVarP(&only, "only_qps", "q", false, "traffic only")
	f.BoolVarP(&usage, "only_usage", "u", false, "size only")
	intervalFlag(cmd, &interval)
	flagWords(cmd, "app_name", s.completeTables)
	return note(cmd, noteWatch)
}

// tableOf reads which partition a replica entity is of.
func tableOf(e *entity) (app, part string, ok bool) {
	if e.Type != "replica" {
		return "", "", false
	}
	app, part = e.Attributes["table_id"], e.Attributes["partition_id"]
	return app, part, app != "" && part != ""
}

func (c *call) appStat(table string, traffic, storage []column, interval int64) error {
	var all map[string]*proto.QueryCfgResponse
	err := c.ask(func(ctx context.Context, a admin.Admin) (err error) {
		if table == "" {
			all, err = configs(ctx, a)
			return err
		}
		cfg, err := a.Client().QueryConfig(ctx, table)
		all = map[string]*proto.QueryCfgResponse{table: cfg}
		return err
	})
	if err != nil {
		return err
	}
	primary := map[string]string{} // node by partition
	seen := map[string]*holdings{}
	for _, cfg := range all {
		tally(seen, cfg)
		for i := range cfg.Partitions {
			p := &cfg.Partitions[i]
			primary[p.PID.String()] = primaryOf(p)
		}
	}
	names, rates := metricsOf(slices.Concat(traffic, storage))
	r, err := c.readTwice(sortedKeys(seen), names, rates, interval)
	if err != nil {
		return err
	}
	keyOf := func(onlyPrimary bool) func(string, *entity) string {
		return func(address string, e *entity) string {
			app, part, ok := tableOf(e)
			if !ok || onlyPrimary && primary[app+"."+part] != address {
				return ""
			}
			if table != "" {
				return app + "." + part
			}
			return app
		}
	}
	requests, sizes := r.sum(keyOf(false)), r.sum(keyOf(true))
	heads := []string{"app_name", "app_id", "pcount"}
	if table != "" {
		heads = []string{"pidx", "primary"}
	}
	for _, k := range slices.Concat(traffic, storage) {
		heads = append(heads, k.name)
	}
	row := func(key string, first ...any) []any {
		for _, k := range traffic {
			first = append(first, requests.figure(key, k, r.seconds()))
		}
		for _, k := range storage {
			first = append(first, sizes.figure(key, k, r.seconds()))
		}
		return first
	}
	var d report.Doc
	t := d.Table("app_stat", heads...)
	for _, name := range sortedKeys(all) {
		cfg := all[name]
		if table == "" {
			t.Row(row(fmt.Sprint(cfg.AppID), name, cfg.AppID, len(cfg.Partitions))...)
			continue
		}
		for i := range cfg.Partitions {
			p := &cfg.Partitions[i]
			t.Row(row(p.PID.String(), i, primaryOf(p))...)
		}
	}
	return c.print(&d)
}

func (s *Shell) appDiskCommand() *cobra.Command {
	var names resolver
	var detailed bool
	cmd := s.command(groupTables, "app_disk <app_name>", "disk space of a table", func(c *call, args []string) error {
		var cfg *proto.QueryCfgResponse
		err := c.ask(func(ctx context.Context, a admin.Admin) (err error) {
			cfg, err = a.Client().QueryConfig(ctx, args[0])
			return err
		})
		if err != nil {
			return err
		}
		held := map[string]*holdings{}
		tally(held, cfg)
		r, err := c.readTwice(sortedKeys(held), []string{"rdb_total_sst_size_mb", "rdb_total_sst_files"}, false, 0)
		if err != nil {
			return err
		}
		return c.appDisk(args[0], cfg, &names, detailed, r)
	})
	cmd.Flags().BoolVarP(&detailed, "detailed", "d", false, "every replica")
	resolveFlag(cmd, &names)
	cmd.ValidArgsFunction = s.completeTable
	return note(cmd, noteWatch)
}

func (c *call) appDisk(table string, cfg *proto.QueryCfgResponse, names *resolver, detailed bool, r readings) error {
	perReplica := r.sum(func(address string, e *entity) string {
		app, part, ok := tableOf(e)
		if !ok || app != fmt.Sprint(cfg.AppID) {
			return ""
		}
		return app + "." + part + " " + address
	})
	size := func(p *proto.PartitionConfiguration, node string) (mb, files any) {
		key := p.PID.String() + " " + node
		return perReplica.figure(key, storageColumns[0], 0), perReplica.figure(key, storageColumns[1], 0)
	}
	var primaries, everything float64
	var d report.Doc
	sum := d.Fields("result")
	var t *report.Table
	if detailed {
		t = d.Table("details", "pidx", "role", "node", "file_mb", "file_num")
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		show := func(role, node string) {
			mb, files := size(p, node)
			if v, ok := mb.(float64); ok {
				everything += v
				if role == "primary" {
					primaries += v
				}
			}
			if t != nil {
				t.Row(i, role, names.name(c.ctx, node), mb, files)
			}
		}
		if n := primaryOf(p); n != "" {
			show("primary", n)
		}
		for _, n := range secondariesOf(p) {
			show("secondary", n)
		}
	}
	sum.Set("app_name", table).Set("app_id", cfg.AppID).Set("partition_count", cfg.PartitionCount).
		Set("disk_used_for_primary_replicas_mb", primaries).Set("disk_used_for_all_replicas_mb", everything)
	return c.print(&d)
}
