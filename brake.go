package tether

import "time"

// refusalGap is the time between two refusals that a target gives at once: a loop that asks again as
// soon as it is refused gets at most ten a second.
const refusalGap = 100 * time.Millisecond

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

// refusalDelay is how long this refusal must take so that a single caller's are refusalGap apart.
// Callers side by side are delayed side by side.
func (t *target) refusalDelay(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	delay := min(max(0, t.nextRefusal.Sub(now)), refusalGap)
	t.nextRefusal = now.Add(delay + refusalGap)
	return delay
}
