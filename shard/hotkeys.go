package shard

import (
	"slices"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Hot keys are found by counting one request in hotSample. A sketch keeps the hash keys that came most often in the present
// period (Space-Saving: a key that finds no slot takes the one of the rarest key and goes on from its count, so a key that makes
// more than 1/hotSlots of the requests is never missed). Between samples a request pays one addition and one comparison.
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
	seen   uint32
	sketch *hotSketch // nil until the first sample

	detect    detection
	detecting *hotSketch // of a detection that runs
}

// due tells whether the request that just came is one to be counted. Of every hotSample requests one is, at a place that looks
// random: a client that repeats itself would otherwise be seen at one of its requests only.
func (h *hotCounter) due() bool {
	h.seen++
	return h.seen%hotSample == hotSample-1-(h.seen/hotSample*2654435761)>>(32-hotSampleBits)
}

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

// countWrite counts the write whose records begin at byte off of the batch, if it has any.
func (p *partition) countWrite(m *mutationOps, off int) {
	if m.builder.Len() > off {
		if r := engine.ReadRecords(m.builder.Bytes(), off, 1); r.Next() {
			p.hotWrites.count(r.Record().Key)
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
