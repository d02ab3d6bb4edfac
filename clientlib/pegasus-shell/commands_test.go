package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/clientlib/shell/words"
)

// run runs pegasus-shell with a command line and what it reads, and returns what it printed, on either output, and its
// exit code.
func (w *world) run(t *testing.T, args []string, stdin string) (string, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env, cmd.Stdin = w.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// shape describes JSON without its values: one line for each path in it.
func shape(t *testing.T, text string) string {
	t.Helper()
	paths := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			for _, e := range v {
				walk(path+"[]", e)
			}
			if len(v) == 0 {
				paths[path+"[]"] = true
			}
		default:
			paths[path] = true
		}
	}
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		walk("", v)
	}
	var list []string
	for p := range paths {
		list = append(list, p)
	}
	slices.Sort(list)
	return strings.Join(list, "\n") + "\n"
}

// world variables that scripts may use.
func (w *world) vars() *strings.Replacer {
	replica := w.cluster.Replicas()
	data := filepath.Join(w.cluster.Dir, "replica1", "data")
	return strings.NewReplacer("$METAS", strings.Join(w.cluster.Metas(), ","), "$NODE1", replica[0], "$NODE2", replica[1],
		"$NODE3", replica[2], "$DATA", data, "$TMP", w.tmp)
}

// Every command, one command line at a time, against one real cluster.
//
//	run [stdin] [shape] [head=N] [until=TEXT]
//	arguments of pegasus-shell, cut into words as in a session; with stdin, what it reads instead
//	----
//	what it printed, and its exit code if that is not 0; with shape, what of JSON does not differ from run to run; with head, the first lines. With until it is
//	repeated until TEXT is in the output: what takes effect in the background.
//
//	node kill|restart NAME
//	----
func TestEveryCommand(t *testing.T) {
	w := newWorld(t)
	vars := w.vars()
	used := map[string]bool{}
	datadriven.RunTest(t, "testdata/commands.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "node" {
			name := d.CmdArgs[1].Key
			err := fmt.Errorf("%s: want kill or restart", d.Pos)
			switch d.CmdArgs[0].Key {
			case "kill":
				err = w.cluster.Kill(name)
			case "restart":
				err = w.cluster.Restart(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			return "ok\n"
		}
		input := vars.Replace(d.Input)
		for _, word := range strings.Fields(input) {
			used[word] = true
		}
		var args []string
		stdin, head, until, shaped := "", 0, "", false
		for _, a := range d.CmdArgs {
			switch a.Key {
			case "stdin":
				stdin = input
			case "head":
				head, _ = strconv.Atoi(a.Vals[0])
			case "until":
				until = strings.Join(a.Vals, ",")
			case "shape":
				shaped = true
			}
		}
		if stdin == "" {
			var err error
			if args, err = words.Split(input); err != nil {
				t.Fatal(err)
			}
		}
		out, code := w.run(t, args, stdin)
		eventually(t, "output with "+until, func() bool {
			if until == "" || strings.Contains(out, until) {
				return true
			}
			out, code = w.run(t, args, stdin)
			return false
		})
		switch {
		case shaped && code == 0:
			return shape(t, out)
		case code != 0:
			out += fmt.Sprintf("[exit %d]\n", code)
		}
		out = w.normal(out)
		if head > 0 {
			lines := strings.SplitAfter(out, "\n")
			out = strings.Join(lines[:min(head, len(lines))], "")
		}
		return out
	})
	if b, err := os.ReadFile(filepath.Join(w.tmp, "removed")); err != nil || string(b) != "\"a\"\n\"b\"\n" {
		t.Errorf("multi_del_range -o wrote %q, %v", b, err)
	}
	out, _ := w.run(t, []string{"__complete", ""}, "")
	for _, l := range strings.Split(out, "\n") {
		name, _, ok := strings.Cut(l, "\t")
		if ok && !used[name] {
			t.Errorf("testdata/commands.txt does not run %s", name)
		}
	}
}
