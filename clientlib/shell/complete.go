package shell

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/reeflective/readline"
	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/words"
	"pegasus/netcore/proto"
)

// Completion goes one way for sessions, bash and zsh: cobra's hidden command __complete, which knows commands and options
// and asks the functions of this file for tables, nodes and clusters.

// patience is how long a person waits for a completion.
const patience = 1500 * time.Millisecond

// listed asks the cluster for names; what cannot be asked is not completed.
func (s *Shell) listed(f func(ctx context.Context, a admin.Admin) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	a, err := s.admin()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	names, err := f(ctx, a)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

func (s *Shell) completeTables(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return s.listed(func(ctx context.Context, a admin.Admin) (names []string, err error) {
		tables, err := a.ListTables(ctx, proto.AppAvailable, "", proto.PMTInvalid)
		for i := range tables {
			names = append(names, tables[i].AppName)
		}
		return names, err
	})
}

// completeTable completes the first argument as a table.
func (s *Shell) completeTable(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.completeTables(cmd, args, word)
}

func (s *Shell) completeNodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return s.listed(func(ctx context.Context, a admin.Admin) (names []string, err error) {
		nodes, err := a.ListNodes(ctx, proto.NodeInvalid)
		for i := range nodes {
			names = append(names, nodeAddress(&nodes[i]))
		}
		return names, err
	})
}

// completeNode completes the first argument as a node.
func (s *Shell) completeNode(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.completeNodes(cmd, args, word)
}

func (s *Shell) completeClusters(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	if s.load() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range s.settings.Clusters {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// choice completes one of a few words.
func choice(list ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// flagWords says what the value of an option may be.
func flagWords(cmd *cobra.Command, flag string, f completion) {
	complete(cmd.RegisterFlagCompletionFunc(flag, f))
}

// completer is the editor's: the candidates for the word before the cursor.
func (s *Shell) completer(line []rune, cursor int) readline.Completions {
	typed := words.Partial(string(line[:cursor]))
	word := typed[len(typed)-1]
	if len(typed) == 1 && strings.HasPrefix(word, "-") {
		return readline.Completions{}
	}
	values := s.candidates(typed)
	comps := readline.CompleteRaw(values)
	comps.PREFIX = word
	return comps
}

// candidates asks __complete. Its answer is one candidate per line, description behind a tab, and a line with a
// directive.
func (s *Shell) candidates(typed []string) []readline.Completion {
	root := s.root(false)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, typed...))
	if err := root.Execute(); err != nil {
		return nil
	}
	word := typed[len(typed)-1]
	var values []readline.Completion
	for _, l := range strings.Split(out.String(), "\n") {
		name, about, _ := strings.Cut(l, "\t")
		if name == "" || strings.HasPrefix(name, ":") || !strings.HasPrefix(name, word) {
			continue
		}
		values = append(values, readline.Completion{Value: words.Quote(name), Display: name, Description: about})
	}
	return values
}
