package metasvc

import (
	"fmt"
	"strconv"

	"pegasus/metasvc/core"
)

// Commands for jobs and nodes; JOBS.md describes them.
var jobCommands = []command{
	{"jobs", "List the jobs, youngest first", "", func(s *Server, _ []string, reply func(string)) {
		s.ask(&core.JobsRequest{}, reply, func(r *core.AdminResponse) any { return jobList(r) })
	}},
	{"job", "Show a job", "<id>", withJob(func(s *Server, id int64, reply func(string)) {
		s.ask(&core.JobsRequest{ID: id}, reply, oneJob)
	})},
	control("pause", "Have a job rest"),
	control("resume", "Have a paused job go on"),
	control("cancel", "End a job; what is done stays done"),
	start("drain", "node.drain", "Hand over what a node serves and take it out of its groups, before it is restarted"),
	start("decommission", "node.decommission", "Copy everything that a node has to others, before it goes for ever"),
	{"node.list", "List the replica servers with their modes and zones", "", func(s *Server, _ []string, reply func(string)) {
		s.ask(&core.NodesRequest{}, reply, func(r *core.AdminResponse) any {
			if r.Nodes == nil {
				r.Nodes = []core.NodeView{}
			}
			return map[string]any{"error": "ok", "nodes": r.Nodes}
		})
	}},
	{"node.return", "Have a node take replicas again", "<host:port>", withNode(func(s *Server, node string, reply func(string)) {
		s.ask(&core.ReturnRequest{Node: node}, reply, func(*core.AdminResponse) any { return map[string]string{"error": "ok"} })
	})},
	{"balance", "Move replicas until all nodes carry equal shares", "[table]", func(s *Server, args []string, reply func(string)) {
		r := &core.StartRequest{Kind: "balance"}
		switch len(args) {
		case 0:
		case 1:
			r.Table = args[0]
		default:
			reply(failure("invalid arguments"))
			return
		}
		s.ask(r, reply, oneJob)
	}},
}

// jobsText and jobText are the shapes of the answers.
type jobsText struct {
	Error string         `json:"error"`
	Jobs  []core.JobView `json:"jobs"`
}

type jobText struct {
	Error string       `json:"error"`
	Job   core.JobView `json:"job"`
}

func jobList(r *core.AdminResponse) any {
	if r.Jobs == nil {
		r.Jobs = []core.JobView{}
	}
	return jobsText{"ok", r.Jobs}
}

func oneJob(r *core.AdminResponse) any {
	if len(r.Jobs) != 1 {
		return map[string]string{"error": fmt.Sprintf("%d jobs", len(r.Jobs))}
	}
	return jobText{"ok", r.Jobs[0]}
}

func withJob(run func(s *Server, id int64, reply func(string))) func(*Server, []string, func(string)) {
	return func(s *Server, args []string, reply func(string)) {
		if len(args) == 1 {
			if id, err := strconv.ParseInt(args[0], 10, 64); err == nil && id > 0 {
				run(s, id, reply)
				return
			}
		}
		reply(failure("invalid arguments: want the number of a job"))
	}
}

func withNode(run func(s *Server, node string, reply func(string))) func(*Server, []string, func(string)) {
	return func(s *Server, args []string, reply func(string)) {
		if len(args) != 1 {
			reply(failure("invalid arguments: want the host:port of a node"))
			return
		}
		run(s, args[0], reply)
	}
}

func control(action, help string) command {
	return command{"job." + action, help, "<id>", withJob(func(s *Server, id int64, reply func(string)) {
		s.ask(&core.JobRequest{ID: id, Action: action}, reply, oneJob)
	})}
}

func start(kind, name, help string) command {
	return command{name, help, "<host:port>", withNode(func(s *Server, node string, reply func(string)) {
		s.ask(&core.StartRequest{Kind: kind, Node: node}, reply, oneJob)
	})}
}
