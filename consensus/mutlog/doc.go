// Package mutlog is the log of one shard: one append stream of mutations, shared by all partitions of the shard, with group
// commit. It knows decrees and ballots only as far as order and recovery need them; it never reads a payload, starts no
// goroutine and reads no clock.
//
// # Driving a Log
//
// A Log is owned by one loop. Its methods do no I/O, except Open, OpenAll, Drain, Close and those of Write, Chore and Reader,
// which say so. After every turn in which it appended or completed something the owner asks
//
//   - NextWrite: at most one write is in flight; everything appended meanwhile becomes the next one. Write.Do runs in the log
//     lane, Complete on the owner again;
//   - NextChore: files are prepared, recycled and removed outside the path of a write. Chore.Do runs in a background lane,
//     CompleteChore on the owner. After an error the owner waits a while before it asks again; NextWrite may then have to wait
//     for room, and Append says ErrFull.
//
// # Files
//
// A log is a directory of segments, named by sequence number. A segment has a fixed size, is preallocated and, where every write is
// synced, written with zeros before its time, and starts with a header; records follow at multiples of 8. A freed segment is renamed
// and overwritten from its start: every record carries the sequence number of its segment, so what a recycled file still holds behind
// the end is not mistaken for records.
//
// Segments leave when nobody needs them, the oldest first. In a log that is half full they leave from the middle too, because a
// partition that cannot commit may hold the oldest one for long; the table behind such a gap says that nothing is missing.
//
// The first record of a segment is a table: each partition of the log with its last decree before that point, as the writer
// knew it. A table is the truth about everything before it: what a partition has beyond its entry was given up (a failed write,
// a torn tail that an earlier recovery cut) and is dropped; what it lacks was lost.
//
// # What a damaged record means
//
// Each record says up to where its segment was durable when it was written (synced), and names the record before it. So, for
// bytes that are not a valid record:
//
//   - before the synced point of any valid record of the segment or of a later one: they were durable once and have rotted. Scanning goes on at the next valid record. Who lost a record is known from the damaged record's own
//     header, else from the record after it, else from a gap in the decrees, else from the next table. If nothing tells, every
//     partition that has no later record to prove that it is whole is spoiled, and Report.Suspect is set.
//   - after it: a torn tail. The write was never reported durable. Of each partition the part up to its first missing decree
//     counts, the rest is dropped. Rot in the very last write of a log cannot be told from a torn tail.
//
// A spoiled partition is replayed up to its first lost decree and listed in Report.Spoiled. Its neighbours are untouched.
// Damage to what a store has flushed (Options.Flushed) spoils nobody.
//
// # Versions
//
// Segment headers and records carry the format version. A reader reads all versions up to its own and refuses, without
// changing anything, a log that holds a newer one. testdata/ has a golden segment per version.
package mutlog
