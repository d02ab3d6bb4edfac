package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib/shell/report"
	"pegasus/clientlib/shell/words"
)

// errExit ends a session.
var errExit = errors.New("exit")

// session reads commands until the end of the input: from a person at a terminal, or from a file.
func (s *Shell) session(ctx context.Context) error {
	if err := s.load(); err != nil {
		return err
	}
	if _, err := s.connect(); err != nil {
		return err
	}
	if s.opt.Terminal {
		return s.interact(ctx)
	}
	return s.script(ctx)
}

// maxLine bounds a line of a script.
const maxLine = 4 << 20

// script runs the lines of Options.In and stops at the first that fails.
func (s *Shell) script(ctx context.Context) error {
	in := bufio.NewScanner(s.opt.In)
	in.Buffer(nil, maxLine)
	for n := 1; in.Scan(); n++ {
		line, err := words.Split(in.Text())
		if err != nil {
			return usagef("line %d: %v", n, err)
		}
		switch err := s.Line(ctx, line); {
		case errors.Is(err, errExit):
			return nil
		case err != nil:
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return in.Err()
}

func (s *Shell) sessionCommands(front bool) []*cobra.Command {
	version := s.command(groupSession, "version", "version of this program", func(c *call, _ []string) error {
		return c.out.Object("pegasus-shell "+c.opt.Version, "version", c.opt.Version)
	})
	if front {
		return []*cobra.Command{version}
	}
	use := s.command(groupSession, "use [app_name]", "choose the table for data commands; without a name, say which it is", (*call).use)
	use.ValidArgsFunction = s.completeTable
	cc := s.command(groupSession, "cc [cluster_name]", "change to another cluster; without a name, list them", (*call).changeCluster)
	cc.ValidArgsFunction = s.completeClusters
	all := s.command(groupSession, "escape_all [true|false]", "whether every byte of keys and values is shown as \\xHH", (*call).setEscape)
	all.ValidArgs = []string{"true", "false"}
	return []*cobra.Command{
		version, use, cc, all, s.encodingCommand(), s.compressionCommand(),
		s.command(groupSession, "timeout [time_in_ms]", "how long an operation may take", (*call).setTimeout),
		note(s.command(groupSession, "exit", "end the session", func(*call, []string) error { return errExit }), notePlain),
	}
}

func (c *call) use(args []string) error {
	if len(args) == 0 {
		if c.table == "" {
			return errNoTable
		}
		return c.out.Object("table in use: "+c.table, "table", c.table)
	}
	before := c.table
	c.table = args[0]
	ctx, cancel := c.withTimeout()
	defer cancel()
	t, err := c.open(ctx)
	if err != nil {
		c.table = before
		return fmt.Errorf("table %s: %w", args[0], err)
	}
	return c.out.Object(fmt.Sprintf("table in use: %s (%d partitions)", t.Name(), t.Partitions()),
		"table", t.Name(), "partitions", t.Partitions())
}

func (c *call) changeCluster(args []string) error {
	if len(args) == 0 {
		var d report.Doc
		t := d.Table("", "cluster", "metas", "in_use")
		for _, k := range c.settings.Clusters {
			t.Row(k.Name, joined(k.Metas), k.Name == c.cluster.Name)
		}
		return c.print(&d)
	}
	next, err := c.choose(args[0])
	if err != nil {
		return err
	}
	c.disconnect()
	c.cluster, c.table = next, ""
	return c.out.Object("cluster in use: "+c.clusterName(), "cluster", c.clusterName(), "metas", joined(next.Metas))
}

func (c *call) setEscape(args []string) error {
	if len(args) == 1 {
		on, err := strconv.ParseBool(args[0])
		if err != nil {
			return usagef("escape_all wants true or false, not %q", args[0])
		}
		c.escapeAll = on
	}
	return c.out.Object(fmt.Sprintf("escape_all: %v", c.escapeAll), "escape_all", c.escapeAll)
}

func (c *call) setTimeout(args []string) error {
	if len(args) == 1 {
		ms, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || ms <= 0 {
			return usagef("timeout wants milliseconds above 0, not %q", args[0])
		}
		c.Shell.timeout = time.Duration(ms) * time.Millisecond
		c.disconnect() // the next command connects with the new timeout
	}
	return c.out.Object(fmt.Sprintf("timeout: %d ms", c.timeout.Milliseconds()), "timeout_ms", c.timeout.Milliseconds())
}
