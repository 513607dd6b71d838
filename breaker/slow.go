package breaker

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// This file counts slow calls. All of it runs under Breaker.mu.

// slow tells whether a call took too long, by its caller's word or by the clock.
func (b *Breaker) slow(c *call, result Result) bool {
	limit := b.policy.SlowCallDuration
	switch {
	case b.policy.SlowCallRatio == 0:
		return false
	case result == Slow:
		return true
	}
	return limit > 0 && !c.began.IsZero() && time.Since(c.began) > limit
}

// countSlow counts a call of the closed state, and opens the breaker if too many were slow. It has a
// window of its own: a slow call may have failed as well.
func (b *Breaker) countSlow(slow bool, now time.Time) {
	if b.policy.SlowCallRatio == 0 {
		return
	}
	if b.slowWindow(); !slow {
		b.slows.success(now)
		return
	}
	b.slows.failure()
	c := b.slows.counts()
	if !b.policy.reached(b.policy.SlowCallRatio, uint64(c.TotalFailures), uint64(c.TotalFailures+c.TotalSuccesses)) {
		return
	}
	b.tripCounts, b.cause = b.counts(b.machine.counts()), SlowCalls
	b.machine.open()
	b.tripped(time.Now())
}

// slowWindow is the window of slow calls and others, made where there is none yet.
func (b *Breaker) slowWindow() *machine {
	if b.slows == nil {
		b.slows = newMachine(b.policy.Window, func(gobreaker.Counts) bool { return false })
	}
	return b.slows
}
