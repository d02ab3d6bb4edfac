package shard

import (
	"strings"
	"testing"
	"time"

	"pegasus/consensus/mutlog"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// byLoop is a solo whose log writes may be the loop's, and a partition that has taken a first put.
func byLoop(t *testing.T) (*solo, proto.GPID) {
	s := newSolo(t, disk.NewMem(1), "/log")
	g := proto.GPID{App: 1}
	s.open(g, mem.New(mem.Options{}))
	s.turn(func() { s.request(proto.CodePut, g, putArgs("first", "", "v")) })
	s.finish() // the log has a segment now
	s.do(func() { s.sh.opts.LogLane = false })
	s.pass(time.Duration(laneTime))
	return s, g
}

// sent ends a turn that brought puts as the loop does, and tells who wrote the log: the loop, the lane, or nobody yet.
func (s *solo) sent(fn func()) (who string) {
	s.t.Helper()
	if fn != nil {
		s.turn(fn)
	}
	s.do(func() {
		before := s.sh.stats.LoopLogWrites
		s.sh.Sent()
		switch {
		case s.sh.stats.LoopLogWrites > before:
			who = "loop"
		case s.sh.logJob.write != nil:
			who = "lane"
		default:
			who = "nobody"
		}
	})
	return who
}

// end completes a write, whoever did it.
func (s *solo) end(who string) {
	s.t.Helper()
	if who == "loop" {
		j := next[*logJob](s)
		s.turn(func() { j.deliver(s.sh) })
	} else {
		s.sync()
	}
}

func TestWhoWritesTheLog(t *testing.T) {
	put := func(s *solo, g proto.GPID, size int) string {
		return s.sent(func() { s.request(proto.CodePut, g, putArgs("k", "", strings.Repeat("v", size))) })
	}
	for name, c := range map[string]struct {
		before func(s *solo, g proto.GPID)
		size   int
		want   string
	}{
		"nothing else to do": {func(*solo, proto.GPID) {}, 10, "loop"},
		"told so":            {func(s *solo, _ proto.GPID) { s.sh.opts.LogLane = true }, 10, "lane"},
		"a read": {func(s *solo, g proto.GPID) {
			s.turn(func() { s.sh.noteRead(&proto.Request{Code: proto.CodeGet}) })
		}, 10, "lane"},
		"another put": {func(s *solo, g proto.GPID) {
			s.turn(func() { s.sh.noteRead(&proto.Request{Code: proto.CodePut}) })
		}, 10, "loop"},
		"a read long ago": {func(s *solo, g proto.GPID) {
			s.turn(func() { s.sh.noteRead(&proto.Request{Code: proto.CodeScan}) })
			s.pass(time.Duration(readQuiet))
		}, 10, "loop"},
		"a slow disk":    {func(s *solo, _ proto.GPID) { s.sh.logJob.usual = quickWrite }, 10, "lane"},
		"a large write":  {func(*solo, proto.GPID) {}, maxLoopBytes, "lane"},
		"a slow write":   {slowPut, 10, "lane"},
		"one long ago":   {func(s *solo, g proto.GPID) { slowPut(s, g); s.sent(nil); s.pass(time.Duration(laneTime)) }, 10, "loop"},
		"a write before": {func(s *solo, g proto.GPID) { s.end(put(s, g, 10)); s.sent(nil) }, 10, "loop"},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := byLoop(t)
			c.before(s, g)
			who := put(s, g, c.size)
			if who != c.want {
				t.Errorf("%s wrote it, want %s", who, c.want)
			}
			s.end(who)
			s.do(func() { s.sh.opts.LogLane = true })
			s.finish()
		})
	}
}

// slowPut is a put whose log write took long, as none has before.
func slowPut(s *solo, g proto.GPID) {
	who := s.sent(func() { s.request(proto.CodePut, g, putArgs("slow", "", "v")) })
	s.do(func() { s.sh.logJob.took = slowWrite + 1 })
	s.end(who)
	s.do(func() { s.sh.logJob.usual = 0 })
}

// Reads are noted where their partition is, whichever loop they come to; writes are not.
func TestReadsAreNotedOnTheirShard(t *testing.T) {
	g := newGroup(t, []int{2})
	g.meta.groupTable(1, 4, 1)
	g.full(1, 4, 1)
	noted := func() (n int) {
		for i := range 2 {
			onShard(g.nodes[0].node, i, func(sh *Shard) {
				if sh.loopWrites.lastRead > 0 {
					n++
				}
			})
		}
		return n
	}
	c := g.client()
	for i := range 20 {
		if err := c.put(1, 4, seqName(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	if n := noted(); n != 0 {
		t.Errorf("puts are noted as reads on %d shards", n)
	}
	for i := range 20 {
		if _, err := c.get(1, 4, seqName(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := noted(); n != 2 {
		t.Errorf("reads are noted on %d shards of 2", n)
	}
}

// Between two writes of the loop it looks at its sockets once more: what that brings goes with the second one.
func TestLoopLooksBeforeItWritesAgain(t *testing.T) {
	s, g := byLoop(t)
	put := func(key string) func() {
		return func() { s.request(proto.CodePut, g, putArgs(key, "", "v")) }
	}
	if who := s.sent(put("a")); who != "loop" {
		t.Fatalf("%s wrote the first", who)
	}
	writes := s.sh.log.Stats().Writes
	j := next[*logJob](s)
	if who := s.sent(func() { j.deliver(s.sh); put("b")() }); who != "nobody" {
		t.Errorf("%s wrote the second at once", who)
	}
	if who := s.sent(put("c")); who != "loop" {
		t.Errorf("%s wrote the second", who)
	}
	s.end("loop")
	if n := s.sh.log.Stats().Writes - writes; n != 2 {
		t.Errorf("%d log writes, want 2", n)
	}
	s.do(func() { s.sh.opts.LogLane = true })
	s.finish()
}

// A loop has turns before its shard has started, and recovery may have left something in the log.
func TestNothingIsDoneBeforeTheStart(t *testing.T) {
	s, _ := byLoop(t)
	s.do(func() {
		s.sh.started = false
		rec := mutlog.Record{GPID: proto.GPID{App: 99}, Ballot: 1, Decree: 1}
		if err := s.sh.log.Append(&rec); err != nil {
			t.Error(err)
		}
	})
	if who := s.sent(func() {}); who != "nobody" {
		t.Errorf("%s wrote the log", who)
	}
	s.do(func() { s.sh.started = true })
	who := s.sent(func() {})
	if who != "loop" {
		t.Errorf("%s wrote the log, want loop", who)
	}
	s.end(who)
}

// A loop that waits for a disk which does not answer takes the leases of its node with it, whatever shard it is: others take over and
// writes go on. When the disk answers, the node is a member again.
func TestHungDiskUnderALoop(t *testing.T) {
	for hung := range 2 {
		g := newGroup(t, []int{2, 2, 2})
		g.meta.groupTable(1, 4, 3)
		g.full(1, 4, 3)
		l := g.puts(1, 4, 4)
		eventually(t, "loops write their logs", func() bool {
			for _, m := range g.nodes {
				if m.stat(func(s *Stats) uint64 { return s.LoopLogWrites }) < 20 {
					return false
				}
			}
			return true
		})
		p := proto.GPID{App: 1}
		for int(proto.Placement(p, 2)) != hung {
			p.Part++
		}
		m := g.primary(p)
		began, answer := make(chan struct{}), make(chan struct{})
		sh := m.node.shards[hung]
		if err := sh.loop.DoMust(func() {
			sh.loopWrites.since.Store(m.node.leases.now())
			close(began)
			<-answer
			sh.loopWrites.since.Store(0)
		}); err != nil {
			t.Fatal(err)
		}
		<-began
		eventually(t, "another member has taken over", func() bool { return g.primary(p) != m })
		l.more(g, 200)
		close(answer)
		g.full(1, 4, 3)
		l.more(g, 200)
		l.verify(g, 1, 4)
	}
}
