package consensus

// Bug names a mistake that can be built into the protocol on purpose, to prove that the simulator would find it. They exist in
// builds with the tag pacbugs only; in all others every question "bug(x)" is the constant no.
type Bug uint8

// The bugs. Each one breaks the rule that its comment states.
const (
	NoBug              Bug = iota
	AckBeforeSync          // a secondary acknowledges only what is durable
	CommitWithoutOne       // a commit needs every secondary
	ServeAfterLease        // reads need a valid lease
	SkipReprepare          // a new primary prepares its window again before it takes it for committed
	ReuseDecree            // a restarted primary takes a new ballot before it acts
	NoBallotCheck          // a secondary refuses lower ballots
	CountLearnerLate       // a learner's acknowledgement counts from when its promotion is asked for
	SkipNack               // a secondary takes prepares in order without holes
	CommitBeyondLog        // nothing is applied that is not in the own log
	LeaseFromReceipt       // a lease is counted from when its beacon was sent
	NoTermBump             // a lapse of a lease opens a new term
	PongThoughAsked        // who asked to replace a primary does not confirm it
	RemoveBeforeAnswer     // a member counts until meta has removed it
	LearnWithHole          // a learner takes what follows what it has
	HandOverServes         // a primary that was replaced stops to serve
	KeepConflictTail       // a prepare of a higher ballot replaces everything behind it
	PromoteBehind          // a learner is promoted when it has everything committed
	OneLeaseEnough         // every group member's lease is needed, not one of them
	NumBugs
)

var bugNames = [NumBugs]string{
	"none", "ack-before-sync", "commit-without-one", "serve-after-lease", "skip-reprepare", "reuse-decree", "no-ballot-check",
	"count-learner-late", "skip-nack", "commit-beyond-log", "lease-from-receipt", "no-term-bump", "pong-though-asked",
	"remove-before-answer", "learn-with-hole", "hand-over-serves", "keep-conflict-tail", "promote-behind", "one-lease-enough",
}

// String is the bug's name on command lines.
func (b Bug) String() string {
	if b < NumBugs {
		return bugNames[b]
	}
	return "unknown"
}
