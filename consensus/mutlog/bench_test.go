package mutlog

import (
	"fmt"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// chores runs what is due, inline.
func chores(b testing.TB, l *Log) {
	for c := l.NextChore(); c != nil; c = l.NextChore() {
		_ = c.Do()
		if err := l.CompleteChore(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGroupCommit: records of 256 bytes over 8 partitions, a given number per fdatasync, on the real disk.
func BenchmarkGroupCommit(b *testing.B) {
	for _, group := range []int{1, 16, 64, 512} {
		b.Run(fmt.Sprintf("records=%d", group), func(b *testing.B) {
			l, _, err := Open(disk.OS(), b.TempDir(), Options{}, replayed{}.take)
			if err != nil {
				b.Fatal(err)
			}
			chores(b, l)
			r := rec(gpid(0), 1, 1, 256)
			var decrees [8]proto.Decree
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for range group {
					p := n % len(decrees)
					n++
					decrees[p]++
					r.GPID, r.Decree = gpid(p), decrees[p]
					if err := l.Append(&r); err != nil {
						b.Fatal(err)
					}
				}
				w := l.NextWrite()
				for w == nil {
					chores(b, l)
					w = l.NextWrite()
				}
				_ = w.Do()
				d, err := l.Complete(w)
				if err != nil {
					b.Fatal(err)
				}
				for _, d := range d {
					l.FlushedUpTo(d.GPID, d.Decree)
				}
			}
			b.ReportMetric(float64(b.N)*float64(group)/b.Elapsed().Seconds(), "records/s")
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// nullFile takes writes and forgets them.
type nullFile struct{ disk.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) WriteBlocks([]byte, int64) error        { return nil }
func (nullFile) Datasync() error                        { return nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) Preallocate(int64) error                { return nil }
func (nullFile) Size() (int64, error)                   { return 0, nil }
func (nullFile) Close() error                           { return nil }

type nullFS struct{ disk.FS }

func (nullFS) Create(string) (disk.File, error) { return nullFile{}, nil }
func (nullFS) OpenRW(string) (disk.File, error) { return nullFile{}, nil }
func (nullFS) Rename(string, string) error      { return nil }

// BenchmarkAppend is the price on the owner's loop, and what the lane adds, without a disk: 64 records per write.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			c := newCycle(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c.append()
			}
		})
	}
}

// cycle appends records and, every 64, does the write.
type cycle struct {
	t testing.TB
	l *Log
	r Record
	n int
}

func newCycle(t testing.TB, size int) *cycle {
	fsys := disk.NewMem(1)
	l, _, err := Open(nullFS{fsys}, "/log", Options{}, replayed{}.take)
	if err != nil {
		t.Fatal(err)
	}
	chores(t, l)
	return &cycle{t: t, l: l, r: rec(gpid(0), 0, 1, size)}
}

func (c *cycle) append() {
	c.r.Decree++
	if err := c.l.Append(&c.r); err != nil {
		c.t.Fatal(err)
	}
	if c.n++; c.n%64 != 0 {
		return
	}
	w := c.l.NextWrite()
	if w == nil {
		chores(c.t, c.l)
		w = c.l.NextWrite()
	}
	_ = w.Do()
	d, err := c.l.Complete(w)
	if err != nil {
		c.t.Fatal(err)
	}
	c.l.FlushedUpTo(d[0].GPID, d[0].Decree)
}

func TestAppendAllocatesNothing(t *testing.T) {
	c := newCycle(t, 200)
	for range 256 {
		c.append()
	}
	if n := testing.AllocsPerRun(20000, c.append); n != 0 {
		t.Fatalf("%v allocations per record", n)
	}
}
