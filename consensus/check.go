package consensus

import (
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// check asserts the invariants that every step must leave behind. The conditions stand outside Assertf because its
// arguments would be boxed, hence allocated, on every step.
func (r *Replica) check() {
	if r.durable > r.committed || r.committed > r.logged || r.logged > r.prepared {
		invariant.Assertf(false, "%v: durable %d <= committed %d <= logged %d <= prepared %d does not hold",
			r.gpid, r.durable, r.committed, r.logged, r.prepared)
	}
	if r.verified < r.committed || r.verified > r.prepared {
		invariant.Assertf(false, "%v: committed %d <= verified %d <= prepared %d does not hold",
			r.gpid, r.committed, r.verified, r.prepared)
	}
	if r.window.count == 0 && r.committed != r.prepared || r.window.count > 0 &&
		(r.window.at(0).Decree != r.committed+1 || r.window.at(r.window.count-1).Decree != r.prepared) {
		invariant.Assertf(false, "%v: window of %d mutations is not (%d, %d]", r.gpid, r.window.count, r.committed, r.prepared)
	}
	switch r.role {
	case Primary:
		r.checkPrimary()
	case Secondary, Learner:
		if r.failed || r.config.Primary == r.self || r.config.Primary.IsZero() {
			invariant.Assertf(false, "%v: follows %v, failed %v", r.gpid, r.config.Primary, r.failed)
		}
	}
}

func (r *Replica) checkPrimary() {
	if r.failed || r.config.Primary != r.self || r.verified != r.prepared {
		invariant.Assertf(false, "%v: leads without the right to, %v is primary, verified %d", r.gpid, r.config.Primary, r.verified)
	}
	members := 0
	for _, p := range r.peers {
		if !p.learner {
			members++
			if !contains(r.config.Secondaries, p.node) {
				invariant.Assertf(false, "%v: %v is no secondary", r.gpid, p.node)
			}
		}
		if p.streams() && (p.acked >= p.next || p.next > r.prepared+1) {
			invariant.Assertf(false, "%v: %v acknowledged %d, is sent %d next, prepared %d", r.gpid, p.node, p.acked, p.next, r.prepared)
		}
	}
	if members != len(r.config.Secondaries) || len(r.peers)-members != r.learners {
		invariant.Assertf(false, "%v: %d peers and %d learners for %d secondaries",
			r.gpid, len(r.peers), r.learners, len(r.config.Secondaries))
	}
}

// checkCommit asserts that a replica hands out nothing that itself or, when it decides, some member may lack. A planted bug is to
// be found by its effects and not here.
func (r *Replica) checkCommit(d proto.Decree) {
	if planted != NoBug {
		return
	}
	if d > r.logged {
		invariant.Assertf(false, "%v: commit of %d, logged only %d", r.gpid, d, r.logged)
	}
	if r.role != Primary {
		return
	}
	for _, p := range r.peers {
		if (!p.learner || p.asked) && p.acked < d {
			invariant.Assertf(false, "%v: commit of %d, %v acknowledged only %d", r.gpid, d, p.node, p.acked)
		}
	}
}
