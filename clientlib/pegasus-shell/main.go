// Pegasus-shell administers and queries clusters: see package shell for what it does, `pegasus-shell help` for its use and
// conf/pegasus-shell.toml for its configuration.
//
//	pegasus-shell [-c CLUSTER] [-t TABLE] [COMMAND ...]
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/clientlib/shell"
	"pegasus/conf"
)

// Version is what the program calls itself. The build sets it.
var Version = "dev"

// envMetas holds the addresses of meta servers to use when no cluster is named, as `pegasus-onebox run` sets it.
const envMetas = "PEGASUS_METAS"

func main() {
	p := program{terminal: isTerminal(os.Stdin) && isTerminal(os.Stdout)}
	s := shell.New(shell.Options{
		Load: p.load, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: p.terminal, Colour: p.colour("auto"), ErrTerminal: isTerminal(os.Stderr),
		Replica: beside("pegasus-replica"), Version: Version,
	})
	err := s.Run(context.Background(), os.Args[1:])
	s.Close()
	if err != nil {
		s.Say(err)
	}
	os.Exit(shell.ExitCode(err))
}

type program struct{ terminal bool }

// load reads the configuration. Only a file that was asked for must exist.
func (p program) load(path string) (shell.Settings, error) {
	file := path
	if file == "" {
		file = conf.ShellFile()
	}
	c, err := conf.LoadShell(file)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		c, err = conf.ShellWithoutFile(), nil
	}
	if err != nil {
		return shell.Settings{}, err
	}
	s := shell.Settings{
		Default: c.DefaultCluster, Timeout: time.Duration(c.Timeout), Colour: ptr(p.colour(c.Colour)),
		History: c.History.File, HistorySize: c.History.Lines,
	}
	for _, k := range c.Clusters {
		s.Clusters = append(s.Clusters, shell.Cluster{Name: k.Name, Metas: k.Metas})
	}
	if metas := os.Getenv(envMetas); metas != "" {
		s.Default = metas
	}
	return s, nil
}

func ptr[T any](v T) *T { return &v }

func (p program) colour(rule string) bool {
	switch rule {
	case "always":
		return true
	case "never":
		return false
	}
	return isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// beside finds a program in the folder of this one, else in PATH; empty if it is in neither.
func beside(name string) string {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}
