// Package shell is the commands of pegasus-shell: everything that an operator or a curious person does to a cluster from
// a terminal or a script. It sits on the Go client and knows no more of the servers than any client does; what needs the
// files of a server is done by the server's own program (see offline.go).
//
// Every command is a cobra command that is made anew for each line, so that no flag survives its line. What lives longer
// is in Shell: the cluster, the table in use and how things are shown. Commands describe what they found in a
// report.Doc, which is printed for people or as JSON; they never print by themselves.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/clientlib/zstd"
)

// Cluster is a cluster by its name, or by the addresses of its metas when it has none.
type Cluster struct {
	Name  string
	Metas []string
}

// Settings are what a configuration file says. The zero value is usable.
type Settings struct {
	Clusters []Cluster
	// Default names the cluster to use when none is asked for; empty: the first.
	Default string
	// Timeout is how long an operation may take; 0 means DefaultTimeout.
	Timeout time.Duration
	// Colour overrides that of Options.
	Colour *bool
	// History is the file that keeps the lines typed, empty for none; HistorySize is how many.
	History     string
	HistorySize int
}

// DefaultTimeout is how long an operation may take when nobody says otherwise.
const DefaultTimeout = 10 * time.Second

// Options are what the program around the shell gives it.
type Options struct {
	// Load reads the configuration file; an empty path means the usual place, where there may be none.
	Load func(path string) (Settings, error)
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
	// Terminal says that In and Out are a terminal, so that questions can be asked; Colour that Out shall be coloured.
	Terminal, Colour bool
	// ErrTerminal says that Err is a terminal, so that progress may be drawn there.
	ErrTerminal bool
	// Replica is the path of pegasus-replica, whose offline tools read the files of a server; empty: not found.
	Replica string
	Version string
}

// Shell is a session. It is used by one goroutine.
type Shell struct {
	opt      Options
	start    startFlags
	settings Settings
	loaded   bool

	cluster Cluster
	client  *clientlib.Client // nil until a command needs it
	table   string            // in use, empty for none
	timeout time.Duration
	// escapeAll prints every byte of keys and values as \xHH.
	escapeAll bool
	// encodings are how parts of records are written; nil is as without a choice.
	encodings  [parts]*encoding
	compressed bool // values, with zstd

	interactive bool
	asker       *asker
}

// startFlags are the flags in front of the command.
type startFlags struct {
	cluster, config, table string
	encoding, compression  string
	timeout                time.Duration
}

// New returns a shell that is not connected to anything yet.
func New(o Options) *Shell { return &Shell{opt: o, asker: newAsker(o.In)} }

// Close ends the connections to the cluster.
func (s *Shell) Close() { s.disconnect() }

func (s *Shell) disconnect() {
	if s.client != nil {
		_ = s.client.Close() // always nil
		s.client = nil
	}
}

// load reads the configuration once, and takes over what the flags in front of the command say.
func (s *Shell) load() error {
	if s.loaded {
		return nil
	}
	settings, err := s.opt.Load(s.start.config)
	if err != nil {
		return usageError{err}
	}
	s.settings = settings
	if settings.Colour != nil {
		s.opt.Colour = *settings.Colour
	}
	s.timeout = DefaultTimeout
	if settings.Timeout > 0 {
		s.timeout = settings.Timeout
	}
	if s.start.timeout > 0 {
		s.timeout = s.start.timeout
	}
	if s.start.encoding != "" {
		if err := s.encodeAll(s.start.encoding); err != nil {
			return err
		}
	}
	if s.start.compression != "" {
		if err := s.compress(s.start.compression); err != nil {
			return err
		}
	}
	s.table = s.start.table
	s.loaded = true
	return nil
}

// choose finds a cluster by name, by a list of addresses, or the default one.
func (s *Shell) choose(name string) (Cluster, error) {
	if name == "" {
		name = s.settings.Default
	}
	if name == "" && len(s.settings.Clusters) > 0 {
		return s.settings.Clusters[0], nil
	}
	for _, c := range s.settings.Clusters {
		if c.Name == name {
			return c, nil
		}
	}
	metas := strings.Split(name, ",")
	for _, m := range metas {
		if _, _, err := net.SplitHostPort(m); err != nil {
			known := make([]string, 0, len(s.settings.Clusters))
			for _, c := range s.settings.Clusters {
				known = append(known, c.Name)
			}
			return Cluster{}, usagef("no cluster %q; known are %s, or give the addresses of its metas (HOST:PORT,HOST:PORT)",
				name, strings.Join(known, ", "))
		}
	}
	return Cluster{Metas: metas}, nil
}

// connect makes the client of the cluster. It does not dial: the first request does.
func (s *Shell) connect() (*clientlib.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if len(s.cluster.Metas) == 0 {
		c, err := s.choose(s.start.cluster)
		if err != nil {
			return nil, err
		}
		s.cluster = c
	}
	o := clientlib.Options{Metas: s.cluster.Metas, Timeout: s.timeout}
	if s.compressed {
		o.Compressor = zstd.New()
	}
	client, err := clientlib.Dial(o)
	if err != nil {
		return nil, usageError{err}
	}
	s.client = client
	return client, nil
}

func (s *Shell) admin() (admin.Admin, error) {
	c, err := s.connect()
	if err != nil {
		return admin.Admin{}, err
	}
	return admin.New(c), nil
}

// errNoTable is the answer to a data command without a table.
var errNoTable = errors.New("no table in use: `use TABLE`, or --table TABLE before the command")

// open returns the table in use.
func (s *Shell) open(ctx context.Context) (*clientlib.Table, error) {
	c, err := s.connect()
	if err != nil {
		return nil, err
	}
	if s.table == "" {
		return nil, usageError{errNoTable}
	}
	return c.OpenTable(ctx, s.table)
}

func (s *Shell) clusterName() string {
	if s.cluster.Name != "" {
		return s.cluster.Name
	}
	return strings.Join(s.cluster.Metas, ",")
}

// usageError is a mistake of the person at the keyboard.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// quietError is a failure that is part of the output; only the exit code has to tell it.
type quietError struct{ error }

func (e quietError) Unwrap() error { return e.error }

// counted is a number of records in words.
func counted(n int) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

var (
	errNotFound = errors.New("record not found")
	errDeclined = errors.New("not confirmed, nothing done")
	// errUnsure is the answer to a command that destroys something, when nobody can be asked.
	errUnsure = errors.New("this destroys something: give --yes to say that it is meant")
	// errNotAll is a command that did some of its work; what it printed tells which.
	errNotAll = errors.New("not everything succeeded")
)

// The exit codes of pegasus-shell.
const (
	ExitOK       = 0
	ExitFailed   = 1 // the cluster refused, or the work failed
	ExitUsage    = 2 // the command line, or the configuration file
	ExitNotFound = 3 // there is no such record
	ExitNoAnswer = 4 // nobody answered in time; a write may have happened
)

// ExitCode tells the exit code of an error of this package.
func ExitCode(err error) int {
	var usage usageError
	var offline offlineError
	var op *net.OpError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &offline) && offline.code > 0:
		return offline.code
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, errNotFound):
		return ExitNotFound
	case errors.Is(err, clientlib.ErrTimeout), errors.Is(err, clientlib.ErrUnknownOutcome),
		errors.Is(err, clientlib.ErrSessionReset), errors.Is(err, context.DeadlineExceeded), errors.As(err, &op):
		return ExitNoAnswer
	}
	return ExitFailed
}
