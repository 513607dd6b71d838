package tether

import (
	"time"
)

// brake slows a caller down that has just been refused, if others were refused a moment ago: a loop
// without a pause must not spin. A lone refusal costs nothing; NoWait is never slowed.
func (c *call) brake() {
	now := time.Now()
	delay := min(c.target.refusalDelay(now), c.waitLeft)
	if left := c.timeLeft(now); left >= 0 {
		delay = min(delay, left)
	}
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Context.Done():
	}
}

// refusalDelay is how long this refusal must take.
func (t *target) refusalDelay(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.loops.RefusalDelay(now)
}
