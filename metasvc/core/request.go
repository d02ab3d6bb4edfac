package core

import (
	"fmt"
	"math"
	"strings"

	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// NewRequest returns a new request struct for an RPC that Core serves, nil for all others.
func NewRequest(code proto.Code) any {
	switch code {
	case proto.CodeCMQueryPartitionConfigByIndex:
		return new(proto.QueryCfgRequest)
	case proto.CodeCMCreateApp:
		return new(proto.CreateAppRequest)
	case proto.CodeCMDropApp:
		return new(proto.DropAppRequest)
	case proto.CodeCMListApps:
		return new(proto.ListAppsRequest)
	case proto.CodeCMListNodes:
		return new(proto.ListNodesRequest)
	case proto.CodeCMClusterInfo:
		return new(proto.ClusterInfoRequest)
	case proto.CodeCMUpdateAppEnv:
		return new(proto.UpdateAppEnvRequest)
	case proto.CodeCMGetMaxReplicaCount:
		return new(proto.GetMaxReplicaCountRequest)
	case proto.CodeCMSetMaxReplicaCount:
		return new(proto.SetMaxReplicaCountRequest)
	case proto.CodeCMProposeBalancer:
		return new(proto.BalancerRequest)
	}
	return nil
}

// refusal is the error of a meta that cannot decide anything now, ErrOK for the leader.
func (c *Core) refusal() proto.ErrCode {
	switch c.role {
	case Following:
		return proto.ErrForwardToOthers
	case Electing:
		return proto.ErrServiceNotActive
	}
	return proto.ErrOK
}

func (c *Core) request(now Now, e Request, out *Effects) {
	w := waiter{token: e.Token, args: e.Args}
	if err := c.refusal(); err != proto.ErrOK {
		c.answerErr(w, err, out)
		return
	}
	reply := func(body any) { out.Reply = append(out.Reply, Reply{Token: e.Token, Body: body}) }
	switch r := e.Args.(type) {
	case *proto.QueryCfgRequest:
		reply(c.queryCfg(r))
	case *proto.ListAppsRequest:
		reply(c.st.listApps(r))
	case *proto.ListNodesRequest:
		reply(c.listNodes(r))
	case *proto.ClusterInfoRequest:
		reply(c.clusterInfo())
	case *proto.GetMaxReplicaCountRequest:
		reply(c.st.replicasOf(r))
	case *proto.BalancerRequest:
		reply(c.proposeBalancer(now, r, out))
		c.guard(now, looksPerEvent, out)
	case *proto.SetMaxReplicaCountRequest:
		cmd, res := c.admitReplicas(r)
		if cmd == nil {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandSetReplicas, cmd, w, out)
	case *proto.CreateAppRequest:
		if res, done := c.admit(r); done {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandCreateApp, &CreateApp{Request: *r, Now: now.Unix}, w, out)
	case *proto.DropAppRequest:
		if res, done := c.st.checkDrop(r); done {
			c.answerResult(w, res, out)
			return
		}
		hold := c.opt.HoldSeconds
		if s := r.Options.ReserveSeconds; s != nil && *s > 0 {
			hold = *s
		}
		expire := int64(math.MaxInt64)
		if hold < expire-now.Unix {
			expire = now.Unix + hold
		}
		c.propose(CommandDropApp, &DropApp{Request: *r, Now: now.Unix, ExpireAt: expire}, w, out)
	case *proto.UpdateAppEnvRequest:
		res, done := checkEnvRequest(r)
		if !done {
			res, done = c.st.checkEnvApp(r.AppName)
		}
		if done {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandUpdateAppEnv, &UpdateAppEnv{Request: *r}, w, out)
	default:
		invariant.Assertf(false, "request %T", e.Args)
	}
}

// admit judges a creation by everything that only the leader knows, in the recorded order, and then by the state.
func (c *Core) admit(r *proto.CreateAppRequest) (res Result, done bool) {
	o := &r.Options
	switch {
	case c.effectiveLevel() <= proto.LevelFreezed:
		return Result{Err: proto.ErrStateFreezed}, true
	case o.PartitionCount <= 0 || o.PartitionCount > maxAppPartitions,
		c.checkReplicas(o.ReplicaCount) != "",
		!validCreateEnvs(o.Envs),
		len(r.AppName) > maxNameLen, len(o.AppType) > maxNameLen, envBytes(o.Envs) > maxEnvBytes:
		return Result{Err: proto.ErrInvalidParameters}, true
	}
	if res, done = c.st.checkCreate(r); done {
		return res, true
	}
	if c.st.partitions+int(o.PartitionCount) > maxPartitions {
		return Result{Err: proto.ErrCapacityExceeded}, true
	}
	return Result{}, false
}

// census counts the nodes that have an address.
func (c *Core) census() (alive, all int) {
	for _, m := range c.members {
		if c.st.Node(m.id).Address.IsValid() {
			all++
			if m.alive {
				alive++
			}
		}
	}
	return alive, all
}

// effectiveLevel is the configured level, or freezed while so few nodes live that it is more likely the network that is
// ill than the nodes: whatever was decided then would have to be taken back (spec admin 4).
func (c *Core) effectiveLevel() proto.MetaFunctionLevel {
	alive, all := c.census()
	if c.opt.Level > proto.LevelFreezed &&
		(alive < c.opt.MinLiveNodes || alive*100 < c.opt.LivePercentage*all) {
		return proto.LevelFreezed
	}
	return c.opt.Level
}

// answer tells a waiter the outcome of its command.
func (c *Core) answer(now Now, w waiter, res Result, out *Effects) {
	if msg, ok := w.args.(*proto.NodeHello); ok {
		c.welcome(now, w.link, w.seq, msg, out)
		return
	}
	c.answerResult(w, res, out)
}

// answerErr answers a waiter with an error that was found before the state was asked.
func (c *Core) answerErr(w waiter, err proto.ErrCode, out *Effects) {
	res := Result{Err: err}
	if u, ok := w.args.(*proto.UpdateConfig); ok {
		res.Config = proto.PartitionConfig{GPID: u.Config.GPID, Ballot: proto.InvalidBallot}
		if a, p := c.st.App(u.Config.GPID.App), c.st.Partition(u.Config.GPID); p != nil && c.role == Leading {
			res.Config = a.Config(u.Config.GPID.Part)
		}
	}
	c.answerResult(w, res, out)
}

func (c *Core) answerResult(w waiter, res Result, out *Effects) {
	var body any
	switch r := w.args.(type) {
	case *proto.NodeHello:
		c.sendHelloErr(w.link, w.seq, res.Err, out)
		return
	case *proto.UpdateConfig:
		out.Send = append(out.Send, Send{Link: w.link, Kind: proto.PeerUpdateConfigAck, Seq: w.seq,
			Msg: &proto.UpdateConfigAck{Err: res.Err, Config: res.Config}})
		return
	case *proto.QueryCfgRequest:
		q := &proto.QueryCfgResponse{Err: res.Err}
		if res.Err == proto.ErrForwardToOthers && c.leader.Address.IsValid() {
			q.Partitions = []proto.PartitionConfiguration{{Primary: c.leader.IP, HPPrimary: c.leader.Address}}
		}
		body = q
	case *proto.ListAppsRequest:
		body = &proto.ListAppsResponse{Err: res.Err}
	case *proto.ListNodesRequest:
		body = &proto.ListNodesResponse{Err: res.Err}
	case *proto.ClusterInfoRequest:
		body = &proto.ClusterInfoResponse{Err: res.Err}
	case *proto.CreateAppRequest:
		body = &proto.CreateAppResponse{Err: res.Err, AppID: res.AppID}
	case *proto.DropAppRequest:
		body = &proto.DropAppResponse{Err: res.Err}
	case *proto.GetMaxReplicaCountRequest:
		body = &proto.GetMaxReplicaCountResponse{Err: res.Err, HintMessage: res.Hint}
	case *proto.SetMaxReplicaCountRequest:
		body = &proto.SetMaxReplicaCountResponse{Err: res.Err, OldMaxReplicaCount: res.OldCount, HintMessage: res.Hint}
	case *proto.BalancerRequest:
		body = &proto.BalancerResponse{Err: res.Err}
	case *proto.UpdateAppEnvRequest:
		body = &proto.UpdateAppEnvResponse{Err: res.Err, HintMessage: res.Hint}
	default:
		invariant.Assertf(false, "answer to %T", r)
	}
	rep := Reply{Token: w.token, Body: body}
	if res.Err == proto.ErrForwardToOthers {
		rep.Forward, rep.Leader = true, c.leader.IP
	}
	out.Reply = append(out.Reply, rep)
}

func (c *Core) clusterInfo() *proto.ClusterInfoResponse {
	var total, primaries []float64
	for _, m := range c.listed() {
		if m.alive {
			primaries = append(primaries, float64(m.primaries-m.assigns))
			total = append(total, float64(m.replicas-m.assigns-m.learning))
		}
	}
	r := &proto.ClusterInfoResponse{}
	add := func(k, v string) { r.Keys, r.Values = append(r.Keys, k), append(r.Values, v) }
	add("meta_servers", strings.Join(c.opt.Metas, ","))
	add("primary_meta_server", c.opt.Self.String())
	// There is no ZooKeeper; the members of the journal are what comes nearest to it.
	add("zookeeper_hosts", strings.Join(c.opt.Coordinators, ","))
	add("zookeeper_root", "/pegasus/"+c.opt.ClusterName)
	add("meta_function_level", strings.TrimPrefix(c.effectiveLevel().String(), "fl_"))
	add("balance_operation_count", "{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": 0\n}")
	add("primary_replica_count_stddev", fmt.Sprintf("%.2f", deviation(primaries)))
	add("total_replica_count_stddev", fmt.Sprintf("%.2f", deviation(total)))
	add("cluster_name", c.opt.ClusterName)
	return r
}

// deviation is the standard deviation of a whole population.
func deviation(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	mean, sum := 0.0, 0.0
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(v)))
}
