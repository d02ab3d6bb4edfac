package metasvc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"

	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A backup is the state of the cluster in one file: magic, crc32c of the rest (big endian), and a struct in the schema codec.
// It is restored into empty directories of a whole new group, see Restore. Data is not in it; the replica servers have that,
// and what they know of changes after the backup is believed.

const (
	backupMagic = "PGSMETA1"
	backupDir   = "backups"
)

type backupFile struct {
	Cluster  string `thrift:"1"`
	Time     int64  `thrift:"2"` // unix seconds
	Snapshot []byte `thrift:"3"` // of core.State
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// backup encodes the present state. It runs on the loop.
func (s *Server) backup(now time.Time) []byte {
	body := proto.Marshal(nil, &backupFile{
		Cluster: s.opt.ClusterName, Time: now.Unix(), Snapshot: s.core.State().AppendSnapshot(nil),
	})
	out := append([]byte(backupMagic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(out[len(backupMagic):], crc32.Checksum(body, castagnoli))
	return append(out, body...)
}

// writeBackup writes a file that is complete or not there; an existing one is not overwritten.
func writeBackup(path string, b []byte) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s exists", path)
	}
	return disk.WriteFile(disk.OS(), path, b)
}

// ErrBackup means that a file is no backup, or a damaged one.
var ErrBackup = errors.New("metasvc: not a backup of a meta group, or damaged")

func readBackup(b []byte) (*backupFile, *core.State, error) {
	head := len(backupMagic) + 4
	if len(b) < head || !bytes.HasPrefix(b, []byte(backupMagic)) ||
		binary.BigEndian.Uint32(b[len(backupMagic):]) != crc32.Checksum(b[head:], castagnoli) {
		return nil, nil, ErrBackup
	}
	var f backupFile
	if err := proto.Unmarshal(b[head:], &f); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	st, err := core.ReadSnapshot(f.Snapshot)
	if err != nil {
		return nil, nil, err
	}
	return &f, st, nil
}

// Restore makes the data directory of a meta from a backup; the daemon must not run, and the directory must hold no journal.
// It is to be done with the same file for every member of the group before any of them starts. Of opt it uses ClusterName,
// Peers, Advertise and DataDir. It returns what people want to know.
func Restore(opt Options, path string) (text string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	f, st, err := readBackup(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if f.Cluster != opt.ClusterName {
		return "", fmt.Errorf("%s is of cluster %q, the configuration says %q", path, f.Cluster, opt.ClusterName)
	}
	cfg := journal.Config{Dir: opt.DataDir, Self: opt.Advertise, Logger: opt.Logger}
	for _, p := range opt.Peers {
		cfg.Members = append(cfg.Members, journal.Member{ID: p.Address, Address: p.Raft})
	}
	st.MarkRestored()
	if err := journal.Restore(cfg, st.AppendSnapshot(nil)); err != nil {
		return "", err
	}
	return fmt.Sprintf("state of %s: %s", time.Unix(f.Time, 0).UTC().Format(time.RFC3339), st.Summary()), nil
}
