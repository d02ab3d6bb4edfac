package core

import (
	"fmt"
	"strings"

	"pegasus/netcore/proto"
)

// How the scripts print what the core says.

func showConfig(p proto.PartitionConfig) string {
	w := []string{short(p.Primary)}
	for _, n := range p.Secondaries {
		w = append(w, short(n))
	}
	return fmt.Sprintf("%v@%d=%s", p.GPID, p.Ballot, strings.Join(w, "+"))
}

func showFrame(m any) string {
	list := func(apps []proto.AppInfo, set []proto.TableSettings, parts []proto.PartitionConfig, nodes []proto.PeerNode) string {
		var w []string
		for i, a := range apps {
			if len(set) != len(apps) || set[i].AppID != a.AppID {
				return fmt.Sprintf("settings %v for %d tables", set, len(apps))
			}
			w = append(w, fmt.Sprintf("%s(%d,%v,%v,%d/%d)", a.AppName, a.AppID, a.Status, a.Envs, set[i].MinReplicas,
				a.MaxReplicaCount))
		}
		for _, p := range parts {
			w = append(w, showConfig(p))
		}
		for _, n := range nodes {
			state := "down"
			if n.Alive {
				state = "up"
			}
			w = append(w, fmt.Sprintf("%s:%s", short(n.Node), state))
			if n.Address.IsValid() != n.Transfer.IsValid() || n.Address.Host != n.Transfer.Host {
				w = append(w, fmt.Sprintf("address %v, transfer %v", n.Address, n.Transfer))
			}
		}
		return strings.Join(w, " ")
	}
	switch m := m.(type) {
	case *proto.NodeHelloAck:
		return fmt.Sprintf("HelloAck %v leader=%v rev=%d %s", m.Err, m.Leader, m.Revision, list(m.Apps, m.Settings, m.Partitions, m.Nodes))
	case *proto.NodeBeaconAck:
		return fmt.Sprintf("BeaconAck %v leader=%v rev=%d sent=%d", m.Err, m.Leader, m.Revision, m.SentAt)
	case *proto.Assignments:
		return fmt.Sprintf("Assign rev=%d %s", m.Revision, list(m.Apps, m.Settings, m.Partitions, m.Nodes))
	case *proto.Proposal:
		return fmt.Sprintf("Proposal %v %s of %s: %s", m.Type, showConfig(m.Config), m.App.AppName, short(m.Node))
	case *proto.Discard:
		return fmt.Sprintf("Discard %v ballot=%d", m.GPID, m.Ballot)
	case *proto.UpdateConfigAck:
		return fmt.Sprintf("UpdateAck %v %s", m.Err, showConfig(m.Config))
	}
	return fmt.Sprintf("%+v", m)
}

func showReply(r *Reply) string {
	forward := ""
	if r.Forward {
		forward = fmt.Sprintf(" forward=%v", r.Leader)
	}
	switch b := r.Body.(type) {
	case *proto.QueryCfgResponse:
		w := []string{fmt.Sprintf("%v app=%d count=%d stateful=%v", b.Err, b.AppID, b.PartitionCount, b.IsStateful)}
		for _, p := range b.Partitions {
			w = append(w, fmt.Sprintf("%d@%d=%v/%v", p.PID.Part, p.Ballot, p.Primary, p.HPPrimary))
			if len(p.Secondaries)+len(p.LastDrops) > 0 {
				w = append(w, fmt.Sprintf("secondaries=%v/%v drops=%v/%v", p.Secondaries, p.HPSecondaries, p.LastDrops, p.HPLastDrops))
			}
		}
		return strings.Join(w, " ") + forward
	case *proto.ListAppsResponse:
		w := []string{b.Err.String()}
		for _, a := range b.Infos {
			w = append(w, fmt.Sprintf("%d:%s:%v(created %d dropped %d expires %d)", a.AppID, a.AppName, a.Status,
				a.CreateSecond, a.DropSecond, a.ExpireSecond))
		}
		return strings.Join(w, " ") + forward
	case *proto.ListNodesResponse:
		w := []string{b.Err.String()}
		for _, n := range b.Infos {
			w = append(w, fmt.Sprintf("%v:%v", n.HPNode, n.Status))
		}
		return strings.Join(w, " ") + forward
	case *AdminResponse:
		w := []string{b.Err.String()}
		if b.Hint != "" {
			w = append(w, fmt.Sprintf("%q", b.Hint))
		}
		for _, j := range b.Jobs {
			w = append(w, fmt.Sprintf("[%d %s %s %s %d/%d %s node=%s table=%s waiting=%q reason=%q ended=%d]", j.ID, j.Kind, j.Status, j.Step,
				j.Done, j.Total, j.Unit, j.Node, j.Table, j.Waiting, j.Reason, j.Ended))
		}
		return strings.Join(w, " ") + forward
	case *proto.RecallAppResponse:
		return fmt.Sprintf("%v %d:%s:%v", b.Err, b.Info.AppID, b.Info.AppName, b.Info.Status) + forward
	case *proto.DDDDiagnoseResponse:
		w := []string{b.Err.String()}
		for _, p := range b.Partitions {
			w = append(w, fmt.Sprintf("%v %q", p.Config.PID, p.Reason))
			for _, n := range p.Dropped {
				w = append(w, fmt.Sprintf("(%v alive=%v collected=%v %d/%d/%d)", n.HPNode, n.IsAlive, n.IsCollected, n.Ballot,
					n.LastPreparedDecree, n.LastCommittedDecree))
			}
		}
		return strings.Join(w, " ") + forward
	case *proto.QueryAppManualCompactResponse:
		progress := int32(-1)
		if b.Progress != nil {
			progress = *b.Progress
		}
		return fmt.Sprintf("%v %q %d%%", b.Err, b.HintMsg, progress) + forward
	case *proto.ClusterInfoResponse:
		var w []string
		for i, k := range b.Keys {
			w = append(w, fmt.Sprintf("%s=%q", k, b.Values[i]))
		}
		return b.Err.String() + " " + strings.Join(w, " ") + forward
	}
	return strings.TrimPrefix(fmt.Sprintf("%+v", r.Body), "&") + forward
}
