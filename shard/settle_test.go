package shard

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/lane"
	"pegasus/netcore/proto"
)

// fullStore is on a disk without space. Only the loop asks it.
type fullStore struct {
	engine.Store
	err error // of Apply
}

func (s *fullStore) Apply(d proto.Decree, batches ...[]byte) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Apply(d, batches...)
}

// A secondary whose disk is full when it would stand still to move to another one stays where it is and keeps what it has gathered.
func TestMigrationOffAFullDisk(t *testing.T) {
	g := newGroup(t, []int{1, 1}, func(o *Options) {
		o.DataDirs = append(o.DataDirs, DataDir{Tag: "other", Path: t.TempDir()})
		o.LogDir = o.DataDirs[0].Path
	})
	g.meta.groupTable(1, 1, 2)
	g.full(1, 1, 2)
	c := g.client()
	m := g.secondary(part0)
	full := &fullStore{err: engine.ErrNoSpace}
	var from string
	onPartition(m.node, part0, func(p *partition) bool {
		full.Store, p.store = p.store, full
		from = p.dir.tag
		return true
	})
	to := "other"
	if from == to {
		to = "disk1"
	}
	for i := range 10 {
		onPartition(m.node, part0, func(p *partition) bool { p.gathered.since = p.shard.clock() + int64(time.Hour); return true })
		if err := c.put(1, 1, fmt.Sprint("k", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	waiting := onPartition(m.node, part0, func(p *partition) int {
		p.gathered.since = p.shard.clock() + int64(time.Hour)
		return len(p.committed)
	})
	if waiting == 0 {
		t.Fatal("nothing was gathered")
	}
	if code, hint := m.migrate(from, to); code != proto.ErrOK {
		t.Fatal(code, hint)
	}
	eventually(t, "the move is given up", func() bool {
		return onPartition(m.node, part0, func(p *partition) bool { return p.migrating == nil && p.state == replicaOpen })
	})
	onPartition(m.node, part0, func(p *partition) bool {
		if p.dir.tag != from || p.parked == 0 {
			t.Errorf("on %s, %d parked", p.dir.tag, p.parked)
		}
		full.err = nil
		return true
	})
	eventually(t, "everything is applied", func() bool {
		return onPartition(m.node, part0, func(p *partition) bool { return p.parked == 0 && p.store.AppliedDecree() == p.replica.Committed() })
	})
	g.same(1, 1)
}

// A checkpoint of another node takes the place of what could not be applied here; a store that fails at the last moment fails the
// replica, whatever was to follow.
func TestInstallOverWhatCannotBeApplied(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want lifecycle
	}{{engine.ErrNoSpace, replicaInstalling}, {errors.New("a scratch"), replicaFailed}} {
		h := newHotMember(t, false, 1)
		h.node.learning = lane.New("learning", 1, 8)
		t.Cleanup(func() { h.node.learning.Close() })
		h.do(func() {
			h.p.store = &fullStore{Store: h.p.store, err: tc.err}
			h.prepare(1)
			h.synced()
			if len(h.p.committed) == 0 {
				t.Error("nothing was gathered")
			}
			h.p.installing = &checkpointFetched{partition: h.p, replica: h.p.replica, decree: 9, staging: filepath.Join(t.TempDir(), stagingDir)}
			h.p.installIfIdle()
			if h.p.state != tc.want {
				t.Errorf("%v: state %d", tc.err, h.p.state)
			}
			if tc.want == replicaInstalling && (h.p.parked > 0 || len(h.p.committed) > 0 || h.sh.gathered != 0) {
				t.Errorf("%d parked, %d committed, %d gathered", h.p.parked, len(h.p.committed), h.sh.gathered)
			}
		})
	}
}

// settingsStore remembers the table's options.
type settingsStore struct {
	engine.Store
	table engine.TableOptions
}

func (s *settingsStore) SetTableOptions(o engine.TableOptions) { s.table = o }

// Settings that change while a replica stands still reach the store that it comes back with, also when that is the old one.
func TestSettingsDuringAMoveThatFails(t *testing.T) {
	h := newHotMember(t, false, 1)
	store := &settingsStore{Store: mem.New(mem.Options{})}
	h.do(func() {
		h.p.store, h.p.state = nil, replicaInstalling
		h.p.refs++
		h.p.configureTable(&proto.AppInfo{Status: proto.AppAvailable, AppID: 1, PartitionCount: 8, Envs: map[string]string{"default_ttl": "100"}})
		m := &moved{migration: &migration{partition: h.p}, store: store, stays: true}
		m.deliver(h.sh)
		if h.p.state != replicaOpen || store.table.DefaultTTL != 100 {
			t.Errorf("state %d, the store has %+v", h.p.state, store.table)
		}
	})
}
