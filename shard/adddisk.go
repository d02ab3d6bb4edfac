package shard

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A data directory that is added while the node runs takes new replicas at once. It is not written into the configuration: who adds
// it does that as well, or the next start does without it.

// diskTag is what a tag may be.
var diskTag = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// parseDisks reads "tag:dir,tag:dir". The error names the item that is none.
func parseDisks(s string) (dirs []DataDir, err error) {
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		tag, dir, ok := strings.Cut(item, ":")
		if !ok || !diskTag.MatchString(tag) || !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("invalid data_dir item(%s) in config", item)
		}
		dirs = append(dirs, DataDir{Tag: tag, Path: filepath.Clean(dir)})
	}
	return dirs, nil
}

func (sh *Shard) addNewDisk(c *call, args []byte) error {
	var req proto.AddNewDiskRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	asked, n := *c, sh.node
	sh.background(func() message {
		answer := &proto.AddNewDiskResponse{}
		dirs, err := parseDisks(req.DiskStr)
		if err != nil {
			answer.Err, err = proto.ErrInvalidParameters, fmt.Errorf("invalid str(%s), err_msg: %w", req.DiskStr, err)
		}
		for _, d := range dirs {
			if answer.Err, err = n.addDisk(d); err != nil {
				break
			}
		}
		if err != nil {
			hint := err.Error()
			answer.ErrHint = &hint
		}
		return &diskAdded{call: asked, answer: answer}
	})
	return nil
}

type diskAdded struct {
	call   call
	answer *proto.AddNewDiskResponse
}

func (m *diskAdded) deliver(sh *Shard) { sh.answer(&m.call, m.answer) }

// addDisk takes an empty directory in. It blocks.
func (n *Node) addDisk(d DataDir) (code proto.ErrCode, err error) {
	n.addingDisk.Lock()
	defer n.addingDisk.Unlock()
	if slices.ContainsFunc(n.disks.all(), func(r *diskRoot) bool { return r.tag == d.Tag || filepath.Clean(r.path) == d.Path }) {
		return proto.ErrNodeAlreadyExist, fmt.Errorf("data_dir(%s) tag(%s) already exist", d.Path, d.Tag)
	}
	if entries, err := os.ReadDir(d.Path); err == nil && len(entries) > 0 {
		return proto.ErrDirNotEmpty, fmt.Errorf("Disk(%s) directory is not empty", d.Path)
	}
	root := newDiskRoot(d)
	lock, err := n.takeNewDisk(root)
	if err != nil {
		return proto.ErrFileOperationFailed, err
	}
	n.locksMu.Lock()
	n.locks = append(n.locks, lock)
	n.locksMu.Unlock()
	n.space.look(root)
	n.disks.add(root)
	n.watching.Go(func() { n.space.watch(root, n.life.Done()) })
	n.logger.Info("data directory added; the configuration must name it, too", zap.String("tag", d.Tag), zap.String("dir", d.Path))
	n.statusChanged()
	return proto.ErrOK, nil
}

// takeNewDisk makes and locks the directory, and proves that it can be written.
func (n *Node) takeNewDisk(root *diskRoot) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Join(root.path, replicasDir), 0o755); err != nil {
		return nil, err
	}
	lock, err := disk.OS().Lock(root.path)
	if err != nil {
		return nil, err
	}
	if err := writeIdentity(root.path, n.id); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
