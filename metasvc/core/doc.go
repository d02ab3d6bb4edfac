// Package core is the meta server as a pure state machine: which tables there are, who serves which partition, which
// nodes live, and what is to be done about it. It reads no clock, starts no goroutine, does no I/O and knows neither
// Raft nor sockets: events go in, effects come out.
//
// Two kinds of state are kept apart. State is replicated: it changes by committed commands only and is the same on every
// meta. Core adds what only the leader needs and every new leader can find out again: which nodes answer, what they hold,
// which proposals are under way. Losing it costs a beacon interval, never a decision.
//
// The driver's duties:
//  1. Step every event on one goroutine, with a monotonic clock that never goes back.
//  2. Propose: hand the bytes to the journal, in order. Report Refused for what it does not take. What it takes ends with
//     Committed, or with the next Leadership.
//  3. Report Committed for every journal entry in journal order, also for those of other metas, before Leadership says
//     that this meta leads.
//  4. Send and Reply: in the order of the effects. What is addressed to a link or token that is gone is dropped.
//  5. An error of Step is fatal: the journal holds what this program cannot read.
package core
