package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/reeflective/readline"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pegasus/clientlib/shell/words"
)

// interact is a session at a terminal. reeflective/readline was chosen over chzyer/readline and peterh/liner, because it
// alone shows help below the line while it is typed and completions with their descriptions; it reads ~/.inputrc too.
func (s *Shell) interact(ctx context.Context) error {
	history, err := openHistory(s.settings.History, s.settings.HistorySize)
	if err != nil {
		s.Say(err) // a session without its history is better than none
	}
	editor := readline.NewShell()
	// Asking the terminal where its cursor is takes a round trip per key, and hangs on those that do not answer. A line
	// here always begins at the left.
	if err := editor.Config.Set("cursor-position-probe", false); err != nil {
		return err
	}
	editor.History.Add("history", history)
	editor.Prompt.Primary(s.prompt)
	editor.Completer = s.completer
	tree := s.root(false)
	editor.Hint.SetProvider(func(line []rune, cursor int) []rune { return []rune(hint(tree, string(line[:cursor]))) })

	fmt.Fprintf(s.opt.Out, "Pegasus shell %s, cluster %s. `help` lists the commands, Tab completes, Ctrl-D ends.\n",
		s.opt.Version, s.clusterName())
	for {
		line, err := editor.Readline()
		switch {
		case errors.Is(err, readline.ErrInterrupt): // drops the line, not the session
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.opt.Out)
			return nil
		case err != nil:
			return err
		}
		typed, err := words.Split(line)
		if err == nil {
			err = s.Line(ctx, typed)
		}
		if errors.Is(err, errExit) {
			return nil
		}
		if err != nil {
			s.Say(err)
		}
	}
}

func (s *Shell) prompt() string {
	name := s.clusterName()
	if s.table != "" {
		name += ":" + s.table
	}
	if s.opt.Colour {
		return "\x1b[1m" + name + "\x1b[0m> "
	}
	return name + "> "
}

// hint is what stands below the line: the usage of its command, or of the option that is being typed.
func hint(root *cobra.Command, line string) string {
	typed := words.Partial(line)
	if len(typed) < 2 {
		return ""
	}
	cmd, rest, err := root.Find(typed[:len(typed)-1])
	if err != nil || cmd == root {
		return ""
	}
	last := typed[len(typed)-1]
	if f := flagOf(cmd, last); f != nil {
		return flagLine(f)
	}
	if len(rest) > 0 {
		if f := flagOf(cmd, rest[len(rest)-1]); f != nil && f.NoOptDefVal == "" {
			return flagLine(f)
		}
	}
	return strings.TrimPrefix(cmd.UseLine(), "pegasus-shell ") + "  -- " + cmd.Short
}

func flagOf(cmd *cobra.Command, word string) *pflag.Flag {
	name, _, _ := strings.Cut(word, "=")
	switch {
	case strings.HasPrefix(name, "--"):
		return cmd.Flags().Lookup(name[2:])
	case len(name) == 2 && name[0] == '-' && name != "--":
		return cmd.Flags().ShorthandLookup(name[1:])
	}
	return nil
}

func flagLine(f *pflag.Flag) string {
	kind, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	return strings.TrimRight(name+" "+kind, " ") + "  -- " + usage
}
