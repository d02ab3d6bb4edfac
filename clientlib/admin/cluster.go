package admin

import (
	"context"

	"pegasus/netcore/proto"
)

// Pair is a key of ClusterInfo with its value.
type Pair struct{ Key, Value string }

// ClusterInfo returns what the meta leader says of the cluster, in its order.
func (a Admin) ClusterInfo(ctx context.Context) ([]Pair, error) {
	resp, err := meta[proto.ClusterInfoResponse](ctx, a, proto.CodeCMClusterInfo, &proto.ClusterInfoRequest{}, repeats)
	if err != nil {
		return nil, err
	}
	var out []Pair
	for i := range min(len(resp.Keys), len(resp.Values)) {
		out = append(out, Pair{Key: resp.Keys[i], Value: resp.Values[i]})
	}
	return out, nil
}

// ListNodes returns the replica servers of a status; NodeInvalid means all.
func (a Admin) ListNodes(ctx context.Context, status proto.NodeStatus) ([]proto.NodeInfo, error) {
	req := proto.ListNodesRequest{Status: status}
	resp, err := meta[proto.ListNodesResponse](ctx, a, proto.CodeCMListNodes, &req, repeats)
	return resp.Infos, err
}

// MetaLevel returns how much the meta leader may do by itself.
func (a Admin) MetaLevel(ctx context.Context) (proto.MetaFunctionLevel, error) {
	return a.SetMetaLevel(ctx, proto.LevelInvalid)
}

// SetMetaLevel changes MetaLevel and returns what it was.
func (a Admin) SetMetaLevel(ctx context.Context, level proto.MetaFunctionLevel) (old proto.MetaFunctionLevel, err error) {
	req := proto.MetaControlRequest{Level: level}
	resp, err := meta[proto.MetaControlResponse](ctx, a, proto.CodeCMControlMeta, &req, repeats)
	return resp.OldLevel, err
}

// Balance asks for changes of the members of one partition. With force the actions go to the servers as they are;
// otherwise they become a plan of the balancer, which needs a kind.
func (a Admin) Balance(ctx context.Context, gpid proto.GPID, actions []proto.ProposalAction, force bool,
	kind *proto.BalancerRequestType) error {
	req := proto.BalancerRequest{GPID: gpid, ActionList: actions, BalanceType: kind}
	if force {
		req.Force = &force
	}
	_, err := meta[proto.BalancerResponse](ctx, a, proto.CodeCMProposeBalancer, &req, once)
	return err
}

// Recover builds the tables of an empty meta group anew from what the named nodes hold.
func (a Admin) Recover(ctx context.Context, nodes []proto.RPCAddress, skipBadNodes, skipLostPartitions bool) (hint string, err error) {
	req := proto.RecoveryRequest{RecoveryNodes: nodes, SkipBadNodes: skipBadNodes, SkipLostPartitions: skipLostPartitions}
	for _, n := range nodes {
		req.HPRecoveryNodes = append(req.HPRecoveryNodes, proto.NewHostPort(n.AddrPort().Addr().String(), n.Port()))
	}
	resp, err := meta[proto.RecoveryResponse](ctx, a, proto.CodeCMStartRecovery, &req, once)
	return resp.HintMessage, err
}

// Diagnose returns the partitions without a living member; -1 in gpid is a wildcard.
func (a Admin) Diagnose(ctx context.Context, gpid proto.GPID) ([]proto.DDDPartitionInfo, error) {
	req := proto.DDDDiagnoseRequest{PID: gpid}
	resp, err := meta[proto.DDDDiagnoseResponse](ctx, a, proto.CodeCMDDDDiagnose, &req, repeats)
	return resp.Partitions, err
}
