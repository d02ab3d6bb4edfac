package mutlog

import "pegasus/netcore/proto"

// Check tells whether Append would take a record of g with a payload of the given length now. It changes nothing; the errors are
// those of Append. A proposer asks it before it gives out a decree, because a decree that cannot be appended leaves a hole.
func (l *Log) Check(g proto.GPID, payload int) error {
	size := recordSize(payload)
	switch p := l.parts[g]; {
	case payload > l.o.MaxRecord:
		return ErrTooLarge
	case len(l.pending.buf)+size > l.o.MaxPending:
		return ErrBusy
	case l.stalled || !l.roomFor(size):
		return ErrFull
	case p == nil && len(l.parts) >= l.o.MaxPartitions:
		return ErrTooLarge
	case p != nil && p.quarantined:
		return ErrQuarantined
	}
	return nil
}

// Holds tells whether the log has records of g that nobody has forgotten.
func (l *Log) Holds(g proto.GPID) bool {
	_, ok := l.parts[g]
	return ok
}

// Holds tells whether records of g in this log are still needed.
func (f *Foreign) Holds(g proto.GPID) bool {
	_, ok := f.needs[g]
	return ok
}
