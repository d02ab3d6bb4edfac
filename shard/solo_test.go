package shard

import (
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

// solo is one shard without sockets, driven by hand: the test decides when a turn ends, when a log write and when a read in
// the lane comes back. Everything of the shard runs on the loop, inside do. Requests come as if forwarded by shard 1, so that
// their replies leave in batches, which solo collects.
type solo struct {
	t       testing.TB
	sh      *Shard
	node    *Node
	box     chan message // completions that wait for the test to deliver them
	replies map[int32]proto.Reply
	ended   int  // requests answered or silenced
	repeats bool // requests come with the same sequence numbers again and again
	seq     int32
	frame   []byte
}

// soloHandler catches what is posted to the loop.
type soloHandler struct{ s *solo }

func (soloHandler) Opened(*loop.Session) error                          { return nil }
func (soloHandler) Data(*loop.Session, []byte) (n, need int, err error) { return 0, 0, nil }
func (soloHandler) Closed(*loop.Session, error)                         {}
func (soloHandler) Turn()                                               {}
func (h soloHandler) Message(m *message) {
	if b, ok := (*m).(*replyBatch); ok {
		h.s.collect(b)
		return
	}
	h.s.box <- *m
}

func newSolo(t testing.TB, fsys disk.FS, logDir string, change ...func(*Options)) *solo {
	t.Helper()
	opts := Options{Shards: 2, Reads: rrdb.DefaultLimits, Rows: 1 << 20, LogLane: true, Logger: zap.NewNop(), Metas: []string{"none"}}
	for _, fn := range change {
		fn(&opts)
	}
	opts.Limits.fillDefaults()
	s := &solo{t: t, box: make(chan message, 1024), replies: map[int32]proto.Reply{}}
	n := &Node{opts: opts, logger: opts.Logger, server: []byte("127.0.0.1:1"), id: proto.NodeID{1}, slow: &slowLog{logger: opts.Logger}}
	n.slowAfter.Store(int64(opts.SlowAfter))
	n.background = lane.New("background", 1, 1024)
	n.space = newSpace(fsys, 0, newDisks(nil), logDir, opts.Logger)
	n.leases = newNodeLeases(n.id, 1, consensus.DefaultTiming())
	for i := range opts.Shards {
		sh := n.newShard(proto.ShardID(i))
		n.shards = append(n.shards, sh)
		var err error
		if sh.rows, err = newRowCache(opts.Rows, opts.Shards); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sh.rows.Close() })
	}
	l, err := loop.Start[message](loop.Config{Name: "solo", Addrs: []string{"127.0.0.1:0"}}, soloHandler{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range n.shards {
		sh.loop = l
	}
	n.complete.Store(true)
	s.node, s.sh = n, n.shards[0]
	s.sh.log, _, err = mutlog.Open(fsys, logDir, mutlog.Options{
		Sync: mutlog.SyncOS, SegmentSize: 4 << 20, MaxPending: 2 << 20, MaxRecord: 1 << 20, MaxPartitions: 256,
	}, func(mutlog.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	s.do(func() { s.sh.started = true; s.sh.alignClock() })
	s.sh.logJob.submit = func() {} // writes are carried out by sync; the lane gets jobs faster than it can drop them
	s.sh.logLane.Close()
	s.sh.logLane = lane.New("log", 1, 1<<16)
	t.Cleanup(func() {
		for _, sh := range n.shards {
			sh.readLane.Close()
			sh.long.lane.Close()
			sh.logLane.Close()
		}
		n.background.Close()
		if err := l.Stop(within(t)); err != nil {
			t.Error(err)
		}
		for len(s.box) > 0 {
			if d, ok := (<-s.box).(interface{ drop() }); ok {
				d.drop()
			}
		}
		// A write or chore that the test left alone keeps the log open; the file system goes with the test.
		if s.sh.logJob.write == nil && !s.sh.choring {
			if err := s.sh.log.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// do runs fn on the loop and waits for it.
func (s *solo) do(fn func()) {
	done := make(chan struct{})
	if err := s.sh.loop.Do(func() { defer close(done); fn() }); err != nil {
		s.t.Fatal(err)
	}
	<-done
}

// turn runs fn and ends the turn.
func (s *solo) turn(fn func()) {
	s.do(func() { fn(); s.sh.Turn() })
	s.do(func() {}) // the replies of the turn are in the mailbox now, and are delivered before this
}

// open puts a partition on store into service as primary.
func (s *solo) open(g proto.GPID, store engine.Store) *partition {
	p := newPartition(s.sh, g, replicaDir{})
	s.turn(func() {
		p.configureTable(&proto.AppInfo{Status: proto.AppAvailable, AppID: g.App, PartitionCount: 1})
		s.sh.partitions[g] = p
		p.open(store, consensus.Restored{Ballot: 1, Durable: store.AppliedDecree(), Committed: store.AppliedDecree()})
		p.ballot = 1
		p.wanted, p.wants = consensus.Config{Ballot: 1, Primary: s.node.id}, true
		p.adoptConfig()
	})
	return p
}

// aside takes what a test has no opinion on: reports to meta, and chores of the log.
func (s *solo) aside(m message) bool {
	switch m := m.(type) {
	case *tellReport:
	case *choreDone:
		s.turn(func() { m.deliver(s.sh) })
	default:
		return false
	}
	return true
}

// next waits for a completion of the wanted type.
func next[T message](s *solo) (m T) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-s.box:
			if m, ok := got.(T); ok {
				return m
			}
			if !s.aside(got) {
				s.t.Fatalf("got a %T", got)
			}
		case <-timeout:
			s.t.Fatalf("no %T came", m)
		}
	}
}

// request serves one request as part of the current turn and returns its sequence number. Only inside do.
func (s *solo) request(code proto.Code, g proto.GPID, args func([]byte) []byte) int32 {
	s.seq++
	var mark int
	s.frame, mark = proto.AppendRequest(s.frame[:0], code, g, s.seq, 1000, 0)
	s.frame = proto.FinishRequest(args(s.frame), mark)
	var req proto.Request
	if n, _, err := proto.ParseTHFT(s.frame, len(s.frame), &req); err != nil || n != len(s.frame) {
		s.t.Errorf("own frame: %d, %v", n, err)
	}
	s.sh.serve(dest{ref: loop.Ref{Slot: 1, Gen: 1}, shard: 1, at: s.sh.turnStart()}, &req)
	return s.seq
}

func (s *solo) collect(b *replyBatch) {
	start := uint32(0)
	for _, r := range b.replies {
		s.ended++
		if r.end > start {
			frame := append([]byte(nil), b.buf[start:r.end]...)
			var rep proto.Reply
			if _, _, err := proto.ParseReply(frame, len(frame), &rep); err != nil {
				s.t.Errorf("reply: %v", err)
			}
			if _, twice := s.replies[rep.Seq]; twice && !s.repeats {
				s.t.Errorf("request %d answered twice", rep.Seq)
			}
			s.replies[rep.Seq] = rep
		}
		start = r.end
	}
	b.release()
}

// sync completes the log write in flight, if any, and the chores that it waits for.
func (s *solo) sync() {
	var chore bool
	s.turn(func() {
		s.sh.startLogWrite()
		chore = s.sh.logJob.write == nil && s.sh.log.Stats().PendingBytes > 0
		if chore {
			s.sh.startChore()
		}
	})
	if chore {
		m := next[*choreDone](s)
		s.turn(func() { m.deliver(s.sh) })
	}
	s.turn(func() {
		if w := s.sh.logJob.write; w != nil {
			if err := w.Do(); err != nil {
				s.t.Log("log write:", err)
			}
			s.sh.logJob.deliver(s.sh)
		}
	})
}

// finish completes everything that is under way.
func (s *solo) finish() {
	s.t.Helper()
	var why string
	for range 10000 {
		s.sync()
		for s.deliverOne() {
		}
		s.do(func() { why = s.sh.unquiet() })
		if why == "" {
			if s.ended != int(s.seq) {
				s.t.Fatalf("%d requests, %d ended", s.seq, s.ended)
			}
			return
		}
	}
	s.t.Fatalf("never quiet: %s", why)
}

// deliverOne delivers one completion; false when none is due. It waits for those that are sure to come: a read, and a chore of the
// log, which would else meet the faults that a test injects next.
func (s *solo) deliverOne() bool {
	var sure bool
	s.do(func() {
		sure = s.sh.choring
		for _, p := range s.sh.partitions {
			sure = sure || p.reading
		}
	})
	if !sure {
		select {
		case m := <-s.box:
			if !s.aside(m) {
				s.turn(func() { m.deliver(s.sh) })
			}
			return true
		default:
			return false
		}
	}
	select {
	case m := <-s.box:
		if !s.aside(m) {
			s.turn(func() { m.deliver(s.sh) })
		}
		return true
	case <-time.After(patience):
		s.t.Fatal("a read or a chore of the log does not come back")
		return false
	}
}

// coldStore is a model store whose records may have to be read in the lane.
type coldStore struct {
	*mem.Store
	reads chan struct{} // when not nil, every read in the lane takes one
	began chan struct{} // and has put one here before
}

func newColdStore(cold func(key []byte) bool, gated bool) *coldStore {
	s := &coldStore{Store: mem.New(mem.Options{WouldBlock: cold})}
	if gated {
		s.reads, s.began = make(chan struct{}, 1024), make(chan struct{}, 1024)
	}
	return s
}

// begun waits until one more read in the lane waits to be let on.
func (s *coldStore) begun(t *testing.T) {
	t.Helper()
	select {
	case <-s.began:
	case <-time.After(patience):
		t.Fatal("no read has begun")
	}
}

func (s *coldStore) MultiGet(b *engine.GetBatch, tier engine.Tier) {
	if tier == engine.TierAll && s.reads != nil {
		s.began <- struct{}{}
		<-s.reads
	}
	s.Store.MultiGet(b, tier)
}

func always([]byte) bool { return true }

func seqName(i int) string { return strconv.Itoa(i) }
