package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// holdings is what the configurations of all tables say of one node.
type holdings struct{ primaries, secondaries int }

// configs asks for the partitions of every available table.
func configs(ctx context.Context, a admin.Admin) (map[string]*proto.QueryCfgResponse, error) {
	tables, err := a.ListTables(ctx, proto.AppAvailable, "", proto.PMTInvalid)
	if err != nil {
		return nil, err
	}
	all := map[string]*proto.QueryCfgResponse{}
	for i := range tables {
		cfg, err := a.Client().QueryConfig(ctx, tables[i].AppName)
		if errors.Is(err, proto.ErrObjectNotFound) { // dropped meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", tables[i].AppName, err)
		}
		all[tables[i].AppName] = cfg
	}
	return all, nil
}

func primaryOf(p *proto.PartitionConfiguration) string { return either(p.Primary, p.HPPrimary) }

func secondariesOf(p *proto.PartitionConfiguration) []string {
	var out []string
	if len(p.Secondaries) > 0 {
		for _, s := range p.Secondaries {
			out = append(out, s.String())
		}
		return out
	}
	for _, s := range p.HPSecondaries {
		out = append(out, s.String())
	}
	return out
}

// tally counts the members of partitions by node.
func tally(into map[string]*holdings, cfg *proto.QueryCfgResponse) {
	at := func(node string) *holdings {
		h := into[node]
		if h == nil {
			h = &holdings{}
			into[node] = h
		}
		return h
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if n := primaryOf(p); n != "" {
			at(n).primaries++
		}
		for _, n := range secondariesOf(p) {
			at(n).secondaries++
		}
	}
}

// nodeStatus reads the argument of -s.
func nodeStatus(s string) (proto.NodeStatus, error) {
	switch s {
	case "", "all":
		return proto.NodeInvalid, nil
	case "alive":
		return proto.NodeAlive, nil
	case "unalive":
		return proto.NodeUnalive, nil
	}
	return 0, usagef("status %q: want all, alive or unalive", s)
}

func (s *Shell) nodesCommand() *cobra.Command {
	var names resolver
	var detailed, usage, qps bool
	var status string
	var interval int64
	cmd := s.command(groupCluster, "nodes", "replica servers and their state", func(c *call, _ []string) error {
		want, err := nodeStatus(status)
		if err != nil {
			return err
		}
		a, err := c.admin()
		if err != nil {
			return err
		}
		ctx, cancel := c.withTimeout()
		defer cancel()
		list, err := a.ListNodes(ctx, want)
		if err != nil {
			return err
		}
		held := map[string]*holdings{}
		if detailed {
			all, err := configs(ctx, a)
			if err != nil {
				return err
			}
			for _, cfg := range all {
				tally(held, cfg)
			}
		}
		columns := []column{}
		if usage {
			columns = append(columns, usageColumns...)
		}
		if qps {
			columns = append(columns, trafficColumns...)
		}
		var alive []string
		for i := range list {
			if list[i].Status == proto.NodeAlive {
				alive = append(alive, nodeAddress(&list[i]))
			}
		}
		figures, err := c.figures(alive, columns, interval)
		if err != nil {
			return err
		}
		heads := []string{"address", "status"}
		if detailed {
			heads = append(heads, "replica_count", "primary_count", "secondary_count")
		}
		for _, k := range columns {
			heads = append(heads, k.name)
		}
		var d report.Doc
		t := d.Table("details", heads...)
		for i := range list {
			n := &list[i]
			address := nodeAddress(n)
			row := []any{names.name(ctx, address), aliveMark(n.Status)}
			if detailed {
				h := held[address]
				if h == nil {
					h = &holdings{}
				}
				row = append(row, h.primaries+h.secondaries, h.primaries, h.secondaries)
			}
			for _, k := range columns {
				row = append(row, figures.of(address, k))
			}
			t.Row(row...)
		}
		d.Fields("summary").Set("total_node_count", len(list)).Set("alive_node_count", len(alive)).
			Set("unalive_node_count", len(list)-len(alive))
		return c.print(&d)
	})
	f := cmd.Flags()
	f.BoolVarP(&detailed, "detailed", "d", false, "count the replicas of each node")
	resolveFlag(cmd, &names)
	f.BoolVarP(&usage, "resource_usage", "u", false, "memory and disk of each node")
	f.BoolVarP(&qps, "qps", "q", false, "requests per second of each node")
	f.StringVarP(&status, "status", "s", "all", "all, alive or unalive")
	intervalFlag(cmd, &interval)
	flagWords(cmd, "status", choice("all", "alive", "unalive"))
	return note(cmd, noteWatch)
}

func aliveMark(s proto.NodeStatus) report.Mark {
	if s == proto.NodeAlive {
		return report.Good("ALIVE")
	}
	return report.Bad(strings.TrimPrefix(s.String(), "NS_"))
}

// each runs f for many servers at once, at most eight at a time, and returns the results in order.
func each[R any](list []string, f func(address string) R) []R {
	out := make([]R, len(list))
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, address := range list {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			out[i] = f(address)
			<-slots
		}()
	}
	wg.Wait()
	return out
}

func (s *Shell) recoverCommand() *cobra.Command {
	var file, list string
	var wait int64
	var skipBad, skipLost bool
	cmd := s.command(groupCluster, "recover", "build the tables of an empty meta group anew from what replica servers hold",
		func(c *call, _ []string) error {
			nodes, err := recoveryNodes(file, list)
			if err != nil {
				return err
			}
			if err := c.confirm(fmt.Sprintf("Tables will be built from what %d nodes hold.", len(nodes))); err != nil {
				return err
			}
			a, err := c.admin()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.ctx, time.Duration(wait)*time.Second)
			defer cancel()
			hint, err := a.Recover(ctx, nodes, skipBad, skipLost)
			if err != nil {
				return err
			}
			return c.out.Object(strings.TrimSpace("recovered "+hint), "done", true, "hint", hint)
		})
	f := cmd.Flags()
	f.StringVarP(&file, "node_list_file", "f", "", "file with one node (HOST:PORT) a line")
	f.StringVarP(&list, "node_list_str", "s", "", "nodes, with commas between")
	f.Int64VarP(&wait, "wait_seconds", "w", 100, "how long to wait")
	f.BoolVarP(&skipBad, "skip_bad_nodes", "b", false, "go on without the nodes that do not answer")
	f.BoolVarP(&skipLost, "skip_lost_partitions", "l", false, "make partitions empty of which nothing is left")
	flagWords(cmd, "node_list_str", s.completeNodes)
	return note(cmd, noteDanger)
}

func recoveryNodes(file, list string) ([]proto.RPCAddress, error) {
	names := strings.Split(list, ",")
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usageError{err}
		}
		names = append(names, strings.Split(string(b), "\n")...)
	}
	var nodes []proto.RPCAddress
	for _, n := range names {
		if n = strings.TrimSpace(n); n == "" || n[0] == '#' {
			continue
		}
		ip, _, err := parseNode(n)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(nodes, ip) {
			nodes = append(nodes, ip)
		}
	}
	if len(nodes) == 0 {
		return nil, usagef("no nodes: give --node_list_str or --node_list_file")
	}
	return nodes, nil
}

func (s *Shell) diagnoseCommand() *cobra.Command {
	var gpid string
	var diagnose, auto, skip bool
	cmd := s.command(groupCluster, "ddd_diagnose", "partitions of which all members are dead, and what can be done",
		func(c *call, _ []string) error {
			g, err := wildcard(gpid)
			if err != nil {
				return err
			}
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				parts, err := a.Diagnose(ctx, g)
				if err != nil {
					return err
				}
				var d report.Doc
				t := d.Table("dead_partitions", "partition", "reason", "node", "alive", "ballot", "committed", "prepared", "dropped_at")
				for i := range parts {
					p := &parts[i]
					for j := range p.Dropped {
						n := &p.Dropped[j]
						t.Row(p.Config.PID.String(), p.Reason, either(n.Node, n.HPNode), n.IsAlive, int64(n.Ballot),
							int64(n.LastCommittedDecree), int64(n.LastPreparedDecree), second(n.DropTimeMS/1000))
					}
					if len(p.Dropped) == 0 {
						t.Row(p.Config.PID.String(), p.Reason, nil, nil, nil, nil, nil, nil)
					}
				}
				d.Fields("summary").Set("dead_partition_count", len(parts))
				if err := c.print(&d); err != nil || !diagnose && !auto {
					return err
				}
				c.yes = c.yes || skip || auto
				return c.revive(ctx, a, parts)
			})
		})
	f := cmd.Flags()
	f.StringVarP(&gpid, "gpid", "g", "", "only these: APP_ID or APP_ID.INDEX")
	f.BoolVarP(&diagnose, "diagnose", "d", false, "offer to revive each with the member that knows most")
	f.BoolVarP(&auto, "auto_diagnose", "a", false, "revive all without asking")
	f.BoolVarP(&skip, "skip_prompt", "s", false, "do not ask for confirmation")
	return note(cmd, noteDanger)
}

// wildcard reads "", "app" or "app.partition".
func wildcard(s string) (proto.GPID, error) {
	switch {
	case s == "":
		return proto.GPID{App: -1, Part: -1}, nil
	case !strings.Contains(s, "."):
		g, err := parseGPID(s + ".0")
		g.Part = -1
		return g, err
	}
	return parseGPID(s)
}

// revive proposes the living member with the highest ballot and the most decrees as the primary of each partition.
func (c *call) revive(ctx context.Context, a admin.Admin, parts []proto.DDDPartitionInfo) error {
	failed := false
	for i := range parts {
		p := &parts[i]
		var best *proto.DDDNodeInfo
		for j := range p.Dropped {
			n := &p.Dropped[j]
			if n.IsAlive && n.IsCollected && (best == nil || n.Ballot > best.Ballot ||
				n.Ballot == best.Ballot && n.LastPreparedDecree > best.LastPreparedDecree) {
				best = n
			}
		}
		if best == nil {
			failed = true
			fmt.Fprintf(c.opt.Err, "%v: no living node is known to hold it\n", p.Config.PID)
			continue
		}
		where := either(best.Node, best.HPNode)
		if err := c.confirm(fmt.Sprintf("%v gets %s as its primary, with all up to decree %d; what others knew beyond is lost.",
			p.Config.PID, where, best.LastPreparedDecree)); err != nil {
			return err
		}
		act := proto.ProposalAction{Type: proto.CTAssignPrimary, Target: best.Node, Node: best.Node, HPTarget: best.HPNode, HPNode: best.HPNode}
		if err := a.Balance(ctx, p.Config.PID, []proto.ProposalAction{act}, true, nil); err != nil {
			return err
		}
		fmt.Fprintf(c.opt.Err, "%v: proposed %s\n", p.Config.PID, where)
	}
	if failed {
		return errNotAll
	}
	return nil
}

// healthCommand is the answer to "is everything all right": one line per table that is not, exit code 1 if any.
func (s *Shell) healthCommand() *cobra.Command {
	return note(s.command(groupCluster, "health", "whether nodes and partitions are as they should be; exit code 1 if not",
		func(c *call, _ []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				nodes, err := a.ListNodes(ctx, proto.NodeInvalid)
				if err != nil {
					return err
				}
				all, err := configs(ctx, a)
				if err != nil {
					return err
				}
				var d report.Doc
				dead := 0
				for i := range nodes {
					if nodes[i].Status != proto.NodeAlive {
						dead++
					}
				}
				t := d.Table("tables", "app_name", "partitions", "fully_healthy", "unhealthy", "write_unhealthy", "read_unhealthy", "state")
				var sum health
				for _, name := range sortedKeys(all) {
					h := healthOf(all[name])
					sum.add(h)
					t.Row(name, len(all[name].Partitions), h.full, h.unhealthy, h.write, h.read, h.mark())
				}
				state := sum.mark()
				if dead > 0 {
					state = report.Bad("degraded")
				}
				d.Fields("summary").Set("node_count", len(nodes)).Set("unalive_node_count", dead).
					Set("fully_healthy", sum.full).Set("unhealthy", sum.unhealthy).Set("state", state)
				if err := c.print(&d); err != nil {
					return err
				}
				if state.Bad {
					return errUnhealthy
				}
				return nil
			})
		}), noteWatch)
}

var errUnhealthy = errors.New("the cluster is not fully healthy")

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// health counts partitions as Apache Pegasus does: healthy with all members, unhealthy otherwise; write unhealthy with
// fewer than two of several, read unhealthy without a primary.
type health struct{ full, unhealthy, write, read int }

func healthOf(cfg *proto.QueryCfgResponse) (h health) {
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		members := len(secondariesOf(p))
		if primaryOf(p) != "" {
			members++
		}
		if primaryOf(p) != "" && members >= int(p.MaxReplicaCount) {
			h.full++
			continue
		}
		h.unhealthy++
		if primaryOf(p) == "" {
			h.read++
			h.write++
		} else if members < min(2, int(p.MaxReplicaCount)) {
			h.write++
		}
	}
	return h
}

func (h *health) add(o health) {
	h.full += o.full
	h.unhealthy += o.unhealthy
	h.write += o.write
	h.read += o.read
}

func (h health) mark() report.Mark {
	switch {
	case h.read > 0:
		return report.Bad("unavailable")
	case h.unhealthy > 0:
		return report.Bad("degraded")
	}
	return report.Good("healthy")
}
