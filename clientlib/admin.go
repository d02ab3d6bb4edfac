package clientlib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pegasus/netcore/proto"
)

// TableSpec describes a table to create.
type TableSpec struct {
	Name             string
	Partitions       int32 // a power of two is what all clients accept
	Replicas         int32
	Envs             map[string]string
	AtomicIdempotent bool
	// IfMissing makes it no error that the table exists with the same numbers.
	IfMissing bool
}

// CreateTable asks the meta leader for a table and returns its app id. The table can be used when WaitHealthy returns.
func (c *Client) CreateTable(ctx context.Context, spec TableSpec) (appID int32, err error) {
	req := proto.CreateAppRequest{AppName: spec.Name, Options: proto.CreateAppOptions{
		PartitionCount: spec.Partitions, ReplicaCount: spec.Replicas, SuccessIfExist: spec.IfMissing,
		AppType: "pegasus", IsStateful: true, Envs: spec.Envs,
	}}
	if spec.AtomicIdempotent {
		req.Options.AtomicIdempotent = &spec.AtomicIdempotent
	}
	var resp proto.CreateAppResponse
	err = c.ask(ctx, &question{
		code: proto.CodeCMCreateApp, request: &req, response: &resp, repeats: spec.IfMissing,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, nil },
	})
	return resp.AppID, err
}

// DropTable removes a table. Its data is kept for the time that the servers are configured to hold dropped tables.
func (c *Client) DropTable(ctx context.Context, name string) error {
	req := proto.DropAppRequest{AppName: name}
	var resp proto.DropAppResponse
	return c.ask(ctx, &question{
		code: proto.CodeCMDropApp, request: &req, response: &resp,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, nil },
	})
}

// ListTables returns the tables of a status; AppInvalid means all.
func (c *Client) ListTables(ctx context.Context, status proto.AppStatus) ([]proto.AppInfo, error) {
	req := proto.ListAppsRequest{Status: status}
	var resp proto.ListAppsResponse
	err := c.ask(ctx, &question{
		code: proto.CodeCMListApps, request: &req, response: &resp, repeats: true,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, resp.HintMessage },
	})
	return resp.Infos, err
}

// ListNodes returns the replica servers of a status; NodeInvalid means all.
func (c *Client) ListNodes(ctx context.Context, status proto.NodeStatus) ([]proto.NodeInfo, error) {
	req := proto.ListNodesRequest{Status: status}
	var resp proto.ListNodesResponse
	err := c.ask(ctx, &question{
		code: proto.CodeCMListNodes, request: &req, response: &resp, repeats: true,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, nil },
	})
	return resp.Infos, err
}

// UpdateAppEnvs sets environment variables of a table. They reach the replicas a moment after it returns.
func (c *Client) UpdateAppEnvs(ctx context.Context, table string, envs map[string]string) error {
	req := proto.UpdateAppEnvRequest{AppName: table, Op: proto.AppEnvOpSet, Keys: slices.Sorted(maps.Keys(envs))}
	for _, k := range req.Keys {
		req.Values = append(req.Values, envs[k])
	}
	var resp proto.UpdateAppEnvResponse
	return c.ask(ctx, &question{
		code: proto.CodeCMUpdateAppEnv, request: &req, response: &resp, repeats: true,
		verdict: func() (proto.ErrCode, *string) { return resp.Err, &resp.HintMessage },
	})
}

// QueryConfig returns the configurations of all partitions of a table, in order.
func (c *Client) QueryConfig(ctx context.Context, table string) (*proto.QueryCfgResponse, error) {
	resp, err := c.queryConfig(ctx, table, nil)
	switch {
	case err != nil:
		return nil, err
	case resp.Err != proto.ErrOK:
		return nil, &ServerError{Code: resp.Err}
	case len(resp.Partitions) == 0 || len(resp.Partitions) != int(resp.PartitionCount):
		return nil, fmt.Errorf("clientlib: table %s: %d of %d partitions in the answer", table, len(resp.Partitions), resp.PartitionCount)
	}
	return resp, nil
}

// leaderOf reads where a follower says the leader is: the primary of the only partition (spec wire 7).
func leaderOf(resp *proto.QueryCfgResponse) string {
	if len(resp.Partitions) != 1 {
		return ""
	}
	p := &resp.Partitions[0]
	switch {
	case p.Primary.IsValid():
		return p.Primary.String()
	case p.HPPrimary.IsValid():
		return p.HPPrimary.String()
	}
	return ""
}

// healthPoll is how often WaitHealthy looks, probePatience how long one read may take then.
const (
	healthPoll    = 50 * time.Millisecond
	probePatience = 2 * time.Second
)

// WaitHealthy returns when every partition of the table has at least the given number of members and its primary
// answers a read, or with the last reason why not when ctx ends.
func (c *Client) WaitHealthy(ctx context.Context, table string, replicas int) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for {
		why := c.healthy(ctx, table, replicas)
		if why == nil {
			return nil
		}
		if err := c.pause(ctx, healthPoll); err != nil {
			return fmt.Errorf("clientlib: table %s is not healthy: %w", table, why)
		}
	}
}

func (c *Client) healthy(ctx context.Context, table string, replicas int) error {
	cfg, err := c.QueryConfig(ctx, table)
	if err != nil {
		return err
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if !p.Primary.IsValid() || 1+len(p.Secondaries) < replicas {
			return fmt.Errorf("partition %v has primary %v and %d secondaries", p.PID, p.Primary, len(p.Secondaries))
		}
		if err := c.probe(ctx, p); err != nil {
			return fmt.Errorf("partition %v at %v: %w", p.PID, p.Primary, err)
		}
	}
	return nil
}

// probe reads a record, which need not exist, from the primary of a partition.
func (c *Client) probe(ctx context.Context, p *proto.PartitionConfiguration) error {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	cn, err := c.node(p.Primary.String()).connect(ctx)
	if err != nil {
		return err
	}
	call := newPending(proto.CodeTTL)
	call.Hash = uint64(p.PID.Part)
	defer call.release()
	call.Args = append(call.Args[:0], pingArgs...)
	err = call.await(ctx, c, func(call *Call) { c.startAt(cn, call, p.PID) })
	// A table that refuses reads by configuration is healthy all the same.
	if errors.Is(err, proto.ErrBusy) || errors.Is(err, proto.ErrACLDeny) {
		return nil
	}
	return err
}
