package shell

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

func (s *Shell) clusterCommands() []*cobra.Command {
	return []*cobra.Command{
		s.clusterInfoCommand(), s.nodesCommand(), s.healthCommand(), s.levelCommand(), s.setLevelCommand(),
		s.proposeCommand(), s.balanceCommand(), s.recoverCommand(), s.diagnoseCommand(),
	}
}

func joined(list []string) string { return strings.Join(list, ",") }

// nodeAddress is the address of a node as the meta server names it.
func nodeAddress(n *proto.NodeInfo) string { return either(n.Node, n.HPNode) }

// either prints an address from the two fields in which it travels.
func either(a proto.RPCAddress, h proto.HostPort) string {
	switch {
	case a.IsValid():
		return a.String()
	case h.IsValid():
		return h.String()
	}
	return ""
}

// resolver turns addresses into host names when asked to; what has no name stays.
type resolver struct {
	on    bool
	known map[string]string
}

func resolveFlag(cmd *cobra.Command, r *resolver) {
	cmd.Flags().BoolVarP(&r.on, "resolve_ip", "r", false, "show host names")
}

func (r *resolver) name(ctx context.Context, address string) string {
	if !r.on || address == "" {
		return address
	}
	if n, ok := r.known[address]; ok {
		return n
	}
	if r.known == nil {
		r.known = map[string]string{}
	}
	r.known[address] = address
	if host, port, err := net.SplitHostPort(address); err == nil {
		if names, err := net.DefaultResolver.LookupAddr(ctx, host); err == nil && len(names) > 0 {
			r.known[address] = net.JoinHostPort(strings.TrimSuffix(names[0], "."), port)
		}
	}
	return r.known[address]
}

func (s *Shell) clusterInfoCommand() *cobra.Command {
	var names resolver
	cmd := s.command(groupCluster, "cluster_info", "meta servers, function level and balance of the cluster",
		func(c *call, _ []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				pairs, err := a.ClusterInfo(ctx)
				if err != nil {
					return err
				}
				var d report.Doc
				f := d.Fields("cluster_info")
				for _, p := range pairs {
					if p.Key == "meta_servers" || p.Key == "primary_meta_server" {
						list := strings.Split(p.Value, ",")
						for i := range list {
							list[i] = names.name(ctx, list[i])
						}
						p.Value = joined(list)
					}
					f.Set(p.Key, p.Value)
				}
				return c.print(&d)
			})
		})
	resolveFlag(cmd, &names)
	return note(cmd, noteWatch)
}

// metas returns the addresses of the meta servers, as the leader knows them.
func (c *call) metas(ctx context.Context, a admin.Admin) ([]string, error) {
	pairs, err := a.ClusterInfo(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if p.Key == "meta_servers" {
			return strings.Split(p.Value, ","), nil
		}
	}
	return c.cluster.Metas, nil
}

// levels are the function levels by the names that people type.
var levels = map[string]proto.MetaFunctionLevel{
	"stopped": proto.LevelStopped, "blind": proto.LevelBlind, "freezed": proto.LevelFreezed,
	"steady": proto.LevelSteady, "lively": proto.LevelLively,
}

func levelName(l proto.MetaFunctionLevel) string { return strings.TrimPrefix(l.String(), "fl_") }

func (s *Shell) levelCommand() *cobra.Command {
	return note(s.command(groupCluster, "get_meta_level", "how much the meta server may do by itself", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			level, err := a.MetaLevel(ctx)
			if err != nil {
				return err
			}
			return c.out.Object("current meta level is "+levelName(level), "level", levelName(level))
		})
	}), noteWatch)
}

func (s *Shell) setLevelCommand() *cobra.Command {
	all := slices.Sorted(maps.Keys(levels))
	cmd := s.command(groupCluster, "set_meta_level <stopped|blind|freezed|steady|lively>", "change how much the meta server may do by itself",
		func(c *call, args []string) error {
			level, ok := levels[args[0]]
			if !ok {
				return usagef("level %q: want one of %s", args[0], strings.Join(all, ", "))
			}
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				old, err := a.SetMetaLevel(ctx, level)
				if err != nil {
					return err
				}
				return c.out.Object(fmt.Sprintf("meta level was %s and is %s", levelName(old), args[0]), "old", levelName(old), "level", args[0])
			})
		})
	cmd.ValidArgsFunction = choice(all...)
	return cmd
}

// parseGPID reads "app.partition".
func parseGPID(s string) (proto.GPID, error) {
	app, part, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseInt(app, 10, 32)
	p, err2 := strconv.ParseInt(part, 10, 32)
	if !ok || err1 != nil || err2 != nil || a < 1 || p < 0 {
		return proto.GPID{}, usagef("partition %q: want APP_ID.INDEX, such as 2.0", s)
	}
	return proto.GPID{App: int32(a), Part: int32(p)}, nil
}

// proposals are the names that propose takes, without CT_.
var proposals = map[string]proto.ConfigType{
	"ASSIGN_PRIMARY": proto.CTAssignPrimary, "ADD_SECONDARY": proto.CTAddSecondary,
	"UPGRADE_TO_PRIMARY": proto.CTUpgradeToPrimary, "UPGRADE_TO_SECONDARY": proto.CTUpgradeToSecondary,
	"DOWNGRADE_TO_SECONDARY": proto.CTDowngradeToSecondary, "DOWNGRADE_TO_INACTIVE": proto.CTDowngradeToInactive,
	"REMOVE": proto.CTRemove,
}

func action(kind proto.ConfigType, target, node string) (proto.ProposalAction, error) {
	a := proto.ProposalAction{Type: kind}
	for _, x := range []struct {
		text string
		ip   *proto.RPCAddress
		hp   *proto.HostPort
	}{{target, &a.Target, &a.HPTarget}, {node, &a.Node, &a.HPNode}} {
		ip, hp, err := parseNode(x.text)
		if err != nil {
			return a, err
		}
		*x.ip, *x.hp = ip, hp
	}
	return a, nil
}

// parseNode reads "host:port" into the two forms in which addresses travel. A literal address has no host form: servers
// would look for a node that calls itself so.
func parseNode(s string) (proto.RPCAddress, proto.HostPort, error) {
	hp, ok := proto.ParseHostPort(s)
	if !ok {
		return 0, proto.HostPort{}, usagef("node %q: want HOST:PORT", s)
	}
	address, err := net.ResolveTCPAddr("tcp4", s)
	if err != nil {
		return 0, proto.HostPort{}, usagef("node %q: %v", s, err)
	}
	if net.ParseIP(hp.Host) != nil {
		hp = proto.HostPort{}
	}
	return proto.NewRPCAddress(address.AddrPort()), hp, nil
}

func (s *Shell) proposeCommand() *cobra.Command {
	var force bool
	var gpid, kind, target, node string
	names := slices.Sorted(maps.Keys(proposals))
	cmd := s.command(groupCluster, "propose", "propose one change of the members of a partition", func(c *call, _ []string) error {
		g, err := parseGPID(gpid)
		if err != nil {
			return err
		}
		k, ok := proposals[strings.TrimPrefix(kind, "CT_")]
		if !ok {
			return usagef("type %q: want one of %s", kind, strings.Join(names, ", "))
		}
		act, err := action(k, target, node)
		if err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			plan := proto.BalanceCopySecondary
			if k == proto.CTUpgradeToPrimary || k == proto.CTDowngradeToSecondary {
				plan = proto.BalanceMovePrimary
			}
			if err := a.Balance(ctx, g, []proto.ProposalAction{act}, force, &plan); err != nil {
				return err
			}
			return c.done("proposed")
		})
	})
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "send it to the target as it is")
	f.StringVarP(&gpid, "gpid", "g", "", "partition, APP_ID.INDEX")
	f.StringVarP(&kind, "type", "p", "", "what to do: "+strings.Join(names, ", "))
	f.StringVarP(&target, "target", "t", "", "node that shall act")
	f.StringVarP(&node, "node", "n", "", "node that the change is about")
	needs(cmd, "gpid", "type", "target", "node")
	flagWords(cmd, "type", choice(names...))
	flagWords(cmd, "target", s.completeNodes)
	flagWords(cmd, "node", s.completeNodes)
	return cmd
}

// needs marks options without which a command cannot run.
func needs(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		complete(cmd.MarkFlagRequired(f))
	}
}

func (s *Shell) balanceCommand() *cobra.Command {
	var gpid, kind, from, to string
	cmd := s.command(groupCluster, "balance", "have the balancer move one replica", func(c *call, _ []string) error {
		g, err := parseGPID(gpid)
		if err != nil {
			return err
		}
		acts, request, err := move(kind, from, to)
		if err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.Balance(ctx, g, acts, false, &request); err != nil {
				return err
			}
			return c.done("registered with the balancer")
		})
	})
	f := cmd.Flags()
	f.StringVarP(&gpid, "gpid", "g", "", "partition, APP_ID.INDEX")
	f.StringVarP(&kind, "type", "p", "", "move_pri, copy_pri or copy_sec")
	f.StringVarP(&from, "from", "f", "", "node that gives")
	f.StringVarP(&to, "to", "t", "", "node that takes")
	needs(cmd, "gpid", "type", "from", "to")
	flagWords(cmd, "type", choice("move_pri", "copy_pri", "copy_sec"))
	flagWords(cmd, "from", s.completeNodes)
	flagWords(cmd, "to", s.completeNodes)
	return cmd
}

// move writes a move as the actions of the balancer's plans (spec admin 7).
func move(kind, from, to string) ([]proto.ProposalAction, proto.BalancerRequestType, error) {
	type step struct {
		kind         proto.ConfigType
		target, node string
	}
	var steps []step
	var request proto.BalancerRequestType
	switch kind {
	case "move_pri":
		request = proto.BalanceMovePrimary
		steps = []step{{proto.CTDowngradeToSecondary, from, from}, {proto.CTUpgradeToPrimary, to, to}}
	case "copy_pri":
		request = proto.BalanceCopyPrimary
		steps = []step{{proto.CTAddSecondaryForLB, from, to}, {proto.CTDowngradeToSecondary, from, from}, {proto.CTUpgradeToPrimary, to, to},
			{proto.CTRemove, to, from}}
	case "copy_sec":
		request = proto.BalanceCopySecondary
		steps = []step{{proto.CTAddSecondaryForLB, from, to}, {proto.CTDowngradeToInactive, from, from}}
	default:
		return nil, 0, usagef("type %q: want move_pri, copy_pri or copy_sec", kind)
	}
	var acts []proto.ProposalAction
	for _, st := range steps {
		a, err := action(st.kind, st.target, st.node)
		if err != nil {
			return nil, 0, err
		}
		acts = append(acts, a)
	}
	return acts, request, nil
}
