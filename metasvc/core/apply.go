package core

import (
	"maps"
	"slices"

	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Result is the outcome of a command. It depends on the state alone, so every meta computes the same one; only the meta
// that proposed the command tells it to somebody.
type Result struct {
	Err      proto.ErrCode
	AppID    int32
	Hint     string
	OldCount int32 // replicas per partition before
	OldFlag  bool
	Job      int64
	Config   proto.PartitionConfig
}

// Delta says what a command changed, for whoever keeps an index over the state.
type Delta struct {
	Apps  []int32
	Parts []PartitionChange
	Nodes []proto.NodeID
	Jobs  []int64
}

// PartitionChange is a partition with another configuration than before.
type PartitionChange struct {
	GPID           proto.GPID
	OldPrimary     proto.NodeID
	OldSecondaries []proto.NodeID
}

func (d *Delta) reset() {
	d.Apps, d.Parts, d.Nodes, d.Jobs = d.Apps[:0], d.Parts[:0], d.Nodes[:0], d.Jobs[:0]
}

// Apply carries out a committed command and records in d what changed (d is emptied first).
func (s *State) Apply(c *Command, d *Delta) Result {
	d.reset()
	switch b := c.Body.(type) {
	case *CreateApp:
		return s.createApp(b, d)
	case *DropApp:
		return s.dropApp(b, d)
	case *UpdateConfig:
		return s.updateConfig(&b.Update, d)
	case *Reconfigure:
		return s.updateConfig(&b.Update, d)
	case *SetReplicas:
		return s.setReplicas(b, d)
	case *UpdateAppEnv:
		return s.updateAppEnv(&b.Request, d)
	case *RegisterNode:
		return s.registerNode(&b.Node, d)
	case *ExpireApps:
		return s.expireApps(b.Now, d)
	case *RecallApp:
		return s.recallApp(b, d)
	case *RenameApp:
		return s.renameApp(b, d)
	case *SetIdempotent:
		return s.setIdempotent(b, d)
	case *SetOption:
		return s.setOption(b)
	case *StartJob:
		return s.startJob(b, d)
	case *MoveJob:
		return s.moveJob(b, d)
	case *ReturnNode:
		return s.returnNode(b, d)
	case *Appoint:
		return s.appoint(b, d)
	case *Recover:
		return s.recoverFrom(b, d)
	}
	invariant.Assertf(false, "command kind %d with body %T", c.Kind, c.Body)
	return Result{}
}

// checkCreate answers a creation that changes nothing: the name is taken. done is false when the table is to be made.
func (s *State) checkCreate(r *proto.CreateAppRequest) (res Result, done bool) {
	a := s.names[r.AppName]
	if a == nil {
		return Result{}, false
	}
	if err := busy(a.Info.Status); err != proto.ErrOK {
		return Result{Err: err}, true
	}
	o := &r.Options
	switch {
	case !o.SuccessIfExist:
		return Result{Err: proto.ErrAppExist}, true
	case o.PartitionCount != a.Info.PartitionCount || o.AppType != a.Info.AppType || !maps.Equal(o.Envs, a.Info.Envs) ||
		o.IsStateful != a.Info.IsStateful || o.ReplicaCount != a.Info.MaxReplicaCount:
		return Result{Err: proto.ErrInvalidParameters}, true
	}
	return Result{AppID: a.Info.AppID}, true
}

// busy is the error for a table on its way to another status, ErrOK for one that is available (spec wire 7).
func busy(st proto.AppStatus) proto.ErrCode {
	switch st {
	case proto.AppAvailable:
		return proto.ErrOK
	case proto.AppCreating, proto.AppRecalling:
		return proto.ErrBusyCreating
	case proto.AppDropping:
		return proto.ErrBusyDropping
	}
	return proto.ErrUnknown
}

func (s *State) createApp(c *CreateApp, d *Delta) Result {
	if res, done := s.checkCreate(&c.Request); done {
		return res
	}
	o := &c.Request.Options
	no, idempotent := false, o.AtomicIdempotent != nil && *o.AtomicIdempotent
	a := &App{
		Info: proto.AppInfo{
			Status:             proto.AppAvailable,
			AppType:            o.AppType,
			AppName:            c.Request.AppName,
			AppID:              s.nextApp,
			PartitionCount:     o.PartitionCount,
			Envs:               maps.Clone(o.Envs),
			IsStateful:         o.IsStateful,
			MaxReplicaCount:    o.ReplicaCount,
			CreateSecond:       c.Now,
			Duplicating:        &no,
			InitPartitionCount: o.PartitionCount,
			IsBulkLoading:      &no,
			AtomicIdempotent:   &idempotent,
		},
		Partitions: make([]Partition, o.PartitionCount),
	}
	if a.Info.Envs == nil {
		a.Info.Envs = make(map[string]string)
	}
	s.revision++
	s.nextApp++
	a.Revision = s.revision
	for i := range a.Partitions {
		a.Partitions[i].Revision = s.revision
		d.Parts = append(d.Parts, PartitionChange{GPID: proto.GPID{App: a.Info.AppID, Part: int32(i)}})
	}
	s.apps = append(s.apps, a)
	s.names[a.Info.AppName] = a
	s.partitions += len(a.Partitions)
	d.Apps = append(d.Apps, a.Info.AppID)
	return Result{AppID: a.Info.AppID}
}

// checkDrop answers a drop that changes nothing.
func (s *State) checkDrop(r *proto.DropAppRequest) (res Result, done bool) {
	a := s.names[r.AppName]
	if a == nil {
		if r.Options.SuccessIfNotExist {
			return Result{}, true
		}
		return Result{Err: proto.ErrAppNotExist}, true
	}
	err := busy(a.Info.Status)
	return Result{Err: err}, err != proto.ErrOK
}

// dropApp closes every register by a ballot of its own, so that whatever was proposed under the old one is stale.
func (s *State) dropApp(c *DropApp, d *Delta) Result {
	if res, done := s.checkDrop(&c.Request); done {
		return res
	}
	a := s.names[c.Request.AppName]
	s.revision++
	a.Revision = s.revision
	a.Info.Status = proto.AppDropped
	a.Info.DropSecond = c.Now
	a.Info.ExpireSecond = c.ExpireAt
	delete(s.names, a.Info.AppName)
	for i := range a.Partitions {
		p := &a.Partitions[i]
		d.Parts = append(d.Parts, PartitionChange{proto.GPID{App: a.Info.AppID, Part: int32(i)}, p.Primary, p.Secondaries})
		for _, n := range p.Secondaries {
			p.dropMember(n)
		}
		if !p.Primary.IsZero() {
			p.dropMember(p.Primary)
		}
		p.Primary, p.Secondaries = proto.NodeID{}, nil
		p.Flags |= flagDropped
		p.Ballot++
		p.Revision = s.revision
	}
	d.Apps = append(d.Apps, a.Info.AppID)
	return Result{AppID: a.Info.AppID}
}

func (s *State) expireApps(now int64, d *Delta) Result {
	gone := func(a *App) bool { return a.Info.Status == proto.AppDropped && a.Info.ExpireSecond <= now }
	for _, a := range s.apps {
		if gone(a) {
			d.Apps = append(d.Apps, a.Info.AppID)
			s.partitions -= len(a.Partitions)
			s.forget(a.Info.AppID)
		}
	}
	if len(d.Apps) > 0 {
		s.revision++
		s.apps = slices.DeleteFunc(s.apps, gone)
	}
	return Result{}
}

// registerNode stores what a node says of itself. An address belongs to the node that claimed it last: the former owner
// is forgotten, or, when a configuration still names it, kept without an address.
func (s *State) registerNode(n *Node, d *Delta) Result {
	if old := s.nodes[n.ID]; old != nil && *old == *n {
		return Result{}
	}
	s.revision++
	for _, o := range s.Nodes() {
		if o.ID == n.ID || o.Address != n.Address {
			continue
		}
		d.Nodes = append(d.Nodes, o.ID)
		if s.isMember(o.ID) {
			o.Address, o.IP, o.Transfer = proto.HostPort{}, 0, ""
		} else {
			delete(s.nodes, o.ID)
		}
	}
	c := *n
	c.Mode = NodeInService
	if old := s.nodes[n.ID]; old != nil && (old.Mode != NodeDrained || old.Incarnation == n.Incarnation) {
		c.Mode = old.Mode
	}
	s.nodes[n.ID] = &c
	d.Nodes = append(d.Nodes, n.ID)
	return Result{}
}

// forget remembers that a table expired.
func (s *State) forget(id int32) {
	if len(s.forgotten) >= maxForgotten {
		delete(s.forgotten, slices.Min(slices.Collect(maps.Keys(s.forgotten))))
	}
	s.forgotten[id] = struct{}{}
}

func (s *State) isMember(n proto.NodeID) bool {
	for _, a := range s.apps {
		for i := range a.Partitions {
			if a.Partitions[i].concerns(n) {
				return true
			}
		}
	}
	return false
}
