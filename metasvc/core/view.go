package core

import (
	"fmt"
	"strings"

	"pegasus/netcore/proto"
)

// The answers that only read.

func (c *Core) queryCfg(r *proto.QueryCfgRequest) *proto.QueryCfgResponse {
	a := c.st.AppByName(r.AppName)
	if a == nil {
		return &proto.QueryCfgResponse{Err: proto.ErrObjectNotFound}
	}
	if err := busy(a.Info.Status); err != proto.ErrOK {
		return &proto.QueryCfgResponse{Err: err}
	}
	resp := &proto.QueryCfgResponse{
		AppID:          a.Info.AppID,
		PartitionCount: a.Info.PartitionCount,
		IsStateful:     a.Info.IsStateful,
	}
	named := r.PartitionIndices[:min(len(r.PartitionIndices), maxAppPartitions)]
	// Order and repetitions of the request are kept, what is out of range is left out (recorded). A request has no reason
	// to name more partitions than the largest table has.
	for _, i := range named {
		if i >= 0 && int(i) < len(a.Partitions) {
			resp.Partitions = append(resp.Partitions, c.configuration(a, i))
		}
	}
	if len(resp.Partitions) == 0 {
		resp.Partitions = make([]proto.PartitionConfiguration, len(a.Partitions))
		for i := range a.Partitions {
			resp.Partitions[i] = c.configuration(a, int32(i))
		}
	}
	if r.WantShards != nil && *r.WantShards {
		resp.Shards = c.shardsOf(a, resp.Partitions)
	}
	return resp
}

// shardsOf lists the members of partitions that have ports for their shards, each once, in the order in which they are met.
func (c *Core) shardsOf(a *App, parts []proto.PartitionConfiguration) []proto.ServerShards {
	out := []proto.ServerShards{}
	seen := map[proto.NodeID]bool{}
	add := func(id proto.NodeID) {
		n := c.st.Node(id)
		if n == nil || seen[id] {
			return
		}
		seen[id] = true
		if n.ShardPort > 0 && n.Shards > 0 {
			out = append(out, proto.ServerShards{Server: n.IP, HPServer: n.Address, Count: n.Shards, First: n.ShardPort})
		}
	}
	for i := range parts {
		p := &a.Partitions[parts[i].PID.Part]
		add(p.Primary)
		for _, s := range p.Secondaries {
			add(s)
		}
	}
	return out
}

// configuration shows a partition with both families of addresses. A node without an address is shown as none.
func (c *Core) configuration(a *App, i int32) proto.PartitionConfiguration {
	p := &a.Partitions[i]
	g := proto.GPID{App: a.Info.AppID, Part: i}
	pc := proto.PartitionConfiguration{
		PID:             g,
		Ballot:          p.Ballot,
		MaxReplicaCount: a.Info.MaxReplicaCount,
		PartitionFlags:  p.Flags & flagDropped,
	}
	if m := c.byID[p.Primary]; m != nil {
		pc.LastCommittedDecree = m.reports[g].Committed
	}
	pc.Primary, pc.HPPrimary = c.address(p.Primary)
	pc.Secondaries, pc.HPSecondaries = c.addresses(p.Secondaries)
	pc.LastDrops, pc.HPLastDrops = c.addresses(p.LastDrops[max(0, len(p.LastDrops)-shownLastDrops):])
	return pc
}

// shownLastDrops is how many former members Apache Pegasus remembers, and clients see.
const shownLastDrops = 3

func (c *Core) address(id proto.NodeID) (proto.RPCAddress, proto.HostPort) {
	if n := c.st.Node(id); n != nil {
		return n.IP, n.Address
	}
	return 0, proto.HostPort{}
}

func (c *Core) addresses(ids []proto.NodeID) ([]proto.RPCAddress, []proto.HostPort) {
	ips, hosts := []proto.RPCAddress{}, []proto.HostPort{} // clients want the optional lists present, also when empty
	for _, id := range ids {
		if ip, host := c.address(id); host.IsValid() {
			ips, hosts = append(ips, ip), append(hosts, host)
		}
	}
	return ips, hosts
}

func (s *State) listApps(r *proto.ListAppsRequest) *proto.ListAppsResponse {
	resp := &proto.ListAppsResponse{}
	for _, a := range s.apps {
		if r.AppNamePattern != nil && r.MatchType != nil {
			matched, hint := matchName(a.Info.AppName, *r.AppNamePattern, *r.MatchType)
			if hint != "" {
				return &proto.ListAppsResponse{Err: proto.ErrNotImplemented, HintMessage: &hint}
			}
			if !matched {
				continue
			}
		}
		if r.Status == proto.AppInvalid || r.Status == a.Info.Status {
			resp.Infos = append(resp.Infos, a.Info)
		}
	}
	return resp
}

func matchName(name, pattern string, t proto.PatternMatchType) (matched bool, hint string) {
	switch t {
	case proto.PMTMatchAll:
		return true, ""
	case proto.PMTMatchExact:
		return name == pattern, ""
	case proto.PMTMatchAnywhere:
		return strings.Contains(name, pattern), ""
	case proto.PMTMatchPrefix:
		return strings.HasPrefix(name, pattern), ""
	case proto.PMTMatchPostfix:
		return strings.HasSuffix(name, pattern), ""
	}
	str := "invalid"
	if t == proto.PMTMatchRegex {
		str = "regex"
	}
	return false, fmt.Sprintf("match_type is not supported: val=%d, str=%s", t, str)
}

// listNodes shows the live nodes, then the dead ones, each in the order of their addresses.
func (c *Core) listNodes(r *proto.ListNodesRequest) *proto.ListNodesResponse {
	resp := &proto.ListNodesResponse{}
	for _, status := range []proto.NodeStatus{proto.NodeAlive, proto.NodeUnalive} {
		if r.Status != proto.NodeInvalid && r.Status != status {
			continue
		}
		for _, m := range c.listed() {
			if m.alive == (status == proto.NodeAlive) {
				n := c.st.Node(m.id)
				resp.Infos = append(resp.Infos, proto.NodeInfo{Status: status, Node: n.IP, HPNode: n.Address})
			}
		}
	}
	return resp
}
