package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Jitter says how delays are drawn (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
// No kind puts two clients in step, at the cap neither: the interval that a delay is drawn from is
// never narrower than half of its upper end.
type Jitter string

// The kinds of jitter. The empty Jitter is JitterFull.
const (
	// JitterFull draws from 0 to the ceiling: the widest spread, and the fewest attempts where
	// clients compete.
	JitterFull Jitter = "full"
	// JitterEqual draws from half of the ceiling to the ceiling: no delay is near 0, but what fails
	// together returns within half of the time.
	JitterEqual Jitter = "equal"
	// JitterDecorrelated draws from InitialBackoff to 1.5 times Multiplier times the delay before,
	// which is the published 3 times with the default Multiplier: a call that drew short delays
	// stays quick.
	JitterDecorrelated Jitter = "decorrelated"
)

// Backoff yields the delays of one call: jitter over an exponential ceiling. The zero value is not
// useful; see [Policy.Backoff]. It belongs to one call and is not safe for concurrent use.
type Backoff struct {
	policy   Policy
	rand     func() float64
	ceilings *backoff.ExponentialBackOff // nil until the first delay: most calls never need one
	before   time.Duration               // the last delay, for the decorrelated kind; 0: none yet
}

// Backoff starts a sequence. The policy must be valid; rand yields uniform numbers in [0, 1).
func (p Policy) Backoff(rand func() float64) Backoff {
	return Backoff{policy: p.WithDefaults(), rand: rand}
}

// Next returns the next delay, at least 0 and never above MaxBackoff.
func (b *Backoff) Next() time.Duration {
	switch b.policy.Jitter {
	case JitterEqual:
		ceiling := b.ceiling()
		return b.draw(ceiling/2, ceiling)
	case JitterDecorrelated:
		before := max(b.before, b.policy.InitialBackoff)
		high := b.capped(1.5 * b.policy.Multiplier * float64(before))
		// Where InitialBackoff is near the cap, the published interval shrinks to a point; and
		// min(cap, draw), the published order, puts most delays on the cap itself.
		b.before = b.draw(min(b.policy.InitialBackoff, high/2), high)
		return b.before
	}
	return b.draw(0, b.ceiling())
}

// draw is uniform from low to high. float64 has no whole nanoseconds above 104 days: hence min.
func (b *Backoff) draw(low, high time.Duration) time.Duration {
	return min(high, low+time.Duration(b.rand()*float64(high-low)))
}

// capped converts without wrapping round: a conversion out of range is anything in Go.
func (b *Backoff) capped(d float64) time.Duration {
	if d >= float64(b.policy.MaxBackoff) {
		return b.policy.MaxBackoff
	}
	return time.Duration(d)
}

// ceiling grows exponentially up to MaxBackoff.
func (b *Backoff) ceiling() time.Duration {
	if b.ceilings == nil {
		b.ceilings = &backoff.ExponentialBackOff{
			InitialInterval:     b.policy.InitialBackoff,
			MaxInterval:         b.policy.MaxBackoff,
			Multiplier:          b.policy.Multiplier,
			RandomizationFactor: 0, // the library jitters after its cap; ours is drawn below it
			Clock:               backoff.SystemClock,
		}
		b.ceilings.Reset()
	}
	// The library's arithmetic overflows near the largest duration: its negative answers are the cap.
	ceiling := b.ceilings.NextBackOff()
	if ceiling < 0 || ceiling > b.policy.MaxBackoff {
		ceiling = b.policy.MaxBackoff
	}
	return ceiling
}
