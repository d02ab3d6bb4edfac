package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/conf/onebox"
)

// bashCompletion is Debian's package of that name, on which cobra's script for bash leans.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// commandLine starts bash or zsh at a terminal, with the completion that pegasus-shell makes for it.
func commandLine(t *testing.T, w *world, name string) *terminal {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s here: completion in it is not tried (Debian's package %s)", name, name)
	}
	dir := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "pegasus-shell")); err != nil {
		t.Fatal(err)
	}
	rc, args := filepath.Join(dir, ".zshrc"), []string{"-d", "-i"}
	text := "PS1='> '\nautoload -U compinit\ncompinit -u -D\nsource <(pegasus-shell completion zsh)\n"
	if name == "bash" {
		if _, err := os.Stat(bashCompletion); err != nil {
			t.Skipf("there is no %s here: completion in bash is not tried (Debian's package bash-completion)", bashCompletion)
		}
		rc, args = filepath.Join(dir, "bashrc"), []string{"--noprofile", "--rcfile", filepath.Join(dir, "bashrc"), "-i"}
		text = fmt.Sprintf("PS1='> '\nbind 'set enable-bracketed-paste off'\nsource %s\nsource <(pegasus-shell completion bash)\n", bashCompletion)
	}
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(slices.Clone(w.env), func(s string) bool { return strings.HasPrefix(s, "PATH=") })
	env = append(env, "PATH="+dir+":/usr/bin:/bin", "ZDOTDIR="+dir)
	return startTerminal(t, env, path, args...)
}

// What Tab makes of a beginning, in the shells that people have.
func TestCompletionInShells(t *testing.T) {
	w := newWorldOf(t, onebox.Options{Metas: 1, Replicas: 1, Tables: []onebox.Table{{Name: "temp", Partitions: 1, Replicas: 1}, {Name: "stat", Partitions: 1, Replicas: 1}}})
	for _, name := range []string{"bash", "zsh"} {
		t.Run(name, func(t *testing.T) {
			x := commandLine(t, w, name)
			prompt := func(_ []string, before string, _ bool) bool { return before == ">" }
			x.await(t, 0, "the prompt", prompt)
			for _, tc := range []struct{ typed, want string }{
				{"pegasus-shell get_meta_l", "pegasus-shell get_meta_level"},
				{"pegasus-shell -c te", "pegasus-shell -c test"},
				{"pegasus-shell -t te", "pegasus-shell -t temp"},
				{"pegasus-shell -t temp multi_get_s", "pegasus-shell -t temp multi_get_sortkeys"},
				{"pegasus-shell app st", "pegasus-shell app stat"},
				{"pegasus-shell ls --stat", "pegasus-shell ls --status"},
				{"pegasus-shell ls --status av", "pegasus-shell ls --status available"},
				{"pegasus-shell --compression z", "pegasus-shell --compression zstd"},
				{"pegasus-shell server_config rep", "pegasus-shell server_config replica"},
			} {
				x.keys(t, tc.typed+"\t")
				x.await(t, 0, tc.want+" of "+tc.typed, func(_ []string, before string, _ bool) bool { return before == "> "+tc.want })
				x.keys(t, "\x15")
				x.await(t, 0, "an empty line", prompt)
			}
			// Where there are several, they are listed.
			x.keys(t, "pegasus-shell meta_\t\t")
			x.await(t, 0, "the commands that begin with meta_", func(lines []string, _ string, _ bool) bool {
				all := strings.Join(lines, "\n")
				return strings.Contains(all, "meta_members") && strings.Contains(all, "meta_backup")
			})
		})
	}
}

// The scripts are accepted by the shells, where there are any.
func TestCompletionScripts(t *testing.T) {
	for _, name := range []string{"bash", "zsh"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "completion", name)
			cmd.Env = append(os.Environ(), envRun+"=1")
			script, err := cmd.Output()
			if err != nil || !bytes.Contains(script, []byte("__complete")) {
				t.Fatalf("completion %s: %v\n%s", name, err, script)
			}
			shell, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("there is no %s here: its script is not read by it", name)
			}
			check := exec.Command(shell, "-n")
			check.Stdin = bytes.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v\n%s", name, err, out)
			}
		})
	}
}
