package core

import (
	"fmt"

	"pegasus/netcore/proto"
)

// How many replicas a table wants, and how many it must have to take writes.

// minReplicas is the number of members without which a partition takes no writes: the configured one, or a majority of
// what the table wants. It never exceeds that: a table of one replica would never take a write.
func (c *Core) minReplicas(a *App) int32 {
	count := a.Info.MaxReplicaCount
	switch {
	case c.opt.MinWriteReplicas > 0:
		return max(1, min(c.opt.MinWriteReplicas, count))
	case count > 2:
		return count/2 + 1
	}
	return 1
}

func (c *Core) settings(a *App) proto.TableSettings {
	return proto.TableSettings{AppID: a.Info.AppID, MinReplicas: c.minReplicas(a)}
}

// checkReplicas judges a number of replicas by the limits of the cluster; the hint says what is wrong with it.
func (c *Core) checkReplicas(count int32) (hint string) {
	if count < c.opt.MinReplicas || count > c.opt.MaxReplicas {
		return fmt.Sprintf("requested replica count(%d) must be within the range of [min=%d, max=%d]", count,
			c.opt.MinReplicas, c.opt.MaxReplicas)
	}
	if alive, _ := c.census(); int(count) > alive {
		return fmt.Sprintf("there are not enough alive replica servers(%d) for the requested replica count(%d)", alive, count)
	}
	return ""
}

const (
	hintFrozen           = "current meta function level is freezed, since there are too few alive nodes"
	hintDroppedMeanwhile = "the table was dropped meanwhile"
	hintUnchanged        = "no need to update max_replica_count since it's not changed"
)

func noSuchApp(name string) string { return fmt.Sprintf("app(%s) does not exist", name) }

func (s *State) replicasOf(r *proto.GetMaxReplicaCountRequest) *proto.GetMaxReplicaCountResponse {
	a := s.AppByName(r.AppName)
	if a == nil {
		return &proto.GetMaxReplicaCountResponse{Err: proto.ErrAppNotExist, HintMessage: noSuchApp(r.AppName)}
	}
	return &proto.GetMaxReplicaCountResponse{MaxReplicaCount: a.Info.MaxReplicaCount}
}

// admitReplicas judges RPC_CM_SET_MAX_REPLICA_COUNT in the recorded order of checks.
func (c *Core) admitReplicas(r *proto.SetMaxReplicaCountRequest) (cmd *SetReplicas, res Result) {
	a := c.st.AppByName(r.AppName)
	if a == nil {
		return nil, Result{Err: proto.ErrAppNotExist, Hint: noSuchApp(r.AppName)}
	}
	res.OldCount = a.Info.MaxReplicaCount
	hint := c.checkReplicas(r.MaxReplicaCount)
	switch {
	case !a.available():
		res.Err, res.Hint = proto.ErrInvalidState, fmt.Sprintf("app(%s) is not in available status", r.AppName)
	case c.effectiveLevel() <= proto.LevelFreezed:
		res.Err, res.Hint = proto.ErrStateFreezed, hintFrozen
	case hint != "":
		res.Err, res.Hint = proto.ErrInvalidParameters, hint
	case r.MaxReplicaCount == res.OldCount:
		res.Hint = hintUnchanged
	default:
		return &SetReplicas{AppID: a.Info.AppID, Count: r.MaxReplicaCount}, res
	}
	return nil, res
}

func (s *State) setReplicas(c *SetReplicas, d *Delta) Result {
	a := s.App(c.AppID)
	if a == nil || !a.available() {
		return Result{Err: proto.ErrAppNotExist, Hint: hintDroppedMeanwhile}
	}
	res := Result{OldCount: a.Info.MaxReplicaCount}
	if c.Count == a.Info.MaxReplicaCount {
		res.Hint = hintUnchanged
		return res
	}
	s.revision++
	a.Revision = s.revision
	a.Info.MaxReplicaCount = c.Count
	d.Apps = append(d.Apps, c.AppID)
	return res
}
