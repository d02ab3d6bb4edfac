// Package consensus is PacificA as a pure state machine: one Replica per partition and node, driven by Step(event) and
// answering with effects. It reads no clock, starts no goroutine, does no I/O and calls no cgo, so the same code runs in a
// daemon and in a simulator. It imports proto and invariant only; bytes of mutations pass through it unread.
//
// # The protocol in a page
//
// A group is one primary and its secondaries. Who they are is written in meta's register, a configuration with a ballot; it is
// changed only by compare-and-swap on the ballot, and only a member asks. Data never passes through meta.
//
// The primary numbers mutations with decrees and sends each as a prepare to every secondary. A mutation is committed once it is
// durable in every member's log, in decree order. The commit point rides on later prepares. So committed(secondary) is a prefix
// of committed(primary), which is a prefix of prepared(any member): whoever becomes primary has everything that was ever
// committed, and at most some mutations more, which it prepares again under its own ballot.
//
// A member never acts under a lower ballot than it knows; the configuration of a higher one it takes over from whoever is the
// primary in it. What it had prepared under lower ballots and not committed it keeps: a prepare of the same mutation confirms it,
// a prepare of another one under the same decree replaces it and everything behind it. To drop more would be wrong, because it
// may be committed and the copy may be the last one by tomorrow.
//
// Reads are answered by the primary alone, from committed state. It has to know that nobody took its place: it needs a lease
// from the node of every secondary (see Leases), each secondary's confirmation in the present term of that lease, and all that
// it found when it became primary committed. A secondary takes the place of its primary only after every lease it granted has
// ended, and from its ask on does not confirm the old one. A secondary that becomes primary without having asked (it was told
// to, or asked before a crash that it does not remember) waits until the one it had confirmed knows, or its leases have ended.
//
// While a change of the configuration is asked for, it may have happened: the old members and the asked ones all count, for
// commits and for leases. After a restart nothing that was in memory counts: a primary takes a new ballot, a secondary confirms
// nobody of whom it has not heard, a node accuses nobody for one grace.
//
// # The driver's duties
//
//  1. Create a Replica when the store is open and the log is replayed: the store has applied the log up to the highest commit
//     point found there; the rest is Restored.Log. Restored.Ballot is the highest ballot made durable. Then Attach it to the
//     leases of its loop and say SetMembers.
//  2. Give every Event the time, and a tick every 50 to 100 ms. Before EventConfigure with a new ballot, make the ballot durable;
//     make one of Effects.Persist durable and report it.
//  3. Append: write the mutation to the shard log, at once and in order. A mutation whose decree was appended before replaces it
//     and everything behind it, and has a higher ballot. Report EventLogSynced, with the ballot of the last record, when it is
//     durable; EventLogFailed when it may never be.
//  4. Commit: apply the mutation to the store, in decree order, then answer its tokens.
//  5. Rejects: answer the tokens with the error. With ErrTimeout the operation may or may not have an effect, which is what
//     clients take ERR_TIMEOUT for; with any other error it has none and never will.
//  6. Sends: encode the message before the next Step. Messages may be lost, doubled, delayed and arrive in any order.
//  7. Asks: send to meta. Whatever it answers with a configuration goes back as EventConfigure. The replica repeats what is not
//     answered.
//  8. ReadLog, SendCheckpoint, Install, Release: the transfer to a learner, see Effects. While Install is under way nothing is
//     applied. A learner acknowledges what it has got because its old records are gone, so the log must have forgotten them,
//     durably, before EventCheckpointInstalled.
//  9. Answer a read only if MayRead says so when the read has finished, with a fresh reading of the clock.
//  10. Answer messages for partitions that are not held with Absent. A ReplLearnInvite for one that is unknown creates an empty
//     replica first.
//
// # Invariants
//
// They are asserted after every Step: durable <= committed <= logged <= prepared; committed <= verified <= prepared; the window
// is (committed, prepared] without holes; ballots never fall; one primary per ballot; nothing is committed that is not in the
// own log or that a counted member has not acknowledged; only the node that the configuration names leads. A new primary may have
// committed less than a secondary that heard more of the former one; it has it prepared, and serves nothing before it is committed.
package consensus
