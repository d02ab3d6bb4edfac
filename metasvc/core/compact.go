package core

import (
	"fmt"
	"strconv"

	"pegasus/netcore/proto"
)

// Manual compaction: meta sets environments, nodes compact when they see them, and tell in their status how far they are. A
// job follows that, so that people see it beside all others.

const (
	envCompactDisabled = "manual_compact.disabled"
	envCompactOnce     = "manual_compact.once."
	envCompactTime     = envCompactOnce + "trigger_time"
	envCompactLevel    = envCompactOnce + "target_level"
	envCompactBottom   = envCompactOnce + "bottommost_level_compaction"
	envCompactMax      = "manual_compact.max_concurrent_running_count"
)

func notExisted(name string) string { return fmt.Sprintf("app %s is not existed", name) }

// startCompact judges RPC_CM_START_MANUAL_COMPACT in the recorded order (spec admin 10).
func (c *Core) startCompact(now Now, r *proto.StartAppManualCompactRequest, w waiter, out *Effects) {
	fail := func(err proto.ErrCode, hint string) { c.answerResult(w, Result{Err: err, Hint: hint}, out) }
	a := c.st.AppByName(r.AppName)
	switch {
	case a == nil:
		fail(proto.ErrAppNotExist, notExisted(r.AppName))
		return
	case !a.available():
		fail(proto.ErrAppDropped, fmt.Sprintf("app %s is not available", r.AppName))
		return
	case a.Info.Envs[envCompactDisabled] == "true":
		fail(proto.ErrOperationDisabled, fmt.Sprintf("app %s disable manual compaction", r.AppName))
		return
	case r.TargetLevel != nil && *r.TargetLevel < -1:
		fail(proto.ErrInvalidParameters, fmt.Sprintf("invalid target_level(%d), should in range of [-1, num_levels]", *r.TargetLevel))
		return
	case r.MaxRunningCount != nil && *r.MaxRunningCount < 0:
		fail(proto.ErrInvalidParameters, fmt.Sprintf("invalid max_running_count(%d), should be greater than 0", *r.MaxRunningCount))
		return
	}
	since := now.Unix
	if r.TriggerTime != nil && *r.TriggerTime > 0 {
		since = *r.TriggerTime
	}
	level, bottom := int32(-1), "skip"
	if r.TargetLevel != nil {
		level = *r.TargetLevel
	}
	if r.Bottommost != nil && *r.Bottommost {
		bottom = "force"
	}
	cmd := &StartJob{
		Job:  Job{Kind: JobCompact, App: a.Info.AppID, Started: now.Unix, Changed: now.Unix, Since: since},
		Keys: []string{envCompactTime, envCompactLevel, envCompactBottom},
		Values: []string{
			strconv.FormatInt(since, 10), strconv.Itoa(int(level)), bottom,
		},
	}
	if r.MaxRunningCount != nil && *r.MaxRunningCount > 0 {
		cmd.Keys = append(cmd.Keys, envCompactMax)
		cmd.Values = append(cmd.Values, strconv.Itoa(int(*r.MaxRunningCount)))
	}
	// The order of before is superseded: what it still had to do, this one does.
	for _, j := range c.st.jobs {
		if j.active() && j.Kind == JobCompact && j.App == a.Info.AppID {
			c.propose(CommandMoveJob, &MoveJob{ID: j.ID, FromStatus: j.Status, FromStep: j.Step, Status: JobCanceled,
				Step: j.Step, Reason: "ordered anew", Now: now.Unix}, waiter{}, out)
		}
	}
	c.propose(CommandStartJob, cmd, w, out)
}

// compactProgress is the only step of a compaction: replicas do it by themselves.
func (c *Core) compactProgress(_ Now, j *Job, _ *Effects) (st stepState) {
	a := c.st.App(j.App)
	if a == nil || !a.available() {
		return stepState{failed: "the table was dropped"}
	}
	if a.Info.Envs[envCompactTime] == "" {
		return stepState{failed: "the environments that order it were removed"}
	}
	finished, all, running := c.compacted(a, j.Since)
	if st.left = int64(all - finished); st.left > 0 && running == 0 {
		st.waiting = "no replica is compacting at present"
	}
	return st
}

// compacted counts the replicas of a table that compacted since an order, all replicas, and those at it.
func (c *Core) compacted(a *App, since int64) (finished, all, running int) {
	for i := range a.Partitions {
		g, p := proto.GPID{App: a.Info.AppID, Part: int32(i)}, &a.Partitions[i]
		look := func(id proto.NodeID) {
			all++
			m := c.byID[id]
			if m == nil {
				return
			}
			switch l := m.loads[g]; {
			case l.ManualCompactEnded/1000 >= since && l.ManualCompactEnded > 0:
				finished++
			case l.ManualCompact == compactQueuing, l.ManualCompact == compactRunning:
				running++
			}
		}
		if !p.Primary.IsZero() {
			look(p.Primary)
		}
		for _, n := range p.Secondaries {
			look(n)
		}
	}
	return finished, all, running
}

// Values of ReplicaLoad.ManualCompact.
const (
	compactQueuing = 1
	compactRunning = 2
)

// queryCompact answers RPC_CM_QUERY_MANUAL_COMPACT_STATUS.
func (c *Core) queryCompact(r *proto.QueryAppManualCompactRequest) *proto.QueryAppManualCompactResponse {
	a := c.st.AppByName(r.AppName)
	if a == nil || !a.available() {
		return &proto.QueryAppManualCompactResponse{Err: proto.ErrAppNotExist, HintMsg: notExisted(r.AppName)}
	}
	progress := int32(0)
	if since, ok := envInt(a.Info.Envs[envCompactTime], 64); ok && since > 0 {
		if finished, all, _ := c.compacted(a, since); all > 0 {
			progress = int32(100 * finished / all)
		}
	}
	return &proto.QueryAppManualCompactResponse{HintMsg: "succeed", Progress: &progress}
}
