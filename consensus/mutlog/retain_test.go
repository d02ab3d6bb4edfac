package mutlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

func anyHelps(proto.GPID, proto.Decree) bool { return true }

// A partition whose last decrees cannot commit keeps its own segments and no others, for as long as it takes and over restarts:
// what its neighbours have flushed leaves from between them.
func TestStuckPartitionHoldsOnlyItsOwn(t *testing.T) {
	o := small()
	o.TotalSize = 6 * o.SegmentSize
	flushed := map[proto.GPID]proto.Decree{}
	o.Flushed = func(g proto.GPID) proto.Decree { return flushed[g] }
	fsys := disk.NewMem(1)
	stuck, busy := gpid(0), gpid(1)
	helps := func(g proto.GPID, _ proto.Decree) bool { return g != stuck }
	l, _, _ := mustOpen(t, fsys, "/log", o)
	fill(t, l, 1, 3, 50, 0) // never flushed
	d := proto.Decree(0)
	for life := range 20 {
		for range 40 {
			d++
			mustAppend(t, l, rec(busy, d, 1, 300))
			mustDrain(t, l)
			if g, upTo, ok := l.OldestHolder(helps); ok && l.Stats().Segments > 3 {
				flushed[g] = upTo
				l.FlushedUpTo(g, upTo)
			}
		}
		if n := len(mustList(t, fsys, "/log")); int64(n)*o.SegmentSize > o.TotalSize {
			t.Fatalf("life %d: %d files", life, n)
		}
		fsys.PowerLoss(rand.New(rand.NewPCG(uint64(life), 0)))
		var rep Report
		var got replayed
		l, rep, got = mustOpen(t, fsys, "/log", o)
		if len(rep.Spoiled) > 0 || rep.Suspect {
			t.Fatalf("life %d: spoiled %v, suspect %v", life, rep.Spoiled, rep.Suspect)
		}
		if r := got[stuck]; len(r) != 3 || r[0].Decree != 1 {
			t.Fatalf("life %d: %d records of the stuck partition", life, len(r))
		}
		if r := got[busy]; len(r) != int(d-flushed[busy]) || len(r) > 0 && r[0].Decree != flushed[busy]+1 {
			t.Fatalf("life %d: %d records behind decree %d of %d", life, len(r), flushed[busy], d)
		}
	}
	// A store that does not open for once is not held against the log.
	o.Flushed = func(g proto.GPID) proto.Decree {
		if g == busy {
			return -1
		}
		return flushed[g]
	}
	_, rep, _ := mustOpen(t, fsys, "/log", o)
	if len(rep.Spoiled) > 0 {
		t.Fatalf("spoiled %v", rep.Spoiled)
	}
}

func TestReadAnyRange(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 60, 150, 0, 1, 2)
	reopened, _, _ := mustOpen(t, fsys, "/log", small())
	for _, l := range []*Log{l, reopened} {
		for from := proto.Decree(1); from <= 60; from += 7 {
			for to := from; to <= 66; to += 11 {
				rs := readAll(t, l, gpid(1), from, to)
				if want := int(min(to, 60) - from + 1); len(rs) != want {
					t.Fatalf("%d..%d: %d records, want %d", from, to, len(rs), want)
				}
				for i, r := range rs {
					if !sameRecord(r, rec(gpid(1), from+proto.Decree(i), 1, 150)) {
						t.Fatalf("%d..%d: wrong record %d", from, to, r.Decree)
					}
				}
			}
		}
	}
	if rs := readAll(t, l, gpid(1), 61, 70); len(rs) != 0 {
		t.Fatalf("%d records after the end", len(rs))
	}
	if _, err := l.Read(gpid(9), 1, 2); err != ErrNotInLog {
		t.Fatal(err)
	}
}

func TestReadGivesOnlyWhatIsDurable(t *testing.T) {
	l, _, _ := mustOpen(t, disk.NewMem(1), "/log", small())
	fill(t, l, 1, 3, 20, 0)
	mustAppend(t, l, rec(gpid(0), 4, 1, 20))
	w := l.NextWrite()
	if rs := readAll(t, l, gpid(0), 1, 10); len(rs) != 3 {
		t.Fatalf("%d records", len(rs))
	}
	if err := w.Do(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Complete(w); err != nil {
		t.Fatal(err)
	}
	if rs := readAll(t, l, gpid(0), 1, 10); len(rs) != 4 {
		t.Fatalf("%d records", len(rs))
	}
}

func TestReaderKeepsItsFilesAndReportsDamage(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 40, 300, 0)
	r, err := l.Read(gpid(0), 1, 40)
	if err != nil {
		t.Fatal(err)
	}
	l.FlushedUpTo(gpid(0), 40)
	mustDrain(t, l)
	n := 0
	for r.Next() {
		n++
	}
	if err := errors.Join(r.Err(), r.Close(), r.Close()); err != nil || n != 40 {
		t.Fatalf("%d records, %v", n, err)
	}
	mustDrain(t, l)
	if _, err := l.Read(gpid(0), 1, 40); err != ErrNotInLog {
		t.Fatalf("the segments were not freed after Close: %v", err)
	}
	fill(t, l, 41, 43, 300, 0)
	at := l.parts[gpid(0)].index.marks[0].at
	if err := fsys.FlipBit("/log/"+segmentName(at.seq), (at.off+recordHeaderLen+5)*8); err != nil {
		t.Fatal(err)
	}
	r, err = l.Read(gpid(0), l.parts[gpid(0)].index.first(), 43)
	if err != nil {
		t.Fatal(err)
	}
	if r.Next() || !errors.Is(r.Err(), ErrDamaged) {
		t.Fatalf("read a damaged record: %v", r.Err())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPinHoldsUntilItsCap(t *testing.T) {
	o := small()
	l, _, _ := mustOpen(t, disk.NewMem(1), "/log", o)
	fill(t, l, 1, 5, 300, 0)
	pin, err := l.Pin("learner", gpid(0), 3, 3*o.SegmentSize)
	if err != nil {
		t.Fatal(err)
	}
	d := proto.Decree(5)
	grow := func() {
		d++
		fill(t, l, d, d, 300, 0)
		l.FlushedUpTo(gpid(0), d)
		mustDrain(t, l)
	}
	for len(l.segments) < 4 {
		grow()
		if pin.Lost() {
			t.Fatal("lost below its cap")
		}
	}
	if rs := readAll(t, l, gpid(0), 3, d); len(rs) != int(d-2) {
		t.Fatalf("%d records", len(rs))
	}
	for !pin.Lost() && d < 500 {
		grow()
	}
	if _, err := l.Read(gpid(0), 3, d); err != ErrNotInLog {
		t.Fatalf("pin lost, read: %v", err)
	}
	pin.Release()
	// A pin that keeps up is never lost, and may wait for a decree that does not exist yet.
	pin, err = l.Pin("feed", gpid(0), d+1, o.SegmentSize)
	if err != nil || pin.Name() != "feed" {
		t.Fatal(err)
	}
	for range 100 {
		grow()
		pin.Advance(d)
	}
	if pin.Lost() || pin.Next() != d {
		t.Fatalf("lost %v at %d", pin.Lost(), pin.Next())
	}
	if _, err := l.Pin("late", gpid(0), 1, 1); err != ErrNotInLog {
		t.Fatal(err)
	}
	l.Forget(gpid(0))
	if !pin.Lost() {
		t.Fatal("pin of a forgotten partition holds")
	}
}

// TestPinYieldsToTheTotalSize: a pin without a cap of its own cannot fill the log.
func TestPinYieldsToTheTotalSize(t *testing.T) {
	o := small()
	o.TotalSize = 4 * o.SegmentSize
	l, _, _ := mustOpen(t, disk.NewMem(1), "/log", o)
	fill(t, l, 1, 2, 300, 0)
	pin, err := l.Pin("backup", gpid(0), 1, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	for d := proto.Decree(3); d <= 200; d++ {
		fill(t, l, d, d, 300, 0)
		l.FlushedUpTo(gpid(0), d)
	}
	if !pin.Lost() {
		t.Fatal("pin still holds")
	}
}

// TestShardCountChanges: 3 shards, then 1, then 3 again, with a partition that moves every time.
func TestShardCountChanges(t *testing.T) {
	fsys := disk.NewMem(1)
	flushed := map[proto.GPID]proto.Decree{}
	o := small()
	o.Flushed = func(g proto.GPID) proto.Decree { return flushed[g] }
	dirs := []string{"/log/0", "/log/1", "/log/2"}
	openAll := func(live, foreign []string, want string) ([]*Log, []*Foreign, Report) {
		t.Helper()
		got := replayed{}
		logs, others, rep, err := OpenAll(fsys, live, foreign, o, got.take)
		if err != nil {
			t.Fatal(err)
		}
		wantSpoiled(t, rep)
		var s []string
		for n := range 3 {
			s = append(s, got.decrees(gpid(n)))
		}
		if got := strings.Join(s, " "); got != want {
			t.Fatalf("replayed %s, want %s", got, want)
		}
		return logs, others, rep
	}
	logs, _, _ := openAll(dirs, nil, "none none none")
	for n, l := range logs {
		fill(t, l, 1, 10, 300, n)
	}
	logs, others, rep := openAll(dirs[:1], dirs[1:], "1..10 1..10 1..10")
	if len(rep.Split) != 0 || others[0].Done() || others[0].Retire() == nil {
		t.Fatalf("split %v, done %v", rep.Split, others[0].Done())
	}
	fill(t, logs[0], 11, 15, 300, 0, 1, 2)
	// Killed before the stores were flushed; partitions 1 and 2 are in two logs now.
	logs, others, rep = openAll(dirs[:1], dirs[1:], "1..15 1..15 1..15")
	if fmt.Sprint(rep.Split) != "[1.1 1.2]" {
		t.Fatalf("split %v", rep.Split)
	}
	r := rec(gpid(1), 16, 1, 10)
	if err := logs[0].Append(&r); err != ErrQuarantined {
		t.Fatal(err)
	}
	for _, f := range others {
		for n := 1; n < 3; n++ {
			flushed[gpid(n)] = 15
			f.FlushedUpTo(gpid(n), 15)
		}
		if err := f.Retire(); err != nil {
			t.Fatal(err)
		}
	}
	logs[0].Forget(gpid(1))
	logs[0].Forget(gpid(2))
	fill(t, logs[0], 16, 18, 300, 0, 1, 2)
	logs, _, _ = openAll(dirs, nil, "1..18 16..18 16..18")
	// Partition 1 goes back to shard 1; shard 0 forgets it once it is flushed.
	flushed[gpid(1)] = 18
	logs[0].Forget(gpid(1))
	mustDrain(t, logs[0])
	fill(t, logs[1], 19, 20, 300, 1)
	_, _, rep = openAll(dirs, nil, "1..18 19..20 16..18")
	if len(rep.Split) != 0 {
		t.Fatalf("split %v", rep.Split)
	}
}

func TestGapBetweenLogsSpoils(t *testing.T) {
	fsys := disk.NewMem(1)
	dirs := []string{"/log/0", "/log/1"}
	logs, _, _, err := OpenAll(fsys, dirs, nil, small(), replayed{}.take)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, logs[0], 1, 5, 20, 0)
	fill(t, logs[1], 8, 9, 20, 0)
	got := replayed{}
	_, _, rep, err := OpenAll(fsys, dirs, nil, small(), got.take)
	if err != nil {
		t.Fatal(err)
	}
	wantSpoiled(t, rep, 0)
	if d := got.decrees(gpid(0)); d != "1..5" {
		t.Fatal(d)
	}
}

// TestOverlapBetweenLogs: the same decrees in two logs. An unfinished copy shortens nothing, a longer one continues, and a
// higher ballot replaces.
func TestOverlapBetweenLogs(t *testing.T) {
	for _, c := range []struct {
		from, to proto.Decree
		ballot   proto.Ballot
		want     string
	}{
		{5, 8, 1, "1..20"}, {5, 20, 1, "1..20"}, {5, 25, 1, "1..25"}, {1, 3, 1, "1..20"}, {1, 25, 1, "1..25"}, {5, 8, 2, "1..8"},
	} {
		fsys := disk.NewMem(1)
		dirs := []string{"/log/0", "/log/1"}
		logs, _, _, err := OpenAll(fsys, dirs, nil, small(), replayed{}.take)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, logs[0], 1, 20, 20, 0)
		for d := c.from; d <= c.to; d++ {
			mustAppend(t, logs[1], rec(gpid(0), d, c.ballot, 20))
		}
		mustDrain(t, logs[1])
		got := replayed{}
		_, _, rep, err := OpenAll(fsys, dirs, nil, small(), got.take)
		if err != nil {
			t.Fatal(err)
		}
		wantSpoiled(t, rep)
		if d := got.decrees(gpid(0)); d != c.want || len(rep.Split) != 1 {
			t.Errorf("copy of %d..%d with ballot %d: replayed %s, want %s", c.from, c.to, c.ballot, d, c.want)
		}
		for _, r := range got[gpid(0)] {
			b := proto.Ballot(1)
			if r.Decree >= c.from && r.Decree <= c.to {
				b = c.ballot
			}
			if !sameRecord(r, rec(gpid(0), r.Decree, b, 20)) {
				t.Errorf("copy of %d..%d with ballot %d: wrong record %d", c.from, c.to, c.ballot, r.Decree)
			}
		}
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	fill(t, l, 1, 5, 20, 0)
	boom := errors.New("boom")
	if _, _, err := Open(fsys, "/log", small(), func(Record) error { return boom }); err != boom {
		t.Fatal(err)
	}
}
