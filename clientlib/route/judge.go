package route

import (
	"time"

	"pegasus/netcore/proto"
)

// Outcome is how an attempt to have a request served ended.
type Outcome uint8

const (
	// Replied: a server answered, with an error code that counts.
	Replied Outcome = iota
	// Unsent: it was certainly not sent. No primary is known, or there is no connection to it.
	Unsent
	// Lost: it was sent, and the connection ended before an answer.
	Lost
	// Late: it was sent, and its deadline passed before an answer.
	Late
)

// Step is what becomes of a request after an attempt.
type Step uint8

const (
	// Done: the storage answered; its status is in the answer.
	Done Step = iota
	// Again: it was certainly not executed, or does no harm when executed twice. Send it again after the pause.
	Again
	// Refused ends it: it was certainly not executed, and would be refused again.
	Refused
	// Exhausted ends it: it was certainly not executed, or only read, and may well succeed later.
	Exhausted
	// Doubtful ends it: nobody knows whether it was, or will be, executed.
	Doubtful
)

// Verdict is the judgement of an attempt.
type Verdict struct {
	Step    Step
	Pause   time.Duration // with Again
	Suspect bool          // the route is in doubt: Table.Suspect
	// Late, with Exhausted or Doubtful, says that the deadline has passed, or would before another attempt.
	Late bool
}

// meaning is what an error code says of a data request.
type meaning uint8

const (
	unclear meaning = iota // nothing is known
	never                  // not executed, for a reason that stays
	moved                  // not executed, because this is not the server, or not the partition
	soon                   // not executed; the partition is in a state that passes by itself
	busy                   // not executed, to shed load
	full                   // not executed, for a reason that may pass, but hardly while a request waits
)

// meanings are those of spec wire 4. Servers answer them before they hand a write to replication; what they no longer know
// the fate of, they answer with ErrTimeout or not at all.
var meanings = [256]meaning{
	proto.ErrInvalidState:           moved,
	proto.ErrObjectNotFound:         moved,
	proto.ErrParentPartitionMisused: moved,

	proto.ErrNotEnoughMember:  soon,
	proto.ErrCapacityExceeded: soon,
	proto.ErrSplitting:        soon,

	proto.ErrBusy: busy,

	proto.ErrDiskInsufficient: full,
	proto.ErrDiskIOError:      full,

	proto.ErrHandlerNotFound:   never,
	proto.ErrInvalidParameters: never,
	proto.ErrInvalidData:       never,
	proto.ErrOperationDisabled: never,
	proto.ErrNotImplemented:    never,
	proto.ErrUnauthenticated:   never,
	proto.ErrACLDeny:           never,
}

// Pauses between attempts double from the first to the most. Busy servers are left alone for longer, and given up after
// busyTries refusals: who sheds load is not helped by requests that wait for their deadline.
const (
	againFirst = 4 * time.Millisecond
	againMost  = 256 * time.Millisecond
	busyFirst  = 32 * time.Millisecond
	busyMost   = time.Second
	busyTries  = 5
)

// SuspectAfter is how long a server may leave a request without an answer before its route is in doubt. The request goes on.
const SuspectAfter = 500 * time.Millisecond

// Attempts counts what a request went through. The zero value is that of a new request.
type Attempts struct{ tries, busy uint8 }

// Judge decides what becomes of a request after an attempt. write tells whether executing it twice, or out of turn, can do
// harm; left is the time to its deadline; code counts when the outcome is Replied. A write is never sent again unless it was
// certainly not executed: even a put could undo what others wrote since.
func (a *Attempts) Judge(write bool, outcome Outcome, code proto.ErrCode, left time.Duration, rnd *Rand) Verdict {
	var v Verdict
	switch outcome {
	case Replied:
		if code == proto.ErrOK {
			return Verdict{Step: Done}
		}
		v = a.refusal(write, code, rnd)
	case Unsent:
		v = Verdict{Step: Again, Suspect: true, Pause: a.pause(rnd)}
	case Lost:
		if write {
			return Verdict{Step: Doubtful, Suspect: true}
		}
		v = Verdict{Step: Again, Suspect: true, Pause: a.pause(rnd)}
	case Late:
		if write {
			return Verdict{Step: Doubtful, Suspect: true, Late: true}
		}
		return Verdict{Step: Exhausted, Suspect: true, Late: true}
	}
	if v.Step == Again && v.Pause >= left {
		v.Step, v.Late = Exhausted, true
	}
	return v
}

func (a *Attempts) refusal(write bool, code proto.ErrCode, rnd *Rand) Verdict {
	switch meanings[code] {
	case never:
		return Verdict{Step: Refused}
	case moved:
		return Verdict{Step: Again, Suspect: true, Pause: a.pause(rnd)}
	case soon:
		return Verdict{Step: Again, Pause: a.pause(rnd)}
	case full:
		return Verdict{Step: Exhausted}
	case busy:
		if a.busy++; a.busy >= busyTries {
			return Verdict{Step: Exhausted}
		}
		return Verdict{Step: Again, Pause: rnd.Spread(doubled(busyFirst, busyMost, int(a.busy)-1))}
	}
	switch {
	case write:
		return Verdict{Step: Doubtful}
	case code == proto.ErrTimeout:
		return Verdict{Step: Again, Pause: a.pause(rnd)}
	}
	return Verdict{Step: Refused}
}

func (a *Attempts) pause(rnd *Rand) time.Duration {
	a.tries = min(a.tries+1, 100)
	return rnd.Spread(doubled(againFirst, againMost, int(a.tries)-1))
}
