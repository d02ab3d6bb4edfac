package mutlog

type counters struct {
	writes, syncs, records, bytes, failures uint64
}

// Stats is a snapshot for reports.
type Stats struct {
	Partitions   int
	Quarantined  int
	Segments     int // in use
	FreeFiles    int // kept for reuse
	SizeBytes    int64
	PendingBytes int
	Pins         int

	// Since Open: completed writes, those of them that were synced, their records and bytes, and writes that failed.
	Writes, Syncs, Records, Bytes, Failures uint64
}

// Stats returns a snapshot. It visits every partition.
func (l *Log) Stats() Stats {
	s := Stats{
		Partitions: len(l.parts), Segments: len(l.segments), FreeFiles: len(l.free),
		SizeBytes: int64(l.fileCount()) * l.o.SegmentSize, PendingBytes: len(l.pending.buf), Pins: len(l.pins),
		Writes: l.stats.writes, Syncs: l.stats.syncs, Records: l.stats.records, Bytes: l.stats.bytes, Failures: l.stats.failures,
	}
	for _, p := range l.parts {
		if p.quarantined {
			s.Quarantined++
		}
	}
	return s
}

// PendingBytes is Stats().PendingBytes without the walk over all partitions, for every turn.
func (l *Log) PendingBytes() int { return len(l.pending.buf) }
