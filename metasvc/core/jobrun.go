package core

import (
	"fmt"
	"slices"

	"pegasus/netcore/proto"
)

// jobKind is what the leader knows of a kind of jobs.
type jobKind struct {
	name  string
	steps []jobStep
}

// jobStep is one step of a kind. look does some of what is left, and tells how much that is. It is called again and again,
// also after the step was finished, and by leaders that know nothing of former calls.
type jobStep struct {
	name, unit string
	look       func(c *Core, now Now, j *Job, out *Effects) stepState
}

// stepState is what a look at a job found.
type stepState struct {
	left    int64  // units to be done; 0 ends the step
	waiting string // why nothing goes on; empty when something does
	failed  string // why the job cannot go on at all
}

var jobKinds = map[JobKind]jobKind{}

// init, because the looks need the table themselves.
func init() {
	jobKinds[JobDrain] = jobKind{"drain", []jobStep{{"primaries", "primaries", (*Core).drainPrimaries}, {"secondaries", "replicas", (*Core).drainSecondaries}}}
	jobKinds[JobDecommission] = jobKind{"decommission", []jobStep{{"primaries", "primaries", (*Core).drainPrimaries}, {"replicas", "replicas", (*Core).drainSecondaries}}}
	jobKinds[JobBalance] = jobKind{"balance", []jobStep{{"moves", "moves", (*Core).balanceMoves}}}
	jobKinds[JobCompact] = jobKind{"compact", []jobStep{{"replicas", "replicas", (*Core).compactProgress}}}
}

// jobRun is what the leader knows of an active job.
type jobRun struct {
	stepState
	step   int32
	total  int64  // most that was ever left in this step, and what was done since
	moving uint64 // the proposal of a MoveJob that is under way; 0: none

	// Of a balance: what is under way, how much that was, and how often a partition's move was given up.
	planned map[proto.GPID][]planStep
	busy    int
	tries   map[proto.GPID]int
}

// jobPeriod is how often jobs are looked at, in monotonic nanoseconds.
const jobPeriod = 200e6

// runJobs looks at the running jobs.
func (c *Core) runJobs(now Now, out *Effects) {
	if now.Mono < c.jobsAt {
		return
	}
	c.jobsAt = now.Mono + jobPeriod
	frozen := c.effectiveLevel() <= proto.LevelFreezed
	for _, j := range c.st.jobs {
		if !j.active() {
			continue
		}
		r := c.runs[j.ID]
		if r == nil {
			r = &jobRun{step: j.Step, total: j.Total, tries: make(map[proto.GPID]int)}
			c.runs[j.ID] = r
		}
		if r.step != j.Step { // every step counts for itself
			r.step, r.total, r.stepState = j.Step, 0, stepState{}
		}
		if r.moving != 0 || j.Status != JobRunning {
			continue
		}
		kind, known := jobKinds[j.Kind]
		switch {
		case !known || int(j.Step) >= len(kind.steps):
			c.moveJob(now, j, r, JobFailed, j.Step, "this program does not know such jobs", out)
			continue
		case frozen:
			r.waiting = "the cluster is frozen"
			continue
		}
		was := r.left
		r.stepState = kind.steps[j.Step].look(c, now, j, out)
		if r.left > was {
			r.total += r.left - was
		}
		switch {
		case r.failed != "":
			c.moveJob(now, j, r, JobFailed, j.Step, r.failed, out)
		case r.left > 0:
		case int(j.Step)+1 < len(kind.steps):
			c.moveJob(now, j, r, JobRunning, j.Step+1, "", out)
		default:
			c.moveJob(now, j, r, JobDone, j.Step, "", out)
		}
	}
	for id := range c.runs {
		if j := c.st.Job(id); j == nil || !j.active() {
			delete(c.runs, id)
		}
	}
}

func (c *Core) moveJob(now Now, j *Job, r *jobRun, to JobStatus, step int32, reason string, out *Effects) {
	m := &MoveJob{ID: j.ID, FromStatus: j.Status, FromStep: j.Step, Status: to, Step: step, Reason: reason, Now: now.Unix}
	if step == j.Step {
		m.Done, m.Total = max(0, r.total-r.left), r.total
	}
	r.moving = c.propose(CommandMoveJob, m, waiter{}, out)
}

// jobMoved ends a proposal for a job, whatever came of it.
func (c *Core) jobMoved(seq uint64) {
	for _, r := range c.runs {
		if r.moving == seq {
			r.moving = 0
		}
	}
}

// jobChanged follows the journal.
func (c *Core) jobChanged(id int64) {
	if j := c.st.Job(id); j == nil || !j.active() || j.Status == JobPaused {
		c.dropPlansOf(id)
	}
}

// JobRequest is an operator's word on a job. Its answer is *AdminResponse.
type JobRequest struct {
	ID     int64
	Action string // "pause", "resume", "cancel"
}

// StartRequest begins a job. Its answer is *AdminResponse.
type StartRequest struct {
	Kind  string
	Node  string // host:port
	Table string
}

// ReturnRequest puts a node back into service. Its answer is *AdminResponse.
type ReturnRequest struct{ Node string }

// JobsRequest asks for jobs: one, or with ID 0 all. Its answer is *AdminResponse.
type JobsRequest struct{ ID int64 }

// AdminResponse answers the calls that Apache Pegasus does not have.
type AdminResponse struct {
	Err   proto.ErrCode
	Hint  string
	Jobs  []JobView
	Nodes []NodeView
}

// NodesRequest asks for the nodes with what operators decided about them. Its answer is *AdminResponse.
type NodesRequest struct{}

// JobView is a job as people see it; JOBS.md explains the fields.
type JobView struct {
	ID      int64    `json:"id"`
	Kind    string   `json:"kind"`
	Status  string   `json:"status"`
	Step    string   `json:"step"`
	Steps   []string `json:"steps"`
	Done    int64    `json:"done"`
	Total   int64    `json:"total"`
	Unit    string   `json:"unit"`
	Waiting string   `json:"waiting"`
	Reason  string   `json:"reason"`
	Node    string   `json:"node"`
	Table   string   `json:"table"`
	Auto    bool     `json:"auto"`
	Started int64    `json:"started"`
	Changed int64    `json:"changed"`
	Ended   int64    `json:"ended"`
}

var jobStatusNames = map[JobStatus]string{
	JobRunning: "running", JobPaused: "paused", JobDone: "done", JobFailed: "failed", JobCanceled: "canceled",
}

func (c *Core) viewJob(j *Job) JobView {
	v := JobView{
		ID: j.ID, Status: jobStatusNames[j.Status], Done: j.Done, Total: j.Total, Reason: j.Reason, Auto: j.Auto,
		Started: j.Started, Changed: j.Changed, Ended: j.Ended, Steps: []string{},
	}
	if n := c.st.Node(j.Node); n != nil {
		v.Node = n.Address.String()
	} else if !j.Node.IsZero() {
		v.Node = j.Node.String()
	}
	if a := c.st.App(j.App); a != nil {
		v.Table = a.Info.AppName
	}
	k := jobKinds[j.Kind]
	v.Kind = k.name
	for i, s := range k.steps {
		v.Steps = append(v.Steps, s.name)
		if i == int(j.Step) {
			v.Step, v.Unit = s.name, s.unit
		}
	}
	if r := c.runs[j.ID]; r != nil && j.active() {
		v.Total, v.Done, v.Waiting = r.total, max(0, r.total-r.left), r.waiting
	}
	return v
}

// jobs answers JobsRequest, the youngest first.
func (c *Core) jobList(r *JobsRequest) *AdminResponse {
	resp := &AdminResponse{}
	for _, j := range slices.Backward(c.st.jobs) {
		if r.ID == 0 || r.ID == j.ID {
			resp.Jobs = append(resp.Jobs, c.viewJob(j))
		}
	}
	if r.ID != 0 && len(resp.Jobs) == 0 {
		return &AdminResponse{Err: proto.ErrObjectNotFound, Hint: fmt.Sprintf("no job %d", r.ID)}
	}
	return resp
}

// controlJob passes an operator's word to the journal.
func (c *Core) controlJob(now Now, r *JobRequest, w waiter, out *Effects) {
	fail := func(err proto.ErrCode, hint string) { c.answerResult(w, Result{Err: err, Hint: hint}, out) }
	j := c.st.Job(r.ID)
	if j == nil {
		fail(proto.ErrObjectNotFound, fmt.Sprintf("no job %d", r.ID))
		return
	}
	m := &MoveJob{ID: j.ID, FromStatus: j.Status, FromStep: j.Step, Step: j.Step, Done: j.Done, Total: j.Total, Now: now.Unix}
	if v := c.viewJob(j); j.active() {
		m.Done, m.Total = v.Done, v.Total
	}
	switch {
	case !j.active():
		fail(proto.ErrInvalidState, fmt.Sprintf("job %d has ended", j.ID))
		return
	case r.Action == "pause" && j.Status == JobRunning:
		m.Status, m.Reason = JobPaused, "paused by an operator"
	case r.Action == "resume" && j.Status == JobPaused:
		m.Status = JobRunning
	case r.Action == "cancel":
		m.Status, m.Reason = JobCanceled, "canceled by an operator"
	case r.Action == "pause", r.Action == "resume":
		fail(proto.ErrNoNeedOperate, fmt.Sprintf("job %d is %s", j.ID, jobStatusNames[j.Status]))
		return
	default:
		fail(proto.ErrInvalidParameters, fmt.Sprintf("%q: want pause, resume or cancel", r.Action))
		return
	}
	c.propose(CommandMoveJob, m, w, out)
}

// startJob begins a job on an operator's word.
func (c *Core) startJob(now Now, r *StartRequest, w waiter, out *Effects) {
	fail := func(err proto.ErrCode, hint string) { c.answerResult(w, Result{Err: err, Hint: hint}, out) }
	job := Job{Started: now.Unix, Changed: now.Unix}
	for k, v := range jobKinds {
		if v.name == r.Kind && k != JobCompact { // that one begins by RPC_CM_START_MANUAL_COMPACT
			job.Kind = k
		}
	}
	if job.Kind == 0 {
		fail(proto.ErrInvalidParameters, fmt.Sprintf("%q: want drain, decommission or balance", r.Kind))
		return
	}
	if job.Kind == JobDrain || job.Kind == JobDecommission {
		m, ok := c.memberAt(r.Node)
		if !ok {
			fail(proto.ErrObjectNotFound, fmt.Sprintf("no node %q", r.Node))
			return
		}
		job.Node = m.id
	}
	if r.Table != "" {
		a := c.st.AppByName(r.Table)
		if a == nil || job.Kind != JobBalance {
			fail(proto.ErrAppNotExist, noSuchApp(r.Table))
			return
		}
		job.App = a.Info.AppID
	}
	cmd := &StartJob{Job: job}
	if res := c.st.checkJob(cmd); res.Err != proto.ErrOK {
		c.answerResult(w, res, out)
		return
	}
	c.propose(CommandStartJob, cmd, w, out)
}

func (c *Core) memberAt(address string) (*member, bool) {
	host, ok := proto.ParseHostPort(address)
	if !ok {
		return nil, false
	}
	m := c.byID[c.nodeAt(host, 0)]
	return m, m != nil
}

func (c *Core) returnNode(now Now, r *ReturnRequest, w waiter, out *Effects) {
	m, ok := c.memberAt(r.Node)
	if !ok {
		c.answerResult(w, Result{Err: proto.ErrObjectNotFound, Hint: fmt.Sprintf("no node %q", r.Node)}, out)
		return
	}
	c.propose(CommandReturnNode, &ReturnNode{Node: m.id, Now: now.Unix}, w, out)
}
