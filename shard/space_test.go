package shard

import (
	"fmt"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

var solo1 = proto.GPID{App: 1}

func (s *solo) want(seq int32, code proto.ErrCode) {
	s.t.Helper()
	r, ok := s.replies[seq]
	if !ok || string(r.Err) != code.String() {
		s.t.Errorf("request %d: answered %v, %s, want %v", seq, ok, r.Err, code)
	}
}

func (s *solo) put(key, value string) (seq int32) {
	s.turn(func() { seq = s.request(proto.CodePut, solo1, putArgs(key, "", value)) })
	return seq
}

// A log write that meets a full disk waits, what comes meanwhile is refused, and reads go on; with the tick it is tried again.
func TestLogWithoutSpace(t *testing.T) {
	fsys := disk.NewMem(1)
	s := newSolo(t, fsys, "/log")
	p := s.open(solo1, mem.New(mem.Options{}))
	s.put("a", "1")
	s.finish()
	fsys.Inject(disk.Fault{Op: disk.OpWrite, Glob: "*.log", Times: 2, Err: syscall.ENOSPC})
	waiting := s.put("b", "2")
	s.sync()
	refused := s.put("c", "3")
	s.want(refused, proto.ErrDiskInsufficient)
	var read int32
	s.turn(func() { read = s.request(proto.CodeGet, solo1, keyArgs("a", "")) })
	s.want(read, proto.ErrOK)
	if _, answered := s.replies[waiting]; answered || p.state != replicaOpen {
		t.Fatalf("answered %v, %s", answered, p.failure)
	}
	for range 2 {
		s.do(s.node.space.check)
		s.turn(s.sh.retry)
		s.sync()
	}
	s.finish()
	s.want(waiting, proto.ErrOK)
	again := s.put("c", "3")
	s.finish()
	s.want(again, proto.ErrOK)
}

// What is committed and cannot be applied waits with everything that is committed behind it; nobody is told that it was done, nor
// that it was not. Then it is applied in order. Resigning meanwhile ends what is not committed, and only that.
func TestStoreWithoutSpace(t *testing.T) {
	for _, resign := range []bool{false, true} {
		t.Run(fmt.Sprint("resign ", resign), func(t *testing.T) {
			full := false
			store := mem.New(mem.Options{Fail: func(op mem.Op) error {
				if full && op == mem.OpApply {
					return engine.ErrNoSpace
				}
				return nil
			}})
			s := newSolo(t, disk.NewMem(1), "/log")
			p := s.open(solo1, store)
			s.put("z", "0")
			s.finish() // the log has a segment now
			var second, incr int32
			first := s.put("a", "1") // is being written when the others come
			second = s.put("b", "2")
			s.turn(func() { incr = s.request(proto.CodeIncr, solo1, incrArgs("n", "", 1)) })
			full = true
			s.sync() // the first is committed
			if p.parked != 1 || p.state != replicaOpen {
				t.Fatalf("%d parked, %s", p.parked, p.failure)
			}
			s.want(s.put("c", "3"), proto.ErrDiskInsufficient)
			last := proto.ErrOK
			if resign {
				last = proto.ErrTimeout
				s.turn(func() {
					p.ballot = 2
					p.wanted, p.wants = consensus.Config{Ballot: 2, Primary: proto.NodeID{9}}, true
					p.adoptConfig()
				})
			} else {
				s.sync()
				if p.parked < 2 {
					t.Fatalf("%d parked", p.parked)
				}
			}
			s.do(s.node.space.check)
			s.turn(s.sh.retry)
			if _, ok := s.replies[first]; ok || p.parked == 0 {
				t.Fatal("answered while the disk is full")
			}
			full = false
			s.do(s.node.space.check)
			s.turn(s.sh.retry)
			s.finish()
			s.want(first, proto.ErrOK)
			s.want(second, last)
			s.want(incr, last)
			if p.state != replicaOpen {
				t.Error(p.failure)
			}
			if !resign {
				seq := s.put("d", "4")
				s.finish()
				s.want(seq, proto.ErrOK)
			}
		})
	}
}

// A new primary that has found what it has no room to log again keeps it until it has.
func TestBacklogOfANewPrimary(t *testing.T) {
	fsys := disk.NewMem(1)
	s := newSolo(t, fsys, "/log")
	p := s.open(solo1, mem.New(mem.Options{}))
	first := s.put("a", "1")
	s.turn(func() {
		for i := range 3 {
			p.appendLater(&consensus.Mutation{Ballot: 1, Decree: 2 + proto.Decree(i), Timestamp: int64(i), Tokens: []uint64{1}})
		}
		if p.hasLogRoom(1) {
			t.Error("prepares are taken before the backlog is in the log")
		}
	})
	s.want(s.put("b", "2"), proto.ErrDiskInsufficient)
	fsys.Inject(disk.Fault{Op: disk.OpCreate, Times: 1, Err: syscall.ENOSPC})
	s.turn(func() {
		p.workOffBacklog()
		if len(p.backlog) != 0 || s.sh.log.Check(solo1, 1) != nil {
			t.Errorf("%d left", len(p.backlog))
		}
	})
	_ = first
}

// The watermark: a tenth of the disk or the reserve, whichever is less; each directory for itself, that of the logs for all.
func TestWatermark(t *testing.T) {
	fsys := disk.NewMem(1)
	if err := fsys.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create("/d/ballast")
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(1000)
	for _, tc := range []struct {
		reserve, used int64
		full          bool
	}{
		{1 << 30, 900, false}, {1 << 30, 901, true}, {50, 950, false}, {50, 951, true}, {0, 1000, false},
	} {
		if err := f.Truncate(tc.used); err != nil {
			t.Fatal(err)
		}
		s := newSpace(fsys, tc.reserve, newDisks([]DataDir{{Path: "/d"}}), "/d", zap.NewNop())
		s.check()
		if s.lacks("disk1") != tc.full || s.full.Load() != tc.full || s.trouble.Load() != tc.full {
			t.Errorf("%d used, %d to be kept: full %v", tc.used, tc.reserve, s.lacks("disk1"))
		}
	}
	s := newSpace(fsys, 0, newDisks([]DataDir{{Path: "/d"}, {Path: "/e"}}), "/d", zap.NewNop())
	s.roots()[1].full.Store(true)
	s.conclude()
	if s.lacks("disk1") || !s.lacks("disk2") {
		t.Error("a full disk counts for the replicas on it")
	}
	s.heard(proto.NodeID{7}, true)
	s.roots()[1].full.Store(false)
	s.conclude()
	if s.full.Load() || !s.fullMember([]proto.NodeID{{1}, {7}}) || s.fullMember([]proto.NodeID{{1}}) {
		t.Error("a node that is full")
	}
	s.heard(proto.NodeID{7}, false)
	if s.trouble.Load() {
		t.Error("trouble stays")
	}
}

// A primary refuses writes while the node of a secondary is full, which it learns from leases, and takes them again afterwards.
func TestFullSecondary(t *testing.T) {
	g := newGroup(t, []int{1, 1, 1})
	g.meta.groupTable(1, 1, 3)
	g.full(1, 1, 3)
	c := g.client()
	if err := c.put(1, 1, "a", "1"); err != nil {
		t.Fatal(err)
	}
	primary, victim := g.primary(part0), g.secondary(part0)
	part, hash := partOf(1, 1, "a")
	ask := func() string {
		r, err := c.once(primary.opts.Listen, proto.CodePut, part, hash, putArgs("a", "", "2"))
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Err)
	}
	before := g.meta.config(part0).Ballot
	// Held down, as the watch would otherwise find that there is space.
	release := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			victim.node.space.hit()
			select {
			case <-release:
				return
			default:
			}
		}
	}()
	eventually(t, "the write is refused", func() bool { return ask() == proto.ErrDiskInsufficient.String() })
	if v, err := c.get(1, 1, "a"); err != nil || v == "" {
		t.Errorf("a read: %q, %v", v, err)
	}
	close(release)
	<-done
	eventually(t, "the write is taken", func() bool { return ask() == proto.ErrOK.String() })
	if now := g.meta.config(part0).Ballot; now != before {
		t.Errorf("the group changed from ballot %d to %d", before, now)
	}
}
