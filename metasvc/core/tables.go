package core

import (
	"fmt"
	"slices"

	"pegasus/netcore/proto"
)

// What becomes of a table after its creation: recall, rename, and the switch atomic_idempotent. Source of the answers: spec
// admin 3 and the recordings.

// RecallApp takes a dropped table back into service. Now is unix seconds at the leader that proposed it.
type RecallApp struct {
	Request proto.RecallAppRequest `thrift:"1"`
	Now     int64                  `thrift:"2"`
}

// RenameApp gives a table another name.
type RenameApp struct {
	Request proto.RenameAppRequest `thrift:"1"`
}

// SetIdempotent sets the switch atomic_idempotent of a table.
type SetIdempotent struct {
	AppID int32 `thrift:"1"`
	Value bool  `thrift:"2"`
}

// checkRecall answers a recall that changes nothing, else returns the table and the name that it gets.
func (s *State) checkRecall(r *proto.RecallAppRequest, now int64) (a *App, name string, err proto.ErrCode) {
	a = s.App(r.AppID)
	switch {
	case a == nil:
		return nil, "", proto.ErrAppNotExist
	case a.available():
		return nil, "", proto.ErrAppExist
	case a.Info.Status != proto.AppDropped:
		return nil, "", busy(a.Info.Status)
	case a.Info.ExpireSecond <= now:
		return nil, "", proto.ErrAppNotExist
	}
	if name = r.NewAppName; name == "" {
		name = a.Info.AppName
	}
	if s.names[name] != nil || len(name) > maxNameLen {
		return nil, "", proto.ErrInvalidParameters
	}
	return a, name, proto.ErrOK
}

// recallApp opens the registers again. They name nobody: the guardian appoints the node that was the primary at the drop, for
// it alone surely has everything that was acknowledged.
func (s *State) recallApp(c *RecallApp, d *Delta) Result {
	a, name, err := s.checkRecall(&c.Request, c.Now)
	if err != proto.ErrOK {
		return Result{Err: err}
	}
	s.revision++
	a.Revision = s.revision
	a.Info.Status, a.Info.AppName = proto.AppAvailable, name
	s.names[name] = a
	for i := range a.Partitions {
		p := &a.Partitions[i]
		d.Parts = append(d.Parts, PartitionChange{GPID: proto.GPID{App: a.Info.AppID, Part: int32(i)}})
		p.Flags &^= flagDropped
		if len(p.LastDrops) == 0 {
			p.Ballot = 0 // nobody ever had it
		}
		p.Revision = s.revision
	}
	d.Apps = append(d.Apps, a.Info.AppID)
	return Result{AppID: a.Info.AppID}
}

// noTable is the table in an answer that has none.
var noTable = proto.AppInfo{InitPartitionCount: -1, Duplicating: new(bool), IsBulkLoading: new(bool), AtomicIdempotent: new(bool)}

// checkRename answers a rename that changes nothing.
func (s *State) checkRename(r *proto.RenameAppRequest) (res Result, done bool) {
	a := s.names[r.OldAppName]
	switch {
	case a == nil:
		return Result{Err: proto.ErrAppNotExist, Hint: fmt.Sprintf("ERROR: app(%s) not exist!", r.OldAppName)}, true
	case !a.available():
		return Result{Err: busy(a.Info.Status)}, true
	case s.names[r.NewAppName] != nil:
		return Result{Err: proto.ErrInvalidParameters, Hint: fmt.Sprintf("ERROR: app(%s) already exist!", r.NewAppName)}, true
	case len(r.NewAppName) > maxNameLen:
		return Result{Err: proto.ErrInvalidParameters, Hint: fmt.Sprintf("ERROR: a name of more than %d bytes", maxNameLen)}, true
	}
	return Result{}, false
}

func (s *State) renameApp(c *RenameApp, d *Delta) Result {
	if res, done := s.checkRename(&c.Request); done {
		return res
	}
	a := s.names[c.Request.OldAppName]
	s.revision++
	a.Revision = s.revision
	delete(s.names, a.Info.AppName)
	a.Info.AppName = c.Request.NewAppName
	s.names[a.Info.AppName] = a
	d.Apps = append(d.Apps, a.Info.AppID)
	return Result{AppID: a.Info.AppID}
}

const hintSameSwitch = "no need to update atomic_idempotent since it's unchanged"

func (a *App) idempotent() bool { return a.Info.AtomicIdempotent != nil && *a.Info.AtomicIdempotent }

func (s *State) idempotentOf(r *proto.GetAtomicIdempotentRequest) *proto.GetAtomicIdempotentResponse {
	a := s.AppByName(r.AppName)
	if a == nil {
		return &proto.GetAtomicIdempotentResponse{Err: proto.ErrAppNotExist, HintMessage: noSuchApp(r.AppName)}
	}
	return &proto.GetAtomicIdempotentResponse{AtomicIdempotent: a.idempotent()}
}

// checkIdempotent answers a setting of the switch that changes nothing, else returns the command.
func (s *State) checkIdempotent(r *proto.SetAtomicIdempotentRequest) (cmd *SetIdempotent, res Result) {
	a := s.AppByName(r.AppName)
	switch {
	case a == nil:
		return nil, Result{Err: proto.ErrAppNotExist, Hint: noSuchApp(r.AppName)}
	case !a.available():
		return nil, Result{Err: proto.ErrInvalidState, Hint: fmt.Sprintf("app(%s) is not in available status", r.AppName)}
	case a.idempotent() == r.AtomicIdempotent:
		return nil, Result{OldFlag: a.idempotent(), Hint: hintSameSwitch}
	}
	return &SetIdempotent{AppID: a.Info.AppID, Value: r.AtomicIdempotent}, Result{}
}

func (s *State) setIdempotent(c *SetIdempotent, d *Delta) Result {
	a := s.App(c.AppID)
	if a == nil || !a.available() {
		return Result{Err: proto.ErrAppNotExist, Hint: hintDroppedMeanwhile}
	}
	res := Result{OldFlag: a.idempotent()}
	if res.OldFlag == c.Value {
		res.Hint = hintSameSwitch
		return res
	}
	s.revision++
	a.Revision = s.revision
	value := c.Value
	a.Info.AtomicIdempotent = &value
	d.Apps = append(d.Apps, c.AppID)
	return res
}

// Appoint makes a node the only member of a partition whose register names nobody who could serve: of a recalled table, or
// when an operator or a recovery says so. Whatever the others had and this one has not is given up.
type Appoint struct {
	GPID   proto.GPID   `thrift:"1"`
	Ballot proto.Ballot `thrift:"2"` // of the register that is replaced
	Next   proto.Ballot `thrift:"3"` // of the new one; above every ballot that a replica knows
	Node   proto.NodeID `thrift:"4"`
	// Rupture: the node may lack what others had. Kept is what it surely shares with all that ever was a member.
	Rupture bool         `thrift:"5"`
	Kept    proto.Decree `thrift:"6"`
}

func (s *State) appoint(c *Appoint, d *Delta) Result {
	a, p := s.App(c.GPID.App), s.Partition(c.GPID)
	switch {
	case p == nil:
		return Result{Err: proto.ErrObjectNotFound}
	case !a.available():
		return Result{Err: proto.ErrAppDropped}
	case p.Ballot != c.Ballot || c.Next <= p.Ballot:
		return Result{Err: proto.ErrInvalidVersion}
	case s.nodes[c.Node] == nil:
		return Result{Err: proto.ErrObjectNotFound}
	}
	d.Parts = append(d.Parts, PartitionChange{c.GPID, p.Primary, slices.Clone(p.Secondaries)})
	s.revision++
	for _, n := range append(slices.Clone(p.Secondaries), p.Primary) {
		if !n.IsZero() {
			p.dropMember(n)
		}
	}
	p.Primary, p.Secondaries, p.Ballot = c.Node, nil, c.Next
	if c.Rupture {
		p.Rupture, p.Kept = c.Next, c.Kept
	}
	p.LastDrops = slices.DeleteFunc(p.LastDrops, p.isMember)
	p.Revision = s.revision
	return Result{}
}
