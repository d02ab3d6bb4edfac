package mutlog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// A victim is a small finished log of three partitions in two segments, its files, and where every record lies.
type victim struct {
	files   map[string][]byte
	names   []string
	spans   []span
	last    map[proto.GPID]proto.Decree
	content map[proto.GPID][]Record
}

// span is the place of a record; final is set for records of the log's last write.
type span struct {
	name     string
	off, end int64
	padding  int64 // where the padding starts
	gpid     proto.GPID
	decree   proto.Decree
	typ      recordType
	final    bool
}

// fresh are options under which no store has flushed anything.
func fresh() Options {
	o := small()
	o.Flushed = func(proto.GPID) proto.Decree { return 0 }
	return o
}

const victimDir = "/log"

func makeVictim(t testing.TB, o Options) *victim {
	t.Helper()
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, victimDir, o)
	v := &victim{files: map[string][]byte{}, last: map[proto.GPID]proto.Decree{}, content: map[proto.GPID][]Record{}}
	write := func(rs ...Record) {
		for _, r := range rs {
			v.last[r.GPID] = r.Decree
			v.content[r.GPID] = append(v.content[r.GPID], r)
		}
		mustAppend(t, l, rs...)
		mustDrain(t, l)
	}
	d := proto.Decree(1)
	for ; len(l.segments) < 2; d++ {
		write(rec(gpid(0), d, 1, 301), rec(gpid(1), d, 1, 37), rec(gpid(2), d, 1, 0))
		write(rec(gpid(3), d, 1, 200))
	}
	for i := proto.Decree(0); i < 3; i++ {
		write(rec(gpid(1), d+i, 1, 20), rec(gpid(2), d+i, 1, 3))
		write(rec(gpid(0), d+i, 1, 50))
	}
	lastWrite := l.active.end
	write(rec(gpid(2), d+3, 1, 11), rec(gpid(0), d+3, 1, 40))
	for _, name := range mustList(t, fsys, victimDir) {
		b, err := disk.ReadFile(fsys, victimDir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		seq, _ := parseSegmentName(name)
		found := false
		err = scanSegment(b, seq, func(it *item) error {
			found = true
			r := it.header.rec
			v.spans = append(v.spans, span{
				name: name, off: it.off, end: it.end, padding: it.off + recordHeaderLen + int64(it.header.length),
				gpid: r.GPID, decree: r.Decree, typ: it.header.typ, final: seq == l.active.seq && it.off >= lastWrite,
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if found {
			v.files[name] = b
			v.names = append(v.names, name)
		}
	}
	return v
}

// with returns a disk that holds the victim with one file changed by f.
func (v *victim) with(t testing.TB, name string, f func(b []byte) []byte) *disk.Mem {
	t.Helper()
	fsys := disk.NewMem(1)
	if err := fsys.MkdirAll(victimDir); err != nil {
		t.Fatal(err)
	}
	for _, n := range v.names {
		b := slices.Clone(v.files[n])
		if n == name {
			b = f(b)
		}
		if b == nil {
			continue
		}
		if err := disk.WriteFile(fsys, victimDir+"/"+n, b); err != nil {
			t.Fatal(err)
		}
	}
	return fsys
}

// check compares a replay with the original: only true records, from the first on without gaps. It returns the partitions
// that are not whole and not spoiled, and the spoiled ones.
func (v *victim) check(rep Report, got replayed) (short, spoiled []int, err error) {
	for n := range 4 {
		g := gpid(n)
		for i, r := range got[g] {
			if i >= len(v.content[g]) || !sameRecord(r, v.content[g][i]) {
				return nil, nil, fmt.Errorf("wrong record %v decree %d at place %d", g, r.Decree, i+1)
			}
		}
		_, isSpoiled := rep.Spoiled[g]
		switch whole := len(got[g]) == len(v.content[g]); {
		case isSpoiled:
			spoiled = append(spoiled, n)
		case !whole:
			short = append(short, n)
		}
	}
	return short, spoiled, nil
}

func TestBitFlipAtEveryByte(t *testing.T) {
	v := makeVictim(t, fresh())
	for _, name := range v.names {
		for at := range v.files[name] {
			fsys := v.with(t, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			_, rep, got := mustOpen(t, fsys, victimDir, fresh())
			short, spoiled, err := v.check(rep, got)
			if err != nil {
				t.Fatalf("%s byte %d: %v", name, at, err)
			}
			i := slices.IndexFunc(v.spans, func(s span) bool { return s.name == name && s.off <= int64(at) && int64(at) < s.end })
			var wantShort, wantSpoiled []int
			if i >= 0 && v.spans[i].typ == typeMutation && int64(at) < v.spans[i].padding {
				if s := v.spans[i]; s.final {
					wantShort = []int{int(s.gpid.Part)}
				} else {
					wantSpoiled = []int{int(s.gpid.Part)}
				}
			}
			if !slices.Equal(short, wantShort) || !slices.Equal(spoiled, wantSpoiled) || rep.Suspect {
				t.Fatalf("%s byte %d (%+v): short %v, spoiled %v, suspect %v, want %v and %v; %v",
					name, at, v.spans[max(i, 0)], short, spoiled, rep.Suspect, wantShort, wantSpoiled, rep.Spoiled)
			}
			if len(wantSpoiled) > 0 {
				s := v.spans[i]
				if n := len(got[s.gpid]); n != int(s.decree)-1 {
					t.Fatalf("%s byte %d: %d records before the lost decree %d", name, at, n, s.decree)
				}
			}
		}
	}
}

func TestTruncationAtEveryByte(t *testing.T) {
	v := makeVictim(t, fresh())
	for _, name := range v.names {
		isLast := name == v.names[len(v.names)-1]
		for at := range v.files[name] {
			fsys := v.with(t, name, func(b []byte) []byte { return b[:at] })
			_, rep, got := mustOpen(t, fsys, victimDir, fresh())
			short, spoiled, err := v.check(rep, got)
			if err != nil {
				t.Fatalf("%s at %d: %v", name, at, err)
			}
			// What ends before the cut is there; whoever has a record behind it is short, or, with a later segment to tell, spoiled.
			want := map[proto.GPID]proto.Decree{}
			var hit []int
			for _, s := range v.spans {
				cut := s.name == name && s.padding > int64(at)
				if s.typ == typeMutation && !cut && !slices.Contains(hit, int(s.gpid.Part)) {
					want[s.gpid] = s.decree
				}
				if s.typ == typeMutation && cut && !slices.Contains(hit, int(s.gpid.Part)) {
					hit = append(hit, int(s.gpid.Part))
				}
			}
			slices.Sort(hit)
			wantShort, wantSpoiled := hit, []int(nil)
			if !isLast {
				wantShort, wantSpoiled = nil, hit
			}
			if !slices.Equal(short, wantShort) || !slices.Equal(spoiled, wantSpoiled) {
				t.Fatalf("%s at %d: short %v, spoiled %v, want %v and %v", name, at, short, spoiled, wantShort, wantSpoiled)
			}
			for n := range 4 {
				if d := len(got[gpid(n)]); d != int(want[gpid(n)]) {
					t.Fatalf("%s at %d: partition %d has %d records, want %d", name, at, n, d, want[gpid(n)])
				}
			}
		}
	}
}

// TestRottenRangesLoseNothingSilently destroys random ranges before the last write, over several records at once.
func TestRottenRangesLoseNothingSilently(t *testing.T) {
	v := makeVictim(t, fresh())
	suspects := 0
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		name := v.names[rng.IntN(len(v.names))]
		var end int64
		for _, s := range v.spans {
			if s.name == name && !s.final {
				end = s.end
			}
		}
		from := rng.Int64N(end)
		to := min(end, from+1+rng.Int64N(1500))
		zero := rng.IntN(2) == 0
		fsys := v.with(t, name, func(b []byte) []byte {
			for i := from; i < to; i++ {
				b[i] = byte(rng.Uint32())
				if zero {
					b[i] = 0
				}
			}
			return b
		})
		_, rep, got := mustOpen(t, fsys, victimDir, fresh())
		short, spoiled, err := v.check(rep, got)
		if err != nil || len(short) > 0 {
			t.Fatalf("seed %d, %s [%d, %d): short %v, spoiled %v, %v", seed, name, from, to, short, spoiled, err)
		}
		if rep.Suspect {
			suspects++
			continue
		}
		for _, n := range spoiled {
			if !slices.ContainsFunc(v.spans, func(s span) bool {
				return s.name == name && s.gpid == gpid(n) && s.off < to && from < s.end
			}) {
				t.Fatalf("seed %d, %s [%d, %d): neighbour %d spoiled: %v", seed, name, from, to, n, rep.Spoiled)
			}
		}
	}
	if suspects == 0 || suspects == 1500 {
		t.Fatalf("%d suspects: the test does not reach both sides", suspects)
	}
}

func TestFlushedDamageDoesNoHarm(t *testing.T) {
	v := makeVictim(t, fresh())
	o := small()
	o.Flushed = func(g proto.GPID) proto.Decree { return 3 }
	for _, s := range v.spans {
		if s.typ != typeMutation || s.decree > 3 {
			continue
		}
		fsys := v.with(t, s.name, func(b []byte) []byte { b[s.off+50] ^= 1; return b })
		_, rep, got := mustOpen(t, fsys, victimDir, o)
		wantSpoiled(t, rep)
		for n := range 4 {
			if want := fmt.Sprintf("4..%d", v.last[gpid(n)]); got.decrees(gpid(n)) != want {
				t.Fatalf("%+v: partition %d has %s, want %s", s, n, got.decrees(gpid(n)), want)
			}
		}
	}
}

// TestSpoiledStaysSpoiled: a loss found once is not forgotten because the log went on.
func TestSpoiledStaysSpoiled(t *testing.T) {
	v := makeVictim(t, fresh())
	s := v.spans[1]
	fsys := v.with(t, s.name, func(b []byte) []byte { b[s.off+100] ^= 1; return b })
	victim, other := int(s.gpid.Part), (int(s.gpid.Part)+1)%4
	for round := range proto.Decree(3) {
		l, rep, _ := mustOpen(t, fsys, victimDir, fresh())
		wantSpoiled(t, rep, victim)
		r := rec(s.gpid, v.last[s.gpid]+1, 1, 10)
		if err := l.Append(&r); err != ErrQuarantined {
			t.Fatal(err)
		}
		d := v.last[gpid(other)] + 1 + round
		fill(t, l, d, d, 10, other)
	}
	l, _, _ := mustOpen(t, fsys, victimDir, fresh())
	l.Forget(s.gpid)
	fill(t, l, 1, 3, 10, victim)
	_, rep, got := mustOpen(t, fsys, victimDir, fresh())
	wantSpoiled(t, rep)
	if d := got.decrees(s.gpid); d != "1..3" {
		t.Fatal(d)
	}
}

func TestMissingSegmentAndUnreadableSegment(t *testing.T) {
	o := fresh()
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", o)
	fill(t, l, 1, 10, 300, 0)
	fill(t, l, 1, 60, 300, 1)
	fill(t, l, 1, 3, 300, 2)
	if len(l.segments) < 4 {
		t.Fatal("want four segments")
	}
	name := "/log/" + segmentName(l.segments[1].seq)
	fsys.Inject(disk.Fault{Op: disk.OpRead, Glob: name, Times: -1})
	_, rep, got := mustOpen(t, fsys, "/log", o)
	wantSpoiled(t, rep, 1)
	if got.decrees(gpid(0)) != "1..10" || got.decrees(gpid(2)) != "1..3" {
		t.Fatal(got.decrees(gpid(0)), got.decrees(gpid(2)))
	}
	fsys.ClearFaults()
	if _, rep, _ = mustOpen(t, fsys, "/log", o); len(rep.Spoiled) > 0 {
		t.Fatalf("readable again, but %v", rep.Spoiled)
	}
	if err := fsys.Remove(name); err != nil {
		t.Fatal(err)
	}
	_, rep, _ = mustOpen(t, fsys, "/log", o)
	wantSpoiled(t, rep, 1)
}
