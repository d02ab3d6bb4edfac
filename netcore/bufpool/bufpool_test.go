package bufpool

import (
	"bytes"
	"testing"
)

func TestClasses(t *testing.T) {
	p := New(1 << 20)
	for _, n := range []int{0, 1, 511, 512, 513, 4096, 4097, MaxKept - 1, MaxKept, MaxKept + 1} {
		b := p.Get(n)
		if len(b) != 0 || cap(b) < n {
			t.Fatalf("Get(%d): len %d cap %d", n, len(b), cap(b))
		}
		p.Put(append(b, make([]byte, n)...))
	}
	// Odd capacities must not come back for a request that they cannot hold.
	q := New(1 << 20)
	q.Put(make([]byte, 0, 1000))
	if b := q.Get(900); cap(b) < 900 {
		t.Fatalf("Get(900): cap %d", cap(b))
	}
	if b := q.Get(512); cap(b) != 1000 {
		t.Fatalf("the 1000 byte buffer was not reused for 512 bytes: cap %d", cap(b))
	}
}

func TestLimits(t *testing.T) {
	p := New(8 << 10)
	for range 100 {
		p.Put(make([]byte, 0, 4096))
	}
	p.Put(make([]byte, 0, MaxKept+1))
	p.Put(make([]byte, 0, 10))
	p.Put(nil)
	if _, _, bytes := p.Stats(); bytes != 8<<10 {
		t.Fatalf("%d bytes kept, want %d", bytes, 8<<10)
	}
	p.Put(make([]byte, 0, MaxKept))
	if b := p.Get(MaxKept); cap(b) != MaxKept {
		t.Fatal("one buffer of every class is kept whatever the limit")
	}
	if hits, misses, _ := p.Stats(); hits != 1 || misses != 0 {
		t.Fatalf("hits %d misses %d", hits, misses)
	}
}

func TestGrow(t *testing.T) {
	p := New(1 << 20)
	var want []byte
	b := p.Get(16)
	for i := range 300 {
		piece := bytes.Repeat([]byte{byte(i)}, i)
		b = append(p.Grow(b, len(piece)), piece...)
		want = append(want, piece...)
	}
	if !bytes.Equal(b, want) {
		t.Fatal("content changed while growing")
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	p, s := New(1<<20), NewShared(1<<20)
	round := func() {
		a, b := p.Get(700), p.Get(70_000)
		p.Put(a)
		p.Put(b)
		s.Put(s.Get(3000))
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations per round", n)
	}
}

func BenchmarkGetPut(b *testing.B) {
	b.ReportAllocs()
	p := New(1 << 20)
	for b.Loop() {
		p.Put(p.Get(4096))
	}
}

func BenchmarkSharedGetPut(b *testing.B) {
	b.ReportAllocs()
	p := NewShared(1 << 20)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Put(p.Get(4096))
		}
	})
}
