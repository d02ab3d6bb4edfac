package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// call is one execution of a command.
type call struct {
	*Shell
	ctx context.Context
	out *report.Printer
	yes bool // confirmed in advance
	cmd *cobra.Command
}

// Groups of commands, as `help` shows them.
const (
	groupSession = "session"
	groupCluster = "cluster"
	groupTables  = "tables"
	groupNodes   = "nodes"
	groupJobs    = "jobs"
	groupData    = "data"
	groupWhole   = "whole tables"
	groupOffline = "offline"
)

var groups = []string{groupSession, groupCluster, groupTables, groupNodes, groupJobs, groupData, groupWhole, groupOffline}

// Annotations of commands.
const (
	noteWatch  = "watch"  // may be repeated with --watch
	noteDanger = "danger" // destroys something: has --yes
	noteNoDash = "nodash" // arguments may begin with a dash and a digit
	notePlain  = "plain"  // prints no document: has neither --json nor --output
	noteLog    = "log"    // --output is a file of the command's own
)

// command makes a command. use is its name and arguments as help shows them: <needed> [optional] and ... for more.
func (s *Shell) command(group, use, short string, run func(c *call, args []string) error) *cobra.Command {
	least, most := countArgs(use)
	cmd := &cobra.Command{
		Use: use, Short: short, GroupID: group, Annotations: map[string]string{},
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < least || most >= 0 && len(args) > most {
				return usagef("usage: %s", use)
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return s.execute(cmd, args, run) }
	// admin-cli writes its commands with dashes.
	if name := cmd.Name(); strings.Contains(name, "_") {
		cmd.Aliases = []string{strings.ReplaceAll(name, "_", "-")}
	}
	return cmd
}

// countArgs reads how many arguments a use line names; most is -1 when there is no limit. Options are not counted.
func countArgs(use string) (least, most int) {
	for _, w := range strings.Fields(use)[1:] {
		switch {
		case strings.HasPrefix(w, "<"):
			least++
			most++
		case strings.HasSuffix(w, "...]"):
			return least, -1
		case strings.HasPrefix(w, "[") && !strings.HasPrefix(w, "[-"):
			most++
		}
	}
	return least, most
}

// note marks a command and returns it.
func note(cmd *cobra.Command, notes ...string) *cobra.Command {
	for _, n := range notes {
		cmd.Annotations[n] = "yes"
	}
	return cmd
}

// finish adds the flags that commands have in common. Short forms are left out where Apache Pegasus' shell gave the
// letter to something else.
func finish(cmd *cobra.Command) {
	f := cmd.Flags()
	short := func(letter string) string {
		if f.ShorthandLookup(letter) != nil {
			return ""
		}
		return letter
	}
	f.BoolP("help", short("h"), false, "help for "+cmd.Name())
	if cmd.Annotations[notePlain] == "" {
		if f.Lookup("json") == nil {
			f.BoolP("json", short("j"), false, "print JSON")
		}
		if f.Lookup("output") == nil {
			f.StringP("output", short("o"), "", "write what is printed into a file")
		}
	}
	if cmd.Annotations[noteWatch] != "" {
		f.Duration("watch", 0, "repeat until interrupted, every 2s or as given (--watch=5s)")
		f.Lookup("watch").NoOptDefVal = "2s"
	}
	if cmd.Annotations[noteDanger] != "" && f.Lookup("yes") == nil {
		f.BoolP("yes", short("y"), false, "do not ask for confirmation")
	}
}

// execute runs a command: output, interruption, repetition.
func (s *Shell) execute(cmd *cobra.Command, args []string, run func(c *call, args []string) error) (err error) {
	if err := s.load(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	c := &call{Shell: s, ctx: ctx, cmd: cmd, out: &report.Printer{W: s.opt.Out, Colour: s.opt.Colour}}
	f := cmd.Flags()
	// The flags that a command lacks are false and empty, which is what GetBool and GetString return beside their error.
	c.out.JSON, _ = f.GetBool("json")
	c.yes, _ = f.GetBool("yes")
	if name, _ := f.GetString("output"); name != "" && cmd.Annotations[notePlain]+cmd.Annotations[noteLog] == "" {
		file, err := os.Create(name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		c.out.W, c.out.Colour = file, false
	}
	every, _ := f.GetDuration("watch")
	if every <= 0 {
		return run(c, args)
	}
	return c.watch(every, func() error { return run(c, args) })
}

// shortestWatch keeps a slip of the finger from flooding the servers.
const shortestWatch = 100 * time.Millisecond

// watch runs f again and again until it is interrupted. On a terminal each round begins on an empty screen, and an error
// does not end it: what is watched is often what recovers.
func (c *call) watch(every time.Duration, f func() error) error {
	if every < shortestWatch {
		return usagef("--watch wants at least %v", shortestWatch)
	}
	for {
		if c.opt.Terminal && !c.out.JSON && c.out.W == c.opt.Out {
			if _, err := io.WriteString(c.out.W, "\x1b[H\x1b[2J"); err != nil {
				return err
			}
		}
		err := f()
		var usage usageError
		switch {
		case c.ctx.Err() != nil: // the person has seen enough
			return nil
		case err == nil:
		case !c.opt.Terminal || errors.As(err, &usage):
			return err
		default:
			c.Say(err)
		}
		if c.sleep(every) != nil {
			return nil
		}
	}
}

// sleep waits for d or the end of the call.
func (c *call) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// print prints a document.
func (c *call) print(d *report.Doc) error { return c.out.Print(d) }

// done says that something was done that has no result: a word for people, {"done":true} for scripts.
func (c *call) done(format string, args ...any) error {
	return c.out.Object(fmt.Sprintf(format, args...), "done", true)
}

// withTimeout bounds one exchange; what takes long by its nature does not use it.
func (c *call) withTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, c.timeout)
}

// onTable runs f with the table in use.
func (c *call) onTable(f func(ctx context.Context, t *clientlib.Table) error) error {
	ctx, cancel := c.withTimeout()
	defer cancel()
	t, err := c.open(ctx)
	if err != nil {
		return err
	}
	return f(ctx, t)
}

// configured asks for the partitions of the table in use.
func (c *call) configured(ctx context.Context, a admin.Admin) (*proto.QueryCfgResponse, error) {
	if c.table == "" {
		return nil, usageError{errNoTable}
	}
	return a.Client().QueryConfig(ctx, c.table)
}

// ask runs f with the operators' side of the client.
func (c *call) ask(f func(ctx context.Context, a admin.Admin) error) error {
	a, err := c.admin()
	if err != nil {
		return err
	}
	ctx, cancel := c.withTimeout()
	defer cancel()
	return f(ctx, a)
}
