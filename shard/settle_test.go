package shard

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/lane"
	"pegasus/netcore/proto"
)

// leased is a LeaseView in which every lease is good.
type leased struct{}

func (leased) Valid(proto.NodeID, int64) bool   { return true }
func (leased) Term(proto.NodeID) uint64         { return 0 }
func (leased) Expired(proto.NodeID, int64) bool { return false }
func (leased) Lost(proto.NodeID, int64) bool    { return false }
func (leased) MayDrop(proto.NodeID, int64) bool { return false }

func putBatch(hashKey, sortKey, value string) []byte {
	var b engine.BatchBuilder
	b.Put(rawKey(hashKey, sortKey), 0, 0, []byte(value))
	return b.Bytes()
}

// newFoundPrimary makes a primary that has found one mutation, which its predecessor may have answered. Before it, base was applied.
// The turn in which the others acknowledge what was found goes on with then.
func newFoundPrimary(t *testing.T, store engine.Store, base, found []byte, then func(h *hotMember)) *hotMember {
	h := newHotMember(t, false, 1)
	h.do(func() {
		h.batch = base
		h.prepare(1)
		h.synced()
		h.p.settle()
		h.p.store = store
		h.p.replica.Attach(leased{}, consensus.DefaultTiming())
		h.batch = found
		h.prepare(1)
		h.synced()
		h.unsent()
		h.p.wanted = consensus.Config{Ballot: 2, Primary: h.node.id, Secondaries: h.others}
		h.p.ballot, h.p.wants = 2, true
		h.p.adoptConfig()
		if h.p.replica.Committed() != 2 || h.p.replica.Prepared() != 3 || h.p.mayRead(false) {
			t.Errorf("%s", describe(h.p))
		}
	})
	h.turn(func() {
		for _, from := range h.others {
			m := proto.ReplMessage{Type: proto.ReplPrepareAck, GPID: h.p.gpid, Ballot: 2, Decree: 3}
			if err := h.sh.takeReplFrame(from, proto.AppendReplMessage([]byte{proto.ReplVersion}, &m)); err != nil {
				t.Error(err)
			}
		}
		if !h.p.mayRead(false) || store.AppliedDecree() != 2 {
			t.Errorf("applied %d, %s", store.AppliedDecree(), describe(h.p))
		}
		then(h)
	})
	return h
}

// A new primary commits what it has found and in the same turn is asked for it so often that it must answer before the turn ends: it
// answers with what it has found.
func TestNewPrimaryReadsWhatItFound(t *testing.T) {
	var asked []int32
	h := newFoundPrimary(t, mem.New(mem.Options{}), putBatch("k", "", "old"), putBatch("k", "", "new"), func(h *hotMember) {
		for range 4 * minGets {
			asked = append(asked, h.request(proto.CodeGet, h.p.gpid, keyArgs("k", "")))
		}
	})
	for i, seq := range asked {
		var r proto.ReadResponse
		reply := h.replies[seq]
		if err := r.DecodeResult(reply.Body); err != nil || string(r.Value) != "new" {
			t.Fatalf("get %d: %q, %s, %v", i, r.Value, reply.Err, err)
		}
	}
}

// What a new primary has found does not fit on its disk when it is committed: a read over many records that comes in the same turn is
// refused. It goes on in a lane until there is space, and must not be answered with what it saw before.
func TestRangeReadOfWhatIsNotApplied(t *testing.T) {
	full := &fullStore{Store: mem.New(mem.Options{})}
	var b engine.BatchBuilder
	for i := range 2 * loopBudget.MaxRows {
		b.Put(rawKey("k", fmt.Sprintf("%04d", i)), 0, 0, []byte("old"))
	}
	var seq int32
	h := newFoundPrimary(t, full, b.Bytes(), putBatch("k", "0000", "new"), func(h *hotMember) {
		full.err = engine.ErrNoSpace
		m := proto.MultiGetRequest{HashKey: []byte("k"), StartInclusive: true}
		seq = h.request(proto.CodeMultiGet, h.p.gpid, m.AppendArgs)
	})
	if h.p.parked == 0 {
		t.Fatal("nothing is parked")
	}
	full.err = nil
	h.do(h.node.space.check)
	h.turn(h.sh.retry)
	if _, ok := h.replies[seq]; !ok {
		m := next[*laneRead](h.solo)
		h.turn(func() { m.deliver(h.sh) })
	}
	reply := h.replies[seq]
	if reply.Code() == proto.ErrInvalidState {
		return
	}
	var r proto.MultiGetResponse
	if err := r.DecodeResult(reply.Body); err != nil || !bytes.Contains(reply.Body, []byte("new")) {
		t.Fatalf("answered with what is older than what was found: %s, %d records, %v", reply.Err, r.KVs.N, err)
	}
}

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
	eventually(t, "the member knows that it is one", func() bool {
		return onPartition(m.node, part0, func(p *partition) bool { return p.replica.Role() == consensus.Secondary })
	})
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
			if tc.want == replicaInstalling && (h.p.parked > 0 || len(h.p.committed) > 0 || h.sh.gathered+h.sh.gatheredBytes != 0) {
				t.Errorf("%d parked, %d committed, %d gathered of %d bytes", h.p.parked, len(h.p.committed), h.sh.gathered, h.sh.gatheredBytes)
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
