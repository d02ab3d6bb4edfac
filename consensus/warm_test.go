package consensus

import (
	"slices"
	"testing"
	"unsafe"
)

// Warm names a field of every cache line of a replica up to what only configurations need, and WarmPeers of a member.
func TestWarmFields(t *testing.T) {
	const cacheLine = 64
	var r Replica
	var p peer
	check := func(what string, end uintptr, fields ...uintptr) {
		var lines []uintptr
		for _, f := range fields {
			lines = append(lines, f/cacheLine)
		}
		for line := range end/cacheLine + 1 {
			if !slices.Contains(lines, line) {
				t.Errorf("%s: no field of line %d is named; named are %v", what, line, lines)
			}
		}
	}
	reads := []uintptr{unsafe.Offsetof(r.role), unsafe.Offsetof(r.committed), unsafe.Offsetof(r.ask) + unsafe.Offsetof(r.ask.at)}
	check("reads", unsafe.Offsetof(r.ask)+unsafe.Offsetof(r.ask.outdated), reads...)
	check("steps", unsafe.Offsetof(r.timing), append(reads, unsafe.Offsetof(r.verified), unsafe.Offsetof(r.stable),
		unsafe.Offsetof(r.now), unsafe.Offsetof(r.follower)+unsafe.Offsetof(r.follower.term), unsafe.Offsetof(r.min),
		unsafe.Offsetof(r.timing)+unsafe.Offsetof(r.timing.Beacon))...)
	check("peer", unsafe.Offsetof(p.requiredAt), unsafe.Offsetof(p.acked), unsafe.Offsetof(p.sentAt))
}
