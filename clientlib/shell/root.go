package shell

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
)

// root makes the tree of all commands. In front of a command line stand the flags that choose the cluster; a line of a
// running session has none of them, and the commands of a session besides.
func (s *Shell) root(front bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "pegasus-shell",
		Short: "Administers and queries Pegasus clusters.",
		Long: "Administers and queries Pegasus clusters.\n\n" +
			"Without a command it reads commands: with editing, history and completion on a terminal, line by line from a file or a\n" +
			"pipe. Keys and values are written with C escapes (\\n \\r \\t \\\" \\' \\\\ \\xHH) unless an\n" +
			"encoding is chosen.\n\n" +
			"Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no such record, 4 no answer in time.",
		SilenceErrors: true, SilenceUsage: true, TraverseChildren: true, SuggestionsMinimumDistance: 2,
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g, Title: strings.ToUpper(g[:1]) + g[1:] + ":"})
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ""
		if like := root.SuggestionsFor(args[0]); len(like) > 0 {
			hint = "; did you mean " + strings.Join(like, " or ") + "?"
		}
		return usagef("unknown command %q%s (`help` lists all)", args[0], hint)
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if !front {
			return nil
		}
		return s.session(cmd.Context())
	}
	for _, more := range [][]*cobra.Command{
		s.sessionCommands(front), s.clusterCommands(), s.tableCommands(), s.envCommands(), s.nodeCommands(),
		s.dataCommands(), s.rangeCommands(), s.checkCommands(), s.wholeCommands(), s.jobCommands(), s.statCommands(),
		s.convertCommands(), s.offlineCommands(), s.groupCommands(), s.traceCommands(),
	} {
		root.AddCommand(more...)
	}
	root.SetHelpCommandGroupID(groupSession)
	root.SetCompletionCommandGroupID(groupSession)
	root.CompletionOptions.DisableDefaultCmd = !front
	for _, c := range root.Commands() {
		finish(c)
		for _, sub := range c.Commands() {
			finish(sub)
		}
	}
	if front {
		f := root.Flags()
		f.StringVarP(&s.start.cluster, "cluster", "c", "", "cluster by its name in the configuration, or by the addresses of its metas")
		f.StringVar(&s.start.config, "config", "", "configuration file")
		f.StringVarP(&s.start.table, "table", "t", "", "table in use")
		f.StringVar(&s.start.encoding, "encoding", "", "how keys and values are written, as hashkey=int32,value=utf8; there are "+strings.Join(encodingNames(), ", "))
		f.StringVar(&s.start.compression, "compression", "", "no or zstd: whether values are compressed")
		f.DurationVar(&s.start.timeout, "timeout", 0, "how long an operation may take")
		complete(root.RegisterFlagCompletionFunc("cluster", s.completeClusters))
		complete(root.RegisterFlagCompletionFunc("table", s.completeTables))
		complete(root.RegisterFlagCompletionFunc("compression", choice("no", "zstd")))
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s: %v (`help %s` shows its options)", cmd.Name(), err, cmd.Name())
	})
	root.SetOut(s.opt.Out)
	root.SetErr(s.opt.Err)
	root.SetIn(s.opt.In)
	return root
}

// complete panics on a mistake in the tree, which every start would meet.
func complete(err error) {
	if err != nil {
		panic(err)
	}
}

// Run executes one command line with the flags that may stand in front of the command; without a command it reads
// commands from Options.In.
func (s *Shell) Run(ctx context.Context, args []string) error { return s.run(ctx, s.root(true), args) }

// Line executes one line of a session.
func (s *Shell) Line(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	return s.run(ctx, s.root(false), words)
}

func (s *Shell) run(ctx context.Context, root *cobra.Command, args []string) error {
	root.SetArgs(protectNumbers(root, args))
	return root.ExecuteContext(ctx)
}

// protectNumbers keeps a negative number from being taken for an option where the command says that it may have one:
// whatever begins with - and a digit, and all behind it, is an argument.
func protectNumbers(root *cobra.Command, args []string) []string {
	for i, name := range args {
		cmd, _, err := root.Find([]string{name})
		if err != nil || cmd == root {
			continue
		}
		if cmd.Annotations[noteNoDash] == "" {
			return args
		}
		for j := i + 1; j < len(args); j++ {
			a := args[j]
			if a == "--" {
				return args
			}
			if len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' {
				out := append([]string{}, args[:j]...)
				return append(append(out, "--"), args[j:]...)
			}
		}
		return args
	}
	return args
}

// plain is the text of an error without the names of packages and requests, which say nothing to a person.
func plain(err error) string {
	text := err.Error()
	var op *clientlib.OpError
	if errors.As(err, &op) {
		short := fmt.Sprintf("%v: %v", op.Class, op.Cause)
		var server *clientlib.ServerError
		if errors.As(op.Cause, &server) {
			short = op.Cause.Error()
		}
		text = strings.Replace(text, op.Error(), short, 1)
	}
	return strings.NewReplacer("clientlib: ", "", "admin: ", "", "sweep: ", "").Replace(text)
}

// Say prints an error for a person, unless the output has said it already.
func (s *Shell) Say(err error) {
	var quiet quietError
	if errors.As(err, &quiet) {
		return
	}
	text := "error: " + plain(err)
	if s.opt.Colour {
		text = "\x1b[31m" + text + "\x1b[0m"
	}
	fmt.Fprintln(s.opt.Err, text)
}
