package shell

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The offline tools read the files of a replica server: stores, logs, data directories. They are part of
// pegasus-replica, because its formats are known to no other program, it is linked with RocksDB where this one needs no
// cgo, and a server and the tools for its files then have the same version. The shell runs it when it lies beside it.
func (s *Shell) offlineCommands() []*cobra.Command {
	return []*cobra.Command{
		s.offline("check", "check <data_dir> [data_dir...]", "look whether the data directories of a stopped server are sound",
			option{name: "log_dir", kind: text, usage: "folder of the log; without it, log/ of the first data directory"},
			option{name: "deep", kind: boolean, usage: "read and verify every block of every store"}),
		s.offline("local_get", "local_get <db_path> <hash_key> <sort_key>", "a record of a store on this machine"),
		s.offline("sst_dump", "sst_dump", "look into the files of a store",
			option{name: "file", kind: text, usage: "store, or one .sst file of it", needed: true},
			option{name: "command", kind: text, value: "check", usage: "check: verify checksums; scan: print records; raw: print stored bytes; none"},
			option{name: "from", kind: text, usage: "first key in hex"},
			option{name: "to", kind: text, usage: "key in hex to stop before"},
			option{name: "read_num", kind: number, usage: "how many records of each file, 0 for all"},
			option{name: "show_properties", kind: boolean, usage: "what the files say of themselves"},
			option{name: "pegasus_data", kind: boolean, usage: "show keys and values as records, not as stored bytes"}),
		s.offline("mlog_dump", "mlog_dump", "print the mutation log of a server",
			option{name: "input", letter: "i", kind: text, usage: "folder of the log of one shard", needed: true},
			option{name: "detailed", letter: "d", kind: boolean, usage: "the records of each mutation too"},
			option{name: "gpid", letter: "g", kind: text, usage: "this partition only, APP_ID.INDEX"}),
	}
}

type optionKind int

const (
	text optionKind = iota
	boolean
	number
)

// option is an option that is handed on.
type option struct {
	name, letter, value, usage string
	kind                       optionKind
	needed                     bool
}

// offline is a command that runs `pegasus-replica NAME` with the same options and arguments.
func (s *Shell) offline(name, use, short string, options ...option) *cobra.Command {
	cmd := s.command(groupOffline, use, short, func(c *call, args []string) error {
		if c.opt.Replica == "" {
			return errors.New("the offline tools are part of pegasus-replica, which was not found beside pegasus-shell or in PATH")
		}
		line := []string{name}
		for _, o := range options {
			if f := c.cmd.Flags().Lookup(o.name); f.Changed {
				line = append(line, "--"+o.name+"="+f.Value.String())
			}
		}
		if c.out.JSON {
			line = append(line, "--json")
		}
		if c.escapeAll {
			line = append(line, "--escape_all")
		}
		return c.runOffline(append(append(line, "--"), args...))
	})
	for _, o := range options {
		f := cmd.Flags()
		switch o.kind {
		case text:
			f.StringP(o.name, o.letter, o.value, o.usage)
		case boolean:
			f.BoolP(o.name, o.letter, false, o.usage)
		case number:
			f.Int64P(o.name, o.letter, 0, o.usage)
		}
		if o.needed {
			needs(cmd, o.name)
		}
	}
	cmd.ValidArgsFunction = nil // files
	return cmd
}

// runOffline runs the program and passes on its output and its exit code.
func (c *call) runOffline(args []string) error {
	var said strings.Builder
	cmd := exec.CommandContext(c.ctx, c.opt.Replica, args...)
	cmd.Stdout, cmd.Stderr = c.out.W, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	message := strings.TrimSpace(said.String())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(c.ctx.Err(), context.Canceled):
		return c.ctx.Err()
	case errors.As(err, &exit):
		return offlineError{code: exit.ExitCode(), message: message}
	}
	return fmt.Errorf("%s: %w", c.opt.Replica, err)
}

// offlineError is what an offline tool failed with. Its exit codes are those of the shell.
type offlineError struct {
	code    int
	message string
}

func (e offlineError) Error() string { return e.message }
