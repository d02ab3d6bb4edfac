package core

import (
	"cmp"
	"slices"

	"pegasus/netcore/proto"
)

// Jobs are the long operations of the cluster, see JOBS.md. What is stored of one is its purpose, its step and how it ended.
// How far it got within a step is found out again by looking at the registers: a job never remembers what it did, it asks
// what is left to do. So it may be looked at by any leader, any number of times.

// JobKind says what a job does. Numbers are fixed for ever.
type JobKind int32

// The kinds of jobs.
const (
	JobDrain        JobKind = 1
	JobDecommission JobKind = 2
	JobBalance      JobKind = 3
	JobCompact      JobKind = 4
)

// JobStatus is where a job is in its life.
type JobStatus int32

// The states; those from JobDone on are final.
const (
	JobRunning  JobStatus = 1
	JobPaused   JobStatus = 2
	JobDone     JobStatus = 3
	JobFailed   JobStatus = 4
	JobCanceled JobStatus = 5
)

// Job is one long operation.
type Job struct {
	ID     int64        `thrift:"1"`
	Kind   JobKind      `thrift:"2"`
	Status JobStatus    `thrift:"3"`
	Step   int32        `thrift:"4"`     // index in the steps of the kind
	Node   proto.NodeID `thrift:"5"`     // whom it is about, or zero
	App    int32        `thrift:"6"`     // which table, or 0
	Auto   bool         `thrift:"7"`     // begun by meta itself
	Reason string       `thrift:"8,opt"` // why it failed, or who ended it
	// Started, Changed and Ended are unix seconds of leaders.
	Started int64 `thrift:"9"`
	Changed int64 `thrift:"10"`
	Ended   int64 `thrift:"11,opt"`
	// Done is what had been done of Total when it ended, or when the step began.
	Done  int64 `thrift:"12"`
	Total int64 `thrift:"13"`
	// Since is what counts as done: the time of a compaction's order, in unix seconds. Of a drain it is the incarnation of the
	// node when it began.
	Since int64 `thrift:"14,opt"`
}

func (j *Job) active() bool { return j.Status < JobDone }

// Limits of jobs.
const (
	maxActiveJobs = 256
	maxEndedJobs  = 256
	maxReasonLen  = 1024
)

// StartJob begins a job. Keys and Values are environments that are set with it, in the same entry of the journal.
type StartJob struct {
	Job    Job      `thrift:"1"`
	Keys   []string `thrift:"2,opt"`
	Values []string `thrift:"3,opt"`
}

// MoveJob changes a job: its step, its state or both. It is void unless the job is as it was when it was proposed, so that
// nothing overtakes an operator's word.
type MoveJob struct {
	ID         int64     `thrift:"1"`
	FromStatus JobStatus `thrift:"2"`
	FromStep   int32     `thrift:"3"`
	Status     JobStatus `thrift:"4"`
	Step       int32     `thrift:"5"`
	Reason     string    `thrift:"6,opt"`
	Done       int64     `thrift:"7"`
	Total      int64     `thrift:"8"`
	Now        int64     `thrift:"9"`
}

// NodeMode says what is to become of a node.
type NodeMode int32

// The modes of nodes.
const (
	NodeInService NodeMode = 0
	NodeDraining  NodeMode = 1 // takes nothing new; a job empties it
	NodeDrained   NodeMode = 2 // left its groups; back in service when it restarts, or when an operator says so
	NodeLeaving   NodeMode = 3 // decommissioned, or on its way there
)

var nodeModeNames = [...]string{"in service", "draining", "drained", "leaving"}

// String is what people read.
func (m NodeMode) String() string {
	if m >= 0 && int(m) < len(nodeModeNames) {
		return nodeModeNames[m]
	}
	return "unknown"
}

// ReturnNode puts a node back into service and ends the jobs that emptied it.
type ReturnNode struct {
	Node proto.NodeID `thrift:"1"`
	Now  int64        `thrift:"2"`
}

// Jobs returns all jobs that are remembered, by id.
func (s *State) Jobs() []*Job { return s.jobs }

// Job returns a job, or nil.
func (s *State) Job(id int64) *Job {
	i, ok := slices.BinarySearchFunc(s.jobs, id, func(j *Job, id int64) int { return cmp.Compare(j.ID, id) })
	if !ok {
		return nil
	}
	return s.jobs[i]
}

// checkJob answers the start of a job that cannot begin.
func (s *State) checkJob(c *StartJob) Result {
	active := 0
	for _, j := range s.jobs {
		if !j.active() {
			continue
		}
		active++
		same := j.Kind == c.Job.Kind && j.Node == c.Job.Node && j.App == c.Job.App
		emptying := !c.Job.Node.IsZero() && j.Node == c.Job.Node
		if j.Kind == JobBalance && c.Job.Kind == JobBalance || same || emptying {
			return Result{Err: proto.ErrBusy, Job: j.ID, Hint: "a job of this kind is under way"}
		}
	}
	switch {
	case active >= maxActiveJobs:
		return Result{Err: proto.ErrBusy, Hint: "too many jobs"}
	case !c.Job.Node.IsZero() && s.nodes[c.Job.Node] == nil:
		return Result{Err: proto.ErrObjectNotFound, Hint: "no such node"}
	case c.Job.App != 0 && (s.App(c.Job.App) == nil || !s.App(c.Job.App).available()):
		return Result{Err: proto.ErrAppNotExist, Hint: "no such table"}
	}
	return Result{}
}

func (s *State) startJob(c *StartJob, d *Delta) Result {
	if res := s.checkJob(c); res.Err != proto.ErrOK {
		return res
	}
	s.revision++
	s.lastJob++
	j := c.Job
	j.ID, j.Status, j.Step = s.lastJob, JobRunning, 0
	s.jobs = append(s.jobs, &j)
	switch j.Kind {
	case JobDrain:
		if n := s.nodes[j.Node]; n != nil {
			j.Since = n.Incarnation
		}
		s.setMode(j.Node, NodeDraining, d)
	case JobDecommission:
		s.setMode(j.Node, NodeLeaving, d)
	}
	if a := s.App(j.App); len(c.Keys) > 0 && len(c.Keys) == len(c.Values) && a != nil {
		s.updateAppEnv(&proto.UpdateAppEnvRequest{
			AppName: a.Info.AppName, Op: proto.AppEnvOpSet, Keys: c.Keys, Values: c.Values,
		}, d)
	}
	d.Jobs = append(d.Jobs, j.ID)
	return Result{Job: j.ID}
}

func (s *State) setMode(id proto.NodeID, m NodeMode, d *Delta) {
	if n := s.nodes[id]; n != nil && n.Mode != m {
		n.Mode = m
		d.Nodes = append(d.Nodes, id)
	}
}

func (s *State) moveJob(c *MoveJob, d *Delta) Result {
	j := s.Job(c.ID)
	switch {
	case j == nil:
		return Result{Err: proto.ErrObjectNotFound, Hint: "no such job"}
	case !j.active() || j.Status != c.FromStatus || j.Step != c.FromStep:
		return Result{Err: proto.ErrInvalidState, Job: j.ID, Hint: "the job has changed meanwhile"}
	}
	s.revision++
	j.Status, j.Step, j.Changed, j.Done, j.Total = c.Status, c.Step, c.Now, c.Done, c.Total
	j.Reason = c.Reason
	d.Jobs = append(d.Jobs, j.ID)
	if !j.active() {
		s.jobEnded(j, c.Now, d)
	}
	return Result{Job: j.ID}
}

// jobEnded does what the end of a job means for the cluster, and forgets the oldest ended one when there are too many.
func (s *State) jobEnded(j *Job, now int64, d *Delta) {
	j.Ended = now
	switch {
	case j.Kind == JobDrain && j.Status == JobDone:
		mode := NodeDrained
		if n := s.nodes[j.Node]; n != nil && n.Incarnation != j.Since {
			mode = NodeInService // it restarted before it was empty; that was what it was drained for
		}
		s.setMode(j.Node, mode, d)
	case (j.Kind == JobDrain || j.Kind == JobDecommission) && j.Status != JobDone:
		s.setMode(j.Node, NodeInService, d)
	}
	ended, oldest := 0, -1
	for i, o := range s.jobs {
		if o.active() {
			continue
		}
		ended++
		if oldest < 0 || o.Ended < s.jobs[oldest].Ended {
			oldest = i
		}
	}
	if ended > maxEndedJobs {
		s.jobs = slices.Delete(s.jobs, oldest, oldest+1)
	}
}

func (s *State) returnNode(c *ReturnNode, d *Delta) Result {
	if s.nodes[c.Node] == nil {
		return Result{Err: proto.ErrObjectNotFound, Hint: "no such node"}
	}
	s.revision++
	for _, j := range slices.Clone(s.jobs) {
		if j.active() && j.Node == c.Node {
			j.Status, j.Reason, j.Changed = JobCanceled, "the node was put back into service", c.Now
			d.Jobs = append(d.Jobs, j.ID)
			s.jobEnded(j, c.Now, d)
		}
	}
	s.setMode(c.Node, NodeInService, d)
	return Result{}
}
