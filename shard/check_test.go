package shard

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// tree is every file under a folder with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mustCheck checks one data directory, and that nothing in it changes.
func mustCheck(t *testing.T, dir string, deep bool) *DataReport {
	t.Helper()
	before := tree(t, dir)
	r, err := Check(CheckOptions{DataDirs: []string{dir}, Deep: deep})
	if err != nil {
		t.Fatal(err)
	}
	after := tree(t, dir)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("the check changed %s", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("there were %d files and are %d", len(before), len(after))
	}
	return r
}

func TestCheck(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 3, nil)
	fill(c.dial(), 1, 3, 100, "v")
	c.quiet()
	if _, err := Check(CheckOptions{DataDirs: []string{c.dir}}); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("the data of a running node: %v", err)
	}
	crashed := copyDir(t, c.dir)
	c.stop()
	if r := mustCheck(t, c.dir, true); !r.Sound() || len(r.Replicas) != 3 || r.Node == "none" || len(r.Logs) != 2 {
		t.Errorf("the data of a node that was stopped: %+v", r)
	}
	r := mustCheck(t, crashed, true)
	if !r.Sound() || len(r.Replicas) != 3 {
		t.Errorf("the data of a node that crashed: %+v", r)
	}
	for _, k := range r.Replicas {
		if k.Table == "" || k.LogLast == 0 || k.Stored > k.LogLast {
			t.Errorf("replica %+v", k)
		}
	}

	bad := filepath.Join(crashed, replicasDir, "1.1"+replicaSuffix)
	for name, damage := range map[string]func(dir string) error{
		"record of another": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, replicaFile), []byte(`{"format":1,"app_id":7,"partition":0}`), 0o644)
		},
		"no store": func(dir string) error { return os.RemoveAll(filepath.Join(dir, storeDir)) },
		"broken store": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, storeDir, "CURRENT"), []byte("junk\n"), 0o644)
		},
	} {
		whole := copyDir(t, bad)
		if err := damage(bad); err != nil {
			t.Fatal(err)
		}
		r := mustCheck(t, crashed, false)
		if r.Sound() || len(r.Replicas) != 3 || r.Replicas[1].Problem == "" || r.Replicas[0].Problem+r.Replicas[2].Problem != "" {
			t.Errorf("%s: %+v", name, r)
		}
		if err := errors.Join(os.RemoveAll(bad), os.CopyFS(bad, os.DirFS(whole))); err != nil {
			t.Fatal(err)
		}
	}
	if err := setAside(replicaDir{path: bad}, suffixError, "tried"); err != nil {
		t.Fatal(err)
	}
	if r := mustCheck(t, crashed, false); len(r.Aside) != 1 || !strings.Contains(r.Aside[0], "1.1.pegasus") || len(r.Replicas) != 2 {
		t.Errorf("with a replica moved aside: %+v", r)
	}
	if r := mustCheck(t, t.TempDir(), false); r.Sound() || r.Node != (proto.NodeID{}).String() {
		t.Errorf("a folder of something else: %+v", r)
	}
}
