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
	case proto.CodeCMRecallApp:
		return new(proto.RecallAppRequest)
	case proto.CodeCMRenameApp:
		return new(proto.RenameAppRequest)
	case proto.CodeCMControlMeta:
		return new(proto.MetaControlRequest)
	case proto.CodeCMGetAtomicIdempotent:
		return new(proto.GetAtomicIdempotentRequest)
	case proto.CodeCMSetAtomicIdempotent:
		return new(proto.SetAtomicIdempotentRequest)
	case proto.CodeCMDDDDiagnose:
		return new(proto.DDDDiagnoseRequest)
	case proto.CodeCMStartRecovery:
		return new(proto.RecoveryRequest)
	case proto.CodeCMStartManualCompact:
		return new(proto.StartAppManualCompactRequest)
	case proto.CodeCMQueryManualCompactStatus:
		return new(proto.QueryAppManualCompactRequest)
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
	if c.recovering() {
		return proto.ErrUnderRecovery
	}
	return proto.ErrOK
}

func (c *Core) request(now Now, e Request, out *Effects) {
	w := waiter{token: e.Token, args: e.Args}
	if err := c.refusal(); err != proto.ErrOK {
		if r, ok := e.Args.(*proto.RecoveryRequest); ok && err == proto.ErrUnderRecovery {
			c.startRecovery(now, r, w, out)
			return
		}
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
		c.proposeBalancer(now, r, w, out)
		c.guard(now, looksPerEvent, out)
	case *proto.DDDDiagnoseRequest:
		reply(c.diagnose(r))
	case *proto.GetAtomicIdempotentRequest:
		reply(c.st.idempotentOf(r))
	case *proto.QueryAppManualCompactRequest:
		reply(c.queryCompact(r))
	case *JobsRequest:
		reply(c.jobList(r))
	case *NodesRequest:
		reply(&AdminResponse{Nodes: c.ViewNodes()})
	case *JobRequest:
		c.controlJob(now, r, w, out)
	case *StartRequest:
		c.startJob(now, r, w, out)
	case *ReturnRequest:
		c.returnNode(now, r, w, out)
	case *OptionRequest:
		c.requestOption(r, w, out)
	case *proto.MetaControlRequest:
		c.controlMeta(r, w, out)
	case *proto.RecoveryRequest:
		c.answerErr(w, proto.ErrServiceAlreadyRunning, out)
	case *proto.StartAppManualCompactRequest:
		c.startCompact(now, r, w, out)
	case *proto.RecallAppRequest:
		if _, _, err := c.st.checkRecall(r, now.Unix); err != proto.ErrOK {
			c.answerErr(w, err, out)
			return
		}
		c.propose(CommandRecallApp, &RecallApp{Request: *r, Now: now.Unix}, w, out)
	case *proto.RenameAppRequest:
		if res, done := c.st.checkRename(r); done {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandRenameApp, &RenameApp{Request: *r}, w, out)
	case *proto.SetAtomicIdempotentRequest:
		cmd, res := c.st.checkIdempotent(r)
		if cmd == nil {
			c.answerResult(w, res, out)
			return
		}
		c.propose(CommandSetIdempotent, cmd, w, out)
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
	level := c.level()
	if percent := int(c.st.number(OptLivePercentage, int64(c.opt.LivePercentage))); level > proto.LevelFreezed &&
		(alive < c.opt.MinLiveNodes || alive*100 < percent*all) {
		return proto.LevelFreezed
	}
	return level
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
	case *proto.RecallAppRequest:
		info := noTable
		if a := c.st.App(res.AppID); res.Err == proto.ErrOK && a != nil {
			info = a.Info
		}
		body = &proto.RecallAppResponse{Err: res.Err, Info: info}
	case *proto.RenameAppRequest:
		body = &proto.RenameAppResponse{Err: res.Err, HintMessage: res.Hint}
	case *proto.MetaControlRequest:
		body = &proto.MetaControlResponse{Err: res.Err, OldLevel: c.level()}
	case *levelChange:
		body = &proto.MetaControlResponse{Err: res.Err, OldLevel: r.old}
	case *proto.GetAtomicIdempotentRequest:
		body = &proto.GetAtomicIdempotentResponse{Err: res.Err, HintMessage: res.Hint}
	case *proto.SetAtomicIdempotentRequest:
		body = &proto.SetAtomicIdempotentResponse{Err: res.Err, OldAtomicIdempotent: res.OldFlag, HintMessage: res.Hint}
	case *proto.DDDDiagnoseRequest:
		body = &proto.DDDDiagnoseResponse{Err: res.Err, Partitions: []proto.DDDPartitionInfo{}}
	case *proto.RecoveryRequest:
		body = &proto.RecoveryResponse{Err: res.Err, HintMessage: res.Hint}
	case *recovery:
		body = &proto.RecoveryResponse{Err: res.Err, HintMessage: r.hint}
	case *proto.StartAppManualCompactRequest:
		body = &proto.StartAppManualCompactResponse{Err: res.Err, HintMsg: res.Hint}
	case *proto.QueryAppManualCompactRequest:
		body = &proto.QueryAppManualCompactResponse{Err: res.Err, HintMsg: res.Hint}
	case *JobsRequest, *NodesRequest, *JobRequest, *StartRequest, *ReturnRequest, *OptionRequest:
		resp := &AdminResponse{Err: res.Err, Hint: res.Hint}
		if j := c.st.Job(res.Job); j != nil && c.role == Leading {
			resp.Jobs = []JobView{c.viewJob(j)}
		}
		body = resp
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
	n := c.operationCount()
	add("balance_operation_count", fmt.Sprintf("{\n  \"copy_pri\": %d,\n  \"copy_sec\": %d,\n  \"move_pri\": %d,\n  \"total\": %d\n}",
		n.copyPrimary, n.copySecondary, n.movePrimary, n.copyPrimary+n.copySecondary+n.movePrimary))
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
