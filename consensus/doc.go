// Package consensus is PacificA as a pure state machine: one Replica per partition and node, driven by Step(event) and
// answering with effects. It reads no clock, starts no goroutine, does no I/O and calls no cgo, so the same code runs in a
// daemon and in a simulator. It imports proto and invariant only; bytes of mutations pass through it unread.
package consensus
