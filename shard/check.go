package shard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// DataReport is what Check found in the data directories of a node.
type DataReport struct {
	Node     string         `json:"node"` // its id
	Replicas []ReplicaCheck `json:"replicas"`
	Logs     []string       `json:"logs"`    // folders
	Damages  int            `json:"damages"` // ranges of the logs that cannot be read, torn ends included
	Aside    []string       `json:"aside"`   // replicas that were moved aside
	// Problems are what is wrong with the directories as a whole; those of a replica are in Replicas.
	Problems []string `json:"problems"`
}

// ReplicaCheck is what was found of one replica. Decrees are 0 for none.
type ReplicaCheck struct {
	GPID     string       `json:"gpid"`
	Table    string       `json:"table"`
	Dir      string       `json:"dir"`
	Ballot   proto.Ballot `json:"ballot"`
	Stored   proto.Decree `json:"stored"` // up to here in its store
	LogFirst proto.Decree `json:"log_first"`
	LogLast  proto.Decree `json:"log_last"`
	Salvaged bool         `json:"salvaged"` // records of it lie beside the store and will be taken back
	Problem  string       `json:"problem"`
}

// Sound tells whether nothing is wrong.
func (r *DataReport) Sound() bool {
	return len(r.Problems) == 0 && !slices.ContainsFunc(r.Replicas, func(c ReplicaCheck) bool { return c.Problem != "" })
}

// CheckOptions say what Check looks at.
type CheckOptions struct {
	DataDirs []string
	LogDir   string // as log.dir of the configuration; empty: the first of DataDirs
	Deep     bool   // read every block of every store
}

// Check looks at the data of a node that does not run, as its next start would, and changes nothing. An error is a fault of the
// check, such as a directory that is in use (disk.ErrLocked); what is wrong with the data is in the report.
func Check(o CheckOptions) (*DataReport, error) {
	if len(o.DataDirs) == 0 {
		return nil, errors.New("shard: no data directory to check")
	}
	locks, err := lockExisting(o.DataDirs)
	defer func() {
		for _, l := range locks {
			_ = l.Close() // nothing was written
		}
	}()
	if err != nil {
		return nil, err
	}
	shared, err := rocks.NewShared(rocks.SharedOptions{BlockCacheBytes: checkCache})
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	c := checker{o: o, shared: shared, flushed: map[proto.GPID]proto.Decree{}}
	c.identity()
	for _, dir := range o.DataDirs {
		c.directory(dir)
	}
	slices.SortFunc(c.found, func(a, b *checkedReplica) int { return a.gpid.Compare(b.gpid) })
	if err := c.logs(); err != nil {
		return nil, err
	}
	for _, r := range c.found {
		c.report.Replicas = append(c.report.Replicas, r.ReplicaCheck)
	}
	return &c.report, nil
}

// checkCache is the block cache of a check, in bytes.
const checkCache = 8 << 20

// lockExisting locks the directories that have ever been locked. One that never was belongs to no server, and a lock file must
// not be made in it.
func lockExisting(dirs []string) (locks []io.Closer, err error) {
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "LOCK")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		l, err := disk.OS().Lock(dir)
		if err != nil {
			return locks, err
		}
		locks = append(locks, l)
	}
	return locks, nil
}

type checker struct {
	o       CheckOptions
	shared  *rocks.Shared
	report  DataReport
	found   []*checkedReplica
	flushed map[proto.GPID]proto.Decree
}

type checkedReplica struct {
	ReplicaCheck
	gpid proto.GPID
}

func (c *checker) problem(format string, args ...any) {
	c.report.Problems = append(c.report.Problems, fmt.Sprintf(format, args...))
}

func (c *checker) identity() {
	var id proto.NodeID
	for _, dir := range c.o.DataDirs {
		found, err := readIdentity(filepath.Join(dir, identityFile))
		switch {
		case err != nil:
			c.problem("%v", err)
		case id.IsZero():
			id = found
		case found != id:
			c.problem("%s is of node %v, %s of node %v", c.o.DataDirs[0], id, dir, found)
		}
	}
	c.report.Node = id.String()
}

func (c *checker) directory(dir string) {
	entries, err := os.ReadDir(filepath.Join(dir, replicasDir))
	if err != nil {
		c.problem("%v", err)
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, replicasDir, e.Name())
		if g, ok := parseReplicaName(e.Name()); ok && e.IsDir() {
			r := &checkedReplica{gpid: g, ReplicaCheck: ReplicaCheck{GPID: g.String(), Dir: path}}
			if i := slices.IndexFunc(c.found, func(o *checkedReplica) bool { return o.gpid == g }); i >= 0 {
				r.Problem = "lies in " + c.found[i].Dir + " too; the one with the higher ballot counts"
			}
			c.found = append(c.found, r)
			if err := c.replica(r); err != nil {
				r.Problem = err.Error()
			}
			continue
		}
		if strings.HasSuffix(e.Name(), suffixError) || strings.HasSuffix(e.Name(), suffixGarbage) {
			c.report.Aside = append(c.report.Aside, path)
		}
	}
}

func (c *checker) replica(r *checkedReplica) error {
	dir := replicaDir{path: r.Dir}
	record, err := readRecord(dir)
	if err != nil {
		return err
	}
	r.Table, r.Ballot = record.AppName, record.Ballot
	if record.AppID != r.gpid.App || record.Partition != r.gpid.Part {
		return fmt.Errorf("it says that it is replica %d.%d", record.AppID, record.Partition)
	}
	if _, err := os.Stat(dir.salvage()); err == nil {
		r.Salvaged = true
	}
	path := dir.store()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(dir.path, replacedDir) // a crash between two renames; the next start takes it back
	}
	store, err := rocks.OpenReadOnly(path, rocks.Options{Shared: c.shared}, checkFiles)
	if err != nil {
		return err
	}
	defer store.Close()
	r.Stored = store.Decree()
	c.flushed[r.gpid] = max(c.flushed[r.gpid], r.Stored)
	if c.o.Deep {
		return store.Verify()
	}
	return nil
}

// checkFiles is how many files of a store a check keeps open.
const checkFiles = 32

// logs asks the mutation log what it would find. The stores' decrees tell it what it need not have.
func (c *checker) logs() error {
	base := c.o.LogDir
	if base == "" {
		base = c.o.DataDirs[0]
	}
	base = filepath.Join(base, shardLogsDir)
	entries, err := os.ReadDir(base)
	if err != nil {
		c.problem("%v", err)
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			c.report.Logs = append(c.report.Logs, filepath.Join(base, e.Name()))
		}
	}
	found, err := mutlog.Check(disk.OS(), c.report.Logs, mutlog.Options{Flushed: func(g proto.GPID) proto.Decree {
		if d, ok := c.flushed[g]; ok {
			return d
		}
		return -1 // as at a start: what only this store could tell is not lost
	}})
	if err != nil {
		c.problem("%v", err)
		return nil
	}
	c.report.Damages = found.Damages
	for _, r := range c.found {
		held, listed := found.Partitions[r.gpid]
		r.LogFirst, r.LogLast = held.First, held.Last
		reason, spoiled := found.Spoiled[r.gpid]
		switch {
		case r.Problem != "":
		case spoiled:
			r.Problem = "shard log: " + reason
		case found.Suspect && !listed:
			r.Problem = "the shard log lost records, and they may have been of this replica"
		}
	}
	return nil
}
