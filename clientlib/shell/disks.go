package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// nodeCommands ask single replica servers. Names and options are those of Apache Pegasus' shell and admin-cli.
func (s *Shell) nodeCommands() []*cobra.Command {
	return []*cobra.Command{
		s.diskCapacityCommand(), s.diskReplicaCommand(), s.diskMigrateCommand(), s.diskBalanceCommand(), s.addDiskCommand(),
		s.replicasCommand(), s.hotkeyCommand(), s.serverConfigCommand(), s.dataVersionCommand(),
	}
}

// nodeFlag adds -n, the node that a command is for.
func (s *Shell) nodeFlag(cmd *cobra.Command, node *string, usage string, needed bool) {
	cmd.Flags().StringVarP(node, "node", "n", "", usage)
	flagWords(cmd, "node", s.completeNodes)
	if needed {
		needs(cmd, "node")
	}
}

// nodesOrAll is the node given, or all that live.
func nodesOrAll(ctx context.Context, a admin.Admin, node string) ([]string, error) {
	if node != "" {
		return []string{node}, nil
	}
	list, err := a.ListNodes(ctx, proto.NodeAlive)
	out := make([]string, 0, len(list))
	for i := range list {
		out = append(out, nodeAddress(&list[i]))
	}
	return out, err
}

// disks asks the nodes for their disks; a node that does not answer fails the command.
func disks(ctx context.Context, a admin.Admin, nodes []string, table string) ([]*proto.QueryDiskInfoResponse, error) {
	var failed error
	type answer struct {
		info *proto.QueryDiskInfoResponse
		err  error
	}
	out := make([]*proto.QueryDiskInfoResponse, 0, len(nodes))
	for i, r := range each(nodes, func(n string) answer {
		info, err := a.DiskInfo(ctx, n, table)
		return answer{info, err}
	}) {
		if r.err != nil {
			failed = errors.Join(failed, fmt.Errorf("node %s: %w", nodes[i], r.err))
		}
		out = append(out, r.info)
	}
	return out, failed
}

func members(m map[int32]map[proto.GPID]struct{}) []proto.GPID {
	var out []proto.GPID
	for _, set := range m {
		out = slices.AppendSeq(out, maps.Keys(set))
	}
	slices.SortFunc(out, proto.GPID.Compare)
	return out
}

func (s *Shell) diskCapacityCommand() *cobra.Command {
	var node string
	cmd := s.command(groupNodes, "disk_capacity", "space and replicas of each data directory", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			nodes, err := nodesOrAll(ctx, a, node)
			if err != nil {
				return err
			}
			infos, err := disks(ctx, a, nodes, "")
			if err != nil {
				return err
			}
			var d report.Doc
			t := d.Table("disks", "node", "tag", "dir", "capacity_mb", "available_mb", "used_percent", "primaries", "secondaries")
			for i, info := range infos {
				for j := range info.DiskInfos {
					k := &info.DiskInfos[j]
					used := 100 * float64(k.DiskCapacityMB-k.DiskAvailableMB) / math.Max(float64(k.DiskCapacityMB), 1)
					t.Row(nodes[i], k.Tag, k.FullDir, k.DiskCapacityMB, k.DiskAvailableMB, used,
						len(members(k.HoldingPrimaryReplicas)), len(members(k.HoldingSecondaryReplicas)))
				}
			}
			return c.print(&d)
		})
	})
	s.nodeFlag(cmd, &node, "this node only", false)
	return note(cmd, noteWatch)
}

func (s *Shell) diskReplicaCommand() *cobra.Command {
	var node, table string
	cmd := s.command(groupNodes, "disk_replica", "which replicas lie in which data directory", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			nodes, err := nodesOrAll(ctx, a, node)
			if err != nil {
				return err
			}
			infos, err := disks(ctx, a, nodes, table)
			if err != nil {
				return err
			}
			var d report.Doc
			t := d.Table("replicas", "node", "tag", "gpid", "role")
			for i, info := range infos {
				for j := range info.DiskInfos {
					k := &info.DiskInfos[j]
					for _, g := range members(k.HoldingPrimaryReplicas) {
						t.Row(nodes[i], k.Tag, g.String(), "primary")
					}
					for _, g := range members(k.HoldingSecondaryReplicas) {
						t.Row(nodes[i], k.Tag, g.String(), "secondary")
					}
				}
			}
			return c.print(&d)
		})
	})
	s.nodeFlag(cmd, &node, "this node only", false)
	cmd.Flags().StringVarP(&table, "table", "t", "", "this table only")
	flagWords(cmd, "table", s.completeTables)
	return note(cmd, noteWatch)
}

func (s *Shell) diskMigrateCommand() *cobra.Command {
	var gpid, node, from, to string
	cmd := s.command(groupNodes, "disk_migrate", "move a secondary to another data directory of its node", func(c *call, _ []string) error {
		g, err := parseGPID(gpid)
		if err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.MigrateDisk(ctx, node, g, from, to); err != nil {
				return err
			}
			return c.done("%v moves from %s to %s", g, from, to)
		})
	})
	f := cmd.Flags()
	f.StringVarP(&gpid, "gpid", "g", "", "partition, APP_ID.INDEX")
	f.StringVarP(&from, "from", "f", "", "tag of the directory it is in")
	f.StringVarP(&to, "to", "t", "", "tag of the directory it goes to")
	s.nodeFlag(cmd, &node, "node", true)
	needs(cmd, "gpid", "from", "to")
	return cmd
}

// diskMove is one step of disk_balance.
type diskMove struct {
	gpid     proto.GPID
	from, to string
}

// planDisks moves secondaries from the fullest directory to the emptiest until their numbers of replicas differ by one
// at most: replicas of one cluster are of like size, and their sizes are not known here.
func planDisks(info *proto.QueryDiskInfoResponse) []diskMove {
	type load struct {
		tag       string
		count     int
		secondary []proto.GPID
	}
	var loads []load
	for i := range info.DiskInfos {
		k := &info.DiskInfos[i]
		second := members(k.HoldingSecondaryReplicas)
		loads = append(loads, load{k.Tag, len(members(k.HoldingPrimaryReplicas)) + len(second), second})
	}
	var moves []diskMove
	for len(loads) > 1 {
		slices.SortStableFunc(loads, func(a, b load) int { return cmp.Compare(a.count, b.count) })
		low, high := &loads[0], &loads[len(loads)-1]
		if high.count-low.count <= 1 || len(high.secondary) == 0 {
			return moves
		}
		last := len(high.secondary) - 1
		moves = append(moves, diskMove{high.secondary[last], high.tag, low.tag})
		high.secondary = high.secondary[:last]
		high.count--
		low.count++
	}
	return moves
}

func (s *Shell) diskBalanceCommand() *cobra.Command {
	var node string
	var plan bool
	cmd := s.command(groupNodes, "disk_balance", "spread the replicas of a node evenly over its data directories",
		func(c *call, _ []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				info, err := a.DiskInfo(ctx, node, "")
				if err != nil {
					return err
				}
				var d report.Doc
				t := d.Table("moves", "gpid", "from", "to")
				for _, m := range planDisks(info) {
					if !plan {
						if err := a.MigrateDisk(ctx, node, m.gpid, m.from, m.to); err != nil {
							return errors.Join(c.print(&d), fmt.Errorf("%v from %s to %s: %w", m.gpid, m.from, m.to, err))
						}
					}
					t.Row(m.gpid.String(), m.from, m.to)
				}
				return c.print(&d)
			})
		})
	s.nodeFlag(cmd, &node, "node", true)
	cmd.Flags().BoolVar(&plan, "plan", false, "only say what would be moved")
	return cmd
}

func (s *Shell) addDiskCommand() *cobra.Command {
	var node, list string
	cmd := s.command(groupNodes, "add_disk", "give a node more data directories", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.AddDisks(ctx, node, list); err != nil {
				return err
			}
			return c.done("node %s uses %s", node, list)
		})
	})
	s.nodeFlag(cmd, &node, "node", true)
	cmd.Flags().StringVarP(&list, "disks", "d", "", "TAG:DIR,TAG:DIR; directories must be empty")
	needs(cmd, "disks")
	return cmd
}

func (s *Shell) replicasCommand() *cobra.Command {
	cmd := s.command(groupNodes, "replicas <node>", "the replicas on a node, with ballots and decrees", func(c *call, args []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			list, err := a.ReplicaInfo(ctx, args[0])
			if err != nil {
				return err
			}
			slices.SortFunc(list, func(x, y proto.ReplicaInfo) int { return x.PID.Compare(y.PID) })
			var d report.Doc
			t := d.Table("replicas", "gpid", "status", "ballot", "committed", "prepared", "durable", "disk")
			for i := range list {
				r := &list[i]
				t.Row(r.PID.String(), r.Status.String(), int64(r.Ballot), int64(r.LastCommittedDecree), int64(r.LastPreparedDecree),
					int64(r.LastDurableDecree), r.DiskTag)
			}
			return c.print(&d)
		})
	})
	cmd.ValidArgsFunction = s.completeNode
	return note(cmd, noteWatch)
}

var (
	hotkeyTypes   = map[string]proto.HotkeyType{"read": proto.HotkeyRead, "write": proto.HotkeyWrite}
	hotkeyActions = map[string]proto.DetectAction{"start": proto.DetectStart, "stop": proto.DetectStop, "query": proto.DetectQuery}
)

func (s *Shell) hotkeyCommand() *cobra.Command {
	var app, part int32
	var kind, act, address string
	cmd := s.command(groupNodes, "detect_hotkey", "find the hash key that draws most of a partition's traffic",
		func(c *call, _ []string) error {
			k, ok := hotkeyTypes[kind]
			if !ok {
				return usagef("hotkey_type %q: want read or write", kind)
			}
			action, ok := hotkeyActions[act]
			if !ok {
				return usagef("detect_action %q: want start, stop or query", act)
			}
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				key, hint, err := a.DetectHotkey(ctx, address, proto.GPID{App: app, Part: part}, k, action)
				if err != nil {
					return err
				}
				text := cmp.Or(hint, "OK")
				if key != "" {
					text = fmt.Sprintf("the hot key is \"%s\"", key)
				}
				return c.out.Object(text, "hotkey", orNil(key), "hint", orNil(hint))
			})
		})
	f := cmd.Flags()
	f.Int32VarP(&app, "app_id", "a", 0, "id of the table")
	f.Int32VarP(&part, "partition_index", "p", 0, "partition")
	f.StringVarP(&kind, "hotkey_type", "t", "", "read or write")
	f.StringVarP(&act, "detect_action", "c", "", "start, stop or query")
	f.StringVarP(&address, "address", "d", "", "node, as a rule the primary")
	needs(cmd, "app_id", "partition_index", "hotkey_type", "detect_action", "address")
	flagWords(cmd, "hotkey_type", choice("read", "write"))
	flagWords(cmd, "detect_action", choice("start", "stop", "query"))
	flagWords(cmd, "address", s.completeNodes)
	return cmd
}
