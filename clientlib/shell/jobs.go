package shell

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
)

// jobCommands start, watch and steer the long operations of the meta server.
func (s *Shell) jobCommands() []*cobra.Command {
	balance := s.starter("rebalance [app_name]", "move replicas until nothing is gained any more", "",
		func(ctx context.Context, a admin.Admin, args []string) (admin.Job, error) {
			if len(args) == 0 {
				return a.Rebalance(ctx, "")
			}
			return a.Rebalance(ctx, args[0])
		})
	balance.ValidArgsFunction = s.completeTable
	drain := s.starter("drain <node>", "hand over what a node serves, so that it can be stopped", "Node %s will hand over what it serves.",
		func(ctx context.Context, a admin.Admin, args []string) (admin.Job, error) {
			return a.Drain(ctx, args[0])
		})
	decommission := s.starter("decommission <node>", "copy everything on a node to others, so that it can be taken away",
		"Everything on node %s will be copied to others, and the node will get nothing any more.",
		func(ctx context.Context, a admin.Admin, args []string) (admin.Job, error) {
			return a.Decommission(ctx, args[0])
		})
	back := s.command(groupJobs, "return_node <node>", "let a drained or decommissioned node take replicas again",
		func(c *call, args []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				if err := a.Return(ctx, args[0]); err != nil {
					return err
				}
				return c.done("node %s takes replicas again", args[0])
			})
		})
	for _, cmd := range []*cobra.Command{drain, decommission, back} {
		cmd.ValidArgsFunction = s.completeNode
	}
	all := s.command(groupJobs, "jobs", "long operations under way and those that ended lately", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			jobs, err := a.Jobs(ctx)
			if err != nil {
				return err
			}
			return c.printJobs(jobs)
		})
	})
	one := s.command(groupJobs, "job <id>", "one long operation", func(c *call, args []string) error {
		id, err := jobID(args[0])
		if err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			j, err := a.Job(ctx, id)
			if err != nil {
				return err
			}
			return c.printJob(&j)
		})
	})
	one.ValidArgsFunction = s.completeJob
	return []*cobra.Command{
		drain, decommission, back, balance, note(all, noteWatch), note(one, noteWatch),
		s.controlCommand("pause", "stop new work of a job; what is under way ends"),
		s.controlCommand("resume", "go on with a paused job"),
		s.controlCommand("cancel", "end a job; what it moved stays where it is"),
	}
}

func jobID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || id < 1 {
		return 0, usagef("job %q: want a number, see `jobs`", arg)
	}
	return id, nil
}

// starter is a command that starts a job. With --wait it stays until the job has ended. question is what is asked
// before, with the first argument in it; empty: nothing.
func (s *Shell) starter(use, short, question string, start func(ctx context.Context, a admin.Admin, args []string) (admin.Job, error)) *cobra.Command {
	var wait bool
	cmd := s.command(groupJobs, use, short, func(c *call, args []string) error {
		if question != "" {
			if err := c.confirm(fmt.Sprintf(question, args[0])); err != nil {
				return err
			}
		}
		var job admin.Job
		err := c.ask(func(ctx context.Context, a admin.Admin) (err error) {
			job, err = start(ctx, a, args)
			return err
		})
		if err != nil {
			return err
		}
		if wait {
			return c.follow(&job)
		}
		return c.printJob(&job)
	})
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the job has ended")
	if question == "" {
		return cmd
	}
	return note(cmd, noteDanger)
}

// followEvery is how often a job is asked for while somebody waits for it.
const followEvery = 500 * time.Millisecond

// follow waits for the end of a job and shows its progress meanwhile. A job that failed is an error.
func (c *call) follow(j *admin.Job) error {
	drawn := ""
	for !j.IsEnded() {
		if err := c.sleep(followEvery); err != nil {
			return fmt.Errorf("job %d goes on: %w", j.ID, err)
		}
		err := c.ask(func(ctx context.Context, a admin.Admin) error {
			now, err := a.Job(ctx, j.ID)
			if err == nil {
				*j = now
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("job %d goes on: %w", j.ID, err)
		}
		if line := "\r" + jobLine(j) + "\x1b[K"; c.opt.ErrTerminal && line != drawn {
			fmt.Fprint(c.opt.Err, line)
			drawn = line
		}
	}
	if drawn != "" {
		fmt.Fprint(c.opt.Err, "\r\x1b[K")
	}
	if err := c.printJob(j); err != nil {
		return err
	}
	if j.Status != "done" {
		return fmt.Errorf("job %d: %s %s", j.ID, j.Status, j.Reason)
	}
	return nil
}

func jobLine(j *admin.Job) string {
	line := fmt.Sprintf("%s: %s, %d of %d %s", j.Kind, j.Step, j.Done, j.Total, j.Unit)
	if j.Waiting != "" {
		line += " (waiting: " + j.Waiting + ")"
	}
	return line
}

func (s *Shell) controlCommand(action, short string) *cobra.Command {
	cmd := s.command(groupJobs, action+"_job <id>", short, func(c *call, args []string) error {
		id, err := jobID(args[0])
		if err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			j, err := a.ControlJob(ctx, id, action)
			if err != nil {
				return err
			}
			return c.printJob(&j)
		})
	})
	cmd.ValidArgsFunction = s.completeJob
	return cmd
}

// completeJob completes the first argument as a job that has not ended.
func (s *Shell) completeJob(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.listed(func(ctx context.Context, a admin.Admin) (names []string, err error) {
		jobs, err := a.Jobs(ctx)
		for i := range jobs {
			if !jobs[i].IsEnded() {
				names = append(names, fmt.Sprintf("%d\t%s %s%s", jobs[i].ID, jobs[i].Kind, jobs[i].Node, jobs[i].Table))
			}
		}
		return names, err
	})
}

func jobMark(status string) report.Mark {
	return report.Mark{Text: status, Bad: status == "failed" || status == "paused" || status == "canceled"}
}

func about(j *admin.Job) any {
	if what := strings.TrimSpace(j.Node + " " + j.Table); what != "" {
		return what
	}
	return nil
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *call) printJobs(jobs []admin.Job) error {
	var d report.Doc
	t := d.Table("jobs", "id", "kind", "about", "status", "step", "done", "total", "unit", "started", "waiting_or_reason")
	for i := range jobs {
		j := &jobs[i]
		why := j.Waiting
		if why == "" {
			why = j.Reason
		}
		t.Row(j.ID, j.Kind, about(j), jobMark(j.Status), orNil(j.Step), j.Done, j.Total, orNil(j.Unit), second(j.Started), orNil(why))
	}
	return c.print(&d)
}

func (c *call) printJob(j *admin.Job) error {
	var d report.Doc
	d.Fields("job").Set("id", j.ID).Set("kind", j.Kind).Set("node", orNil(j.Node)).Set("table", orNil(j.Table)).
		Set("status", jobMark(j.Status)).Set("step", orNil(j.Step)).Set("steps", strings.Join(j.Steps, ", ")).
		Set("done", j.Done).Set("total", j.Total).Set("unit", orNil(j.Unit)).Set("waiting", orNil(j.Waiting)).
		Set("reason", orNil(j.Reason)).Set("started", second(j.Started)).Set("changed", second(j.Changed)).Set("ended", second(j.Ended))
	return c.print(&d)
}
