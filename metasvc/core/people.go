package core

import "pegasus/netcore/proto"

// Views for pages and commands. They are to be taken on the leader; nobody else knows who lives.

// AppView is a table with its partitions.
type AppView struct {
	Info       proto.AppInfo
	Partitions []proto.PartitionConfiguration
	// Healthy partitions have all their members; unwritable ones too few to write; unreadable ones nobody alive to lead.
	Healthy, Unwritable, Unreadable int
}

// ViewApp describes an available table by name; nil if there is none.
func (c *Core) ViewApp(name string) *AppView {
	a := c.st.AppByName(name)
	if a == nil {
		return nil
	}
	v := &AppView{Info: a.Info}
	for i := range a.Partitions {
		g, p := proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]
		v.Partitions = append(v.Partitions, c.configuration(a, int32(i)))
		if c.sound(a, g) {
			v.Healthy++
		}
		primary := c.byID[p.Primary]
		led := primary != nil && primary.alive
		if !led {
			v.Unreadable++
		}
		if !led || p.members() < int(c.minReplicas(a)) {
			v.Unwritable++
		}
	}
	return v
}

// ViewJob describes a job; ok is false if there is none.
func (c *Core) ViewJob(id int64) (v JobView, ok bool) {
	if j := c.st.Job(id); j != nil {
		return c.viewJob(j), true
	}
	return v, false
}

// ListApps returns all tables that are remembered, by id.
func (c *Core) ListApps() []proto.AppInfo { return c.st.listApps(&proto.ListAppsRequest{}).Infos }

// ClusterInfo is the answer of RPC_CM_CLUSTER_INFO.
func (c *Core) ClusterInfo() *proto.ClusterInfoResponse { return c.clusterInfo() }

// NodeView is a node with what it serves.
type NodeView struct {
	Address   string `json:"address"`
	Alive     bool   `json:"alive"`
	Mode      string `json:"mode"` // "in service", "draining", "drained" or "leaving"
	Zone      string `json:"zone"`
	Primaries int    `json:"primaries"`
	Replicas  int    `json:"replicas"`
	FreeMB    int64  `json:"free_mb"` // room on its good disks; -1: it has not said
}

// ViewNodes lists the nodes that have an address, in the order of these.
func (c *Core) ViewNodes() (out []NodeView) {
	for _, m := range c.listed() {
		n := c.st.Node(m.id)
		out = append(out, NodeView{
			Address: n.Address.String(), Mode: n.Mode.String(), Zone: n.Zone, Alive: m.alive,
			Primaries: m.primaries - m.assigns, Replicas: m.replicas - m.assigns - m.learning, FreeMB: m.freeMB(),
		})
	}
	return out
}
