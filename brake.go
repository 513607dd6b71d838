package tether

import (
	"time"
)

// brake slows a caller down that has just been refused, if others were refused a moment ago: a loop
// without a pause must not spin. A lone refusal costs nothing; NoWait is never slowed.
func (c *call) brake() {
	now := time.Now()
	delay := min(c.Target.RefusalDelay(now), c.waitLeft)
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
