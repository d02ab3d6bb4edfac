package consensus

import (
	"slices"
	"time"

	"pegasus/netcore/proto"
)

// A write is as fast as the slowest member of its group, so one disk that has become slow slows down every group it is in.
// Such a member is removed while enough others remain; it learns and comes back once meta wants it again. What counts is the
// delay compared with the others', since load slows down all.

// delay is a moving average of the time until mutations are acknowledged. One mutation at a time is measured.
type delay struct {
	decree  proto.Decree // measured; 0 for none
	since   int64
	average int64
	slow    int64 // since when it has been too slow; 0 when it is not
}

// slowest is the delay below which nobody is slow; slowRatio is how many times the others' delay a slow one is.
const (
	slowest   = int64(100 * time.Millisecond)
	slowRatio = 10
)

// sample starts a measurement when none is under way.
func (d *delay) sample(decree proto.Decree, now int64) {
	if d.decree == 0 {
		d.decree, d.since = decree, now
	}
}

// reached ends the measurement of a decree up to the given one.
func (d *delay) reached(decree proto.Decree, now int64) {
	if d.decree != 0 && d.decree <= decree {
		d.average += (now - d.since - d.average) / 4
		d.decree = 0
	}
}

// estimate is the average, or what the measurement under way has taken already if that is more.
func (d *delay) estimate(now int64) int64 {
	if d.decree != 0 {
		return max(d.average, now-d.since)
	}
	return d.average
}

// judgeDelays removes at most one slow secondary.
func (r *Replica) judgeDelays() {
	if len(r.config.Secondaries) < r.min {
		return // without it the group would take no writes
	}
	for _, p := range r.peers {
		if p.learner || p.drop {
			continue
		}
		mine := p.delay.estimate(r.now)
		if mine < slowest || mine <= slowRatio*r.medianWithout(p) {
			p.delay.slow = 0
			continue
		}
		if p.delay.slow == 0 {
			p.delay.slow = r.now
		}
		if r.now-p.delay.slow >= int64(r.timing.Slow) && r.leases.MayDrop(p.node, r.now) {
			p.drop, r.ask.due = true, true
			return
		}
	}
}

// medianWithout is the median delay of the other members, this one included.
func (r *Replica) medianWithout(p *peer) int64 {
	var buf [proto.MaxSecondaries + 1]int64
	others := append(buf[:0], r.ownDelay.estimate(r.now))
	for _, q := range r.peers {
		if q != p && !q.learner {
			others = append(others, q.delay.estimate(r.now))
		}
	}
	slices.Sort(others)
	return others[len(others)/2]
}
