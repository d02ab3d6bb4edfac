package shard

import (
	"slices"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Hot keys are found by counting one request in hotSample. A sketch keeps the hash keys that came most often in the present
// period (Space-Saving: a key that finds no slot takes the one of the rarest key and goes on from its count, so a key that makes
// more than 1/hotSlots of the requests is never missed). Requests that come together pay one comparison for all of them.
const (
	hotSample     = 1 << hotSampleBits // requests per sample
	hotSampleBits = 6
	hotSlots      = 16
	// hotShown is how many keys of a replica are told, hotLeast the samples that a key must have had.
	hotShown = 3
	hotLeast = 8
)

type hotSketch struct {
	samples uint32
	slots   [hotSlots]hotSlot
}

type hotSlot struct {
	hash  uint64
	count uint32 // samples; 0 = free
	size  uint8
	key   [maxShownKey]byte // the hash key, its beginning if it is longer
}

// hotCounter is what a replica has for its reads, or for its writes.
type hotCounter struct {
	wait   int        // requests that pass before the next sample
	block  uint32     // which hotSample requests that one belongs to
	sketch *hotSketch // nil until the first sample

	detect    detection
	detecting *hotSketch // of a detection that runs
}

// sample returns which of the next requests, numbered from up to n, is to be counted; n when none of them is. Of every hotSample
// requests one is, at a place that looks random: a client that repeats itself would otherwise be seen at one of its requests
// only.
func (h *hotCounter) sample(from, n int) int {
	if rest := n - from; rest <= h.wait {
		h.wait -= rest
		return n
	}
	at := from + h.wait
	rest := hotSample - 1 - place(h.block)
	h.block++
	h.wait = rest + place(h.block)
	return at
}

// place is which request of a block is counted.
func place(block uint32) int { return int(block * 2654435761 >> (32 - hotSampleBits)) }

// count takes the raw key of a request that is due.
func (h *hotCounter) count(raw []byte) {
	key, _, ok := engine.SplitKey(raw)
	if !ok {
		return
	}
	if h.sketch == nil {
		h.sketch = new(hotSketch)
	}
	h.sketch.add(proto.RawKeyHash(raw), key)
	if h.detecting != nil {
		h.detecting.add(proto.RawKeyHash(raw), key)
	}
}

func (s *hotSketch) add(hash uint64, key []byte) {
	s.samples++
	rarest := 0
	for i := range s.slots {
		switch slot := &s.slots[i]; {
		case slot.count > 0 && slot.hash == hash:
			slot.count++
			return
		case slot.count < s.slots[rarest].count:
			rarest = i
		}
	}
	slot := &s.slots[rarest]
	slot.hash = hash
	slot.count++
	slot.size = uint8(copy(slot.key[:], key))
}

// hottest lists the keys of a period of so many seconds, the hottest first.
func (s *hotSketch) hottest(write bool, seconds float64) (list []proto.HotKey) {
	if s == nil {
		return nil
	}
	for i := range s.slots {
		if slot := &s.slots[i]; slot.count >= hotLeast {
			list = append(list, proto.HotKey{
				HashKey: string(slot.key[:slot.size]), Write: write,
				PerSec: int64(float64(slot.count) * hotSample / seconds), Percent: int32(100 * uint64(slot.count) / uint64(s.samples)),
			})
		}
	}
	slices.SortFunc(list, func(a, b proto.HotKey) int { return int(b.PerSec - a.PerSec) })
	return list[:min(len(list), hotShown)]
}

// countWrites looks at the writes of a mutation.
func (p *partition) countWrites(m *mutationOps) {
	n := len(m.ops)
	for i := p.hotWrites.sample(0, n); i < n; i = p.hotWrites.sample(i+1, n) {
		if op := &m.ops[i]; op.end > op.off {
			if r := engine.ReadRecords(m.builder.Bytes(), int(op.off), 1); r.Next() {
				p.hotWrites.count(r.Record().Key)
			}
		}
	}
}

// take copies a sketch into a census, and begins a new period if the census ends one.
func (h *hotCounter) take(copied **hotSketch, end bool) {
	if h.sketch == nil {
		*copied = nil
		return
	}
	if end {
		if *copied == nil {
			*copied = new(hotSketch)
		}
		**copied = *h.sketch
		*h.sketch = hotSketch{}
	}
}
