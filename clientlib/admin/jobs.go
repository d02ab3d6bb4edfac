package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// Job is a long operation of the meta server (metasvc/JOBS.md). Times are unix seconds, 0 for not yet.
type Job struct {
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
	Started int64    `json:"started"`
	Changed int64    `json:"changed"`
	Ended   int64    `json:"ended"`
}

// IsEnded tells whether nothing will happen to the job any more.
func (j *Job) IsEnded() bool { return j.Ended != 0 }

// leaderAnswer is the answer to a remote command of the meta leader; which fields it has depends on the command.
type leaderAnswer struct {
	Error   string       `json:"error"`
	Leader  string       `json:"leader"`
	Job     Job          `json:"job"`
	Jobs    []Job        `json:"jobs"`
	Members []MetaMember `json:"members"`
	File    string       `json:"file"`
}

// errNoLeader is the answer when no meta server of those known leads.
var errNoLeader = errors.New("admin: no meta server answered as leader")

// errGarbled is an answer that is no JSON.
var errGarbled = errors.New("admin: no answer of a meta server")

// metaCommand runs a remote command whose answer is JSON at one meta server.
func (a Admin) metaCommand(ctx context.Context, address, name string, args ...string) (*leaderAnswer, error) {
	text, err := a.Command(ctx, address, name, args...)
	if err != nil {
		return nil, fmt.Errorf("meta %s: %w", address, err)
	}
	var answer leaderAnswer
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("%w: meta %s said %q to %s", errGarbled, address, text, name)
	}
	return &answer, nil
}

// leaderCommand runs a remote command whose answer is JSON at the meta leader: the meta servers are asked in turn, and
// the one that they name as leader next.
func (a Admin) leaderCommand(ctx context.Context, name string, args ...string) (*leaderAnswer, error) {
	addresses := a.client.Metas()
	last := errNoLeader
	for hops := 0; len(addresses) > 0 && hops < 16; hops++ {
		address := addresses[0]
		addresses = addresses[1:]
		answer, err := a.metaCommand(ctx, address, name, args...)
		switch {
		case errors.Is(err, errGarbled):
			return nil, err
		case err != nil:
			last = err
			if errors.Is(err, clientlib.ErrUnknownOutcome) && ctx.Err() != nil {
				return nil, last
			}
			continue
		}
		switch answer.Error {
		case "ok":
			return answer, nil
		case proto.ErrForwardToOthers.String():
			if answer.Leader != "" {
				addresses = append([]string{answer.Leader}, addresses...)
			}
		default:
			return nil, errors.New(answer.Error)
		}
	}
	return nil, last
}

// Jobs returns the long operations that are under way and those that ended not long ago, the youngest first.
func (a Admin) Jobs(ctx context.Context) ([]Job, error) {
	answer, err := a.leaderCommand(ctx, "jobs")
	if err != nil {
		return nil, err
	}
	return answer.Jobs, nil
}

func (a Admin) job(ctx context.Context, name string, args ...string) (Job, error) {
	answer, err := a.leaderCommand(ctx, name, args...)
	if err != nil {
		return Job{}, err
	}
	return answer.Job, nil
}

// Job returns one long operation.
func (a Admin) Job(ctx context.Context, id int64) (Job, error) {
	return a.job(ctx, "job", strconv.FormatInt(id, 10))
}

// ControlJob pauses, resumes or cancels a long operation: action is "pause", "resume" or "cancel".
func (a Admin) ControlJob(ctx context.Context, id int64, action string) (Job, error) {
	return a.job(ctx, "job."+action, strconv.FormatInt(id, 10))
}

// Drain has a node hand over its primaries and leave its groups where enough members remain.
func (a Admin) Drain(ctx context.Context, node string) (Job, error) {
	return a.job(ctx, "node.drain", node)
}

// Decommission has everything on a node copied to others.
func (a Admin) Decommission(ctx context.Context, node string) (Job, error) {
	return a.job(ctx, "node.decommission", node)
}

// Return lets a node take replicas again.
func (a Admin) Return(ctx context.Context, node string) error {
	_, err := a.leaderCommand(ctx, "node.return", node)
	return err
}

// Rebalance moves replicas, of one table or (with an empty name) of all, until nothing is gained any more.
func (a Admin) Rebalance(ctx context.Context, table string) (Job, error) {
	if table == "" {
		return a.job(ctx, "balance")
	}
	return a.job(ctx, "balance", table)
}
