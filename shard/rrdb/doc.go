// Package rrdb is what the data RPCs of Pegasus mean: which records a read returns, which records a write leaves behind,
// and the bytes of every reply. It is pure code over engine.Store and engine.Iterator.
//
// It refuses to know loops, sockets, goroutines, replication and clocks. The caller brings the time (Env), decides where
// a read may block (engine.Tier), when it has had enough of the loop (engine.SliceLimit) and what a reply travels in.
//
//   - AppendGetReply, AppendTTLReply answer point reads from an outcome that the caller fetched, so that a turn of the
//     loop pays one store call for all of them.
//   - NewRead makes the reads over several records: multi_get, batch_get, sortkey_count. NewScanner makes scans.
//     Both are run in slices until they are done.
//   - Encode turns a plain write into records. AtomicKey and Eval do the same for operations that read what they change.
//
// The facts come from recorded traffic of an Apache Pegasus server; where this package deliberately answers otherwise is
// listed in ../DIFFERENCES.md.
package rrdb
