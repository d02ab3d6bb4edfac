package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// terminal is a person's: a program on a pseudo terminal, and what it has drawn. It is so high that nothing scrolls away.
type terminal struct {
	file *os.File
	cmd  *exec.Cmd

	mu     sync.Mutex
	screen vt10x.Terminal
	ended  bool
}

const columns, rows = 120, 400

// startTerminal runs a program at a terminal.
func startTerminal(t *testing.T, env []string, program string, args ...string) *terminal {
	t.Helper()
	x := &terminal{screen: vt10x.New(vt10x.WithSize(columns, rows))}
	x.cmd = exec.Command(program, args...)
	x.cmd.Env = env
	var err error
	x.file, err = pty.StartWithSize(x.cmd, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := x.file.Read(buf)
			x.mu.Lock()
			_, _ = x.screen.Write(buf[:n])
			x.ended = err != nil
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		_ = x.cmd.Wait()
		_ = x.file.Close()
	})
	return x
}

// state is what is drawn, and the row and text of the line with the cursor up to it.
func (x *terminal) state() (lines []string, row int, before string, ended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range strings.Split(x.screen.String(), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	at := x.screen.Cursor()
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if at.Y < len(lines) {
		before = lines[at.Y][:min(len(lines[at.Y]), at.X)]
	}
	return lines, at.Y, before, x.ended
}

// await waits for a condition on what is drawn, and returns the lines from first on, all of them when the screen was cleared.
func (x *terminal) await(t *testing.T, first int, what string, ok func(lines []string, before string, ended bool) bool) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		lines, row, before, ended := x.state()
		if row < first {
			first = 0
		}
		shown := lines[min(first, len(lines)):]
		if ok(shown, before, ended) {
			return strings.Join(shown, "\n") + "\n"
		}
		if time.Now().After(end) || ended && what != "end" {
			t.Fatalf("waited in vain for %s; the cursor is behind %q, drawn is\n%s", what, before, strings.Join(shown, "\n"))
		}
	}
}

// keys types something.
func (x *terminal) keys(t *testing.T, keys string) {
	t.Helper()
	if _, err := x.file.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// keyNames are keys that a script writes as <name>.
var keyNames = strings.NewReplacer("<space>", " ", "<tab>", "\t", "<enter>", "\r", "<up>", "\x1b[A", "<ctrl-c>", "\x03", "<ctrl-d>", "\x04", "<ctrl-u>", "\x15")

// A session at a terminal, as a person has it: every key goes through the line editor. The script is the documentation.
//
//	keys [until=TEXT]
//	what is typed
//	----
//	what is drawn from the line with the prompt on, once the prompt is back, or once TEXT is drawn
func TestSession(t *testing.T) {
	w := newWorld(t)
	x := startTerminal(t, w.env, os.Args[0])
	x.await(t, 0, "the prompt", func(_ []string, before string, _ bool) bool { return before == "test>" })
	datadriven.RunTest(t, "testdata/session.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd != "keys" {
			t.Fatalf("%s: unknown directive %s", d.Pos, d.Cmd)
		}
		until := ""
		for _, a := range d.CmdArgs {
			if a.Key == "until" {
				until = strings.Join(a.Vals, ",")
			}
		}
		_, row, _, _ := x.state()
		x.keys(t, keyNames.Replace(strings.TrimSuffix(d.Input, "\n")))
		switch {
		case until == "end":
			return w.normal(x.await(t, row, "end", func(_ []string, _ string, ended bool) bool { return ended }))
		case until != "":
			return w.normal(x.await(t, row, until, func(lines []string, _ string, _ bool) bool {
				return strings.Contains(strings.Join(lines, "\n"), until)
			}))
		}
		return w.normal(x.await(t, row, "the prompt", func(lines []string, before string, _ bool) bool {
			return len(lines) > 1 && strings.HasPrefix(before, "test") && strings.HasSuffix(before, ">")
		}))
	})
	if err := x.cmd.Wait(); err != nil {
		t.Errorf("the shell ended with %v", err)
	}
}
