// Package rowcache keeps the values of records that were read lately in front of stores, so that reading them again costs neither
// a call into the store nor a search there. It knows keys and values as bytes, and tenants as numbers: what a record is, when one
// changes and who may read it is the owner's business.
package rowcache

import (
	"encoding/binary"
	"errors"
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// Rows lie one behind the other in a ring, as they came; when it is full the oldest go, unless they were read meanwhile: those are
// put in front once more (first in, first out with reinsertion, which comes close to evicting the least recently used and moves
// nothing on a read). A table of positions finds them, eight to a bucket, which is one line of the processor's cache: a hit touches
// two or three lines, where a search in a memtable touches about twenty. Rows that were dropped or replaced leave a hole, which goes
// when its turn comes.
//
// The ring is mapped outside the heap, in huge pages where the system grants them: the collector need not know of it, and memory
// is used only as rows come. The system clears a page before it gives it, which takes half a millisecond for a huge one: a goroutine
// asks for pages ahead of the rows, so that the owner does not wait. There are no locks: a cache belongs to one goroutine.
//
// Rejected: RocksDB's row cache (behind the call and the memtables, keyed by file, and a lock per lookup); a Go map of slices (the
// collector walks it); none at all (500,000 records of 100 bytes, three servers, one connection, 64 gets in flight: 5.7 us of all
// servers' time per get then, 2.7 with it).

const (
	bucketSlots = 8
	// rowBytes is the size of a row that the table has a slot for. Smaller rows share buckets and drive the oldest out.
	rowBytes  = 96
	headerLen = 24 // of a row
	unit      = 8  // rows are aligned to it, and slots count in it

	// MinBytes and MaxBytes bound the size of a cache.
	MinBytes = 64 << 10
	MaxBytes = 16 << 30
	// largest is the share of the ring that one row may take.
	largest = 64
	// MaxRow bounds a row besides, in bytes of key, value and header: copying a larger one costs more than the search that it saves.
	MaxRow = 64 << 10
	// maxReinserts bounds what one Put moves, to 1 MiB at worst: it runs on an event loop. Rows beyond it go although they were read.
	maxReinserts = 16
)

// Offsets in the header of a row.
const (
	atHash   = 0
	atTenant = 8
	atKey    = 12 // length of the key
	atValue  = 16 // length of the value
)

// Cache holds rows of many tenants. It has one owner; only Close may come from another goroutine, when the owner is gone. A nil
// Cache holds nothing.
type Cache struct {
	ring   []byte
	head   uint64 // where the next row goes; positions only grow, the ring is indexed modulo its length
	tail   uint64 // where the oldest row is
	gap    uint64 // position behind the last row before the end of the ring, on this lap; what follows up to the end is unused
	table  [][bucketSlots]slot
	seed   maphash.Seed
	moving []byte // a row on its way to the front
	asked  uint64 // up to here pages have been asked for
	ahead  chan []byte
	paged  chan struct{} // closed when nobody touches the ring any more on behalf of ahead
	stats  Stats
	last   uint32 // newest tenant
}

// slot places a row: the upper half is its position in units, modulo 2^32, the lower the upper half of its hash but for two bits. One
// is set in every slot that is taken, the other when the row has been read since it was put where it is.
type slot uint64

const (
	taken slot = 1
	read  slot = 2
)

// Stats count since the cache was made.
type Stats struct {
	Hits, Misses uint64
	Puts         uint64
	Rows         uint64 // that can be found now
	Bytes        uint64 // of the ring in use, holes included
	Limit        uint64 // bytes of the ring
}

// ErrSize is the error of New for a size out of bounds.
var ErrSize = errors.New("rowcache: size out of bounds")

// New makes a cache that uses about so many bytes, table included. Close gives them back.
func New(size uint64) (*Cache, error) {
	if size < MinBytes || size > MaxBytes {
		return nil, ErrSize
	}
	buckets := size / rowBytes / bucketSlots
	ringLen := (size - buckets*bucketSlots*8) &^ (unit - 1)
	ring, err := unix.Mmap(-1, 0, int(ringLen), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(ring, unix.MADV_HUGEPAGE) // without them it works the same
	c := &Cache{ring: ring, table: make([][bucketSlots]slot, buckets), seed: maphash.MakeSeed(), stats: Stats{Limit: ringLen},
		ahead: make(chan []byte, 2), paged: make(chan struct{})}
	go func() {
		defer close(c.paged)
		for part := range c.ahead {
			_ = unix.Madvise(part, unix.MADV_POPULATE_WRITE) // else they come when they are written to
		}
	}()
	c.pageAhead()
	return c, nil
}

// stride is how much memory is asked for at a time, and how far ahead of the rows: a huge page.
const stride = 2 << 20

// pageAhead asks for the memory of the rows to come, on the first lap.
func (c *Cache) pageAhead() {
	for c.asked < uint64(len(c.ring)) && c.asked < c.head+stride {
		end := min(c.asked+stride, uint64(len(c.ring)))
		select {
		case c.ahead <- c.ring[c.asked:end:end]:
		default: // the rows are faster
		}
		c.asked = end
	}
}

// Close gives the memory back. Views that Get returned are invalid then, and so is the cache.
func (c *Cache) Close() error {
	if c == nil || c.ring == nil {
		return nil
	}
	close(c.ahead)
	<-c.paged
	ring := c.ring
	c.ring, c.table = nil, nil
	return unix.Munmap(ring)
}

// Tenant returns a number under which nothing has been put yet. What is under a number that nobody uses any more makes room in time.
// After 2^32 of them they repeat.
func (c *Cache) Tenant() uint32 {
	if c == nil {
		return 0
	}
	c.last++
	return c.last
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	s := c.stats
	s.Bytes = c.head - c.tail
	return s
}

// Get returns the value of a key, a view that is valid until the next Put, and marks the row as read.
func (c *Cache) Get(tenant uint32, key []byte) (value []byte, ok bool) {
	if c == nil {
		return nil, false
	}
	hash := c.hash(tenant, key)
	s, row := c.find(hash, tenant, key)
	if s == nil {
		c.stats.Misses++
		return nil, false
	}
	c.stats.Hits++
	if *s&read == 0 {
		*s |= read
	}
	return row[headerLen+len(key):], true
}

// Drop forgets a key.
func (c *Cache) Drop(tenant uint32, key []byte) {
	if c == nil {
		return
	}
	if s, _ := c.find(c.hash(tenant, key), tenant, key); s != nil {
		*s = 0
		c.stats.Rows--
	}
}

// Put keeps a copy of a value, in place of what was under the key before. A row of more than a 64th of the cache, or MaxRow, is not kept.
func (c *Cache) Put(tenant uint32, key, value []byte) {
	if c == nil {
		return
	}
	hash := c.hash(tenant, key)
	if s, _ := c.find(hash, tenant, key); s != nil {
		*s = 0
		c.stats.Rows--
	}
	n := rowLen(len(key), len(value))
	if n > min(len(c.ring)/largest, MaxRow) {
		return
	}
	c.makeRoom(n)
	row := c.claim(n)
	binary.LittleEndian.PutUint64(row[atHash:], hash)
	binary.LittleEndian.PutUint32(row[atTenant:], tenant)
	binary.LittleEndian.PutUint32(row[atKey:], uint32(len(key)))
	binary.LittleEndian.PutUint32(row[atValue:], uint32(len(value)))
	copy(row[headerLen:], key)
	copy(row[headerLen+len(key):], value)
	c.enter(hash, c.head)
	c.head += uint64(n)
	if c.asked < uint64(len(c.ring)) {
		c.pageAhead()
	}
	c.stats.Puts++
}

func rowLen(key, value int) int { return (headerLen + key + value + unit - 1) &^ (unit - 1) }

func (c *Cache) hash(tenant uint32, key []byte) uint64 {
	return maphash.Bytes(c.seed, key) ^ uint64(tenant)*0x9e3779b97f4a7c15
}

// bucket goes by the lower half of the hash; the upper one tells the rows of a bucket apart.
func (c *Cache) bucket(hash uint64) *[bucketSlots]slot {
	return &c.table[uint64(uint32(hash))*uint64(len(c.table))>>32]
}

func makeSlot(hash, at uint64) slot { return slot(at/unit<<32|hash>>32)&^(taken|read) | taken }

// position is where the row of a slot is: the one position that is not ahead of head and has these bits.
func (c *Cache) position(s slot) uint64 {
	units := c.head / unit
	return (units - uint64(uint32(units)-uint32(s>>32))) * unit
}

// row returns the row at a position, up to the end of its value.
func (c *Cache) row(at uint64) []byte {
	r := c.ring[at%uint64(len(c.ring)):]
	n := headerLen + int(binary.LittleEndian.Uint32(r[atKey:])) + int(binary.LittleEndian.Uint32(r[atValue:]))
	return r[:n:n]
}

// find returns the slot of a key, nil when it has none, and its row.
func (c *Cache) find(hash uint64, tenant uint32, key []byte) (*slot, []byte) {
	b := c.bucket(hash)
	tag := uint32(makeSlot(hash, 0))
	for i := range b {
		if uint32(b[i]&^read) != tag {
			continue
		}
		row := c.row(c.position(b[i]))
		if binary.LittleEndian.Uint64(row[atHash:]) == hash && binary.LittleEndian.Uint32(row[atTenant:]) == tenant &&
			int(binary.LittleEndian.Uint32(row[atKey:])) == len(key) && string(row[headerLen:headerLen+len(key)]) == string(key) {
			return &b[i], row
		}
	}
	return nil, nil
}

// enter puts a row into the table. In a full bucket it takes the place of the oldest that was not read, or else of the oldest.
func (c *Cache) enter(hash, at uint64) {
	b := c.bucket(hash)
	victim, age := 0, uint64(0)
	for i := range b {
		if b[i] == 0 {
			b[i] = makeSlot(hash, at)
			c.stats.Rows++
			return
		}
		a := at - c.position(b[i])
		if b[i]&read == 0 {
			a += uint64(len(c.ring)) // older than any that was
		}
		if a > age {
			victim, age = i, a
		}
	}
	b[victim] = makeSlot(hash, at)
}

// claim returns the memory for a row of n bytes at head, for which there is room. A row does not go around the end.
func (c *Cache) claim(n int) []byte {
	at := c.head % uint64(len(c.ring))
	if rest := uint64(len(c.ring)) - at; rest < uint64(n) {
		c.gap = c.head
		c.head += rest
		at = 0
	}
	return c.ring[at : at+uint64(n)]
}

// makeRoom takes rows away until one of n bytes has room.
func (c *Cache) makeRoom(n int) {
	size := uint64(len(c.ring))
	for moved := 0; ; {
		need := uint64(n)
		if rest := size - c.head%size; rest < need {
			need += rest
		}
		if c.head+need-c.tail <= size {
			return
		}
		if c.tail == c.gap && c.tail%size != 0 {
			c.tail += size - c.tail%size
			continue
		}
		row := c.row(c.tail)
		hash := binary.LittleEndian.Uint64(row[atHash:])
		s := c.slotAt(hash, c.tail)
		moving := s != nil && *s&read != 0 && moved < maxReinserts
		if moving {
			c.moving = append(c.moving[:0], row...)
			moved++
		}
		if s != nil {
			*s = 0
			c.stats.Rows--
		}
		length := (len(row) + unit - 1) &^ (unit - 1)
		c.tail += uint64(length)
		if moving {
			c.reinsert(hash, length)
		}
	}
}

// slotAt returns the slot of the row with this hash that is at a position; nil when no slot names it.
func (c *Cache) slotAt(hash, at uint64) *slot {
	b, want := c.bucket(hash), makeSlot(hash, at)
	for i := range b {
		if b[i]&^read == want {
			return &b[i]
		}
	}
	return nil
}

// reinsert puts the row that was just taken from the tail in front, unless it would have to go around the end and find no room
// there.
func (c *Cache) reinsert(hash uint64, length int) {
	size := uint64(len(c.ring))
	need := uint64(length)
	if rest := size - c.head%size; rest < need {
		need += rest
	}
	if c.head+need-c.tail > size {
		return
	}
	copy(c.claim(length), c.moving)
	c.enter(hash, c.head)
	c.head += uint64(length)
}
