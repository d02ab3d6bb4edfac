package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"pegasus/netcore/proto"
)

// The scripts in testdata/steps read as stories: each command is one event, its output the effects. Commands:
//
//	lead | follow [leader=ADDR] | elect      change the role
//	hello node=N link=L [inc=I] [holds=G,..] a node opens a session
//	beacon node=N link=L [inc=I] [rev=R]     a sign of life
//	close link=L                             a connection is gone
//	update link=L node=N part=G ballot=B type=T [is=N+N..] [from=N]
//	report node=N link=L part=G [learners=N+N] [prepared=D] [failure=TEXT]
//	balance part=G [steps=T:N+T:N..] [force] [untyped]
//	replicas NAME [set=N]
//	options [delay=DURATION] [min=N] [stale=DURATION] [recovering]
//	status link=L node=N [closed=G+G] [compacted=G@T+G@T] [compacting=G] [full] [free=MB]
//	recall ID [NAME] | rename OLD NEW | idempotent NAME [set=true|false] | level [N]
//	drain N | decommission N | return N | even [TABLE] | compact NAME
//	jobs | job ID pause|resume|cancel
//	diagnose [part=G] | assign part=G node=N
//	option KEY [VALUE]
//	recover [nodes=N+N] [badnodes] [lost]
//	group ADDR [ADDR ..]
//	tick DURATION                            time passes
//	pass DURATION                            time passes, and every connected node gives signs of life
//	create NAME parts=P replicas=R [env=K:V] [exist] [type=T] [stateless]
//	drop NAME [exist] [reserve=S]
//	env NAME [set=K:V] [del=K] [clear=P]
//	query NAME [i=I,..]  | list [status=S] | nodes | info
//	commit                                   the journal commits what was proposed, in order
//	lose                                     what was proposed never comes back
//	refuse                                   the journal does not take what was proposed
//	restart                                  another meta starts from this one's snapshot
//	register                                 print the replicated state
//	observe TEXT                             the leader saw something
//	notes [after=SEQ]                        print the log of events
type script struct {
	t         *testing.T
	c         *Core
	opt       Options
	now       Now
	token     uint64
	proposals []Proposed
	lines     []string
}

func testOptions() Options {
	return Options{
		Self: proto.NewHostPort("meta1", 1), SelfIP: 0x7f000001_0001_0001, Origin: 7, ClusterName: "test",
		Metas: []string{"meta1:1"}, Coordinators: []string{"meta1:2"}, Level: proto.LevelSteady,
		MinLiveNodes: 1, LivePercentage: 50, MinReplicas: 1, MaxReplicas: 5, HoldSeconds: 100, Grace: 3 * time.Second,
	}
}

func TestSteps(t *testing.T) {
	datadriven.Walk(t, "testdata/steps", func(t *testing.T, path string) {
		s := &script{t: t, opt: testOptions(), now: Now{Mono: int64(time.Hour), Unix: 1000}}
		s.c = New(s.opt)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.lines = t, nil
			s.run(d)
			if len(s.lines) == 0 {
				return "-\n"
			}
			return strings.Join(s.lines, "\n") + "\n"
		})
	})
}

func (s *script) say(format string, args ...any) {
	s.lines = append(s.lines, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func nodeID(n int) proto.NodeID { return proto.NodeID{0: byte(n)} }

func short(id proto.NodeID) string {
	if id.IsZero() {
		return "-"
	}
	return fmt.Sprintf("n%d", id[0])
}

func (s *script) step(ev Event) {
	var out Effects
	if err := s.c.Step(s.now, ev, &out); err != nil {
		s.say("FATAL %v", err)
	}
	for _, p := range out.Propose {
		cmd, err := ParseCommand(p.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		s.say("propose %s", strings.TrimPrefix(fmt.Sprintf("%T", cmd.Body), "*core."))
		s.proposals = append(s.proposals, p)
	}
	for _, m := range out.Send {
		s.say("to link %d: %s", m.Link, showFrame(m.Msg))
	}
	for _, r := range out.Reply {
		if r.Err != proto.ErrOK {
			s.say("reply %d: RPC %v", r.Token, r.Err)
			continue
		}
		s.say("reply %d: %s", r.Token, showReply(&r))
	}
}

var configTypes = map[string]proto.ConfigType{
	"assign": proto.CTAssignPrimary, "force": proto.CTPrimaryForceUpdateBallot, "inactive": proto.CTDowngradeToInactive,
	"add": proto.CTAddSecondary, "addlb": proto.CTAddSecondaryForLB, "secondary": proto.CTUpgradeToSecondary,
	"remove": proto.CTRemove, "primary": proto.CTUpgradeToPrimary, "down": proto.CTDowngradeToSecondary,
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == '+' })
}

func (s *script) run(d *datadriven.TestData) {
	arg := func(key string) string {
		for _, a := range d.CmdArgs {
			if a.Key == key && len(a.Vals) > 0 {
				return a.Vals[0]
			}
		}
		return ""
	}
	has := func(key string) bool {
		return slices.ContainsFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == key })
	}
	num := func(key string, def int64) int64 {
		if !has(key) {
			return def
		}
		var v int64
		if _, err := fmt.Sscan(arg(key), &v); err != nil {
			d.Fatalf(s.t, "%s: %v", key, err)
		}
		return v
	}
	gpid := func(text string) (g proto.GPID) {
		if _, err := fmt.Sscanf(text, "%d.%d", &g.App, &g.Part); err != nil {
			d.Fatalf(s.t, "partition %q: %v", text, err)
		}
		return g
	}
	list := func(key string) (out []proto.NodeID) {
		for _, n := range strings.FieldsFunc(arg(key), func(r rune) bool { return r == '+' }) {
			var v int
			if _, err := fmt.Sscan(n, &v); err != nil {
				d.Fatalf(s.t, "%s: %v", key, err)
			}
			out = append(out, nodeID(v))
		}
		return out
	}
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
	request := func(args any) {
		s.token++
		s.step(Request{Token: s.token, Args: args})
	}
	switch d.Cmd {
	case "lead":
		s.step(Leadership{Role: Leading, Address: s.opt.Self, IP: s.opt.SelfIP})
	case "elect":
		s.step(Leadership{Role: Electing})
	case "follow":
		l := Leadership{Role: Following}
		if has("leader") {
			l.Address, l.IP = proto.NewHostPort(arg("leader"), 1), 0x0a000001_0001_0001
		}
		s.step(l)
	case "hello":
		n := int(num("node", 0))
		m := &proto.NodeHello{
			Node: nodeID(n), Address: proto.NewHostPort(fmt.Sprintf("10.0.0.%d", num("addr", int64(n))), 34801),
			Shards: 1, Incarnation: num("inc", 1),
		}
		m.Transfer = proto.NewHostPort(m.Address.Host, 34899)
		m.Zone = arg("zone")
		for _, g := range split(arg("holds")) {
			// G, or G@BALLOT/PREPARED/COMMITTED with a * behind it for a primary.
			r := proto.ReplicaReport{Committed: 9}
			g, detail, ok := strings.Cut(g, "@")
			if r.GPID = gpid(g); ok {
				if _, err := fmt.Sscanf(detail, "%d/%d/%d", &r.Ballot, &r.Prepared, &r.Committed); err != nil {
					d.Fatalf(s.t, "%s: %v", detail, err)
				}
				if strings.HasSuffix(detail, "*") {
					r.Role = rolePrimary
				}
			}
			m.Replicas = append(m.Replicas, r)
		}
		for _, a := range split(arg("apps")) { // ID:NAME:PARTITIONS:REPLICAS
			info := proto.AppInfo{AppType: "pegasus", IsStateful: true}
			if _, err := fmt.Sscanf(strings.ReplaceAll(a, ":", " "), "%d %s %d %d", &info.AppID, &info.AppName,
				&info.PartitionCount, &info.MaxReplicaCount); err != nil {
				d.Fatalf(s.t, "%s: %v", a, err)
			}
			m.Apps = append(m.Apps, info)
		}
		s.step(Hello{Link: uint64(num("link", 0)), Seq: 1, Msg: m})
	case "beacon":
		s.step(Beacon{Link: uint64(num("link", 0)), Seq: 2, Msg: &proto.NodeBeacon{
			Node: nodeID(int(num("node", 0))), Incarnation: num("inc", 1), SentAt: 55,
			Revision: num("rev", s.c.st.revision),
		}})
	case "close":
		s.step(LinkClosed{Link: uint64(num("link", 0))})
	case "update":
		n := num("node", 0)
		members := list("is")
		if members == nil {
			members = []proto.NodeID{nodeID(int(n))}
		}
		u := &proto.UpdateConfig{
			Config: proto.PartitionConfig{GPID: gpid(arg("part")), Ballot: proto.Ballot(num("ballot", 0)),
				Primary: members[0], Secondaries: members[1:]},
			Type: configTypes[arg("type")], Node: nodeID(int(n)),
		}
		if has("from") {
			u.From = nodeID(int(num("from", 0)))
		}
		s.step(Update{Link: uint64(num("link", 0)), Seq: 3, Msg: u})
	case "report":
		s.step(Report{Link: uint64(num("link", 0)), Msg: &proto.NodeReport{
			Node: nodeID(int(num("node", 0))), Replicas: []proto.ReplicaReport{{
				GPID: gpid(arg("part")), Prepared: proto.Decree(num("prepared", 0)), Failure: arg("failure"),
				Learners: list("learners"),
			}}}})
	case "balance":
		r := &proto.BalancerRequest{GPID: gpid(arg("part"))}
		if force := has("force"); force {
			r.Force = &force
		}
		if t := proto.BalanceMovePrimary; !has("untyped") {
			r.BalanceType = &t
		}
		for _, step := range strings.FieldsFunc(arg("steps"), func(r rune) bool { return r == '+' }) {
			typ, node, _ := strings.Cut(step, ":")
			host := fmt.Sprintf("10.0.0.%s", node)
			r.ActionList = append(r.ActionList, proto.ProposalAction{Type: configTypes[typ], HPNode: proto.NewHostPort(host, 34801)})
		}
		request(r)
	case "replicas":
		if !has("set") {
			request(&proto.GetMaxReplicaCountRequest{AppName: first})
			break
		}
		request(&proto.SetMaxReplicaCountRequest{AppName: first, MaxReplicaCount: int32(num("set", 0))})
	case "options":
		if has("delay") {
			v, err := time.ParseDuration(arg("delay"))
			if err != nil {
				s.t.Fatal(err)
			}
			s.opt.AssignDelay = v
		}
		if has("stale") {
			v, err := time.ParseDuration(arg("stale"))
			if err != nil {
				s.t.Fatal(err)
			}
			s.opt.StaleDelay = v
		}
		s.opt.Recovering = has("recovering")
		s.opt.MinWriteReplicas = int32(num("min", 0))
		s.c = New(s.opt)
	case "status":
		m := &proto.NodeStatusReport{Node: nodeID(int(num("node", 0)))}
		for _, g := range split(arg("closed")) {
			m.Closed = append(m.Closed, gpid(g))
		}
		for _, g := range split(arg("compacted")) {
			g, at, _ := strings.Cut(g, "@")
			var ended int64
			fmt.Sscan(at, &ended)
			m.Replicas = append(m.Replicas, proto.ReplicaLoad{GPID: gpid(g), ManualCompact: 3, ManualCompactEnded: ended * 1000})
		}
		for _, g := range split(arg("compacting")) {
			m.Replicas = append(m.Replicas, proto.ReplicaLoad{GPID: gpid(g), ManualCompact: compactRunning})
		}
		if has("full") || has("free") {
			disk := proto.DiskStatus{Tag: "d", CapacityMB: 1000, AvailableMB: num("free", 0)}
			if has("full") {
				disk.Status = 1
			}
			m.Disks = []proto.DiskStatus{disk}
		}
		s.step(Status{Link: uint64(num("link", 0)), Msg: m})
	case "recall":
		var id int32
		fmt.Sscan(first, &id)
		r := &proto.RecallAppRequest{AppID: id}
		if len(d.CmdArgs) > 1 {
			r.NewAppName = d.CmdArgs[1].Key
		}
		request(r)
	case "rename":
		request(&proto.RenameAppRequest{OldAppName: first, NewAppName: d.CmdArgs[1].Key})
	case "idempotent":
		if has("set") {
			request(&proto.SetAtomicIdempotentRequest{AppName: first, AtomicIdempotent: arg("set") == "true"})
			break
		}
		request(&proto.GetAtomicIdempotentRequest{AppName: first})
	case "level":
		level := proto.LevelInvalid
		if first != "" {
			fmt.Sscan(first, &level)
		}
		request(&proto.MetaControlRequest{Level: level})
	case "drain", "decommission":
		request(&StartRequest{Kind: d.Cmd, Node: "10.0.0." + first + ":34801"})
	case "return":
		request(&ReturnRequest{Node: "10.0.0." + first + ":34801"})
	case "even":
		request(&StartRequest{Kind: "balance", Table: first})
	case "compact":
		if has("query") {
			request(&proto.QueryAppManualCompactRequest{AppName: first})
			break
		}
		request(&proto.StartAppManualCompactRequest{AppName: first})
	case "jobs":
		request(&JobsRequest{})
	case "job":
		var id int64
		fmt.Sscan(first, &id)
		request(&JobRequest{ID: id, Action: d.CmdArgs[1].Key})
	case "diagnose":
		r := &proto.DDDDiagnoseRequest{PID: proto.GPID{App: -1, Part: -1}}
		if has("part") {
			r.PID = gpid(arg("part"))
		}
		request(r)
	case "assign":
		force := true
		request(&proto.BalancerRequest{GPID: gpid(arg("part")), Force: &force, ActionList: []proto.ProposalAction{{
			Type: proto.CTAssignPrimary, HPNode: proto.NewHostPort("10.0.0."+arg("node"), 34801),
		}}})
	case "option":
		r := &OptionRequest{Key: first, Default: len(d.CmdArgs) == 1}
		if !r.Default {
			r.Value = d.CmdArgs[1].Key
		}
		request(r)
	case "recover":
		r := &proto.RecoveryRequest{SkipBadNodes: has("badnodes"), SkipLostPartitions: has("lost")}
		for _, n := range split(arg("nodes")) {
			r.RecoveryNodes = append(r.RecoveryNodes, 0x7f00_0001_0001_0001)
			r.HPRecoveryNodes = append(r.HPRecoveryNodes, proto.NewHostPort("10.0.0."+n, 34801))
		}
		request(r)
	case "group":
		var g Group
		for _, a := range d.CmdArgs {
			g.Metas = append(g.Metas, a.Key)
		}
		s.step(g)
	case "tick":
		d, err := time.ParseDuration(first)
		if err != nil {
			s.t.Fatal(err)
		}
		s.now.Mono += int64(d)
		s.now.Unix += int64(d / time.Second)
		s.step(Tick{})
	case "pass":
		total, err := time.ParseDuration(first)
		if err != nil {
			s.t.Fatal(err)
		}
		for ; total > 0; total -= time.Second {
			for _, m := range slices.Clone(s.c.members) {
				if n := s.c.st.Node(m.id); m.link != 0 {
					said := len(s.lines)
					s.step(Beacon{Link: m.link, Msg: &proto.NodeBeacon{Node: m.id, Incarnation: n.Incarnation,
						Revision: s.c.st.revision}})
					s.lines = slices.DeleteFunc(s.lines, func(l string) bool {
						return slices.Index(s.lines, l) >= said && strings.Contains(l, "BeaconAck ERR_OK")
					})
				}
			}
			s.now.Mono += int64(time.Second)
			s.now.Unix++
			s.step(Tick{})
		}
	case "create":
		r := &proto.CreateAppRequest{AppName: first, Options: proto.CreateAppOptions{
			PartitionCount: int32(num("parts", 1)), ReplicaCount: int32(num("replicas", 1)), SuccessIfExist: has("exist"),
			AppType: "pegasus", IsStateful: !has("stateless"), Envs: map[string]string{},
		}}
		if k, v, ok := strings.Cut(arg("env"), ":"); ok {
			r.Options.Envs[k] = v
		}
		request(r)
	case "drop":
		r := &proto.DropAppRequest{AppName: first, Options: proto.DropAppOptions{SuccessIfNotExist: has("exist")}}
		if has("reserve") {
			v := num("reserve", 0)
			r.Options.ReserveSeconds = &v
		}
		request(r)
	case "env":
		r := &proto.UpdateAppEnvRequest{AppName: first}
		switch {
		case has("set"):
			k, v, _ := strings.Cut(arg("set"), ":")
			r.Op, r.Keys, r.Values = proto.AppEnvOpSet, []string{k}, []string{v}
		case has("del"):
			r.Op, r.Keys = proto.AppEnvOpDel, []string{arg("del")}
		case has("clear"):
			p := arg("clear")
			r.Op, r.ClearPrefix = proto.AppEnvOpClear, &p
		}
		request(r)
	case "query":
		r := &proto.QueryCfgRequest{AppName: first}
		for _, i := range strings.FieldsFunc(arg("i"), func(r rune) bool { return r == '+' }) {
			var v int32
			if _, err := fmt.Sscan(i, &v); err != nil {
				s.t.Fatal(err)
			}
			r.PartitionIndices = append(r.PartitionIndices, v)
		}
		request(r)
	case "list":
		request(&proto.ListAppsRequest{Status: proto.AppStatus(num("status", 0))})
	case "nodes":
		request(&proto.ListNodesRequest{Status: proto.NodeStatus(num("status", 0))})
	case "info":
		request(&proto.ClusterInfoRequest{})
	case "commit":
		all := s.proposals
		s.proposals = nil
		for _, p := range all {
			s.step(Committed{Data: p.Data, At: s.now.Unix * 1000})
		}
	case "lose":
		s.proposals = nil
	case "refuse":
		all := s.proposals
		s.proposals = nil
		for _, p := range all {
			s.step(Refused{Seq: p.Seq})
		}
	case "restart":
		st, err := ReadSnapshot(s.c.st.AppendSnapshot(nil))
		if err != nil {
			s.t.Fatal(err)
		}
		s.opt.Origin++
		s.c = New(s.opt)
		s.step(Restored{State: st})
	case "observe":
		s.step(Observed{Notes: []Note{{At: s.now.Unix*1000 + 1, Kind: "node", Text: d.CmdArgs[0].Key}}})
	case "notes":
		list, last := s.c.st.Notes(num("after", 0))
		for _, n := range list {
			s.say("%d %d %s: %s", n.Seq, n.At, n.Kind, n.Text)
		}
		s.say("last %d", last)
	case "register":
		for _, a := range s.c.st.apps {
			s.say("%d %s %v rev=%d envs=%v", a.Info.AppID, a.Info.AppName, a.Info.Status, a.Revision, a.Info.Envs)
			for i := range a.Partitions {
				p := &a.Partitions[i]
				drops := make([]string, len(p.LastDrops))
				for i, n := range p.LastDrops {
					drops[i] = short(n)
				}
				s.say("  %s drops=%v flags=%d rev=%d", showConfig(a.Config(int32(i))), drops, p.Flags, p.Revision)
			}
		}
		for _, n := range s.c.st.Nodes() {
			mode := ""
			if n.Mode != NodeInService {
				mode = " " + n.Mode.String()
			}
			s.say("%s %v %v incarnation=%d%s", short(n.ID), n.Address, n.IP, n.Incarnation, mode)
		}
	default:
		d.Fatalf(s.t, "unknown command %s", d.Cmd)
	}
}
