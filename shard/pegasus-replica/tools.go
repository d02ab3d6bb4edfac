package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"pegasus/netcore/proto"
	"pegasus/shard"
)

// The offline tools look at the files of a server and change nothing. They are here because their formats are known to no other
// program, and so that a server and the tools for its files have the same version. People run them through pegasus-shell, which
// has commands of the same names.

// tools are the first arguments that run one of them.
var tools = map[string]func(t *tool, args []string) error{
	"check": checkTool, "local_get": localGet, "sst_dump": sstDump, "mlog_dump": mlogDump,
}

// Exit codes of the tools, those of pegasus-shell.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
)

// toolError is an error with an exit code of its own.
type toolError struct {
	code int
	error
}

func usageError(format string, args ...any) error {
	return toolError{exitUsage, fmt.Errorf(format, args...)}
}

// tool is one run: its options, and where its output goes.
type tool struct {
	flags     *flag.FlagSet
	out       *bufio.Writer
	json      bool
	escapeAll bool
}

// runTool runs a tool and returns the exit code.
func runTool(name string, args []string, out, complaints io.Writer) int {
	t := &tool{flags: flag.NewFlagSet("pegasus-replica "+name, flag.ContinueOnError), out: bufio.NewWriter(out)}
	t.flags.SetOutput(complaints)
	t.flags.BoolVar(&t.json, "json", false, "print JSON")
	t.flags.BoolVar(&t.escapeAll, "escape_all", false, `print every byte of keys and values as \xHH`)
	err := tools[name](t, args)
	err = errors.Join(err, t.out.Flush())
	var coded toolError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return exitUsage
	case errors.As(err, &coded):
		fmt.Fprintln(complaints, coded.error)
		return coded.code
	}
	fmt.Fprintln(complaints, err)
	return exitFailed
}

// parse reads the options, and checks the number of arguments: most < 0 is no limit.
func (t *tool) parse(args []string, least, most int, usage string) ([]string, error) {
	if err := t.flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, toolError{exitUsage, err}
	}
	if n := t.flags.NArg(); n < least || most >= 0 && n > most {
		return nil, usageError("usage: %s", usage)
	}
	return t.flags.Args(), nil
}

// object prints one object of a stream: a line of JSON, or the text.
func (t *tool) object(v any, text string) error {
	if !t.json {
		_, err := t.out.WriteString(text + "\n")
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.out.Write(append(b, '\n'))
	return err
}

func (t *tool) shown(b []byte) string { return proto.EscapeText(b, t.escapeAll) }

func (t *tool) quoted(b []byte) string { return `"` + t.shown(b) + `"` }

// unescape reads a key or value as it is typed.
func unescape(arg string) ([]byte, error) {
	b, err := proto.UnescapeText(arg)
	if err != nil {
		return nil, usageError("%q: %v", arg, err)
	}
	return b, nil
}

func unhex(name, arg string) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(arg, "0x"))
	if err != nil {
		return nil, usageError("--%s=%s: %v", name, arg, err)
	}
	return b, nil
}

func checkTool(t *tool, args []string) error {
	var o shard.CheckOptions
	t.flags.StringVar(&o.LogDir, "log_dir", "", "folder that holds slog/; without it, the first data directory")
	t.flags.BoolVar(&o.Deep, "deep", false, "read and verify every block of every store")
	dirs, err := t.parse(args, 1, -1, "check [--log_dir=DIR] [--deep] DATA_DIR ...")
	if err != nil {
		return err
	}
	o.DataDirs = dirs
	r, err := shard.Check(o)
	if err != nil {
		return err
	}
	if t.json {
		err = t.object(r, "")
	} else {
		err = t.printCheck(r)
	}
	if err == nil && !r.Sound() {
		err = errors.New("the data is not sound")
	}
	return err
}

func (t *tool) printCheck(r *shard.DataReport) error {
	fmt.Fprintf(t.out, "node %s, %d replicas, %d logs with %d damaged ranges\n\n", r.Node, len(r.Replicas), len(r.Logs), r.Damages)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "gpid\ttable\tballot\tstored\tlog\tstate")
	for _, k := range r.Replicas {
		logged := "-"
		if k.LogLast > 0 {
			logged = fmt.Sprintf("%d..%d", k.LogFirst, k.LogLast)
		}
		state := "ok"
		switch {
		case k.Problem != "":
			state = k.Problem + " (" + k.Dir + ")"
		case k.Salvaged:
			state = "ok, with records beside the store"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", k.GPID, k.Table, k.Ballot, k.Stored, logged, state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, a := range r.Aside {
		fmt.Fprintf(t.out, "moved aside: %s\n", a)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(t.out, "problem: %s\n", p)
	}
	return nil
}

// isTool tells whether the program was started as a tool.
func isTool(args []string) bool {
	if len(args) < 2 {
		return false
	}
	_, ok := tools[args[1]]
	return ok
}

// toolMain ends the program with the tool's exit code.
func toolMain(args []string) {
	os.Exit(runTool(args[1], args[2:], os.Stdout, os.Stderr))
}
