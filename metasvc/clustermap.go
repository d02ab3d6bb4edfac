package metasvc

import (
	"slices"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// mapShown bounds the partitions of a map: a browser does not show more to anybody's use.
const mapShown = 4096

// clusterMap shows who has what.
func (w *watcher) clusterMap() *console.Map {
	c, st := w.s.core, w.s.core.State()
	m := &console.Map{Nodes: []string{}, Tables: []console.MapTable{}}
	index := map[proto.NodeID]int{}
	for _, n := range c.LookAtNodes(w.now()) {
		index[n.ID] = len(m.Nodes)
		m.Nodes = append(m.Nodes, n.Address.String())
	}
	at := func(id proto.NodeID) int {
		if i, ok := index[id]; ok {
			return i
		}
		return -1
	}
	left := mapShown
	for _, a := range st.Tables() {
		if a.Info.Status != proto.AppAvailable {
			continue
		}
		n := min(left, len(a.Partitions))
		left -= n
		m.Omitted += len(a.Partitions) - n
		if n > 0 {
			m.Tables = append(m.Tables, w.mapTable(a, n, at))
		}
	}
	return m
}

func (w *watcher) mapTable(a *core.App, n int, at func(proto.NodeID) int) console.MapTable {
	t := console.MapTable{ID: a.Info.AppID, Name: a.Info.AppName}
	for i := range n {
		p := &a.Partitions[i]
		members := []int{at(p.Primary)}
		for _, s := range p.Secondaries {
			members = append(members, at(s))
		}
		t.Learners = append(t.Learners, len(members))
		for _, l := range w.s.core.LookAtReplica(p.Primary, proto.GPID{App: a.Info.AppID, Part: int32(i)}).Learners {
			if l != p.Primary && !slices.Contains(p.Secondaries, l) {
				members = append(members, at(l))
			}
		}
		t.Members = append(t.Members, members)
		t.Health = append(t.Health, int(w.s.core.Health(a, int32(i))))
	}
	return t
}
