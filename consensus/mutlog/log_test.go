package mutlog

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// small are options under which a log of a few hundred records has several segments.
func small() Options {
	return Options{SegmentSize: 8 << 10, TotalSize: 128 << 10, MaxRecord: 1 << 10, MaxPending: 4 << 10, MaxPartitions: 16, IndexStride: 512}
}

func gpid(n int) proto.GPID { return proto.GPID{App: 1, Part: int32(n)} }

// rec makes a record whose content follows from partition, decree and ballot.
func rec(g proto.GPID, d proto.Decree, b proto.Ballot, size int) Record {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(int(g.Part)*31 + int(d)*7 + int(b)*3 + i)
	}
	return Record{GPID: g, Ballot: b, Decree: d, Committed: d - 1, Timestamp: 1000 + int64(d), Payload: p}
}

// history of what was replayed, per partition.
type replayed map[proto.GPID][]Record

func (m replayed) take(r Record) error {
	r.Payload = slices.Clone(r.Payload)
	m[r.GPID] = append(m[r.GPID], r)
	return nil
}

func (m replayed) decrees(g proto.GPID) string {
	rs := m[g]
	for i := range rs {
		if rs[i].Decree != rs[0].Decree+proto.Decree(i) {
			return "not contiguous"
		}
	}
	if len(rs) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d..%d", rs[0].Decree, rs[len(rs)-1].Decree)
}

func sameRecord(a, b Record) bool {
	return a.GPID == b.GPID && a.Ballot == b.Ballot && a.Decree == b.Decree && a.Committed == b.Committed &&
		a.Timestamp == b.Timestamp && slices.Equal(a.Payload, b.Payload)
}

func mustOpen(t testing.TB, fsys disk.FS, dir string, o Options) (*Log, Report, replayed) {
	t.Helper()
	got := replayed{}
	l, rep, err := Open(fsys, dir, o, got.take)
	if err != nil {
		t.Fatal(err)
	}
	return l, rep, got
}

func mustAppend(t testing.TB, l *Log, rs ...Record) {
	t.Helper()
	for i := range rs {
		if err := l.Append(&rs[i]); err != nil {
			t.Fatalf("append %v decree %d: %v", rs[i].GPID, rs[i].Decree, err)
		}
	}
}

func mustDrain(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Drain(nil); err != nil {
		t.Fatal(err)
	}
}

// fill appends decrees from..to of every partition given, a write per decree.
func fill(t testing.TB, l *Log, from, to proto.Decree, size int, parts ...int) {
	t.Helper()
	for d := from; d <= to; d++ {
		for _, n := range parts {
			mustAppend(t, l, rec(gpid(n), d, 1, size))
		}
		mustDrain(t, l)
	}
}

func wantSpoiled(t testing.TB, rep Report, parts ...int) {
	t.Helper()
	if len(rep.Spoiled) != len(parts) {
		t.Fatalf("spoiled %v, want partitions %v", rep.Spoiled, parts)
	}
	for _, n := range parts {
		if rep.Spoiled[gpid(n)] == "" {
			t.Fatalf("spoiled %v, want partitions %v", rep.Spoiled, parts)
		}
	}
}

func TestReplayReturnsWhatWasAppended(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 40, 100, 0, 1, 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, rep, got := mustOpen(t, fsys, "/log", small())
	wantSpoiled(t, rep)
	if rep.Records < 120 || rep.Segments < 2 || rep.Suspect || rep.Damages != 0 {
		t.Fatalf("report %+v", rep)
	}
	for n := range 3 {
		if d := got.decrees(gpid(n)); d != "1..40" {
			t.Fatalf("partition %d: %s", n, d)
		}
		for _, r := range got[gpid(n)] {
			if !sameRecord(r, rec(gpid(n), r.Decree, 1, 100)) {
				t.Fatalf("wrong record %+v", r)
			}
		}
	}
	// The log goes on where it was.
	fill(t, l, 41, 50, 100, 0)
	_, _, got = mustOpen(t, fsys, "/log", small())
	if d := got.decrees(gpid(0)); d != "1..50" {
		t.Fatal(d)
	}
}

func TestOneWriteInFlightCarriesAllThatQueued(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	c := l.NextChore()
	if err := c.Do(); err != nil {
		t.Fatal(err)
	}
	if err := l.CompleteChore(c); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, rec(gpid(0), 1, 1, 10))
	w := l.NextWrite()
	if w == nil || l.NextWrite() != nil {
		t.Fatal("want exactly one write in flight")
	}
	for d := proto.Decree(1); d <= 5; d++ {
		mustAppend(t, l, rec(gpid(0), d+1, 1, 10), rec(gpid(1), d, 1, 10))
	}
	writes, syncs := fsys.Count(disk.OpWrite), fsys.Count(disk.OpSync)
	for _, want := range [][]Durable{{{gpid(0), 1, 1}}, {{gpid(0), 6, 1}, {gpid(1), 5, 1}}} {
		if err := w.Do(); err != nil {
			t.Fatal(err)
		}
		d, err := l.Complete(w)
		if err != nil || !slices.Equal(d, want) {
			t.Fatalf("durable %v, %v, want %v", d, err, want)
		}
		w = l.NextWrite()
	}
	if w != nil {
		t.Fatal("a write without records")
	}
	if n, m := fsys.Count(disk.OpWrite)-writes, fsys.Count(disk.OpSync)-syncs; n != 2 || m != 2 {
		t.Fatalf("%d writes and %d syncs, want 2 and 2", n, m)
	}
	if s := l.Stats(); s.Writes != 2 || s.Syncs != 2 {
		t.Fatalf("the counters say %d writes and %d syncs", s.Writes, s.Syncs)
	}
}

func TestSyncModeOSDoesNotSyncWrites(t *testing.T) {
	fsys := disk.NewMem(1)
	o := small()
	o.Sync = SyncOS
	l, _, _ := mustOpen(t, fsys, "/log", o)
	fill(t, l, 1, 3, 100, 0)
	before := fsys.Count(disk.OpSync)
	fill(t, l, 4, 8, 100, 0)
	if n := fsys.Count(disk.OpSync) - before; n != 0 {
		t.Fatalf("%d syncs", n)
	}
	if s := l.Stats(); s.Syncs != 0 || s.Writes == 0 {
		t.Fatalf("the counters say %d writes and %d syncs", s.Writes, s.Syncs)
	}
	_, rep, got := mustOpen(t, fsys, "/log", o)
	wantSpoiled(t, rep)
	if d := got.decrees(gpid(0)); d != "1..8" {
		t.Fatal(d)
	}
}

func TestLimits(t *testing.T) {
	o := small()
	l, _, _ := mustOpen(t, disk.NewMem(1), "/log", o)
	r := rec(gpid(0), 1, 1, o.MaxRecord+1)
	if err := l.Append(&r); err != ErrTooLarge || l.Check(gpid(0), o.MaxRecord+1) != ErrTooLarge {
		t.Fatal(err)
	}
	var err error
	n := proto.Decree(0)
	for err == nil {
		n++
		r := rec(gpid(0), n, 1, 500)
		err = l.Append(&r)
	}
	if err != ErrBusy || n < 5 || l.Check(gpid(0), 500) != ErrBusy || l.Check(gpid(0), 0) != nil {
		t.Fatalf("append %d: %v", n, err)
	}
	mustDrain(t, l)
	mustAppend(t, l, rec(gpid(0), n, 1, 500))
	for p := 1; p < o.MaxPartitions; p++ {
		mustAppend(t, l, rec(gpid(p), 1, 1, 1))
	}
	r = rec(gpid(o.MaxPartitions), 1, 1, 1)
	if err := l.Append(&r); err != ErrTooLarge {
		t.Fatal(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"pending below record": func(o *Options) { o.MaxPending = 100 },
		"segment too small":    func(o *Options) { o.SegmentSize = 5 << 10 },
		"segment too large":    func(o *Options) { o.SegmentSize = 2 << 30; o.TotalSize = 1 << 40 },
		"total too small":      func(o *Options) { o.TotalSize = o.SegmentSize },
		"sync mode":            func(o *Options) { o.Sync = 7 },
	} {
		o := small()
		change(&o)
		if _, _, err := Open(disk.NewMem(1), "/log", o, replayed{}.take); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := (Options{}).withDefaults().validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// TestFullLogRefusesUntilFlushed: a log at its total size says so, names the partition to flush and recovers.
func TestFullLogRefusesUntilFlushed(t *testing.T) {
	o := small()
	o.TotalSize = 4 * o.SegmentSize
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", o)
	mustAppend(t, l, rec(gpid(9), 1, 1, 10))
	d := proto.Decree(0)
	var err error
	for err == nil && d < 1000 {
		d++
		r := rec(gpid(0), d, 1, 500)
		if err = l.Append(&r); err == nil {
			mustDrain(t, l)
		}
	}
	if err != ErrFull {
		t.Fatalf("append %d: %v", d, err)
	}
	if n := l.Stats().Segments; n != 4 {
		t.Fatalf("full with %d segments", n)
	}
	for i := 0; i < 2; i++ {
		g, upTo, ok := l.OldestHolder(anyHelps)
		if !ok {
			t.Fatal("nobody holds anything")
		}
		l.FlushedUpTo(g, upTo)
	}
	fill(t, l, d, d+20, 100, 0)
	if n := len(mustList(t, fsys, "/log")); int64(n)*o.SegmentSize > o.TotalSize {
		t.Fatalf("%d files", n)
	}
}

func mustList(t testing.TB, fsys disk.FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRecycledSegmentsNeverReplayOldRecords runs a long life through few files and looks at every crash point in between.
func TestRecycledSegmentsNeverReplayOldRecords(t *testing.T) {
	fsys := disk.NewMem(1)
	o := small()
	o.TotalSize = 5 * o.SegmentSize
	flushed := map[proto.GPID]proto.Decree{}
	o.Flushed = func(g proto.GPID) proto.Decree { return flushed[g] }
	l, _, _ := mustOpen(t, fsys, "/log", o)
	for d := proto.Decree(1); d <= 600; d++ {
		mustAppend(t, l, rec(gpid(0), d, 1, 120), rec(gpid(1), d, 1, 40))
		mustDrain(t, l)
		if d%5 == 0 {
			for n, lag := range []proto.Decree{7, 31} {
				if d > lag {
					flushed[gpid(n)] = d - lag
					l.FlushedUpTo(gpid(n), d-lag)
				}
			}
		}
		if d%17 == 0 {
			_, rep, got := mustOpen(t, fsys, "/log", o)
			wantSpoiled(t, rep)
			for n := range 2 {
				want := fmt.Sprintf("%d..%d", flushed[gpid(n)]+1, d)
				if s := got.decrees(gpid(n)); s != want {
					t.Fatalf("at %d partition %d: %s, want %s", d, n, s, want)
				}
			}
		}
	}
	if n := len(mustList(t, fsys, "/log")); n > 5 {
		t.Fatalf("%d files", n)
	}
	if fsys.Count(disk.OpRename) < 5 {
		t.Fatalf("only %d files were recycled", fsys.Count(disk.OpRename))
	}
}

func TestForgetIsForGood(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 30, 100, 0, 1)
	l.Forget(gpid(0))
	// The partition comes back from elsewhere with an older state.
	fill(t, l, 21, 25, 100, 0)
	l, rep, got := mustOpen(t, fsys, "/log", small())
	wantSpoiled(t, rep)
	if got.decrees(gpid(0)) != "21..25" || got.decrees(gpid(1)) != "1..30" {
		t.Fatal(got.decrees(gpid(0)), got.decrees(gpid(1)))
	}
	for i, r := range got[gpid(0)] {
		if r.Decree != proto.Decree(21+i) {
			t.Fatal("order", r.Decree)
		}
	}
	l.Forget(gpid(1))
	l.Forget(gpid(7))
	mustDrain(t, l)
	_, _, got = mustOpen(t, fsys, "/log", small())
	if got.decrees(gpid(1)) != "none" {
		t.Fatal("forgotten partition came back:", got.decrees(gpid(1)))
	}
}

func TestHigherBallotReplacesTheTail(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 10, 100, 0)
	mustAppend(t, l, rec(gpid(0), 8, 2, 60), rec(gpid(0), 9, 2, 60))
	mustDrain(t, l)
	check := func(rs []Record) {
		t.Helper()
		if len(rs) != 9 {
			t.Fatalf("%d records", len(rs))
		}
		for i, r := range rs {
			want := rec(gpid(0), proto.Decree(i+1), 1, 100)
			if r.Decree >= 8 {
				want = rec(gpid(0), r.Decree, 2, 60)
			}
			if !sameRecord(r, want) {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
	}
	check(readAll(t, l, gpid(0), 1, 100))
	l, _, got := mustOpen(t, fsys, "/log", small())
	check(got[gpid(0)])
	check(readAll(t, l, gpid(0), 1, 100))
}

func readAll(t testing.TB, l *Log, g proto.GPID, from, to proto.Decree) []Record {
	t.Helper()
	r, err := l.Read(g, from, to)
	if err != nil {
		t.Fatal(err)
	}
	got := replayed{}
	for r.Next() {
		_ = got.take(r.Record())
	}
	if err := errors.Join(r.Err(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return got[g]
}

// TestNoSpaceForASegment: the log refuses instead of failing partitions, and goes on when there is space again.
func TestNoSpaceForASegment(t *testing.T) {
	fsys := disk.NewMem(1)
	o := small()
	fsys.SetCapacity(2*o.SegmentSize + 100)
	l, _, _ := mustOpen(t, fsys, "/log", o)
	var err error
	last := proto.Decree(0)
	for err == nil && last < 1000 {
		r := rec(gpid(0), last+1, 1, 500)
		if err = l.Append(&r); err != nil {
			break
		}
		last++
		if derr := l.Drain(nil); derr != nil && !errors.Is(derr, syscall.ENOSPC) {
			t.Fatal(derr)
		}
	}
	if err != ErrFull || last < 20 {
		t.Fatalf("append %d: %v", last+1, err)
	}
	fsys.SetCapacity(1 << 20)
	mustDrain(t, l)
	fill(t, l, last+1, last+20, 100, 0)
	_, rep, got := mustOpen(t, fsys, "/log", o)
	wantSpoiled(t, rep)
	if d := got.decrees(gpid(0)); d != fmt.Sprintf("1..%d", last+20) {
		t.Fatal(d)
	}
}

func TestFailedSyncQuarantinesWhoWasInIt(t *testing.T) {
	for name, fault := range map[string]disk.Fault{
		"failed fsync": {Op: disk.OpSync, Glob: "*.log"},
		"failed write": {Op: disk.OpWrite, Glob: "*.log"},
		"short write":  {Op: disk.OpWrite, Glob: "*.log", Keep: 150, Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := disk.NewMem(1)
			l, _, _ := mustOpen(t, fsys, "/log", small())
			fill(t, l, 1, 5, 100, 0, 1, 2)
			mustAppend(t, l, rec(gpid(0), 6, 1, 100), rec(gpid(1), 6, 1, 100))
			w := l.NextWrite()
			mustAppend(t, l, rec(gpid(0), 7, 1, 100), rec(gpid(2), 6, 1, 100))
			fsys.Inject(fault)
			if w.Do() == nil {
				t.Fatal("no error")
			}
			d, err := l.Complete(w)
			if err == nil || !slices.Equal(d, []Durable{{gpid(0), 5, 1}, {gpid(1), 5, 1}}) {
				t.Fatalf("failed %v, %v", d, err)
			}
			r := rec(gpid(0), 6, 1, 100)
			if err := l.Append(&r); err != ErrQuarantined {
				t.Fatal(err)
			}
			// The neighbour's pending record is not lost, and the log has moved on to another segment.
			mustDrain(t, l)
			syncs := fsys.Count(disk.OpSync)
			l.Forget(gpid(1))
			fill(t, l, 6, 8, 100, 1)
			fill(t, l, 7, 8, 100, 2)
			if fsys.Count(disk.OpSync) == syncs {
				t.Fatal("nothing was synced")
			}
			_, rep, got := mustOpen(t, fsys, "/log", small())
			wantSpoiled(t, rep)
			for n, want := range []string{"1..5", "6..8", "1..8"} {
				if s := got.decrees(gpid(n)); s != want {
					t.Errorf("partition %d: %s, want %s", n, s, want)
				}
			}
		})
	}
}
