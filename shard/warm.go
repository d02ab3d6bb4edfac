package shard

import "pegasus/netcore/proto"

// With many partitions every request finds what it needs of its partition in no cache, and waits for one line of memory after the
// other, up to 0.2 us for each: more than all it computes. Requests come in groups, though, and a processor fetches a dozen lines at
// once if nothing has to wait for one of them before it can ask for the next. So before a group is worked off one by one, its
// partitions are walked through, and every line that will be needed is read: first those of the partitions, then those that they
// point to, then those that these point to. None of that has any effect but on time.
//
// Plain reads do it because processors go on past reads that have not come back. Go has no prefetch instruction outside of its runtime.

const (
	// warmAhead is how many requests are looked at before they are served: more lines than that are not fetched at once anyway.
	warmAhead = 32
	// warmFrom is the number of partitions from which on it pays. The memory of fewer stays in the caches.
	warmFrom = 64
)

// warmer collects the partitions of a group.
type warmer struct {
	list []*partition
	sum  uint64 // of what was read, or the compiler would drop the reads
}

// cold tells whether the partitions of the shard are too many to be cached.
func (sh *Shard) cold() bool { return len(sh.partitions) >= warmFrom }

// warmFrames warms the partitions of the first frames of in and returns how many bytes of in those frames are.
func (sh *Shard) warmFrames(in []byte, native bool) (seen int) {
	for range warmAhead {
		g, n := proto.Glance(in[seen:], native)
		if n == 0 {
			seen = max(seen, 1) // the caller must not ask for the same again
			break
		}
		seen += n
		sh.warm.add(sh.partitions[g])
	}
	sh.warm.fetch()
	return seen
}

// warmMessages is warmFrames for the messages of another node.
func (sh *Shard) warmMessages(in []byte) (seen int) {
	for range warmAhead {
		g, n := proto.GlanceRepl(in[seen:])
		if n == 0 {
			seen = max(seen, 1)
			break
		}
		seen += n
		sh.warm.add(sh.partitions[g])
	}
	sh.warm.fetch()
	return seen
}

func (w *warmer) add(p *partition) {
	if p != nil {
		w.list = append(w.list, p)
	}
}

// warm reads one field of each of the partition's lines; TestWarmFields keeps the list complete.
func (p *partition) warm() uint64 {
	sum := uint64(p.parked) + uint64(p.lastTimestamp) + uint64(p.gathered.bytes) + uint64(p.slowAfter) + uint64(p.hotReads.wait) +
		uint64(p.hotWrites.wait) + uint64(p.rows.tenant) + uint64(p.env.NowEpoch) + uint64(p.env.Limits.ScanMaxIter) + uint64(p.settings.DefaultTTL)
	if p.meter[kindGet] != nil {
		sum++
	}
	if p.meter[kindPut] != nil {
		sum++
	}
	return sum
}

// fetch reads from every cache line that a request needs of the partitions, and forgets them.
func (w *warmer) fetch() {
	if len(w.list) < 2 {
		w.list = w.list[:0]
		return
	}
	sum := w.sum
	for _, p := range w.list {
		sum += p.warm()
	}
	for _, p := range w.list {
		if r := p.replica; r != nil {
			sum += r.Warm()
		}
		for _, m := range [...]*kindMeter{p.meter[kindGet], p.meter[kindPut]} {
			if m != nil {
				sum += m.units
			}
		}
		if cap(p.inFlight) > 0 && p.inFlight[:1][0] != nil {
			sum++
		}
	}
	for _, p := range w.list {
		if r := p.replica; r != nil {
			sum += r.WarmPeers()
		}
	}
	w.sum = sum
	w.list = w.list[:0]
}
