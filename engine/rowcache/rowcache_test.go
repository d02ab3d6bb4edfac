package rowcache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func newCache(t testing.TB, size uint64) *Cache {
	t.Helper()
	c, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// check walks the ring and the table: rows and gap fill tail to head, and every slot names a row of its bucket.
func (c *Cache) check(t *testing.T) {
	t.Helper()
	at, starts := c.tail, map[uint64]bool{}
	for at < c.head {
		if at == c.gap && at%uint64(len(c.ring)) != 0 {
			at += uint64(len(c.ring)) - at%uint64(len(c.ring))
			continue
		}
		starts[at] = true
		at += uint64(len(c.row(at))+unit-1) &^ (unit - 1)
	}
	if at != c.head || c.head-c.tail > uint64(len(c.ring)) {
		t.Fatalf("tail %d, head %d, walked to %d, ring of %d", c.tail, c.head, at, len(c.ring))
	}
	rows := uint64(0)
	for i := range c.table {
		for _, s := range c.table[i] {
			if s == 0 {
				continue
			}
			rows++
			at := c.position(s)
			if !starts[at] {
				t.Fatalf("a slot names %d, where no row begins", at)
			}
			if hash := binary.LittleEndian.Uint64(c.row(at)); c.bucket(hash) != &c.table[i] || makeSlot(hash, at) != s&^read {
				t.Fatalf("the row at %d is in the wrong bucket", at)
			}
		}
	}
	if rows != c.stats.Rows {
		t.Fatalf("%d rows are counted, %d are there", c.stats.Rows, rows)
	}
}

// What is found is what was put last and not dropped since, for every mix of sizes and tenants.
func TestAgainstModel(t *testing.T) {
	for _, size := range []uint64{MinBytes, 100_000, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(size, 1))
			c := newCache(t, size)
			model := map[string][]byte{}
			tenants := []uint32{c.Tenant(), c.Tenant(), c.Tenant()}
			found, largestRow := 0, len(c.ring)/largest
			for i := range 100_000 {
				tenant := tenants[rng.IntN(len(tenants))]
				key := binary.LittleEndian.AppendUint32(nil, uint32(rng.IntN(500)))
				key = append(key, make([]byte, rng.IntN(2)*rng.IntN(40))...)
				id := fmt.Sprint(tenant, key)
				switch rng.IntN(4) {
				case 0, 1:
					got, ok := c.Get(tenant, key)
					if want, known := model[id]; ok && (!known || !bytes.Equal(got, want)) {
						t.Fatalf("step %d: %d bytes under %s, %d were put (%v)", i, len(got), id, len(want), known)
					}
					if ok {
						found++
					}
				case 2:
					value := make([]byte, rng.IntN(1+rng.IntN(largestRow*11/10)))
					for k := range value {
						value[k] = byte(rng.Uint32())
					}
					c.Put(tenant, key, value)
					model[id] = value
					if _, ok := c.Get(tenant, key); ok != (rowLen(len(key), len(value)) <= largestRow) {
						t.Fatalf("step %d: a row of %d bytes is kept: %v", i, rowLen(len(key), len(value)), ok)
					}
				default:
					if rng.IntN(3) == 0 {
						c.Drop(tenant, key)
						delete(model, id)
						if _, ok := c.Get(tenant, key); ok {
							t.Fatalf("step %d: dropped and found", i)
						}
					}
				}
				if i%5000 == 0 {
					c.check(t)
				}
			}
			c.check(t)
			if found < 1000 {
				t.Fatalf("only %d reads found anything: nothing was tested", found)
			}
		})
	}
}

// Rows that are read stay while others pass by.
func TestWhatIsReadStays(t *testing.T) {
	c := newCache(t, 1<<20)
	hot := []byte("hot")
	tenant := c.Tenant()
	c.Put(tenant, hot, make([]byte, 100))
	for i := range 100_000 {
		key := fmt.Appendf(nil, "cold%d", i)
		c.Put(tenant, key, make([]byte, 100))
		if i%1000 != 0 {
			continue
		}
		if _, ok := c.Get(tenant, hot); !ok {
			t.Fatalf("gone after %d others", i)
		}
	}
	if _, ok := c.Get(tenant, []byte("cold0")); ok {
		t.Fatal("what nobody reads stays too")
	}
	c.check(t)
}

// A row beyond MaxRow is not kept, however large the cache is, and nothing is left of what it replaces.
func TestLargeRows(t *testing.T) {
	c := newCache(t, 64<<20)
	tenant, key := c.Tenant(), []byte("12345678")
	fits := make([]byte, MaxRow-headerLen-len(key))
	c.Put(tenant, key, fits)
	if v, ok := c.Get(tenant, key); !ok || len(v) != len(fits) {
		t.Fatalf("a row of MaxRow: %d bytes, %v", len(v), ok)
	}
	c.Put(tenant, key, append(fits, 0))
	if v, ok := c.Get(tenant, key); ok {
		t.Fatalf("a row beyond MaxRow is kept, with %d bytes", len(v))
	}
	c.check(t)
}

func TestTenantsAreApart(t *testing.T) {
	c := newCache(t, MinBytes)
	a, b := c.Tenant(), c.Tenant()
	c.Put(a, []byte("k"), []byte("a"))
	if _, ok := c.Get(b, []byte("k")); ok {
		t.Fatal("a tenant sees the row of another")
	}
	c.Put(b, []byte("k"), nil)
	c.Drop(a, []byte("k"))
	if v, ok := c.Get(b, []byte("k")); !ok || len(v) != 0 {
		t.Fatalf("%q, %v", v, ok)
	}
	if s := c.Stats(); s.Hits != 1 || s.Misses != 1 || s.Puts != 2 || s.Rows != 1 || s.Bytes == 0 {
		t.Fatalf("%+v", s)
	}
}

func TestNothingCached(t *testing.T) {
	for _, size := range []uint64{0, MinBytes - 1, MaxBytes + 1} {
		if _, err := New(size); err != ErrSize {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	var c *Cache
	c.Put(c.Tenant(), []byte("k"), []byte("v"))
	c.Drop(0, []byte("k"))
	if _, ok := c.Get(0, []byte("k")); ok || c.Stats() != (Stats{}) || c.Close() != nil {
		t.Fatal("no cache holds something")
	}
}

func TestNoAllocations(t *testing.T) {
	c := newCache(t, 1<<20)
	tenant, key, value := c.Tenant(), make([]byte, 34), make([]byte, 113)
	i := uint64(0)
	step := func() {
		i++
		binary.LittleEndian.PutUint64(key, i)
		c.Put(tenant, key, value)
		c.Get(tenant, key)
		c.Drop(tenant, key)
		binary.LittleEndian.PutUint64(key, i/2)
		c.Put(tenant, key, value)
		c.Get(tenant, key)
	}
	for range 20_000 { // once around, rows put in front again included
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, rows := range []uint64{1000, 300_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			c := newCache(b, 64<<20)
			tenant, key, value := c.Tenant(), make([]byte, 34), make([]byte, 113)
			for i := range rows {
				binary.LittleEndian.PutUint64(key, i)
				c.Put(tenant, key, value)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			found := 0
			for b.Loop() {
				binary.LittleEndian.PutUint64(key, rng.Uint64N(rows))
				if _, ok := c.Get(tenant, key); ok {
					found++
				}
			}
			b.ReportMetric(float64(found)/float64(b.N), "hits/op")
		})
	}
}

func BenchmarkPut(b *testing.B) {
	c := newCache(b, 64<<20)
	tenant, key, value := c.Tenant(), make([]byte, 34), make([]byte, 113)
	rng := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		binary.LittleEndian.PutUint64(key, rng.Uint64N(1_000_000))
		c.Put(tenant, key, value)
	}
}
