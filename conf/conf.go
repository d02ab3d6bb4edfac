// Package conf reads the configuration files of the daemons: strict TOML into typed structs with defaults. It refuses
// to know what the values are used for; it imports no other package of this module, and only mains import it.
//
// Strict means: an unknown key, a value of the wrong type and a value out of range are all errors, and one run reports
// all of them with file, line, key and what is allowed. A file that is loaded therefore says exactly what runs.
//
// The rules stand in the struct tags (`toml` names the key, `allow` the legal values, see allow.go), so that the check,
// the message and the struct cannot drift apart. Rules between keys are in the structs' relations methods. The manual of
// all keys is pegasus-replica.toml, pegasus-meta.toml and pegasus-shell.toml beside this file; a test keeps them complete and
// equal to the defaults.
package conf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/BurntSushi/toml"
)

// LoadReplica reads the configuration of a replica server. Keys that the file leaves out have their default. Relative
// paths are taken relative to the folder of the file. The error is a *Violations, or says why the file cannot be read.
func LoadReplica(path string) (*Replica, error) {
	c := DefaultReplica()
	if err := load(path, c); err != nil {
		return nil, err
	}
	c.resolve(folder(path))
	return c, nil
}

// LoadMeta reads the configuration of a meta server, in the way of LoadReplica.
func LoadMeta(path string) (*Meta, error) {
	c := DefaultMeta()
	if err := load(path, c); err != nil {
		return nil, err
	}
	c.resolve(folder(path))
	return c, nil
}

// file is what load needs of a configuration: the rules between its keys.
type file interface {
	relations(report func(key, format string, args ...any))
}

func load(path string, c file) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return parse(path, text, c)
}

func parse(path string, text []byte, c file) error {
	tree := map[string]any{}
	v := &Violations{File: path}
	if _, err := toml.Decode(string(text), &tree); err != nil {
		v.syntax(err)
		return v
	}
	d := decoder{lines: indexLines(text), out: v}
	d.file(tree, c)
	c.relations(func(key, format string, args ...any) {
		// A value that was refused kept its default, so a relation to it would complain about a number that nobody wrote.
		if !v.has(key) {
			v.add(d.lines.of(key), key, fmt.Sprintf(format, args...))
		}
	})
	return v.orNil()
}

// String prints the configuration as TOML that would load to the same values.
func (c *Replica) String() string { return print(c) }

// String prints the configuration as TOML that would load to the same values.
func (c *Meta) String() string { return print(c) }

func print(c any) string {
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	if err := e.Encode(c); err != nil {
		return fmt.Sprintf("# cannot print the configuration: %v\n", err)
	}
	return b.String()
}

func folder(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return filepath.Dir(abs)
	}
	return filepath.Dir(path)
}

func under(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}
