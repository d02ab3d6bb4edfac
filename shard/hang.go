package shard

import (
	"time"

	"go.uber.org/zap"
)

// A loop that hangs serves nothing, and cannot say so itself: the collector does. It counts the rounds in which no census came
// back. Rounds and not the clock, so that a process that was stopped as a whole accuses none of its loops when it goes on.

// hungRounds is how many rounds a loop leaves the collector without an answer until the log says so. Turns take milliseconds.
const hungRounds = 5

// pulse is what the collector knows of a loop's liveness. It belongs to the collector's goroutine.
type pulse struct {
	answered bool // since the last round
	missed   int  // rounds without an answer
}

// feel ends a round. It tells whether the loop has just been found to hang.
func (p *pulse) feel() (hangs bool) {
	if p.answered {
		p.answered, p.missed = false, 0
		return false
	}
	p.missed++
	return p.missed == hungRounds
}

// silence is for how long the loop has not answered.
func (p *pulse) silence() time.Duration { return time.Duration(p.missed) * collectInterval }

func (c *collector) feelPulses() {
	for i := range c.pulses {
		if p := &c.pulses[i]; p.feel() {
			box := c.node.shards[i].loop.Mailbox()
			c.node.logger.Error("event loop does not answer", zap.Int("shard", i), zap.Duration("since", p.silence()), zap.Int("mailbox_depth", box.Depth))
		}
	}
}

// answers notes that a loop answers.
func (c *collector) answers(i int) {
	p := &c.pulses[i]
	if p.missed >= hungRounds && !p.answered {
		c.node.logger.Warn("event loop answers again", zap.Int("shard", i), zap.Duration("after", p.silence()))
	}
	p.answered = true
}
