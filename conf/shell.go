package conf

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Shell is the configuration of pegasus-shell. pegasus-shell.toml explains every key.
type Shell struct {
	DefaultCluster string        `toml:"default_cluster" allow:"name?"`
	Timeout        Duration      `toml:"timeout" allow:"100ms..1h"`
	Colour         string        `toml:"colour" allow:"auto|always|never"`
	History        ShellHistory  `toml:"history"`
	Clusters       []ShellTarget `toml:"clusters"`
}

// ShellHistory says where the lines that were typed are kept.
type ShellHistory struct {
	File  string `toml:"file" allow:"path?"`
	Lines int    `toml:"lines" allow:"1..1000000"`
}

// ShellTarget is a cluster with a name.
type ShellTarget struct {
	Name  string   `toml:"name" allow:"name"`
	Metas []string `toml:"metas" allow:"address"`
}

// DefaultShell returns the configuration of an empty file: the local cluster.
func DefaultShell() *Shell {
	return &Shell{
		Timeout: Duration(10 * time.Second),
		Colour:  "auto",
		History: ShellHistory{File: "~/.local/state/pegasus/shell_history", Lines: 1000},
		Clusters: []ShellTarget{{
			Name:  "onebox",
			Metas: []string{"127.0.0.1:34601", "127.0.0.1:34602", "127.0.0.1:34603"},
		}},
	}
}

// LoadShell reads the configuration of the shell, in the way of LoadReplica. A path that begins with ~/ is in the home
// directory.
func LoadShell(path string) (*Shell, error) {
	c := DefaultShell()
	if err := load(path, c); err != nil {
		return nil, err
	}
	c.resolve(folder(path))
	return c, nil
}

// ShellWithoutFile is the configuration of a user who has no file.
func ShellWithoutFile() *Shell {
	c := DefaultShell()
	c.resolve(".")
	return c
}

// ShellFile is where the configuration of the shell lies when nobody names a file: PEGASUS_SHELL_CONFIG, or
// pegasus/shell.toml in the user's configuration directory; empty when there is no such directory.
func ShellFile() string {
	if path := os.Getenv("PEGASUS_SHELL_CONFIG"); path != "" {
		return path
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "pegasus", "shell.toml")
}

// String prints the configuration as TOML that would load to the same values.
func (c *Shell) String() string { return print(c) }

func (c *Shell) relations(report func(key, format string, args ...any)) {
	seen := map[string]bool{}
	for i, k := range c.Clusters {
		switch key := indexed("clusters", i, "name"); {
		case k.Name == "":
			report(key, "missing: want a name")
		case seen[k.Name]:
			report(key, "%q: given twice", k.Name)
		}
		seen[k.Name] = true
		if len(k.Metas) == 0 {
			report(indexed("clusters", i, "metas"), "missing: want the addresses of the meta servers")
		}
	}
	if c.DefaultCluster != "" && !seen[c.DefaultCluster] {
		report("default_cluster", "no cluster is called %q", c.DefaultCluster)
	}
}

// resolve makes paths absolute; those that begin with ~/ are in the home directory, and empty if there is none.
func (c *Shell) resolve(folder string) {
	file, inHome := strings.CutPrefix(c.History.File, "~/")
	if !inHome {
		c.History.File = under(folder, c.History.File)
		return
	}
	home, err := os.UserHomeDir()
	if err != nil {
		c.History.File = ""
		return
	}
	c.History.File = filepath.Join(home, file)
}
