package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff yields the delays of one call: full jitter over an exponential ceiling (AWS Architecture
// Blog, "Exponential Backoff And Jitter", 2015). The zero value is not useful; see [Policy.Backoff].
// It belongs to one call and is not safe for concurrent use.
type Backoff struct {
	policy   Policy
	rand     func() float64
	ceilings *backoff.ExponentialBackOff // nil until the first delay: most calls never need one
}

// Backoff starts a sequence. The policy must be valid; rand yields uniform numbers in [0, 1).
func (p Policy) Backoff(rand func() float64) Backoff {
	return Backoff{policy: p.WithDefaults(), rand: rand}
}

// Next returns the next delay, at least 0 and never above MaxBackoff.
func (b *Backoff) Next() time.Duration {
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
	return time.Duration(b.rand() * float64(ceiling))
}
